/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recorder.h - what the recorders of this library have beyond those of a caller.
 */
#ifndef PIKOS_RECORDER_RECORDER_H
#define PIKOS_RECORDER_RECORDER_H

#include "pikos.h"

struct recorder_kind {
	struct pikos_recorder_ops ops;
	const char *(*error)(const void *ctx); /* words for the last failure; NULL: never any */
	uint64_t (*dropped)(const void *ctx);  /* NULL: none */
};

/*
 * @brief A recorder of that kind. Takes ctx over, also when it fails (kind->ops.free).
 * @param kind must live as long as the recorder does
 */
struct pikos_recorder *recorder__make(const struct recorder_kind *kind, void *ctx);

/* @return the context of a recorder of that kind; NULL for another kind */
void *recorder__ctx(const struct pikos_recorder *rec, const struct recorder_kind *kind);

#endif /* PIKOS_RECORDER_RECORDER_H */
