// SPDX-License-Identifier: BSD-3-Clause
/*
 * Filters decide in order; each sees only what those before it kept, because `change(field)`
 * compares with the record before among those that it saw.
 */
#include "filter/filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/text.h"

struct filter {
	bool (*keep)(struct filter *f, const struct pikos_record *record);
	int field;
	bool negate;  /* != */
	bool decided; /* in the kernel, for what comes from its own probes */
	/* field=V1,V2: one of the two lists, by the kind of the field. */
	int64_t *numbers;
	struct pikos_text **texts;
	size_t n;
	/* change(field): a copy of the value before. */
	bool has_before;
	uint32_t kind;
	int64_t number;
	char *bytes;
	size_t len, cap;
	/* callback */
	bool (*callback)(void *ctx, const struct pikos_record *record);
	void *ctx;
};

struct pikos_filters {
	struct filter *filters;
	size_t n;
};

static void free_filter(struct filter *f)
{
	size_t i;

	for (i = 0; f->texts && i < f->n; i++)
		free(f->texts[i]);
	free(f->texts);
	free(f->numbers);
	free(f->bytes);
}

struct pikos_filters *pikos_filters__new(void)
{
	return calloc(1, sizeof(struct pikos_filters));
}

void pikos_filters__free(struct pikos_filters *filters)
{
	size_t i;

	if (!filters)
		return;
	for (i = 0; i < filters->n; i++)
		free_filter(&filters->filters[i]);
	free(filters->filters);
	free(filters);
}

/* Takes over what the filter owns; on an error it is freed. */
static int append(struct pikos_filters *filters, struct filter *f)
{
	struct filter *grown;

	grown = realloc(filters->filters, (filters->n + 1) * sizeof(*grown));
	if (!grown) {
		free_filter(f);
		return -ENOMEM;
	}
	filters->filters = grown;
	grown[filters->n++] = *f;
	return 0;
}

static bool keep_value(struct filter *f, const struct pikos_record *record)
{
	const struct pikos_value *v = &record->values[f->field];
	size_t i;

	for (i = 0; i < f->n; i++) {
		if (v->kind == PIKOS_INT && f->numbers && v->i == f->numbers[i])
			return !f->negate;
		if (v->kind == PIKOS_TEXT && f->texts && v->s->len == f->texts[i]->len &&
		    !memcmp(v->s->data, f->texts[i]->data, v->s->len))
			return !f->negate;
	}
	return f->negate;
}

static bool same_as_before(const struct filter *f, const struct pikos_value *v)
{
	if (!f->has_before || v->kind != f->kind)
		return false;
	if (v->kind == PIKOS_INT)
		return v->i == f->number;
	if (v->kind == PIKOS_TEXT)
		return v->s->len == f->len && !memcmp(v->s->data, f->bytes, f->len);
	return true;
}

static bool keep_change(struct filter *f, const struct pikos_record *record)
{
	const struct pikos_value *v = &record->values[f->field];
	char *grown;

	if (same_as_before(f, v))
		return false;
	f->kind = v->kind;
	f->has_before = true;
	if (v->kind == PIKOS_INT)
		f->number = v->i;
	if (v->kind != PIKOS_TEXT)
		return true;
	if (!f->bytes || v->s->len > f->cap) {
		grown = realloc(f->bytes, v->s->len + 64);
		if (!grown) {
			/* Without a copy the next record counts as changed: kept, not lost. */
			f->has_before = false;
			return true;
		}
		f->bytes = grown;
		f->cap = v->s->len + 64;
	}
	memcpy(f->bytes, v->s->data, v->s->len);
	f->len = v->s->len;
	return true;
}

static bool keep_callback(struct filter *f, const struct pikos_record *record)
{
	return f->callback(f->ctx, record);
}

static int find(const struct pikos_record_type *type, const char *name, size_t len)
{
	int i;

	for (i = 0; i < type->n_fields; i++)
		if (!strncmp(type->fields[i].name, name, len) && !type->fields[i].name[len])
			return i;
	return -ENOENT;
}

