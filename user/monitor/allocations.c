// SPDX-License-Identifier: BSD-3-Clause
/*
 * What only the monitor `allocations` has: beginnings and ends, sizes of what is freed, and events
 * of libc's functions (bpf/allocations.bpf.c) with the frames that the kernel has walked.
 */
#include "monitor/internal.h"

#include "symbols/frames.h"

void monitor__forget_sizes(struct source *source)
{
	sizes__clear(source->sizes);
}

int64_t monitor__size(struct source *source, uint32_t type, uint64_t address, uint64_t size)
{
	int64_t bytes = size > INT64_MAX ? INT64_MAX : (int64_t)size;

	switch (type) {
	case WIRE_MALLOC:
	case WIRE_CALLOC:
	case WIRE_REALLOC:
		sizes__put(source->sizes, address, bytes);
		return bytes;
	case WIRE_FREE:
	case WIRE_REALLOC_FREE:
		return -(int64_t)sizes__take(source->sizes, address);
	}
	return 0;
}

int monitor__mark(struct monitor *monitor, struct source *source, uint32_t type, uint64_t time)
{
	const struct happening mark = {
		.type = type,
		.tid = source->pid,
		.time = time,
		.line = -1,
		.symbol = monitor->places[PLACE_PROFILER],
		.caller = monitor->places[PLACE_NOBODY],
		.caller_line = -1,
	};

	if (monitor->kind != MONITOR_ALLOCATIONS || monitor__enough(monitor))
		return 0;
	source->has_begun = type == MONITOR_BEGIN;
	monitor->totals.marks++;
	return monitor__take(monitor, source, &mark, monitor->totals.seen);
}

/* ------------------------------------------------------------------ without an agent */

static struct symbol *symbol_of(const struct monitor *monitor, const struct frame *frame,
				bool is_there, enum monitor_place nobody)
{
	if (!is_there)
		return monitor->places[nobody];
	return frame->symbol ? frame->symbol : monitor->places[PLACE_UNKNOWN];
}

static void find_functions(struct monitor *monitor, const struct wire_allocation *event,
			   struct happening *now)
{
	const struct wire_frame *walked = (const void *)(event + 1);
	enum monitor_place nobody = event->flags & WIRE_STACK_NATIVE ? PLACE_NATIVE : PLACE_UNKNOWN;
	struct frame frames[2] = {{.line = -1}, {.line = -1}};

	for (int i = 0; i < event->n_frames; i++)
		frames__get(monitor->frames, &walked[i], &frames[i]);
	now->symbol = symbol_of(monitor, &frames[0], event->n_frames > 0, nobody);
	now->line = frames[0].line;
	now->caller = symbol_of(monitor, &frames[1], event->n_frames > 1, PLACE_NOBODY);
	now->caller_line = frames[1].line;
	if (!event->code || (event->n_frames && frames[0].symbol))
		return;
	now->symbol = symbols__get(monitor->config.symbols, event->code);
	now->line = event->line;
}

int monitor__handle_allocation(struct monitor *monitor, const struct wire_allocation *event,
			       uint32_t size)
{
	struct source *source = monitor->sources[event->head.target];
	struct happening now = {
		.type = event->head.type,
		.tid = event->head.tid,
		.time = event->head.time,
		.depth = event->depth,
		.address = event->address,
	};
	int err = 0;

	if (!source || !monitor->frames || monitor__enough(monitor) || event->n_frames > 2 ||
	    size < sizeof(*event) + event->n_frames * sizeof(struct wire_frame) ||
	    event->head.type >= WIRE_ALLOCATION_N_TYPES)
		return 0;
	if (!source->has_begun)
		err = monitor__mark(monitor, source, MONITOR_BEGIN, now.time);
	if (err)
		return err;
	source->next_seq++;
	find_functions(monitor, event, &now);
	now.size = monitor__size(source, now.type, event->address, event->size);
	if (!now.symbol)
		return monitor__record_loss(monitor, &event->head,
					    monitor__reasons[WIRE_UNREADABLE_STRING], 1);
	return monitor__take(monitor, source, &now, monitor->totals.seen);
}
