// SPDX-License-Identifier: BSD-3-Clause
/*
 * Ring buffers in memory files, where the test plays the kernel: it reserves, takes the time, and
 * submits in the orders that a kernel can. Perf buffers the same, behind calls of the C library
 * that are answered here.
 */
#define _GNU_SOURCE 1

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>

#include "transport/transport.h"

#define PAGE	 4096u
#define MAX_SEEN 400000

/* ------------------------------------------------------------------ the kernel's side of a ring */

struct ring {
	int fd;
	uint32_t size;
	unsigned char *map, *data;
	uint64_t *consumer, *producer;
};

static void ring_new(struct ring *ring, uint32_t size, uint64_t start)
{
	size_t all = 2 * PAGE + 2 * (size_t)size;

	ring->fd = memfd_create("ring", MFD_CLOEXEC);
	assert_true(ring->fd >= 0);
	assert_int_equal(ftruncate(ring->fd, all), 0);
	ring->size = size;
	ring->map = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
	assert_true(ring->map != MAP_FAILED);
	ring->consumer = (uint64_t *)ring->map;
	ring->producer = (uint64_t *)(ring->map + PAGE);
	ring->data = ring->map + 2 * PAGE;
	*ring->consumer = *ring->producer = start;
}

static void ring_free(struct ring *ring)
{
	munmap(ring->map, 2 * PAGE + 2 * (size_t)ring->size);
	close(ring->fd);
}

/* The kernel maps the data twice; a memory file is written twice instead. */
static void ring_put(struct ring *ring, uint64_t position, const void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		size_t at = (position + i) % ring->size;

		ring->data[at] = ring->data[at + ring->size] = ((const unsigned char *)bytes)[i];
	}
}

static void ring_header(struct ring *ring, uint64_t position, uint32_t len)
{
	size_t at = position % ring->size;

	__atomic_store_n((uint32_t *)(ring->data + at), len, __ATOMIC_RELEASE);
	__atomic_store_n((uint32_t *)(ring->data + at + ring->size), len, __ATOMIC_RELEASE);
}

static uint64_t ring_length(uint32_t size)
{
	return (size + 8ull + 7) & ~7ull;
}

static bool ring_has_room(const struct ring *ring, uint32_t size)
{
	uint64_t consumer = __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE);

	return *ring->producer + ring_length(size) - consumer <= ring->size - 1;
}

/* @return the record's position, to be submitted or discarded */
static uint64_t ring_reserve(struct ring *ring, uint32_t size)
{
	uint64_t position = *ring->producer;

	assert_true(ring_has_room(ring, size));
	ring_header(ring, position, size | BPF_RINGBUF_BUSY_BIT);
	__atomic_store_n(ring->producer, position + ring_length(size), __ATOMIC_RELEASE);
	return position;
}

static void ring_submit(struct ring *ring, uint64_t position, uint32_t size, uint64_t time,
			uint32_t tid)
{
	struct wire_head head = {.kind = WIRE_EVENT, .tid = tid, .time = time};

	for (uint32_t i = sizeof(head); i < size; i++) {
		unsigned char byte = tid + i;

		ring_put(ring, position + 8 + i, &byte, 1);
	}
	ring_put(ring, position + 8, &head, size < sizeof(head) ? size : sizeof(head));
	ring_header(ring, position, size);
}

static uint64_t ring_write(struct ring *ring, uint32_t size, uint64_t time, uint32_t tid)
{
	uint64_t position = ring_reserve(ring, size);

	ring_submit(ring, position, size, time, tid);
	return position;
}

/* ------------------------------------------------------------------ the handler's side */

struct seen {
	uint64_t time;
	uint32_t tid, size;
};

static struct seen seen[MAX_SEEN];
static size_t n_seen, stop_after;
/* What the handler looks at while it has a record in its hands. */
static const struct ring *watched;
static void (*meanwhile)(size_t n);

static int handle(void *ctx, const struct wire_head *record, uint32_t size)
{
	assert_ptr_equal(ctx, &n_seen);
	assert_true(n_seen < MAX_SEEN);
	for (uint32_t i = sizeof(*record); i < size && i < sizeof(struct wire_event); i++)
		assert_int_equal(((const unsigned char *)record)[i],
				 (unsigned char)(record->tid + i));
	if (watched) /* tid is the record's position: it must not be given back yet */
		assert_true(*watched->consumer <= record->tid);
	seen[n_seen++] = (struct seen){record->time, record->tid, size};
	if (meanwhile)
		meanwhile(n_seen);
	return n_seen == stop_after ? -ECANCELED : 0;
}

static int drain(struct transport *t, bool everything)
{
	return transport__drain(t, handle, &n_seen, everything);
}

static int forget(void **state)
{
	(void)state;
	n_seen = stop_after = 0;
	watched = NULL;
	meanwhile = NULL;
	return 0;
}

static struct transport *connect_rings(struct ring *rings, int n)
{
	struct transport *t;
	int fds[16];

