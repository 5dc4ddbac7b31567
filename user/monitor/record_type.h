/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * record_type.h - what the monitors need of record types beyond pikos.h.
 */
#ifndef PIKOS_MONITOR_RECORD_TYPE_H
#define PIKOS_MONITOR_RECORD_TYPE_H

#include "pikos.h"

/* What a monitor's records are of. */
enum monitor_kind {
	MONITOR_NONE, /* no such monitor */
	MONITOR_FUNCTIONS,
	MONITOR_LINES,
	MONITOR_MEMORY,
	MONITOR_ALLOCATIONS,
};

/* @param monitor the name of one, as "function_memory", or of its summary */
enum monitor_kind monitor__kind(const char *monitor);

/*
 * @brief Fill the row of a record of lost events.
 *
 * functions: index,lost,REASON,COUNT, - lines: index,<lost>,COUNT,REASON, - RSS and VMS empty.
 * allocations: time,0,COUNT,0,<lost>,REASON,0,,,0,... - event 0 is none.
 *
 * @param pid,tid whose events they were; 0: not known, the columns stay empty
 * @param reason filled from lost->reason; values point to it, so it must live as long as they do
 * @param values room for type->n_fields values
 */
void pikos_lost_row(const struct pikos_record_type *type, uint64_t index,
		    const struct pikos_lost *lost, uint32_t pid, uint32_t tid,
		    struct pikos_text *reason, struct pikos_value values[]);

#endif /* PIKOS_MONITOR_RECORD_TYPE_H */
