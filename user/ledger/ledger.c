// SPDX-License-Identifier: BSD-3-Clause
/*
 * Two books over the address space: who mapped a range, and who touched the pages in it. The second
 * has lanes. In the first lane are pages; in the others are runs of faults that were spread over
 * more than they touched, one lane for each line that does so in the same range.
 *
 * Threads. Events come in the order of their ends, the kernel did them in an order of its own. It
 * shows where a range is unmapped by one thread and given to another before the first has left the
 * kernel: its end comes late, and would unmap what is not its. So a call does not touch what was
 * mapped after it began by others (recents).
 */
#include "ledger/ledger.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ledger/intervals.h"
#include "process/maps.h"

#define N_LANES	     4
#define MAX_SPARSE   (64u << 10) /* intervals in a lane but the first */
#define N_RECENTS    256
#define N_THREADS    1024
#define MAX_UNPLACED (64u << 10)
#define MIN_NODES    4096 /* of the stacks */
#define MIN_TEXT     (1u << 20)
#define MAX_FRAMES   (WIRE_MAX_FRAMES + 1)
#define PAGE_MASK    4095ull
/* What one fault may bring in around its page: neighbours of a file's, a huge page. */
#define FILE_AROUND (64ull << 10)
#define HUGE_PAGE   (2ull << 20)

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

/* The kernel's order of memory_start.rss. */
enum { RSS_FILE, RSS_ANON, RSS_SWAP, RSS_SHMEM };

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
	struct ledger_moment final;
	bool starting;	      /* no Python frame has been seen yet */
	uint64_t found;	      /* bytes that were known to be resident in its range */
	uint64_t found_start; /* mapped bytes of the start in its range */
	uint64_t copied;      /* bytes that took the place of others in a file's mapping */
};

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t whole_pages(uint64_t bytes)
{
	return (bytes + PAGE_MASK) & ~PAGE_MASK;
}

/* ------------------------------------------------------------------ life */

struct ledger *ledger__new(uint32_t max_ranges)
{
	struct ledger *ledger = calloc(1, sizeof(*ledger));
	bool made;

	if (!ledger)
		return NULL;
	if (!max_ranges)
		max_ranges = LEDGER_MAX_RANGES;
	ledger->stacks = stacks__new(most(max_ranges / 2, MIN_NODES),
				     most((size_t)max_ranges * 32, MIN_TEXT));
	ledger->mapped = intervals__new(max_ranges);
	made = ledger->stacks && ledger->mapped;
	for (int i = 0; i < N_LANES; i++) {
		ledger->lanes[i] = intervals__new(i ? MAX_SPARSE : max_ranges);
		made = made && ledger->lanes[i];
	}
	if (made)
		return ledger;
	ledger__free(ledger);
	errno = ENOMEM;
	return NULL;
}

void ledger__free(struct ledger *ledger)
{
	if (!ledger)
		return;
	intervals__free(ledger->mapped);
	for (int i = 0; i < N_LANES; i++)
		intervals__free(ledger->lanes[i]);
	stacks__free(ledger->stacks);
	free(ledger->unplaced);
	free(ledger->final.stacks.bytes);
	free(ledger);
}

static struct stack_bytes *account_of(struct ledger *ledger, uint32_t who)
{
	return stacks__bytes(ledger->stacks, who);
}

/* After an exec nothing is left of what was there, but what was done. */
static void forget_all(struct ledger *ledger)
{
	for (uint32_t i = 0; i < stacks__count(ledger->stacks); i++) {
		struct stack_bytes *bytes = account_of(ledger, i);

		bytes->unmapped = bytes->mapped;
		bytes->released = bytes->faulted;
	}
	ledger->totals.vms = ledger->totals.rss = 0;
	ledger->totals.elsewhere = 0;
	ledger->totals.unplaced = 0;
	ledger->n_unplaced = ledger->n_recents = 0;
	memset(ledger->threads, 0, sizeof(ledger->threads));
	intervals__cut(ledger->mapped, 0, UINT64_MAX, NULL, NULL);
	for (int i = 0; i < N_LANES; i++)
		intervals__cut(ledger->lanes[i], 0, UINT64_MAX, NULL, NULL);
}

