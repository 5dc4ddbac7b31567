// SPDX-License-Identifier: BSD-3-Clause
/*
 * The one table of record types. Formats are in Python's mini-language, the notation of the
 * documentation, and are read once per run: a new monitor is one more row.
 */
#include "monitor/record_type.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "monitor/text.h"

static const struct {
	const char *monitor;
	enum monitor_kind kind;
	const char *fields;
	const char *header;
	const char *line;
	bool functions, memory;
	const char *more; /* fields that may be appended */
	bool comments;
} types[] = {
	{"functions", MONITOR_FUNCTIONS, "index,type,function,lineNo,filename",
	 "{:<8} {:<11} {:<30} {:<5} {}", "{:<8} {:<11} {:<30} {:<5} {}", true, false, "", false},
	{"lines", MONITOR_LINES, "index,function,lineNo,line,filename",
	 "{:<12} {:<50} {:<7} {} -- {}", "{:<12} {:<50} {:<7} {} -- {}", false, false, "", false},
	{"function_memory", MONITOR_FUNCTIONS, "index,type,function,RSS,VMS,lineNo,filename",
	 "{:<8} | {:<11} | {:<12} | {:<15} | {:<15} | {:>6} | {}",
	 "{:>8} | {:<11} | {:<12} | {:>15} | {:>15} | {:>6} | {}", true, true, "", false},
	{"line_memory", MONITOR_LINES, "index,function,lineNo,RSS,VMS,line,filename",
	 "{:^12} | {:^30} | {:^7} | {:^15} | {:^15} | {} {}",
	 "{:<12} | {:<30} | {:<7} | {:>15} | {:>15} | {} {}", false, true, "", false},
	{"memory", MONITOR_MEMORY, "index,type,function,lineNo,address,size,RSS,VMS,line,filename",
	 "{:<8} | {:<8} | {:<30} | {:<7} | {:<18} | {:<15} | {:<15} | {:<15} | {} {}",
	 "{:>8} | {:<8} | {:<30} | {:>7} | {:<18} | {:>15} | {:>15} | {:>15} | {} {}", false, true,
	 "stack,native", false},
	{"memory_summary", MONITOR_MEMORY,
	 "fromMs,toMs,section,scope,function,lineNo,mapped,unmapped,stillMapped,faulted,resident,"
	 "filename,stack",
	 "{:>9} {:>9} {:<8} {:<9} {:<24} {:>6} {:>15} {:>15} {:>15} {:>15} {:>15} {} {}",
	 "{:>9} {:>9} {:<8} {:<9} {:<24} {:>6} {:>15} {:>15} {:>15} {:>15} {:>15} {} {}", false,
	 false, "", false},
	{"allocations", MONITOR_ALLOCATIONS,
	 "time,value1,value2,event,name,mod,lineno,from_name,from_mod,from_line,pid,tid,depth",
	 "{:<16} {:<15} {:<12} {:<5} {:<30} {:<40} {:<6} {:<30} {:<40} {:<9} {:<8} {:<8} {}",
	 "{:<16} {:<15} {:<12} {:<5} {:<30} {:<40} {:<6} {:<30} {:<40} {:<9} {:<8} {:<8} {}", false,
	 false, "", true},
};

