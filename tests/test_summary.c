// SPDX-License-Identifier: BSD-3-Clause
/*
 * What a summary says of a ledger, by the rows that reach its recorder.
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

#include "ledger/summary.h"

#define PAGE  INT64_C(4096)
#define BASE  UINT64_C(0x7f0000000000)
#define MS    UINT64_C(1000000)
#define START (1000 * MS)

static struct ledger *ledger;
static struct summary *summary;
static struct pikos_record_type type;
static struct pikos_recorder *list;
static uint64_t now;

static struct pikos_text names[] = {{"main", 4, PIKOS_TEXT_PLAIN | PIKOS_TEXT_ASCII},
				    {"work", 4, PIKOS_TEXT_PLAIN | PIKOS_TEXT_ASCII}};
static struct pikos_text file = {"x.py", 4, PIKOS_TEXT_PLAIN | PIKOS_TEXT_ASCII};
static struct symbol symbols[2] = {{.function = &names[0], .file = &file},
				   {.function = &names[1], .file = &file}};

/* work, at a line, called by main at line 10. */
static struct memory_event event(enum wire_memory_type kind, int line)
{
	static struct frame frames[2];

	frames[0] = (struct frame){&symbols[1], line, 20};
	frames[1] = (struct frame){&symbols[0], 10, 1};
	now += MS;
	return (struct memory_event){.type = kind,
				     .tid = 1,
				     .first_time = now - 1,
				     .time = now,
				     .frames = frames,
				     .n_frames = 2};
}

static void map(int line, int page, int n, int touched)
{
	struct memory_event e = event(WIRE_MMAP, line);

	e.address = BASE + page * PAGE;
	e.size = n * PAGE;
	ledger__take(ledger, &e);
	e = event(WIRE_ANON, line);
	e.address = BASE + page * PAGE;
	e.size = e.change = touched * PAGE;
	if (touched)
		ledger__take(ledger, &e);
}

static void unmap(int line, int page, int n, int touched)
{
	struct memory_event e = event(WIRE_ANON, line);

	e.change = -touched * PAGE;
	if (touched)
		ledger__take(ledger, &e);
	e = event(WIRE_MUNMAP, line);
	e.address = BASE + page * PAGE;
	e.size = n * PAGE;
	ledger__take(ledger, &e);
}

static struct summary_share write_summary(uint64_t rss, uint64_t vms, bool is_end)
{
	const struct summary_moment moment = {now, rss * PAGE, vms * PAGE, is_end};
	struct summary_share share;

	assert_int_equal(summary__write(summary, &moment, &share), 0);
	return share;
}

static const struct pikos_value *value(const struct pikos_record *record, const char *field)
{
	return &record->values[pikos_record_type__field(&type, field)];
}

static bool is(const struct pikos_record *record, const char *field, const char *wanted)
{
	const struct pikos_text *text = value(record, field)->s;

	return text->len == strlen(wanted) && !memcmp(text->data, wanted, text->len);
}

/* The n-th row from first of a section, a scope and a function; NULL: there is none. */
static const struct pikos_record *find(size_t first, const char *section, const char *scope,
				       const char *function, int line)
{
	for (size_t i = first; i < pikos_recorder__list_count(list); i++) {
		const struct pikos_record *record = pikos_recorder__list_get(list, i);

		if (is(record, "section", section) && is(record, "scope", scope) &&
		    is(record, "function", function) && value(record, "lineNo")->i == line)
			return record;
	}
	return NULL;
}

static void check(const struct pikos_record *record, int mapped, int unmapped, int faulted,
		  int resident)
{
	assert_non_null(record);
	assert_int_equal(value(record, "mapped")->i, mapped * PAGE);
	assert_int_equal(value(record, "unmapped")->i, unmapped * PAGE);
	assert_int_equal(value(record, "stillMapped")->i, (mapped - unmapped) * PAGE);
	assert_int_equal(value(record, "faulted")->i, faulted * PAGE);
	assert_int_equal(value(record, "resident")->i, resident * PAGE);
}

