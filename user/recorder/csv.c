// SPDX-License-Identifier: BSD-3-Clause
/*
 * CSV as Python's csv.writer writes it by default: CRLF, and quotes only around a field that holds
 * the delimiter, a quote, CR or LF. Rows go straight into the stream's buffer: at 20 million
 * events a second there are 50 ns for each.
 */
#include "pikos.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/digits.h"
#include "recorder/recorder.h"
#include "recorder/stream.h"

struct csv {
	struct stream *stream;
	char delimiter;
	bool usual; /* ',': what PIKOS_TEXT_PLAIN speaks of, and never in a number */
	int n_fields;
	bool comments; /* `#` begins one, so none stands in a field */
};

static bool needs_quotes(const struct csv *csv, const char *data, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (data[i] == csv->delimiter || data[i] == '"' || data[i] == '\r' ||
		    data[i] == '\n')
			return true;
	return false;
}

/*
 * memcpy for texts, which are short: half the time of a row were calls to the real one. The last
 * chunk overlaps the one before, so that no byte outside is read.
 */
static inline char *put_bytes(char *out, const char *data, size_t len)
{
	size_t i;

	if (len >= 16) {
		for (i = 0; i + 16 <= len; i += 16)
			memcpy(out + i, data + i, 16);
		memcpy(out + len - 16, data + len - 16, 16);
	} else if (len >= 8) {
		memcpy(out, data, 8);
		memcpy(out + len - 8, data + len - 8, 8);
	} else if (len >= 4) {
		memcpy(out, data, 4);
		memcpy(out + len - 4, data + len - 4, 4);
	} else {
		for (i = 0; i < len; i++)
			out[i] = data[i];
	}
	return out + len;
}

static char *put_quoted(char *out, const char *data, size_t len)
{
	size_t i;

	*out++ = '"';
	for (i = 0; i < len; i++) {
		if (data[i] == '"')
			*out++ = '"';
		*out++ = data[i];
	}
	*out++ = '"';
	return out;
}

/* With comments: readers cut a row at `#`, some of them even between quotes. */
static char *put_escaped(const struct csv *csv, char *out, const char *data, size_t len)
{
	bool quotes = needs_quotes(csv, data, len);

	if (quotes)
		*out++ = '"';
	for (size_t i = 0; i < len; i++) {
		if (data[i] == '#') {
			memcpy(out, "\\x23", 4);
			out += 4;
			continue;
		}
		if (data[i] == '"')
			*out++ = '"';
		*out++ = data[i];
	}
	if (quotes)
		*out++ = '"';
	return out;
}

static char *put_field(const struct csv *csv, char *out, const char *data, size_t len)
{
	if (csv->comments && memchr(data, '#', len))
		return put_escaped(csv, out, data, len);
	if (needs_quotes(csv, data, len))
		return put_quoted(out, data, len);
	return put_bytes(out, data, len);
}

static char *put_number(const struct csv *csv, char *out, int64_t n)
{
	char digits[DIGITS_MAX];

	return put_field(csv, out, digits, digits__signed(digits, n) - digits);
}

/* Most bytes that a field takes, with quotes, a delimiter and the end of the row. */
static inline size_t field_bound(const struct pikos_value *v, size_t growth)
{
	return v->kind == PIKOS_TEXT ? growth * v->s->len + 5 : DIGITS_MAX + 5;
}

/* Bytes that one of a text can become. */
static inline size_t growth(const struct csv *csv)
{
	return csv->comments ? 4 : 2;
}

/* Above the header: what times are, and what events. */
static int write_comment(struct csv *csv, const struct pikos_record_type *type)
{
	char *out = stream__reserve(csv->stream, 512, NULL);
	int len;

	if (!out)
		return stream__status(csv->stream);
	len = snprintf(out, 512,
		       "# pikos-trace %s, times of CLOCK_MONOTONIC: ns since 1970 = time + "
		       "%" PRId64 "\r\n",
		       type->monitor, type->epoch_ns);
	stream__commit(csv->stream, out + len, 0);
	return 0;
}

static int csv_prepare(void *ctx, const struct pikos_record_type *type)
{
	struct csv *csv = ctx;
	size_t bound = 2;
	char *out;
	int i, err;

	err = stream__open(csv->stream);
	if (err)
		return err;
	csv->n_fields = type->n_fields;
	csv->comments = type->comments;
	err = csv->comments ? write_comment(csv, type) : 0;
	if (err)
		return err;
	for (i = 0; i < type->n_fields; i++)
		bound += 2 * strlen(type->fields[i].name) + 3;
	out = stream__reserve(csv->stream, bound, NULL);
	if (!out)
		return stream__status(csv->stream);
	for (i = 0; i < type->n_fields; i++) {
		if (i)
			*out++ = csv->delimiter;
		out = put_field(csv, out, type->fields[i].name, strlen(type->fields[i].name));
	}
	memcpy(out, "\r\n", 2);
	stream__commit(csv->stream, out + 2, 0);
	return 0;
}

