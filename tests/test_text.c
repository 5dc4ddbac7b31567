// SPDX-License-Identifier: BSD-3-Clause
/*
 * The oracle of sanitizing is Python's own decoder, over every sequence of two bytes and the
 * edges of the longer ones.
 */
#include "recorder_support.h"

#include <errno.h>

static void check_sanitized(const char *bytes, size_t len, const char *expected)
{
	char out[256];
	size_t n = text__sanitize(out, bytes, len);

	assert_int_equal(n, strlen(expected));
	assert_memory_equal(out, expected, n);
}

static void keeps_valid_text(void **state)
{
	(void)state;
	check_sanitized("gcd", 3, "gcd");
	check_sanitized("", 0, "");
	check_sanitized("\xc3\xa9t\xc3\xa9", 5, "été");
	check_sanitized("\xf0\x9f\x90\x8d", 4, "🐍");
	check_sanitized("a\x1b[2J\n", 6, "a\x1b[2J\n"); /* controls are valid */
}

static void escapes_invalid_bytes(void **state)
{
	(void)state;
	check_sanitized("\xff", 1, "\\xff");
	check_sanitized("\xc0\x80", 2, "\\xc0\\x80");			/* overlong NUL */
	check_sanitized("\xe0\x80\xaf", 3, "\\xe0\\x80\\xaf");		/* overlong */
	check_sanitized("\xed\xa0\x80", 3, "\\xed\\xa0\\x80");		/* surrogate */
	check_sanitized("\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80"); /* above U+10FFFF */
	check_sanitized("a\xe2\x82", 3, "a\\xe2\\x82");			/* cut */
	check_sanitized("\xe2\x82(", 3, "\\xe2\\x82(");
}

/* Two bytes a, b and then three continuation bytes, for all a and b, in one text. */
static void agrees_with_python(void **state)
{
	static const char program[] =
		"import sys\n"
		"s = b''.join(bytes([a, b, 0x80, 0xbf, 0x80, 10]) for a in range(256)"
		" for b in range(256))\n"
		"s += b''.join(bytes([a, b]) + b'\\n' for a in range(256) for b in range(256))\n"
		"sys.stdout.buffer.write(s.decode('utf-8', 'backslashreplace').encode())\n";
	static unsigned char bytes[65536 * 9];
	size_t len, n = 0;
	char *expected, *out;
	int i;

	(void)state;
	for (i = 0; i < 65536; i++) {
		bytes[n++] = i >> 8;
		bytes[n++] = i & 255;
		memcpy(bytes + n, "\x80\xbf\x80\n", 4);
		n += 4;
	}
	for (i = 0; i < 65536; i++) {
		bytes[n++] = i >> 8;
		bytes[n++] = i & 255;
		bytes[n++] = '\n';
	}
	expected = python(program, "", &len);
	out = malloc(TEXT_GROWTH * n);
	assert_non_null(out);
	assert_int_equal(text__sanitize(out, (char *)bytes, n), len);
	assert_memory_equal(out, expected, len);
	free(expected);
	free(out);
}

static uint32_t flags(const char *string)
{
	return text__flags(string, strlen(string));
}

static void flags_what_is_plain(void **state)
{
	(void)state;
	assert_int_equal(flags("gcd"), PIKOS_TEXT_PLAIN | PIKOS_TEXT_ASCII);
	assert_int_equal(flags(""), PIKOS_TEXT_PLAIN | PIKOS_TEXT_ASCII);
	assert_int_equal(flags("été 🐍"), PIKOS_TEXT_PLAIN);
	assert_int_equal(flags("a,b"), PIKOS_TEXT_ASCII);
	assert_int_equal(flags("\""), PIKOS_TEXT_ASCII);
	assert_int_equal(flags("\\x00"), PIKOS_TEXT_ASCII);
	assert_int_equal(flags("\t"), PIKOS_TEXT_ASCII);
	assert_int_equal(flags("\x7f"), PIKOS_TEXT_ASCII);
	assert_int_equal(flags("\xc2\x9b"), 0);	    /* CSI of C1 */
	assert_int_equal(flags("\xe2\x80\xae"), 0); /* right-to-left override */
	assert_int_equal(text__flags("\0", 1), PIKOS_TEXT_ASCII);
}

static void check_escaped(const char *bytes, size_t len, const char *expected, size_t width)
{
	char out[256];
	size_t got, n = text__escape(out, bytes, len, &got);

	assert_int_equal(n, strlen(expected));
	assert_memory_equal(out, expected, n);
	assert_int_equal(got, width);
}

static void escapes_controls(void **state)
{
	(void)state;
	check_escaped("a\x1b[2J", 5, "a\\x1b[2J", 8);
	check_escaped("\n\r\t\0\x7f", 5, "\\n\\r\\t\\x00\\x7f", 14);
	check_escaped("\xc2\x80\xc2\x9f\xc2\xa0", 6, "\\x80\\x9f\xc2\xa0", 9);
	check_escaped("\xe2\x80\xa8\xe2\x80\xae\xe2\x81\xa6", 9, "\\u2028\\u202e\\u2066", 18);
	check_escaped("\xd8\x9c", 2, "\\u061c", 6);
	check_escaped("été 🐍", strlen("été 🐍"), "été 🐍", 5);
	check_escaped("a\xe2\x80\x8d"
		      "b",
		      5,
		      "a\xe2\x80\x8d"
		      "b",
		      3); /* joiners belong to words and emoji */
}

static void makes_texts(void **state)
{
	struct pikos_text *text = text__new("\xff", 1);

	(void)state;
	assert_non_null(text);
	assert_int_equal(text->len, 4);
	assert_memory_equal(text->data, "\\xff", 4);
	assert_int_equal(text->flags, PIKOS_TEXT_ASCII);
	free(text);
	text = text__new("", 0);
	assert_non_null(text);
	assert_int_equal(text->len, 0);
	free(text);
	assert_null(text__new("", (size_t)UINT32_MAX));
	assert_int_equal(errno, EOVERFLOW);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_valid_text),   cmocka_unit_test(escapes_invalid_bytes),
		cmocka_unit_test(agrees_with_python), cmocka_unit_test(flags_what_is_plain),
		cmocka_unit_test(escapes_controls),   cmocka_unit_test(makes_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
