// SPDX-License-Identifier: BSD-3-Clause
/*
 * Tables of lines written by hand, and those that each interpreter of this machine makes of its
 * library: every instruction's line is the one that its PyCode_Addr2Line tells.
 */
#include "tests/traced_python.h"

#include <glob.h>

#include "symbols/line_table.h"

#define DEADLINE 120

#define LINE(format, first, offset, ...)                         \
	line_table__line(format, (const uint8_t[]){__VA_ARGS__}, \
			 sizeof((const uint8_t[]){__VA_ARGS__}), first, offset)

static void test_lnotab(void **state)
{
	(void)state;
	/* 6 bytes on line 10, then 4 of line 12, then line 11. */
	assert_int_equal(LINE(WIRE_LNOTAB, 10, 0, 6, 2, 4, 0xff), 10);
	assert_int_equal(LINE(WIRE_LNOTAB, 10, 4, 6, 2, 4, 0xff), 10);
	assert_int_equal(LINE(WIRE_LNOTAB, 10, 6, 6, 2, 4, 0xff), 12);
	assert_int_equal(LINE(WIRE_LNOTAB, 10, 10, 6, 2, 4, 0xff), 11);
	assert_int_equal(LINE(WIRE_LNOTAB, 10, 1000, 6, 2, 4, 0xff), 11);
	/* Longer ways are taken in several steps. */
	assert_int_equal(LINE(WIRE_LNOTAB, 1, 300, 255, 0, 45, 127, 0, 100), 228);
	assert_int_equal(LINE(WIRE_LNOTAB, 1, 298, 255, 0, 45, 127, 0, 100), 1);
	assert_int_equal(LINE(WIRE_LNOTAB, 7, WIRE_FRAME_NOT_STARTED, 0, 5), 7);
	assert_int_equal(LINE(WIRE_LNOTAB, 7, 4, 2), 7); /* half a pair */
	assert_int_equal(line_table__line(WIRE_LNOTAB, NULL, 0, 7, 4), 7);
	assert_int_equal(LINE(WIRE_LNOTAB, 1, 4, 2, 0x80), -1); /* above the first line */
}

static void test_linetable(void **state)
{
	(void)state;
	/* 6 bytes of line 10, 4 of none, 2 of line 9. */
	assert_int_equal(LINE(WIRE_LINETABLE, 10, 0, 6, 0, 4, 0x80, 2, 0xff), 10);
	assert_int_equal(LINE(WIRE_LINETABLE, 10, 6, 6, 0, 4, 0x80, 2, 0xff), -1);
	assert_int_equal(LINE(WIRE_LINETABLE, 10, 10, 6, 0, 4, 0x80, 2, 0xff), 9);
	assert_int_equal(LINE(WIRE_LINETABLE, 10, 12, 6, 0, 4, 0x80, 2, 0xff), -1);
	assert_int_equal(LINE(WIRE_LINETABLE, 10, 2, 0, 127, 0, 127, 6, 1), 265);
	assert_int_equal(LINE(WIRE_LINETABLE, 10, WIRE_FRAME_NOT_STARTED, 6, 5), 10);
}

static void test_locations(void **state)
{
	(void)state;
	/* Two units on the line, short form; one a line on; one of none; one 70 lines back. */
	const uint8_t table[] = {0x81, 0x00, 0xd8 | 0, 1, 2, 0xf8, 0xe8, 0x4d, 0x02};

	assert_int_equal(line_table__line(WIRE_LOCATIONS, table, sizeof(table), 100, 0), 100);
	assert_int_equal(line_table__line(WIRE_LOCATIONS, table, sizeof(table), 100, 2), 100);
	assert_int_equal(line_table__line(WIRE_LOCATIONS, table, sizeof(table), 100, 4), 101);
	assert_int_equal(line_table__line(WIRE_LOCATIONS, table, sizeof(table), 100, 6), -1);
	assert_int_equal(line_table__line(WIRE_LOCATIONS, table, sizeof(table), 100, 8), 31);
	assert_int_equal(line_table__line(WIRE_LOCATIONS, table, sizeof(table), 100, 10), -1);
	assert_int_equal(line_table__line(WIRE_LOCATIONS, table, 7, 100, 8), 101); /* cut */
	assert_int_equal(
		line_table__line(WIRE_LOCATIONS, table, sizeof(table), 100, WIRE_FRAME_NOT_STARTED),
		100);
	/* A number without an end is as long as 32 bits are. */
	assert_int_equal(LINE(WIRE_LOCATIONS, 5, 0, 0xe8, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f), -1);
	assert_int_equal(line_table__line(WIRE_LOCATIONS, NULL, 0, 5, 0), -1);
	assert_int_equal(line_table__line(0, table, sizeof(table), 100, 0), -1);
}

/* ------------------------------------------------------------------ of real interpreters */

/* A code object as the script below writes it; the table and n_lines numbers follow. */
struct sample {
	uint32_t format, table_bytes;
	int32_t first_line;
	uint32_t n_lines; /* of the instructions at offsets 0, 2, 4, ... */
};

