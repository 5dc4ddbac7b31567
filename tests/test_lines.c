// SPDX-License-Identifier: BSD-3-Clause
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "process/identity.h"
#include "symbols/lines.h"

static char tree[64];
static struct reader *reader;

static void put_bytes(const char *name, const char *data, size_t size)
{
	int fd = open(name, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), size);
	close(fd);
}

static void put(const char *name, const char *text)
{
	put_bytes(name, text, strlen(text));
}

static void expect(struct lines *lines, const char *path, int64_t line, const char *want)
{
	const struct pikos_text *text = lines__get(lines, path, strlen(path), line);

	if (text->len != strlen(want) || memcmp(text->data, want, text->len))
		fail_msg("%s:%lld: expected '%s', actual '%.*s'", path, (long long)line, want,
			 (int)text->len, text->data);
}

static void text_of_lines(void **state)
{
	struct lines *lines = lines__new(reader, 0);
	const struct pikos_text *text;

	(void)state;
	assert_non_null(lines);
	put("a.py", "def f():\n    return 1  \t\f\n\n\tx = '\f\v'\r\ny\rz "
		    "\xc2\xa0\xe2\x80\x83\xe3\x80\x80\n"
		    "caf\xc3\xa9 \xff\nlast");
	expect(lines, "a.py", 1, "def f():");
	expect(lines, "a.py", 2, "    return 1");
	expect(lines, "a.py", 3, "");
	expect(lines, "a.py", 4, "\tx = '\f\v'");
	expect(lines, "a.py", 5, "y");
	expect(lines, "a.py", 6, "z");
	expect(lines, "a.py", 7, "caf\xc3\xa9 \\xff");
	expect(lines, "a.py", 8, "last");
	expect(lines, "a.py", 9, "<compiled string>");
	expect(lines, "a.py", 0, "<compiled string>");
	expect(lines, "a.py", -1, "<compiled string>");
	expect(lines, "a.py", INT64_MAX, "<compiled string>");
	text = lines__get(lines, "a.py", 4, 1);
	assert_true(text->flags & PIKOS_TEXT_PLAIN);
	text = lines__get(lines, "a.py", 4, 4);
	assert_false(text->flags & PIKOS_TEXT_PLAIN);
	lines__free(lines);
}

static void no_source(void **state)
{
	struct lines *lines = lines__new(reader, 0), *none = lines__new(NULL, 0);
	char path[5000];

	(void)state;
	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	put("empty.py", "");
	expect(lines, "<string>", 1, "<compiled string>");
	expect(lines, "<frozen os>", 1, "<compiled string>");
	expect(lines, "", 1, "<compiled string>");
	expect(lines, path, 1, "<compiled string>");
	expect(lines, "missing.py", 1, "<compiled string>");
	expect(lines, "empty.py", 1, "<compiled string>");
	expect(lines, "/proc/self/status", 1, "<compiled string>");
	expect(none, "a.py", 1, "<compiled string>");
	/* What was missing stays missing: a program that runs does not see a file appear. */
	put("missing.py", "x\n");
	expect(lines, "missing.py", 1, "<compiled string>");
	unlink("missing.py");
	lines__free(lines);
	lines__free(none);
	lines__free(NULL);
}

