// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ledger/stacks.h"

static struct pikos_text texts[1000];
static char names[1000][16];

static const struct pikos_text *text(int n)
{
	int len = snprintf(names[n], sizeof(names[n]), "name%d", n);

	texts[n] = (struct pikos_text){names[n], len, PIKOS_TEXT_PLAIN | PIKOS_TEXT_ASCII};
	return &texts[n];
}

static struct stack_line line(int function, int number)
{
	return (struct stack_line){text(function), text(999), number, 1};
}

/* A stack from outside in: pairs of function and line, up to a negative one. */
static uint32_t find(struct stacks *stacks, const int *pairs)
{
	struct stack_line lines[128];
	int n = 0;

	while (pairs[2 * n] >= 0)
		n++;
	for (int i = 0; i < n; i++)
		lines[n - 1 - i] = line(pairs[2 * i], pairs[2 * i + 1]);
	return stacks__find(stacks, lines, n);
}

#define FIND(stacks, ...) find(stacks, (const int[]){__VA_ARGS__, -1})

static const struct stack_sum *sum_at(struct stacks *stacks, struct stack_sum *sums, int64_t n,
				      uint32_t node, enum stacks_by by)
{
	struct stack_line wanted, got;

	stacks__line(stacks, node, &wanted);
	for (int64_t i = 0; i < n; i++) {
		stacks__line(stacks, sums[i].node, &got);
		if (by == STACKS_BY_STACK
			    ? sums[i].node == node
			    : got.function == wanted.function &&
				      (by == STACKS_BY_FUNCTION || got.line == wanted.line))
			return &sums[i];
	}
	fail();
	return NULL;
}

static int64_t own(struct stacks *stacks, uint32_t node, enum stacks_by by)
{
	struct stack_sum *sums;
	int64_t n = stacks__sum(stacks, by, NULL, NULL, &sums);
	int64_t mapped = sum_at(stacks, sums, n, node, by)->own.mapped;

	free(sums);
	return mapped;
}

static int64_t inclusive(struct stacks *stacks, uint32_t node, enum stacks_by by)
{
	struct stack_sum *sums;
	int64_t n = stacks__sum(stacks, by, NULL, NULL, &sums);
	int64_t mapped = sum_at(stacks, sums, n, node, by)->inclusive.mapped;

	free(sums);
	return mapped;
}

static void keeps_each_stack_once(void **state)
{
	struct stacks *stacks = stacks__new(0, 0);
	uint32_t a = FIND(stacks, 1, 10, 2, 20), b = FIND(stacks, 1, 11, 2, 20);
	struct stack_line got;

	(void)state;
	assert_int_not_equal(a, b);
	assert_int_equal(a, FIND(stacks, 1, 10, 2, 20));
	assert_int_equal(stacks__count(stacks), STACKS_N_SPECIAL + 4);
	assert_int_equal(stacks__caller(stacks, a), FIND(stacks, 1, 10));
	assert_int_equal(stacks__caller(stacks, FIND(stacks, 1, 10)), STACKS_NATIVE);
	assert_int_equal(stacks__find(stacks, NULL, 0), STACKS_NATIVE);
	stacks__line(stacks, a, &got);
	assert_int_equal(got.line, 20);
	assert_memory_equal(got.function->data, "name2", 5);
	stacks__line(stacks, STACKS_NATIVE, &got);
	assert_memory_equal(got.function->data, "<native>", 8);
	stacks__free(stacks);
}

static void sums_up_own_and_inclusive(void **state)
{
	struct stacks *stacks = stacks__new(0, 0);
	/* main:10 -> work:20; main:11 -> work:20; main:11 -> work:21; and no Python at all */
	uint32_t a = FIND(stacks, 1, 10, 2, 20), b = FIND(stacks, 1, 11, 2, 20);
	uint32_t c = FIND(stacks, 1, 11, 2, 21), main_11 = FIND(stacks, 1, 11);

	(void)state;
	stacks__bytes(stacks, a)->mapped = 1;
	stacks__bytes(stacks, b)->mapped = 20;
	stacks__bytes(stacks, c)->mapped = 300;
	stacks__bytes(stacks, main_11)->mapped = 4000;
	stacks__bytes(stacks, STACKS_NATIVE)->mapped = 50000;
	assert_int_equal(own(stacks, a, STACKS_BY_LINE), 21);
	assert_int_equal(inclusive(stacks, a, STACKS_BY_LINE), 21);
	assert_int_equal(own(stacks, main_11, STACKS_BY_LINE), 4000);
	assert_int_equal(inclusive(stacks, main_11, STACKS_BY_LINE), 4320);
	assert_int_equal(own(stacks, a, STACKS_BY_FUNCTION), 321);
	assert_int_equal(own(stacks, main_11, STACKS_BY_FUNCTION), 4000);
	assert_int_equal(inclusive(stacks, main_11, STACKS_BY_FUNCTION), 4321);
	assert_int_equal(own(stacks, b, STACKS_BY_STACK), 20);
	assert_int_equal(inclusive(stacks, main_11, STACKS_BY_STACK), 4320);
	assert_int_equal(inclusive(stacks, STACKS_NATIVE, STACKS_BY_STACK), 50000);
	stacks__free(stacks);
}

