// SPDX-License-Identifier: BSD-3-Clause
/*
 * Text is compared with Python's str.format of the documented formats: the same records go to a
 * CSV file, Python reads that and prints what the text file must be, byte for byte.
 */
#include "recorder_support.h"

#include <errno.h>
#include <signal.h>

#include "monitor/record_type.h"

static const char oracle[] =
	"import csv, re, sys\n"
	"HEADER = {'functions': '{:<8} {:<11} {:<30} {:<5} {}',\n"
	"  'lines': '{:<12} {:<50} {:<7} {} -- {}',\n"
	"  'function_memory': '{:<8} | {:<11} | {:<12} | {:<15} | {:<15} | {:>6} | {}',\n"
	"  'line_memory': '{:^12} | {:^30} | {:^7} | {:^15} | {:^15} | {} {}'}\n"
	"LINE = dict(HEADER,\n"
	"  function_memory='{:>8} | {:<11} | {:<12} | {:>15} | {:>15} | {:>6} | {}',\n"
	"  line_memory='{:<12} | {:<30} | {:<7} | {:>15} | {:>15} | {} {}')\n"
	"EXTRA = {'pid': '{:<8} ', 'tid': '{:<8} ', 'time': '{:<20} '}\n"
	"CONTROL = re.compile('[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e'\n"
	"  '\\u2066-\\u206f\\ufff9-\\ufffb]')\n"
	"escape = lambda s: CONTROL.sub(lambda m: repr(m[0])[1:-1], s)\n"
	"path, monitor, plain = sys.argv[1].split(':')\n"
	"names, *rows = csv.reader(open(path, newline='', encoding='utf-8'))\n"
	"extra = ''.join(EXTRA[n] for n in names if n in EXTRA)\n"
	"header = (extra + HEADER[monitor]).format(*names)\n"
	"if plain == 'plain':\n"
	"  extra, LINE[monitor] = '', ' '.join(['{}'] * len(names))\n"
	"out = [header, '-' * len(header)]\n"
	"out += [(extra + LINE[monitor]).format(*map(escape, row)) for row in rows]\n"
	"sys.stdout.buffer.write(''.join(line + '\\n' for line in out).encode())\n";

static const char *const words[] = {
	"gcd",
	"",
	"été",
	"🐍 snake",
	"a name that is much longer than any of the columns it has to fit into, by far",
	"ünïcödé nämé thät is lönger thän thirty",
	"exactly_12_c",
	"a\x1b[31mred\x1b[0m",
	"new\nline",
	"tab\tcr\rnul",
	"\x7f\xc2\x9b",
	"\xe2\x80\xae"
	"desrever",
	"\xff\xfe",
	"    if x:  # indented",
	"back\\slash \"quoted\", comma",
};
#define N_WORDS ((int)(sizeof(words) / sizeof(words[0])))

/* Fill a row with the i-th combination of words and numbers. */
static void fill(struct row *row, const struct pikos_record_type *type, int i)
{
	static const int64_t numbers[] = {0, -1, 7, 123456, 99999999, 123456789012345678, 4096};
	int f;

	row_init(row, type);
	for (f = 0; f < type->n_fields; f++)
		if (type->fields[f].kind == PIKOS_INT)
			row_int(row, numbers[(i + f) % 7]);
		else
			row_text(row, words[(i + 5 * f) % N_WORDS]);
	if (i % 11 == 10)
		row->values[type->n_fields - 1].kind = PIKOS_EMPTY;
	if (i % 13 == 12)
		row->values[type->n_fields - 2].kind = PIKOS_EMPTY;
}

static void write_both(const struct pikos_record_type *type, const char *text, const char *csv,
		       bool plain)
{
	const struct pikos_output text_out = {.path = text, .plain = plain};
	const struct pikos_output csv_out = {.path = csv};
	struct pikos_recorder *recs[] = {pikos_recorder__text(&text_out),
					 pikos_recorder__csv(&csv_out)};
	struct row row;
	int i, r;

	for (r = 0; r < 2; r++) {
		assert_int_equal(pikos_recorder__prepare(recs[r], type), 0);
		for (i = 0; i < 200; i++) {
			fill(&row, type, i);
			assert_int_equal(pikos_recorder__record(recs[r], &row.record), 0);
			row_free(&row);
		}
		finish(recs[r]);
	}
}