void ledger__start(struct ledger *ledger, const struct memory_start *start, bool is_new)
{
	uint64_t rss = start->rss[RSS_FILE] + start->rss[RSS_ANON] + start->rss[RSS_SHMEM];

	if (ledger->totals.started)
		forget_all(ledger);
	*account_of(ledger, STACKS_START) = (struct stack_bytes){.faulted = rss};
	free(ledger->final.stacks.bytes);
	ledger->final.stacks.bytes = NULL;
	ledger->starting = is_new;
	ledger->attached = start->attached;
	ledger->read_from = start->read_from;
	ledger__start_ends(ledger, start->read_from);
	ledger->totals.start_rss = ledger->totals.rss = ledger->totals.kernel_rss = rss;
	ledger->totals.kernel_vms = start->vms;
}

/* ------------------------------------------------------------------ accounts */

static void map_bytes(struct ledger *ledger, uint32_t who, uint64_t bytes)
{
	account_of(ledger, who)->mapped += bytes;
	ledger->totals.vms += bytes;
}

static void release_bytes(struct ledger *ledger, uint32_t who, uint64_t bytes)
{
	account_of(ledger, who)->released += bytes;
	ledger->totals.elsewhere -= bytes; /* the kernel's word for it was put there */
}

static void put_unplaced(struct ledger *ledger, uint32_t who, uint64_t bytes)
{
	struct touch *last = ledger->n_unplaced ? &ledger->unplaced[ledger->n_unplaced - 1] : NULL;
	uint32_t room = ledger->room_unplaced ? 2 * ledger->room_unplaced : 64;

	ledger->totals.unplaced += bytes;
	if (last && last->who == who) {
		last->bytes += bytes;
		return;
	}
	if (ledger->n_unplaced == ledger->room_unplaced && room <= MAX_UNPLACED) {
		struct touch *more = realloc(ledger->unplaced, room * sizeof(*more));

		if (more) {
			ledger->unplaced = more;
			ledger->room_unplaced = room;
		}
	}
	if (ledger->n_unplaced == ledger->room_unplaced) {
		ledger->totals.inexact += bytes; /* never to be released */
		return;
	}
	ledger->unplaced[ledger->n_unplaced++] = (struct touch){bytes, who};
}

/* Drop so much of what lies nobody knows where. */
static void drop_unplaced(struct ledger *ledger, uint64_t bytes)
{
	while (bytes && ledger->n_unplaced) {
		struct touch *last = &ledger->unplaced[ledger->n_unplaced - 1];
		uint64_t part = least(bytes, last->bytes);

		release_bytes(ledger, last->who, part);
		ledger->totals.unplaced -= part;
		last->bytes -= part;
		bytes -= part;
		ledger->n_unplaced -= !last->bytes;
	}
}

/* Drop so much of what was resident at the start. @return how much of it there was */
static uint64_t drop_start(struct ledger *ledger, uint64_t bytes)
{
	const struct stack_bytes *start = account_of(ledger, STACKS_START);
	uint64_t left = start->faulted - start->released;

	bytes = least(bytes, left);
	release_bytes(ledger, STACKS_START, bytes);
	return bytes;
}

static struct thread *thread_of(struct ledger *ledger, uint32_t tid)
{
	struct thread *thread = &ledger->threads[tid % N_THREADS];

	if (thread->tid != tid)
		*thread = (struct thread){.tid = tid};
	return thread;
}

/* ------------------------------------------------------------------ ranges */

