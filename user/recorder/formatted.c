// SPDX-License-Identifier: BSD-3-Clause
/*
 * Text for people, on the screen or in a file: a header, a rule as long as it, and a line per
 * record, in columns, --plain or as a --tree.
 */
#include "pikos.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/text.h"
#include "recorder/cell.h"
#include "recorder/recorder.h"
#include "recorder/stream.h"
#include "recorder/tree.h"

struct formatted {
	struct stream *stream;
	bool plain, want_tree;
	struct tree *tree;
	const char *error; /* of what is not the stream's */
	int n_fields;
	struct pikos_cell headers[PIKOS_MAX_FIELDS], lines[PIKOS_MAX_FIELDS];
	bool has_parts;
	struct recorder_parts parts;
};

static size_t row_bound(const struct pikos_cell *cells, const struct pikos_value *values, int n)
{
	size_t bound = 1;
	int i;

	for (i = 0; i < n; i++)
		bound += cell__bound(&cells[i], &values[i]);
	return bound;
}

static char *put_row(const struct pikos_cell *cells, char *out, const struct pikos_value *values,
		     int n)
{
	int i;

	for (i = 0; i < n; i++)
		out = cell__put(&cells[i], out, &values[i]);
	return out;
}

static void set_cells(struct formatted *f, const struct pikos_record_type *type)
{
	static const struct pikos_cell spaced = {'<', 0, " "}, bare = {'<', 0, ""};
	int i;

	f->n_fields = type->n_fields;
	for (i = 0; i < type->n_fields; i++) {
		f->headers[i] = type->fields[i].header;
		f->lines[i] = type->fields[i].line;
		if (f->plain)
			f->lines[i] = i < type->n_fields - 1 ? spaced : bare;
	}
}

/* The header line is at out, up to end: end it and put a rule as long as it below. */
static void commit_header(struct formatted *f, char *out, char *end)
{
	size_t width = text__width(out, end - out);

	*end++ = '\n';
	memset(end, '-', width);
	end += width;
	*end++ = '\n';
	stream__commit(f->stream, end, 0);
}

static int write_header(struct formatted *f, const struct pikos_record_type *type)
{
	struct pikos_value values[PIKOS_MAX_FIELDS];
	struct pikos_text names[PIKOS_MAX_FIELDS];
	const char *name;
	size_t bound;
	char *out;
	int i;

	for (i = 0; i < type->n_fields; i++) {
		name = type->fields[i].name;
		names[i] = (struct pikos_text){name, strlen(name), text__flags(name, strlen(name))};
		values[i] = (struct pikos_value){.kind = PIKOS_TEXT, .s = &names[i]};
	}
	bound = f->tree ? tree__bound(f->tree, NULL) : row_bound(f->headers, values, f->n_fields);
	out = stream__reserve(f->stream, 2 * bound + 2, NULL);
	if (!out)
		return stream__status(f->stream);
	commit_header(f, out,
		      f->tree ? tree__put_header(f->tree, out)
			      : put_row(f->headers, out, values, f->n_fields));
	return 0;
}

/* ------------------------------------------------------------------ rows in parts */

static size_t formatted_cells(void *ctx, const struct pikos_value *values, int first, int end,
			      char *out, size_t room)
{
	struct formatted *f = ctx;
	char *behind;

	if (row_bound(f->lines + first, values + first, end - first) + 1 > room)
		return 0;
	behind = put_row(f->lines + first, out, values + first, end - first);
	if (end == f->n_fields)
		*behind++ = '\n';
	return behind - out;
}

static char *formatted_reserve(void *ctx, size_t n, const char **limit, int *err)
{
	struct stream *stream = ((struct formatted *)ctx)->stream;
	char *out = stream__reserve(stream, n, limit);

	if (!out)
		*err = stream__status(stream);
	return out;
}