/* Every field that some record type has, and those that can be added in front or behind. */
static const struct {
	const char *name;
	uint32_t kind;
	const char *extra; /* format of an extra column in front */
} fields[] = {
	{"index", PIKOS_INT, NULL},	 {"type", PIKOS_TEXT, NULL},
	{"function", PIKOS_TEXT, NULL},	 {"lineNo", PIKOS_INT, NULL},
	{"line", PIKOS_TEXT, NULL},	 {"filename", PIKOS_TEXT, NULL},
	{"RSS", PIKOS_INT, NULL},	 {"VMS", PIKOS_INT, NULL},
	{"pid", PIKOS_INT, "{:<8} "},	 {"tid", PIKOS_INT, "{:<8} "},
	{"time", PIKOS_INT, "{:<20} "},	 {"fromMs", PIKOS_INT, NULL},
	{"toMs", PIKOS_INT, NULL},	 {"section", PIKOS_TEXT, NULL},
	{"scope", PIKOS_TEXT, NULL},	 {"mapped", PIKOS_INT, NULL},
	{"unmapped", PIKOS_INT, NULL},	 {"stillMapped", PIKOS_INT, NULL},
	{"faulted", PIKOS_INT, NULL},	 {"resident", PIKOS_INT, NULL},
	{"stack", PIKOS_TEXT, NULL},	 {"address", PIKOS_TEXT, NULL},
	{"size", PIKOS_INT, NULL},	 {"native", PIKOS_TEXT, NULL},
	{"value1", PIKOS_INT, NULL},	 {"value2", PIKOS_INT, NULL},
	{"event", PIKOS_INT, NULL},	 {"name", PIKOS_TEXT, NULL},
	{"mod", PIKOS_TEXT, NULL},	 {"lineno", PIKOS_INT, NULL},
	{"from_name", PIKOS_TEXT, NULL}, {"from_mod", PIKOS_TEXT, NULL},
	{"from_line", PIKOS_INT, NULL},	 {"depth", PIKOS_INT, NULL},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct pikos_text lost_type = {"lost", 4, PIKOS_TEXT_PLAIN | PIKOS_TEXT_ASCII};
static const struct pikos_text lost_function = {"<lost>", 6, PIKOS_TEXT_PLAIN | PIKOS_TEXT_ASCII};

/* Read one cell, "{:<8} | " up to the next '{'; returns what follows it. */
static const char *parse_cell(const char *format, struct pikos_cell *cell)
{
	size_t n = 0;

	*cell = (struct pikos_cell){.align = '<'};
	format++; /* '{' */
	if (*format == ':') {
		cell->align = format[1];
		cell->width = strtoul(format + 2, (char **)&format, 10);
	}
	format++; /* '}' */
	for (; *format && *format != '{'; format++)
		if (n < sizeof(cell->after) - 1)
			cell->after[n++] = *format;
	return format;
}

/* The entry of a name of len bytes in fields[], or -1. */
static int find_field(const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < COUNT(fields); i++)
		if (!strncmp(fields[i].name, name, len) && !fields[i].name[len])
			return (int)i;
	return -1;
}

static struct pikos_field *append(struct pikos_record_type *type, int known)
{
	struct pikos_field *field = &type->fields[type->n_fields++];

	field->name = fields[known].name;
	field->kind = fields[known].kind;
	return field;
}

/* Whether a list of fields has that one. */
static bool has_field(const char *list, const char *name)
{
	for (; *list; list += strcspn(list, ","), list += *list == ',')
		if (strcspn(list, ",") == strlen(name) && !strncmp(list, name, strlen(name)))
			return true;
	return false;
}

/* @param own the monitor's: a column that it has is not there twice */
static int add_extra(struct pikos_record_type *type, const char *list, const char *own)
{
	struct pikos_field *field;
	size_t len;
	int known;

	while (list && *list) {
		len = strcspn(list, ",");
		known = *list == '+' ? find_field(list + 1, len - 1) : -1;
		if (known < 0 || !fields[known].extra)
			return -EINVAL;
		if (pikos_record_type__field(type, fields[known].name) >= 0)
			return -EINVAL; /* twice */
		if (!has_field(own, fields[known].name)) {
			field = append(type, known);
			parse_cell(fields[known].extra, &field->header);
			parse_cell(fields[known].extra, &field->line);
		}
		list += len;
		if (*list == ',' && !*++list)
			return -EINVAL; /* nothing after the comma */
	}
	type->n_extra = type->n_fields;
	return 0;
}

