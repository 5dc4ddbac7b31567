// SPDX-License-Identifier: BSD-3-Clause
#include "transport/batch.h"

void batch_clock__next(struct batch_clock *clock, const struct wire_batch *batch)
{
	uint64_t time = batch->time < batch->head.time ? batch->time : batch->head.time;

	if (time < clock->time)
		time = clock->time;
	/* A target's first pair has none before it: the agent's first batch holds no events. */
	if (clock->time && batch->clock > clock->clock)
		clock->rate = (double)(time - clock->time) / (double)(batch->clock - clock->clock);
	else
		clock->rate = 0;
	clock->clock = batch->clock;
	clock->time = time;
}

uint64_t batch_clock__time(struct batch_clock *clock, uint64_t ticks)
{
	uint64_t time = clock->time;
	double back;

	if (ticks && ticks < clock->clock) {
		back = (double)(clock->clock - ticks) * clock->rate;
		time = back < (double)time ? time - (uint64_t)back : 0;
	}
	if (time < clock->last)
		time = clock->last;
	clock->last = time;
	return time;
}
