/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sizes.h - how large the blocks of a process are that were allocated while it was watched, so that
 * what is given back has a size, too.
 *
 * A size that may be another's is worse than none: whoever may have missed an event forgets all
 * (sizes__clear). Blocks beyond SIZES_MAX are not kept.
 */
#ifndef PIKOS_MONITOR_SIZES_H
#define PIKOS_MONITOR_SIZES_H

#include <stdint.h>

#define SIZES_MAX (1u << 23) /* blocks: 256 MiB at most */

struct sizes;

struct sizes *sizes__new(void);
/* NULL is fine, here and below: then nothing is known. */
void sizes__free(struct sizes *sizes);
void sizes__clear(struct sizes *sizes);

/* @brief A block was allocated. One at the same address is no more. */
void sizes__put(struct sizes *sizes, uint64_t address, uint64_t size);
/* @brief A block is given back. @return its size; 0: not known */
uint64_t sizes__take(struct sizes *sizes, uint64_t address);

#endif /* PIKOS_MONITOR_SIZES_H */
