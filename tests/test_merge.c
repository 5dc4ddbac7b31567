// SPDX-License-Identifier: BSD-3-Clause
/*
 * Batches of several agents and records of the kernel become one stream in the order of their
 * events. The test makes events with times first, then what agents would hand over.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "transport/batch.h"
#include "transport/merge.h"

#define MS	  UINT64_C(1000000)
#define START	  (1000 * MS)
#define MAX_SEEN  100000
#define TICK_RATE 3 /* ticks of an agent's clock per ns */

static struct merge *merge;

static int setup(void **state)
{
	(void)state;
	merge = merge__new();
	assert_non_null(merge);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	merge__free(merge);
	return 0;
}

/* ------------------------------------------------------------------ what goes in */

struct batch {
	struct wire_batch head;
	struct wire_slot slots[WIRE_BATCH_MAX_SLOTS];
};

static struct batch batch;

static void slot(uint32_t type, uint32_t code, uint64_t time)
{
	batch.slots[batch.head.n_slots++] =
		(struct wire_slot){time * TICK_RATE, code, wire_slot_pack(1, type)};
	batch.head.n_events += batch__is_event(type);
}

static void add_batch(uint32_t target, uint64_t time)
{
	uint32_t size = sizeof(batch.head) + batch.head.n_slots * sizeof(struct wire_slot);
	struct wire_head *record = malloc(size);

	assert_non_null(record);
	batch.head.head = (struct wire_head){WIRE_BATCH, 0, target, 1, time};
	batch.head.time = time;
	batch.head.clock = time * TICK_RATE;
	memcpy(record, &batch, size);
	assert_int_equal(merge__add(merge, record, size), 0);
	free(record);
	memset(&batch.head, 0, sizeof(batch.head));
}

static void add_event(uint32_t target, uint32_t code, uint64_t time)
{
	struct wire_event event = {.head = {WIRE_EVENT, WIRE_CALL, target, 1, time}, .code = code};

	assert_int_equal(merge__add(merge, &event.head, sizeof(event)), 0);
}

/* ------------------------------------------------------------------ what comes out */

struct seen {
	uint64_t time;
	uint32_t target, code;
};

static struct seen seen[MAX_SEEN];
static uint32_t n_seen, n_batches, n_whole, n_runs, stop_at;
static uint32_t progress[8]; /* slots of each target's batch that came */

static void take_slots(const struct wire_batch *run, uint32_t size)
{
	const struct wire_slot *slots = batch__slots(run);
	uint32_t n = batch__n_slots(run, size);

	for (uint32_t i = run->slots; i < n; i += batch__span(slots, i, n)) {
		uint32_t type = wire_slot_type(&slots[i]);

		if (!batch__is_event(type))
			continue;
		assert_true(n_seen < MAX_SEEN);
		seen[n_seen++] = (struct seen){slots[i].time, run->head.target, slots[i].code};
	}
}

static int take(void *ctx, const struct wire_head *head, uint32_t size)
{
	const struct wire_batch *run = (const void *)head;
	const struct wire_event *event = (const void *)head;

	(void)ctx;
	if (head->kind == WIRE_BATCH) {
		assert_true(run->flags & WIRE_BATCH_TIMES);
		assert_int_equal(run->slots, progress[head->target]);
		n_batches += !run->slots;
		n_runs++;
		n_whole += !(run->flags & WIRE_BATCH_MORE);
		progress[head->target] = run->flags & WIRE_BATCH_MORE ? run->n_slots : 0;
		take_slots(run, size);
	} else {
		seen[n_seen++] = (struct seen){head->time, head->target, event->code};
	}
	return stop_at && n_seen >= stop_at ? -ECANCELED : 0;
}

static void begin(void)
{
	n_seen = n_batches = n_whole = n_runs = stop_at = 0;
	memset(progress, 0, sizeof(progress));
}

static int hand_out(uint64_t clock, bool everything)
{
	return merge__hand_out(merge, clock, take, NULL, everything);
}

static void assert_codes(uint32_t n, const uint32_t codes[])
{
	assert_int_equal(n_seen, n);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(seen[i].code, codes[i]);
}

