/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recorder.h - what the recorders of this library have beyond those of a caller.
 */
#ifndef PIKOS_RECORDER_RECORDER_H
#define PIKOS_RECORDER_RECORDER_H

#include "pikos.h"

/*
 * Recorders whose rows begin with integers, the index last, and go on with what does not change
 * while the values behind the index are the same, but for RSS and VMS. Who has kept these cells
 * writes rows straight into the recorder's buffer: of integers digits, spaces up to the width,
 * separator; then the cells.
 */
struct recorder_parts {
	char separator;
	uint8_t widths[PIKOS_MAX_FIELDS]; /* by column; 0: no spaces */
	/* Cells from `first` on to the one before `end`, each with what follows it; the last one's
	 * is the end of the row. @return bytes; 0: more than room */
	size_t (*cells)(void *ctx, const struct pikos_value *values, int first, int end, char *out,
			size_t room);
	/* @return room for n bytes, up to limit; NULL and *err */
	char *(*reserve)(void *ctx, size_t n, const char **limit, int *err);
	/* That many event records were written up to end. */
	void (*commit)(void *ctx, const char *end, uint64_t records);
};

struct recorder_kind {
	struct pikos_recorder_ops ops;
	const char *(*error)(const void *ctx); /* words for the last failure; NULL: never any */
	uint64_t (*dropped)(const void *ctx);  /* NULL: none */
	/* NULL, or returns NULL: its rows cannot be had in parts. */
	const struct recorder_parts *(*parts)(const void *ctx);
};

/*
 * @brief A recorder of that kind. Takes ctx over, also when it fails (kind->ops.free).
 * @param kind must live as long as the recorder does
 */
struct pikos_recorder *recorder__make(const struct recorder_kind *kind, void *ctx);

/* @return the context of a recorder of that kind; NULL for another kind */
void *recorder__ctx(const struct pikos_recorder *rec, const struct recorder_kind *kind);

/*
 * @brief The parts of a prepared recorder's rows.
 * @param ctx filled: what its functions want
 * @return NULL: it has none
 */
const struct recorder_parts *recorder__parts(const struct pikos_recorder *rec, void **ctx);

#endif /* PIKOS_RECORDER_RECORDER_H */