static void encodings(void **state)
{
	static const struct {
		const char *text;
		int line;
		const char *want;
	} cases[] = {
		{"# -*- coding: latin-1 -*-\ncaf\xe9\n", 2, "caf\xc3\xa9"},
		{"#!/usr/bin/python\n# vim: set fileencoding=ISO_8859-15 :\n\xa4\n", 3,
		 "\xe2\x82\xac"},
		{"\n# coding=koi8_r\n\xc1\n", 3, "\xd0\xb0"},
		{"#\r\n# coding=cp1252\r\n\x80\x81.\r\n", 3, "\xe2\x82\xac\\x81."},
		{"# coding: euc_jp\n\xa4\xa2\n\xa4\n", 2, "\xe3\x81\x82"},
		{"# coding: cp1255\n\xe0", 2, "\xd7\x90"},
		{"# coding: shift_jis\n\x83\x5c", 2, "\xe3\x82\xbd"},
		{"# coding: utf-8\ncaf\xc3\xa9\n", 2, "caf\xc3\xa9"},
		{"x = 1\n# coding: latin-1\n\xc3\xa9\n", 3, "\xc3\xa9"},
		{"# coding: no-such-thing\n\xc3\xa9\xe9\n", 2, "\xc3\xa9\\xe9"},
		{"# coding: ../../tmp/evil\n\xc3\xa9\n", 2, "\xc3\xa9"},
		{"# coding: iso-2022-jp-3\n\xc3\xa9\n", 2, "\xc3\xa9"},
		{"# coding: iso-8859-77\n\xc3\xa9\n", 2, "\xc3\xa9"},
		{"\xef\xbb\xbf# coding: latin-1\n\xc3\xa9\n", 2, "\xc3\xa9"},
		{"\xef\xbb\xbfx\n", 1, "x"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct lines *lines = lines__new(reader, 0);

		put("e.py", cases[i].text);
		expect(lines, "e.py", cases[i].line, cases[i].want);
		lines__free(lines);
	}
}

/* Bytes that are not valid in any way, and cookies cut short. */
static void decoding_never_fails(void **state)
{
	char data[600] = "# coding: big5hkscs\n", *out;
	size_t size;

	(void)state;
	for (int i = 0; i < 256; i++) {
		data[20 + 2 * i] = (char)i;
		data[21 + 2 * i] = (char)(255 - i);
	}
	assert_int_equal(lines__decode(data, 20 + 512, &out, &size), 0);
	assert_true(size > 0);
	free(out);
	for (size_t cut = 0; cut < 40; cut++) {
		assert_int_equal(lines__decode(data, cut, &out, &size), 0);
		free(out);
	}
}

static void eviction(void **state)
{
	struct lines *lines = lines__new(reader, 64 * 1024);
	static char big[20000];
	const struct lines_file *file;
	uint64_t generation;

	(void)state;
	memset(big, 'x', sizeof(big));
	big[100] = '\n';
	put_bytes("big1.py", big, sizeof(big));
	put_bytes("big2.py", big, sizeof(big));
	put_bytes("big3.py", big, sizeof(big));
	put_bytes("big4.py", big, sizeof(big));
	file = lines__file(lines, "big1.py", 7);
	assert_int_equal(file->n_lines, 2);
	assert_int_equal(lines__at(file, 1)->len, 100);
	lines__file(lines, "big2.py", 7);
	lines__file(lines, "big3.py", 7);
	generation = lines__generation(lines);
	assert_ptr_equal(lines__file(lines, "big1.py", 7), file); /* makes it the newest */
	assert_int_equal(lines__generation(lines), generation);
	lines__file(lines, "big4.py", 7);
	assert_int_not_equal(lines__generation(lines), generation);
	generation = lines__generation(lines);
	/* big2 went, as the least recently used; the others are still there. */
	assert_ptr_equal(lines__file(lines, "big1.py", 7), file);
	lines__file(lines, "big3.py", 7);
	lines__file(lines, "big4.py", 7);
	assert_int_equal(lines__generation(lines), generation);
	assert_int_equal(lines__file(lines, "big2.py", 7)->n_lines, 2);
	assert_int_not_equal(lines__generation(lines), generation);
	lines__free(lines);
}

/* One line per byte costs 17 times the file; it must not get in. */
static void too_large(void **state)
{
	struct lines *lines = lines__new(reader, 64 * 1024);
	static char newlines[40000];

	(void)state;
	memset(newlines, '\n', sizeof(newlines));
	put_bytes("newlines.py", newlines, 20000);
	expect(lines, "newlines.py", 1, "<compiled string>");
	put_bytes("long.py", newlines, 40000);
	expect(lines, "long.py", 1, "<compiled string>");
	lines__free(lines);
}

/* Names without end: what is remembered of files that do not exist is bounded too. */
static void many_names(void **state)
{
	struct lines *lines = lines__new(reader, 64 * 1024);
	char path[64];

	(void)state;
	for (int i = 0; i < 3000; i++) {
		snprintf(path, sizeof(path), "no/such/file/%d.py", i);
		expect(lines, path, 1, "<compiled string>");
	}
	assert_true(lines__generation(lines) > 2000);
	put("a.py", "x\n");
	expect(lines, "a.py", 1, "x");
	lines__free(lines);
}

static void two_targets(void **state)
{
	char *argv[] = {"x", NULL};
	struct identity *id = identity__of_self(argv);
	struct lines *here = lines__new(reader, 0), *there;
	struct reader *other;

	(void)state;
	assert_non_null(id);
	assert_int_equal(mkdir("other", 0700), 0);
	put("other/same.py", "other\n");
	put("same.py", "one\n");
	close(id->cwd_fd);
	id->cwd_fd = open("other", O_PATH | O_CLOEXEC);
	other = reader__new(id, NULL);
	assert_non_null(other);
	there = lines__new(other, 0);
	expect(here, "same.py", 1, "one");
	expect(there, "same.py", 1, "other");
	lines__free(here);
	lines__free(there);
	reader__free(other);
	identity__free(id);
	unlink("other/same.py");
	rmdir("other");
}

/* Not a test: how long a line takes that is in the cache. */
static int bench(void)
{
	struct lines *lines = lines__new(reader, 0);
	char paths[8][64];
	struct timespec a, b;
	size_t sum = 0;
	enum { N = 20000000 };

	for (int i = 0; i < 8; i++) {
		snprintf(paths[i], sizeof(paths[i]), "/tmp/pikos/some/longer/path/of/a/module%d.py",
			 i);
		lines__file(lines, paths[i], strlen(paths[i]));
	}
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < N; i++)
		sum += lines__get(lines, paths[i & 7], 44, 1)->len;
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("lines__get, 8 files in turn: %.1f ns (%zu)\n",
	       ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / N, sum);
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < N; i++)
		sum += lines__get(lines, paths[3], 44, i & 7)->len;
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("lines__get, one file: %.1f ns (%zu)\n",
	       ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / N, sum);
	lines__free(lines);
	return 0;
}

static int make_tree(void **state)
{
	char *argv[] = {"x", NULL};
	struct identity *id;

	(void)state;
	strcpy(tree, "/tmp/pikos-test-lines-XXXXXX");
	assert_non_null(mkdtemp(tree));
	assert_int_equal(chdir(tree), 0);
	id = identity__of_self(argv);
	assert_non_null(id);
	reader = reader__new(id, NULL);
	assert_non_null(reader);
	identity__free(id);
	return 0;
}

static int remove_tree(void **state)
{
	static const char *const names[] = {"a.py",    "empty.py", "e.py",    "big1.py",
					    "big2.py", "big3.py",  "big4.py", "newlines.py",
					    "long.py", "same.py"};

	(void)state;
	reader__free(reader);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(names[i]);
	assert_int_equal(chdir("/"), 0);
	return rmdir(tree);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_of_lines), cmocka_unit_test(no_source),
		cmocka_unit_test(encodings),	 cmocka_unit_test(decoding_never_fails),
		cmocka_unit_test(eviction),	 cmocka_unit_test(too_large),
		cmocka_unit_test(many_names),	 cmocka_unit_test(two_targets),
	};

	(void)argv;
	if (argc > 1)
		return make_tree(NULL) || bench() || remove_tree(NULL);
	return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
