/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ledger_internal.h - what the files of the ledger share.
 *
 * Two books over the address space: who mapped a range, and who touched the pages in it. The second
 * has lanes. In the first lane are pages; in the others are runs of faults that were spread over
 * more than they touched, one lane for each line that does so in the same range.
 *
 *	ledger.c	its life, the start, an event: whose it is and which file's; questions
 *	ledger_calls.c	mmap and its like: ranges that are mapped, moved, unmapped, dropped
 *	ledger_faults.c	pages that came and went: where they lie
 *	ledger_books.c	what both write to: accounts, and the two books
 */
#ifndef PIKOS_LEDGER_LEDGER_INTERNAL_H
#define PIKOS_LEDGER_LEDGER_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "ledger/intervals.h"
#include "ledger/ledger.h"

#define N_LANES	  4
#define N_RECENTS 256
#define N_THREADS 1024
#define PAGE_MASK 4095ull

struct recent { /* a call that mapped */
	uint64_t start, end;
	uint64_t time;
	uint32_t tid;
};

/* What a thread has dropped since its last call, as the kernel told it. */
struct thread {
	uint32_t tid;
	uint64_t dropped;
	uint64_t dropped_file; /* of these */
};

struct touch {
	uint64_t bytes;
	uint32_t who;
};

struct ledger {
	struct stacks *stacks;
	struct intervals *mapped;
	struct intervals *lanes[N_LANES];
	struct recent recents[N_RECENTS];
	uint32_t n_recents; /* ever */
	struct thread threads[N_THREADS];
	struct touch *unplaced; /* last in, first out */
	uint32_t n_unplaced, room_unplaced;
	uint64_t attached, read_from, read_until;
	struct ledger_totals totals;
	/* Of the event that is being taken. */
	bool correcting; /* it may be in the maps already */
	struct ledger_moment final, marked;
	uint64_t mark;	      /* marked is to be kept when an event after it comes; 0: no more */
	bool starting;	      /* no Python frame has been seen yet */
	uint64_t found;	      /* bytes that were known to be resident in its range */
	uint64_t found_start; /* mapped bytes of the start in its range */
	uint64_t copied;      /* bytes that took the place of others in a file's mapping */
};

static inline uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t whole_pages(uint64_t bytes)
{
	return (bytes + PAGE_MASK) & ~PAGE_MASK;
}

/* ------------------------------------------------------------------ ledger_books.c */

/* @param who a stack */
struct stack_bytes *ledger_account_of(struct ledger *ledger, uint32_t who);
void ledger_map_bytes(struct ledger *ledger, uint32_t who, uint64_t bytes);
void ledger_release_bytes(struct ledger *ledger, uint32_t who, uint64_t bytes);

/* Resident bytes that lie nobody knows where, and which of them to drop: the last ones. */
void ledger_put_unplaced(struct ledger *ledger, uint32_t who, uint64_t bytes);
void ledger_drop_unplaced(struct ledger *ledger, uint64_t bytes);
/* Drop so much of what was resident at the start. @return how much of it there was */
uint64_t ledger_drop_start(struct ledger *ledger, uint64_t bytes);

/* One that was not heard of lately begins anew. */
struct thread *ledger_thread_of(struct ledger *ledger, uint32_t tid);

/* intervals__cut and intervals__put of one of the books; what fails is counted as inexact */
void ledger_cut(struct ledger *ledger, struct intervals *map, uint64_t start, uint64_t end,
		intervals_fn visit);
void ledger_put(struct ledger *ledger, struct intervals *map, const struct interval *new);

/* Intervals aside, while a book is changed. The caller frees the list. */
struct pieces {
	struct interval *list;
	uint32_t n, room;
	bool failed;
};

/* An intervals_fn. @param ctx struct pieces @return 0 or -ENOMEM */
int ledger_keep_piece(void *ctx, const struct interval *piece);

/* ------------------------------------------------------------------ the two kinds of events */

/* ledger_calls.c */
void ledger_take_call(struct ledger *ledger, const struct memory_event *event, uint32_t who);

/* ledger_faults.c */
void ledger_take_change(struct ledger *ledger, const struct memory_event *event, uint32_t who);

#endif /* PIKOS_LEDGER_LEDGER_INTERNAL_H */