	for (int i = 0; i < n; i++)
		fds[i] = rings[i].fd;
	t = transport__new(fds, n, rings[0].size, -1, 0);
	assert_non_null(t);
	return t;
}

static struct transport *open_rings(struct ring *rings, int n, uint32_t size)
{
	for (int i = 0; i < n; i++)
		ring_new(&rings[i], size, 0);
	return connect_rings(rings, n);
}

static void close_rings(struct transport *t, struct ring *rings, int n)
{
	transport__free(t);
	for (int i = 0; i < n; i++)
		ring_free(&rings[i]);
}

static void assert_sorted(size_t n)
{
	assert_int_equal(n_seen, n);
	for (size_t i = 1; i < n_seen; i++)
		assert_true(seen[i - 1].time <= seen[i].time);
}

static void assert_tids(size_t n, const uint32_t tids[])
{
	assert_int_equal(n_seen, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(seen[i].tid, tids[i]);
}

/* ------------------------------------------------------------------ order */

static void test_one_ring(void **state)
{
	uint64_t now = clock_ns();
	struct transport *t;
	struct ring ring;

	(void)state;
	t = open_rings(&ring, 1, PAGE);
	assert_int_equal(drain(t, false), 0);
	assert_int_equal(n_seen, 0);
	ring_write(&ring, 32, now - 3, 1);
	ring_write(&ring, 48, now - 2, 2);
	ring_write(&ring, 16, now - 1, 3);
	assert_int_equal(drain(t, false), 0);
	assert_tids(3, (uint32_t[]){1, 2, 3});
	assert_int_equal(seen[1].size, 48);
	assert_int_equal(seen[2].size, 16);
	assert_int_equal(*ring.consumer, *ring.producer);
	assert_int_equal(transport__late(t), 0);
	close_rings(t, &ring, 1);
}

/* A program that was preempted between its reservation and its clock. */
static void test_times_out_of_order(void **state)
{
	uint64_t now = clock_ns();
	struct transport *t;
	struct ring rings[2];

	(void)state;
	t = open_rings(rings, 2, PAGE);
	ring_write(&rings[0], 32, now - 10, 4);
	ring_write(&rings[0], 32, now - 30, 2);
	ring_write(&rings[0], 32, now - 40, 1);
	ring_write(&rings[0], 32, now - 5, 6);
	ring_write(&rings[1], 32, now - 1, 7);
	ring_write(&rings[1], 32, now - 20, 3);
	ring_write(&rings[1], 32, now - 7, 5);
	assert_int_equal(drain(t, false), 0);
	assert_tids(7, (uint32_t[]){1, 2, 3, 4, 5, 6, 7});
	assert_int_equal(*rings[0].consumer, *rings[0].producer);
	assert_int_equal(*rings[1].consumer, *rings[1].producer);
	assert_int_equal(transport__late(t), 0);
	close_rings(t, rings, 2);
}

static void test_equal_times_keep_their_order(void **state)
{
	uint64_t now = clock_ns();
	struct transport *t;
	struct ring ring;

	(void)state;
	t = open_rings(&ring, 1, PAGE);
	for (uint32_t i = 1; i <= 20; i++)
		ring_write(&ring, 32, now - 10 - (i == 20), i);
	assert_int_equal(drain(t, false), 0);
	assert_int_equal(n_seen, 20);
	assert_int_equal(seen[0].tid, 20);
	for (uint32_t i = 1; i < 20; i++)
		assert_int_equal(seen[i].tid, i);
	assert_int_equal(transport__late(t), 0);
	close_rings(t, &ring, 1);
}

/* Everything comes, once, in order, whatever the kernel does between the drains. */
static void test_random(void **state)
{
	enum { RINGS = 5, ROUNDS = 400 };
	uint64_t time = clock_ns() - 1000000000000ull;
	struct ring rings[RINGS];
	struct transport *t;
	size_t written = 0;

	(void)state;
	srandom(1);
	for (int i = 0; i < RINGS; i++)
		ring_new(&rings[i], 4 * PAGE, random() * 8ull);
	t = connect_rings(rings, RINGS);
	for (int round = 0; round < ROUNDS; round++) {
		int n = random() % 200;

		for (int i = 0; i < n; i++) {
			struct ring *ring = &rings[random() % RINGS];
			uint32_t size = 16 + random() % 100;

			if (!ring_has_room(ring, size))
				continue;
			/* Of this round, in no order: a drain comes after all of them. */
			ring_write(ring, size, time + random() % 1000, written++);
		}
		assert_int_equal(drain(t, false), 0);
		assert_int_equal(n_seen, written);
		time += 1000;
	}
	assert_true(written > 10000);
	assert_sorted(written);
	assert_int_equal(transport__late(t), 0);
	for (int i = 0; i < RINGS; i++)
		assert_int_equal(*rings[i].consumer, *rings[i].producer);
	close_rings(t, rings, RINGS);
}

/* ------------------------------------------------------------------ not ready, or none */

static void test_busy_holds_up_what_is_behind(void **state)
{
	uint64_t now = clock_ns(), busy;
	struct transport *t;
	struct ring ring;

	(void)state;
	t = open_rings(&ring, 1, PAGE);
	assert_int_equal(drain(t, false), 0);
	busy = ring_reserve(&ring, 32);
	ring_write(&ring, 32, clock_ns(), 2);
	assert_int_equal(drain(t, false), 0);
	assert_int_equal(drain(t, false), 0);
	assert_int_equal(n_seen, 0);
	assert_int_equal(*ring.consumer, 0);
	ring_submit(&ring, busy, 32, now, 1);
	assert_int_equal(drain(t, false), 0);
	assert_tids(2, (uint32_t[]){1, 2});
	assert_int_equal(*ring.consumer, *ring.producer);
	close_rings(t, &ring, 1);
}

/* A record that is being written may be older than everything that came since the last drain. */
static void test_busy_holds_up_other_rings(void **state)
{
	uint64_t then, busy;
	struct transport *t;
	struct ring rings[2];

	(void)state;
	t = open_rings(rings, 2, PAGE);
	assert_int_equal(drain(t, false), 0);
	busy = ring_reserve(&rings[0], 32);
	then = clock_ns();
	ring_write(&rings[1], 32, clock_ns(), 2);
	assert_int_equal(drain(t, false), 0);
	assert_int_equal(n_seen, 0);
	ring_submit(&rings[0], busy, 32, then, 1);
	assert_int_equal(drain(t, false), 0);
	assert_tids(2, (uint32_t[]){1, 2});
	assert_int_equal(transport__late(t), 0);
	close_rings(t, rings, 2);
}

/*
 * Preemptible kernels (6.0): one program reserves and is preempted; another one reserves behind
 * it, takes its time, and is preempted before it submits; the first goes on.
 */
static void test_busy_is_older_than_what_is_before_it(void **state)
{
	uint64_t first, second, then;
	struct transport *t;
	struct ring ring;

	(void)state;
	t = open_rings(&ring, 1, PAGE);
	assert_int_equal(drain(t, false), 0);
	first = ring_reserve(&ring, 32);
	second = ring_reserve(&ring, 32);
	then = clock_ns();
	ring_submit(&ring, first, 32, clock_ns(), 2);
	assert_int_equal(drain(t, false), 0);
	ring_submit(&ring, second, 32, then, 1);
	assert_int_equal(drain(t, false), 0);
	assert_tids(2, (uint32_t[]){1, 2});
	assert_int_equal(transport__late(t), 0);
	close_rings(t, &ring, 1);
}

/* Two in a row: the second was already there when the first was found. */
static void test_busy_behind_busy(void **state)
{
	uint64_t first, second, then;
	struct transport *t;
	struct ring rings[2];

	(void)state;
	t = open_rings(rings, 2, PAGE);
	assert_int_equal(drain(t, false), 0);
	first = ring_reserve(&rings[0], 32);
	second = ring_reserve(&rings[0], 32);
	then = clock_ns();
	ring_write(&rings[1], 32, clock_ns(), 3);
	assert_int_equal(drain(t, false), 0);
	ring_submit(&rings[0], first, 32, then, 1);
	assert_int_equal(drain(t, false), 0);
	ring_submit(&rings[0], second, 32, then, 2);
	assert_int_equal(drain(t, false), 0);
	assert_tids(3, (uint32_t[]){1, 2, 3});
	assert_int_equal(transport__late(t), 0);
	close_rings(t, rings, 2);
}

/* Always another record that is being written: what is older than the last drain comes out. */
static void test_busy_does_not_stop_the_stream(void **state)
{
	struct transport *t;
	struct ring rings[2];
	uint64_t busy = 0;

	(void)state;
	t = open_rings(rings, 2, PAGE);
	assert_int_equal(drain(t, false), 0);
	for (uint32_t i = 0; i < 10; i++) {
		uint64_t next = ring_reserve(&rings[0], 32);

		if (i)
			ring_submit(&rings[0], busy, 32, clock_ns(), 0);
		busy = next;
		ring_write(&rings[1], 32, clock_ns(), i + 1);
		assert_int_equal(drain(t, false), 0);
		assert_true(n_seen >= 2 * (i > 1 ? i - 1 : 0));
	}
	assert_int_equal(transport__late(t), 0);
	close_rings(t, rings, 2);
}

static void test_discarded_and_short(void **state)
{
	uint64_t now = clock_ns(), position;
	struct transport *t;
	struct ring ring;

	(void)state;
	t = open_rings(&ring, 1, PAGE);
	ring_write(&ring, 32, now - 3, 1);
	position = ring_reserve(&ring, 100);
	ring_submit(&ring, position, 100, now - 9, 99);
	ring_header(&ring, position, 100 | BPF_RINGBUF_DISCARD_BIT);
	ring_write(&ring, 15, now - 9, 99); /* too short for a head */
	ring_write(&ring, 0, now - 9, 99);
	ring_write(&ring, 32, now - 2, 2);
	assert_int_equal(drain(t, false), 0);
	assert_tids(2, (uint32_t[]){1, 2});
	assert_int_equal(*ring.consumer, *ring.producer);
	position = ring_reserve(&ring, 8);
	ring_header(&ring, position, 8 | BPF_RINGBUF_DISCARD_BIT);
	assert_int_equal(drain(t, false), 0);
	assert_int_equal(*ring.consumer, *ring.producer);
	close_rings(t, &ring, 1);
}

/* ------------------------------------------------------------------ watermark */

static void test_younger_than_the_clock_waits(void **state)
{
	uint64_t now = clock_ns(), later = now + 3600000000000ull, position;
	struct transport *t;
	struct ring rings[2];

	(void)state;
	t = open_rings(rings, 2, PAGE);
	ring_write(&rings[0], 32, now, 1);
	position = ring_write(&rings[0], 32, later, 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(drain(t, false), 0);
		assert_tids(1, (uint32_t[]){1});
		assert_int_equal(*rings[0].consumer, position);
	}
	ring_write(&rings[1], 32, clock_ns(), 2); /* older, and comes later */
	assert_int_equal(drain(t, false), 0);
	assert_tids(2, (uint32_t[]){1, 2});
	assert_int_equal(drain(t, true), 0);
	assert_tids(3, (uint32_t[]){1, 2, 3});
	assert_int_equal(*rings[0].consumer, *rings[0].producer);
	assert_int_equal(transport__late(t), 0);
	close_rings(t, rings, 2);
}

static struct ring *others;

/* The kernel goes on while a drain hands out. */
static void write_more(size_t n)
{
	if (n <= 4)
		ring_write(&others[n % 2], 32, clock_ns(), 10 + n);
}

static void test_reserved_during_a_drain(void **state)
{
	uint64_t now = clock_ns();
	struct transport *t;
	struct ring rings[2];

	(void)state;
	t = open_rings(rings, 2, PAGE);
	others = rings;
	for (uint32_t i = 1; i <= 4; i++)
		ring_write(&rings[0], 32, now, i);
	meanwhile = write_more;
	assert_int_equal(drain(t, false), 0);
	assert_tids(4, (uint32_t[]){1, 2, 3, 4});
	assert_int_equal(drain(t, false), 0);
	assert_tids(8, (uint32_t[]){1, 2, 3, 4, 11, 12, 13, 14});
	assert_int_equal(transport__late(t), 0);
	close_rings(t, rings, 2);
}

/* Nothing can be done about it, but it is counted. */
static void test_late_is_counted(void **state)
{
	uint64_t now = clock_ns();
	struct transport *t;
	struct ring ring;

	(void)state;
	t = open_rings(&ring, 1, PAGE);
	ring_write(&ring, 32, now - 10, 1);
	assert_int_equal(drain(t, false), 0);
	ring_write(&ring, 32, now - 11, 2);
	ring_write(&ring, 32, now - 10, 3); /* as old as the youngest: not late */
	ring_write(&ring, 32, now - 12, 4);
	assert_int_equal(drain(t, false), 0);
	assert_tids(4, (uint32_t[]){1, 4, 2, 3});
	assert_int_equal(transport__late(t), 2);
	close_rings(t, &ring, 1);
}

/* ------------------------------------------------------------------ room */

/* Many times around, with lengths that put headers and records across the end. */
static void test_wrap(void **state)
{
	uint64_t time = clock_ns() - 1000000000000ull;
	struct transport *t;
	struct ring ring;
	uint32_t n = 0;

	(void)state;
	ring_new(&ring, PAGE, 8);
	t = connect_rings(&ring, 1);
	while (*ring.producer < 300ull * PAGE) {
		uint32_t size = n % 7 ? 16 + n % 500 : sizeof(struct wire_code);

		if (!ring_has_room(&ring, size)) {
			assert_int_equal(drain(t, false), 0);
			assert_int_equal(n_seen, n);
			assert_int_equal(*ring.consumer, *ring.producer);
		}
		ring_write(&ring, size, time++, n++);
	}
	assert_int_equal(drain(t, false), 0);
	assert_sorted(n);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(seen[i].tid, i);
	close_rings(t, &ring, 1);
}

/* Positions are 64 bits and pass 2^32 and 2^63 as if nothing were there. */
static void test_huge_numbers(void **state)
{
	static const uint64_t starts[] = {UINT32_MAX - 7ull, INT64_MAX - 7ull,
					  UINT64_MAX - 16 * PAGE + 1};
	struct transport *t;
	struct ring ring;

	(void)state;
	for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++) {
		forget(NULL);
		ring_new(&ring, PAGE, starts[i]);
		t = connect_rings(&ring, 1);
		ring_write(&ring, 32, 0, 1);
		ring_write(&ring, 32, 1, 2);
		assert_int_equal(drain(t, false), 0);
		ring_write(&ring, 32, UINT64_MAX - 1, 4);
		ring_write(&ring, 32, INT64_MAX, 3);
		ring_write(&ring, 32, UINT64_MAX, 5);
		assert_int_equal(drain(t, false), 0);
		assert_int_equal(n_seen, 2);
		assert_int_equal(drain(t, true), 0);
		assert_tids(5, (uint32_t[]){1, 2, 3, 4, 5});
		assert_int_equal(*ring.consumer, *ring.producer);
		assert_int_equal(transport__late(t), 0);
		close_rings(t, &ring, 1);
	}
}

