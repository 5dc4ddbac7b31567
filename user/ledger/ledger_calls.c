// SPDX-License-Identifier: BSD-3-Clause
/*
 * Threads. Events come in the order of their ends, the kernel did them in an order of its own. It
 * shows where a range is unmapped by one thread and given to another before the first has left the
 * kernel: its end comes late, and would unmap what is not its. So a call does not touch what was
 * mapped after it began by others (recents).
 */
#include "ledger/ledger_internal.h"

#include <stdlib.h>
#include <sys/mman.h>

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

/* ------------------------------------------------------------------ ranges */

static int unmap_piece(void *ctx, const struct interval *piece)
{
	struct ledger *ledger = ctx;
	struct stack_bytes *bytes = ledger_account_of(ledger, piece->who);

	if (ledger->correcting && piece->who == STACKS_START)
		bytes->mapped -= piece->bytes; /* it was not there at the start */
	else
		bytes->unmapped += piece->bytes;
	ledger->totals.vms -= piece->bytes;
	if (piece->who == STACKS_START)
		ledger->found_start += piece->bytes;
	return 0;
}

/*
 * No more than the kernel has dropped and nobody's account shows yet: what exceeds it was placed
 * wrongly, and lies elsewhere.
 */
static int release_piece(void *ctx, const struct interval *piece)
{
	struct ledger *ledger = ctx;
	int64_t dropped = ledger->totals.elsewhere;
	uint64_t bytes = least(piece->bytes, dropped > 0 ? dropped : 0);

	ledger_release_bytes(ledger, piece->who, bytes);
	ledger->found += bytes;
	if (piece->bytes > bytes)
		ledger_put_unplaced(ledger, piece->who, piece->bytes - bytes);
	return 0;
}

static int count_start(void *ctx, const struct interval *piece)
{
	struct ledger *ledger = ctx;

	if (piece->who == STACKS_START)
		ledger->found_start += piece->bytes;
	return 0;
}

static void drop_pages(struct ledger *ledger, uint64_t start, uint64_t end)
{
	for (int i = 0; i < N_LANES; i++)
		ledger_cut(ledger, ledger->lanes[i], start, end, release_piece);
}

static void unmap_range(struct ledger *ledger, uint64_t start, uint64_t end)
{
	drop_pages(ledger, start, end);
	ledger_cut(ledger, ledger->mapped, start, end, unmap_piece);
}

/* The first call that others have made in the range since this one began, or NULL. */
static const struct recent *find_recent(const struct ledger *ledger,
					const struct memory_event *event, uint64_t start,
					uint64_t end)
{
	const struct recent *first = NULL;
	uint32_t n = least(ledger->n_recents, N_RECENTS);

	for (uint32_t i = 1; i <= n; i++) {
		const struct recent *recent = &ledger->recents[(ledger->n_recents - i) % N_RECENTS];

		if (recent->time < event->first_time)
			break; /* and all before it */
		if (recent->tid != event->tid && recent->start < end && recent->end > start &&
		    (!first || recent->start < first->start))
			first = recent;
	}
	return first;
}

/* Unmap what a call has unmapped, but not what others were given meanwhile. */
static void clear(struct ledger *ledger, const struct memory_event *event, uint64_t start,
		  uint64_t end)
{
	const struct recent *recent;

	while (start < end && (recent = find_recent(ledger, event, start, end))) {
		if (start < recent->start)
			unmap_range(ledger, start, recent->start);
		start = recent->end;
	}
	if (start < end)
		unmap_range(ledger, start, end);
}

/*
 * After a call: what the kernel dropped in it, and was not found in its range, was there at the
 * start or is of those whose place is not known.
 */
static void settle(struct ledger *ledger, uint32_t tid)
{
	struct thread *thread = ledger_thread_of(ledger, tid);
	uint64_t dropped = thread->dropped;

	thread->dropped = thread->dropped_file = 0;
	if (dropped <= ledger->found)
		return;
	dropped -= ledger->found;
	dropped -= ledger_drop_start(ledger, least(dropped, ledger->found_start));
	ledger_drop_unplaced(ledger, dropped);
}

