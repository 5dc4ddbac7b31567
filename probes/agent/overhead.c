// SPDX-License-Identifier: BSD-3-Clause
#include "overhead.h"

#include <string.h>

#include "session.h"
#include "threads.h"

#define TRIES 1000 /* of the clock; the quickest counts: others were interrupted */

/* Any thread adds, without the GIL, too. */
static struct {
	bool is_on; /* atomic */
	uint64_t counts[WIRE_N_OVERHEADS], ticks[WIRE_N_OVERHEADS];
	uint64_t clock_ticks;		      /* that an interval takes with nothing in it */
	uint64_t start_clock, start_time;     /* the same moment by both clocks */
	uint64_t helper_ns, helper_ns_before; /* of its thread, and of those before it */
} overhead;

bool overhead__is_on(void)
{
	return __atomic_load_n(&overhead.is_on, __ATOMIC_RELAXED);
}

/* ------------------------------------------------------------------ stopwatches */

void stopwatch__start(struct stopwatch *watch)
{
	struct agent_thread *thread = threads__own();

	watch->thread = thread;
	if (unlikely(!thread))
		return;
	watch->intervals = 1;
	watch->outside = thread->timed;
	thread->timed = 0;
	watch->start = agent_clock();
}

void stopwatch__pause(struct stopwatch *watch)
{
	watch->paused = agent_clock();
	if (likely(watch->thread))
		watch->inside = watch->thread->timed;
}

void stopwatch__resume(struct stopwatch *watch)
{
	if (unlikely(!watch->thread))
		return;
	watch->intervals++;
	watch->thread->timed = watch->inside;
	watch->start += agent_clock() - watch->paused;
}

/* @return ticks of its own */
static uint64_t stop(struct stopwatch *watch)
{
	uint64_t elapsed = agent_clock() - watch->start;
	uint64_t others = watch->thread->timed + watch->intervals * overhead.clock_ticks;

	watch->thread->timed = watch->outside + elapsed;
	return elapsed > others ? elapsed - others : 0;
}

void stopwatch__stop(struct stopwatch *watch, uint32_t kind)
{
	uint64_t own;

	if (unlikely(!watch->thread))
		return;
	own = stop(watch);
	__atomic_fetch_add(&overhead.ticks[kind], own, __ATOMIC_RELAXED);
	__atomic_fetch_add(&overhead.counts[kind], 1, __ATOMIC_RELAXED);
}

/* ------------------------------------------------------------------ sessions */

static uint64_t time_nothing(void)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < TRIES; i++) {
		struct stopwatch watch;
		uint64_t own;

		stopwatch__start(&watch);
		if (!watch.thread)
			return 0;
		own = stop(&watch);
		watch.thread->timed = watch.outside;
		least = own < least ? own : least;
	}
	return least;
}

void overhead__begin(bool on)
{
	memset(&overhead, 0, sizeof(overhead));
	if (!on)
		return;
	overhead.clock_ticks = time_nothing();
	overhead.start_time = system__now();
	overhead.start_clock = agent_clock();
	__atomic_store_n(&overhead.is_on, true, __ATOMIC_RELAXED);
}

void overhead__note_helper(uint32_t batches)
{
	uint64_t now = system__thread_time();

	if (now < overhead.helper_ns) /* it is another one: they come and go around forks */
		overhead.helper_ns_before += overhead.helper_ns;
	overhead.helper_ns = now;
	__atomic_fetch_add(&overhead.counts[WIRE_OVERHEAD_HELPER], batches, __ATOMIC_RELAXED);
}

/* ------------------------------------------------------------------ what is told */

/* ns of a tick, by both clocks since the session began. */
static double tick_ns(void)
{
	uint64_t clock = agent_clock() - overhead.start_clock;

	return clock ? (double)(system__now() - overhead.start_time) / (double)clock : 0;
}

uint32_t overhead__say(struct wire_slot slots[OVERHEAD_SLOTS])
{
	double ns = tick_ns();
	uint32_t n = 0;

	for (uint32_t kind = 0; kind < WIRE_N_OVERHEADS; kind++) {
		struct wire_overhead told = {
			.count = __atomic_load_n(&overhead.counts[kind], __ATOMIC_RELAXED),
			.ns = (uint64_t)(__atomic_load_n(&overhead.ticks[kind], __ATOMIC_RELAXED) *
					 ns),
		};

		if (kind == WIRE_OVERHEAD_HELPER)
			told.ns = overhead.helper_ns_before + overhead.helper_ns;
		if (kind == WIRE_OVERHEAD_CLOCK)
			told = (struct wire_overhead){1, (uint64_t)(overhead.clock_ticks * ns)};
		if (!told.count)
			continue;
		slots[n] = (struct wire_slot){.code = kind,
					      .line_type = wire_slot_pack(1, WIRE_SLOT_OVERHEAD)};
		memcpy(&slots[n + 1], &told, sizeof(told));
		n += 2;
	}
	return n;
}
