// SPDX-License-Identifier: BSD-3-Clause
#include "recorder_support.h"

#include <errno.h>

#include "monitor/record_type.h"

/* The CSV header of a type. */
static const char *names(const struct pikos_record_type *type)
{
	static char out[256];
	int i;

	out[0] = 0;
	for (i = 0; i < type->n_fields; i++) {
		strcat(out, i ? "," : "");
		strcat(out, type->fields[i].name);
	}
	return out;
}

/* The cells in Python's notation. */
static const char *format(const struct pikos_record_type *type, bool header)
{
	static char out[256];
	const struct pikos_cell *cell;
	char *p = out;
	int i;

	for (i = 0; i < type->n_fields; i++) {
		cell = header ? &type->fields[i].header : &type->fields[i].line;
		if (cell->width)
			p += sprintf(p, "{:%c%d}%s", cell->align, cell->width, cell->after);
		else
			p += sprintf(p, "{}%s", cell->after);
	}
	return out;
}

static const struct {
	const char *monitor, *fields, *header, *line;
} contract[] = {
	{"functions", "index,type,function,lineNo,filename", "{:<8} {:<11} {:<30} {:<5} {}",
	 "{:<8} {:<11} {:<30} {:<5} {}"},
	{"lines", "index,function,lineNo,line,filename", "{:<12} {:<50} {:<7} {} -- {}",
	 "{:<12} {:<50} {:<7} {} -- {}"},
	{"function_memory", "index,type,function,RSS,VMS,lineNo,filename",
	 "{:<8} | {:<11} | {:<12} | {:<15} | {:<15} | {:>6} | {}",
	 "{:>8} | {:<11} | {:<12} | {:>15} | {:>15} | {:>6} | {}"},
	{"line_memory", "index,function,lineNo,RSS,VMS,line,filename",
	 "{:^12} | {:^30} | {:^7} | {:^15} | {:^15} | {} {}",
	 "{:<12} | {:<30} | {:<7} | {:>15} | {:>15} | {} {}"},
	{"memory", "index,type,function,lineNo,address,size,RSS,VMS,line,filename",
	 "{:<8} | {:<8} | {:<30} | {:<7} | {:<18} | {:<15} | {:<15} | {:<15} | {} {}",
	 "{:>8} | {:<8} | {:<30} | {:>7} | {:<18} | {:>15} | {:>15} | {:>15} | {} {}"},
};

static void holds_the_contract(void **state)
{
	struct pikos_record_type type;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(contract) / sizeof(contract[0]); i++) {
		assert_int_equal(pikos_record_type__init(&type, contract[i].monitor, NULL), 0);
		assert_string_equal(type.monitor, contract[i].monitor);
		assert_string_equal(names(&type), contract[i].fields);
		assert_string_equal(format(&type, true), contract[i].header);
		assert_string_equal(format(&type, false), contract[i].line);
		assert_int_equal(type.functions, strncmp(type.monitor, "function", 8) == 0);
		assert_int_equal(type.memory, strstr(type.monitor, "memory") != NULL);
	}
	assert_int_equal(pikos_record_type__init(&type, "memories", NULL), -ENOENT);
	assert_int_equal(pikos_record_type__init(&type, "", NULL), -ENOENT);
}

static void tells_kinds(void **state)
{
	(void)state;
	assert_int_equal(monitor__kind("functions"), MONITOR_FUNCTIONS);
	assert_int_equal(monitor__kind("function_memory"), MONITOR_FUNCTIONS);
	assert_int_equal(monitor__kind("lines"), MONITOR_LINES);
	assert_int_equal(monitor__kind("line_memory"), MONITOR_LINES);
	assert_int_equal(monitor__kind("memory"), MONITOR_MEMORY);
	assert_int_equal(monitor__kind("memory_summary"), MONITOR_MEMORY);
	assert_int_equal(monitor__kind("allocations"), MONITOR_ALLOCATIONS);
	assert_int_equal(monitor__kind("memories"), MONITOR_NONE);
	assert_int_equal(monitor__kind(""), MONITOR_NONE);
}

