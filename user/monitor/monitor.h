/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * monitor.h - turns the kernel's events into records, passes them through the filters into the
 * recorder, and counts.
 *
 * index: each target numbers the events that passed its focus (wire_event.seq). A gap in these
 * numbers is what was filtered in the kernel or lost there; the losses have records of their own
 * in front of the gap's end. So index counts what was seen, whatever came through. Threads that run
 * at once can take numbers and times in different orders: their rows are in the order of the times,
 * with the index of their number.
 *
 * Events of an agent come in batches, in the interpreter's order, without numbers: of each batch as
 * many are accounted for as the kernel has counted. Nothing of a batch is believed (batch.c).
 */
#ifndef PIKOS_MONITOR_MONITOR_H
#define PIKOS_MONITOR_MONITOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bpf/wire.h"
#include "symbols/frames.h"
#include "monitor/memory.h"
#include "pikos.h"
#include "symbols/lines.h"
#include "symbols/symbols.h"

struct monitor;

struct native;

struct monitor_config {
	const struct pikos_record_type *type; /* borrowed */
	struct pikos_filters *filters;	      /* borrowed; may be NULL */
	struct pikos_recorder *recorder;      /* borrowed, prepared */
	struct symbols *symbols;	      /* borrowed */
	uint64_t max_records;		      /* 0: no limit */
	/* The monitor of memory: who takes its events in place of records; borrowed, NULL: records
	 */
	const struct memory_consumer *consumer;
	bool qualified;	       /* the monitor of memory: co_qualname for co_name */
	struct native *native; /* the same: names of C frames; borrowed, NULL: addresses */
};

struct monitor *monitor__new(const struct monitor_config *config);
void monitor__free(struct monitor *monitor);

/* @brief Say who a target is. @param lines its source, borrowed; may be NULL */
int monitor__set_target(struct monitor *monitor, uint32_t target, pid_t pid, struct lines *lines);

/*
 * @brief Take one record of the kernel's; a transport_fn with the monitor as context.
 * @return 0; -ECANCELED: max_records were written, and what comes later changes nothing but
 * monitor__agent(); -errno of the recorder
 */
int monitor__handle(void *monitor, const struct wire_head *record, uint32_t size);

/*
 * @brief The end of a target's stream: what the kernel counted and the stream did not tell.
 * @param final the target's counters, no longer changing
 */
int monitor__finish_target(struct monitor *monitor, uint32_t target,
			   const struct wire_target *final);
#define MONITOR_NOT_WRITTEN "not written"     /* the recorder failed */
#define MONITOR_NOT_RUN	    "program not run" /* the kernel hit a probe and could not run it */

/* @brief Count and record events that were lost for a reason outside the kernel's counters. */
int monitor__lost(struct monitor *monitor, const char *reason, uint64_t count);

/*
 * What the agent in a target has said (WIRE_SLOT_NOTICE), for the session to act on. wants_resend
 * is set by the monitor when an event has an id that it does not know, and cleared by
 * WIRE_NOTICE_RESENT.
 */
struct monitor_agent {
	bool hooked, ended, wants_resend;
	int refusal; /* once it has ended without hooks: why, an enum agent_refusal */
	uint32_t replaced, interpreters, late_threads, allocators;
	struct wire_overhead overhead[WIRE_N_OVERHEADS]; /* by enum wire_overhead_kind */
};

/* @return of that target; all zero while none has spoken. Valid until monitor__free. */
const struct monitor_agent *monitor__agent(const struct monitor *monitor, uint32_t target);

/* Losses by reason. */
struct monitor_loss {
	const char *reason;
	uint64_t count;
};

#define MONITOR_MAX_LOSSES 8

struct monitor_totals {
	uint64_t seen, written, filtered, lost;
	uint64_t marks; /* of the seen, those that are no target's: beginnings and ends of runs */
	struct monitor_loss losses[MONITOR_MAX_LOSSES];
	int n_losses;
	/* Of memory: what the target's interpreter does not let be told. */
	uint64_t broken_stacks; /* not read to their end: <unreadable>, <loop> */
	struct frames_missing missing;
};

void monitor__totals(const struct monitor *monitor, struct monitor_totals *totals);

#endif /* PIKOS_MONITOR_MONITOR_H */
