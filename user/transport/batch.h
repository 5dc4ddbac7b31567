/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * batch.h - what the stations of the loader need to read a batch of the agent (bpf/wire.h). All of
 * it is the target's word: nothing here believes it beyond the record's end.
 */
#ifndef PIKOS_TRANSPORT_BATCH_H
#define PIKOS_TRANSPORT_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/wire.h"

static inline const struct wire_slot *batch__slots(const struct wire_batch *batch)
{
	return (const struct wire_slot *)(batch + 1);
}

/* @return how many slots the record holds, whatever it says; 0 when it is too short for a head */
static inline uint32_t batch__n_slots(const struct wire_batch *batch, uint32_t size)
{
	uint32_t room =
		size < sizeof(*batch) ? 0 : (size - sizeof(*batch)) / sizeof(struct wire_slot);

	return room && batch->n_slots < room ? batch->n_slots : room;
}

static inline bool batch__is_event(uint32_t type)
{
	return (type >= WIRE_CALL && type < WIRE_N_TYPES) || type == WIRE_SLOT_DETAILED;
}

/* @return how many slots the one at i takes, with what it brings; at least 1, never beyond n */
static inline uint32_t batch__span(const struct wire_slot *slots, uint32_t i, uint32_t n)
{
	uint32_t type = wire_slot_type(&slots[i]);
	int32_t more = wire_slot_line(&slots[i]);

	if (type == WIRE_SLOT_DETAILED)
		return n - i < WIRE_DETAILED_SLOTS ? n - i : WIRE_DETAILED_SLOTS;
	if (type != WIRE_SLOT_DEFINE && type != WIRE_SLOT_VALUES && type != WIRE_SLOT_OVERHEAD)
		return 1;
	return more < 0 || (uint32_t)more >= n - i ? n - i : 1 + (uint32_t)more;
}

/*
 * The agent's clock against CLOCK_MONOTONIC, from the pair in each batch: between two pairs the
 * clocks are taken to run evenly. Times never go back and never pass the kernel's own.
 */
struct batch_clock {
	uint64_t clock, time; /* the pair before */
	double rate;	      /* ns per tick, between the last two */
	uint64_t last;	      /* handed out */
};

/* @brief Take a batch's pair; its events follow. */
void batch_clock__next(struct batch_clock *clock, const struct wire_batch *batch);
/* @brief ns of CLOCK_MONOTONIC of an event. @param ticks 0: not told, that of the batch */
uint64_t batch_clock__time(struct batch_clock *clock, uint64_t ticks);

#endif /* PIKOS_TRANSPORT_BATCH_H */
