// SPDX-License-Identifier: BSD-3-Clause
#include "transport/merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/batch.h"

#define PLAIN	 WIRE_MAX_TARGETS /* the queue of what is no batch */
#define N_QUEUES (WIRE_MAX_TARGETS + 1)

struct item {
	struct item *next;
	uint64_t time; /* of what is next of it */
	uint32_t size;
	uint32_t at, n_slots; /* batches: handed out, of all */
	union {
		struct wire_head head;
		struct wire_batch batch;
	};
};

struct queue {
	struct item *first, *last;
	uint64_t until; /* an agent's: no event of it that is still to come is older */
	struct batch_clock clock;
	bool speaks; /* an agent's, between its first word and its last */
};

struct merge {
	struct queue *queues[N_QUEUES];
	int known[N_QUEUES]; /* which there are */
	int n_known;
	struct queue *heap[N_QUEUES]; /* those that hold something, the oldest first */
	int heap_size;
	size_t bytes;
	uint64_t newest, late;
};

struct merge *merge__new(void)
{
	return calloc(1, sizeof(struct merge));
}

void merge__free(struct merge *merge)
{
	if (!merge)
		return;
	for (int i = 0; i < merge->n_known; i++) {
		struct queue *queue = merge->queues[merge->known[i]];

		while (queue->first) {
			struct item *next = queue->first->next;

			free(queue->first);
			queue->first = next;
		}
		free(queue);
	}
	free(merge);
}

uint64_t merge__late(const struct merge *merge)
{
	return merge->late;
}

static struct queue *queue_of(struct merge *merge, int index)
{
	if (!merge->queues[index]) {
		merge->queues[index] = calloc(1, sizeof(struct queue));
		if (merge->queues[index])
			merge->known[merge->n_known++] = index;
	}
	return merge->queues[index];
}

/* ------------------------------------------------------------------ the heap of queues */

static bool is_older(const struct queue *a, const struct queue *b)
{
	return a->first->time < b->first->time;
}

static void sift_down(struct merge *merge, int i)
{
	struct queue *moved = merge->heap[i];

	for (;;) {
		int child = 2 * i + 1;

		if (child + 1 < merge->heap_size &&
		    is_older(merge->heap[child + 1], merge->heap[child]))
			child++;
		if (child >= merge->heap_size || !is_older(merge->heap[child], moved))
			break;
		merge->heap[i] = merge->heap[child];
		i = child;
	}
	merge->heap[i] = moved;
}

