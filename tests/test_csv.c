// SPDX-License-Identifier: BSD-3-Clause
/*
 * What Python's csv module writes and reads is the oracle of the format; the rest is about files
 * that are full, closed, links or not ours.
 */
#include "recorder_support.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "monitor/record_type.h"

static struct pikos_record_type type;

static int setup(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	return pikos_record_type__init(&type, "functions", NULL);
}

static struct pikos_recorder *prepared(const char *path, char delimiter)
{
	const struct pikos_output out = {.path = path, .delimiter = delimiter};
	struct pikos_recorder *rec = pikos_recorder__csv(&out);

	assert_non_null(rec);
	if (pikos_recorder__prepare(rec, &type))
		fail_msg("%s", pikos_recorder__error(rec));
	return rec;
}

static int record(struct pikos_recorder *rec, int64_t index, const char *function, int line)
{
	struct row row;
	int err;

	row_function(&row, &type, index, "call", function, line, "f.py");
	err = pikos_recorder__record(rec, &row.record);
	row_free(&row);
	return err;
}

static void assert_file(const char *path, const char *expected)
{
	size_t len;
	char *data = slurp(path, &len);

	assert_string_equal(data, expected);
	assert_int_equal(len, strlen(expected));
	free(data);
}

static void writes_rows(void **state)
{
	char *path = temporary("rows.csv");
	struct pikos_recorder *rec = prepared(path, 0);

	(void)state;
	assert_int_equal(record(rec, 0, "gcd", 3), 0);
	assert_int_equal(record(rec, INT64_MIN, "a,b", -1), 0);
	assert_file(path, ""); /* buffered */
	assert_int_equal(pikos_recorder__flush(rec), 0);
	assert_file(path, "index,type,function,lineNo,filename\r\n0,call,gcd,3,f.py\r\n"
			  "-9223372036854775808,call,\"a,b\",-1,f.py\r\n");
	assert_string_equal(pikos_recorder__error(rec), "");
	assert_int_equal(pikos_recorder__dropped(rec), 0);
	finish(rec);
	unlink(path);
	free(path);
}

/* Readers that cut at `#` find one above the header only. */
static void writes_a_comment(void **state)
{
	static const struct pikos_text odd = {"a#\"b", 4, 0}, plain = {"#", 1, PIKOS_TEXT_PLAIN};
	char *path = temporary("comment.csv"), *data, *line;
	const struct pikos_output out = {.path = path};
	struct pikos_recorder *rec = pikos_recorder__csv(&out);
	struct pikos_value values[PIKOS_MAX_FIELDS];
	struct pikos_record_type table;
	const struct pikos_record record = {.type = &table, .values = values};
	int64_t offset;
	size_t len;

	(void)state;
	assert_int_equal(pikos_record_type__init(&table, "allocations", NULL), 0);
	for (int i = 0; i < table.n_fields; i++) {
		values[i] = (struct pikos_value){.kind = table.fields[i].kind, .i = -1};
		if (table.fields[i].kind == PIKOS_TEXT)
			values[i].s = i % 2 ? &odd : &plain;
	}
	assert_int_equal(pikos_recorder__prepare(rec, &table), 0);
	assert_int_equal(pikos_recorder__record(rec, &record), 0);
	assert_int_equal(pikos_recorder__flush(rec), 0);
	data = slurp(path, &len);
	assert_int_equal(sscanf(data,
				"# pikos-trace allocations, times of CLOCK_MONOTONIC: "
				"ns since 1970 = time + %" SCNd64,
				&offset),
			 1);
	assert_true(offset == table.epoch_ns && offset > 0);
	line = strstr(data, "\r\ntime,value1,");
	assert_non_null(line);
	assert_null(strchr(line, '#'));
	assert_non_null(strstr(line, "\r\n-1,-1,-1,-1,\\x23,\"a\\x23\"\"b\",-1,"));
	finish(rec);
	free(data);
	unlink(path);
	free(path);
}