static int unmap_piece(void *ctx, const struct interval *piece)
{
	struct ledger *ledger = ctx;
	struct stack_bytes *bytes = account_of(ledger, piece->who);

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

	release_bytes(ledger, piece->who, bytes);
	ledger->found += bytes;
	if (piece->bytes > bytes)
		put_unplaced(ledger, piece->who, piece->bytes - bytes);
	return 0;
}

static int count_start(void *ctx, const struct interval *piece)
{
	struct ledger *ledger = ctx;

	if (piece->who == STACKS_START)
		ledger->found_start += piece->bytes;
	return 0;
}

static void cut(struct ledger *ledger, struct intervals *map, uint64_t start, uint64_t end,
		intervals_fn visit)
{
	if (intervals__cut(map, start, end, visit, ledger))
		ledger->totals.inexact += end - start;
}

static void put(struct ledger *ledger, struct intervals *map, const struct interval *new)
{
	if (intervals__put(map, new))
		ledger->totals.inexact += new->bytes;
}

static void drop_pages(struct ledger *ledger, uint64_t start, uint64_t end)
{
	for (int i = 0; i < N_LANES; i++)
		cut(ledger, ledger->lanes[i], start, end, release_piece);
}

static void unmap_range(struct ledger *ledger, uint64_t start, uint64_t end)
{
	drop_pages(ledger, start, end);
	cut(ledger, ledger->mapped, start, end, unmap_piece);
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
	struct thread *thread = thread_of(ledger, tid);
	uint64_t dropped = thread->dropped;

	thread->dropped = thread->dropped_file = 0;
	if (dropped <= ledger->found)
		return;
	dropped -= ledger->found;
	dropped -= drop_start(ledger, least(dropped, ledger->found_start));
	drop_unplaced(ledger, dropped);
}

static void map_range(struct ledger *ledger, const struct memory_event *event, uint64_t start,
		      uint64_t end, uint32_t who)
{
	const struct interval new = {start, end, end - start, who};

	if (start >= end)
		return;
	unmap_range(ledger, start, end); /* MAP_FIXED; or an event was lost */
	map_bytes(ledger, who, new.bytes);
	put(ledger, ledger->mapped, &new);
	ledger->recents[ledger->n_recents++ % N_RECENTS] =
		(struct recent){start, end, event->time, event->tid};
}

/* ------------------------------------------------------------------ calls */

struct pieces {
	struct interval *list;
	uint32_t n, room;
	bool failed;
};

static int keep_piece(void *ctx, const struct interval *piece)
{
	struct pieces *pieces = ctx;
	uint32_t room = pieces->room ? 2 * pieces->room : 16;

	if (pieces->n == pieces->room) {
		struct interval *more = realloc(pieces->list, room * sizeof(*more));

		if (!more) {
			pieces->failed = true;
			return -ENOMEM;
		}
		pieces->list = more;
		pieces->room = room;
	}
	pieces->list[pieces->n++] = *piece;
	return 0;
}

/* Have what lies in a range lie elsewhere, with its owners. */
static void move(struct ledger *ledger, struct intervals *map, uint64_t from, uint64_t to,
		 uint64_t size)
{
	struct pieces pieces = {0};

	if (intervals__cut(map, from, from + size, keep_piece, &pieces))
		ledger->totals.inexact += size;
	for (uint32_t i = 0; i < pieces.n; i++) {
		pieces.list[i].start += to - from;
		pieces.list[i].end += to - from;
		put(ledger, map, &pieces.list[i]);
	}
	free(pieces.list);
}