static void counts_a_recursion_once(void **state)
{
	struct stacks *stacks = stacks__new(0, 0);
	/* f:1 -> f:1 -> g:5 -> f:2 */
	uint32_t inner = FIND(stacks, 1, 1, 1, 1, 2, 5, 1, 2), outer = FIND(stacks, 1, 1);

	(void)state;
	stacks__bytes(stacks, inner)->mapped = 7;
	stacks__bytes(stacks, outer)->mapped = 100;
	assert_int_equal(inclusive(stacks, outer, STACKS_BY_LINE), 107);
	assert_int_equal(inclusive(stacks, inner, STACKS_BY_LINE), 7);
	assert_int_equal(inclusive(stacks, outer, STACKS_BY_FUNCTION), 107);
	assert_int_equal(own(stacks, outer, STACKS_BY_FUNCTION), 107);
	stacks__free(stacks);
}

static void sums_up_since_a_moment(void **state)
{
	struct stacks *stacks = stacks__new(0, 0);
	uint32_t a = FIND(stacks, 1, 1), b;
	struct stacks_moment since, until;
	struct stack_sum *sums;
	int64_t n;

	(void)state;
	*stacks__bytes(stacks, a) = (struct stack_bytes){10, 2, 8, 1};
	assert_int_equal(stacks__save(stacks, &since), 0);
	b = FIND(stacks, 1, 1, 2, 2);
	*stacks__bytes(stacks, a) = (struct stack_bytes){15, 12, 8, 5};
	stacks__bytes(stacks, b)->mapped = 3;
	n = stacks__sum(stacks, STACKS_BY_LINE, &since, NULL, &sums);
	assert_int_equal(sum_at(stacks, sums, n, a, STACKS_BY_LINE)->own.mapped, 5);
	assert_int_equal(sum_at(stacks, sums, n, a, STACKS_BY_LINE)->own.unmapped, 10);
	assert_int_equal(sum_at(stacks, sums, n, a, STACKS_BY_LINE)->own.released, 4);
	assert_int_equal(sum_at(stacks, sums, n, a, STACKS_BY_LINE)->inclusive.mapped, 8);
	free(sums);
	/* And what had been until a moment. */
	assert_int_equal(stacks__save(stacks, &until), 0);
	stacks__bytes(stacks, a)->mapped = 1000;
	FIND(stacks, 3, 3);
	n = stacks__sum(stacks, STACKS_BY_LINE, &since, &until, &sums);
	assert_int_equal(sum_at(stacks, sums, n, a, STACKS_BY_LINE)->own.mapped, 5);
	free(sums);
	free(until.bytes);
	free(since.bytes);
	stacks__free(stacks);
}

/* A hostile program makes stacks without end: the innermost line is still right, then nothing. */
static void has_bounds(void **state)
{
	struct stacks *stacks = stacks__new(100, 3000);
	uint32_t node = 0, other;
	struct stack_line got;

	(void)state;
	for (int i = 0; i < 1000; i++)
		node = FIND(stacks, 1, i, 2, i % 10);
	assert_true(stacks__cut(stacks) > 900);
	assert_true(stacks__count(stacks) <= 100);
	stacks__line(stacks, node, &got);
	assert_int_equal(got.line, 9);
	assert_int_equal(stacks__caller(stacks, node), STACKS_OTHER);
	for (int i = 0; i < 900; i++)
		other = FIND(stacks, i, 5);
	assert_int_equal(other, STACKS_OTHER);
	assert_true(stacks__count(stacks) <= 100);
	stacks__free(stacks);
}

static void finds_many(void **state)
{
	struct stacks *stacks = stacks__new(0, 0);
	static uint32_t nodes[100000];

	(void)state;
	for (int i = 0; i < 100000; i++)
		nodes[i] = FIND(stacks, i % 7, i % 1000, 8, i);
	for (int i = 0; i < 100000; i++)
		assert_int_equal(nodes[i], FIND(stacks, i % 7, i % 1000, 8, i));
	assert_int_equal(stacks__cut(stacks), 0);
	stacks__free(stacks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_each_stack_once),
		cmocka_unit_test(sums_up_own_and_inclusive),
		cmocka_unit_test(counts_a_recursion_once),
		cmocka_unit_test(sums_up_since_a_moment),
		cmocka_unit_test(has_bounds),
		cmocka_unit_test(finds_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