static void writes_every_integer(void **state)
{
	static const int64_t edges[] = {
		0,	   9,	  10,	  99,	   100,	     999,      1000,	  9999,
		10000,	   99999, 100000, 9999999, 10000000, 99999999, 100000000, 123400005678,
		INT64_MAX, -1,	  -10,	  -9999,   -10000,   INT64_MIN};
	size_t i, n = sizeof(edges) / sizeof(edges[0]), len;
	char *path = temporary("integers.csv"), *data, *p, expected[64];
	struct pikos_recorder *rec = prepared(path, 0);

	(void)state;
	for (i = 0; i < n; i++)
		assert_int_equal(record(rec, edges[i], "f", 0), 0);
	finish(rec);
	data = slurp(path, &len);
	p = strchr(data, '\n') + 1;
	for (i = 0; i < n; i++) {
		snprintf(expected, sizeof(expected), "%lld,call,f,0,f.py\r\n", (long long)edges[i]);
		assert_int_equal(strncmp(p, expected, strlen(expected)), 0);
		p += strlen(expected);
	}
	assert_int_equal(*p, 0);
	unlink(path);
	free(path);
	free(data);
}

/* Names that a hostile program could have. */
static const char *const hostile[] = {
	"",	" lead",    "trail ",	  "a,b",	  "a;b",
	"\"",	"\"\"",	    "say \"hi\"", "a\nb",	  "a\r\nb",
	"\r",	"\n",	    "\t",	  "\x1b[2J",	  "'",
	"\\",	"a\tb",	    "été 🐍",	  "\xff",	  "-1",
	"=1+1", "\x01\x02", "\xc2\x9b",	  "\xe2\x80\xa8", "    indented = 1",
	"a:b",	"a|b",	    "1",
};
#define N_HOSTILE (sizeof(hostile) / sizeof(hostile[0]))

static void write_hostile(const char *path, char delimiter)
{
	struct pikos_recorder *rec = prepared(path, delimiter);
	size_t i;

	for (i = 0; i < N_HOSTILE; i++)
		assert_int_equal(record(rec, (int64_t)i - 1, hostile[i], 100), 0);
	finish(rec);
}

/* Python reads the file and writes it again: the same bytes, and the names are those we gave. */
static void check_delimiter(char delimiter)
{
	static const char program[] =
		"import csv, io, sys\n"
		"path, delimiter = sys.argv[1][:-1], sys.argv[1][-1]\n"
		"text = open(path, newline='', encoding='utf-8').read()\n"
		"rows = list(csv.reader(io.StringIO(text, newline=''), delimiter=delimiter))\n"
		"again = io.StringIO(newline='')\n"
		"csv.writer(again, delimiter=delimiter).writerows(rows)\n"
		"assert again.getvalue() == text, (again.getvalue(), text)\n"
		"assert rows[0] == 'index type function lineNo filename'.split(), rows[0]\n"
		"sys.stdout.buffer.write(b''.join(r[2].encode() + b'\\0' for r in rows[1:]))\n";
	char *path = temporary("hostile.csv"), argument[300], *out, *p, clean[256];
	size_t i, len, n;

	write_hostile(path, delimiter);
	snprintf(argument, sizeof(argument), "%s%c", path, delimiter);
	out = python(program, argument, &len);
	for (i = 0, p = out; i < N_HOSTILE; i++, p += n + 1) {
		n = text__sanitize(clean, hostile[i], strlen(hostile[i]));
		clean[n] = 0;
		assert_string_equal(p, clean);
	}
	assert_int_equal(p - out, len);
	unlink(path);
	free(path);
	free(out);
}

static void round_trips_through_python(void **state)
{
	const char *p = ",;\t| :1-e\\'";

	(void)state;
	for (; *p; p++)
		check_delimiter(*p);
}

static void refuses_delimiters(void **state)
{
	const char bad[] = "\"\r\n\x80\xff";
	struct pikos_output out = {0};
	int i;

	(void)state;
	for (i = 0; bad[i]; i++) {
		out.delimiter = bad[i];
		assert_null(pikos_recorder__csv(&out));
		assert_int_equal(errno, EINVAL);
	}
}