static int setup_with(uint32_t top, bool leaks)
{
	const struct memory_start start = {
		.attached = START, .read_from = START, .rss = {0, 20 * PAGE}, .vms = 30 * PAGE};
	const struct summary_config config = {.type = &type, .top = top, .leaks = leaks};
	struct summary_config whole = config;

	now = START;
	list = pikos_recorder__list();
	whole.recorder = list;
	assert_int_equal(pikos_record_type__init(&type, "memory_summary", NULL), 0);
	assert_int_equal(pikos_recorder__prepare(list, &type), 0);
	ledger = ledger__new(0);
	ledger__start(ledger, &start, false);
	ledger__start_range(ledger, BASE - 30 * PAGE, BASE);
	summary = summary__new(&whole, ledger, 77);
	assert_non_null(summary);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return setup_with(0, false);
}

static int teardown(void **state)
{
	(void)state;
	summary__free(summary);
	ledger__free(ledger);
	pikos_recorder__free(list);
	return 0;
}

static void tells_lines_functions_and_stacks(void **state)
{
	struct summary_share share;

	(void)state;
	map(21, 0, 10, 8);
	map(22, 20, 5, 5);
	unmap(25, 20, 5, 5);
	share = write_summary(28, 40, true);
	check(find(0, "line", "own", "work", 21), 10, 0, 8, 8);
	check(find(0, "line", "own", "work", 22), 5, 5, 5, 0);
	check(find(0, "line", "inclusive", "main", 10), 15, 5, 13, 8);
	check(find(0, "function", "own", "work", 20), 15, 5, 13, 8);
	check(find(0, "function", "inclusive", "main", 1), 15, 5, 13, 8);
	check(find(0, "stack", "own", "work", 21), 10, 0, 8, 8);
	assert_true(is(find(0, "stack", "own", "work", 21), "stack", "x.py:main:10;x.py:work:21"));
	assert_null(find(0, "line", "own", "main", 10));
	assert_null(find(0, "line", "own", "work", 25));
	check(find(0, "total", "", "<start>", -1), 30, 0, 20, 20);
	check(find(0, "total", "", "lines", -1), 15, 5, 13, 8);
	check(find(0, "total", "", "stack growth", -1), 0, 0, 0, 0);
	check(find(0, "total", "", "kernel", -1), 40, 0, 28, 28);
	check(find(0, "total", "", "growth", -1), 10, 0, 8, 8);
	check(find(0, "total", "", "explained", -1), 10, 0, 8, 8);
	assert_int_equal(share.growth, 8 * PAGE);
	assert_int_equal(share.explained, 8 * PAGE);
	assert_int_equal(value(pikos_recorder__list_get(list, 0), "fromMs")->i, 0);
	assert_int_equal(value(pikos_recorder__list_get(list, 0), "toMs")->i, 6);
	assert_int_equal(pikos_recorder__list_get(list, 0)->pid, 77);
}

static void says_what_is_not_explained(void **state)
{
	struct summary_share share;

	(void)state;
	map(21, 0, 10, 8);
	/* Two pages of the stack, and one that nobody told of. */
	share = write_summary(31, 42, true);
	check(find(0, "total", "", "stack growth", -1), 2, 0, 0, 0);
	assert_int_equal(share.growth, 11 * PAGE);
	assert_int_equal(share.explained, 8 * PAGE);
	/* What the start gives back hides no growth. */
	unmap(21, -30, 10, 6);
	share = write_summary(25, 32, true);
	assert_int_equal(share.growth, 11 * PAGE);
	assert_int_equal(share.explained, 8 * PAGE);
}