static int64_t ns_of(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The middle of the two readings that are nearest to each other. */
static int64_t epoch_offset(void)
{
	int64_t offset = 0, best = INT64_MAX;

	for (int i = 0; i < 5; i++) {
		int64_t before = ns_of(CLOCK_MONOTONIC), epoch = ns_of(CLOCK_REALTIME);
		int64_t after = ns_of(CLOCK_MONOTONIC);

		if (after - before < best) {
			best = after - before;
			offset = epoch - (before + (after - before) / 2);
		}
	}
	return offset;
}

static size_t find_type(const char *monitor)
{
	size_t i = 0;

	while (i < COUNT(types) && strcmp(types[i].monitor, monitor))
		i++;
	return i;
}

enum monitor_kind monitor__kind(const char *monitor)
{
	size_t i = find_type(monitor);

	return i < COUNT(types) ? types[i].kind : MONITOR_NONE;
}

int pikos_record_type__init(struct pikos_record_type *type, const char *monitor, const char *extra)
{
	const char *name, *header, *line;
	struct pikos_field *field;
	size_t i = find_type(monitor), len;
	int err;

	if (i == COUNT(types))
		return -ENOENT;
	memset(type, 0, sizeof(*type));
	type->monitor = types[i].monitor;
	type->functions = types[i].functions;
	type->memory = types[i].memory;
	type->comments = types[i].comments;
	if (type->comments)
		type->epoch_ns = epoch_offset();
	err = add_extra(type, extra, types[i].fields);
	if (err)
		return err;
	header = types[i].header;
	line = types[i].line;
	for (name = types[i].fields; *name; name += len + (name[len] == ',')) {
		len = strcspn(name, ",");
		field = append(type, find_field(name, len));
		header = parse_cell(header, &field->header);
		line = parse_cell(line, &field->line);
	}
	return 0;
}

int pikos_record_type__append(struct pikos_record_type *type, const char *name)
{
	const char *more = types[find_type(type->monitor)].more;
	size_t len = strlen(name);
	struct pikos_field *field;

	for (; *more; more += strcspn(more, ",") + (more[strcspn(more, ",")] == ',')) {
		if (strcspn(more, ",") != len || strncmp(more, name, len))
			continue;
		if (pikos_record_type__field(type, name) >= 0)
			return -EINVAL;
		strcpy(type->fields[type->n_fields - 1].header.after, " | ");
		strcpy(type->fields[type->n_fields - 1].line.after, " | ");
		field = append(type, find_field(name, len));
		parse_cell("{}", &field->header);
		parse_cell("{}", &field->line);
		return 0;
	}
	return -EINVAL;
}

int pikos_record_type__field(const struct pikos_record_type *type, const char *name)
{
	int i;

	for (i = 0; i < type->n_fields; i++)
		if (!strcmp(type->fields[i].name, name))
			return i;
	return -1;
}

static struct pikos_value integer(uint64_t n)
{
	return (struct pikos_value){.kind = PIKOS_INT, .i = n > INT64_MAX ? INT64_MAX : (int64_t)n};
}

static struct pikos_value text(const struct pikos_text *s)
{
	return (struct pikos_value){.kind = PIKOS_TEXT, .s = s};
}

static void set(const struct pikos_record_type *type, struct pikos_value values[], const char *name,
		struct pikos_value value)
{
	int i = pikos_record_type__field(type, name);

	if (i >= 0)
		values[i] = value;
}

/* A row as the others are: event 0, which none has, and integers where integers are. */
static void lost_in_table(const struct pikos_record_type *type, const struct pikos_lost *lost,
			  const struct pikos_text *reason, struct pikos_value values[])
{
	static const struct pikos_text none = {"", 0, PIKOS_TEXT_PLAIN | PIKOS_TEXT_ASCII};

	for (int i = 0; i < type->n_fields; i++)
		if (values[i].kind == PIKOS_EMPTY)
			values[i] = type->fields[i].kind == PIKOS_INT ? integer(0) : text(&none);
	set(type, values, "value2", integer(lost->count));
	set(type, values, "name", text(&lost_function));
	set(type, values, "mod", text(reason));
}

void pikos_lost_row(const struct pikos_record_type *type, uint64_t index,
		    const struct pikos_lost *lost, uint32_t pid, uint32_t tid,
		    struct pikos_text *reason, struct pikos_value values[])
{
	bool has_type = pikos_record_type__field(type, "type") >= 0;
	int i;

	reason->data = lost->reason;
	reason->len = strlen(lost->reason);
	reason->flags = text__flags(reason->data, reason->len);
	for (i = 0; i < type->n_fields; i++)
		values[i].kind = PIKOS_EMPTY;
	set(type, values, "time", integer(lost->time));
	set(type, values, "index", integer(index));
	set(type, values, "lineNo", integer(lost->count));
	if (pid)
		set(type, values, "pid", integer(pid));
	if (tid)
		set(type, values, "tid", integer(tid));
	set(type, values, "type", text(&lost_type));
	set(type, values, "function", text(has_type ? reason : &lost_function));
	if (!has_type)
		set(type, values, "line", text(reason));
	if (type->comments)
		lost_in_table(type, lost, reason, values);
}