static void formatted_commit(void *ctx, const char *end, uint64_t records)
{
	stream__commit(((struct formatted *)ctx)->stream, end, records);
}

/* The integers up to the index, and RSS and VMS, stand to the left, with a space behind each. */
static void set_parts(struct formatted *f, const struct pikos_record_type *type)
{
	f->parts = (struct recorder_parts){
		.separator = ' ',
		.cells = formatted_cells,
		.reserve = formatted_reserve,
		.commit = formatted_commit,
	};
	f->has_parts = !f->tree;
	for (int i = 0; i < type->n_fields; i++) {
		const struct pikos_cell *cell = &f->lines[i];

		if (i > type->n_extra && strcmp(type->fields[i].name, "RSS") &&
		    strcmp(type->fields[i].name, "VMS"))
			continue;
		if (cell->align != '<' || strcmp(cell->after, " "))
			f->has_parts = false;
		f->parts.widths[i] = cell->width;
	}
}

static const struct recorder_parts *formatted_parts(const void *ctx)
{
	const struct formatted *f = ctx;

	return f->has_parts ? &f->parts : NULL;
}

/* ------------------------------------------------------------------ the recorder */

static int formatted_prepare(void *ctx, const struct pikos_record_type *type)
{
	struct formatted *f = ctx;
	int err;

	tree__free(f->tree);
	f->tree = NULL;
	if (f->want_tree) {
		f->tree = tree__new(type);
		if (!f->tree) {
			f->error = errno == ENOMEM ? "cannot draw a tree: out of memory"
						   : "cannot draw a tree: the monitor has no calls";
			return -errno;
		}
	}
	set_cells(f, type);
	set_parts(f, type);
	err = stream__open(f->stream);
	return err ? err : write_header(f, type);
}

static int formatted_record(void *ctx, const struct pikos_record *record)
{
	struct formatted *f = ctx;
	size_t bound;
	char *out;

	bound = f->tree ? tree__bound(f->tree, record)
			: row_bound(f->lines, record->values, f->n_fields);
	out = stream__reserve(f->stream, bound + 1, NULL);
	if (!out)
		return stream__status(f->stream);
	out = f->tree ? tree__put(f->tree, out, record)
		      : put_row(f->lines, out, record->values, f->n_fields);
	*out++ = '\n';
	stream__commit(f->stream, out, 1);
	return 0;
}

static int formatted_flush(void *ctx)
{
	return stream__flush(((struct formatted *)ctx)->stream);
}

static int formatted_finalize(void *ctx, const struct pikos_summary *summary)
{
	(void)summary;
	return stream__close(((struct formatted *)ctx)->stream);
}

static void formatted_free(void *ctx)
{
	struct formatted *f = ctx;

	tree__free(f->tree);
	stream__free(f->stream);
	free(f);
}

static const char *formatted_error(const void *ctx)
{
	const struct formatted *f = ctx;

	return f->error ? f->error : stream__error(f->stream);
}

static uint64_t formatted_missing(const void *ctx)
{
	return stream__missing(((const struct formatted *)ctx)->stream);
}

static const struct recorder_kind formatted_kind = {
	.ops = {formatted_prepare, formatted_record, formatted_flush, formatted_finalize,
		formatted_free},
	.error = formatted_error,
	.dropped = formatted_missing,
	.parts = formatted_parts,
};

struct pikos_recorder *pikos_recorder__text(const struct pikos_output *out)
{
	struct formatted *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->plain = out && out->plain;
	f->want_tree = out && out->tree;
	f->stream = stream__new(out ? out->path : NULL, false);
	if (!f->stream) {
		free(f);
		errno = ENOMEM;
		return NULL;
	}
	return recorder__make(&formatted_kind, f);
}

struct pikos_recorder *pikos_recorder__screen(const struct pikos_output *out)
{
	struct pikos_output screen = out ? *out : (struct pikos_output){0};

	screen.path = NULL;
	return pikos_recorder__text(&screen);
}
