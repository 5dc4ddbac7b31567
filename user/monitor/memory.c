// SPDX-License-Identifier: BSD-3-Clause
/*
 * The monitor of memory: struct wire_memory to struct memory_event, and that to a consumer or to
 * records. Rows are rare enough (a run of faults is one) to be made one by one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "monitor/internal.h"
#include "monitor/stack_text.h"
#include "monitor/text.h"
#include "symbols/native.h"

/* clang-format off */
#define TEXT(string) {.data = string, .len = sizeof(string) - 1, .flags = PIKOS_TEXT_PLAIN | PIKOS_TEXT_ASCII}
/* clang-format on */

static const struct pikos_text types[WIRE_MEMORY_N_TYPES] = {
	[WIRE_MMAP] = TEXT("mmap"),	  [WIRE_MUNMAP] = TEXT("munmap"),
	[WIRE_MREMAP] = TEXT("mremap"),	  [WIRE_BRK] = TEXT("brk"),
	[WIRE_MADVISE] = TEXT("madvise"), [WIRE_ANON] = TEXT("anon"),
	[WIRE_FILE] = TEXT("file"),	  [WIRE_SHMEM] = TEXT("shmem"),
	[WIRE_SWAP] = TEXT("swap"),
};

static const struct pikos_text native = TEXT("<native>");
static const struct pikos_text unknown = TEXT("<unknown>");
static const struct pikos_text outside = TEXT("<outside>");
static const struct pikos_text nothing = TEXT("");

struct memory_rows {
	struct frames *known;
	struct frame frames[WIRE_MAX_FRAMES];
	/* Cells whose text is made anew for each row. */
	struct stack_text address, stack, native;
	struct native *names; /* of C functions; NULL: none */
};

struct memory_rows *memory_rows__new(const struct monitor_config *config)
{
	struct memory_rows *rows = calloc(1, sizeof(*rows));

	if (!rows)
		return NULL;
	rows->known = frames__new(config->symbols, config->qualified);
	rows->names = config->native;
	if (rows->known)
		return rows;
	free(rows);
	return NULL;
}

void memory_rows__free(struct memory_rows *rows)
{
	if (!rows)
		return;
	frames__free(rows->known);
	free(rows->address.bytes);
	free(rows->stack.bytes);
	free(rows->native.bytes);
	free(rows);
}

int memory_rows__learn(struct memory_rows *rows, const struct wire_head *head, uint32_t size)
{
	return frames__learn(rows->known, head, size);
}

/* ------------------------------------------------------------------ cells */

static const struct pikos_text *address_text(struct memory_rows *rows,
					     const struct memory_event *event)
{
	char digits[24];

	stack_text__begin(&rows->address);
	if (event->address) {
		snprintf(digits, sizeof(digits), "0x%" PRIx64, event->address);
		if (stack_text__append_words(&rows->address, digits))
			return NULL;
	}
	return stack_text__end(&rows->address);
}

/* What stands in place of frames, or beyond the outermost. */
static const char *marks(uint32_t flags)
{
	if (flags & WIRE_STACK_OUTSIDE)
		return outside.data;
	if (flags & WIRE_STACK_NATIVE)
		return native.data;
	if (flags & WIRE_STACK_UNKNOWN)
		return unknown.data;
	if (flags & WIRE_STACK_UNREADABLE)
		return "<unreadable>";
	if (flags & WIRE_STACK_LOOP)
		return "<loop>";
	return flags & WIRE_STACK_CUT ? "<cut>" : "";
}

static int append_frame(struct stack_text *stack, const struct frame *frame)
{
	if (stack->len && stack_text__append(stack, ";", 1))
		return -ENOMEM;
	if (!frame->symbol)
		return stack_text__append_words(stack, unknown.data);
	return stack_text__append_frame(stack, frame->symbol->file, frame->symbol->function,
					frame->line);
}

