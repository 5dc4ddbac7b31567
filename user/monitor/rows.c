// SPDX-License-Identifier: BSD-3-Clause
#include "monitor/rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/digits.h"
#include "recorder/recorder.h"

#define ROWS	  8192
#define ROW_BYTES 256 /* a longer one is not kept */
#define CHUNK	  64  /* bytes copied at once, whatever the length: a jump that is always taken */
#define MAX_LEAD  (3 * (DIGITS_MAX + 1)) /* pid, tid, time */
#define MAX_ROW	  (MAX_LEAD + DIGITS_MAX + ROW_BYTES + CHUNK)

_Static_assert(ROW_BYTES % CHUNK == 0, "chunks end inside");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "struct counter");

/* Whose row is kept in a place. A slot of zeros is no event. */
struct tag {
	uint64_t slot; /* its code, line and type */
	uint32_t target;
	uint16_t len;
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

enum lead { LEAD_PID, LEAD_TID, LEAD_TIME };

struct rows {
	const struct recorder_parts *parts;
	void *recorder;
	enum lead leads[PIKOS_MAX_FIELDS];
	int n_leads;
	struct counter counter;
	struct tag tags[ROWS];
	char bytes[ROWS][ROW_BYTES];
};

/* ------------------------------------------------------------------ index */

static void counter_set(struct counter *counter, uint64_t n)
{
	uint64_t low = n % 100000000, high = n / 100000000;
	char digits[8];

	counter->next = n;
	for (int i = 7; i >= 0; i--, low /= 10)
		digits[i] = '0' + low % 10;
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

	memcpy(out, counter->high, sizeof(counter->high));
	out += counter->n_high;
	memcpy(out, &low, 8);
	return out + 8 - counter->shift / 8;
}

/* ------------------------------------------------------------------ which rows */

static uint64_t key_of(const struct wire_slot *slot)
{
	uint64_t key;

	memcpy(&key, &slot->code, sizeof(key));
	return key;
}

static inline uint32_t place_of(uint64_t key, uint32_t target)
{
	uint64_t hash = (key ^ (uint64_t)target << 40) * UINT64_C(0x9e3779b97f4a7c15);

	return hash >> 32 & (ROWS - 1);
}

static int find_leads(struct rows *rows, const struct pikos_record_type *type)
{
	for (int i = 0; i < type->n_extra; i++) {
		const char *name = type->fields[i].name;

		if (!strcmp(name, "pid"))
			rows->leads[i] = LEAD_PID;
		else if (!strcmp(name, "tid"))
			rows->leads[i] = LEAD_TID;
		else if (!strcmp(name, "time"))
			rows->leads[i] = LEAD_TIME;
		else
			return -ENOTSUP;
	}
	rows->n_leads = type->n_extra;
	return strcmp(type->fields[type->n_extra].name, "index") ? -ENOTSUP : 0;
}

struct rows *rows__new(const struct pikos_record_type *type, const struct pikos_filters *filters,
		       struct pikos_recorder *recorder)
{
	void *context;
	const struct recorder_parts *parts = recorder__parts(recorder, &context);
	struct rows *rows;
	int err = -ENOTSUP;

	rows = parts && !type->memory && filters__by_code(filters, type) ? malloc(sizeof(*rows))
									 : NULL;
	if (rows) {
		rows->parts = parts;
		rows->recorder = context;
		rows__clear(rows);
		counter_set(&rows->counter, 0);
		err = find_leads(rows, type);
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
	if (rows)
		memset(rows->tags, 0, sizeof(rows->tags));
}

void rows__forget(struct rows *rows, uint32_t target, uint32_t id)
{
	for (int i = 0; rows && i < ROWS; i++)
		if ((uint32_t)rows->tags[i].slot == id && rows->tags[i].target == target)
			rows->tags[i].slot = 0;
}

void rows__keep(struct rows *rows, uint32_t target, const struct wire_slot *slot,
		const struct pikos_value *values, bool kept)
{
	uint64_t key = key_of(slot);
	uint32_t place = place_of(key, target);
	char rest[2 * ROW_BYTES + 64]; /* the recorder wants room for quotes */
	size_t len = 0;

	if (kept)
		len = rows->parts->rest(rows->recorder, values, rows->n_leads + 1, rest,
					sizeof(rest));
	if (len > ROW_BYTES || (kept && !len))
		return;
	memcpy(rows->bytes[place], rest, len);
	rows->tags[place] = (struct tag){.slot = key, .target = target, .len = len, .kept = kept};
}

/* ------------------------------------------------------------------ write */

static inline char *put_leads(const struct rows *rows, char *out, const struct rows_run *run,
			      uint64_t ticks)
{
	for (int i = 0; i < rows->n_leads; i++) {
		uint64_t number = run->pid;

		if (rows->leads[i] == LEAD_TID)
			number = run->tid;
		else if (rows->leads[i] == LEAD_TIME)
			number = run->has_times ? ticks : batch_clock__time(run->clock, ticks);
		out = digits__unsigned(out, number);
		*out++ = rows->parts->delimiter;
	}
	return out;
}

static inline char *put_bytes(char *out, const char *bytes, size_t len)
{
	memcpy(out, bytes, CHUNK);
	for (size_t i = CHUNK; i < len; i += CHUNK)
		memcpy(out + i, bytes + i, CHUNK);
	return out + len;
}

void rows__write(struct rows *rows, struct rows_run *run)
{
	struct counter counter = rows->counter;
	const char *limit = NULL;
	uint32_t i, before = 0;
	char *out = NULL;

	run->written = run->dropped = run->err = 0;
	if (counter.next != run->index)
		counter_set(&counter, run->index);
	for (i = 0; i < run->n; i++) {
		uint64_t key = key_of(&run->slots[i]);
		uint32_t place = place_of(key, run->target);
		const struct tag *tag = &rows->tags[place];

		if (tag->slot != key || tag->target != run->target)
			break;
		if (!tag->kept) {
			run->dropped++;
			counter_step(&counter);
			continue;
		}
		if (limit - out < MAX_ROW) {
			if (out)
				rows->parts->commit(rows->recorder, out, run->written - before);
			before = run->written;
			out = rows->parts->reserve(rows->recorder, MAX_ROW, &limit, &run->err);
			if (!out)
				break;
		}
		out = put_leads(rows, out, run, run->slots[i].time);
		out = counter_put(&counter, out);
		counter_step(&counter);
		out = put_bytes(out, rows->bytes[place], tag->len);
		run->written++;
	}
	if (out)
		rows->parts->commit(rows->recorder, out, run->written - before);
	rows->counter = counter;
}
