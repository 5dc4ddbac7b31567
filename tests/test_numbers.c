// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/numbers.h"

#define UNTOUCHED UINT64_C(0xdeadbeef)

static uint64_t good(const char *text, enum number_unit unit)
{
	uint64_t value = UNTOUCHED;
	int err = number__parse(text, unit, 0, UINT64_MAX, &value);

	if (err)
		fail_msg("'%s': expected a number, got error %d", text, err);
	return value;
}

static void bad(const char *text, enum number_unit unit, int expected)
{
	uint64_t value = UNTOUCHED;
	int err = number__parse(text, unit, 0, UINT64_MAX, &value);

	if (err != expected)
		fail_msg("'%s': expected %d, got %d", text, expected, err);
	assert_true(value == UNTOUCHED);
}

static void test_counts(void **state)
{
	(void)state;
	assert_true(good("0", NUMBER_COUNT) == 0);
	assert_true(good("1000", NUMBER_COUNT) == 1000);
	assert_true(good("010", NUMBER_COUNT) == 10); /* not octal */
	assert_true(good("18446744073709551615", NUMBER_COUNT) == UINT64_MAX);
	bad("18446744073709551616", NUMBER_COUNT, -ERANGE);
	bad("99999999999999999999999999999", NUMBER_COUNT, -ERANGE);
	bad("1K", NUMBER_COUNT, -EINVAL);
	bad("1.0", NUMBER_COUNT, -EINVAL);
	bad("1e3", NUMBER_COUNT, -EINVAL);
	bad("0x10", NUMBER_COUNT, -EINVAL);
}

static void test_nothing_around_the_number(void **state)
{
	static const char *const texts[] = {
		"",    " 1", "1 ",	  "+1",	      "-1",  "- 1", "\t1",
		"1\n", "1,", "1\xc2\xa0", "\xd9\xa1", "one", "1s1", "1ss",
		"1.",  ".5", "1..5",	  "1.5.5",    "1.s", "nan", "inf",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		bad(texts[i], NUMBER_COUNT, -EINVAL);
		bad(texts[i], NUMBER_SIZE, -EINVAL);
		bad(texts[i], NUMBER_TIME, -EINVAL);
	}
}

static void test_sizes(void **state)
{
	(void)state;
	assert_true(good("4096", NUMBER_SIZE) == 4096);
	assert_true(good("64K", NUMBER_SIZE) == 65536);
	assert_true(good("64k", NUMBER_SIZE) == 65536);
	assert_true(good("8M", NUMBER_SIZE) == 8388608);
	assert_true(good("1G", NUMBER_SIZE) == 1073741824);
	assert_true(good("17179869183G", NUMBER_SIZE) == 17179869183u * (UINT64_C(1) << 30));
	bad("17179869184G", NUMBER_SIZE, -ERANGE); /* 2^64 */
	bad("18446744073709551615K", NUMBER_SIZE, -ERANGE);
	bad("1.5M", NUMBER_SIZE, -EINVAL);
	bad("1T", NUMBER_SIZE, -EINVAL);
	bad("1KB", NUMBER_SIZE, -EINVAL);
	bad("1s", NUMBER_SIZE, -EINVAL);
	bad("K", NUMBER_SIZE, -EINVAL);
}

static void test_times(void **state)
{
	(void)state;
	assert_true(good("2", NUMBER_TIME) == 2000000000);
	assert_true(good("10s", NUMBER_TIME) == 10000000000);
	assert_true(good("500ms", NUMBER_TIME) == 500000000);
	assert_true(good("1500ms", NUMBER_TIME) == 1500000000);
	assert_true(good("5m", NUMBER_TIME) == 300000000000);
	assert_true(good("2h", NUMBER_TIME) == 7200000000000);
	assert_true(good("1.5s", NUMBER_TIME) == 1500000000);
	assert_true(good("1.5", NUMBER_TIME) == 1500000000);
	assert_true(good("0.1s", NUMBER_TIME) == 100000000);
	assert_true(good("1.25ms", NUMBER_TIME) == 1250000);
	assert_true(good("0.5m", NUMBER_TIME) == 30000000000);
	assert_true(good("1.75h", NUMBER_TIME) == 6300000000000);
	assert_true(good("1.123456789s", NUMBER_TIME) == 1123456789);
	assert_true(good("1.1234567899999999999999s", NUMBER_TIME) == 1123456789);
	assert_true(good("18446744073.709551615s", NUMBER_TIME) == UINT64_MAX);
	bad("18446744073.709551616s", NUMBER_TIME, -ERANGE);
	bad("18446744074s", NUMBER_TIME, -ERANGE);
	bad("6000000000h", NUMBER_TIME, -ERANGE);
	bad("1M", NUMBER_TIME, -EINVAL);
	bad("1S", NUMBER_TIME, -EINVAL);
	bad("1us", NUMBER_TIME, -EINVAL);
	bad("1 s", NUMBER_TIME, -EINVAL);
}

static void test_range(void **state)
{
	uint64_t value = UNTOUCHED;

	(void)state;
	assert_int_equal(number__parse("9", NUMBER_COUNT, 10, 20, &value), -ERANGE);
	assert_int_equal(number__parse("21", NUMBER_COUNT, 10, 20, &value), -ERANGE);
	assert_true(value == UNTOUCHED);
	assert_int_equal(number__parse("10", NUMBER_COUNT, 10, 20, &value), 0);
	assert_true(value == 10);
	assert_int_equal(number__parse("20", NUMBER_COUNT, 10, 20, &value), 0);
	assert_true(value == 20);
	/* What is not a number is told before what is too big. */
	assert_int_equal(number__parse("99999999999999999999x", NUMBER_COUNT, 0, 1, &value),
			 -EINVAL);
}

static void test_forms_are_examples(void **state)
{
	static const enum number_unit units[] = {NUMBER_SIZE, NUMBER_TIME};

	(void)state;
	assert_string_equal(number__form(NUMBER_COUNT), "a whole number");
	for (size_t i = 0; i < 2; i++) {
		char form[128], *word, *save;
		int n = 0;

		strcpy(form, strchr(number__form(units[i]), '(') + 1);
		form[strcspn(form, ";)")] = '\0';
		for (word = strtok_r(form, ", ", &save); word; word = strtok_r(NULL, ", ", &save)) {
			good(word, units[i]);
			n++;
		}
		assert_in_range(n, 4, 5);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts), cmocka_unit_test(test_nothing_around_the_number),
		cmocka_unit_test(test_sizes),  cmocka_unit_test(test_times),
		cmocka_unit_test(test_range),  cmocka_unit_test(test_forms_are_examples),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
