// SPDX-License-Identifier: BSD-3-Clause
#include "monitor/rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/digits.h"
#include "recorder/recorder.h"

#define SETS	  8192 /* of two rows */
#define ROWS	  (2 * SETS)
#define ROW_BYTES 256 /* a longer one is not kept */
#define CHUNK	  64  /* bytes copied at once, whatever the length */
#define MAX_CELL  32  /* an integer with its separator, padded */
#define MAX_ROW	  (6 * MAX_CELL + ROW_BYTES + CHUNK)

_Static_assert(ROW_BYTES % CHUNK == 0, "chunks end inside");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "struct counter");

#define NOBODY UINT32_MAX

/* Whose row is kept in a place. */
struct tag {
	uint64_t slot;	 /* its code, line and type */
	uint32_t target; /* NOBODY: the place is free */
	uint16_t len;
	uint16_t head; /* of len, in front of RSS and VMS; all of it where there are none */
	bool kept;
};

/* An index as text. The last eight digits are the bytes of a number, the last one on top. */
struct counter {
	uint64_t next;
	uint64_t low;
	unsigned int shift; /* bits of leading zeros in low */
	unsigned int n_high;
	char high[16];
};

/* A cell in front of the row as text: pid and tid stay the same for long, time for 0.1 s. */
struct cell {
	enum { CELL_PID, CELL_TID, CELL_TIME } what;
	uint8_t width;
	unsigned int len;
	uint64_t number; /* of a time: without its last eight digits */
	char text[MAX_CELL];
};

/* RSS and VMS as text: they stay the same for long. */
struct memory {
	int column; /* of RSS, VMS is the next; 0: none */
	int64_t rss, vms;
	unsigned int len; /* 0: not written yet */
	char text[3 * MAX_CELL];
};

struct rows {
	const struct recorder_parts *parts;
	void *recorder;
	int n_fields;
	struct cell cells[PIKOS_MAX_FIELDS];
	int n_cells;
	uint8_t width; /* of the index */
	uint32_t turn; /* which of two rows goes */
	struct counter counter;
	struct memory memory;
	struct tag tags[ROWS];
	char bytes[ROWS][ROW_BYTES];
	char behind[CHUNK]; /* is read with the last row, and nothing is made of it */
};

/* ------------------------------------------------------------------ index */

static void counter_set(struct counter *counter, uint64_t n)
{
	uint64_t low = n % 100000000, high = n / 100000000;
	char digits[8];

	counter->next = n;
	digits__four(digits, low / 10000);
	digits__four(digits + 4, low % 10000);
	memcpy(&counter->low, digits, 8);
	counter->n_high = high ? digits__unsigned(counter->high, high) - counter->high : 0;
	counter->shift = 0;
	while (!high && counter->shift < 56 && digits[counter->shift / 8] == '0')
		counter->shift += 8;
}

static inline void counter_step(struct counter *counter)
{
	counter->next++;
	counter->low += UINT64_C(1) << 56;
	if (counter->low >> 56 > '9')
		counter_set(counter, counter->next);
}

/* Writes the number; up to 24 bytes are written, whatever its end is. */
static inline char *counter_put(const struct counter *counter, char *out)
{
	uint64_t low = counter->low >> counter->shift;

	if (counter->n_high) {
		memcpy(out, counter->high, sizeof(counter->high));
		out += counter->n_high;
	}
	memcpy(out, &low, 8);
	return out + 8 - counter->shift / 8;
}

/* ------------------------------------------------------------------ which rows */

static inline uint64_t key_of(const struct wire_slot *slot)
{
	uint64_t key;

	memcpy(&key, &slot->code, sizeof(key));
	return key;
}

static inline uint32_t set_of(uint64_t key, uint32_t target)
{
	uint64_t hash = (key ^ (uint64_t)target << 20) * UINT64_C(0x9e3779b97f4a7c15);

	return hash >> 40 & (SETS - 1);
}

static inline bool is_of(const struct tag *tag, uint64_t key, uint32_t target)
{
	return tag->slot == key && tag->target == target;
}