static void writes_losses(void **state)
{
	const struct pikos_lost lost = {"buffer full", 12, 0};
	struct pikos_value values[PIKOS_MAX_FIELDS];
	char *path = temporary("lost.csv");
	struct pikos_text reason;
	struct pikos_record rec_lost = {.type = &type, .values = values, .lost = &lost};
	struct pikos_recorder *rec = prepared(path, 0);

	(void)state;
	pikos_lost_row(&type, 5, &lost, 0, 0, &reason, values);
	assert_int_equal(pikos_recorder__record(rec, &rec_lost), 0);
	finish(rec);
	assert_file(path, "index,type,function,lineNo,filename\r\n5,lost,buffer full,12,\r\n");
	unlink(path);
	free(path);
}

/* More rows than the buffer holds, and one that is longer than it. */
static void writes_more_than_its_buffer(void **state)
{
	char *path = temporary("long.csv"), *name = malloc(600001), *data;
	struct pikos_recorder *rec = prepared(path, 0);
	size_t len, rows = 0, i;

	(void)state;
	memset(name, '"', 600000);
	name[600000] = 0;
	for (i = 0; i < 20000; i++)
		assert_int_equal(record(rec, 7, i == 10000 ? name : "f", 1), 0);
	finish(rec);
	data = slurp(path, &len);
	for (i = 0; i < len; i++)
		rows += data[i] == '\n';
	assert_int_equal(rows, 20001);
	assert_int_equal(len, strlen("index,type,function,lineNo,filename\r\n") +
				      19999 * strlen("7,call,f,1,f.py\r\n") +
				      strlen("7,call,\"\",1,f.py\r\n") + 2 * 600000);
	unlink(path);
	free(path);
	free(name);
	free(data);
}

static void insists_on_the_order_of_calls(void **state)
{
	char *path = temporary("order.csv");
	const struct pikos_output out = {.path = path};
	struct pikos_recorder *rec = pikos_recorder__csv(&out);
	struct pikos_summary summary = {0};

	(void)state;
	assert_int_equal(record(rec, 0, "f", 1), -EBADFD);
	assert_int_equal(pikos_recorder__flush(rec), -EBADFD);
	assert_int_equal(pikos_recorder__finalize(rec, &summary), -EBADFD);
	assert_int_equal(access(path, F_OK), -1); /* made at prepare, not before */
	assert_int_equal(pikos_recorder__prepare(rec, &type), 0);
	assert_int_equal(pikos_recorder__prepare(rec, &type), -EBADFD);
	assert_int_equal(pikos_recorder__finalize(rec, &summary), 0);
	assert_int_equal(pikos_recorder__finalize(rec, &summary), -EBADFD);
	assert_int_equal(record(rec, 0, "f", 1), -EBADFD);
	pikos_recorder__free(rec);
	pikos_recorder__free(NULL);
	unlink(path);
	free(path);
}

static void makes_private_files_and_keeps_modes(void **state)
{
	char *path = temporary("mode.csv");
	struct stat st;
	int fd;

	(void)state;
	finish(prepared(path, 0));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(chmod(path, 0644), 0);
	fd = open(path, O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, "old", 3), 3);
	close(fd);
	finish(prepared(path, 0));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_file(path, "index,type,function,lineNo,filename\r\n");
	unlink(path);
	free(path);
}

static void assert_refused(const char *path, int err, const char *words)
{
	const struct pikos_output out = {.path = path};
	struct pikos_recorder *rec = pikos_recorder__csv(&out);

	assert_int_equal(pikos_recorder__prepare(rec, &type), err);
	assert_string_equal(pikos_recorder__error(rec), words);
	assert_int_equal(record(rec, 0, "f", 1), -EBADFD);
	pikos_recorder__free(rec);
}

