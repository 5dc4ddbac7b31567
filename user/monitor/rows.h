/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rows.h - rows of events that have been seen before, written at full speed.
 *
 * At 20 million events a second there are 45 ns for each, and making a record of values, filtering
 * it and formatting it takes longer. But what a row says behind its index follows from the code,
 * the line and the type alone (and RSS and VMS, which hardly ever change): a program runs through a
 * few thousand of these, over and over. So rows are kept here by slot (code, line and type are its
 * last 8 bytes) as the recorder formatted them once, and an event is its index and a copy. This is
 * for recorders that can be had in parts (recorder.h: CSV), and filters that look at nothing else.
 */
#ifndef PIKOS_MONITOR_ROWS_H
#define PIKOS_MONITOR_ROWS_H

#include "bpf/wire.h"
#include "filter/filter.h"
#include "pikos.h"
#include "symbols/symbols.h"
#include "transport/batch.h"

struct rows;

/* @return NULL and errno; ENOTSUP: not for this type, these filters or this recorder */
struct rows *rows__new(const struct pikos_record_type *type, const struct pikos_filters *filters,
		       struct pikos_recorder *recorder);
/* NULL is fine, here and below. */
void rows__free(struct rows *rows);

/* Slots to be written, and what became of them. */
struct rows_run {
	const struct wire_slot *slots;
	uint32_t n;
	uint32_t target;
	uint64_t index; /* of the first */
	uint32_t pid, tid;
	int64_t rss, vms; /* bytes; where the type has them */
	struct batch_clock *clock;
	bool has_times;	  /* slots tell ns of CLOCK_MONOTONIC */
	uint32_t written; /* filled: how many slots have their row... */
	uint32_t dropped; /* ...or were filtered */
	int err;	  /* filled: of the recorder; the slots before are written */
};

/* @brief Write the leading slots of a run, up to the first whose row is not known. */
void rows__write(struct rows *rows, struct rows_run *run);

/*
 * @brief Keep the row of a slot.
 * @param symbol what its code stands for; told where its rows are
 * @param values of its record, all columns
 * @param kept false: the filters drop it
 * @return whether it is kept: it may be too long
 */
bool rows__keep(struct rows *rows, uint32_t target, const struct wire_slot *slot,
		struct symbol *symbol, const struct pikos_value *values, bool kept);

/* @brief An id stands for its symbol no more. */
void rows__forget(struct rows *rows, uint32_t target, uint32_t id, const struct symbol *symbol);
void rows__clear(struct rows *rows);

#endif /* PIKOS_MONITOR_ROWS_H */