/* ------------------------------------------------------------------ tests */

static void test_two_agents(void **state)
{
	(void)state;
	begin();
	add_batch(0, START);
	add_batch(1, START);
	slot(WIRE_CALL, 1, START + 1 * MS);
	slot(WIRE_CALL, 2, START + 2 * MS);
	slot(WIRE_CALL, 5, START + 5 * MS);
	add_batch(0, START + 6 * MS);
	slot(WIRE_SLOT_THREAD, 77, 0);
	slot(WIRE_CALL, 3, START + 3 * MS);
	slot(WIRE_SLOT_THREAD, 78, 0);
	slot(WIRE_CALL, 4, START + 4 * MS);
	slot(WIRE_CALL, 6, START + 6 * MS);
	add_batch(1, START + 7 * MS);
	assert_int_equal(hand_out(START + 8 * MS, false), 0);
	assert_codes(5, (uint32_t[]){1, 2, 3, 4, 5}); /* target 0 may have one before 6 */
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(seen[i].time, START + (i + 1) * MS);
	assert_int_equal(hand_out(START + 5 * MS + MERGE_HOLD_NS, false), 0);
	assert_int_equal(n_seen, 5);
	assert_int_equal(hand_out(START + 6 * MS + MERGE_HOLD_NS, false), 0);
	assert_codes(6, (uint32_t[]){1, 2, 3, 4, 5, 6});
	assert_int_equal(n_batches, 4);
	assert_int_equal(n_whole, 4);
	assert_int_equal(merge__late(merge), 0);
}

/* An agent that has said its last word holds nobody up. */
static void test_ended(void **state)
{
	(void)state;
	begin();
	slot(WIRE_SLOT_NOTICE, WIRE_NOTICE_HOOKED, 0);
	add_batch(0, START);
	slot(WIRE_CALL, 1, START + MS);
	add_batch(1, START + 2 * MS);
	assert_int_equal(hand_out(START + 3 * MS, false), 0);
	assert_int_equal(n_seen, 0);
	slot(WIRE_SLOT_NOTICE, WIRE_NOTICE_ENDED, 0);
	add_batch(0, START + 3 * MS);
	assert_int_equal(hand_out(START + 3 * MS, false), 0);
	assert_codes(1, (uint32_t[]){1});
}

static void test_kernel_events_between(void **state)
{
	struct wire_head wake = {.kind = WIRE_WAKE, .time = START};

	(void)state;
	begin();
	add_event(2, 1, START + 1 * MS);
	add_event(2, 3, START + 3 * MS);
	slot(WIRE_CALL, 2, START + 2 * MS);
	slot(WIRE_CALL, 4, START + 4 * MS);
	add_batch(0, START);
	assert_int_equal(merge__add(merge, &wake, sizeof(wake)), 0);
	assert_int_equal(hand_out(START + 4 * MS, true), 0);
	assert_int_equal(n_seen, 4);
	/* The batch's time bounds those of its events: a lie of the agent's. */
	assert_int_equal(seen[0].code, 2);
	assert_int_equal(seen[0].time, START);
	begin();
	slot(WIRE_CALL, 6, START + 6 * MS);
	slot(WIRE_CALL, 8, START + 8 * MS);
	add_batch(0, START + 9 * MS);
	add_event(2, 5, START + 5 * MS);
	add_event(2, 7, START + 7 * MS);
	assert_int_equal(hand_out(START + 9 * MS, true), 0);
	assert_codes(4, (uint32_t[]){5, 6, 7, 8});
}

static void test_error_and_going_on(void **state)
{
	(void)state;
	begin();
	add_batch(0, START);
	for (uint32_t i = 1; i <= 10; i++) {
		slot(WIRE_CALL, i, START + i * MS);
		if (i % 2)
			add_batch(0, START + i * MS);
		else
			add_event(1, 100 + i, START + i * MS);
	}
	add_batch(0, START + 10 * MS);
	for (stop_at = 1; stop_at < 15; stop_at++) {
		assert_int_equal(hand_out(START + 20 * MS, true), -ECANCELED);
		assert_true(n_seen >= stop_at);
		stop_at = n_seen;
	}
	stop_at = 0;
	assert_int_equal(hand_out(START + 20 * MS, true), 0);
	assert_int_equal(n_seen, 15);
}