/* Outermost first, as flame graphs want it. */
static const struct pikos_text *stack_text(struct memory_rows *rows,
					   const struct memory_event *event)
{
	stack_text__begin(&rows->stack);
	if (stack_text__append_words(&rows->stack, marks(event->flags)))
		return NULL;
	for (uint32_t i = event->n_frames; i-- > 0;)
		if (append_frame(&rows->stack, &event->frames[i]))
			return NULL;
	return stack_text__end(&rows->stack);
}

static int append_native(struct memory_rows *rows, uint32_t target, uint64_t address,
			 bool is_return)
{
	const struct pikos_text *name;
	char digits[24];

	if (!rows->names) {
		snprintf(digits, sizeof(digits), "0x%" PRIx64, address);
		return stack_text__append_words(&rows->native, digits);
	}
	name = native__name(rows->names, target, address, is_return);
	return name ? stack_text__append(&rows->native, name->data, name->len) : -ENOMEM;
}

/* The innermost is right in any case, it is where the thread was. */
static uint32_t count_native(struct memory_rows *rows, const struct memory_event *event)
{
	uint32_t n = event->n_native ? 1 : 0;

	/* A frame pointer may lead to zeros; no address is before the first. */
	while (n < event->n_native && event->native[n] &&
	       (!rows->names || native__is_code(rows->names, event->target, event->native[n] - 1)))
		n++;
	return n;
}

/* Outermost first, as the Python stack, below which they belong. */
static const struct pikos_text *native_text(struct memory_rows *rows,
					    const struct memory_event *event)
{
	stack_text__begin(&rows->native);
	for (uint32_t i = count_native(rows, event); i-- > 0;) {
		if (rows->native.len && stack_text__append(&rows->native, ";", 1))
			return NULL;
		if (append_native(rows, event->target, event->native[i], i > 0))
			return NULL;
	}
	return stack_text__end(&rows->native);
}

/* What is mapped where has changed. */
static void tell_names(struct native *names, const struct memory_event *event)
{
	if (event->type == WIRE_MMAP && event->prot & PROT_EXEC)
		native__mapped(names, event->target, event->address, event->size);
	else if (event->type == WIRE_MMAP || event->type == WIRE_MUNMAP)
		native__changed(names, event->target, event->address, event->size);
	else if (event->type == WIRE_MREMAP) {
		native__changed(names, event->target, event->old_address, event->old_size);
		native__changed(names, event->target, event->address, event->size);
	}
}

/* ------------------------------------------------------------------ rows */

/* What a row says where there is no frame. */
static const struct pikos_text *substitute(const struct memory_event *event)
{
	if (event->flags & WIRE_STACK_OUTSIDE)
		return &outside;
	return event->flags & WIRE_STACK_NATIVE ? &native : &unknown;
}

/* Of what is resident by how much, of a mapping how much of it. */
static int64_t size_of(const struct memory_event *event)
{
	if (event->type >= WIRE_ANON)
		return event->change;
	if (event->type == WIRE_BRK)
		return (int64_t)(event->address - event->old_address);
	return event->size;
}

static bool fill_cell(struct monitor *monitor, struct source *source,
		      const struct memory_event *event, enum column column,
		      struct pikos_value *value)
{
	const struct frame *top = event->n_frames && event->frames[0].symbol ? event->frames : NULL;

	/* clang-format off */
	switch (column) {
	case COLUMN_PID: value->i = event->pid; break;
	case COLUMN_TID: value->i = event->tid; break;
	case COLUMN_TIME: value->i = event->time; break;
	case COLUMN_INDEX: value->i = monitor->totals.seen; break;
	case COLUMN_TYPE: value->s = &types[event->type]; break;
	case COLUMN_FUNCTION: value->s = top ? top->symbol->function : substitute(event); break;
	case COLUMN_LINE_NUMBER: value->i = top ? top->line : -1; break;
	case COLUMN_RSS: value->i = event->rss; break;
	case COLUMN_VMS: value->i = event->vms; break;
	case COLUMN_LINE:
		value->s = top ? monitor__source_line(source, top->symbol, top->line) : &nothing;
		break;
	case COLUMN_FILE: value->s = top ? top->symbol->file : substitute(event); break;
	case COLUMN_ADDRESS: value->s = address_text(monitor->memory, event); break;
	case COLUMN_SIZE: value->i = size_of(event); break;
	case COLUMN_STACK: value->s = stack_text(monitor->memory, event); break;
	case COLUMN_NATIVE: value->s = native_text(monitor->memory, event); break;
	default: break; /* of allocations */
	}
	/* clang-format on */
	return value->kind != PIKOS_TEXT || value->s;
}

