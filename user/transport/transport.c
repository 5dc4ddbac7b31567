// SPDX-License-Identifier: BSD-3-Clause
#include "transport/transport.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "transport/buffer.h"
#include "transport/merge.h"

#define RELEASE_EVERY 512 /* records between two give-backs of a ring's room; a batch is many */
#define BUSY_RETRIES  64  /* a record is busy for less than a microsecond unless preempted */

struct transport {
	struct buffer *buffers;
	int n_buffers, n_rings;
	uint64_t lag; /* ns by which records may come later than their times */
	int *heap;    /* buffers with waiting entries, the oldest first */
	int heap_size;
	uint64_t clock;	 /* of the last drain */
	uint64_t newest; /* handed out */
	uint64_t late;
	struct merge *merge; /* NULL: batches are handed out as they are */
	bool merging;	     /* once a batch has come; before, nothing needs to be copied */
};

uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * UINT64_C(1000000000) + now.tv_nsec;
}

struct transport *transport__new(const int *ring_fds, int n_rings, uint32_t ring_size, int perf_fd,
				 uint32_t perf_size)
{
	struct transport *t = calloc(1, sizeof(*t));
	int err = 0;

	if (!t)
		return NULL;
	t->n_rings = n_rings;
	t->n_buffers = perf_fd < 0 ? n_rings : 2 * n_rings;
	t->lag = perf_fd < 0 ? 0 : PERF_LAG_NS;
	t->buffers = calloc(t->n_buffers, sizeof(*t->buffers));
	t->heap = calloc(t->n_buffers, sizeof(*t->heap));
	if (!t->buffers || !t->heap) {
		err = -ENOMEM;
		goto out;
	}
	for (int i = 0; i < t->n_buffers; i++)
		t->buffers[i].fd = -1;
	for (int i = 0; i < t->n_buffers && !err; i++) {
		if (i < n_rings)
			err = buffer__open_ring(&t->buffers[i], ring_fds[i], ring_size);
		else
			err = buffer__open_perf(&t->buffers[i], perf_fd, i - n_rings, perf_size);
		if (err == -ENODEV && i >= n_rings)
			err = 0; /* a CPU that is possible but not there */
	}
out:
	if (!err)
		return t;
	transport__free(t);
	errno = -err;
	return NULL;
}

void transport__free(struct transport *t)
{
	if (!t)
		return;
	for (int i = 0; t->buffers && i < t->n_buffers; i++) {
		if (t->buffers[i].ops)
			t->buffers[i].ops->close(&t->buffers[i]);
		free(t->buffers[i].entries);
	}
	free(t->buffers);
	merge__free(t->merge);
	free(t->heap);
	free(t);
}

int transport__merge_batches(struct transport *t)
{
	if (!t->merge)
		t->merge = merge__new();
	return t->merge ? 0 : -ENOMEM;
}

int transport__add_to_epoll(struct transport *t, int epoll_fd)
{
	struct epoll_event event = {.events = EPOLLIN};

	for (int i = 0; i < t->n_buffers; i++) {
		event.data.ptr = &t->buffers[i];
		if (t->buffers[i].fd >= 0 &&
		    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, t->buffers[i].fd, &event))
			return -errno;
	}
	return 0;
}

/* ------------------------------------------------------------------ the heap of buffers */

static uint64_t oldest(const struct transport *t, int buffer)
{
	return t->buffers[buffer].entries[t->buffers[buffer].head].time;
}

static void sift_down(struct transport *t, int i)
{
	for (;;) {
		int child = 2 * i + 1, moved = t->heap[i];

		if (child >= t->heap_size)
			return;
		if (child + 1 < t->heap_size &&
		    oldest(t, t->heap[child + 1]) < oldest(t, t->heap[child]))
			child++;
		if (oldest(t, moved) <= oldest(t, t->heap[child]))
			return;
		t->heap[i] = t->heap[child];
		t->heap[child] = moved;
		i = child;
	}
}

static void build_heap(struct transport *t)
{
	t->heap_size = 0;
	for (int i = 0; i < t->n_buffers; i++)
		if (t->buffers[i].head < t->buffers[i].count)
			t->heap[t->heap_size++] = i;
	for (int i = t->heap_size / 2 - 1; i >= 0; i--)
		sift_down(t, i);
}

/* ------------------------------------------------------------------ drain */

