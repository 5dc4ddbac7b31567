// SPDX-License-Identifier: BSD-3-Clause
/*
 * Intervals against an array with an entry per page, over random operations.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ledger/intervals.h"

#define PAGE  4096
#define PAGES 256
#define NONE  UINT32_MAX

static uint32_t owners[PAGES]; /* the model */
static uint32_t seen[PAGES];
static uint64_t last_end;

static void reset_model(void)
{
	memset(owners, 0xff, sizeof(owners));
}

static int see(void *ctx, const struct interval *piece)
{
	uint64_t *bytes = ctx;

	assert_true(piece->start < piece->end);
	assert_true(piece->start >= last_end);
	assert_int_equal(piece->bytes, piece->end - piece->start);
	last_end = piece->end;
	*bytes += piece->bytes;
	for (uint64_t page = piece->start / PAGE; page < piece->end / PAGE; page++)
		seen[page] = piece->who;
	return 0;
}

static int see_gap(void *ctx, const struct interval *gap)
{
	uint64_t *bytes = ctx;

	assert_true(gap->start < gap->end);
	for (uint64_t page = gap->start / PAGE; page < gap->end / PAGE; page++)
		assert_int_equal(owners[page], NONE);
	*bytes += gap->end - gap->start;
	return 0;
}

/* What the map says of [first, end) is what the model does. */
static void compare(const struct intervals *map, uint32_t first, uint32_t end)
{
	uint64_t bytes = 0, gaps = 0;

	memset(seen, 0xff, sizeof(seen));
	last_end = 0;
	assert_int_equal(intervals__each(map, first * PAGE, end * PAGE, see, &bytes), 0);
	for (uint32_t page = 0; page < PAGES; page++)
		assert_int_equal(seen[page], page >= first && page < end ? owners[page] : NONE);
	assert_int_equal(intervals__gaps(map, first * PAGE, end * PAGE, see_gap, &gaps), 0);
	assert_int_equal(bytes + gaps, (uint64_t)(end - first) * PAGE);
}

/* Neighbours of one owner are one interval. */
static uint32_t runs(void)
{
	uint32_t n = 0;

	for (uint32_t page = 0; page < PAGES; page++)
		n += owners[page] != NONE && (!page || owners[page - 1] != owners[page]);
	return n;
}

static void is_like_the_model(void **state)
{
	struct intervals *map = intervals__new(1000);

	(void)state;
	reset_model();
	srand(7);
	for (int step = 0; step < 20000; step++) {
		uint32_t first = rand() % PAGES, end = first + 1 + rand() % (PAGES - first);
		uint32_t who = rand() % 3;
		uint64_t bytes = 0;

		if (rand() % 4)
			end = first + 1 + rand() % 8 < PAGES ? first + 1 + rand() % 8 : first + 1;
		if (end > PAGES)
			end = PAGES;
		compare(map, first, end);
		memset(seen, 0xff, sizeof(seen));
		last_end = 0;
		assert_int_equal(intervals__cut(map, first * PAGE, end * PAGE, see, &bytes), 0);
		for (uint32_t page = first; page < end; page++) {
			assert_int_equal(seen[page], owners[page]);
			owners[page] = NONE;
		}
		if (rand() % 2) {
			const struct interval new = {first * PAGE, end * PAGE, (end - first) * PAGE,
						     who};

			assert_int_equal(intervals__put(map, &new), 0);
			assert_int_equal(intervals__put(map, &new), -EEXIST);
			for (uint32_t page = first; page < end; page++)
				owners[page] = who;
		}
		compare(map, 0, PAGES);
		assert_in_range(intervals__count(map), runs(), PAGES);
	}
	intervals__free(map);
}

static int add(void *ctx, const struct interval *piece)
{
	assert_int_equal(piece->bytes % PAGE, 0);
	assert_in_range(piece->bytes, 0, piece->end - piece->start);
	*(uint64_t *)ctx += piece->bytes;
	return 0;
}

