// SPDX-License-Identifier: BSD-3-Clause
#include "ledger/ledger_internal.h"

#include <stdlib.h>

/* What one fault may bring in around its page: neighbours of a file's, a huge page. */
#define FILE_AROUND (64ull << 10)
#define HUGE_PAGE   (2ull << 20)

struct fill {
	struct ledger *ledger;
	struct pieces ranges; /* mapped, and free in the first lane */
	uint64_t room;
};

static int add_gap(void *ctx, const struct interval *gap)
{
	struct fill *fill = ctx;

	fill->room += gap->end - gap->start;
	return ledger_keep_piece(&fill->ranges, gap);
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
		ledger_put(ledger, ledger->lanes[0], &page);
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
	ledger_release_bytes(ledger, piece->who, replaced);
	if (piece->bytes > replaced)
		ledger_put_unplaced(ledger, piece->who, piece->bytes - replaced);
	return 0;
}

/* These pages are new: whoever had them all has none of them, who was spread over them its share.
 */
static void displace(struct ledger *ledger, uint64_t start, uint64_t end)
{
	ledger_cut(ledger, ledger->lanes[0], start, end, displace_piece);
	for (int i = 1; i < N_LANES && ledger->copied; i++)
		ledger_cut(ledger, ledger->lanes[i], start, end, displace_piece);
}

static int count_copied(void *ctx, const struct interval *piece)
{
	struct interval *front = ctx; /* bytes: still to be found */
	uint64_t part = least(piece->bytes, front->bytes);

	front->bytes -= part;
	front->end = piece->start + part;
	return !front->bytes;
}

/* Which pages of the range were copied nobody knows: the first that have an owner. */
static void displace_some(struct ledger *ledger, uint64_t start, uint64_t end)
{
	struct interval front = {start, start, ledger->copied, 0};

	if (!ledger->copied)
		return;
	intervals__each(ledger->lanes[0], start, end, count_copied, &front);
	ledger_cut(ledger, ledger->lanes[0], start, front.end, displace_piece);
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
	else
		displace_some(ledger, start, end);
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
		ledger_put_unplaced(ledger, who, bytes);
}

static void grow(struct ledger *ledger, const struct memory_event *event, uint32_t who)
{
	uint64_t bytes = event->change;
	struct thread *thread = ledger_thread_of(ledger, event->tid);

	ledger_account_of(ledger, who)->faulted += bytes;
	/* A file's page that is written to is dropped and copied. */
	if (event->type == WIRE_ANON) {
		ledger->copied = least(bytes, thread->dropped_file);
		thread->dropped_file -= ledger->copied;
		thread->dropped -= ledger->copied;
	}
	if (event->address)
		place(ledger, event->address, event->address + event->size, bytes, who);
	else
		ledger_put_unplaced(ledger, who, bytes);
	/* As after a call: of what was there at the start, or lies nobody knows where. */
	ledger->copied -= ledger_drop_start(ledger, ledger->copied);
	ledger_drop_unplaced(ledger, ledger->copied);
}

static void shrink(struct ledger *ledger, const struct memory_event *event)
{
	struct thread *thread = ledger_thread_of(ledger, event->tid);

	ledger->totals.elsewhere += -event->change;
	thread->dropped += -event->change;
	if (event->type == WIRE_FILE)
		thread->dropped_file += -event->change;
}

void ledger_take_change(struct ledger *ledger, const struct memory_event *event, uint32_t who)
{
	if (event->time <= ledger->attached || event->type == WIRE_SWAP)
		return; /* swapped out is not resident */
	ledger->totals.rss += event->change;
	if (event->change > 0)
		grow(ledger, event, who);
	else
		shrink(ledger, event);
}