static void check(const char *monitor, const char *fields, bool plain)
{
	char *text = temporary("formatted.log"), *csv = temporary("formatted.csv");
	struct pikos_record_type type;
	char argument[300], *expected, *got;
	size_t len, got_len;

	assert_int_equal(pikos_record_type__init(&type, monitor, fields), 0);
	write_both(&type, text, csv, plain);
	snprintf(argument, sizeof(argument), "%s:%s:%s", csv, monitor, plain ? "plain" : "");
	expected = python(oracle, argument, &len);
	got = slurp(text, &got_len);
	assert_true(len > 200 * 20);
	assert_string_equal(got, expected);
	assert_int_equal(got_len, len);
	unlink(text);
	unlink(csv);
	free(text);
	free(csv);
	free(expected);
	free(got);
}

static void formats_like_python(void **state)
{
	(void)state;
	check("functions", NULL, false);
	check("lines", NULL, false);
	check("function_memory", NULL, false);
	check("line_memory", NULL, false);
	check("functions", "+pid,+tid,+time", false);
	check("line_memory", "+time", false);
}

static void writes_plain_fields(void **state)
{
	(void)state;
	check("functions", NULL, true);
	check("line_memory", "+pid,+time", true);
}

/* ------------------------------------------------------------------ tree */

static struct pikos_recorder *tree_of(const char *path, struct pikos_record_type *type,
				      const char *monitor, const char *fields)
{
	const struct pikos_output out = {.path = path, .tree = true};
	struct pikos_recorder *rec = pikos_recorder__text(&out);

	assert_int_equal(pikos_record_type__init(type, monitor, fields), 0);
	assert_int_equal(pikos_recorder__prepare(rec, type), 0);
	return rec;
}

static void event(struct pikos_recorder *rec, const struct pikos_record_type *type, uint32_t tid,
		  const char *kind, const char *function, uint64_t time)
{
	struct row row;

	row_function(&row, type, 0, kind, function, 7, "f.py");
	row.record.pid = 1;
	row.record.tid = tid;
	row.record.time = time;
	assert_int_equal(pikos_recorder__record(rec, &row.record), 0);
	row_free(&row);
}

static void assert_tree(struct pikos_recorder *rec, char *path, const char *expected)
{
	size_t len;
	char *got;

	finish(rec);
	got = slurp(path, &len);
	assert_string_equal(got, expected);
	free(got);
	unlink(path);
	free(path);
}

static void draws_a_tree_per_thread(void **state)
{
	char *path = temporary("tree.log");
	struct pikos_record_type type;
	struct pikos_recorder *rec = tree_of(path, &type, "functions", NULL);

	(void)state;
	event(rec, &type, 10, "call", "main", 1000);
	event(rec, &type, 11, "call", "worker", 1500);
	event(rec, &type, 10, "call", "load", 2000);
	event(rec, &type, 10, "c_call", "len", 2100);
	event(rec, &type, 10, "c_return", "len", 2101);
	event(rec, &type, 10, "c_call", "int", 2200);
	event(rec, &type, 10, "c_exception", "int", 2300);
	event(rec, &type, 10, "return", "load", 3234);
	event(rec, &type, 11, "return", "worker", 5001500);
	event(rec, &type, 10, "return", "main", 7000);
	assert_tree(rec, path,
		    "TID         ELAPSED(us) | FUNCTION\n"
		    "----------------------------------\n"
		    "10                      | -> main  f.py:7\n"
		    "11                      | -> worker  f.py:7\n"
		    "10                      |   -> load  f.py:7\n"
		    "10                      |     -> len  f.py:7\n"
		    "10                0.001 |     <- len  f.py:7\n"
		    "10                      |     -> int  f.py:7\n"
		    "10                0.100 |     <! int  f.py:7\n"
		    "10                1.234 |   <- load  f.py:7\n"
		    "11             5000.000 | <- worker  f.py:7\n"
		    "10                6.000 | <- main  f.py:7\n");
}

static void memory_event(struct pikos_recorder *rec, const struct pikos_record_type *type,
			 const char *kind, const char *function, int64_t rss)
{
	struct row row;

	row_init(&row, type);
	row_int(&row, 1);
	row_int(&row, 0);
	row_text(&row, kind);
	row_text(&row, function);
	row_int(&row, rss);
	row_int(&row, 1 << 20);
	row_int(&row, 3);
	row_text(&row, "f.py");
	row.record.pid = 1;
	row.record.tid = 2;
	row.record.rss = rss;
	row.record.is_call = !strcmp(kind, "call");
	row.record.is_return = !row.record.is_call;
	assert_int_equal(pikos_recorder__record(rec, &row.record), 0);
	row_free(&row);
}