static void test_sizes_that_are_wrong(void **state)
{
	(void)state;
	begin();
	slot(WIRE_SLOT_DEFINE, 1, 0);
	batch.slots[0].line_type = wire_slot_pack(WIRE_SLOT_LINE_MAX, WIRE_SLOT_DEFINE);
	slot(WIRE_CALL, 1, START); /* part of it, then */
	add_batch(0, START);
	batch.head.head = (struct wire_head){WIRE_BATCH, 0, 0, 1, START};
	for (uint32_t size = sizeof(struct wire_head); size < sizeof(batch.head) + 8; size++) {
		struct wire_head *record = malloc(size);

		batch.head.n_slots = UINT32_MAX;
		memcpy(record, &batch, size);
		assert_int_equal(merge__add(merge, record, size), 0);
		free(record);
	}
	assert_int_equal(hand_out(START, true), 0);
	assert_int_equal(n_seen, 0);
	assert_int_equal(n_whole, n_batches);
}

/* Random streams of four agents and the kernel, in drains: nothing is missing, all is in order. */
static void test_random(void **state)
{
	enum { TARGETS = 4, EVENTS = 40000 };
	static struct batch waiting[TARGETS];
	uint64_t time = START, last_drain = START, handed[TARGETS] = {0};

	(void)state;
	begin();
	srandom(3);
	for (uint32_t t = 0; t < TARGETS; t++)
		add_batch(t, START);
	for (uint32_t i = 0; i < EVENTS; i++) {
		uint32_t t = random() % (TARGETS + 1);
		struct batch *to = &waiting[t % TARGETS];

		time += 100 + random() % 2000;
		if (t == TARGETS) {
			add_event(5, i, time);
		} else {
			batch = *to;
			if (random() % 5 == 0)
				slot(WIRE_SLOT_FORGET, 1, 0);
			slot(WIRE_CALL, i, time);
			*to = batch;
		}
		for (t = 0; t < TARGETS; t++) {
			if (waiting[t].head.n_slots < 300 && time - handed[t] < 20 * MS)
				continue;
			batch = waiting[t];
			add_batch(t, time);
			handed[t] = time;
			memset(&waiting[t].head, 0, sizeof(waiting[t].head));
		}
		if (time - last_drain > 5 * MS) {
			assert_int_equal(hand_out(time, false), 0);
			last_drain = time;
		}
	}
	for (uint32_t t = 0; t < TARGETS; t++) {
		batch = waiting[t];
		add_batch(t, time);
	}
	assert_true(n_seen > EVENTS / 2);
	assert_int_equal(hand_out(time, true), 0);
	assert_int_equal(n_seen, EVENTS);
	for (uint32_t i = 0; i < EVENTS; i++)
		assert_int_equal(seen[i].code, i);
	assert_int_equal(n_batches, n_whole);
	assert_true(n_runs > n_batches);
	assert_int_equal(merge__late(merge), 0);
}

/* What waits is bounded: then it goes on before its time. */
static void test_too_much_waits(void **state)
{
	uint64_t n = 0;

	(void)state;
	begin();
	add_batch(1, START); /* says nothing any more */
	while (!n_seen) {
		for (int i = 0; i < 1000; i++)
			batch.slots[batch.head.n_slots++] =
				(struct wire_slot){0, 1, wire_slot_pack(1, WIRE_SLOT_FORGET)};
		slot(WIRE_CALL, 1, START + MS);
		add_batch(0, START + MS);
		n += sizeof(struct batch);
		assert_true(n < 2ull * MERGE_MAX_BYTES);
		assert_int_equal(hand_out(START + 2 * MS, false), 0);
	}
	assert_true(n > MERGE_MAX_BYTES / 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_two_agents),
		TEST(test_ended),
		TEST(test_kernel_events_between),
		TEST(test_error_and_going_on),
		TEST(test_sizes_that_are_wrong),
		TEST(test_random),
		TEST(test_too_much_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
