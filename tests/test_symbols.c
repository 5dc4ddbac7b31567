// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "symbols/symbols.h"

static void define_bytes(struct symbols *symbols, uint32_t id, struct symbol_string function,
			 struct symbol_string file)
{
	assert_int_equal(symbols__define(symbols, id, &function, &file), 0);
}

static struct symbol_string text(const char *string)
{
	return (struct symbol_string){string, strlen(string), false};
}

static void define(struct symbols *symbols, uint32_t id, const char *function, const char *file)
{
	define_bytes(symbols, id, text(function), text(file));
}

static void assert_text(const struct pikos_text *got, const char *expected)
{
	assert_int_equal(got->len, strlen(expected));
	assert_memory_equal(got->data, expected, got->len);
}

static void assert_symbol(const struct symbols *symbols, uint32_t id, const char *function,
			  const char *file)
{
	struct symbol *symbol = symbols__get(symbols, id);

	assert_non_null(symbol);
	assert_text(symbol->function, function);
	assert_text(symbol->file, file);
}

static void test_define(void **state)
{
	struct symbols *symbols = symbols__new();

	(void)state;
	assert_non_null(symbols);
	assert_null(symbols__get(symbols, 0));
	assert_null(symbols__get(symbols, 1));
	assert_null(symbols__get(symbols, UINT32_MAX));
	define(symbols, 1, "gcd", "/a.py");
	define(symbols, 5000, "lcm", "/b.py"); /* those in between have not come yet */
	define(symbols, 3, "", "");
	assert_symbol(symbols, 1, "gcd", "/a.py");
	assert_symbol(symbols, 5000, "lcm", "/b.py");
	assert_symbol(symbols, 3, "", "");
	for (uint32_t id = 4; id < 5000; id++)
		assert_null(symbols__get(symbols, id));
	assert_null(symbols__get(symbols, 5001));
	assert_int_equal(symbols__get(symbols, 1)->path_len, 5);
	assert_string_equal(symbols__get(symbols, 1)->path, "/a.py");
	assert_null(symbols__get(symbols, 1)->source_cache);
	define(symbols, 1, "again", "/c.py"); /* sent twice: the last word counts */
	assert_symbol(symbols, 1, "again", "/c.py");
	symbols__free(symbols);
	symbols__free(NULL);
}

static void test_cut(void **state)
{
	struct symbols *symbols = symbols__new();
	struct symbol *symbol;

	(void)state;
	define_bytes(symbols, 1, (struct symbol_string){"longname", 4, true}, text("/a.py"));
	assert_symbol(symbols, 1, "long<cut>", "/a.py");
	define_bytes(symbols, 2, text("f"), (struct symbol_string){"/very/long", 5, true});
	assert_symbol(symbols, 2, "f", "/very<cut>");
	symbol = symbols__get(symbols, 2);
	assert_string_equal(symbol->path, "/very"); /* what can be asked for, unmarked */
	assert_int_equal(symbol->path_len, 5);
	define_bytes(symbols, 3, (struct symbol_string){"", 0, true},
		     (struct symbol_string){"", 0, true});
	assert_symbol(symbols, 3, "<cut>", "<cut>");
	/* Cut in the middle of a character. */
	define_bytes(symbols, 4, (struct symbol_string){"na\xc3\xaf", 3, true}, text("x"));
	assert_symbol(symbols, 4, "na\\xc3<cut>", "x");
	symbols__free(symbols);
}

static void test_hostile_bytes(void **state)
{
	struct symbols *symbols = symbols__new();
	struct symbol *symbol;

	(void)state;
	define(symbols, 1, "a\xff\n\"b", "/\x80.py");
	assert_symbol(symbols, 1, "a\\xff\n\"b", "/\\x80.py");
	symbol = symbols__get(symbols, 1);
	assert_false(symbol->function->flags & PIKOS_TEXT_PLAIN);
	assert_string_equal(symbol->path, "/\x80.py");
	symbols__free(symbols);
}