static void shows_the_change_of_memory(void **state)
{
	char *path = temporary("tree.log");
	struct pikos_record_type type;
	struct pikos_recorder *rec = tree_of(path, &type, "function_memory", "+pid");

	(void)state;
	memory_event(rec, &type, "call", "a", 8192);
	memory_event(rec, &type, "call", "b\x1b", 8192);
	memory_event(rec, &type, "return", "b\x1b", 12288);
	memory_event(rec, &type, "call", "c", 12288);
	memory_event(rec, &type, "return", "c", 12288);
	memory_event(rec, &type, "return", "a", 4096);
	assert_tree(rec, path,
		    "pid      TID         ELAPSED(us)           RSS+- | FUNCTION\n"
		    "-----------------------------------------------------------\n"
		    "1        2                                       | -> a  f.py:3\n"
		    "1        2                                       |   -> b\\x1b  f.py:3\n"
		    "1        2                 0.000           +4096 |   <- b\\x1b  f.py:3\n"
		    "1        2                                       |   -> c  f.py:3\n"
		    "1        2                 0.000               0 |   <- c  f.py:3\n"
		    "1        2                 0.000           -4096 | <- a  f.py:3\n");
}

/* Attached in the middle, records filtered out, records lost. */
static void survives_unbalanced_returns(void **state)
{
	const struct pikos_lost lost = {"buffer full", 3, 0};
	struct pikos_value values[PIKOS_MAX_FIELDS];
	char *path = temporary("tree.log");
	struct pikos_record_type type;
	struct pikos_recorder *rec = tree_of(path, &type, "functions", NULL);
	struct pikos_text reason;
	struct pikos_record record = {.type = &type, .values = values, .lost = &lost, .pid = 1};

	(void)state;
	event(rec, &type, 10, "return", "before", 1000);
	event(rec, &type, 10, "return", "before", 1000);
	event(rec, &type, 10, "call", "main", 1000);
	event(rec, &type, 10, "call", "no return", 1000);
	event(rec, &type, 10, "return", "unknown", 2000);
	event(rec, &type, 10, "return", "main", 3000);
	event(rec, &type, 10, "call", "again", 4000);
	pikos_lost_row(&type, 9, &lost, 1, 0, &reason, values);
	assert_int_equal(pikos_recorder__record(rec, &record), 0);
	event(rec, &type, 10, "return", "again", 5000);
	assert_tree(rec, path,
		    "TID         ELAPSED(us) | FUNCTION\n"
		    "----------------------------------\n"
		    "10                      | <- before  f.py:7\n"
		    "10                      | <- before  f.py:7\n"
		    "10                      | -> main  f.py:7\n"
		    "10                      |   -> no return  f.py:7\n"
		    "10                      |     <- unknown  f.py:7\n"
		    "10                2.000 | <- main  f.py:7\n"
		    "10                      | -> again  f.py:7\n"
		    "                        | !! lost 3: buffer full\n"
		    "10                      | <- again  f.py:7\n");
}

/* 100 000 calls deep: lines stay short, every return finds its call. */
static void follows_deep_recursion(void **state)
{
	char *path = temporary("tree.log"), *got, *line;
	struct pikos_record_type type;
	struct pikos_recorder *rec = tree_of(path, &type, "functions", NULL);
	size_t len;
	int i;

	(void)state;
	for (i = 0; i < 100000; i++)
		event(rec, &type, 10, "call", "f", i);
	for (i = 0; i < 100000; i++)
		event(rec, &type, 10, "return", "f", 100000 + i);
	finish(rec);
	got = slurp(path, &len);
	line = strstr(got, "[99999]");
	assert_non_null(line);
	assert_memory_equal(line, "[99999] -> f  f.py:7\n", 21);
	line = strchr(line, '\n') + 1;
	assert_int_equal(strncmp(line, "10                0.001 | ", 26), 0);
	line = strstr(got, "199.999 | <- f  f.py:7\n"); /* the outermost */
	assert_non_null(line);
	assert_int_equal(line[strlen("199.999 | <- f  f.py:7\n")], 0);
	assert_true(len / 200002 < 200);
	free(got);
	unlink(path);
	free(path);
}