static int find_cells(struct rows *rows, const struct pikos_record_type *type)
{
	for (int i = 0; i < type->n_extra; i++) {
		const char *name = type->fields[i].name;
		struct cell *cell = &rows->cells[i];

		memset(cell, 0, sizeof(*cell));
		cell->width = rows->parts->widths[i];
		if (!strcmp(name, "pid"))
			cell->what = CELL_PID;
		else if (!strcmp(name, "tid"))
			cell->what = CELL_TID;
		else if (!strcmp(name, "time"))
			cell->what = CELL_TIME;
		else
			return -ENOTSUP;
	}
	rows->n_cells = type->n_extra;
	rows->width = rows->parts->widths[type->n_extra];
	rows->n_fields = type->n_fields;
	rows->memory.len = 0;
	rows->memory.column = type->memory ? pikos_record_type__field(type, "RSS") : 0;
	if (rows->memory.column < 0 ||
	    (type->memory && pikos_record_type__field(type, "VMS") != rows->memory.column + 1))
		return -ENOTSUP;
	return strcmp(type->fields[type->n_extra].name, "index") ? -ENOTSUP : 0;
}

struct rows *rows__new(const struct pikos_record_type *type, const struct pikos_filters *filters,
		       struct pikos_recorder *recorder)
{
	void *context;
	const struct recorder_parts *parts = recorder__parts(recorder, &context);
	struct rows *rows;
	int err = -ENOTSUP;

	rows = parts && filters__by_code(filters, type) ? malloc(sizeof(*rows)) : NULL;
	if (rows) {
		rows->parts = parts;
		rows->recorder = context;
		rows->turn = 0;
		rows__clear(rows);
		counter_set(&rows->counter, 0);
		err = find_cells(rows, type);
	}
	if (!err)
		return rows;
	rows__free(rows);
	errno = -err;
	return NULL;
}

void rows__free(struct rows *rows)
{
	free(rows);
}

void rows__clear(struct rows *rows)
{
	for (int i = 0; rows && i < ROWS; i++)
		rows->tags[i].target = NOBODY;
}

void rows__forget(struct rows *rows, uint32_t target, uint32_t id, const struct symbol *symbol)
{
	if (!rows || !symbol->n_rows)
		return;
	if (symbol->n_rows <= SYMBOL_ROWS) {
		for (int i = 0; i < symbol->n_rows; i++) {
			struct tag *tag = &rows->tags[symbol->rows[i]];

			if ((uint32_t)tag->slot == id && tag->target == target)
				tag->target = NOBODY;
		}
		return;
	}
	for (int i = 0; i < ROWS; i++)
		if ((uint32_t)rows->tags[i].slot == id && rows->tags[i].target == target)
			rows->tags[i].target = NOBODY;
}

/* @return bytes of the cells behind the index, in front of RSS and VMS and behind; 0: too many */
static size_t make_row(struct rows *rows, const struct pikos_value *values, char *out, size_t room,
		       size_t *head)
{
	int first = rows->n_cells + 1, column = rows->memory.column;
	size_t tail;

	*head = rows->parts->cells(rows->recorder, values, first, column ? column : rows->n_fields,
				   out, room);
	if (!*head || !column)
		return *head;
	tail = rows->parts->cells(rows->recorder, values, column + 2, rows->n_fields, out + *head,
				  room - *head);
	return tail ? *head + tail : 0;
}

bool rows__keep(struct rows *rows, uint32_t target, const struct wire_slot *slot,
		struct symbol *symbol, const struct pikos_value *values, bool kept)
{
	uint64_t key = key_of(slot);
	uint32_t place = 2 * set_of(key, target);
	char row[2 * ROW_BYTES + 64]; /* the recorder wants room for quotes */
	size_t len = 0, head = 0;

	if (kept)
		len = make_row(rows, values, row, sizeof(row), &head);
	if (len > ROW_BYTES || (kept && !len))
		return false;
	if (rows->tags[place].target != NOBODY)
		place += rows->tags[place + 1].target == NOBODY || rows->turn++ & 1;
	memcpy(rows->bytes[place], row, len);
	rows->tags[place] =
		(struct tag){.slot = key, .target = target, .len = len, .head = head, .kept = kept};
	if (symbol->n_rows < SYMBOL_ROWS)
		symbol->rows[symbol->n_rows] = place;
	if (symbol->n_rows <= SYMBOL_ROWS)
		symbol->n_rows++;
	return true;
}

/* ------------------------------------------------------------------ write */

/* Fills up to the width with spaces, and ends the cell. */
static inline char *end_cell(char *start, char *end, unsigned int width, char separator)
{
	if ((unsigned int)(end - start) < width) {
		memset(end, ' ', MAX_CELL / 2);
		memset(end + MAX_CELL / 2, ' ', MAX_CELL / 2);
		end = start + width;
	}
	*end++ = separator;
	return end;
}

static void set_cell(struct cell *cell, uint64_t number)
{
	cell->number = number;
	cell->len = digits__unsigned(cell->text, number) - cell->text;
}