static void refuses_links(void **state)
{
	char *path = temporary("link.csv"), *target = temporary("target.csv"), words[600];

	(void)state;
	assert_int_equal(symlink(target, path), 0);
	snprintf(words, sizeof(words),
		 "cannot open '%s': it is a symbolic link, which is not followed", path);
	assert_refused(path, -ELOOP, words);
	assert_int_equal(access(target, F_OK), -1);
	unlink(path);
	free(path);
	free(target);
}

static void says_why_a_file_cannot_be(void **state)
{
	(void)state;
	assert_refused("/tmp/no-such-dir-here/x.csv", -ENOENT,
		       "cannot open '/tmp/no-such-dir-here/x.csv': No such file or directory");
	assert_refused("/tmp", -EISDIR, "cannot open '/tmp': Is a directory");
	assert_refused("/dev/fd/987", -EBADF, "cannot open '/dev/fd/987': Bad file descriptor");
}

static void reports_a_full_disk(void **state)
{
	struct pikos_recorder *rec = prepared("/dev/full", 0);
	static const char words[] = "cannot write '/dev/full': No space left on device "
				    "(0 records, 0 bytes written)";
	struct pikos_summary summary = {0};

	(void)state;
	assert_int_equal(record(rec, 0, "f", 1), 0);
	assert_int_equal(pikos_recorder__flush(rec), -ENOSPC);
	assert_string_equal(pikos_recorder__error(rec), words);
	assert_int_equal(record(rec, 1, "f", 1), -ENOSPC); /* it stays failed */
	assert_int_equal(pikos_recorder__finalize(rec, &summary), -ENOSPC);
	assert_string_equal(pikos_recorder__error(rec), words);
	pikos_recorder__free(rec);
}

/*
 * In a child whose files may not be longer than 1000 bytes: write() takes a part of the buffer
 * and then fails with EFBIG. Names hold newlines: the words are right only if rows are counted.
 */
static void fill_a_disk(const char *path, int report)
{
	const struct rlimit limit = {1000, 1000};
	struct pikos_recorder *rec = prepared(path, 0);
	int i, err;

	signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
		_exit(2);
	for (i = 0; i < 100; i++)
		if (record(rec, 100 + i, "a\nb", 1))
			_exit(3);
	err = pikos_recorder__flush(rec);
	dprintf(report, "%d %s", err, pikos_recorder__error(rec));
	_exit(0);
}

