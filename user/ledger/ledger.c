// SPDX-License-Identifier: BSD-3-Clause
#include "ledger/ledger_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process/maps.h"

#define MAX_SPARSE (64u << 10) /* intervals in a lane but the first */
#define MIN_NODES  4096	       /* of the stacks */
#define MIN_TEXT   (1u << 20)
#define MAX_FRAMES (WIRE_MAX_FRAMES + 1)

/* The kernel's order of memory_start.rss. */
enum { RSS_FILE, RSS_ANON, RSS_SWAP, RSS_SHMEM };

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
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
	free(ledger->marked.stacks.bytes);
	free(ledger);
}

/* After an exec nothing is left of what was there, but what was done. */
static void forget_all(struct ledger *ledger)
{
	for (uint32_t i = 0; i < stacks__count(ledger->stacks); i++) {
		struct stack_bytes *bytes = ledger_account_of(ledger, i);

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

/* No memory for it: then what is asked for is how it stands when it is asked. */
static void keep(const struct ledger *ledger, struct ledger_moment *moment)
{
	ledger__totals(ledger, &moment->totals);
	stacks__save(ledger->stacks, &moment->stacks);
}

static void forget(struct ledger_moment *moment)
{
	free(moment->stacks.bytes);
	moment->stacks.bytes = NULL;
}

static void pass_mark(struct ledger *ledger, uint64_t time)
{
	if (!ledger->mark || time <= ledger->mark || !ledger->totals.started)
		return;
	keep(ledger, &ledger->marked);
	ledger->mark = 0;
}

void ledger__start(struct ledger *ledger, const struct memory_start *start, bool is_new)
{
	uint64_t rss = start->rss[RSS_FILE] + start->rss[RSS_ANON] + start->rss[RSS_SHMEM];

	pass_mark(ledger, start->attached);
	if (ledger->totals.started)
		forget_all(ledger);
	*ledger_account_of(ledger, STACKS_START) = (struct stack_bytes){.faulted = rss};
	forget(&ledger->final);
	ledger->starting = is_new;
	ledger->attached = start->attached;
	ledger->read_from = start->read_from;
	ledger__start_ends(ledger, start->read_from);
	ledger->totals.start_rss = ledger->totals.rss = ledger->totals.kernel_rss = rss;
	ledger->totals.kernel_vms = start->vms;
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

/* Nonsense from the target: no range ends before it begins, or in the kernel's half. */
static bool makes_sense(const struct memory_event *event)
{
	const uint64_t limit = UINT64_C(1) << 57;

	return event->address < limit && event->size < limit && event->old_address < limit &&
	       event->old_size < limit && event->change < (int64_t)limit &&
	       event->change > -(int64_t)limit;
}

void ledger__take(struct ledger *ledger, const struct memory_event *event)
{
	uint32_t who;

	if (!ledger->totals.started || !makes_sense(event))
		return;
	if (event->flags & WIRE_FINALIZING && !ledger->final.stacks.bytes)
		keep(ledger, &ledger->final);
	pass_mark(ledger, event->time);
	ledger->totals.events++;
	if (event->vms) {
		ledger->totals.kernel_vms = event->vms;
		ledger->totals.kernel_rss = event->rss;
	}
	who = stack_of(ledger, event);
	ledger->found = ledger->found_start = ledger->copied = 0;
	if (event->type >= WIRE_ANON && event->type <= WIRE_SWAP)
		ledger_take_change(ledger, event, who);
	else
		ledger_take_call(ledger, event, who);
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
	ledger_map_bytes(ledger, STACKS_START, range.bytes);
	ledger_put(ledger, ledger->mapped, &range);
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

void ledger__mark(struct ledger *ledger, uint64_t time)
{
	forget(&ledger->marked);
	ledger->mark = time;
}

const struct ledger_moment *ledger__marked(const struct ledger *ledger)
{
	return ledger->marked.stacks.bytes ? &ledger->marked : NULL;
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