/* Before 0.1 s of uptime a time has leading zeros: nothing is traced then. */
static inline char *put_time(struct cell *cell, char *out, uint64_t time)
{
	uint64_t high = time / 100000000;
	uint32_t low = time - high * 100000000;

	if (cell->number != high || !cell->len)
		set_cell(cell, high);
	memcpy(out, cell->text, 16);
	out += cell->len;
	digits__four(out, low / 10000);
	digits__four(out + 4, low % 10000);
	return out + 8;
}

static inline char *put_cells(struct rows *rows, char *out, const struct rows_run *run,
			      uint64_t ticks)
{
	for (int i = 0; i < rows->n_cells; i++) {
		struct cell *cell = &rows->cells[i];
		char *start = out;

		if (cell->what == CELL_TIME) {
			out = put_time(cell, out,
				       run->has_times ? ticks
						      : batch_clock__time(run->clock, ticks));
		} else {
			memcpy(out, cell->text, 16);
			out += cell->len;
		}
		out = end_cell(start, out, cell->width, rows->parts->separator);
	}
	return out;
}

static void set_memory(struct rows *rows, int64_t rss, int64_t vms)
{
	const uint8_t *widths = rows->parts->widths + rows->memory.column;
	struct memory *memory = &rows->memory;
	char *out = memory->text;

	memory->rss = rss;
	memory->vms = vms;
	out = end_cell(out, digits__signed(out, rss), widths[0], rows->parts->separator);
	out = end_cell(out, digits__signed(out, vms), widths[1], rows->parts->separator);
	memory->len = out - memory->text;
}

static inline char *put_memory(const struct memory *memory, char *out)
{
	memcpy(out, memory->text, 2 * MAX_CELL);
	return out + memory->len;
}

static inline char *put_bytes(char *out, const char *bytes, size_t len)
{
	memcpy(out, bytes, CHUNK);
	for (size_t i = CHUNK; i < len; i += CHUNK)
		memcpy(out + i, bytes + i, CHUNK);
	return out + len;
}

static void begin(struct rows *rows, const struct rows_run *run)
{
	if (rows->counter.next != run->index)
		counter_set(&rows->counter, run->index);
	if (rows->memory.column &&
	    (!rows->memory.len || rows->memory.rss != run->rss || rows->memory.vms != run->vms))
		set_memory(rows, run->rss, run->vms);
	for (int i = 0; i < rows->n_cells; i++) {
		struct cell *cell = &rows->cells[i];
		uint32_t number = cell->what == CELL_PID ? run->pid : run->tid;

		if (cell->what != CELL_TIME && (cell->number != number || !cell->len))
			set_cell(cell, number);
	}
}

static inline const struct tag *find(const struct rows *rows, const struct wire_slot *slot,
				     uint32_t target)
{
	uint64_t key = key_of(slot);
	const struct tag *tag = &rows->tags[2 * set_of(key, target)];

	if (is_of(tag, key, target))
		return tag;
	return is_of(tag + 1, key, target) ? tag + 1 : NULL;
}

static inline char *put_row(const struct rows *rows, const struct tag *tag, char *out)
{
	const char *bytes = rows->bytes[tag - rows->tags];

	if (tag->head == tag->len)
		return put_bytes(out, bytes, tag->len);
	out = put_bytes(out, bytes, tag->head);
	out = put_memory(&rows->memory, out);
	return put_bytes(out, bytes + tag->head, tag->len - tag->head);
}

void rows__write(struct rows *rows, struct rows_run *run)
{
	uint32_t i, written = 0, committed = 0, target = run->target;
	const struct wire_slot *slots = run->slots;
	const char separator = rows->parts->separator;
	const char *limit = NULL;
	char *out = NULL;
	struct counter counter;

	run->err = 0;
	begin(rows, run);
	counter = rows->counter; /* a copy, because the bytes written could be the counter's */
	for (i = 0; i < run->n; i++, counter_step(&counter)) {
		const struct tag *tag = find(rows, &slots[i], target);
		char *start;

		if (!tag)
			break;
		if (!tag->kept)
			continue;
		if (limit - out < MAX_ROW) {
			if (out)
				rows->parts->commit(rows->recorder, out, written - committed);
			committed = written;
			out = rows->parts->reserve(rows->recorder, MAX_ROW, &limit, &run->err);
			if (!out)
				break;
		}
		if (rows->n_cells)
			out = put_cells(rows, out, run, slots[i].time);
		start = out;
		out = end_cell(start, counter_put(&counter, out), rows->width, separator);
		out = put_row(rows, tag, out);
		written++;
	}
	if (out)
		rows->parts->commit(rows->recorder, out, written - committed);
	rows->counter = counter;
	run->written = written;
	run->dropped = i - written;
}
