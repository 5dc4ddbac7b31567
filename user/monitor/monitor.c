// SPDX-License-Identifier: BSD-3-Clause
#include "monitor/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "filter/filter.h"
#include "monitor/text.h"
#include "transport/transport.h"

const char *const monitor__reasons[WIRE_N_REASONS] = {
	[WIRE_BUFFER_FULL] = "buffer full",
	[WIRE_UNREADABLE_STRING] = "unreadable string",
	[WIRE_MAP_FULL] = "map full",
	[WIRE_UNREADABLE_BATCH] = "unreadable batch",
};

/* clang-format off */
#define TEXT(string) {.data = string, .len = sizeof(string) - 1, .flags = PIKOS_TEXT_PLAIN}
/* clang-format on */

static const struct pikos_text types[] = {
	[WIRE_CALL] = TEXT("call"),	    [WIRE_RETURN] = TEXT("return"),
	[WIRE_LINE] = TEXT("line"),	    [WIRE_C_CALL] = TEXT("c_call"),
	[WIRE_C_RETURN] = TEXT("c_return"), [WIRE_C_EXCEPTION] = TEXT("c_exception"),
};

static const char *const column_names[N_COLUMNS] = {
	"pid",	     "tid",    "time",	   "index",   "type", "function", "lineNo",    "RSS",
	"VMS",	     "line",   "filename", "address", "size", "stack",	  "native",

	"value1",    "value2", "event",	   "name",    "mod",  "lineno",	  "from_name", "from_mod",
	"from_line", "depth",
};

/* Column `event` of allocations: codes of EventProfiler. */
static const uint16_t event_codes[MONITOR_N_TYPES] = {
	[WIRE_CALL] = 1,	[WIRE_RETURN] = 2,
	[WIRE_C_CALL] = 3,	[WIRE_C_RETURN] = 4,
	[WIRE_C_EXCEPTION] = 6, [WIRE_MALLOC] = 1000,
	[WIRE_CALLOC] = 1001,	[WIRE_REALLOC] = 1002,
	[WIRE_FREE] = 1003,	[WIRE_REALLOC_FREE] = 1004,
	[MONITOR_BEGIN] = 100,	[MONITOR_END] = 101,
};

static int find_columns(struct monitor *monitor)
{
	const struct pikos_record_type *type = monitor->config.type;

	for (int i = 0; i < type->n_fields; i++) {
		int column = 0;

		while (column < N_COLUMNS && strcmp(type->fields[i].name, column_names[column]))
			column++;
		if (column == N_COLUMNS)
			return -EINVAL;
		monitor->columns[i] = column;
		monitor->values[i].kind = type->fields[i].kind;
	}
	return 0;
}

/* What stands for a function where there is none of the program's. */
static int make_places(struct monitor *monitor)
{
	static const char *const names[N_PLACES] = {
		[PLACE_NATIVE] = "<native>",
		[PLACE_UNKNOWN] = "<unknown>",
		[PLACE_NOBODY] = "",
		[PLACE_PROFILER] = "<pikos-trace>",
	};
	const struct symbol_string none = {.bytes = ""};

	for (int i = 0; i < N_PLACES; i++) {
		const struct symbol_string name = {.bytes = names[i], .len = strlen(names[i])};

		monitor->places[i] = symbol__new(&name, &none);
		if (!monitor->places[i])
			return -ENOMEM;
	}
	return 0;
}

struct monitor *monitor__new(const struct monitor_config *config)
{
	struct monitor *monitor = calloc(1, sizeof(*monitor));
	int err;

	if (!monitor)
		return NULL;
	monitor->config = *config;
	monitor->kind = monitor__kind(config->type->monitor);
	monitor->page = sysconf(_SC_PAGESIZE);
	monitor->record.type = config->type;
	monitor->record.values = monitor->values;
	err = config->consumer ? 0 : find_columns(monitor); /* no records, no columns */
	if (!err && monitor->kind == MONITOR_MEMORY) {
		monitor->memory = memory_rows__new(config);
		err = monitor->memory ? 0 : -ENOMEM;
	}
	if (!err)
		err = make_places(monitor);
	if (!err && monitor->kind == MONITOR_ALLOCATIONS) {
		monitor->frames = frames__new(config->symbols, config->qualified);
		err = monitor->frames ? 0 : -ENOMEM;
	}
	if (!err)
		return monitor;
	monitor__free(monitor);
	errno = -err;
	return NULL;
}

