// SPDX-License-Identifier: BSD-3-Clause
/*
 * The man page, the completions, README and --help name the same options, choices and monitors:
 * each is written by hand, the tables of options.h are what is true. Run from the top folder.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/options.h"

#define MAN  "scripts/pikos-trace.1"
#define BASH "scripts/completions/pikos-trace.bash"
#define ZSH  "scripts/completions/_pikos-trace"

static char *read_file(const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = calloc(1, 1 << 20);

	if (!file)
		fail_msg("cannot open '%s' (run from the top folder)", path);
	assert_non_null(text);
	assert_in_range(fread(text, 1, (1 << 20) - 1, file), 1, (1 << 20) - 2);
	fclose(file);
	return text;
}

static const struct option_info *find(const struct option_info *info, const char *name, size_t len)
{
	for (; info->name; info++)
		if (strlen(info->name) == len && !strncmp(info->name, name, len))
			return info;
	return NULL;
}

static size_t count(const struct option_info *info)
{
	size_t n = 0;

	while (info[n].name)
		n++;
	return n;
}

/* ".It Fl p , Fl -pid Ar PID": the letter, the name and the choices are those of the table. */
static const struct option_info *check_item(char *row)
{
	const struct option_info *info = NULL;
	char *save = NULL, *word, *choices = NULL;
	char name[64], form[128] = "";
	bool argument = false;
	int letter = 0;

	for (word = strtok_r(row, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		argument |= !strcmp(word, "Ar") || !strcmp(word, "Brq");
		if (!strcmp(word, "Brq")) {
			choices = strtok_r(NULL, " ", &save);
		} else if (!strcmp(word, "Fl")) {
			word = strtok_r(NULL, " ", &save);
			assert_non_null(word);
			snprintf(name, sizeof(name), "%s", word);
			if (name[0] != '-')
				letter = name[0];
			else
				info = find(options__trace_table, name + 1, strlen(name + 1));
		}
	}
	if (!info)
		fail_msg("the man page has '-%s', which is no option", name);
	if (letter != info->letter)
		fail_msg("--%s: its letter is %d, in the man page %d", info->name, info->letter,
			 letter);
	if (argument != !!info->arg)
		fail_msg("--%s: only one side has a value", info->name);
	if (choices)
		snprintf(form, sizeof(form), "{%s}", choices);
	if (info->choices && strcmp(form, info->arg) != 0)
		fail_msg("--%s: expected '%s', the man page has '%s'", info->name, info->arg, form);
	return info;
}

static void test_man_options(void **state)
{
	char *text = read_file(MAN), *save = NULL, *row;
	uint64_t seen = 0, all = (UINT64_C(1) << count(options__trace_table)) - 1;

	(void)state;
	for (row = strtok_r(text, "\n", &save); row; row = strtok_r(NULL, "\n", &save)) {
		uint64_t bit;

		if (strncmp(row, ".It Fl ", 7) != 0)
			continue;
		bit = UINT64_C(1) << (check_item(row) - options__trace_table);
		assert_false(seen & bit); /* twice */
		seen |= bit;
	}
	for (size_t i = 0; i < count(options__trace_table); i++)
		if (!(seen >> i & 1))
			fail_msg("--%s is not in the man page", options__trace_table[i].name);
	assert_true(seen == all);
	free(text);
}

/* Each `.It Cm NAME` is a monitor, and each monitor stands in both lists: words and columns. */
static void test_man_monitors(void **state)
{
	size_t monitors = 0, items = 0;
	char *text = read_file(MAN);

	(void)state;
	for (const struct monitor_info *m = options__monitors; m->name; m++) {
		char item[64];
		size_t n = 0;

		monitors++;
		snprintf(item, sizeof(item), "\n.It Cm %s\n", m->name);
		for (char *at = text; (at = strstr(at, item)); at++)
			n++;
		if (n != 2)
			fail_msg("%s: expected in 2 lists of the man page, is in %zu", m->name, n);
	}
	for (char *at = text; (at = strstr(at, "\n.It Cm ")); at++)
		items++;
	assert_int_equal(items, 2 * monitors);
	free(text);
}

/* The columns in the man page are those that are written. */
static void test_man_columns(void **state)
{
	char *text = read_file(MAN);

	(void)state;
	for (const struct monitor_info *m = options__monitors; m->name; m++) {
		struct pikos_record_type type;
		char expected[256];
		size_t len;

		assert_int_equal(pikos_record_type__init(&type, m->name, NULL), 0);
		len = snprintf(expected, sizeof(expected), "\n.It Cm %s\n", m->name);
		for (int f = 0; f < type.n_fields; f++)
			len += snprintf(expected + len, sizeof(expected) - len, "%s%s",
					f ? "," : "", type.fields[f].name);
		snprintf(expected + len, sizeof(expected) - len, "\n");
		if (!strstr(text, expected))
			fail_msg("%s: the man page does not have%s", m->name, expected);
	}
	free(text);
}

static void check_example(char *command)
{
	struct options *options = options__new();
	char *argv[32], *save = NULL, *word, *to = command;
	int argc = 0;

	for (char *from = command; *from; from++)
		if (*from != '\'')
			*to++ = *from;
	*to = '\0';
	for (word = strtok_r(command, " ", &save); word; word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	argv[argc] = NULL;
	assert_non_null(options);
	if (options__parse(options, argc, argv))
		fail_msg("an example of the man page: %s", options->error);
	options__free(options);
}

static void test_man_examples(void **state)
{
	char *text = read_file(MAN), *save = NULL, *row;
	int n = 0;

	(void)state;
	for (row = strtok_r(text, "\n", &save); row; row = strtok_r(NULL, "\n", &save)) {
		if (strncmp(row, ".Dl pikos-", 10) != 0)
			continue;
		check_example(row + 4);
		n++;
	}
	assert_in_range(n, 5, 20);
	free(text);
}

/* Every `--name` between from and to is an option of the table, and every option is there. */
static void check_names(const char *what, const char *from, const char *to,
			const struct option_info *table)
{
	const struct option_info *info;
	uint64_t seen = 0;

	while ((from = memmem(from, to - from, "--", 2))) {
		size_t len = strspn(from += 2, "abcdefghijklmnopqrstuvwxyz-");

		if (!len)
			continue;
		info = find(table, from, len);
		if (!info)
			fail_msg("%s has '--%.*s', which is no option", what, (int)len, from);
		seen |= UINT64_C(1) << (info - table);
		from += len;
	}
	for (info = table; info->name; info++)
		if (!(seen >> (info - table) & 1))
			fail_msg("%s lacks '--%s'", what, info->name);
}

/* The choices of an option with choices stand in the text as "a b c". */
static void check_choices(const char *what, const char *text, const struct option_info *info)
{
	char words[128];

	for (; info->name; info++) {
		size_t len = 0;

		if (!info->choices)
			continue;
		for (int i = 0; info->choices[i]; i++)
			len += snprintf(words + len, sizeof(words) - len, "%s%s", i ? " " : "",
					info->choices[i]);
		if (!strstr(text, words))
			fail_msg("%s lacks '%s' of --%s", what, words, info->name);
	}
}

static void check_completion(const char *path, const char *trace, const char *trace_end,
			     const char *run, const char *run_end)
{
	char *text = read_file(path), *from, *to;

	from = strstr(text, trace);
	assert_non_null(from);
	to = strstr(from, trace_end);
	assert_non_null(to);
	check_names(path, from, to, options__trace_table);
	from = strstr(text, run);
	assert_non_null(from);
	to = strstr(from, run_end);
	assert_non_null(to);
	check_names(path, from, to, options__run_table);
	check_choices(path, text, options__trace_table);
	check_choices(path, text, options__run_table);
	for (const struct monitor_info *m = options__monitors; m->name; m++)
		if (!strstr(text, m->name))
			fail_msg("%s lacks the monitor %s", path, m->name);
	free(text);
}

static void test_bash_completion(void **state)
{
	(void)state;
	check_completion(BASH, "_pikos_reply -W \"-- --pid", "\"\n", "_pikos_reply -W \"--help",
			 "\"\n");
}

static void test_zsh_completion(void **state)
{
	(void)state;
	check_completion(ZSH, "'*'{-p", "_normal", "_arguments", "return");
}

/* README speaks of no option that does not exist; "--zmq-..." is a family. */
static void test_readme(void **state)
{
	static const char foreign[] = "with-dtrace"; /* of CPython's configure */
	char *text = read_file("README.md");
	int n = 0;

	(void)state;
	for (char *at = text; (at = strstr(at, "--"));) {
		size_t len = strspn(at += 2, "abcdefghijklmnopqrstuvwxyz-");

		if (len && at[len - 1] != '-' && at[-3] != '-' &&
		    strncmp(at, foreign, sizeof(foreign) - 1) != 0) {
			if (!find(options__trace_table, at, len))
				fail_msg("README.md has '--%.*s', which is no option", (int)len,
					 at);
			n++;
		}
		at += len;
	}
	assert_in_range(n, 30, 200);
	for (const struct monitor_info *m = options__monitors; m->name; m++)
		assert_non_null(strstr(text, m->name));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_man_options),	cmocka_unit_test(test_man_monitors),
		cmocka_unit_test(test_man_columns),	cmocka_unit_test(test_man_examples),
		cmocka_unit_test(test_bash_completion), cmocka_unit_test(test_zsh_completion),
		cmocka_unit_test(test_readme),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