/* Fields at out, a delimiter behind each; NULL when they may not fit before limit. */
static char *put_fields(const struct csv *csv, char *out, const char *limit,
			const struct pikos_value *v, int n)
{
	/* Locals, because the bytes written could be csv's for all that the compiler knows. */
	const struct pikos_value *end = v + n;
	const char delimiter = csv->delimiter;
	const bool usual = csv->usual, comments = csv->comments;
	const size_t most = growth(csv);

	for (; v < end; v++) {
		if ((size_t)(limit - out) < field_bound(v, most))
			return NULL;
		if (v->kind == PIKOS_TEXT && usual && !comments && v->s->flags & PIKOS_TEXT_PLAIN)
			out = put_bytes(out, v->s->data, v->s->len);
		else if (v->kind == PIKOS_TEXT)
			out = put_field(csv, out, v->s->data, v->s->len);
		else if (v->kind == PIKOS_INT)
			out = usual ? digits__signed(out, v->i) : put_number(csv, out, v->i);
		*out++ = delimiter;
	}
	return out;
}

/* Over the last delimiter; field_bound has room for it. */
static inline char *end_row(char *out)
{
	memcpy(out - 1, "\r\n", 2);
	return out + 1;
}

static size_t row_bound(const struct csv *csv, const struct pikos_value *values)
{
	size_t bound = 0;
	int i;

	for (i = 0; i < csv->n_fields; i++)
		bound += field_bound(&values[i], growth(csv));
	return bound;
}

static int csv_record(void *ctx, const struct pikos_record *record)
{
	size_t bound = 0; /* first into what room there is */
	struct csv *csv = ctx;
	const char *limit;
	char *out;

	for (;;) {
		out = stream__reserve(csv->stream, bound, &limit);
		if (!out)
			return stream__status(csv->stream);
		out = put_fields(csv, out, limit, record->values, csv->n_fields);
		if (out)
			break;
		bound = row_bound(csv, record->values);
	}
	stream__commit(csv->stream, end_row(out), 1);
	return 0;
}

/* ------------------------------------------------------------------ rows in parts */

static size_t csv_cells(void *ctx, const struct pikos_value *values, int first, int end, char *out,
			size_t room)
{
	const struct csv *csv = ctx;
	char *behind = put_fields(csv, out, out + room, values + first, end - first);

	if (behind && end == csv->n_fields)
		behind = end_row(behind);
	return behind ? (size_t)(behind - out) : 0;
}

static char *csv_reserve(void *ctx, size_t n, const char **limit, int *err)
{
	struct stream *stream = ((struct csv *)ctx)->stream;
	char *out = stream__reserve(stream, n, limit);

	if (!out)
		*err = stream__status(stream);
	return out;
}

static void csv_commit(void *ctx, const char *end, uint64_t records)
{
	stream__commit(((struct csv *)ctx)->stream, end, records);
}

static const struct recorder_parts csv_parts_usual = {
	.separator = PIKOS_CSV_DELIMITER,
	.cells = csv_cells,
	.reserve = csv_reserve,
	.commit = csv_commit,
};

/* A delimiter that can stand in a number has numbers in quotes. */
static const struct recorder_parts *csv_parts(const void *ctx)
{
	return ((const struct csv *)ctx)->usual ? &csv_parts_usual : NULL;
}

/* ------------------------------------------------------------------ ends */

static int csv_flush(void *ctx)
{
	return stream__flush(((struct csv *)ctx)->stream);
}

static int csv_finalize(void *ctx, const struct pikos_summary *summary)
{
	(void)summary;
	return stream__close(((struct csv *)ctx)->stream);
}

static void csv_free(void *ctx)
{
	struct csv *csv = ctx;

	stream__free(csv->stream);
	free(csv);
}

static const char *csv_error(const void *ctx)
{
	return stream__error(((const struct csv *)ctx)->stream);
}

static uint64_t csv_missing(const void *ctx)
{
	return stream__missing(((const struct csv *)ctx)->stream);
}

static const struct recorder_kind csv_kind = {
	.ops = {csv_prepare, csv_record, csv_flush, csv_finalize, csv_free},
	.error = csv_error,
	.dropped = csv_missing,
	.parts = csv_parts,
};

struct pikos_recorder *pikos_recorder__csv(const struct pikos_output *out)
{
	char delimiter = out && out->delimiter ? out->delimiter : PIKOS_CSV_DELIMITER;
	struct csv *csv;

	if ((unsigned char)delimiter > 127 || strchr("\"\r\n", delimiter)) {
		errno = EINVAL;
		return NULL;
	}
	csv = calloc(1, sizeof(*csv));
	if (!csv)
		return NULL;
	csv->delimiter = delimiter;
	csv->usual = delimiter == PIKOS_CSV_DELIMITER;
	csv->stream = stream__new(out ? out->path : NULL, true);
	if (!csv->stream) {
		free(csv);
		errno = ENOMEM;
		return NULL;
	}
	return recorder__make(&csv_kind, csv);
}