static int record(struct monitor *monitor, struct source *source, const struct memory_event *event)
{
	struct pikos_record *out = &monitor->record;

	out->pid = event->pid;
	out->tid = event->tid;
	out->time = event->time;
	out->rss = event->rss;
	for (int i = 0; i < out->type->n_fields; i++)
		if (!fill_cell(monitor, source, event, monitor->columns[i], &monitor->values[i]))
			return -ENOMEM;
	return monitor__pass(monitor, false);
}

/* ------------------------------------------------------------------ events */

static int consume(struct monitor *monitor, const struct memory_event *event)
{
	const struct memory_consumer *consumer = monitor->config.consumer;
	int err = consumer->event(consumer->ctx, event);

	if (err)
		return err;
	monitor->totals.seen++;
	monitor->totals.written++;
	return monitor__enough(monitor) ? -ECANCELED : 0;
}

static uint64_t whole_pages(const struct monitor *monitor, uint64_t bytes)
{
	return (bytes + monitor->page - 1) / monitor->page * monitor->page;
}

static struct memory_event event_of(const struct monitor *monitor, const struct source *source,
				    const struct wire_memory *memory)
{
	return (struct memory_event){
		.type = memory->head.type,
		.target = memory->head.target,
		.pid = source->pid,
		.tid = memory->head.tid,
		.time = memory->head.time,
		.first_time = memory->first_time,
		.address = memory->address,
		.size = whole_pages(monitor, memory->size),
		.old_address = memory->old_address,
		.old_size = whole_pages(monitor, memory->old_size),
		.change = memory->change * (int64_t)monitor->page,
		.rss = memory->rss * monitor->page,
		.vms = memory->vms * monitor->page,
		.prot = memory->prot,
		.map_flags = memory->map_flags,
		.n_faults = memory->n_faults,
		.flags = memory->flags,
	};
}

/* Frames and addresses behind the record, as many as it has room for. */
static void add_stack(struct monitor *monitor, const struct wire_memory *memory, uint32_t size,
		      struct memory_event *event)
{
	const struct wire_frame *frames = (const void *)(memory + 1);
	uint32_t room = (size - sizeof(*memory)) / sizeof(*frames);

	if (memory->n_frames > WIRE_MAX_FRAMES || memory->n_frames > room ||
	    memory->n_native > room - memory->n_frames)
		return;
	for (uint32_t i = 0; i < memory->n_frames; i++)
		frames__get(monitor->memory->known, &frames[i], &monitor->memory->frames[i]);
	monitor->totals.missing = frames__missing(monitor->memory->known);
	event->n_frames = memory->n_frames;
	event->frames = monitor->memory->frames;
	event->n_native = memory->n_native;
	event->native = (const uint64_t *)(frames + memory->n_frames);
}

int monitor__handle_memory(struct monitor *monitor, const struct wire_memory *memory, uint32_t size)
{
	struct source *source = monitor->sources[memory->head.target];
	struct memory_event event;

	if (size < sizeof(*memory) || !source || !monitor->memory || monitor__enough(monitor) ||
	    memory->head.type < WIRE_MMAP || memory->head.type >= WIRE_MEMORY_N_TYPES)
		return 0;
	source->next_seq++;
	event = event_of(monitor, source, memory);
	if (event.flags & (WIRE_STACK_UNREADABLE | WIRE_STACK_LOOP))
		monitor->totals.broken_stacks++;
	add_stack(monitor, memory, size, &event);
	if (monitor->memory->names)
		tell_names(monitor->memory->names, &event);
	if (monitor->config.consumer)
		return consume(monitor, &event);
	return record(monitor, source, &event);
}
