// SPDX-License-Identifier: BSD-3-Clause
/* What the kernel sends of code objects becomes names and lines; what contradicts itself does not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "symbols/frames.h"

static struct symbols *symbols;
static struct frames *frames;
static struct wire_frame_code_short code;
static union {
	struct wire_line_table head;
	uint8_t bytes[sizeof(struct wire_line_table) + WIRE_LONG_TABLE];
} table;

static void put_text(struct wire_text *text, uint8_t *to, int kind, const void *from, size_t bytes)
{
	*text = (struct wire_text){.bytes = (uint32_t)bytes, .kind = (uint8_t)kind};
	memcpy(to, from, bytes);
}

#define PUT(field, kind, string) \
	put_text(&code.code.field, code.field, kind, string, sizeof(string) - sizeof(*(string)))

static int set_up(void **state)
{
	(void)state;
	symbols = symbols__new();
	frames = frames__new(symbols, false);
	memset(&code, 0, sizeof(code));
	code.code.head.kind = WIRE_FRAME_CODE;
	code.code.code = 1;
	code.code.first_line = 10;
	code.code.table_format = WIRE_LNOTAB;
	PUT(name, 1, "name");
	PUT(qualname, 1, "Class.name");
	PUT(file, 1, "file.py");
	memset(&table, 0, sizeof(table));
	table.head.head.kind = WIRE_LINE_TABLE;
	table.head.code = 1;
	table.head.total = table.head.bytes = 2;
	memcpy(&table.head + 1, "\x04\x05", 2);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	frames__free(frames);
	symbols__free(symbols);
	return 0;
}

static void learn_code(void)
{
	assert_int_equal(frames__learn(frames, &code.code.head, sizeof(code)), 0);
}

static void learn_table(void)
{
	assert_int_equal(frames__learn(frames, &table.head.head, sizeof(table)), 0);
}

static struct frame get(uint32_t offset)
{
	struct wire_frame frame = {.code = 1, .offset = offset};
	struct frame out;

	frames__get(frames, &frame, &out);
	return out;
}

static void assert_text(const struct pikos_text *text, const char *expected)
{
	assert_int_equal(text->len, strlen(expected));
	assert_memory_equal(text->data, expected, text->len);
}

static void test_names_and_lines(void **state)
{
	struct wire_frame unread = {.code = 0, .offset = 4};
	struct frame out;

	(void)state;
	assert_null(get(0).symbol);
	assert_int_equal(get(0).line, -1);
	learn_code();
	assert_text(get(0).symbol->function, "name");
	assert_text(get(0).symbol->file, "file.py");
	assert_int_equal(get(0).first_line, 10);
	assert_int_equal(get(0).line, -1); /* no table yet */
	learn_table();
	assert_int_equal(get(0).line, 10);
	assert_int_equal(get(4).line, 15);
	assert_int_equal(frames__missing(frames).codes, 2);
	assert_int_equal(frames__missing(frames).lines, 4);
	assert_int_equal(get(WIRE_FRAME_NOT_STARTED).line, 10);
	frames__get(frames, &unread, &out);
	assert_null(out.symbol);
	symbols__rotate(symbols, 1);
	assert_int_equal(get(4).line, 15); /* for what is under way */
	symbols__rotate(symbols, 1);
	assert_null(get(4).symbol);
}

static void test_qualified(void **state)
{
	(void)state;
	frames__free(frames);
	frames = frames__new(symbols, true);
	learn_code();
	assert_text(get(0).symbol->function, "Class.name");
	code.code.qualname = (struct wire_text){0}; /* 3.9, 3.10 */
	learn_code();
	assert_text(get(0).symbol->function, "name");
}