void monitor__free(struct monitor *monitor)
{
	if (!monitor)
		return;
	for (int i = 0; i < WIRE_MAX_TARGETS; i++) {
		if (!monitor->sources[i])
			continue;
		monitor__free_agent(monitor->sources[i]->agent);
		sizes__free(monitor->sources[i]->sizes);
		free(monitor->sources[i]);
	}
	for (int i = 0; i < N_PLACES; i++)
		symbol__free(monitor->places[i]);
	frames__free(monitor->frames);
	rows__free(monitor->rows);
	memory_rows__free(monitor->memory);
	free(monitor);
}

int monitor__set_target(struct monitor *monitor, uint32_t target, pid_t pid, struct lines *lines)
{
	struct source *source = monitor->sources[target];

	if (!source)
		source = calloc(1, sizeof(*source));
	if (!source)
		return -ENOMEM;
	if (!source->sizes && monitor->kind == MONITOR_ALLOCATIONS)
		source->sizes = sizes__new(); /* without, no size of what is freed is known */
	monitor__forget_sizes(source);	      /* another program has other blocks */
	source->pid = pid;
	source->lines = lines;
	monitor->sources[target] = source;
	return 0;
}

bool monitor__enough(const struct monitor *monitor)
{
	uint64_t max = monitor->config.max_records;

	return max && monitor->totals.written >= max;
}

/* ------------------------------------------------------------------ losses */

static void count_loss(struct monitor_totals *totals, const char *reason, uint64_t count)
{
	int i = 0;

	totals->lost += count;
	while (i < totals->n_losses && strcmp(totals->losses[i].reason, reason))
		i++;
	if (i == MONITOR_MAX_LOSSES)
		i--; /* more reasons than there are: cannot be */
	if (i == totals->n_losses)
		totals->losses[totals->n_losses++] = (struct monitor_loss){reason, 0};
	totals->losses[i].count += count;
}

int monitor__record_loss(struct monitor *monitor, const struct wire_head *head, const char *reason,
			 uint64_t count)
{
	const struct pikos_lost lost = {reason, count, head->time};
	struct source *source = monitor->sources[head->target];
	struct pikos_value values[PIKOS_MAX_FIELDS];
	struct pikos_text text;
	struct pikos_record record = {
		.type = monitor->config.type,
		.values = values,
		.lost = &lost,
		.pid = source ? (uint32_t)source->pid : 0,
		.tid = head->tid,
		.time = head->time,
	};

	if (source)
		monitor__forget_sizes(source);
	if (monitor__enough(monitor))
		return 0;
	if (monitor->config.consumer) {
		monitor->totals.seen += count;
		count_loss(&monitor->totals, reason, count);
		monitor->config.consumer->lost(monitor->config.consumer->ctx, head->target, count);
		return 0;
	}
	pikos_lost_row(record.type, monitor->totals.seen, &lost, record.pid, record.tid, &text,
		       values);
	monitor->totals.seen += count;
	count_loss(&monitor->totals, reason, count);
	return pikos_recorder__record(monitor->config.recorder, &record);
}

int monitor__lost(struct monitor *monitor, const char *reason, uint64_t count)
{
	const struct wire_head head = {.time = clock_ns()};

	return count ? monitor__record_loss(monitor, &head, reason, count) : 0;
}

static int handle_lost(struct monitor *monitor, const struct wire_lost *lost)
{
	struct source *source = monitor->sources[lost->head.target];

	if (lost->head.type >= WIRE_N_REASONS || !source)
		return 0;
	source->next_seq += lost->count;
	return monitor__record_loss(monitor, &lost->head, monitor__reasons[lost->head.type],
				    lost->count);
}

/* What the kernel filtered since the last record of this target. */
static void count_gap(struct monitor *monitor, uint64_t gap)
{
	monitor->totals.seen += gap;
	monitor->totals.filtered += gap;
}

