/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * regions.h - the probes by which a program marks its regions: pikos:region__enter and
 * pikos:region__leave, wherever they are in a process.
 *
 * They are in the agent's library, which probes/python/pikos.py loads and hits, and in programs
 * that use user/pikos_regions.h. Attached to are those of all files that are mapped as code, and
 * those of the agent's library on this machine, so that a program may load it later. What a
 * program loads later besides has regions that nobody notices.
 */
#ifndef PIKOS_SOURCE_REGIONS_H
#define PIKOS_SOURCE_REGIONS_H

#include <sys/types.h>

#include "kernel/kernel.h"
#include "source/interpreter.h"

#define REGIONS_PROVIDER "pikos"
#define REGIONS_ENTER	 "region__enter"
#define REGIONS_LEAVE	 "region__leave"

struct regions;

/*
 * @brief Attach to every region probe of a process.
 * @param kernel borrowed; loaded with kernel_config.regions. NULL: an agent counts the regions,
 * only the semaphores are raised
 * @param library a descriptor of the agent's library, which the program may load later, or -1;
 * stays the caller's
 * @param why filled on failure
 * @return NULL and errno (ENOENT: there are no such probes); nothing stays attached then
 */
struct regions *regions__attach(struct kernel *kernel, pid_t pid, int library,
				struct interpreter_reason *why);
/* @brief Detach. NULL is fine. */
void regions__free(struct regions *regions);

/* @brief Take breakpoints and semaphores out of children that were forked: see usdt__sweep. */
int regions__sweep(const struct regions *regions);

#endif /* PIKOS_SOURCE_REGIONS_H */
