// SPDX-License-Identifier: BSD-3-Clause
#include "recorder/recorder.h"

#include <errno.h>
#include <stdlib.h>

enum state { MADE, PREPARED, FINALIZED };

struct pikos_recorder {
	const struct recorder_kind *kind;
	struct recorder_kind own; /* of a caller's recorder */
	void *ctx;
	enum state state;
};

struct pikos_recorder *recorder__make(const struct recorder_kind *kind, void *ctx)
{
	struct pikos_recorder *rec = calloc(1, sizeof(*rec));

	if (!rec) {
		if (kind->ops.free)
			kind->ops.free(ctx);
		errno = ENOMEM;
		return NULL;
	}
	rec->kind = kind;
	rec->ctx = ctx;
	return rec;
}

void *recorder__ctx(const struct pikos_recorder *rec, const struct recorder_kind *kind)
{
	return rec && rec->kind == kind ? rec->ctx : NULL;
}

const struct recorder_parts *recorder__parts(const struct pikos_recorder *rec, void **ctx)
{
	if (rec->state != PREPARED || !rec->kind->parts)
		return NULL;
	*ctx = rec->ctx;
	return rec->kind->parts(rec->ctx);
}

struct pikos_recorder *pikos_recorder__new(const struct pikos_recorder_ops *ops, void *ctx)
{
	struct pikos_recorder *rec;

	if (!ops) {
		errno = EINVAL;
		return NULL;
	}
	rec = calloc(1, sizeof(*rec));
	if (!rec)
		return NULL;
	rec->own.ops = *ops;
	rec->kind = &rec->own;
	rec->ctx = ctx;
	return rec;
}

int pikos_recorder__prepare(struct pikos_recorder *rec, const struct pikos_record_type *type)
{
	int err = 0;

	if (rec->state != MADE)
		return -EBADFD;
	if (rec->kind->ops.prepare)
		err = rec->kind->ops.prepare(rec->ctx, type);
	if (!err)
		rec->state = PREPARED;
	return err;
}

int pikos_recorder__record(struct pikos_recorder *rec, const struct pikos_record *record)
{
	if (rec->state != PREPARED)
		return -EBADFD;
	return rec->kind->ops.record ? rec->kind->ops.record(rec->ctx, record) : 0;
}

int pikos_recorder__flush(struct pikos_recorder *rec)
{
	if (rec->state != PREPARED)
		return -EBADFD;
	return rec->kind->ops.flush ? rec->kind->ops.flush(rec->ctx) : 0;
}

int pikos_recorder__finalize(struct pikos_recorder *rec, const struct pikos_summary *summary)
{
	if (rec->state != PREPARED)
		return -EBADFD;
	rec->state = FINALIZED;
	return rec->kind->ops.finalize ? rec->kind->ops.finalize(rec->ctx, summary) : 0;
}

uint64_t pikos_recorder__dropped(const struct pikos_recorder *rec)
{
	return rec->kind->dropped ? rec->kind->dropped(rec->ctx) : 0;
}

const char *pikos_recorder__error(const struct pikos_recorder *rec)
{
	return rec->kind->error ? rec->kind->error(rec->ctx) : "";
}

void pikos_recorder__free(struct pikos_recorder *rec)
{
	if (!rec)
		return;
	if (rec->kind->ops.free)
		rec->kind->ops.free(rec->ctx);
	free(rec);
}
