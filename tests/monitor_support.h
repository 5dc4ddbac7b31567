/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * monitor_support.h - what the tests of the monitor share: one monitor that records into a list,
 * and what came of it.
 */
#ifndef PIKOS_TESTS_MONITOR_SUPPORT_H
#define PIKOS_TESTS_MONITOR_SUPPORT_H

#include "recorder_support.h"

#include "monitor/monitor.h"

static struct pikos_record_type type;
static struct pikos_recorder *recorder;
static struct pikos_filters *filters; /* made before the monitor, or NULL */
static struct symbols *symbols;
static struct monitor *monitor;

/* @param config what is special @param to the recorder of the records, owned; stop() frees all */
static inline void start_monitor(struct monitor_config config, struct pikos_recorder *to)
{
	config.type = &type;
	config.recorder = recorder = to;
	config.symbols = symbols = symbols__new();
	config.filters = filters;
	assert_int_equal(pikos_recorder__prepare(recorder, &type), 0);
	monitor = monitor__new(&config);
	assert_non_null(monitor);
}

static inline int stop(void **state)
{
	(void)state;
	monitor__free(monitor);
	symbols__free(symbols);
	pikos_filters__free(filters);
	pikos_recorder__free(recorder);
	monitor = NULL;
	symbols = NULL;
	filters = NULL;
	recorder = NULL;
	return 0;
}

/* A cell of the list. */
static inline const struct pikos_value *cell(size_t row, const char *field)
{
	int column = pikos_record_type__field(&type, field);

	assert_true(column >= 0);
	assert_true(row < pikos_recorder__list_count(recorder));
	return &pikos_recorder__list_get(recorder, row)->values[column];
}

static inline void assert_int(size_t row, const char *field, int64_t expected)
{
	assert_int_equal(cell(row, field)->kind, PIKOS_INT);
	assert_int_equal(cell(row, field)->i, expected);
}

static inline void assert_text(size_t row, const char *field, const char *expected)
{
	const struct pikos_value *value = cell(row, field);

	assert_int_equal(value->kind, PIKOS_TEXT);
	assert_int_equal(value->s->len, strlen(expected));
	assert_memory_equal(value->s->data, expected, strlen(expected));
}

static inline uint64_t lost_for(const char *reason)
{
	struct monitor_totals totals;

	monitor__totals(monitor, &totals);
	for (int i = 0; i < totals.n_losses; i++)
		if (!strcmp(totals.losses[i].reason, reason))
			return totals.losses[i].count;
	return 0;
}

#endif /* PIKOS_TESTS_MONITOR_SUPPORT_H */
