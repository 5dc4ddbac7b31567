// SPDX-License-Identifier: BSD-3-Clause
#include "ledger/ledger_internal.h"

#include <errno.h>
#include <stdlib.h>

#define MAX_UNPLACED (64u << 10)

/* ------------------------------------------------------------------ accounts */

struct stack_bytes *ledger_account_of(struct ledger *ledger, uint32_t who)
{
	return stacks__bytes(ledger->stacks, who);
}

void ledger_map_bytes(struct ledger *ledger, uint32_t who, uint64_t bytes)
{
	ledger_account_of(ledger, who)->mapped += bytes;
	ledger->totals.vms += bytes;
}

void ledger_release_bytes(struct ledger *ledger, uint32_t who, uint64_t bytes)
{
	ledger_account_of(ledger, who)->released += bytes;
	ledger->totals.elsewhere -= bytes; /* the kernel's word for it was put there */
}

void ledger_put_unplaced(struct ledger *ledger, uint32_t who, uint64_t bytes)
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
void ledger_drop_unplaced(struct ledger *ledger, uint64_t bytes)
{
	while (bytes && ledger->n_unplaced) {
		struct touch *last = &ledger->unplaced[ledger->n_unplaced - 1];
		uint64_t part = least(bytes, last->bytes);

		ledger_release_bytes(ledger, last->who, part);
		ledger->totals.unplaced -= part;
		last->bytes -= part;
		bytes -= part;
		ledger->n_unplaced -= !last->bytes;
	}
}

uint64_t ledger_drop_start(struct ledger *ledger, uint64_t bytes)
{
	const struct stack_bytes *start = ledger_account_of(ledger, STACKS_START);
	uint64_t left = start->faulted - start->released;

	bytes = least(bytes, left);
	ledger_release_bytes(ledger, STACKS_START, bytes);
	return bytes;
}

struct thread *ledger_thread_of(struct ledger *ledger, uint32_t tid)
{
	struct thread *thread = &ledger->threads[tid % N_THREADS];

	if (thread->tid != tid)
		*thread = (struct thread){.tid = tid};
	return thread;
}

/* ------------------------------------------------------------------ the books */

void ledger_cut(struct ledger *ledger, struct intervals *map, uint64_t start, uint64_t end,
		intervals_fn visit)
{
	if (intervals__cut(map, start, end, visit, ledger))
		ledger->totals.inexact += end - start;
}

void ledger_put(struct ledger *ledger, struct intervals *map, const struct interval *new)
{
	if (intervals__put(map, new))
		ledger->totals.inexact += new->bytes;
}

int ledger_keep_piece(void *ctx, const struct interval *piece)
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