/* A record stays where it is while it is handled, and room comes back while a drain runs. */
static void test_release(void **state)
{
	enum { RECORDS = 3000 };
	uint64_t now = clock_ns();
	struct transport *t;
	struct ring ring;

	(void)state;
	t = open_rings(&ring, 1, 64 * PAGE);
	for (uint32_t i = 0; i < RECORDS; i++)
		ring_write(&ring, 32, now - RECORDS + i, *ring.producer);
	watched = &ring;
	stop_after = RECORDS - 1;
	assert_int_equal(drain(t, false), -ECANCELED);
	assert_int_equal(*ring.consumer, (RECORDS - 1) * ring_length(32));
	assert_int_equal(drain(t, false), 0);
	assert_int_equal(n_seen, RECORDS);
	assert_int_equal(*ring.consumer, *ring.producer);

	/* Youngest first: nothing may be given back before the last one. */
	forget(NULL);
	watched = &ring;
	for (uint32_t i = 0; i < 600; i++)
		ring_write(&ring, 32, now - i, *ring.producer);
	assert_int_equal(drain(t, false), 0);
	assert_int_equal(n_seen, 600);
	assert_int_equal(*ring.consumer, *ring.producer);
	close_rings(t, &ring, 1);
}

static uint64_t consumer_at_600;

