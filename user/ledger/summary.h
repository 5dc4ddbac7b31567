/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * summary.h - what a ledger says, as records of the type memory_summary.
 *
 * fromMs,toMs,section,scope,function,lineNo,mapped,unmapped,stillMapped,faulted,resident,filename,
 * stack
 *
 * fromMs and toMs: between which moments, in ms since the ledger began; all sums are bytes, and of
 * what was done or has changed between the two. Sections: total, line, function, stack. Scopes: own
 * (the innermost line), inclusive (it is on the stack). A function's lineNo is where it begins.
 * Lines are sorted by resident, then stillMapped, then mapped.
 *
 * Rows of the section total, each with what it has of the sums:
 *	<start>		what was there; of it unmapped, dropped. After an exec: the program's own
 *	<startup>	run mode: before the first Python frame
 *	<native> <outside> <unknown> <other>	done by no known line; see stacks.h
 *	lines		by all lines
 *	stack growth	mapped without a call: VMS minus what the calls have mapped
 *			("stack growth or lost" if events were lost, or ranges had no room)
 *	reclaimed	dropped by the kernel itself: whose it was is not known
 *	kernel		its own word: VMS, RSS
 *	growth		by how much they have grown, what the start has given back added
 *	explained	how much of growth is the lines' doing
 *
 * What makes it inexact has rows besides, if there is anything:
 *	lost	events		lineNo: how many were lost
 *	inexact	cut stacks	lineNo: how often a stack was too much: its callers lack the bytes
 *	inexact	no room		bytes of ranges that could not be followed: there are too many
 *	inexact	unplaced	resident bytes that are taken to be dropped last in, first out
 */
#ifndef PIKOS_LEDGER_SUMMARY_H
#define PIKOS_LEDGER_SUMMARY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ledger/ledger.h"
#include "pikos.h"

struct summary_config {
	const struct pikos_record_type *type; /* memory_summary; borrowed as what follows */
	struct pikos_filters *filters;	      /* NULL: none */
	struct pikos_recorder *recorder;      /* prepared */
	uint32_t top;			      /* rows of each section and scope; 0: all */
	bool leaks;			      /* only what is still mapped or resident */
};

/* The summaries of one process. */
struct summary;

/* @param ledger borrowed @return NULL and errno */
struct summary *summary__new(const struct summary_config *config, struct ledger *ledger, pid_t pid);
/* NULL is fine. */
void summary__free(struct summary *summary);

/* A moment, and the kernel's word for it. */
struct summary_moment {
	uint64_t time;	   /* CLOCK_MONOTONIC */
	uint64_t rss, vms; /* bytes; vms 0: what it said with the last event */
	bool is_end;	   /* the last: from the beginning; else since the summary before */
};

/* What of the RSS's growth is explained, bytes. */
struct summary_share {
	int64_t growth, explained;
};

/*
 * @brief Write a summary.
 * @param share filled
 * @return 0; -ENOMEM; -errno of the recorder
 */
int summary__write(struct summary *summary, const struct summary_moment *moment,
		   struct summary_share *share);

#endif /* PIKOS_LEDGER_SUMMARY_H */