static const char script[] =
	"import ctypes, glob, os, struct, sys\n"
	"line_of = ctypes.pythonapi.PyCode_Addr2Line\n"
	"line_of.argtypes = [ctypes.py_object, ctypes.c_int]\n"
	"version = sys.version_info[:2]\n"
	"form = 1 if version < (3, 10) else 2 if version < (3, 11) else 3\n"
	"out = open(1, 'wb', closefd=False)\n"
	"out.write(b'ready')\n"
	"def put(code):\n"
	"    table = code.co_lnotab if form == 1 else code.co_linetable\n"
	"    lines = [line_of(code, at) for at in range(0, len(code.co_code), 2)]\n"
	"    out.write(struct.pack('<IIiI', form, len(table), code.co_firstlineno, len(lines)))\n"
	"    out.write(table + struct.pack(f'<{len(lines)}i', *lines))\n"
	"    for each in code.co_consts:\n"
	"        if hasattr(each, 'co_code'):\n"
	"            put(each)\n"
	"library = os.path.dirname(os.__file__)\n"
	"for path in sorted(glob.glob(library + '/*.py'))[:25]:\n"
	"    put(compile(open(path, 'rb').read(), path, 'exec'))\n"
	"put(compile('\\n' * 70000 + 'f(\\n' + '\\n' * 300 + 'g(),' + '\\n' * 40000 + '1)', 'x', "
	"'exec'))\n"
	"put(compile('x = [' + 'y,' * 3000 + '\\n z]\\ntry: f()\\nfinally:\\n\\n g()', 'x', "
	"'exec'))\n"
	"out.write(bytes(16))\n"
	"out.flush()\n"
	"os.read(0, 1)\n";

static void read_all(int fd, void *out, size_t size)
{
	for (size_t have = 0; have < size;) {
		ssize_t got = read(fd, (char *)out + have, size - have);

		assert_true(got > 0);
		have += (size_t)got;
	}
}

static void compare(const struct sample *sample, const uint8_t *table, const int32_t *lines,
		    const char *python)
{
	for (uint32_t i = 0; i < sample->n_lines; i++) {
		int32_t line = line_table__line(sample->format, table, sample->table_bytes,
						sample->first_line, 2 * i);

		if (line != lines[i])
			fail_msg("%s: line %d instead of %d at offset %u of a code of line %d",
				 python, line, lines[i], 2 * i, sample->first_line);
	}
}

static void compare_with(const char *root, const char *python)
{
	struct traced traced = traced__start(root, python, script);
	uint32_t n = 0;

	for (;; n++) {
		struct sample sample;
		uint8_t *table;
		int32_t *lines;

		read_all(traced.out, &sample, sizeof(sample));
		if (!sample.format)
			break;
		table = malloc(sample.table_bytes);
		lines = calloc(sample.n_lines, sizeof(*lines));
		assert_true(table && lines);
		read_all(traced.out, table, sample.table_bytes);
		read_all(traced.out, lines, sample.n_lines * sizeof(*lines));
		compare(&sample, table, lines, python);
		free(table);
		free(lines);
	}
	print_message("%s%s: %u code objects\n", root ? root : "", python, n);
	assert_true(n > 300);
	traced__finish(&traced);
}

/* @param root NULL, or of a chroot @return how many interpreters the pattern stood for */
static int compare_matching(const char *root, const char *pattern)
{
	char full[512];
	glob_t found;
	int n = 0;

	snprintf(full, sizeof(full), "%s%s", root ? root : "", pattern);
	if (!glob(full, 0, NULL, &found))
		for (size_t i = 0; i < found.gl_pathc; i++, n++)
			compare_with(root, found.gl_pathv[i] + (root ? strlen(root) : 0));
	globfree(&found);
	return n;
}

static void test_of_each_interpreter(void **state)
{
	const char *home = getenv("HOME");
	char pyenv[256];
	int n = 0;

	(void)state;
	traced__need("/");
	alarm(DEADLINE);
	n += compare_matching(NULL, "/usr/bin/python3.[0-9][0-9]");
	snprintf(pyenv, sizeof(pyenv), "%s/.pyenv/versions", home ? home : "/root");
	for (int minor = 9; minor <= 15; minor++) {
		char pattern[512];

		snprintf(pattern, sizeof(pattern), "%s/3.%d.*/bin/python3.%d", pyenv, minor, minor);
		n += compare_matching(NULL, pattern);
	}
	n += compare_matching("build/pythons/bullseye", "/usr/bin/python3.9");
	n += compare_matching("build/pythons/trixie", "/usr/bin/python3.[0-9][0-9]");
	n += compare_matching("build/pythons/sid", "/usr/bin/python3.[0-9][0-9]");
	alarm(0);
	if (n)
		return;
	print_message("skipped: no CPython here\n");
	skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lnotab),
		cmocka_unit_test(test_linetable),
		cmocka_unit_test(test_locations),
		cmocka_unit_test(test_of_each_interpreter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