static void tells_what_has_grown_since(void **state)
{
	size_t first;

	(void)state;
	map(21, 0, 10, 8);
	write_summary(28, 40, false);
	check(find(0, "line", "own", "work", 21), 10, 0, 8, 8);
	first = pikos_recorder__list_count(list);
	map(22, 20, 3, 3);
	unmap(25, 0, 10, 8);
	write_summary(23, 33, false);
	check(find(first, "line", "own", "work", 21), 0, 10, 0, -8);
	check(find(first, "line", "own", "work", 22), 3, 0, 3, 3);
	check(find(first, "total", "", "<start>", -1), 0, 0, 0, 0);
	check(find(first, "total", "", "growth", -1), -7, 0, -5, -5);
	assert_int_equal(value(find(first, "total", "", "growth", -1), "fromMs")->i, 2);
	/* The line that grew comes first. */
	first = pikos_recorder__list_count(list);
	write_summary(23, 33, false);
	assert_null(find(first, "line", "own", "work", 21));
	/* All of it, whatever was told between. */
	write_summary(23, 33, true);
	check(find(first, "line", "own", "work", 21), 10, 10, 8, 0);
}

/* Events are taken in when they have come: those after the moment must not be in its books. */
static void tells_of_the_moment_that_was_marked(void **state)
{
	const struct summary_moment moment = {now + 10 * MS, 31 * PAGE, 43 * PAGE, false};
	struct memory_event last = event(WIRE_MADVISE, 23);
	struct summary_share share;
	size_t first;

	(void)state;
	map(21, 0, 10, 8);
	last.rss = 28 * PAGE;
	last.vms = 40 * PAGE;
	ledger__take(ledger, &last);
	ledger__mark(ledger, moment.time);
	now = moment.time;
	map(22, 20, 5, 5);
	assert_int_equal(summary__write(summary, &moment, &share), 0);
	assert_null(find(0, "line", "own", "work", 22));
	check(find(0, "total", "", "stack growth", -1), 0, 0, 0, 0);
	check(find(0, "total", "", "kernel", -1), 40, 0, 28, 28);
	assert_int_equal(share.explained, share.growth);
	first = pikos_recorder__list_count(list);
	ledger__mark(ledger, now);
	write_summary(33, 45, false);
	assert_null(find(first, "line", "own", "work", 21));
	check(find(first, "line", "own", "work", 22), 5, 0, 5, 5);
	check(find(first, "total", "", "stack growth", -1), 0, 0, 0, 0);
}

static void shows_the_top_sorted(void **state)
{
	static const int order[] = {25, 21};
	int n = 0;

	teardown(state);
	setup_with(2, false);
	map(21, 0, 10, 3);
	map(23, 20, 10, 1);
	map(25, 40, 10, 9);
	write_summary(33, 60, true);
	for (size_t i = 0; i < pikos_recorder__list_count(list); i++) {
		const struct pikos_record *record = pikos_recorder__list_get(list, i);

		if (is(record, "section", "line") && is(record, "scope", "own"))
			assert_int_equal(value(record, "lineNo")->i, order[n++]);
	}
	assert_int_equal(n, 2);
}

static void shows_only_leaks(void **state)
{
	teardown(state);
	setup_with(0, true);
	map(21, 0, 10, 3);
	map(22, 20, 10, 3);
	unmap(22, 20, 10, 3);
	map(23, 40, 10, 0);
	write_summary(23, 50, true);
	check(find(0, "line", "own", "work", 21), 10, 0, 3, 3);
	check(find(0, "line", "own", "work", 23), 10, 0, 0, 0);
	assert_null(find(0, "line", "own", "work", 22));
}

static void filters_its_rows(void **state)
{
	const struct summary_config config = {
		.type = &type, .recorder = list, .filters = pikos_filters__new()};

	(void)state;
	assert_int_equal(pikos_filters__add(config.filters, &type, "section=function"), 0);
	summary__free(summary);
	summary = summary__new(&config, ledger, 77);
	map(21, 0, 10, 3);
	write_summary(23, 40, true);
	assert_int_equal(pikos_recorder__list_count(list), 3); /* work: own, inclusive; main */
	pikos_filters__free(config.filters);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(tells_lines_functions_and_stacks),
		TEST(says_what_is_not_explained),
		TEST(tells_what_has_grown_since),
		TEST(tells_of_the_moment_that_was_marked),
		TEST(shows_the_top_sorted),
		TEST(shows_only_leaks),
		TEST(filters_its_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