int monitor__finish_target(struct monitor *monitor, uint32_t target,
			   const struct wire_target *final)
{
	const struct wire_head head = {.target = target, .time = clock_ns()};
	struct source *source = monitor->sources[target];
	uint64_t gap;
	int err = 0;

	if (!source)
		return 0;
	for (int i = 0; i < WIRE_N_REASONS && !err; i++) {
		if (!final->unreported[i])
			continue;
		source->next_seq += final->unreported[i];
		err = monitor__record_loss(monitor, &head, monitor__reasons[i],
					   final->unreported[i]);
	}
	gap = final->seen - source->next_seq;
	count_gap(monitor, gap);
	source->next_seq += gap;
	if (!err && source->has_begun)
		err = monitor__mark(monitor, source, MONITOR_END, head.time);
	return err == -ECANCELED ? 0 : err;
}

/* ------------------------------------------------------------------ events */

const struct pikos_text *monitor__source_line(struct source *source, struct symbol *symbol,
					      int32_t line)
{
	if (!source->lines)
		return &lines_compiled_string;
	if (symbol->source_cache != source->lines ||
	    symbol->source_generation != lines__generation(source->lines)) {
		symbol->source = lines__file(source->lines, symbol->path, symbol->path_len);
		symbol->source_cache = source->lines;
		symbol->source_generation = lines__generation(source->lines);
	}
	return lines__at(symbol->source, line);
}

void monitor__fill(struct monitor *monitor, struct source *source, const struct happening *event,
		   uint64_t index)
{
	struct pikos_record *record = &monitor->record;

	record->pid = source->pid;
	record->tid = event->tid;
	record->time = event->time;
	record->is_call = event->type == WIRE_CALL;
	record->is_return = event->type == WIRE_RETURN;
	record->rss = event->rss * monitor->page;
	for (int i = 0; i < record->type->n_fields; i++) {
		struct pikos_value *value = &monitor->values[i];

		/* clang-format off */
		switch (monitor->columns[i]) {
		case COLUMN_PID: value->i = record->pid; break;
		case COLUMN_TID: value->i = record->tid; break;
		case COLUMN_TIME: value->i = record->time; break;
		case COLUMN_INDEX: value->i = index; break;
		case COLUMN_TYPE: value->s = &types[event->type]; break;
		case COLUMN_FUNCTION: value->s = event->symbol->function; break;
		case COLUMN_LINE_NUMBER: value->i = event->line; break;
		case COLUMN_RSS: value->i = record->rss; break;
		case COLUMN_VMS: value->i = event->vms * monitor->page; break;
		case COLUMN_LINE:
			value->s = monitor__source_line(source, event->symbol, event->line);
			break;
		case COLUMN_FILE:
		case COLUMN_MOD: value->s = event->symbol->file; break;
		case COLUMN_VALUE1: value->i = event->address; break;
		case COLUMN_VALUE2: value->i = event->size; break;
		case COLUMN_EVENT: value->i = event_codes[event->type]; break;
		case COLUMN_NAME: value->s = event->symbol->function; break;
		case COLUMN_LINENO: value->i = event->line; break;
		case COLUMN_FROM_NAME: value->s = event->caller->function; break;
		case COLUMN_FROM_MOD: value->s = event->caller->file; break;
		case COLUMN_FROM_LINE: value->i = event->caller_line; break;
		case COLUMN_DEPTH: value->i = event->depth; break;
		default: break; /* of memory */
		}
		/* clang-format on */
	}
}

int monitor__pass(struct monitor *monitor, bool decided)
{
	struct pikos_filters *filters = monitor->config.filters;
	int err;

	monitor->totals.seen++;
	if (filters && !filters__keep(filters, &monitor->record, decided)) {
		monitor->totals.filtered++;
		return 0;
	}
	err = pikos_recorder__record(monitor->config.recorder, &monitor->record);
	if (err) {
		count_loss(&monitor->totals, MONITOR_NOT_WRITTEN, 1);
		return err;
	}
	monitor->totals.written++;
	return monitor__enough(monitor) ? -ECANCELED : 0;
}

int monitor__take(struct monitor *monitor, struct source *source, const struct happening *event,
		  uint64_t index)
{
	monitor__fill(monitor, source, event, index);
	return monitor__pass(monitor, event->decided);
}

