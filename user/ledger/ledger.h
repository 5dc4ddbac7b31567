/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ledger.h - who has mapped a process's memory, and who has made it resident.
 *
 * Fed with the events of one process, in order, and with what was mapped before the first one. A
 * range is on the account of the line whose call mapped it, a page on that of the line that touched
 * it first, until it is unmapped or dropped, by whomever. So mapped - unmapped is what a line still
 * holds, and faulted - released what of the RSS is its doing.
 *
 * Where pages lie is known as exactly as the events tell: a run of faults that fills its range is
 * exact to the page; one that is thinner takes its share of what is unmapped in its range; one
 * without addresses is taken to be dropped last in, first out, by calls that drop more than what
 * is known to lie in their range. What the kernel has dropped by itself (reclaim) is no line's:
 * ledger_totals.elsewhere.
 *
 * Nothing here fails: what does not find memory, or room within the bounds, is counted in
 * ledger_totals.inexact.
 */
#ifndef PIKOS_LEDGER_LEDGER_H
#define PIKOS_LEDGER_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "ledger/stacks.h"
#include "monitor/memory.h"

#define LEDGER_MAX_RANGES (2u << 20)

struct ledger;

/*
 * @param max_ranges 0: LEDGER_MAX_RANGES; half as many stacks are kept, with 32 bytes of names for
 * each range
 * @return NULL and errno
 */
struct ledger *ledger__new(uint32_t max_ranges);
/* NULL is fine. */
void ledger__free(struct ledger *ledger);

/*
 * @brief Begin, or begin anew after an exec: then what the program before had is gone.
 *
 * Events of before start->attached are not for the ledger. Those between start->read_from and
 * ledger__start_ends may or may not be in the maps. Either way a range that one of them has changed
 * is as the last of them has left it: they are applied over the maps, and count as mapped at the
 * start, which is the moment ledger__start_ends.
 *
 * @param is_new the program has not run an instruction yet: what it does without Python before its
 * first Python frame is its startup
 */
void ledger__start(struct ledger *ledger, const struct memory_start *start, bool is_new);
/* @brief One of the ranges that were mapped: after ledger__start, before the first event. */
void ledger__start_range(struct ledger *ledger, uint64_t start, uint64_t end);
/* @brief The same for all of /proc/PID/maps. @return 0; -errno of reading it */
int ledger__start_maps(struct ledger *ledger, int maps_fd);
/* @param time CLOCK_MONOTONIC, after the maps were read */
void ledger__start_ends(struct ledger *ledger, uint64_t time);
bool ledger__started(const struct ledger *ledger);

/* @brief Take an event; those before ledger__start are not its business. */
void ledger__take(struct ledger *ledger, const struct memory_event *event);
/* @brief Events of this process were lost. */
void ledger__lose(struct ledger *ledger, uint64_t n);

/* Bytes, unless said otherwise. */
struct ledger_totals {
	uint64_t started; /* CLOCK_MONOTONIC */
	uint64_t events;
	uint64_t start_vms, start_rss;
	uint64_t vms; /* what is mapped, by the calls */
	uint64_t rss; /* what is resident, by the changes that the kernel has told */
	/* What the kernel itself said with the last event. */
	uint64_t kernel_vms, kernel_rss;
	/* rss is what has an account, minus this: dropped, and nobody knows whose it was. */
	int64_t elsewhere;
	uint64_t unplaced;   /* resident, on an account, at an address that is not known */
	uint64_t inexact;    /* could not be followed: no room */
	uint64_t cut_stacks; /* see stacks__cut */
	uint64_t lost;	     /* events */
	uint64_t ranges;     /* that are held */
};

/* All of a ledger at a moment. */
struct ledger_moment {
	struct ledger_totals totals;
	struct stacks_moment stacks;
};

/*
 * @return how it stood when the interpreter began to finalize itself, which gives back most of what
 * the program holds; NULL: it has not. Owned by the ledger.
 */
const struct ledger_moment *ledger__final(const struct ledger *ledger);

/*
 * @brief Keep how the ledger will stand when it has taken all events up to a moment: they may be
 * still to come, and so may later ones before it is asked.
 * @param time CLOCK_MONOTONIC; what was kept for another moment is forgotten
 */
void ledger__mark(struct ledger *ledger, uint64_t time);
/*
 * @return how it stood then; NULL: no later event has come, it stands so still (or there was no
 * memory to keep it). Owned by the ledger.
 */
const struct ledger_moment *ledger__marked(const struct ledger *ledger);

void ledger__totals(const struct ledger *ledger, struct ledger_totals *totals);
struct stacks *ledger__stacks(const struct ledger *ledger);

#endif /* PIKOS_LEDGER_LEDGER_H */
