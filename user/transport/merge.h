/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * merge.h - events of several processes in one order, when agents hand over theirs in batches.
 *
 * A batch comes up to a tick of the agent after its events, so when it comes, younger events of
 * other processes are there already. Everything is copied out of the rings and waits here: an event
 * goes on once every agent has handed over a younger one, or after MERGE_HOLD_NS, when an agent
 * that had anything older would have handed it over. A batch then goes on in runs of slots, as
 * wire_batch.flags tell, with times of CLOCK_MONOTONIC in its slots.
 */
#ifndef PIKOS_TRANSPORT_MERGE_H
#define PIKOS_TRANSPORT_MERGE_H

#include "transport/transport.h"

/* Ticks come every 20 ms, if not on time; a record is to reach its recorder within 100 ms. */
#define MERGE_HOLD_NS	60000000ull
#define MERGE_MAX_BYTES (128u << 20) /* what waits; beyond, it goes on before its time */

struct merge;

struct merge *merge__new(void);
void merge__free(struct merge *merge);

/* @brief Take a copy of a record; a transport_fn. @return 0 or -ENOMEM */
int merge__add(void *merge, const struct wire_head *record, uint32_t size);

/*
 * @brief Hand out what is due.
 * @param clock every record of the kernel's with a time up to it has been added
 * @param everything nothing comes any more
 * @return 0, or what `handle` returned
 */
int merge__hand_out(struct merge *merge, uint64_t clock, transport_fn handle, void *ctx,
		    bool everything);

/* @return how many runs were handed out after younger records */
uint64_t merge__late(const struct merge *merge);

#endif /* PIKOS_TRANSPORT_MERGE_H */