static void look_at_600(size_t n)
{
	if (n == 600)
		consumer_at_600 = *others->consumer;
}

static void test_room_comes_back_early(void **state)
{
	uint64_t now = clock_ns();
	struct transport *t;
	struct ring ring;

	(void)state;
	t = open_rings(&ring, 1, 64 * PAGE);
	others = &ring;
	for (uint32_t i = 0; i < 1000; i++)
		ring_write(&ring, 32, now, i);
	meanwhile = look_at_600;
	consumer_at_600 = 0;
	assert_int_equal(drain(t, false), 0);
	assert_true(consumer_at_600 >= 500 * ring_length(32));
	assert_true(consumer_at_600 <= 600 * ring_length(32));
	close_rings(t, &ring, 1);
}

static void test_error_and_going_on(void **state)
{
	uint64_t now = clock_ns();
	struct transport *t;
	struct ring rings[2];

	(void)state;
	t = open_rings(rings, 2, PAGE);
	for (uint32_t i = 1; i <= 10; i++)
		ring_write(&rings[i & 1], 32, now - 10 + i, i);
	for (stop_after = 1; stop_after <= 10; stop_after++) {
		assert_int_equal(drain(t, false), -ECANCELED);
		assert_int_equal(n_seen, stop_after);
	}
	assert_int_equal(drain(t, false), 0);
	assert_tids(10, (uint32_t[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
	assert_int_equal(*rings[0].consumer, *rings[0].producer);
	assert_int_equal(*rings[1].consumer, *rings[1].producer);
	close_rings(t, rings, 2);
}

/* ------------------------------------------------------------------ batches of agents */

struct small_batch {
	struct wire_batch head;
	struct wire_slot slots[2];
};

/* Two calls of an agent whose clock is CLOCK_MONOTONIC. */
static void write_batch(struct ring *ring, uint16_t target, uint64_t time, uint64_t first,
			uint64_t second)
{
	const struct small_batch batch = {
		.head = {.head = {WIRE_BATCH, 0, target, 1, time},
			 .clock = time,
			 .time = time,
			 .n_slots = 2,
			 .n_events = 2},
		.slots = {{first, target, wire_slot_pack(1, WIRE_CALL)},
			  {second, target, wire_slot_pack(2, WIRE_CALL)}},
	};
	uint64_t position = ring_reserve(ring, sizeof(batch));

	ring_put(ring, position + 8, &batch, sizeof(batch));
	ring_header(ring, position, sizeof(batch));
}

static int handle_batches(void *ctx, const struct wire_head *record, uint32_t size)
{
	const struct small_batch *batch = (const void *)record;

	assert_ptr_equal(ctx, &n_seen);
	if (record->kind != WIRE_BATCH) {
		seen[n_seen++] = (struct seen){record->time, record->tid, size};
		return 0;
	}
	assert_int_equal(size, sizeof(*batch));
	for (uint32_t i = batch->head.slots; i < batch->head.n_slots; i++)
		seen[n_seen++] = (struct seen){batch->slots[i].time, 100 + batch->slots[i].code, i};
	return 0;
}

static int drain_batches(struct transport *t, bool everything)
{
	return transport__drain(t, handle_batches, &n_seen, everything);
}

/* Batches of one target go on as they are and at once; of several, by their events' times. */
static void test_batches(void **state)
{
	uint64_t now = clock_ns();
	struct transport *t;
	struct ring rings[2];

	(void)state;
	t = open_rings(rings, 2, PAGE);
	write_batch(&rings[0], 0, now - 100, now - 400, now - 300);
	ring_write(&rings[1], 32, now - 350, 7);
	assert_int_equal(drain_batches(t, false), 0);
	assert_tids(3, (uint32_t[]){7, 100, 100});
	assert_int_equal(*rings[0].consumer, *rings[0].producer);
	n_seen = 0;
	assert_int_equal(transport__merge_batches(t), 0);
	ring_write(&rings[1], 32, now - 90, 8); /* no batch: nothing is held back */
	assert_int_equal(drain_batches(t, false), 0);
	assert_tids(1, (uint32_t[]){8});
	n_seen = 0;
	write_batch(&rings[0], 0, now - 80, 0, 0);
	write_batch(&rings[0], 1, now - 80, 0, 0);
	write_batch(&rings[0], 0, now - 10, now - 60, now - 20);
	ring_write(&rings[1], 32, now - 50, 9);
	write_batch(&rings[1], 1, now - 5, now - 40, now - 15);
	assert_int_equal(drain_batches(t, true), 0);
	assert_int_equal(*rings[0].consumer, *rings[0].producer);
	assert_int_equal(*rings[1].consumer, *rings[1].producer);
	assert_tids(9, (uint32_t[]){100, 100, 101, 101, 100, 9, 101, 100, 101});
	assert_int_equal(transport__late(t), 0);
	close_rings(t, rings, 2);
}

/* ------------------------------------------------------------------ a kernel that does not wait */

enum { WRITTEN_BY_ONE = 60000 };

/* One CPU: single records, and such as interrupt each other between any two steps. */
static void *write_for_long(void *ctx)
{
	struct ring *ring = ctx;
	uint32_t n = 0;

	while (n < WRITTEN_BY_ONE) {
		uint64_t first, second, time;

		if (!ring_has_room(ring, 80)) {
			sched_yield();
			continue;
		}
		first = ring_reserve(ring, 32);
		if (n % 5) {
			ring_submit(ring, first, 32, clock_ns(), n++);
			continue;
		}
		second = ring_reserve(ring, 32);
		time = clock_ns();
		ring_submit(ring, first, 32, clock_ns(), n++);
		if (n % 100 == 1)
			sched_yield();
		ring_submit(ring, second, 32, time, n++);
	}
	return NULL;
}

static void test_concurrent(void **state)
{
	pthread_t threads[2];
	struct ring rings[2];
	struct transport *t;

	(void)state;
	t = open_rings(rings, 2, 4 * PAGE);
	assert_int_equal(drain(t, false), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_for_long, &rings[i]), 0);
	while (n_seen < 2 * WRITTEN_BY_ONE) {
		assert_int_equal(drain(t, false), 0);
		sched_yield();
	}
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_sorted(2 * WRITTEN_BY_ONE);
	assert_int_equal(transport__late(t), 0);
	close_rings(t, rings, 2);
}

/* ------------------------------------------------------------------ perf buffers */

struct perf {
	int fd;
	uint32_t size;
	struct perf_event_mmap_page *page;
	unsigned char *data;
	bool offline; /* the CPU is possible, and not there */
	int given;
};

static struct perf perfs[4];
static int n_perfs;

/* perf_event_open gives a memory file; everything else is the system's. */
long syscall(long number, ...)
{
	static long (*real)(long number, ...);
	long args[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		args[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_perf_event_open && n_perfs) {
		if ((int)args[2] >= n_perfs || perfs[args[2]].offline) {
			errno = ENODEV;
			return -1;
		}
		return perfs[args[2]].given = dup(perfs[args[2]].fd);
	}
	if (!real)
		real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	return real(number, args[0], args[1], args[2], args[3], args[4], args[5]);
}

int bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags)
{
	assert_int_equal(fd, 1000);
	assert_int_equal(flags, BPF_ANY);
	assert_int_equal(*(const int *)value, perfs[*(const int *)key].given);
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	(void)fd;
	assert_int_equal(request, PERF_EVENT_IOC_ENABLE);
	return 0;
}

static void perf_new(int cpu, uint32_t size, uint64_t start)
{
	struct perf *perf = &perfs[cpu];

	perf->fd = memfd_create("perf", MFD_CLOEXEC);
	assert_int_equal(ftruncate(perf->fd, PAGE + size), 0);
	perf->size = size;
	perf->offline = false;
	perf->page = mmap(NULL, PAGE + size, PROT_READ | PROT_WRITE, MAP_SHARED, perf->fd, 0);
	assert_true(perf->page != MAP_FAILED);
	perf->data = (unsigned char *)perf->page + PAGE;
	perf->page->data_head = perf->page->data_tail = start;
	n_perfs = cpu + 1;
}

static void perfs_free(void)
{
	for (int i = 0; i < n_perfs; i++) {
		if (perfs[i].offline)
			continue;
		munmap(perfs[i].page, PAGE + perfs[i].size);
		close(perfs[i].fd);
	}
	n_perfs = 0;
}

static uint32_t perf_length(uint32_t size)
{
	return (sizeof(struct perf_event_header) + 4 + size + 7) & ~7u;
}

static bool perf_has_room(const struct perf *perf, uint32_t size)
{
	return perf->page->data_head + perf_length(size) - perf->page->data_tail <= perf->size;
}

static void perf_put(struct perf *perf, const void *bytes, size_t len, uint64_t position)
{
	for (size_t i = 0; i < len; i++)
		perf->data[(position + i) % perf->size] = ((const unsigned char *)bytes)[i];
}

/* As the kernel lays it out: the raw size is padded so that the whole is a multiple of 8. */
static void perf_write(struct perf *perf, uint32_t type, uint32_t size, uint64_t time, uint32_t tid)
{
	struct wire_head head = {.kind = WIRE_EVENT, .tid = tid, .time = time};
	struct perf_event_header header = {.type = type, .size = perf_length(size)};
	uint32_t raw = header.size - sizeof(header) - 4;
	uint64_t at = perf->page->data_head;

	assert_true(perf_has_room(perf, size));
	perf_put(perf, &header, sizeof(header), at);
	perf_put(perf, &raw, sizeof(raw), at + 8);
	for (uint32_t i = sizeof(head); i < raw; i++) {
		unsigned char byte = tid + i;

		perf_put(perf, &byte, 1, at + 12 + i);
	}
	perf_put(perf, &head, raw < sizeof(head) ? raw : sizeof(head), at + 12);
	__atomic_store_n(&perf->page->data_head, at + header.size, __ATOMIC_RELEASE);
}

static struct transport *connect_both(struct ring *rings, int n, uint32_t perf_size)
{
	struct transport *t;
	int fds[4];

	for (int i = 0; i < n; i++)
		fds[i] = rings[i].fd;
	t = transport__new(fds, n, rings[0].size, 1000, perf_size);
	assert_non_null(t);
	return t;
}

static void test_perf_wrap(void **state)
{
	uint64_t time = clock_ns() - 1000000000000ull;
	struct transport *t;
	struct ring ring;
	uint32_t n = 0;

	(void)state;
	ring_new(&ring, PAGE, 0);
	perf_new(0, PAGE, 0);
	t = connect_both(&ring, 1, PAGE);
	while (perfs[0].page->data_head < 300ull * PAGE) {
		uint32_t size = 16 + n % 333;

		if (!perf_has_room(&perfs[0], size) || !ring_has_room(&ring, size)) {
			assert_int_equal(drain(t, false), 0);
			assert_int_equal(n_seen, n);
			assert_int_equal(perfs[0].page->data_tail, perfs[0].page->data_head);
		}
		if (n % 10)
			perf_write(&perfs[0], PERF_RECORD_SAMPLE, size, time++, n++);
		else
			ring_write(&ring, size, time++, n++);
	}
	assert_int_equal(drain(t, false), 0);
	assert_sorted(n);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(seen[i].tid, i);
	assert_int_equal(transport__late(t), 0);
	close_rings(t, &ring, 1);
	perfs_free();
}

/* What waits for its time was copied, and must survive the drains in between. */
static void test_perf_waiting(void **state)
{
	uint64_t now = clock_ns() - 1000000000ull, later = clock_ns() + 3600000000000ull;
	struct transport *t;
	struct ring ring;

	(void)state;
	ring_new(&ring, PAGE, 0);
	perf_new(0, 2 * PAGE, 0);
	t = connect_both(&ring, 1, 2 * PAGE);
	for (uint32_t i = 0; i < 50; i++) {
		perf_write(&perfs[0], PERF_RECORD_SAMPLE, 32 + i, later - i, 1000 - i);
		perf_write(&perfs[0], PERF_RECORD_LOST, 16, 0, 99);
		perf_write(&perfs[0], PERF_RECORD_SAMPLE, 32 + i, now + i, i);
		ring_write(&ring, 32, now + i, i);
		assert_int_equal(drain(t, false), 0);
		assert_int_equal(n_seen, 2 * (i + 1));
		assert_int_equal(perfs[0].page->data_tail, perfs[0].page->data_head);
	}
	assert_int_equal(drain(t, true), 0);
	assert_sorted(150);
	for (uint32_t i = 0; i < 50; i++)
		assert_int_equal(seen[100 + i].tid, 951 + i);
	assert_int_equal(transport__late(t), 0);
	close_rings(t, &ring, 1);
	perfs_free();
}

/* There is no reservation there: what is younger than PERF_LAG_NS waits for who was preempted. */
static void test_perf_lag(void **state)
{
	struct transport *t;
	struct ring ring;
	uint64_t now;

	(void)state;
	ring_new(&ring, PAGE, 0);
	perf_new(0, PAGE, 0);
	t = connect_both(&ring, 1, PAGE);
	now = clock_ns() + 1000000000ull; /* so that a slow machine cannot make it old */
	perf_write(&perfs[0], PERF_RECORD_SAMPLE, 32, now, 2);
	assert_int_equal(drain(t, false), 0);
	assert_int_equal(n_seen, 0);
	perf_write(&perfs[0], PERF_RECORD_SAMPLE, 32, now - PERF_LAG_NS, 1);
	while (n_seen < 2) { /* until its time has come */
		poll(NULL, 0, 10);
		assert_int_equal(drain(t, false), 0);
	}
	assert_true(clock_ns() >= now + PERF_LAG_NS);
	assert_tids(2, (uint32_t[]){1, 2});
	assert_int_equal(transport__late(t), 0);
	close_rings(t, &ring, 1);
	perfs_free();
}

static void test_perf_nonsense(void **state)
{
	uint64_t time = clock_ns() - 1000000000ull;
	struct perf_event_header none = {0};
	struct transport *t;
	struct ring ring;
	uint32_t raw = UINT32_MAX;

	(void)state;
	ring_new(&ring, PAGE, 0);
	perf_new(0, PAGE, 0);
	t = connect_both(&ring, 1, PAGE);
	perf_write(&perfs[0], PERF_RECORD_SAMPLE, 4, time, 99); /* too short for a head */
	perf_put(&perfs[0], &raw, sizeof(raw), perfs[0].page->data_head + 8);
	perf_write(&perfs[0], PERF_RECORD_SAMPLE, 32, time, 98);
	perf_put(&perfs[0], &raw, sizeof(raw), perf_length(4) + 8); /* longer than its record */
	perf_write(&perfs[0], PERF_RECORD_SAMPLE, 32, time, 1);
	assert_int_equal(drain(t, false), 0);
	assert_tids(1, (uint32_t[]){1});
	perf_put(&perfs[0], &none, sizeof(none), perfs[0].page->data_head);
	perfs[0].page->data_head += 8;
	assert_int_equal(drain(t, false), -EPROTO); /* and no endless loop */
	close_rings(t, &ring, 1);
	perfs_free();
}

/* A virtual machine's kernel knows more CPUs than there are. */
static void test_perf_cpu_that_is_not_there(void **state)
{
	uint64_t time = clock_ns() - 1000000000ull;
	struct transport *t;
	struct ring rings[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		ring_new(&rings[i], PAGE, 0);
		perf_new(i, PAGE, 0);
	}
	munmap(perfs[1].page, PAGE + PAGE);
	close(perfs[1].fd);
	perfs[1].offline = true;
	t = connect_both(rings, 3, PAGE);
	perf_write(&perfs[2], PERF_RECORD_SAMPLE, 32, time, 2);
	perf_write(&perfs[0], PERF_RECORD_SAMPLE, 32, time - 1, 1);
	ring_write(&rings[1], 32, time + 1, 3);
	assert_int_equal(drain(t, false), 0);
	assert_tids(3, (uint32_t[]){1, 2, 3});
	assert_int_equal(drain(t, true), 0);
	transport__free(t);
	perfs_free();
	for (int i = 0; i < 3; i++)
		ring_free(&rings[i]);
}

static void test_new_fails(void **state)
{
	int fds[2] = {-1, -1};
	struct ring ring;

	(void)state;
	assert_null(transport__new(fds, 1, PAGE, -1, 0));
	assert_int_equal(errno, EBADF);
	ring_new(&ring, PAGE, 0);
	fds[0] = ring.fd;
	assert_null(transport__new(fds, 2, PAGE, -1, 0)); /* the first was opened */
	assert_int_equal(errno, EBADF);
	ring_free(&ring);
	transport__free(NULL);
}

#define TEST(name) cmocka_unit_test_setup(name, forget)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_ring),
		TEST(test_times_out_of_order),
		TEST(test_equal_times_keep_their_order),
		TEST(test_random),
		TEST(test_busy_holds_up_what_is_behind),
		TEST(test_busy_holds_up_other_rings),
		TEST(test_busy_is_older_than_what_is_before_it),
		TEST(test_busy_behind_busy),
		TEST(test_busy_does_not_stop_the_stream),
		TEST(test_discarded_and_short),
		TEST(test_younger_than_the_clock_waits),
		TEST(test_reserved_during_a_drain),
		TEST(test_late_is_counted),
		TEST(test_wrap),
		TEST(test_huge_numbers),
		TEST(test_release),
		TEST(test_room_comes_back_early),
		TEST(test_error_and_going_on),
		TEST(test_batches),
		TEST(test_concurrent),
		TEST(test_perf_wrap),
		TEST(test_perf_waiting),
		TEST(test_perf_lag),
		TEST(test_perf_nonsense),
		TEST(test_perf_cpu_that_is_not_there),
		TEST(test_new_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