static void test_rotation(void **state)
{
	struct symbols *symbols = symbols__new();

	(void)state;
	for (uint32_t id = 1; id <= 10; id++)
		define(symbols, id, "first", "1");
	symbols__rotate(symbols, 10);
	for (uint32_t id = 1; id <= 10; id++)
		assert_symbol(symbols, id, "first", "1");
	define(symbols, 11, "second", "2");
	define(symbols, 9, "late", "1"); /* was under way when it was asked for */
	assert_symbol(symbols, 9, "late", "1");
	assert_symbol(symbols, 11, "second", "2");
	assert_null(symbols__get(symbols, 12));
	symbols__rotate(symbols, 11);
	for (uint32_t id = 0; id <= 10; id++)
		assert_null(symbols__get(symbols, id));
	assert_symbol(symbols, 11, "second", "2");
	define(symbols, 10, "too late", "1"); /* never the name of another */
	assert_null(symbols__get(symbols, 10));
	define(symbols, 12, "third", "3");
	assert_symbol(symbols, 12, "third", "3");
	symbols__rotate(symbols, 12);
	symbols__rotate(symbols, 12); /* nothing came in between */
	assert_null(symbols__get(symbols, 11));
	assert_null(symbols__get(symbols, 12));
	define(symbols, 13, "fourth", "4");
	assert_symbol(symbols, 13, "fourth", "4");
	symbols__free(symbols);
}

/* An id that was asked for before the rotation and not defined is none of the new time. */
static void test_ids_beyond_what_came(void **state)
{
	struct symbols *symbols = symbols__new();

	(void)state;
	define(symbols, 1, "one", "1");
	symbols__rotate(symbols, 1000000);
	assert_null(symbols__get(symbols, 2));
	assert_null(symbols__get(symbols, 1000000));
	assert_null(symbols__get(symbols, 1000001));
	define(symbols, 1000001, "new", "2");
	define(symbols, 700, "old", "1");
	assert_symbol(symbols, 1, "one", "1");
	assert_symbol(symbols, 700, "old", "1");
	assert_symbol(symbols, 1000001, "new", "2");
	symbols__rotate(symbols, UINT32_MAX - 5);
	define(symbols, UINT32_MAX - 4, "huge", "3");
	define(symbols, UINT32_MAX, "last", "3");
	assert_symbol(symbols, UINT32_MAX - 4, "huge", "3");
	assert_symbol(symbols, UINT32_MAX, "last", "3");
	assert_null(symbols__get(symbols, UINT32_MAX - 1));
	symbols__free(symbols);
}

/* Two times what may be kept, for ever: what is defined is counted, and rotating frees it. */
static void test_bound(void **state)
{
	struct symbols *symbols = symbols__new();
	char name[4096], file[2048];
	uint32_t id = 0, rotations = 0, first = 1;

	(void)state;
	memset(name, 'n', sizeof(name));
	memset(file, 'f', sizeof(file));
	while (rotations < 4) {
		size_t name_len = rotations % 2 ? 5 : sizeof(name);
		size_t file_len = rotations % 2 ? 9 : sizeof(file);

		define_bytes(symbols, ++id, (struct symbol_string){name, name_len, false},
			     (struct symbol_string){file, file_len, false});
		if (!symbols__full(symbols))
			continue;
		/* Names are kept once, file names twice. */
		assert_true((id - first) * (name_len + 2 * file_len) <= SYMBOLS_MAX_BYTES);
		assert_true((id - first) * (name_len + 2 * file_len + 512) >=
			    SYMBOLS_MAX_BYTES * 2 / 3);
		symbols__rotate(symbols, id);
		first = id + 1;
		rotations++;
		assert_false(symbols__full(symbols));
	}
	symbols__free(symbols);
}

/* Ids whose names were lost (a full buffer) take room in the table all the same. */
static void test_bound_of_lost_ids(void **state)
{
	struct symbols *symbols = symbols__new();

	(void)state;
	define(symbols, 1, "f", "f");
	assert_false(symbols__full(symbols));
	define(symbols, 1 + 2 * SYMBOLS_MAX_BYTES / sizeof(void *), "f", "f");
	assert_true(symbols__full(symbols));
	symbols__free(symbols);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_define),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_hostile_bytes),
		cmocka_unit_test(test_rotation),
		cmocka_unit_test(test_ids_beyond_what_came),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_bound_of_lost_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
