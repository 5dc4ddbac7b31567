// SPDX-License-Identifier: BSD-3-Clause
#include "monitor/text.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char hex[] = "0123456789abcdef";

static bool is_continuation(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

/* Length of the valid UTF-8 sequence of several bytes at p, or 0. Table 3-7 of Unicode. */
static size_t sequence(const unsigned char *p, size_t left)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t n, i;

	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (left < n)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0; /* shorter is overlong */
	else if (p[0] == 0xed)
		high = 0x9f; /* above are the surrogates */
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f; /* above U+10FFFF */
	if (p[1] < low || p[1] > high)
		return 0;
	for (i = 2; i < n; i++)
		if (!is_continuation(p[i]))
			return 0;
	return n;
}

/* The code point of the sequence at p, which is valid UTF-8; *n is set to its bytes. */
static uint32_t decode(const unsigned char *p, size_t *n)
{
	uint32_t c;
	size_t i;

	if (p[0] < 0x80) {
		*n = 1;
		return p[0];
	}
	*n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	c = p[0] & (0x7f >> *n);
	for (i = 1; i < *n; i++)
		c = c << 6 | (p[i] & 0x3f);
	return c;
}

/* Whether a character could move a terminal's cursor, end a line or reorder what is shown. */
static bool is_control(uint32_t c)
{
	if (c < 0x20 || (c >= 0x7f && c <= 0x9f))
		return true;
	return c == 0x061c || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2066 && c <= 0x206f) || (c >= 0xfff9 && c <= 0xfffb);
}

static char *put_byte_escape(char *out, unsigned char c)
{
	*out++ = '\\';
	*out++ = 'x';
	*out++ = hex[c >> 4];
	*out++ = hex[c & 15];
	return out;
}

size_t text__sanitize(char *out, const char *bytes, size_t len)
{
	const unsigned char *p = (const unsigned char *)bytes;
	char *start = out;
	size_t i = 0, n;

	while (i < len) {
		n = p[i] < 0x80 ? 1 : sequence(p + i, len - i);
		if (!n) {
			out = put_byte_escape(out, p[i++]);
			continue;
		}
		while (n--)
			*out++ = bytes[i++];
	}
	return out - start;
}

uint32_t text__flags(const char *data, size_t len)
{
	const unsigned char *p = (const unsigned char *)data;
	uint32_t flags = PIKOS_TEXT_PLAIN | PIKOS_TEXT_ASCII;
	size_t i, n;
	uint32_t c;

	for (i = 0; i < len; i += n) {
		c = decode(p + i, &n);
		if (c >= 0x80)
			flags &= ~PIKOS_TEXT_ASCII;
		if (c == '"' || c == ',' || c == '\\' || is_control(c))
			flags &= ~PIKOS_TEXT_PLAIN;
	}
	return flags;
}

size_t text__width(const char *data, size_t len)
{
	size_t i, width = 0;

	for (i = 0; i < len; i++)
		width += !is_continuation(data[i]);
	return width;
}

struct pikos_text *text__new(const char *bytes, size_t len)
{
	struct pikos_text *text, *fitted;
	size_t n;

	if (len > UINT32_MAX / TEXT_GROWTH) {
		errno = EOVERFLOW;
		return NULL;
	}
	text = malloc(sizeof(*text) + TEXT_GROWTH * len);
	if (!text)
		return NULL;
	n = text__sanitize((char *)(text + 1), bytes, len);
	fitted = realloc(text, sizeof(*text) + n);
	if (fitted)
		text = fitted;
	text->data = (char *)(text + 1);
	text->len = n;
	text->flags = text__flags(text->data, n);
	return text;
}

static char *put_escape(char *out, uint32_t c)
{
	if (c == '\n' || c == '\r' || c == '\t') {
		*out++ = '\\';
		*out++ = c == '\n' ? 'n' : c == '\r' ? 'r' : 't';
		return out;
	}
	if (c <= 0xff)
		return put_byte_escape(out, c);
	*out++ = '\\';
	*out++ = 'u';
	*out++ = hex[c >> 12];
	*out++ = hex[c >> 8 & 15];
	*out++ = hex[c >> 4 & 15];
	*out++ = hex[c & 15];
	return out;
}

size_t text__escape(char *out, const char *data, size_t len, size_t *width)
{
	const unsigned char *p = (const unsigned char *)data;
	char *start = out, *before;
	size_t i, n;
	uint32_t c;

	*width = 0;
	for (i = 0; i < len; i += n) {
		c = decode(p + i, &n);
		if (is_control(c)) {
			before = out;
			out = put_escape(out, c);
			*width += out - before;
			continue;
		}
		memcpy(out, data + i, n);
		out += n;
		(*width)++;
	}
	return out - start;
}