static void splits_bytes_by_length(void **state)
{
	const struct interval sparse = {0, 1000 * PAGE, 700 * PAGE, 1};
	struct intervals *map = intervals__new(10);
	uint64_t bytes = 0;

	(void)state;
	assert_int_equal(intervals__put(map, &sparse), 0);
	intervals__each(map, 0, 500 * PAGE, add, &bytes);
	assert_int_equal(bytes, 350 * PAGE);
	bytes = 0;
	intervals__cut(map, 100 * PAGE, 200 * PAGE, add, &bytes);
	assert_int_equal(bytes, 70 * PAGE);
	/* No byte is lost by rounding. */
	for (int i = 0; i < 1000; i += 7)
		intervals__cut(map, i * PAGE, (i + 3) * PAGE, add, &bytes);
	intervals__cut(map, 0, 1000 * PAGE, add, &bytes);
	assert_int_equal(bytes, 700 * PAGE);
	assert_int_equal(intervals__count(map), 0);
	intervals__free(map);
}

static void joins_only_what_is_full(void **state)
{
	struct intervals *map = intervals__new(10);

	(void)state;
	intervals__put(map, &(struct interval){0, PAGE, PAGE, 1});
	intervals__put(map, &(struct interval){2 * PAGE, 3 * PAGE, PAGE, 1});
	assert_int_equal(intervals__count(map), 2);
	intervals__put(map, &(struct interval){PAGE, 2 * PAGE, PAGE, 1});
	assert_int_equal(intervals__count(map), 1);
	intervals__put(map, &(struct interval){3 * PAGE, 4 * PAGE, PAGE - 1, 1});
	assert_int_equal(intervals__count(map), 2);
	intervals__put(map, &(struct interval){4 * PAGE, 5 * PAGE, PAGE, 2});
	assert_int_equal(intervals__count(map), 3);
	intervals__free(map);
}

static void holds_no_more_than_max(void **state)
{
	struct intervals *map = intervals__new(2);

	(void)state;
	assert_int_equal(intervals__put(map, &(struct interval){0, PAGE, PAGE, 1}), 0);
	assert_int_equal(
		intervals__put(map, &(struct interval){10 * PAGE, 20 * PAGE, 10 * PAGE, 1}), 0);
	assert_int_equal(intervals__put(map, &(struct interval){5 * PAGE, 6 * PAGE, PAGE, 1}),
			 -ENOSPC);
	/* A neighbour takes no room, a hole does. */
	assert_int_equal(intervals__put(map, &(struct interval){PAGE, 2 * PAGE, PAGE, 1}), 0);
	assert_int_equal(intervals__cut(map, 12 * PAGE, 13 * PAGE, NULL, NULL), -ENOSPC);
	assert_int_equal(intervals__cut(map, 19 * PAGE, 20 * PAGE, NULL, NULL), 0);
	assert_int_equal(intervals__count(map), 2);
	intervals__free(map);
}

static int stop(void *ctx, const struct interval *piece)
{
	(void)piece;
	return ++*(int *)ctx == 2 ? -EINTR : 0;
}

static void takes_a_million(void **state)
{
	enum { N = 1000000 };
	struct intervals *map = intervals__new(2 * N);
	uint64_t bytes = 0;
	int visits = 0;

	(void)state;
	/* In order, every second one, and the others from the end: the worst for a plain tree. */
	for (uint64_t i = 0; i < N; i += 2)
		assert_int_equal(
			intervals__put(map, &(struct interval){i * PAGE, (i + 1) * PAGE, PAGE, i}),
			0);
	for (uint64_t i = N - 1; i < N; i -= 2)
		assert_int_equal(
			intervals__put(map, &(struct interval){i * PAGE, (i + 1) * PAGE, PAGE, i}),
			0);
	assert_int_equal(intervals__count(map), N);
	for (uint64_t i = 0; i < N; i += 100)
		intervals__cut(map, i * PAGE, (i + 10) * PAGE, add, &bytes);
	assert_int_equal(bytes, (uint64_t)N / 10 * PAGE);
	assert_int_equal(intervals__each(map, 0, UINT64_MAX, stop, &visits), -EINTR);
	assert_int_equal(visits, 2);
	/* A visitor that ends its visits does not keep the rest in. */
	visits = 0;
	assert_int_equal(intervals__cut(map, 0, UINT64_MAX, stop, &visits), -EINTR);
	assert_int_equal(intervals__count(map), 0);
	intervals__free(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_like_the_model),	   cmocka_unit_test(splits_bytes_by_length),
		cmocka_unit_test(joins_only_what_is_full), cmocka_unit_test(holds_no_more_than_max),
		cmocka_unit_test(takes_a_million),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
