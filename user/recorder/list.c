// SPDX-License-Identifier: BSD-3-Clause
/*
 * Records kept in memory, each with its values and texts in one allocation.
 */
#include "pikos.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/recorder.h"

struct list {
	struct pikos_record_type type;
	struct pikos_record **records;
	size_t n, cap;
};

struct copy {
	struct pikos_record record;
	struct pikos_lost lost;
	struct pikos_value values[]; /* then the texts, then their bytes */
};

static int list_prepare(void *ctx, const struct pikos_record_type *type)
{
	((struct list *)ctx)->type = *type;
	return 0;
}

static char *copy_bytes(char **bytes, const char *from, size_t len)
{
	char *to = *bytes;

	memcpy(to, from, len);
	*bytes += len;
	return to;
}

/* A deep copy of a record of n values; free() frees it. NULL: no memory. */
static struct pikos_record *copy_record(const struct pikos_record *from, int n)
{
	size_t reason = from->lost ? strlen(from->lost->reason) + 1 : 0, len = reason;
	struct pikos_text *text;
	struct copy *copy;
	char *bytes;
	int i;

	for (i = 0; i < n; i++)
		if (from->values[i].kind == PIKOS_TEXT)
			len += from->values[i].s->len;
	copy = malloc(sizeof(*copy) + n * (sizeof(copy->values[0]) + sizeof(*text)) + len);
	if (!copy)
		return NULL;
	text = (struct pikos_text *)(copy->values + n);
	bytes = (char *)(text + n);
	copy->record = *from;
	copy->record.values = copy->values;
	if (from->lost) {
		copy->lost = *from->lost;
		copy->lost.reason = copy_bytes(&bytes, from->lost->reason, reason);
		copy->record.lost = &copy->lost;
	}
	for (i = 0; i < n; i++) {
		copy->values[i] = from->values[i];
		if (from->values[i].kind != PIKOS_TEXT)
			continue;
		text[i] = *from->values[i].s;
		text[i].data = copy_bytes(&bytes, text[i].data, text[i].len);
		copy->values[i].s = &text[i];
	}
	return &copy->record;
}

static int list_record(void *ctx, const struct pikos_record *record)
{
	struct list *list = ctx;
	struct pikos_record **grown, *copy;
	size_t cap;

	if (list->n == list->cap) {
		cap = list->cap ? 2 * list->cap : 64;
		grown = reallocarray(list->records, cap, sizeof(struct pikos_record *));
		if (!grown)
			return -ENOMEM;
		list->records = grown;
		list->cap = cap;
	}
	copy = copy_record(record, list->type.n_fields);
	if (!copy)
		return -ENOMEM;
	copy->type = &list->type;
	list->records[list->n++] = copy;
	return 0;
}

static void list_free(void *ctx)
{
	struct list *list = ctx;
	size_t i;

	for (i = 0; i < list->n; i++)
		free(list->records[i]); /* the first member of its allocation */
	free(list->records);
	free(list);
}

static const struct recorder_kind list_kind = {
	.ops = {.prepare = list_prepare, .record = list_record, .free = list_free},
};

struct pikos_recorder *pikos_recorder__list(void)
{
	struct list *list = calloc(1, sizeof(*list));

	return list ? recorder__make(&list_kind, list) : NULL;
}

size_t pikos_recorder__list_count(const struct pikos_recorder *rec)
{
	const struct list *list = recorder__ctx(rec, &list_kind);

	return list ? list->n : 0;
}

const struct pikos_record *pikos_recorder__list_get(const struct pikos_recorder *rec, size_t i)
{
	const struct list *list = recorder__ctx(rec, &list_kind);

	return list && i < list->n ? list->records[i] : NULL;
}