/* What of a range is nobody's is that one's. */
static void map_gaps(struct ledger *ledger, uint64_t start, uint64_t end, uint32_t who)
{
	struct pieces gaps = {0};

	if (intervals__gaps(ledger->mapped, start, end, keep_piece, &gaps))
		ledger->totals.inexact += end - start;
	for (uint32_t i = 0; i < gaps.n; i++) {
		gaps.list[i].who = who;
		gaps.list[i].bytes = gaps.list[i].end - gaps.list[i].start;
		map_bytes(ledger, who, gaps.list[i].bytes);
		put(ledger, ledger->mapped, &gaps.list[i]);
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

/* ------------------------------------------------------------------ faults */

struct fill {
	struct ledger *ledger;
	struct pieces ranges; /* mapped, and free in the first lane */
	uint64_t room;
};

static int add_gap(void *ctx, const struct interval *gap)
{
	struct fill *fill = ctx;

	fill->room += gap->end - gap->start;
	return keep_piece(&fill->ranges, gap);
}

static int add_mapped(void *ctx, const struct interval *piece)
{
	struct fill *fill = ctx;

	return intervals__gaps(fill->ledger->lanes[0], piece->start, piece->end, add_gap, fill);
}

/* The pages of a range that are mapped and not known to be resident. */
static void find_room(struct ledger *ledger, struct fill *fill, uint64_t start, uint64_t end)
{
	fill->ledger = ledger;
	fill->room = 0;
	fill->ranges.n = 0;
	intervals__each(ledger->mapped, start, end, add_mapped, fill);
}

/*
 * The kernel brings in what surrounds a page of a file, but not beyond its mapping: a piece of just
 * that size has been read from end to end.
 */
static void choose_whole(struct fill *fill, uint64_t bytes)
{
	const struct interval *whole = NULL;

	for (uint32_t i = 0; i < fill->ranges.n; i++) {
		if (fill->ranges.list[i].end - fill->ranges.list[i].start != bytes)
			continue;
		if (whole)
			return;
		whole = &fill->ranges.list[i];
	}
	if (!whole)
		return;
	fill->ranges.list[0] = *whole;
	fill->ranges.n = 1;
	fill->room = bytes;
}

/* @return what found no room */
static uint64_t fill_pages(struct ledger *ledger, const struct fill *fill, uint64_t bytes,
			   uint32_t who)
{
	for (uint32_t i = 0; bytes && i < fill->ranges.n; i++) {
		struct interval page = fill->ranges.list[i];

		page.bytes = least(bytes, page.end - page.start);
		page.end = page.start + page.bytes;
		page.who = who;
		put(ledger, ledger->lanes[0], &page);
		bytes -= page.bytes;
	}
	return bytes;
}

static int is_of_another(void *ctx, const struct interval *piece)
{
	return piece->who != *(const uint32_t *)ctx;
}

static int add_bytes(void *ctx, const struct interval *piece)
{
	*(uint64_t *)ctx += piece->bytes;
	return 0;
}

/* Spread bytes over a range, in the first lane where no other has. @return what found no room */
static uint64_t spread_in(struct ledger *ledger, uint64_t start, uint64_t end, uint64_t bytes,
			  uint32_t who)
{
	for (int i = 1; i < N_LANES; i++) {
		struct interval new = {start, end, bytes, who};

		if (intervals__each(ledger->lanes[i], start, end, is_of_another, &who) ||
		    intervals__cut(ledger->lanes[i], start, end, add_bytes, &new.bytes))
			continue;
		bytes = new.bytes - least(new.bytes, end - start);
		new.bytes -= bytes;
		if (intervals__put(ledger->lanes[i], &new))
			bytes += new.bytes;
		return bytes;
	}
	return bytes;
}

/*
 * Pages were touched here and there: over the gaps of the range, each by its length.
 * @return what found no room
 */
static uint64_t spread(struct ledger *ledger, const struct fill *fill, uint64_t bytes, uint32_t who)
{
	uint64_t room = fill->room, left = 0;

	for (uint32_t i = 0; bytes && i < fill->ranges.n; i++) {
		const struct interval *gap = &fill->ranges.list[i];
		uint64_t size = gap->end - gap->start;
		uint64_t part = (unsigned __int128)bytes * size / room;

		part = least(bytes, whole_pages(part));
		left += spread_in(ledger, gap->start, gap->end, part, who);
		room -= size;
		bytes -= part;
	}
	return bytes + left;
}

/* A copied page takes the place of its original. Whoever else stands there was placed wrongly. */
static int displace_piece(void *ctx, const struct interval *piece)
{
	struct ledger *ledger = ctx;
	uint64_t replaced = least(piece->bytes, ledger->copied);

	ledger->copied -= replaced;
	release_bytes(ledger, piece->who, replaced);
	if (piece->bytes > replaced)
		put_unplaced(ledger, piece->who, piece->bytes - replaced);
	return 0;
}

/* These pages are new: whoever had them all has none of them, who was spread over them its share.
 */
static void displace(struct ledger *ledger, uint64_t start, uint64_t end)
{
	cut(ledger, ledger->lanes[0], start, end, displace_piece);
	for (int i = 1; i < N_LANES && ledger->copied; i++)
		cut(ledger, ledger->lanes[i], start, end, displace_piece);
}

/*
 * A run of faults. It may have brought in more than the pages that it names: then neighbours came
 * with them, of a file or of a huge page.
 */
static void place(struct ledger *ledger, uint64_t start, uint64_t end, uint64_t bytes, uint32_t who)
{
	static const uint64_t grains[] = {PAGE_MASK + 1, FILE_AROUND, HUGE_PAGE};
	struct fill fill = {0};

	if (bytes == end - start)
		displace(ledger, start, end);
	for (int i = 0; i < 3; i++) {
		start &= ~(grains[i] - 1);
		end = (end + grains[i] - 1) & ~(grains[i] - 1);
		find_room(ledger, &fill, start, end);
		if (fill.room < bytes)
			continue;
		choose_whole(&fill, bytes);
		if (fill.room == bytes || end - start <= FILE_AROUND || i)
			bytes = fill_pages(ledger, &fill, bytes, who);
		else
			bytes = spread(ledger, &fill, bytes, who);
		break;
	}
	free(fill.ranges.list);
	if (bytes)
		put_unplaced(ledger, who, bytes);
}

static void grow(struct ledger *ledger, const struct memory_event *event, uint32_t who)
{
	uint64_t bytes = event->change;
	struct thread *thread = thread_of(ledger, event->tid);

	account_of(ledger, who)->faulted += bytes;
	/* A file's page that is written to is dropped and copied. */
	if (event->type == WIRE_ANON) {
		ledger->copied = least(bytes, thread->dropped_file);
		thread->dropped_file -= ledger->copied;
		thread->dropped -= ledger->copied;
	}
	if (event->address)
		place(ledger, event->address, event->address + event->size, bytes, who);
	else
		put_unplaced(ledger, who, bytes);
	drop_start(ledger, ledger->copied);
}

static void shrink(struct ledger *ledger, const struct memory_event *event)
{
	struct thread *thread = thread_of(ledger, event->tid);

	ledger->totals.elsewhere += -event->change;
	thread->dropped += -event->change;
	if (event->type == WIRE_FILE)
		thread->dropped_file += -event->change;
}

static void take_change(struct ledger *ledger, const struct memory_event *event, uint32_t who)
{
	if (event->time <= ledger->attached || event->type == WIRE_SWAP)
		return; /* swapped out is not resident */
	ledger->totals.rss += event->change;
	if (event->change > 0)
		grow(ledger, event, who);
	else
		shrink(ledger, event);
}

/* ------------------------------------------------------------------ events */

static uint32_t stack_of(struct ledger *ledger, const struct memory_event *event)
{
	struct stack_line lines[MAX_FRAMES];
	size_t n = 0;

	for (uint32_t i = 0; i < event->n_frames && n < MAX_FRAMES; i++) {
		const struct frame *frame = &event->frames[i];

		if (!frame->symbol)
			continue;
		lines[n++] = (struct stack_line){frame->symbol->function, frame->symbol->file,
						 frame->line, frame->first_line};
	}
	if (n) {
		ledger->starting = false;
		return stacks__find(ledger->stacks, lines, n);
	}
	if (event->flags & WIRE_STACK_OUTSIDE)
		return STACKS_OUTSIDE;
	if (event->flags & WIRE_STACK_NATIVE)
		return ledger->starting ? STACKS_STARTUP : STACKS_NATIVE;
	return STACKS_UNKNOWN;
}

static void take_call(struct ledger *ledger, const struct memory_event *event, uint32_t who)
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

/* Nonsense from the target: no range ends before it begins, or in the kernel's half. */
static bool makes_sense(const struct memory_event *event)
{
	const uint64_t limit = UINT64_C(1) << 57;

	return event->address < limit && event->size < limit && event->old_address < limit &&
	       event->old_size < limit && event->change < (int64_t)limit &&
	       event->change > -(int64_t)limit;
}

static void keep_final(struct ledger *ledger)
{
	ledger__totals(ledger, &ledger->final.totals);
	stacks__save(ledger->stacks, &ledger->final.stacks); /* no memory: then at the very end */
}

void ledger__take(struct ledger *ledger, const struct memory_event *event)
{
	uint32_t who;

	if (!ledger->totals.started || !makes_sense(event))
		return;
	if (event->flags & WIRE_FINALIZING && !ledger->final.stacks.bytes)
		keep_final(ledger);
	ledger->totals.events++;
	if (event->vms) {
		ledger->totals.kernel_vms = event->vms;
		ledger->totals.kernel_rss = event->rss;
	}
	who = stack_of(ledger, event);
	ledger->found = ledger->found_start = ledger->copied = 0;
	if (event->type >= WIRE_ANON && event->type <= WIRE_SWAP)
		take_change(ledger, event, who);
	else
		take_call(ledger, event, who);
}

void ledger__lose(struct ledger *ledger, uint64_t n)
{
	ledger->totals.lost += n;
}

/* ------------------------------------------------------------------ the start */

void ledger__start_range(struct ledger *ledger, uint64_t start, uint64_t end)
{
	const struct interval range = {start, end, end - start, STACKS_START};

	if (start >= end || end > UINT64_C(1) << 57)
		return; /* [vsyscall] is not the process's */
	map_bytes(ledger, STACKS_START, range.bytes);
	put(ledger, ledger->mapped, &range);
}

void ledger__start_ends(struct ledger *ledger, uint64_t time)
{
	ledger->read_until = ledger->totals.started = time;
}

int ledger__start_maps(struct ledger *ledger, int maps_fd)
{
	int fd = dup(maps_fd), err = 0;
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	struct mapping map;
	char *line = NULL;
	size_t size = 0;

	if (!file) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	while (getline(&line, &size, file) > 0)
		if (maps__parse(line, &map))
			ledger__start_range(ledger, map.start, map.end);
	if (ferror(file))
		err = -EIO;
	free(line);
	fclose(file);
	return err;
}

/* ------------------------------------------------------------------ questions */

bool ledger__started(const struct ledger *ledger)
{
	return ledger->totals.started;
}

const struct ledger_moment *ledger__final(const struct ledger *ledger)
{
	return ledger->final.stacks.bytes ? &ledger->final : NULL;
}

struct stacks *ledger__stacks(const struct ledger *ledger)
{
	return ledger->stacks;
}

void ledger__totals(const struct ledger *ledger, struct ledger_totals *totals)
{
	*totals = ledger->totals;
	totals->start_vms = stacks__bytes(ledger->stacks, STACKS_START)->mapped;
	totals->cut_stacks = stacks__cut(ledger->stacks);
	totals->ranges = intervals__count(ledger->mapped);
	for (int i = 0; i < N_LANES; i++)
		totals->ranges += intervals__count(ledger->lanes[i]);
}
