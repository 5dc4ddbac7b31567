/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * details.h - events with what the monitor `allocations` wants to know of them (AGENT_ALLOCATIONS).
 */
#ifndef PIKOS_AGENT_DETAILS_H
#define PIKOS_AGENT_DETAILS_H

#include <stdint.h>

struct agent_thread;

/* For buffer__event: an event of a function, while the buffer is shared. The GIL is held. */
void details__event(uint32_t code, int32_t line, uint32_t type);
/* An allocation, with or without the GIL. */
void details__allocation(struct agent_thread *thread, uint32_t type, const void *block,
			 uint64_t size);

#endif /* PIKOS_AGENT_DETAILS_H */
