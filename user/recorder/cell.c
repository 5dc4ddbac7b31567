// SPDX-License-Identifier: BSD-3-Clause
#include "recorder/cell.h"

#include <string.h>

#include "monitor/text.h"
#include "recorder/digits.h"

size_t cell__bound(const struct pikos_cell *cell, const struct pikos_value *value)
{
	size_t len = 0;

	if (value->kind == PIKOS_INT)
		len = DIGITS_MAX;
	else if (value->kind == PIKOS_TEXT)
		len = TEXT_GROWTH * (size_t)value->s->len;
	return len + cell->width + sizeof(cell->after);
}

static char *put_value(char *out, const struct pikos_value *value, size_t *width)
{
	const struct pikos_text *s;
	char *end;

	*width = 0;
	if (value->kind == PIKOS_INT) {
		end = digits__signed(out, value->i);
		*width = end - out;
		return end;
	}
	if (value->kind != PIKOS_TEXT)
		return out;
	s = value->s;
	if (!(s->flags & PIKOS_TEXT_PLAIN))
		return out + text__escape(out, s->data, s->len, width);
	memcpy(out, s->data, s->len);
	*width = s->flags & PIKOS_TEXT_ASCII ? s->len : text__width(s->data, s->len);
	return out + s->len;
}

char *cell__put(const struct pikos_cell *cell, char *out, const struct pikos_value *value)
{
	size_t width, pad, before = 0, after;
	char *end;

	end = put_value(out, value, &width);
	pad = cell->width > width ? cell->width - width : 0;
	if (cell->align == '>')
		before = pad;
	else if (cell->align == '^')
		before = pad / 2;
	if (before) {
		memmove(out + before, out, end - out);
		memset(out, ' ', before);
	}
	end += before;
	memset(end, ' ', pad - before);
	end += pad - before;
	after = strlen(cell->after);
	memcpy(end, cell->after, after);
	return end + after;
}