/* Gives back the room in front of the oldest entry that still waits. */
static void release(struct buffer *buffer)
{
	uint64_t position = buffer->scanned;

	if (!buffer->ops)
		return;
	for (size_t i = buffer->head; i < buffer->count; i++) {
		uint64_t start = buffer->entries[i].end - ((buffer->entries[i].size + 8 + 7) & ~7u);

		if (start < position)
			position = start;
		if (!buffer->moved)
			break;
	}
	buffer->ops->release(buffer, position);
	if (buffer->head == buffer->count) {
		buffer->head = buffer->count = 0;
		buffer->moved = false;
	}
}

/* Moves what waits to the front, so that the array does not grow for ever. */
static void compact(struct buffer *buffer)
{
	if (!buffer->head)
		return;
	memmove(buffer->entries, buffer->entries + buffer->head,
		(buffer->count - buffer->head) * sizeof(*buffer->entries));
	buffer->count -= buffer->head;
	buffer->head = 0;
}

static int scan_one(struct buffer *buffer)
{
	int err = buffer->ops->scan(buffer);

	for (int i = 0; !err && buffer->stuck && i < BUSY_RETRIES; i++) {
		sched_yield();
		err = buffer->ops->scan(buffer);
	}
	return err;
}

static int scan(struct transport *t, uint64_t *watermark)
{
	int err;

	for (int i = 0; i < t->n_buffers; i++) {
		struct buffer *buffer = &t->buffers[i];

		if (!buffer->ops)
			continue;
		buffer->old_limit = buffer->limit;
		buffer->limit = __atomic_load_n(buffer->producer, __ATOMIC_ACQUIRE);
	}
	for (int i = 0; i < t->n_buffers; i++) {
		struct buffer *buffer = &t->buffers[i];

		if (!buffer->ops)
			continue;
		compact(buffer);
		err = scan_one(buffer);
		if (err)
			return err;
		t->merging = t->merging || (t->merge && buffer->has_batches);
		if (!buffer->stuck)
			continue;
		/*
		 * Of the record that is being written we know only that its place was reserved
		 * after the last drain that did not see it had read the clock. What is in front
		 * of it may be younger: a program can be preempted at any point.
		 */
		if (buffer->scanned >= buffer->old_limit)
			buffer->stuck_since = t->clock;
		if (buffer->stuck_since < *watermark)
			*watermark = buffer->stuck_since;
	}
	return 0;
}

static int hand_out(struct transport *t, uint64_t watermark, transport_fn handle, void *ctx)
{
	int err = 0;

	build_heap(t);
	for (uint64_t n = 1; t->heap_size && !err; n++) {
		struct buffer *buffer = &t->buffers[t->heap[0]];
		struct entry entry = buffer->entries[buffer->head];

		if (entry.time > watermark)
			break;
		if (entry.time < t->newest)
			t->late++;
		else
			t->newest = entry.time;
		buffer->head++;
		err = handle(ctx, entry.record, entry.size);
		if ((!(n % RELEASE_EVERY) || entry.is_batch) && !buffer->moved)
			buffer->ops->release(buffer, entry.end);
		if (buffer->head == buffer->count)
			t->heap[0] = t->heap[--t->heap_size];
		if (t->heap_size)
			sift_down(t, 0);
	}
	return err;
}

int transport__drain(struct transport *t, transport_fn handle, void *ctx, bool everything)
{
	uint64_t clock = clock_ns(), watermark;
	int err;

	clock -= t->lag;
	watermark = everything ? UINT64_MAX : clock;
	err = scan(t, &watermark);
	if (err)
		return err;
	t->clock = clock;
	err = t->merging ? hand_out(t, watermark, merge__add, t->merge)
			 : hand_out(t, watermark, handle, ctx);
	for (int i = 0; i < t->n_buffers; i++)
		release(&t->buffers[i]);
	if (t->merging && !err)
		err = merge__hand_out(t->merge, watermark, handle, ctx, everything);
	return err;
}

void transport__set_lag(struct transport *t, uint64_t ns)
{
	t->lag = ns;
}

bool transport__holds_much(const struct transport *t)
{
	for (int i = 0; i < t->n_rings && t->lag; i++) {
		const struct buffer *buffer = &t->buffers[i];
		uint64_t held =
			__atomic_load_n(buffer->producer, __ATOMIC_ACQUIRE) - *buffer->consumer;

		if (held > (buffer->mask + 1) / 4)
			return true;
	}
	return false;
}

uint64_t transport__late(const struct transport *t)
{
	return t->late + (t->merge ? merge__late(t->merge) : 0);
}