static void sift_up(struct merge *merge, int i)
{
	struct queue *moved = merge->heap[i];

	while (i && is_older(moved, merge->heap[(i - 1) / 2])) {
		merge->heap[i] = merge->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	merge->heap[i] = moved;
}

static void append(struct merge *merge, struct queue *queue, struct item *item)
{
	merge->bytes += sizeof(*item) + item->size;
	if (queue->first) {
		queue->last->next = item;
		queue->last = item;
		return;
	}
	queue->first = queue->last = item;
	merge->heap[merge->heap_size++] = queue;
	sift_up(merge, merge->heap_size - 1);
}

/* The oldest item is through, or stands for a later time now. */
static void settle(struct merge *merge, bool is_done)
{
	struct queue *queue = merge->heap[0];
	struct item *item = queue->first;

	if (is_done) {
		merge->bytes -= sizeof(*item) + item->size;
		queue->first = item->next;
		free(item);
	}
	if (!queue->first)
		merge->heap[0] = merge->heap[--merge->heap_size];
	if (merge->heap_size)
		sift_down(merge, 0);
}

/* ------------------------------------------------------------------ batches */

/* What is no event goes with the event that follows. */
static void date_others(struct wire_slot *slots, uint32_t from, uint32_t to, uint64_t time)
{
	while (from < to) {
		uint32_t span = batch__span(slots, from, to);

		slots[from].time = time;
		from += span;
	}
}

static void note(struct queue *queue, const struct wire_slot *slot)
{
	if (wire_slot_type(slot) == WIRE_SLOT_NOTICE && slot->code == WIRE_NOTICE_ENDED)
		queue->speaks = false;
}

/* Gives every slot its time, in CLOCK_MONOTONIC. */
static void date_slots(struct queue *queue, struct item *item)
{
	struct wire_slot *slots = (struct wire_slot *)(&item->batch + 1);
	uint32_t others = 0, i = 0;

	queue->speaks = true;
	batch_clock__next(&queue->clock, &item->batch);
	while (i < item->n_slots) {
		uint32_t span = batch__span(slots, i, item->n_slots);

		if (batch__is_event(wire_slot_type(&slots[i]))) {
			slots[i].time = batch_clock__time(&queue->clock, slots[i].time);
			queue->until = slots[i].time;
			date_others(slots, others, i, slots[i].time);
			others = i + span;
		} else {
			note(queue, &slots[i]);
		}
		i += span;
	}
	item->time = batch_clock__time(&queue->clock, 0);
	date_others(slots, others, item->n_slots, item->time);
	if (item->n_slots)
		item->time = slots[0].time;
	item->batch.flags = WIRE_BATCH_TIMES;
}

static int add_batch(struct merge *merge, const struct wire_batch *batch, uint32_t size)
{
	struct queue *queue = queue_of(merge, batch->head.target);
	uint32_t n_slots = batch__n_slots(batch, size);
	struct item *item;

	if (!queue)
		return -ENOMEM;
	size = sizeof(*batch) + n_slots * sizeof(struct wire_slot);
	item = malloc(sizeof(*item) + size);
	if (!item)
		return -ENOMEM;
	*item = (struct item){.size = size, .n_slots = n_slots};
	memcpy(&item->batch, batch, size);
	date_slots(queue, item);
	append(merge, queue, item);
	return 0;
}

int merge__add(void *ctx, const struct wire_head *record, uint32_t size)
{
	struct merge *merge = ctx;
	struct queue *queue;
	struct item *item;

	if (record->kind == WIRE_WAKE)
		return 0;
	if (record->kind == WIRE_BATCH && record->target < WIRE_MAX_TARGETS)
		return size < sizeof(struct wire_batch) ? 0
							: add_batch(merge, (void *)record, size);
	queue = queue_of(merge, PLAIN);
	item = queue ? malloc(sizeof(*item) + size) : NULL;
	if (!item)
		return -ENOMEM;
	*item = (struct item){.time = record->time, .size = size};
	memcpy(&item->head, record, size);
	append(merge, queue, item);
	return 0;
}

/* ------------------------------------------------------------------ hand out */

/* The time up to which nothing is missing. */
static uint64_t due(const struct merge *merge, uint64_t clock)
{
	uint64_t held = clock > MERGE_HOLD_NS ? clock - MERGE_HOLD_NS : 0, time = clock;

	if (merge->bytes > MERGE_MAX_BYTES)
		return UINT64_MAX;
	for (int i = 0; i < merge->n_known; i++) {
		const struct queue *queue = merge->queues[merge->known[i]];
		uint64_t until = queue->until > held ? queue->until : held;

		if (queue->speaks && until < time)
			time = until;
	}
	return time;
}

/* How far the oldest item may go before another queue's is next. */
static uint64_t next_of_others(const struct merge *merge)
{
	uint64_t time = UINT64_MAX;

	for (int i = 1; i <= 2 && i < merge->heap_size; i++)
		if (merge->heap[i]->first->time < time)
			time = merge->heap[i]->first->time;
	return time;
}

/* @return slots from item->at on that are not younger than `last`; one at least if there is one */
static uint32_t run_end(const struct item *item, uint64_t last)
{
	const struct wire_slot *slots = batch__slots(&item->batch);
	uint32_t i = item->at;

	while (i < item->n_slots && (i == item->at || slots[i].time <= last))
		i += batch__span(slots, i, item->n_slots);
	return i;
}

static int hand_out_run(struct merge *merge, struct item *item, uint64_t last, transport_fn handle,
			void *ctx)
{
	uint32_t end = run_end(item, last);
	bool is_done = end == item->n_slots;
	int err;

	item->batch.slots = item->at;
	item->batch.n_slots = end;
	if (is_done)
		item->batch.flags &= ~WIRE_BATCH_MORE;
	else
		item->batch.flags |= WIRE_BATCH_MORE;
	err = handle(ctx, &item->head, item->size);
	item->at = end;
	if (!is_done)
		item->time = batch__slots(&item->batch)[end].time;
	settle(merge, is_done);
	return err;
}

int merge__hand_out(struct merge *merge, uint64_t clock, transport_fn handle, void *ctx,
		    bool everything)
{
	uint64_t limit = everything ? UINT64_MAX : due(merge, clock), last;
	int err = 0;

	while (merge->heap_size && !err) {
		struct item *item = merge->heap[0]->first;

		if (item->time > limit)
			break;
		if (item->time < merge->newest)
			merge->late++;
		else
			merge->newest = item->time;
		if (item->head.kind == WIRE_BATCH) {
			last = next_of_others(merge);
			err = hand_out_run(merge, item, last < limit ? last : limit, handle, ctx);
		} else {
			err = handle(ctx, &item->head, item->size);
			settle(merge, true);
		}
	}
	return err;
}
