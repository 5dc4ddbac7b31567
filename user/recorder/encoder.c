// SPDX-License-Identifier: BSD-3-Clause
#include "recorder/encoder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/text.h"

void encoder__init(struct encoder *e, enum pikos_encoding encoding)
{
	memset(e, 0, sizeof(*e));
	e->format = encoding == PIKOS_MSGPACK ? &msgpack_format : &json_format;
}

void encoder__reset(struct encoder *e)
{
	e->len = 0;
	e->err = 0;
	e->comma = false;
}

void encoder__free(struct encoder *e)
{
	free(e->data);
	e->data = NULL;
	e->cap = 0;
}

void encoder__append(struct encoder *e, const char *data, size_t len)
{
	size_t cap;
	char *grown;

	if (e->err)
		return;
	if (e->cap - e->len < len) {
		cap = 2 * e->cap + len + 1024;
		grown = realloc(e->data, cap);
		if (!grown) {
			e->err = -ENOMEM;
			return;
		}
		e->data = grown;
		e->cap = cap;
	}
	if (len)
		memcpy(e->data + e->len, data, len);
	e->len += len;
}

void encoder__string(struct encoder *e, const char *string)
{
	size_t len = strlen(string);
	struct pikos_text text = {string, len, text__flags(string, len)};

	e->format->text(e, &text);
}

void encoder__value(struct encoder *e, const struct pikos_value *value)
{
	if (value->kind == PIKOS_INT)
		e->format->integer(e, value->i);
	else if (value->kind == PIKOS_TEXT)
		e->format->text(e, value->s);
	else
		e->format->nil(e);
}

void encoder__pair_string(struct encoder *e, const char *key, const char *string)
{
	encoder__key(e, key);
	encoder__string(e, string);
}

void encoder__pair_integer(struct encoder *e, const char *key, int64_t n)
{
	encoder__key(e, key);
	e->format->integer(e, n);
}

void encoder__pair_natural(struct encoder *e, const char *key, uint64_t n)
{
	encoder__key(e, key);
	e->format->natural(e, n);
}

void encoder__pair_boolean(struct encoder *e, const char *key, bool value)
{
	encoder__key(e, key);
	e->format->boolean(e, value);
}

void encoder__pair_optional(struct encoder *e, const char *key, const char *string)
{
	encoder__key(e, key);
	if (string)
		encoder__string(e, string);
	else
		e->format->nil(e);
}
