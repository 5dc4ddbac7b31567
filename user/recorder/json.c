// SPDX-License-Identifier: BSD-3-Clause
/*
 * JSON as of RFC 8259: integers are written whole, beyond 2^53 too; texts are UTF-8 with only
 * quotes, backslashes and control characters escaped.
 */
#include "recorder/digits.h"
#include "recorder/encoder.h"

static void begin(struct encoder *e)
{
	if (e->comma)
		encoder__append(e, ",", 1);
	e->comma = true;
}

static void open_with(struct encoder *e, const char *bracket)
{
	begin(e);
	encoder__append(e, bracket, 1);
	e->comma = false;
}

static void close_with(struct encoder *e, const char *bracket)
{
	encoder__append(e, bracket, 1);
	e->comma = true;
}

static void json_map(struct encoder *e, uint32_t pairs)
{
	(void)pairs;
	open_with(e, "{");
}

static void json_end_map(struct encoder *e)
{
	close_with(e, "}");
}

static void json_array(struct encoder *e, uint32_t elements)
{
	(void)elements;
	open_with(e, "[");
}

static void json_end_array(struct encoder *e)
{
	close_with(e, "]");
}

static void put_escape(struct encoder *e, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};

	if (c == '"' || c == '\\') {
		escape[1] = (char)c;
		encoder__append(e, escape, 2);
		return;
	}
	encoder__append(e, escape, 6);
}

static void json_text(struct encoder *e, const struct pikos_text *text)
{
	size_t i, plain = 0; /* start of what needs no escape */
	unsigned char c;

	begin(e);
	encoder__append(e, "\"", 1);
	for (i = 0; !(text->flags & PIKOS_TEXT_PLAIN) && i < text->len; i++) {
		c = (unsigned char)text->data[i];
		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		encoder__append(e, text->data + plain, i - plain);
		put_escape(e, c);
		plain = i + 1;
	}
	encoder__append(e, text->data + plain, text->len - plain);
	encoder__append(e, "\"", 1);
}

static void json_key(struct encoder *e, const char *key)
{
	encoder__string(e, key);
	encoder__append(e, ":", 1);
	e->comma = false;
}

static void json_integer(struct encoder *e, int64_t n)
{
	char digits[DIGITS_MAX];

	begin(e);
	encoder__append(e, digits, digits__signed(digits, n) - digits);
}

static void json_natural(struct encoder *e, uint64_t n)
{
	char digits[DIGITS_MAX];

	begin(e);
	encoder__append(e, digits, digits__unsigned(digits, n) - digits);
}

static void json_nil(struct encoder *e)
{
	begin(e);
	encoder__append(e, "null", 4);
}

static void json_boolean(struct encoder *e, bool value)
{
	begin(e);
	encoder__append(e, value ? "true" : "false", value ? 4 : 5);
}

static void json_elements(struct encoder *e, const struct encoder *from)
{
	if (!from->len)
		return;
	begin(e);
	encoder__append(e, from->data, from->len);
}

const struct encoder_format json_format = {
	.map = json_map,
	.end_map = json_end_map,
	.array = json_array,
	.end_array = json_end_array,
	.key = json_key,
	.integer = json_integer,
	.natural = json_natural,
	.text = json_text,
	.nil = json_nil,
	.boolean = json_boolean,
	.elements = json_elements,
};
