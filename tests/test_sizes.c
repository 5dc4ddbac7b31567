// SPDX-License-Identifier: BSD-3-Clause
/* What is remembered of blocks, against a plain list of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "monitor/sizes.h"

#define N 5000

static void forgets_what_is_taken(void **state)
{
	struct sizes *sizes = sizes__new();

	(void)state;
	assert_int_equal(sizes__take(sizes, 16), 0);
	sizes__put(sizes, 16, 100);
	sizes__put(sizes, 16, 200); /* the first is no more */
	sizes__put(sizes, 0, 7);    /* there was no memory */
	assert_int_equal(sizes__take(sizes, 0), 0);
	assert_int_equal(sizes__take(sizes, 16), 200);
	assert_int_equal(sizes__take(sizes, 16), 0);
	sizes__put(sizes, 32, 1);
	sizes__clear(sizes);
	assert_int_equal(sizes__take(sizes, 32), 0);
	sizes__put(sizes, 32, UINT64_MAX);
	assert_true(sizes__take(sizes, 32) == UINT64_MAX);
	sizes__free(sizes);
	sizes__free(NULL);
	sizes__clear(NULL);
	sizes__put(NULL, 1, 1);
	assert_int_equal(sizes__take(NULL, 1), 0);
}

/* Blocks come and go in disorder: whoever is found is right, however the table has moved. */
static void agrees_with_a_list(void **state)
{
	static uint64_t known[N];
	struct sizes *sizes = sizes__new();
	unsigned int seed = 1;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		uint64_t n = rand_r(&seed) % N, address = 0x7f0000000000 + 48 * n;

		if (rand_r(&seed) % 2) {
			known[n] = 1 + i;
			sizes__put(sizes, address, known[n]);
		} else {
			assert_int_equal(sizes__take(sizes, address), known[n]);
			known[n] = 0;
		}
	}
	for (int n = 0; n < N; n++)
		assert_int_equal(sizes__take(sizes, 0x7f0000000000 + 48 * n), known[n]);
	sizes__free(sizes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forgets_what_is_taken),
		cmocka_unit_test(agrees_with_a_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
