/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * internal.h - the monitor's state, shared by its files:
 *
 *	monitor.c	records of the kernel, losses, totals
 *	batch.c		batches of agents: slots to events
 *	memory.c	changes of memory
 *	rows.c		events whose rows are known already, at full speed
 */
#ifndef PIKOS_MONITOR_INTERNAL_H
#define PIKOS_MONITOR_INTERNAL_H

#include "monitor/monitor.h"
#include "monitor/record_type.h"
#include "monitor/rows.h"
#include "monitor/sizes.h"
#include "symbols/ids.h"
#include "transport/batch.h"

/* What a column of the record is filled from. */
enum column {
	COLUMN_PID,
	COLUMN_TID,
	COLUMN_TIME,
	COLUMN_INDEX,
	COLUMN_TYPE,
	COLUMN_FUNCTION,
	COLUMN_LINE_NUMBER,
	COLUMN_RSS,
	COLUMN_VMS,
	COLUMN_LINE,
	COLUMN_FILE,
	COLUMN_ADDRESS,
	COLUMN_SIZE,
	COLUMN_STACK,
	COLUMN_NATIVE,
	COLUMN_VALUE1,
	COLUMN_VALUE2,
	COLUMN_EVENT,
	COLUMN_NAME,
	COLUMN_MOD,
	COLUMN_LINENO,
	COLUMN_FROM_NAME,
	COLUMN_FROM_MOD,
	COLUMN_FROM_LINE,
	COLUMN_DEPTH,
	N_COLUMNS,
};

/* The agent of one target, and where in its batches we are. */
struct agent {
	struct monitor_agent said;
	struct wire_overhead overhead[WIRE_N_OVERHEADS]; /* as the program of now last said */
	struct ids *ids;
	struct batch_clock clock;
	uint64_t told;		   /* events of all batches, those included that had no room */
	uint32_t tid;		   /* of the next events */
	struct wire_values values; /* of the next events */
	uint32_t left;		   /* events of this batch that are still to come */
	uint32_t unnamed; /* events in a row whose id is not known, not yet recorded as lost */
};

struct source { /* one target */
	pid_t pid;
	struct lines *lines;
	uint64_t next_seq;   /* count of events accounted for */
	struct agent *agent; /* NULL until one has spoken */
	struct sizes *sizes; /* allocations: of blocks; NULL: not known */
	bool has_begun;	     /* allocations: the row of its beginning is there */
};

/* Functions that are none of the program's. */
enum monitor_place { PLACE_NATIVE, PLACE_UNKNOWN, PLACE_NOBODY, PLACE_PROFILER, N_PLACES };

struct monitor {
	struct monitor_config config;
	enum monitor_kind kind;
	enum column columns[PIKOS_MAX_FIELDS];
	struct pikos_value values[PIKOS_MAX_FIELDS];
	struct pikos_record record;
	struct source *sources[WIRE_MAX_TARGETS];
	struct monitor_totals totals;
	uint64_t page;
	struct memory_rows *memory; /* NULL: not the monitor of memory */
	struct rows *rows;	    /* NULL: not for this recorder */
	bool tried_rows;
	struct symbol *places[N_PLACES]; /* allocations */
	struct frames *frames;		 /* allocations: without an agent */
};

/* One event, whoever told it. */
struct happening {
	uint32_t type; /* enum wire_type; allocations: or another that has a code in monitor.c */
	uint32_t tid;
	uint64_t time;
	int32_t line;
	uint64_t rss, vms; /* pages */
	struct symbol *symbol;
	bool decided; /* the kernel has applied its filters */
	/* allocations */
	struct symbol *caller;
	int32_t caller_line, depth;
	uint64_t address;
	int64_t size;
};

/* The run of a program, for the monitor allocations: types of events beside the wire's. */
enum { MONITOR_BEGIN = WIRE_ALLOCATION_N_TYPES, MONITOR_END, MONITOR_N_TYPES };

/* @brief Record the beginning or the end of a run, which count as events of ours. */
int monitor__mark(struct monitor *monitor, struct source *source, uint32_t type, uint64_t time);
/* @brief Events of a source were lost: what is known of its blocks may be wrong. */
void monitor__forget_sizes(struct source *source);
/* @brief The size of an allocation's row, and remember it. */
int64_t monitor__size(struct source *source, uint32_t type, uint64_t address, uint64_t size);

/* @brief Make the record of an event, filter and record it, count. @return as monitor__handle */
int monitor__take(struct monitor *monitor, struct source *source, const struct happening *event,
		  uint64_t index);
/* @brief Fill monitor->record. */
void monitor__fill(struct monitor *monitor, struct source *source, const struct happening *event,
		   uint64_t index);
/* @brief Filter and record monitor->record, count. @param decided the kernel has applied its
 * filters
 * @return as monitor__handle */
int monitor__pass(struct monitor *monitor, bool decided);
/* @return the source text of a line */
const struct pikos_text *monitor__source_line(struct source *source, struct symbol *symbol,
					      int32_t line);
/* What is said of an enum wire_reason. */
extern const char *const monitor__reasons[WIRE_N_REASONS];

/* @brief Record that events of head->target were lost, and count them. */
int monitor__record_loss(struct monitor *monitor, const struct wire_head *head, const char *reason,
			 uint64_t count);
/* @return whether max_records were written: events and losses count no more, notices do */
bool monitor__enough(const struct monitor *monitor);

/* allocations.c */
/* @brief Of an event without an agent. */
int monitor__handle_allocation(struct monitor *monitor, const struct wire_allocation *event,
			       uint32_t size);

/* batch.c */
int monitor__handle_batch(struct monitor *monitor, const struct wire_batch *batch, uint32_t size);
void monitor__free_agent(struct agent *agent);

/* memory.c */
struct memory_rows *memory_rows__new(const struct monitor_config *config);
void memory_rows__free(struct memory_rows *rows);
/* @brief What frames stand for. @return 0 or -ENOMEM */
int memory_rows__learn(struct memory_rows *rows, const struct wire_head *head, uint32_t size);
int monitor__handle_memory(struct monitor *monitor, const struct wire_memory *memory,
			   uint32_t size);

#endif /* PIKOS_MONITOR_INTERNAL_H */
