/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libc.h - malloc and its family in one process: uprobes on the library that the process has
 * mapped, whichever that is (a chroot's, musl), or on the allocator that stands in front of it.
 *
 * malloc, calloc, realloc, memalign, aligned_alloc, posix_memalign, free: what others
 * (reallocarray, strdup, new) use in turn.
 */
#ifndef PIKOS_SOURCE_LIBC_H
#define PIKOS_SOURCE_LIBC_H

#include <sys/types.h>

#include "kernel/kernel.h"
#include "source/interpreter.h"

struct libc;

/*
 * @param target index of the process in the targets map
 * @param why filled on failure
 * @return NULL and errno; nothing stays attached then
 */
struct libc *libc__attach(struct kernel *kernel, uint32_t target, pid_t pid,
			  struct interpreter_reason *why);
/* @brief Detach. NULL is fine. */
void libc__free(struct libc *libc);
/* @brief Take breakpoints out of children that were forked: see usdt__sweep. NULL is fine. */
int libc__sweep(const struct libc *libc);

#endif /* PIKOS_SOURCE_LIBC_H */