/* One value of a list, not NUL-terminated, into slot f->n. */
static int add_value(struct filter *f, const char *value, size_t len)
{
	char digits[24], *end;

	if (!len)
		return -EINVAL;
	if (f->texts) {
		/* As names of the target are: a byte that is not UTF-8 matches its escape. */
		f->texts[f->n] = text__new(value, len);
		if (!f->texts[f->n])
			return -errno;
		f->n++;
		return 0;
	}
	if (len >= sizeof(digits) || !strchr("-0123456789", value[0]))
		return -EINVAL;
	memcpy(digits, value, len);
	digits[len] = 0;
	errno = 0;
	f->numbers[f->n] = strtoll(digits, &end, 10);
	if (errno || *end || end == digits)
		return -EINVAL;
	f->n++;
	return 0;
}

static int parse_values(struct filter *f, uint32_t kind, const char *values)
{
	size_t n = 1, len;
	const char *p;
	int err;

	for (p = values; *p; p++)
		n += *p == ',';
	if (kind == PIKOS_TEXT)
		f->texts = calloc(n, sizeof(*f->texts));
	else
		f->numbers = calloc(n, sizeof(*f->numbers));
	if (!f->texts && !f->numbers)
		return -ENOMEM;
	for (p = values;; p += len + 1) {
		len = strcspn(p, ",");
		err = add_value(f, p, len);
		if (err || !p[len])
			return err;
	}
}

int pikos_filters__add(struct pikos_filters *filters, const struct pikos_record_type *type,
		       const char *expression)
{
	size_t len = strlen(expression), equals = strcspn(expression, "=");
	struct filter f = {.keep = keep_value};
	const char *name = expression;
	int err;

	if (!strncmp(expression, "change(", 7) && expression[len - 1] == ')') {
		f.keep = keep_change;
		name += 7;
		len -= 8;
	} else if (expression[equals]) {
		f.negate = equals && expression[equals - 1] == '!';
		len = equals - f.negate;
	} else {
		return -EINVAL;
	}
	if (!len)
		return -EINVAL;
	f.field = find(type, name, len);
	if (f.field < 0)
		return f.field;
	if (f.keep == keep_value) {
		err = parse_values(&f, type->fields[f.field].kind, expression + equals + 1);
		if (err) {
			free_filter(&f);
			return err;
		}
	}
	return append(filters, &f);
}

int pikos_filters__add_callback(struct pikos_filters *filters,
				bool (*keep)(void *ctx, const struct pikos_record *record),
				void *ctx)
{
	struct filter f = {.keep = keep_callback, .callback = keep, .ctx = ctx};

	return keep ? append(filters, &f) : -EINVAL;
}

bool filters__keep(struct pikos_filters *filters, const struct pikos_record *record, bool decided)
{
	size_t i;

	if (!filters || record->lost)
		return true;
	for (i = 0; i < filters->n; i++) {
		struct filter *f = &filters->filters[i];

		if (!(decided && f->decided) && !f->keep(f, record))
			return false;
	}
	return true;
}

bool pikos_filters__keep(struct pikos_filters *filters, const struct pikos_record *record)
{
	return filters__keep(filters, record, false);
}

void filters__mark_decided(struct pikos_filters *filters)
{
	if (filters->n)
		filters->filters[filters->n - 1].decided = true;
}

bool filters__by_code(const struct pikos_filters *filters, const struct pikos_record_type *type)
{
	static const char *const fields[] = {"type", "function", "lineNo", "line", "filename"};
	size_t i, j;

	for (i = 0; filters && i < filters->n; i++) {
		const struct filter *f = &filters->filters[i];
		bool found = false;

		for (j = 0; f->keep == keep_value && j < sizeof(fields) / sizeof(*fields); j++)
			found = found || !strcmp(type->fields[f->field].name, fields[j]);
		if (!found)
			return false;
	}
	return true;
}
