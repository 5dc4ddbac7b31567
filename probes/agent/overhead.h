/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * overhead.h - what the agent itself costs the program (AGENT_OVERHEAD).
 *
 * Such a session has hooks of its own, which run the same code between two looks at the clock; the
 * hooks of any other session are without one instruction of this.
 *
 * What is timed may hold what is timed, too: a hook that hands a batch over, an allocation within
 * an allocation. Each has its own time only, without that of what it holds, so that all of them add
 * up; and without that of the clock, as found when the session begins.
 */
#ifndef PIKOS_AGENT_OVERHEAD_H
#define PIKOS_AGENT_OVERHEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/wire.h"
#include "system.h"

struct agent_thread;

struct stopwatch {
	struct agent_thread *thread; /* NULL: no memory, nothing is timed */
	uint64_t start, paused;	     /* ticks of agent_clock() */
	uint64_t outside;	     /* ticks of what was timed so far in what holds this */
	uint64_t inside;	     /* the same in this, until it paused */
	uint32_t intervals;
};

void stopwatch__start(struct stopwatch *watch);
/* What the program would have done anyway, and whatever is timed in there, is none of this. */
void stopwatch__pause(struct stopwatch *watch);
void stopwatch__resume(struct stopwatch *watch);
/* @param kind enum wire_overhead_kind */
void stopwatch__stop(struct stopwatch *watch, uint32_t kind);

/* A session begins: nothing was timed yet. @param on whether it will be; it is so until the next */
void overhead__begin(bool on);
bool overhead__is_on(void);
/* The helper has done something: its time is its CPU's. @param batches that it handed over */
void overhead__note_helper(uint32_t batches);

#define OVERHEAD_SLOTS (2 * WIRE_N_OVERHEADS)

/*
 * What was timed so far, to be handed over. The caller has the buffer's lock.
 * @return how many slots
 */
uint32_t overhead__say(struct wire_slot slots[OVERHEAD_SLOTS]);

#endif /* PIKOS_AGENT_OVERHEAD_H */