static void map_range(struct ledger *ledger, const struct memory_event *event, uint64_t start,
		      uint64_t end, uint32_t who)
{
	const struct interval new = {start, end, end - start, who};

	if (start >= end)
		return;
	unmap_range(ledger, start, end); /* MAP_FIXED; or an event was lost */
	ledger_map_bytes(ledger, who, new.bytes);
	ledger_put(ledger, ledger->mapped, &new);
	ledger->recents[ledger->n_recents++ % N_RECENTS] =
		(struct recent){start, end, event->time, event->tid};
}

/* ------------------------------------------------------------------ calls */

/* Have what lies in a range lie elsewhere, with its owners. */
static void move(struct ledger *ledger, struct intervals *map, uint64_t from, uint64_t to,
		 uint64_t size)
{
	struct pieces pieces = {0};

	if (intervals__cut(map, from, from + size, ledger_keep_piece, &pieces))
		ledger->totals.inexact += size;
	for (uint32_t i = 0; i < pieces.n; i++) {
		pieces.list[i].start += to - from;
		pieces.list[i].end += to - from;
		ledger_put(ledger, map, &pieces.list[i]);
	}
	free(pieces.list);
}

/* What of a range is nobody's is that one's. */
static void map_gaps(struct ledger *ledger, uint64_t start, uint64_t end, uint32_t who)
{
	struct pieces gaps = {0};

	if (intervals__gaps(ledger->mapped, start, end, ledger_keep_piece, &gaps))
		ledger->totals.inexact += end - start;
	for (uint32_t i = 0; i < gaps.n; i++) {
		gaps.list[i].who = who;
		gaps.list[i].bytes = gaps.list[i].end - gaps.list[i].start;
		ledger_map_bytes(ledger, who, gaps.list[i].bytes);
		ledger_put(ledger, ledger->mapped, &gaps.list[i]);
	}
	free(gaps.list);
}

static void take_move(struct ledger *ledger, const struct memory_event *event, uint32_t who)
{
	uint64_t old_size = whole_pages(event->old_size), size = whole_pages(event->size);
	uint64_t from = event->old_address, to = event->address, kept = least(old_size, size);
	bool stays = event->map_flags & MREMAP_DONTUNMAP;

	if (from == to) {
		clear(ledger, event, from + kept, from + old_size);
		map_range(ledger, event, to + kept, to + size, who);
		return;
	}
	clear(ledger, event, to, to + size);
	clear(ledger, event, from + kept, from + old_size);
	for (int i = 0; i < N_LANES; i++)
		move(ledger, ledger->lanes[i], from, to, kept);
	/* Whoever had the old range has the new one; the old one, if it stays, is empty. */
	move(ledger, ledger->mapped, from, to, kept);
	map_gaps(ledger, to, to + size, who);
	if (stays)
		map_gaps(ledger, from, from + old_size, who);
	ledger->recents[ledger->n_recents++ % N_RECENTS] =
		(struct recent){to, to + size, event->time, event->tid};
}

static void take_brk(struct ledger *ledger, const struct memory_event *event, uint32_t who)
{
	uint64_t before = whole_pages(event->old_address), now = whole_pages(event->address);

	if (now > before)
		map_range(ledger, event, before, now, who);
	else
		clear(ledger, event, now, before);
}

static void take_advice(struct ledger *ledger, const struct memory_event *event)
{
	uint64_t end = event->address + whole_pages(event->size);

	/* MADV_FREE drops later, when the kernel wants to: that comes without a call. */
	if (event->prot != MADV_DONTNEED && event->prot != MADV_DONTNEED_LOCKED &&
	    event->prot != MADV_REMOVE)
		return;
	intervals__each(ledger->mapped, event->address, end, count_start, ledger);
	drop_pages(ledger, event->address, end);
}

void ledger_take_call(struct ledger *ledger, const struct memory_event *event, uint32_t who)
{
	uint64_t end = event->address + whole_pages(event->size);

	if (event->time <= ledger->read_from)
		return;
	ledger->correcting = event->first_time < ledger->read_until;
	if (ledger->correcting)
		who = STACKS_START;
	switch (event->type) {
	case WIRE_MMAP:
		map_range(ledger, event, event->address, end, who);
		break;
	case WIRE_MUNMAP:
		clear(ledger, event, event->address, end);
		break;
	case WIRE_MREMAP:
		take_move(ledger, event, who);
		break;
	case WIRE_BRK:
		take_brk(ledger, event, who);
		break;
	case WIRE_MADVISE:
		take_advice(ledger, event);
		break;
	default:
		break;
	}
	ledger->correcting = false;
	settle(ledger, event->tid);
}
