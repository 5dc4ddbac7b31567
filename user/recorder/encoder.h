/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * encoder.h - messages as JSON or as msgpack, built by the same calls.
 *
 *	encoder__map(e, 1);
 *	encoder__key(e, "kind");
 *	encoder__string(e, "end");
 *	encoder__end_map(e);
 *
 * Counts are given up front because msgpack needs them; ends because JSON does. No memory is
 * remembered in e->err, so that a message is built without a check per call.
 */
#ifndef PIKOS_RECORDER_ENCODER_H
#define PIKOS_RECORDER_ENCODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pikos.h"

struct encoder;

struct encoder_format {
	void (*map)(struct encoder *e, uint32_t pairs);
	void (*end_map)(struct encoder *e);
	void (*array)(struct encoder *e, uint32_t elements);
	void (*end_array)(struct encoder *e);
	void (*key)(struct encoder *e, const char *key);
	void (*integer)(struct encoder *e, int64_t n);
	void (*natural)(struct encoder *e, uint64_t n);
	void (*text)(struct encoder *e, const struct pikos_text *text);
	void (*nil)(struct encoder *e);
	void (*boolean)(struct encoder *e, bool value);
	/* Elements that another encoder of the same format made, for an array that is open. */
	void (*elements)(struct encoder *e, const struct encoder *from);
};

extern const struct encoder_format json_format, msgpack_format;

struct encoder {
	const struct encoder_format *format;
	char *data;
	size_t len, cap;
	int err;
	bool comma; /* JSON: before the next element */
};

void encoder__init(struct encoder *e, enum pikos_encoding encoding);
void encoder__reset(struct encoder *e); /* an empty message; keeps the memory */
void encoder__free(struct encoder *e);
void encoder__append(struct encoder *e, const char *data, size_t len);

static inline void encoder__map(struct encoder *e, uint32_t pairs)
{
	e->format->map(e, pairs);
}

static inline void encoder__end_map(struct encoder *e)
{
	e->format->end_map(e);
}

static inline void encoder__array(struct encoder *e, uint32_t elements)
{
	e->format->array(e, elements);
}

static inline void encoder__end_array(struct encoder *e)
{
	e->format->end_array(e);
}

static inline void encoder__key(struct encoder *e, const char *key)
{
	e->format->key(e, key);
}

static inline void encoder__elements(struct encoder *e, const struct encoder *from)
{
	if (from->err)
		e->err = from->err;
	e->format->elements(e, from);
}

/* @param string valid UTF-8 */
void encoder__string(struct encoder *e, const char *string);
void encoder__value(struct encoder *e, const struct pikos_value *value);
/* Pairs of a map. */
void encoder__pair_string(struct encoder *e, const char *key, const char *string);
void encoder__pair_integer(struct encoder *e, const char *key, int64_t n);
void encoder__pair_natural(struct encoder *e, const char *key, uint64_t n);
void encoder__pair_boolean(struct encoder *e, const char *key, bool value);
/* A string, or nil where there is none. */
void encoder__pair_optional(struct encoder *e, const char *key, const char *string);

#endif /* PIKOS_RECORDER_ENCODER_H */