static void test_kinds_of_text(void **state)
{
	(void)state;
	PUT(name, 1, "gr\xf6\xdf\x65");
	PUT(file, 2, u"\u5927\u5c0f\u00e9.py");
	learn_code();
	assert_text(get(0).symbol->function, "größe");
	assert_text(get(0).symbol->file, "大小é.py");
	PUT(name, 4, U"\U00020000\u5927\u00e9x");
	PUT(file, 2, ((const uint16_t[]){'/', 0xdcff, 0xdc80, 'x', 0}));
	learn_code();
	assert_text(get(0).symbol->function, "𠀀大éx");
	assert_text(get(0).symbol->file, "/\\xff\\x80x"); /* bytes that were no UTF-8 */
	assert_memory_equal(get(0).symbol->path, "/\xff\x80x", 5);
	/* What no interpreter has: a half of a pair, more than there are characters. */
	PUT(name, 2, ((const uint16_t[]){0xd800, 'a', 0}));
	PUT(file, 4, ((const uint32_t[]){0x7fffffff, 'b', 0}));
	learn_code();
	assert_text(get(0).symbol->function, "\\xed\\xa0\\x80a");
	assert_int_equal(get(0).symbol->file->data[get(0).symbol->file->len - 1], 'b');
	code.code.name.cut = 1;
	code.code.name.kind = 3; /* none */
	learn_code();
	assert_text(get(0).symbol->function, "<cut>");
}

static void test_long_texts(void **state)
{
	struct wire_frame_code_long *large = calloc(1, sizeof(*large));

	(void)state;
	assert_non_null(large);
	large->code = code.code;
	large->code.head.type = WIRE_LONG;
	large->code.name = (struct wire_text){.bytes = WIRE_LONG_TEXT, .kind = 1, .cut = 1};
	large->code.file = (struct wire_text){.bytes = WIRE_LONG_TEXT, .kind = 2};
	memset(large->name, 0xe9, sizeof(large->name));
	memset(large->file, 0x59, sizeof(large->file)); /* U+5959: 3 bytes of UTF-8 */
	assert_int_equal(frames__learn(frames, &large->code.head, sizeof(*large)), 0);
	assert_int_equal(get(0).symbol->function->len, 2 * WIRE_LONG_TEXT + strlen("<cut>"));
	assert_int_equal(get(0).symbol->file->len, 3 * WIRE_LONG_TEXT / 2);
	free(large);
}

static void test_pieces_of_a_table(void **state)
{
	(void)state;
	learn_code();
	table.head.head.type = WIRE_LONG;
	table.head.total = WIRE_MAX_LINE_TABLE;
	table.head.bytes = WIRE_LONG_TABLE;
	for (table.head.offset = 0; table.head.offset < WIRE_MAX_LINE_TABLE;
	     table.head.offset += WIRE_LONG_TABLE) {
		assert_int_equal(get(4).line, -1);
		learn_table();
		memcpy(&table.head + 1, "\x00\x00", 2);
	}
	assert_int_equal(get(4).line, 15);
	/* It is sent again when a piece of it could not be. */
	table.head.offset = 0;
	learn_table();
	assert_int_equal(get(4).line, -1);
}

static void test_records_that_contradict_themselves(void **state)
{
	(void)state;
	learn_table(); /* of no code that is known */
	code.code.name.bytes = WIRE_SHORT_NAME + 1;
	code.code.file.bytes = UINT32_MAX;
	learn_code();
	assert_text(get(0).symbol->function, "");
	assert_text(get(0).symbol->file, "");
	for (uint32_t size = 0; size < sizeof(code); size++)
		assert_int_equal(frames__learn(frames, &code.code.head, size), 0);
	code.code.head.type = WIRE_LONG; /* shorter than that */
	assert_int_equal(frames__learn(frames, &code.code.head, sizeof(code)), 0);
	table.head.total = WIRE_MAX_LINE_TABLE + 1;
	learn_table();
	table.head.total = 2;
	table.head.bytes = 3; /* more than there is */
	learn_table();
	table.head.bytes = UINT32_MAX;
	learn_table();
	table.head.bytes = 1;
	table.head.offset = 1; /* the first piece never came */
	learn_table();
	assert_int_equal(get(4).line, -1);
	table.head.offset = 0;
	learn_table();
	table.head.offset = UINT32_MAX;
	learn_table();
	assert_int_equal(get(4).line, -1);
	table.head.offset = 1;
	learn_table();
	assert_int_not_equal(get(4).line, -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_names_and_lines),   TEST(test_qualified),
		TEST(test_kinds_of_text),     TEST(test_long_texts),
		TEST(test_pieces_of_a_table), TEST(test_records_that_contradict_themselves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
