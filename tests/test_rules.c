// SPDX-License-Identifier: BSD-3-Clause
/*
 * Rules against focus__match: what the kernel would decide by them is what the focus says. The hash
 * is the test's own, so no kernel is needed.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "session/rules.h"

static char tree[64];
static struct identity *identity;
static struct focus_context context;
static struct focus_error error;
static struct rules rules;

/* In place of kernel.c's: another hash, so that nothing here depends on it. */
uint64_t kernel__hash(const struct kernel *kernel, const char *text, size_t len)
{
	uint64_t hash = 0xcbf29ce484222325;

	assert_null(kernel);
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3;
	return hash;
}

static void put(const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", tree, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	fclose(file);
}

static int make_tree(void **state)
{
	char *argv[] = {"python3", NULL};

	(void)state;
	strcpy(tree, "/tmp/pikos-rules-XXXXXX");
	assert_non_null(mkdtemp(tree));
	put("a.py", "def gcd(a, b):\n    return a\n\nclass C:\n    def run(self):\n"
		    "        return 1\n\nclass D:\n    def run(self):\n        return 2\n");
	put("b.py", "def gcd(a, b):\n    return b\n");
	identity = identity__of_self(argv);
	assert_non_null(identity);
	context = (struct focus_context){
		.identity = identity,
		.reader = reader__new(identity, NULL),
	};
	assert_non_null(context.reader);
	return 0;
}

static int remove_tree(void **state)
{
	char path[128];

	(void)state;
	reader__free(context.reader);
	identity__free(identity);
	for (const char *name = "ab"; *name; name++) {
		snprintf(path, sizeof(path), "%s/%c.py", tree, *name);
		unlink(path);
	}
	return rmdir(tree);
}

static int forget(void **state)
{
	(void)state;
	rules__free(&rules);
	memset(&rules, 0, sizeof(rules));
	return 0;
}

static int add(const char *specs)
{
	memset(&error, 0, sizeof(error));
	return rules__add(&rules, NULL, specs, &context, &error);
}

/* ------------------------------------------------------------------ the kernel's decision */

static bool file_matches(const struct wire_rule *rule, const char *file)
{
	size_t len = strlen(file);

	for (uint32_t i = 0; i < rule->n_files; i++) {
		uint32_t wanted = rule->files[i].len;

		if (rule->files[i].hash == kernel__hash(NULL, file, len))
			return true;
		if (rule->files[i].is_suffix && len > wanted && file[len - wanted - 1] == '/' &&
		    rule->files[i].hash == kernel__hash(NULL, file + len - wanted, wanted))
			return true;
	}
	return !rule->n_files;
}

static bool line_matches(const struct wire_rule *rule, int line)
{
	for (uint32_t i = 0; i < rule->n_ranges; i++)
		if (rule->ranges[i].first <= line && line <= rule->ranges[i].last)
			return true;
	return !rule->n_ranges;
}

static bool match(const char *function, const char *file, int line)
{
	for (int i = 0; i < rules.n; i++)
		if (rules.rules[i].name_hash == kernel__hash(NULL, function, strlen(function)) &&
		    file_matches(&rules.rules[i], file) && line_matches(&rules.rules[i], line))
			return true;
	return false;
}

static void compare(const char *specs)
{
	static const char *const functions[] = {"gcd", "run", "<module>", "gc", "gcdd", ""};
	char files[5][128] = {"", "a.py", "/elsewhere/a.py"};
	struct focus *focus;

	forget(NULL);
	snprintf(files[3], sizeof(files[3]), "%s/a.py", tree);
	snprintf(files[4], sizeof(files[4]), "%s/b.py", tree);
	assert_int_equal(add(specs), 0);
	assert_int_equal(focus__resolve(specs, &context, &focus, &error), 0);
	for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++)
		for (size_t j = 0; j < 5; j++)
			for (int line = -1; line < 12; line++)
				if (match(functions[i], files[j], line) !=
				    focus__match(focus, functions[i], files[j], line))
					fail_msg("'%s': %s %s:%d", specs, functions[i], files[j],
						 line);
	focus__free(focus);
}

static void test_same_as_the_focus(void **state)
{
	char specs[256];

	(void)state;
	compare("gcd");
	compare("gcd,run");
	snprintf(specs, sizeof(specs), "%s/a.py:run", tree);
	compare(specs);
	snprintf(specs, sizeof(specs), "%s/a.py:C.run", tree);
	compare(specs);
	snprintf(specs, sizeof(specs), "%s/a.py:10", tree);
	compare(specs);
	snprintf(specs, sizeof(specs), "%s/b.py:gcd,%s/a.py:D.run", tree, tree);
	compare(specs);
	snprintf(specs, sizeof(specs), "%s/b.py:<module>", tree);
	compare(specs);
}

/* ------------------------------------------------------------------ several targets */

static void test_the_same_twice(void **state)
{
	(void)state;
	assert_int_equal(add("gcd,run"), 0);
	assert_int_equal(rules.n, 2);
	assert_int_equal(add("gcd,run"), 0); /* for another process */
	assert_int_equal(rules.n, 2);
	assert_int_equal(add("lcm"), 0);
	assert_int_equal(rules.n, 3);
	assert_true(match("gcd", "", 1) && match("run", "", 1) && match("lcm", "", 1));
}

static void names(char *specs, int first, int n)
{
	*specs = '\0';
	for (int i = first; i < first + n; i++)
		sprintf(specs + strlen(specs), "%sf%d", i > first ? "," : "", i);
}

static void test_too_many(void **state)
{
	char specs[1024];

	(void)state;
	names(specs, 0, WIRE_MAX_RULES);
	assert_int_equal(add(specs), 0);
	assert_int_equal(rules.n, WIRE_MAX_RULES);
	assert_int_equal(add(specs), 0); /* they are there */
	names(specs, WIRE_MAX_RULES, 1);
	assert_int_equal(add(specs), -E2BIG);
	assert_string_equal(error.text, "cannot focus on 'f32': more than 32 definitions, 24 files "
					"or 8 places of one");
	assert_int_equal(rules.n, WIRE_MAX_RULES);
	forget(NULL);
	names(specs, 0, WIRE_MAX_RULES + 1);
	assert_int_equal(add(specs), -E2BIG);
}

static void test_nothing_there(void **state)
{
	char specs[256];

	(void)state;
	snprintf(specs, sizeof(specs), "%s/a.py:nothing", tree);
	assert_int_equal(add(specs), -ENOENT);
	assert_true(*error.text);
	assert_int_equal(rules.n, 0);
	rules__free(&rules);
	assert_int_equal(add("gcd"), 0); /* may be used again */
	rules__free(&rules);
	assert_int_equal(rules.n, 0);
	assert_int_equal(add("run"), 0);
	assert_true(match("run", "", 1) && !match("gcd", "", 1));
}

#define TEST(name) cmocka_unit_test_teardown(name, forget)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_same_as_the_focus),
		TEST(test_the_same_twice),
		TEST(test_too_many),
		TEST(test_nothing_there),
	};

	return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
