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

static struct pikos_recorder *prepared(void)
{
	struct pikos_recorder *list = pikos_recorder__list();

	assert_non_null(list);
	assert_int_equal(pikos_recorder__prepare(list, &type), 0);
	return list;
}

static void keeps_copies(void **state)
{
	struct pikos_recorder *list = prepared();
	const struct pikos_record *got;
	char name[16];
	struct row row;
	int i;

	(void)state;
	for (i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		row_function(&row, &type, i, "call", name, i + 1, "");
		row.record.pid = 42;
		row.record.time = 1000 + i;
		assert_int_equal(pikos_recorder__record(list, &row.record), 0);
		row_free(&row); /* what was borrowed is gone; the sanitizers watch */
	}
	assert_int_equal(pikos_recorder__list_count(list), 1000);
	for (i = 0; i < 1000; i++) {
		got = pikos_recorder__list_get(list, i);
		snprintf(name, sizeof(name), "f%d", i);
		assert_non_null(got);
		assert_int_equal(got->values[0].i, i);
		assert_int_equal(got->values[2].s->len, strlen(name));
		assert_memory_equal(got->values[2].s->data, name, strlen(name));
		assert_int_equal(got->values[4].s->len, 0);
		assert_int_equal(got->pid, 42);
		assert_int_equal(got->time, 1000 + i);
		assert_true(got->is_call);
		assert_null(got->lost);
		assert_int_equal(got->type->n_fields, 5);
		assert_ptr_not_equal(got->type, &type);
	}
	assert_null(pikos_recorder__list_get(list, 1000));
	finish(list);
}

static void keeps_losses(void **state)
{
	struct pikos_recorder *list = prepared();
	struct pikos_value values[PIKOS_MAX_FIELDS];
	const struct pikos_record *got;
	char words[] = "buffer full";
	const struct pikos_lost lost = {words, 12, 99};
	struct pikos_text reason;
	struct pikos_record record = {.type = &type, .values = values, .lost = &lost};

	(void)state;
	pikos_lost_row(&type, 3, &lost, 0, 0, &reason, values);
	assert_int_equal(pikos_recorder__record(list, &record), 0);
	memset(words, 'x', sizeof(words) - 1);
	got = pikos_recorder__list_get(list, 0);
	assert_non_null(got->lost);
	assert_string_equal(got->lost->reason, "buffer full");
	assert_int_equal(got->lost->count, 12);
	assert_int_equal(got->values[4].kind, PIKOS_EMPTY);
	assert_memory_equal(got->values[2].s->data, "buffer full", 11);
	finish(list);
}

static void keeps_records_after_finalize(void **state)
{
	struct pikos_recorder *list = prepared();
	struct pikos_summary summary = {0};
	struct row row;

	(void)state;
	row_function(&row, &type, 0, "call", "f", 1, "f.py");
	assert_int_equal(pikos_recorder__record(list, &row.record), 0);
	assert_int_equal(pikos_recorder__finalize(list, &summary), 0);
	assert_int_equal(pikos_recorder__record(list, &row.record), -EBADFD);
	assert_int_equal(pikos_recorder__list_count(list), 1);
	assert_string_equal(pikos_recorder__error(list), "");
	row_free(&row);
	pikos_recorder__free(list);
}

struct own {
	int prepared, recorded, freed;
};

static int own_prepare(void *ctx, const struct pikos_record_type *t)
{
	((struct own *)ctx)->prepared++;
	return t->n_fields == 5 ? 0 : -EINVAL;
}

static int own_record(void *ctx, const struct pikos_record *record)
{
	((struct own *)ctx)->recorded++;
	return record->values[0].i == 1 ? -EIO : 0;
}

static void own_free(void *ctx)
{
	((struct own *)ctx)->freed++;
}

/* A caller's recorder may have any subset of the functions, and is not taken for a list. */
static void calls_a_recorder_of_the_callers(void **state)
{
	const struct pikos_recorder_ops ops = {
		.prepare = own_prepare, .record = own_record, .free = own_free};
	const struct pikos_recorder_ops none = {0};
	struct own own = {0};
	struct pikos_recorder *rec = pikos_recorder__new(&ops, &own);
	struct row row;

	(void)state;
	row_function(&row, &type, 0, "call", "f", 1, "f.py");
	assert_int_equal(pikos_recorder__prepare(rec, &type), 0);
	assert_int_equal(pikos_recorder__record(rec, &row.record), 0);
	row.values[0].i = 1;
	assert_int_equal(pikos_recorder__record(rec, &row.record), -EIO);
	assert_int_equal(pikos_recorder__flush(rec), 0);
	assert_int_equal(pikos_recorder__list_count(rec), 0);
	assert_null(pikos_recorder__list_get(rec, 0));
	assert_null(pikos_recorder__zmq_endpoint(rec));
	finish(rec);
	assert_int_equal(own.prepared, 1);
	assert_int_equal(own.recorded, 2);
	assert_int_equal(own.freed, 1);
	rec = pikos_recorder__new(&none, NULL);
	assert_int_equal(pikos_recorder__prepare(rec, &type), 0);
	assert_int_equal(pikos_recorder__record(rec, &row.record), 0);
	finish(rec);
	assert_null(pikos_recorder__new(NULL, NULL));
	row_free(&row);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_copies),
		cmocka_unit_test(keeps_losses),
		cmocka_unit_test(keeps_records_after_finalize),
		cmocka_unit_test(calls_a_recorder_of_the_callers),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