static void counts_what_a_full_disk_took(void **state)
{
	/* The header takes 37 bytes, a row 23: (1000 - 37) / 23 = 41 whole ones. */
	char *path = temporary("full.csv"), expected[600], *got;
	int pipes[2], status;
	size_t len;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (!pid)
		fill_a_disk(path, pipes[1]);
	close(pipes[1]);
	got = slurp_fd(pipes[0], &len);
	close(pipes[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	snprintf(expected, sizeof(expected),
		 "%d cannot write '%s': File too large (41 records, 1000 bytes written)", -EFBIG,
		 path);
	assert_string_equal(got, expected);
	unlink(path);
	free(path);
	free(got);
}

static void reports_a_closed_pipe(void **state)
{
	struct pikos_recorder *rec;
	char path[32], words[128];
	int pipes[2];

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	snprintf(path, sizeof(path), "/dev/fd/%d", pipes[1]);
	rec = prepared(path, 0);
	assert_int_equal(record(rec, 0, "f", 1), 0);
	assert_int_equal(pikos_recorder__flush(rec), 0);
	close(pipes[0]);
	assert_int_equal(record(rec, 1, "f", 1), 0);
	assert_int_equal(pikos_recorder__flush(rec), -EPIPE);
	snprintf(words, sizeof(words),
		 "cannot write '%s': Broken pipe (1 record, 54 bytes written)", path);
	assert_string_equal(pikos_recorder__error(rec), words);
	pikos_recorder__free(rec);
	assert_int_equal(close(pipes[1]), 0); /* the recorder left the caller's descriptor open */
}

/* Write a row to a path that stands for the write end of a pipe, and compare. */
static void check_descriptor(const char *path, int read_end)
{
	static const char expected[] = "index,type,function,lineNo,filename\r\n0,call,f,1,f.py\r\n";
	struct pikos_recorder *rec = prepared(path, 0);
	char got[128];

	assert_int_equal(record(rec, 0, "f", 1), 0);
	finish(rec);
	assert_int_equal(read(read_end, got, sizeof(got)), strlen(expected));
	assert_memory_equal(got, expected, strlen(expected));
}

static void writes_to_stdout_and_descriptors(void **state)
{
	int pipes[2], out = dup(STDOUT_FILENO);
	char path[32], words[96];

	(void)state;
	fflush(stdout);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(dup2(pipes[1], STDOUT_FILENO), STDOUT_FILENO);
	check_descriptor("-", pipes[0]);
	check_descriptor(NULL, pipes[0]);
	check_descriptor("/dev/stdout", pipes[0]);
	assert_int_equal(dup2(out, STDOUT_FILENO), STDOUT_FILENO);
	snprintf(path, sizeof(path), "/dev/fd/%d", pipes[1]);
	check_descriptor(path, pipes[0]);
	snprintf(path, sizeof(path), "/dev/fd/%d", pipes[0]);
	snprintf(words, sizeof(words), "cannot open '%s': Bad file descriptor", path);
	assert_refused(path, -EBADF, words);
	close(pipes[0]);
	close(pipes[1]);
	close(out);
}

static void writes_to_a_fifo(void **state)
{
	char *path = temporary("fifo");
	struct pikos_recorder *rec;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	pid = fork();
	if (!pid) {
		rec = prepared(path, 0);
		if (record(rec, 0, "f", 1))
			_exit(1);
		finish(rec);
		_exit(0);
	}
	assert_file(path, "index,type,function,lineNo,filename\r\n0,call,f,1,f.py\r\n");
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	unlink(path);
	free(path);
}

static void on_alarm(int sig)
{
	(void)sig;
}

/* Nobody reads the pipe: a signal gets the caller out of flush, with nothing lost. */
static void goes_on_after_a_signal(void **state)
{
	const struct sigaction act = {.sa_handler = on_alarm};
	const struct itimerval often = {{0, 10000}, {0, 10000}}, never = {{0, 0}, {0, 0}};
	int pipes[2], status, rows = 0, c;
	struct pikos_recorder *rec;
	char path[32];
	FILE *in;
	pid_t pid;
	long i;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	snprintf(path, sizeof(path), "/dev/fd/%d", pipes[1]);
	rec = prepared(path, 0);
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (i = 0; i < 100000; i++) /* 2 MB, and a pipe takes 64 KiB */
		assert_int_equal(record(rec, i, "f", 1), 0);
	assert_int_equal(pikos_recorder__flush(rec), 0);
	setitimer(ITIMER_REAL, &never, NULL);
	pid = fork();
	if (!pid) {
		close(pipes[1]);
		in = fdopen(pipes[0], "r");
		while ((c = getc(in)) != EOF)
			rows += c == '\n';
		_exit(rows == 100001 ? 0 : 1);
	}
	close(pipes[0]);
	finish(rec);
	close(pipes[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_rows),
		cmocka_unit_test(writes_a_comment),
		cmocka_unit_test(writes_every_integer),
		cmocka_unit_test(round_trips_through_python),
		cmocka_unit_test(refuses_delimiters),
		cmocka_unit_test(writes_losses),
		cmocka_unit_test(writes_more_than_its_buffer),
		cmocka_unit_test(insists_on_the_order_of_calls),
		cmocka_unit_test(makes_private_files_and_keeps_modes),
		cmocka_unit_test(refuses_links),
		cmocka_unit_test(says_why_a_file_cannot_be),
		cmocka_unit_test(reports_a_full_disk),
		cmocka_unit_test(counts_what_a_full_disk_took),
		cmocka_unit_test(reports_a_closed_pipe),
		cmocka_unit_test(writes_to_stdout_and_descriptors),
		cmocka_unit_test(writes_to_a_fifo),
		cmocka_unit_test(goes_on_after_a_signal),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
