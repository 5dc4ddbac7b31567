// SPDX-License-Identifier: BSD-3-Clause
#include "transport/buffer.h"

#include <errno.h>
#include <stdlib.h>

int buffer__add(struct buffer *buffer, const struct wire_head *record, uint32_t size, uint64_t end)
{
	size_t i = buffer->count;

	if (buffer->count == buffer->capacity) {
		size_t capacity = buffer->capacity ? buffer->capacity * 2 : 1024;
		struct entry *grown = realloc(buffer->entries, capacity * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		buffer->entries = grown;
		buffer->capacity = capacity;
	}
	/* Nearly always the last place: out of order only if a program was preempted in between. */
	while (i > buffer->head && buffer->entries[i - 1].time > record->time) {
		buffer->entries[i] = buffer->entries[i - 1];
		buffer->moved = true;
		i--;
	}
	buffer->entries[i] = (struct entry){.time = record->time,
					    .record = record,
					    .end = end,
					    .size = size,
					    .is_batch = record->kind == WIRE_BATCH};
	buffer->has_batches = buffer->has_batches || buffer->entries[i].is_batch;
	buffer->count++;
	return 0;
}