static void appends_columns(void **state)
{
	struct pikos_record_type type;

	(void)state;
	assert_int_equal(pikos_record_type__init(&type, "memory", "+pid,+tid,+time"), 0);
	assert_int_equal(pikos_record_type__append(&type, "stack"), 0);
	assert_int_equal(pikos_record_type__append(&type, "native"), 0);
	assert_string_equal(names(&type), "pid,tid,time,index,type,function,lineNo,address,size,"
					  "RSS,VMS,line,filename,stack,native");
	assert_non_null(strstr(format(&type, false), "{} {} | {} | {}"));
	assert_int_equal(pikos_record_type__append(&type, "stack"), -EINVAL);
	assert_int_equal(pikos_record_type__append(&type, "RSS"), -EINVAL);
	assert_int_equal(pikos_record_type__append(&type, "stac"), -EINVAL);
	assert_int_equal(pikos_record_type__append(&type, ""), -EINVAL);
	assert_int_equal(pikos_record_type__init(&type, "lines", NULL), 0);
	assert_int_equal(pikos_record_type__append(&type, "stack"), -EINVAL);
}

static void adds_leading_columns(void **state)
{
	struct pikos_record_type type;

	(void)state;
	assert_int_equal(pikos_record_type__init(&type, "lines", "+time,+pid,+tid"), 0);
	assert_int_equal(type.n_extra, 3);
	assert_string_equal(names(&type), "time,pid,tid,index,function,lineNo,line,filename");
	assert_string_equal(format(&type, false),
			    "{:<20} {:<8} {:<8} {:<12} {:<50} {:<7} {} -- {}");
	assert_int_equal(pikos_record_type__init(&type, "lines", ""), 0);
	assert_int_equal(type.n_extra, 0);
}

static void refuses_other_columns(void **state)
{
	static const char *const bad[] = {"pid",       "+index",    "+pi", "+pid,", ",+pid",
					  "+pid,+pid", "+pid +tid", "+",   "+pidx"};
	struct pikos_record_type type;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(pikos_record_type__init(&type, "lines", bad[i]), -EINVAL);
}

static void finds_fields(void **state)
{
	struct pikos_record_type type;

	(void)state;
	assert_int_equal(pikos_record_type__init(&type, "functions", "+pid"), 0);
	assert_int_equal(pikos_record_type__field(&type, "pid"), 0);
	assert_int_equal(pikos_record_type__field(&type, "lineNo"), 4);
	assert_int_equal(pikos_record_type__field(&type, "line"), -1);
	assert_int_equal(pikos_record_type__field(&type, "RSS"), -1);
}

/* The row of a loss, as CSV would write it. */
static const char *lost_row(const char *monitor, const char *fields, uint32_t pid, uint32_t tid)
{
	const struct pikos_lost lost = {"buffer full", 12, 987};
	struct pikos_value values[PIKOS_MAX_FIELDS];
	struct pikos_record_type type;
	struct pikos_text reason;
	static char out[256];
	char *p = out;
	int i;

	assert_int_equal(pikos_record_type__init(&type, monitor, fields), 0);
	pikos_lost_row(&type, 7, &lost, pid, tid, &reason, values);
	for (i = 0; i < type.n_fields; i++) {
		p += sprintf(p, "%s", i ? "," : "");
		if (values[i].kind == PIKOS_INT)
			p += sprintf(p, "%ld", (long)values[i].i);
		else if (values[i].kind == PIKOS_TEXT)
			p += sprintf(p, "%.*s", (int)values[i].s->len, values[i].s->data);
	}
	return out;
}

static void fills_rows_of_losses(void **state)
{
	(void)state;
	assert_string_equal(lost_row("functions", NULL, 1, 2), "7,lost,buffer full,12,");
	assert_string_equal(lost_row("lines", NULL, 1, 2), "7,<lost>,12,buffer full,");
	assert_string_equal(lost_row("function_memory", NULL, 1, 2), "7,lost,buffer full,,,12,");
	assert_string_equal(lost_row("line_memory", NULL, 1, 2), "7,<lost>,12,,,buffer full,");
	assert_string_equal(lost_row("memory", NULL, 1, 2), "7,lost,buffer full,12,,,,,,");
	assert_string_equal(lost_row("lines", "+pid,+tid,+time", 1, 2),
			    "1,2,987,7,<lost>,12,buffer full,");
	assert_string_equal(lost_row("lines", "+pid,+tid,+time", 1, 0),
			    "1,,987,7,<lost>,12,buffer full,");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holds_the_contract),	 cmocka_unit_test(adds_leading_columns),
		cmocka_unit_test(refuses_other_columns), cmocka_unit_test(finds_fields),
		cmocka_unit_test(fills_rows_of_losses),	 cmocka_unit_test(appends_columns),
		cmocka_unit_test(tells_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
