/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * buffer.h - one CPU's buffer: what transport.c needs of a ring buffer and of a perf buffer.
 */
#ifndef PIKOS_TRANSPORT_BUFFER_H
#define PIKOS_TRANSPORT_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/wire.h"

/* A record that was found: in time order once sorted. */
struct entry {
	uint64_t time;
	const struct wire_head *record;
	uint64_t end; /* position behind it, to give back */
	uint32_t size;
	bool is_batch;
};

struct buffer {
	const struct buffer_ops *ops;
	int fd;
	void *base; /* what was mapped */
	size_t base_size;
	const void *control;
	unsigned char *data;
	uint64_t mask;
	uint64_t *consumer;	   /* position up to which the kernel may write again */
	const uint64_t *producer;  /* position up to which it has reserved */
	uint64_t scanned;	   /* position up to which entries were made */
	uint64_t limit, old_limit; /* positions up to which this drain scans, the last one did */
	uint64_t stuck_since;	   /* no record at or behind `scanned` is older; if stuck */
	struct entry *entries;	   /* [head, count) are waiting */
	size_t head, count, capacity;
	bool moved;	  /* sorting has moved entries: positions no longer grow with them */
	bool has_batches; /* one has been seen */
	bool stuck;	  /* a record at `scanned` is still being written */
	void *control_map;
	unsigned char *copies; /* perf: records that were copied out */
	size_t copies_size, copies_capacity;
};

struct buffer_ops {
	/* Makes entries up to `limit`. @return 0 or -ENOMEM */
	int (*scan)(struct buffer *buffer);
	/* Gives back everything before `position`. */
	void (*release)(struct buffer *buffer, uint64_t position);
	void (*close)(struct buffer *buffer);
};

int buffer__open_ring(struct buffer *buffer, int map_fd, uint32_t size);
int buffer__open_perf(struct buffer *buffer, int map_fd, int cpu, uint32_t size);

/* Appends an entry. @return 0 or -ENOMEM */
int buffer__add(struct buffer *buffer, const struct wire_head *record, uint32_t size, uint64_t end);

#endif /* PIKOS_TRANSPORT_BUFFER_H */
