// SPDX-License-Identifier: BSD-3-Clause
/*
 * A perf buffer: records can wrap around its end and are not aligned, so they are copied out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/perf_event.h>

#include "transport/buffer.h"

struct perf_sample {
	struct perf_event_header header;
	uint32_t size; /* of what follows, padded */
};

static void copy_out(const struct buffer *perf, uint64_t position, void *to, size_t size)
{
	size_t at = position & perf->mask;
	size_t first = perf->mask + 1 - at;

	if (first > size)
		first = size;
	memcpy(to, perf->data + at, first);
	memcpy((char *)to + first, perf->data, size - first);
}

/* Room for a drain's copies; entries point into it, so they move with it. */
static int reserve_copies(struct buffer *perf, size_t more)
{
	unsigned char *grown;

	if (perf->copies_capacity - perf->copies_size >= more)
		return 0;
	grown = malloc(perf->copies_size + more);
	if (!grown)
		return -ENOMEM;
	for (size_t i = perf->head; i < perf->count; i++) {
		size_t at = (const unsigned char *)perf->entries[i].record - perf->copies;

		memcpy(grown + at, perf->copies + at, perf->entries[i].size);
		perf->entries[i].record = (void *)(grown + at);
	}
	free(perf->copies);
	perf->copies = grown;
	perf->copies_capacity = perf->copies_size + more;
	return 0;
}

/* Nothing waits: start again at the beginning; else move what waits there. */
static void compact_copies(struct buffer *perf)
{
	unsigned char *kept;
	size_t total = 0;

	if (perf->head < perf->count) {
		for (size_t i = perf->head; i < perf->count; i++)
			total += (perf->entries[i].size + 7) & ~7u;
		kept = malloc(total);
		if (!kept)
			return; /* it only costs memory */
		total = 0;
		for (size_t i = perf->head; i < perf->count; i++) {
			memcpy(kept + total, perf->entries[i].record, perf->entries[i].size);
			perf->entries[i].record = (void *)(kept + total);
			total += (perf->entries[i].size + 7) & ~7u;
		}
		free(perf->copies);
		perf->copies = kept;
		perf->copies_capacity = total;
	}
	perf->copies_size = total;
}

static int perf_scan(struct buffer *perf)
{
	struct perf_sample sample;
	int err;

	compact_copies(perf);
	err = reserve_copies(perf, perf->limit - perf->scanned);
	if (err)
		return err;
	while (perf->scanned < perf->limit) {
		unsigned char *copy = perf->copies + perf->copies_size;

		copy_out(perf, perf->scanned, &sample, sizeof(sample));
		if (sample.header.size < sizeof(sample.header))
			return -EPROTO;
		if (sample.header.type == PERF_RECORD_SAMPLE &&
		    sample.size >= sizeof(struct wire_head) &&
		    sample.size + sizeof(sample) <= sample.header.size) {
			copy_out(perf, perf->scanned + sizeof(sample), copy, sample.size);
			perf->copies_size += (sample.size + 7) & ~7u;
			err = buffer__add(perf, (void *)copy, sample.size, 0);
			if (err)
				return err;
		}
		perf->scanned += sample.header.size;
	}
	__atomic_store_n(perf->consumer, perf->scanned, __ATOMIC_RELEASE);
	return 0;
}

static void perf_release(struct buffer *perf, uint64_t position)
{
	(void)perf;
	(void)position; /* given back when copied */
}

static void perf_close(struct buffer *perf)
{
	if (perf->base)
		munmap(perf->base, perf->base_size);
	if (perf->fd >= 0)
		close(perf->fd);
	free(perf->copies);
}

static const struct buffer_ops perf_ops = {perf_scan, perf_release, perf_close};

int buffer__open_perf(struct buffer *perf, int map_fd, int cpu, uint32_t size)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_BPF_OUTPUT,
		.sample_type = PERF_SAMPLE_RAW,
		.watermark = 1,
		.wakeup_watermark = size / 4,
	};
	struct perf_event_mmap_page *page;
	size_t page_size = sysconf(_SC_PAGESIZE);

	perf->fd = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	if (perf->fd < 0)
		return -errno;
	perf->ops = &perf_ops; /* of a CPU that is not there nothing is read */
	perf->base_size = page_size + size;
	page = mmap(NULL, perf->base_size, PROT_READ | PROT_WRITE, MAP_SHARED, perf->fd, 0);
	if (page == MAP_FAILED)
		return -errno;
	perf->base = page;
	perf->consumer = (uint64_t *)&page->data_tail;
	perf->producer = (const uint64_t *)&page->data_head;
	perf->data = (unsigned char *)page + page_size;
	perf->mask = size - 1;
	if (bpf_map_update_elem(map_fd, &cpu, &perf->fd, BPF_ANY) ||
	    ioctl(perf->fd, PERF_EVENT_IOC_ENABLE, 0))
		return -errno;
	return 0;
}
