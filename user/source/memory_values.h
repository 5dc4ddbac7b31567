/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory_values.h - RSS and VMS for the agents: the programs that watch their changes, and a page
 * for each target on which its agent finds them (bpf/memory_values.bpf.c).
 */
#ifndef PIKOS_SOURCE_MEMORY_VALUES_H
#define PIKOS_SOURCE_MEMORY_VALUES_H

#include <stdint.h>

#include "kernel/kernel.h"

struct memory_values;

/*
 * @brief Attach the programs. They run for all processes and look for targets that have a page.
 * @param kernel with kernel_config.memory and .agent, borrowed
 * @return NULL and errno
 */
struct memory_values *memory_values__new(struct kernel *kernel);
/* @brief Detach. NULL is fine, here and below. */
void memory_values__free(struct memory_values *values);

/*
 * @brief A new page for a target. From here on, until memory_values__opened, it is about to map it:
 * the page is right as soon as it has done so.
 * @return a descriptor, of which nothing can be mapped but the page, and only to be read; -errno
 */
int memory_values__open(struct memory_values *values, uint32_t target, pid_t tgid);
/* @brief It has mapped it, or never will. Closes the descriptor; -1 is fine. */
void memory_values__opened(struct memory_values *values, int fd);
/* @brief Forget the target; its page stays as it is while it is mapped. */
void memory_values__close(struct memory_values *values, uint32_t target);

/* @return changes that were not seen, since a program was under way on that CPU, of any process */
uint64_t memory_values__missed(const struct memory_values *values);

#endif /* PIKOS_SOURCE_MEMORY_VALUES_H */
