// SPDX-License-Identifier: BSD-3-Clause
#include "recorder_support.h"

#include <errno.h>

#include "monitor/record_type.h"

static struct pikos_record_type type;

static int setup(void **state)
{
	(void)state;
	return pikos_record_type__init(&type, "functions", NULL);
}

static struct pikos_filters *make(const char *first, const char *second)
{
	struct pikos_filters *filters = pikos_filters__new();

	assert_non_null(filters);
	assert_int_equal(pikos_filters__add(filters, &type, first), 0);
	if (second)
		assert_int_equal(pikos_filters__add(filters, &type, second), 0);
	return filters;
}

static bool keep(struct pikos_filters *filters, const char *kind, const char *function, int line)
{
	struct row row;
	bool kept;

	row_function(&row, &type, 0, kind, function, line, "f.py");
	kept = pikos_filters__keep(filters, &row.record);
	row_free(&row);
	return kept;
}

static void keeps_on_value(void **state)
{
	struct pikos_filters *filters = make("function=gcd,main", NULL);

	(void)state;
	assert_true(keep(filters, "call", "gcd", 1));
	assert_true(keep(filters, "call", "main", 1));
	assert_false(keep(filters, "call", "gc", 1));
	assert_false(keep(filters, "call", "gcd,main", 1));
	assert_false(keep(filters, "call", "mainx", 1));
	pikos_filters__free(filters);
}

static void keeps_on_number(void **state)
{
	struct pikos_filters *filters = make("lineNo=3,-1", NULL);

	(void)state;
	assert_true(keep(filters, "call", "gcd", 3));
	assert_true(keep(filters, "call", "gcd", -1));
	assert_false(keep(filters, "call", "gcd", 1));
	pikos_filters__free(filters);
}

static void drops_on_value(void **state)
{
	struct pikos_filters *filters = make("type!=return", NULL);

	(void)state;
	assert_true(keep(filters, "call", "gcd", 1));
	assert_false(keep(filters, "return", "gcd", 1));
	pikos_filters__free(filters);
}

static void keeps_on_change(void **state)
{
	struct pikos_filters *text = make("change(function)", NULL);
	struct pikos_filters *number = make("change(lineNo)", NULL);

	(void)state;
	assert_true(keep(text, "call", "a", 1));
	assert_false(keep(text, "return", "a", 2));
	assert_true(keep(text, "call", "", 1));
	assert_false(keep(text, "call", "", 1));
	assert_true(keep(text, "call", "a much longer name than any before", 1));
	assert_true(keep(text, "call", "a", 1));
	assert_true(keep(number, "call", "a", 0));
	assert_false(keep(number, "call", "b", 0));
	assert_true(keep(number, "call", "b", 1));
	pikos_filters__free(text);
	pikos_filters__free(number);
}

static void later_filters_see_what_is_kept(void **state)
{
	struct pikos_filters *filters = make("type=call", "change(function)");
	struct pikos_filters *other = make("change(function)", "type=call");

	(void)state;
	assert_true(keep(filters, "call", "a", 1));
	assert_false(keep(filters, "return", "b", 1)); /* change() does not see this one */
	assert_false(keep(filters, "call", "a", 1));
	assert_true(keep(other, "call", "a", 1));
	assert_false(keep(other, "return", "b", 1));
	assert_true(keep(other, "call", "a", 1));
	pikos_filters__free(filters);
	pikos_filters__free(other);
}

static void matches_escaped_bytes(void **state)
{
	struct pikos_filters *filters = make("function=\xff", NULL);

	(void)state;
	assert_true(keep(filters, "call", "\xff", 1));
	assert_false(keep(filters, "call", "\xfe", 1));
	pikos_filters__free(filters);
}

static void refuses_what_is_none(void **state)
{
	static const char *const bad[] = {"",
					  "function",
					  "=gcd",
					  "!=gcd",
					  "function=",
					  "lineNo=x",
					  "lineNo=1x",
					  "lineNo= 1",
					  "lineNo=1,",
					  "function=a,,b",
					  "change()",
					  "change(",
					  "lineNo=99999999999999999999"};
	static const char *const unknown[] = {"RSS=1", "change(line)", "func=a", "function =a"};
	struct pikos_filters *filters = pikos_filters__new();
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(pikos_filters__add(filters, &type, bad[i]), -EINVAL);
	for (i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		assert_int_equal(pikos_filters__add(filters, &type, unknown[i]), -ENOENT);
	assert_int_equal(pikos_filters__add(filters, &type, "change(function"), -EINVAL);
	assert_int_equal(pikos_filters__add_callback(filters, NULL, NULL), -EINVAL);
	assert_true(keep(filters, "call", "any", 1));
	pikos_filters__free(filters);
}

static bool count_and_drop(void *ctx, const struct pikos_record *record)
{
	assert_non_null(record->values);
	return ++*(int *)ctx != 2;
}

static void asks_callbacks(void **state)
{
	struct pikos_filters *filters = make("type=call", NULL);
	int asked = 0;

	(void)state;
	assert_int_equal(pikos_filters__add_callback(filters, count_and_drop, &asked), 0);
	assert_true(keep(filters, "call", "a", 1));
	assert_false(keep(filters, "return", "a", 1));
	assert_int_equal(asked, 1);
	assert_false(keep(filters, "call", "a", 1));
	assert_true(keep(filters, "call", "a", 1));
	pikos_filters__free(filters);
}

static void keeps_losses_unseen(void **state)
{
	struct pikos_filters *filters = make("change(function)", "type=call");
	const struct pikos_lost lost = {"buffer full", 3, 0};
	struct pikos_value values[PIKOS_MAX_FIELDS];
	struct pikos_text reason;
	struct pikos_record record = {.type = &type, .values = values, .lost = &lost};

	(void)state;
	pikos_lost_row(&type, 1, &lost, 0, 0, &reason, values);
	assert_true(keep(filters, "call", "a", 1));
	assert_true(pikos_filters__keep(filters, &record));
	assert_false(keep(filters, "call", "a", 1)); /* no change since the record before */
	pikos_filters__free(filters);
	assert_true(pikos_filters__keep(NULL, &record));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_on_value),
		cmocka_unit_test(keeps_on_number),
		cmocka_unit_test(drops_on_value),
		cmocka_unit_test(keeps_on_change),
		cmocka_unit_test(later_filters_see_what_is_kept),
		cmocka_unit_test(matches_escaped_bytes),
		cmocka_unit_test(refuses_what_is_none),
		cmocka_unit_test(asks_callbacks),
		cmocka_unit_test(keeps_losses_unseen),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
