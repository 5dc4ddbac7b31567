// SPDX-License-Identifier: BSD-3-Clause
/*
 * A BPF ring buffer, read in place: the kernel maps its data twice in a row, so that a record
 * never wraps.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <fcntl.h>

#include <linux/bpf.h>

#include "transport/buffer.h"

#define RECORD_BUSY    BPF_RINGBUF_BUSY_BIT
#define RECORD_DISCARD BPF_RINGBUF_DISCARD_BIT
#define HEADER_SIZE    BPF_RINGBUF_HDR_SZ

static int ring_scan(struct buffer *ring)
{
	ring->stuck = false;
	while (ring->scanned < ring->limit) {
		unsigned char *header = ring->data + (ring->scanned & ring->mask);
		uint32_t len = __atomic_load_n((uint32_t *)header, __ATOMIC_ACQUIRE);
		uint32_t size = len & ~(RECORD_BUSY | RECORD_DISCARD);
		uint64_t end = ring->scanned + ((size + HEADER_SIZE + 7) & ~UINT64_C(7));
		int err;

		if (len & RECORD_BUSY) {
			ring->stuck = true;
			return 0;
		}
		if (!(len & RECORD_DISCARD) && size >= sizeof(struct wire_head)) {
			err = buffer__add(ring, (void *)(header + HEADER_SIZE), size, end);
			if (err)
				return err;
		}
		ring->scanned = end;
	}
	return 0;
}

static void ring_release(struct buffer *ring, uint64_t position)
{
	__atomic_store_n(ring->consumer, position, __ATOMIC_RELEASE);
}

static void ring_close(struct buffer *ring)
{
	if (ring->control_map)
		munmap(ring->control_map, sysconf(_SC_PAGESIZE));
	if (ring->base)
		munmap(ring->base, ring->base_size);
	if (ring->fd >= 0)
		close(ring->fd);
}

static const struct buffer_ops ring_ops = {ring_scan, ring_release, ring_close};

int buffer__open_ring(struct buffer *ring, int map_fd, uint32_t size)
{
	size_t page = sysconf(_SC_PAGESIZE);
	void *map;

	ring->ops = &ring_ops;
	ring->fd = fcntl(map_fd, F_DUPFD_CLOEXEC, 3);
	if (ring->fd < 0)
		return -errno;
	map = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	ring->control_map = map;
	ring->consumer = map;
	ring->base_size = page + 2 * (size_t)size;
	map = mmap(NULL, ring->base_size, PROT_READ, MAP_SHARED, ring->fd, page);
	if (map == MAP_FAILED)
		return -errno;
	ring->base = map;
	ring->producer = map;
	ring->data = (unsigned char *)map + page;
	ring->mask = size - 1;
	ring->scanned = *ring->consumer;
	return 0;
}