/*
 * What the kernel filtered since the last record of this target is the gap in its numbers. Threads
 * that run at once can take numbers and times in different orders, and a loss may find room for its
 * report only behind a younger event: then what was taken for filtered was not.
 * @return the event's index
 */
static uint64_t account(struct monitor *monitor, struct source *source, uint64_t seq)
{
	uint64_t behind = source->next_seq - seq;

	if (seq >= source->next_seq) {
		count_gap(monitor, seq - source->next_seq);
		source->next_seq = seq + 1;
		return monitor->totals.seen;
	}
	monitor->totals.seen--;
	monitor->totals.filtered--;
	return monitor->totals.seen + 1 - behind;
}

static int handle_event(struct monitor *monitor, const struct wire_event *event)
{
	const struct wire_event_memory *memory = (const void *)event;
	bool has_memory = event->head.kind == WIRE_EVENT_MEMORY;
	struct source *source = monitor->sources[event->head.target];
	struct happening now = {
		.type = event->head.type,
		.tid = event->head.tid,
		.time = event->head.time,
		.line = event->line,
		.rss = has_memory ? memory->rss : 0,
		.vms = has_memory ? memory->vms : 0,
		.symbol = symbols__get(monitor->config.symbols, event->code),
		.decided = true,
	};
	uint64_t index;

	if (!source || event->head.type > WIRE_LINE || monitor__enough(monitor))
		return 0;
	index = account(monitor, source, event->seq);
	if (!now.symbol)
		return monitor__record_loss(monitor, &event->head,
					    monitor__reasons[WIRE_UNREADABLE_STRING], 1);
	return monitor__take(monitor, source, &now, index);
}

/* ------------------------------------------------------------------ codes */

static size_t length(const char *text, size_t size)
{
	return strnlen(text, size);
}

static int define(struct monitor *monitor, uint32_t id, uint32_t cut, const char *name,
		  size_t name_size, const char *file, size_t file_size)
{
	const struct symbol_string function = {name, length(name, name_size), cut & WIRE_NAME_CUT};
	const struct symbol_string path = {file, length(file, file_size), cut & WIRE_FILE_CUT};

	return symbols__define(monitor->config.symbols, id, &function, &path);
}

int monitor__handle(void *ctx, const struct wire_head *head, uint32_t size)
{
	struct monitor *monitor = ctx;
	const struct wire_code_long *text = (const void *)head;
	const struct wire_code *code = (const void *)head;

	if (head->target >= WIRE_MAX_TARGETS)
		return 0;
	switch (head->kind) {
	case WIRE_EVENT:
		return size < sizeof(struct wire_event) ? 0 : handle_event(monitor, (void *)head);
	case WIRE_EVENT_MEMORY:
		if (size < sizeof(struct wire_event_memory))
			return 0;
		return handle_event(monitor, (void *)head);
	case WIRE_CODE:
		if (size < sizeof(*code))
			return 0;
		return define(monitor, code->code, code->cut, code->name, sizeof(code->name),
			      code->file, sizeof(code->file));
	case WIRE_CODE_LONG:
		if (size < sizeof(*text))
			return 0;
		return define(monitor, text->code, text->cut, text->name, sizeof(text->name),
			      text->file, sizeof(text->file));
	case WIRE_LOST:
		return size < sizeof(struct wire_lost) ? 0 : handle_lost(monitor, (void *)head);
	case WIRE_MEMORY:
		return monitor__handle_memory(monitor, (void *)head, size);
	case WIRE_FRAME_CODE:
	case WIRE_LINE_TABLE:
		if (monitor->frames)
			return frames__learn(monitor->frames, head, size);
		return monitor->memory ? memory_rows__learn(monitor->memory, head, size) : 0;
	case WIRE_ALLOCATION:
		return size < sizeof(struct wire_allocation)
			       ? 0
			       : monitor__handle_allocation(monitor, (void *)head, size);
	case WIRE_BATCH:
		return monitor__handle_batch(monitor, (void *)head, size);
	}
	return 0; /* a wake-up, or of a kind that this version does not know */
}

void monitor__totals(const struct monitor *monitor, struct monitor_totals *totals)
{
	*totals = monitor->totals;
}