/* Of many threads the one silent for longest is forgotten, and its return has no call. */
static void forgets_old_threads(void **state)
{
	char *path = temporary("tree.log"), *got;
	struct pikos_record_type type;
	struct pikos_recorder *rec = tree_of(path, &type, "functions", NULL);
	uint32_t tid;
	size_t len;

	(void)state;
	for (tid = 1; tid <= 5000; tid++)
		event(rec, &type, tid, "call", "run", tid);
	event(rec, &type, 5000, "return", "run", 6000);
	event(rec, &type, 4990, "return", "run", 6000);
	event(rec, &type, 1, "return", "run", 6000);
	finish(rec);
	got = slurp(path, &len);
	assert_non_null(strstr(got, "\n5000              1.000 | <- run  f.py:7\n"));
	assert_non_null(strstr(got, "\n4990              1.010 | <- run  f.py:7\n"));
	assert_non_null(strstr(got, "\n1                       | <- run  f.py:7\n"));
	free(got);
	unlink(path);
	free(path);
}

static void draws_no_tree_of_lines(void **state)
{
	const struct pikos_output out = {.path = "/nonexistent/x", .tree = true};
	struct pikos_recorder *rec = pikos_recorder__text(&out);
	struct pikos_record_type type;

	(void)state;
	assert_int_equal(pikos_record_type__init(&type, "lines", NULL), 0);
	assert_int_equal(pikos_recorder__prepare(rec, &type), -EINVAL);
	assert_string_equal(pikos_recorder__error(rec),
			    "cannot draw a tree: the monitor has no calls");
	pikos_recorder__free(rec);
}

/* The screen is stdout, whatever path the options hold. */
static void shows_on_stdout(void **state)
{
	const struct pikos_output out = {.path = "/nonexistent/x"};
	struct pikos_recorder *rec = pikos_recorder__screen(&out);
	struct pikos_record_type type;
	int pipes[2], saved = dup(STDOUT_FILENO);
	char got[256];
	ssize_t n;

	(void)state;
	assert_int_equal(pikos_record_type__init(&type, "functions", NULL), 0);
	fflush(stdout);
	assert_int_equal(pipe(pipes), 0);
	dup2(pipes[1], STDOUT_FILENO);
	assert_int_equal(pikos_recorder__prepare(rec, &type), 0);
	finish(rec);
	dup2(saved, STDOUT_FILENO);
	n = read(pipes[0], got, sizeof(got) - 1);
	assert_true(n > 0);
	got[n] = 0;
	assert_string_equal(
		got, "index    type        function                       lineNo filename\n"
		     "-------------------------------------------------------------------\n");
	close(pipes[0]);
	close(pipes[1]);
	close(saved);
}

/* Quotes mean nothing in text: rows that did not arrive are counted by their ends alone. */
static void counts_rows_with_quotes(void **state)
{
	struct pikos_record_type type;
	struct pikos_output out = {0};
	struct pikos_recorder *rec;
	char path[32], expected[160];
	int pipes[2];

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe(pipes), 0);
	snprintf(path, sizeof(path), "/dev/fd/%d", pipes[1]);
	out.path = path;
	rec = pikos_recorder__text(&out);
	assert_int_equal(pikos_record_type__init(&type, "functions", NULL), 0);
	assert_int_equal(pikos_recorder__prepare(rec, &type), 0);
	event(rec, &type, 1, "call", "\"", 0);
	assert_int_equal(pikos_recorder__flush(rec), 0);
	close(pipes[0]);
	event(rec, &type, 1, "call", "\"", 0);
	event(rec, &type, 1, "call", "\"", 0);
	assert_int_equal(pikos_recorder__flush(rec), -EPIPE);
	snprintf(expected, sizeof(expected),
		 "cannot write '%s': Broken pipe (1 record, %d bytes written)", path,
		 2 * (int)strlen("index    type        function                       lineNo "
				 "filename\n") +
			 (int)strlen("0        call        \"                              7     "
				     "f.py\n"));
	assert_string_equal(pikos_recorder__error(rec), expected);
	pikos_recorder__free(rec);
	close(pipes[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(formats_like_python),
		cmocka_unit_test(writes_plain_fields),
		cmocka_unit_test(draws_a_tree_per_thread),
		cmocka_unit_test(shows_the_change_of_memory),
		cmocka_unit_test(survives_unbalanced_returns),
		cmocka_unit_test(follows_deep_recursion),
		cmocka_unit_test(forgets_old_threads),
		cmocka_unit_test(draws_no_tree_of_lines),
		cmocka_unit_test(shows_on_stdout),
		cmocka_unit_test(counts_rows_with_quotes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
