/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * allocations.h - what the program allocates: hooks around the allocators of PyMem_SetAllocator.
 *
 * They hand everything on to what was there before, with its own context, so that blocks of before
 * and after mix, and threads may be in the middle when they go in or out. They stay callable for
 * ever: if somebody has put an allocator of theirs in front they stay behind it when a session ends
 * and do nothing but hand on; the next session uses them again.
 *
 * Of allocators that use one another only what the program asked for is an event; of what the agent
 * itself allocates, nothing.
 */
#ifndef PIKOS_AGENT_ALLOCATIONS_H
#define PIKOS_AGENT_ALLOCATIONS_H

#include <stdbool.h>
#include <stdint.h>

/* In and out: the caller holds the GIL. @param flags enum agent_flag @return false: no room */
bool allocations__put_in(uint32_t flags);
void allocations__take_out(void);
/* Events from here on, or no more; from any thread. */
void allocations__switch(bool on);
/* Without the GIL: has the program put an allocator in our place, or taken ours out? */
bool allocations__look(void);
/* Then, with the GIL: put them in again if they are out. */
void allocations__adopt(void);

#endif /* PIKOS_AGENT_ALLOCATIONS_H */
