// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/help.h"
#include "cli/options.h"

#define MAX_WORDS 64

static char *line, *words[MAX_WORDS + 1];

/* Parse a command line whose words are separated by one space; "''" is an empty word. */
static int parse(struct options **options, const char *command)
{
	char *save = NULL, *word;
	int n = 0;

	free(line);
	line = strdup(command);
	*options = options__new();
	assert_non_null(line);
	assert_non_null(*options);
	for (word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		assert_true(n < MAX_WORDS);
		words[n++] = strcmp(word, "''") ? word : word + 2;
	}
	words[n] = NULL;
	return options__parse(*options, n, words);
}

static struct options *good(const char *command)
{
	struct options *options;
	int err = parse(&options, command);

	if (err)
		fail_msg("'%s': expected success, got %d: %s", command, err, options->error);
	assert_string_equal(options->error, "");
	return options;
}

/* A usage error with exactly this first line, and a second that says what to do. */
static void bad(const char *command, const char *error, const char *hint)
{
	struct options *options;
	int err = parse(&options, command);

	if (err != -EINVAL)
		fail_msg("'%s': expected a usage error, got %d", command, err);
	if (strcmp(options->error, error) != 0)
		fail_msg("'%s': expected \"%s\", got \"%s\"", command, error, options->error);
	if (!strstr(options->hint, hint) || !options->hint[0])
		fail_msg("'%s': expected a hint with \"%s\", got \"%s\"", command, hint,
			 options->hint);
	assert_null(strchr(options->error, '\n'));
	assert_null(strchr(options->hint, '\n'));
	options__free(options);
}

static void check_argv(const struct options *options, const char *const expected[])
{
	int i;

	assert_non_null(options->argv);
	for (i = 0; expected[i]; i++) {
		assert_non_null(options->argv[i]);
		assert_string_equal(options->argv[i], expected[i]);
	}
	assert_null(options->argv[i]);
}

static void test_defaults(void **state)
{
	struct options *o = good("pikos-trace -p 1234");

	(void)state;
	assert_int_equal(o->action, ACTION_TRACE);
	assert_string_equal(o->program, "pikos-trace");
	assert_string_equal(o->monitor, "functions");
	assert_int_equal(o->n_pids, 1);
	assert_int_equal(o->pids[0], 1234);
	assert_null(o->argv);
	assert_false(o->pikos_run);
	assert_null(o->focus);
	assert_null(o->fields);
	assert_int_equal(o->n_filters, 0);
	assert_int_equal(o->recording, RECORDING_SCREEN);
	assert_null(o->output);
	assert_int_equal(o->csv_delimiter, ',');
	assert_string_equal(o->zmq_endpoint, "tcp://127.0.0.1:9001");
	assert_int_equal(o->zmq_pattern, PIKOS_ZMQ_PUB);
	assert_int_equal(o->zmq_encoding, PIKOS_JSON);
	assert_int_equal(o->source, SOURCE_AUTO);
	assert_int_equal(o->transport, TRANSPORT_AUTO);
	assert_true(!o->duration_ns && !o->max_records && !o->buffer_size);
	assert_false(o->buffered || o->plain || o->tree || o->lossless || o->strict || o->quiet ||
		     o->verbose || o->progress || o->overhead || o->zmq_wait || o->zmq_insecure);
	assert_int_equal(o->c_calls, C_CALLS_DEFAULT);
	assert_false(o->qualified || o->regions || o->json);
	options__free(o);
}

static void test_every_monitor(void **state)
{
	char command[64];

	(void)state;
	for (const struct monitor_info *m = options__monitors; m->name; m++) {
		struct options *o;

		snprintf(command, sizeof(command), "pikos-trace -q %s -p 1", m->name);
		o = good(command);
		assert_string_equal(o->monitor, m->name);
		options__free(o);
	}
}

static void test_everything_at_once(void **state)
{
	struct options *o = good("/usr/bin/pikos-trace --focused-on a,b --strict function_memory "
				 "--filter type=call --filter change(function) --fields +tid "
				 "--fields=+time --recording=csv -o- --buffered --csv-delimiter ; "
				 "--duration 1.5s --max-records 10 --lossless --source usdt "
				 "--transport ringbuf --buffer-size 65K -v --progress --overhead "
				 "--focused-on c.py:d -p7,8 --pid 9");

	(void)state;
	assert_string_equal(o->monitor, "function_memory");
	assert_string_equal(o->focus, "a,b,c.py:d");
	assert_string_equal(o->fields, "+tid,+time");
	assert_int_equal(o->n_filters, 2);
	assert_string_equal(o->filters[0], "type=call");
	assert_string_equal(o->filters[1], "change(function)");
	assert_int_equal(o->recording, RECORDING_CSV);
	assert_string_equal(o->output, "-");
	assert_int_equal(o->csv_delimiter, ';');
	assert_true(o->duration_ns == 1500000000 && o->max_records == 10);
	assert_true(o->buffer_size == 128 << 10);
	assert_true(o->buffered && o->lossless && o->strict && o->verbose && o->progress);
	assert_true(o->overhead);
	assert_int_equal(o->source, SOURCE_USDT);
	assert_int_equal(o->transport, TRANSPORT_RINGBUF);
	assert_int_equal(o->n_pids, 3);
	assert_true(o->pids[0] == 7 && o->pids[1] == 8 && o->pids[2] == 9);
	options__free(o);
}

static void test_zmq(void **state)
{
	struct options *o = good("pikos-trace --recording zmq --zmq-endpoint tcp://127.0.0.1:5 "
				 "--zmq-pattern push --zmq-encoding msgpack --zmq-wait -p 1 "
				 "--zmq-curve-secret-key s --zmq-curve-public-key p");

	(void)state;
	assert_int_equal(o->recording, RECORDING_ZMQ);
	assert_string_equal(o->zmq_endpoint, "tcp://127.0.0.1:5");
	assert_int_equal(o->zmq_pattern, PIKOS_ZMQ_PUSH);
	assert_int_equal(o->zmq_encoding, PIKOS_MSGPACK);
	assert_true(o->zmq_wait);
	assert_string_equal(o->zmq_secret_key_file, "s");
	assert_string_equal(o->zmq_public_key_file, "p");
	options__free(o);

	bad("pikos-trace -p 1 --zmq-wait", "cannot use '--zmq-wait': the recording is screen",
	    "--recording zmq");
	bad("pikos-trace -p 1 --zmq-endpoint tcp://[::1]:1 -o x.csv",
	    "cannot use '--zmq-endpoint': the recording is csv", "--recording zmq");
	bad("pikos-trace -p 1 --recording zmq --zmq-endpoint 9001",
	    "cannot use '--zmq-endpoint 9001': not tcp://HOST:PORT or ipc://PATH", "tcp://");
	bad("pikos-trace -p 1 --recording zmq --zmq-endpoint ipc:///x --zmq-wait",
	    "cannot use '--zmq-wait' with 'ipc:///x': there is no port above it", "tcp://");
	bad("pikos-trace -p 1 --recording zmq --zmq-curve-public-key f",
	    "cannot use '--zmq-curve-public-key': the secret key is missing",
	    "--zmq-curve-secret-key");
	bad("pikos-trace -p 1 --recording zmq --zmq-insecure --zmq-curve-secret-key f "
	    "--zmq-curve-public-key f",
	    "cannot use '--zmq-insecure' with '--zmq-curve-secret-key': with keys it is not "
	    "insecure",
	    "one of them");
	bad("pikos-trace -p 1 --recording zmq -o x",
	    "cannot use '--output x': the recording is zmq", "--zmq-endpoint");
	bad("pikos-trace -p 1 --recording zmq --zmq-endpoint tcp://127.0.0.1",
	    "cannot use '--zmq-endpoint tcp://127.0.0.1': not tcp://HOST:PORT or ipc://PATH",
	    "tcp://");
	bad("pikos-trace -p 1 --recording zmq --zmq-endpoint tcp://a:65536",
	    "cannot use '--zmq-endpoint tcp://a:65536': not tcp://HOST:PORT or ipc://PATH",
	    "tcp://");
	options__free(good("pikos-trace -p 1 --recording zmq --buffered --zmq-endpoint ipc:///x"));
	options__free(good("pikos-trace -p 1 --recording zmq --zmq-endpoint tcp://*:*"));
	options__free(good("pikos-trace -p 1 --recording zmq --zmq-curve-secret-key f"));
}

static void test_recording(void **state)
{
	static const struct {
		const char *options;
		enum recording recording;
		const char *output;
	} cases[] = {
		{"", RECORDING_SCREEN, NULL},
		{"-o -", RECORDING_SCREEN, NULL},
		{"--recording screen -o -", RECORDING_SCREEN, NULL},
		{"--recording text", RECORDING_TEXT, "monitor_records.log"},
		{"--recording csv", RECORDING_CSV, "monitor_records.csv"},
		{"-o x.csv", RECORDING_CSV, "x.csv"},
		{"-o x.log", RECORDING_TEXT, "x.log"},
		{"-o d.csv/x.txt", RECORDING_TEXT, "d.csv/x.txt"},
		{"-o x.csv --recording text", RECORDING_TEXT, "x.csv"},
		{"-o - --recording csv", RECORDING_CSV, "-"},
		{"-o /dev/null --recording csv", RECORDING_CSV, "/dev/null"},
		{"-o x.log -o y.csv", RECORDING_CSV, "y.csv"},
		{"--recording zmq", RECORDING_ZMQ, NULL},
	};
	static const char *const programs[] = {"pikos-trace -p 1 %s", "pikos-run lines x.py %s"};
	char command[256];

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		size_t c = i / 2;
		struct options *o;

		if (cases[c].recording == RECORDING_ZMQ && i % 2)
			continue;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(command, sizeof(command), programs[i % 2], cases[c].options);
#pragma GCC diagnostic pop
		o = good(command);
		if (o->recording != cases[c].recording)
			fail_msg("'%s': recording %d", command, o->recording);
		if (cases[c].output)
			assert_string_equal(o->output, cases[c].output);
		else
			assert_null(o->output);
		options__free(o);
	}
	bad("pikos-trace -p 1 -o x.dat",
	    "cannot use '--output x.dat': its suffix says no recording", ".csv");
	bad("pikos-trace -p 1 -o csv", "cannot use '--output csv': its suffix says no recording",
	    ".csv");
	bad("pikos-trace -p 1 -o ''", "cannot use '--output': FILE is empty", "--help");
	bad("pikos-trace -p 1 --recording screen -o x.csv",
	    "cannot use '--output x.csv': the recording is screen", "--recording text or csv");
	bad("pikos-run lines x.py --recording zmq",
	    "cannot use '--recording zmq': not one of {screen,text,csv}", "pikos-run --help");
}

static void test_pids(void **state)
{
	char command[OPTIONS_MAX_PIDS * 8] = "pikos-trace -p 1";
	size_t len = strlen(command);
	struct options *o;

	(void)state;
	o = good("pikos-trace -p 4194304,1");
	assert_int_equal(o->pids[0], 4194304);
	/* Several processes tell themselves apart, unless --fields says otherwise. */
	assert_string_equal(o->fields, "+pid");
	options__free(o);
	o = good("pikos-trace -p 4194304,1 --fields +time");
	assert_string_equal(o->fields, "+time");
	options__free(o);
	o = good("pikos-trace -p 4194304,1 --fields ''");
	assert_string_equal(o->fields, "");
	options__free(o);

	bad("pikos-trace -p 0", "cannot trace '0': not a process id", "-p 1234");
	bad("pikos-trace -p 4194305", "cannot trace '4194305': not a process id", "-p 1234");
	bad("pikos-trace -p -1", "cannot trace '-1': not a process id", "-p 1234");
	bad("pikos-trace -p 1,", "cannot trace '': not a process id", "-p 1234");
	bad("pikos-trace -p ''", "cannot trace '': not a process id", "-p 1234");
	bad("pikos-trace -p 1;2", "cannot trace '1;2': not a process id", "-p 1234");
	bad("pikos-trace -pid 1", "cannot trace 'id': not a process id", "-p 1234");
	bad("pikos-trace -p 7,8,7", "cannot trace '7': it is there twice", "once");
	bad("pikos-trace -p 7 -p 07", "cannot trace '07': it is there twice", "once");

	for (int pid = 2; pid <= OPTIONS_MAX_PIDS; pid++)
		len += sprintf(command + len, ",%d", pid);
	o = good(command);
	assert_int_equal(o->n_pids, OPTIONS_MAX_PIDS);
	assert_int_equal(o->pids[OPTIONS_MAX_PIDS - 1], OPTIONS_MAX_PIDS);
	options__free(o);
	sprintf(command + len, ",9999");
	bad(command, "cannot trace '9999': more than 1024 processes", "second");
}

static void test_program(void **state)
{
	struct options *o;

	(void)state;
	o = good("pikos-trace lines -q -- python3 -p 1 --help -- x");
	check_argv(o, (const char *[]){"python3", "-p", "1", "--help", "--", "x", NULL});
	assert_int_equal(o->action, ACTION_TRACE);
	assert_int_equal(o->n_pids, 0);
	assert_true(o->quiet);
	assert_false(o->pikos_run);
	options__free(o);
	o = good("pikos-trace -- -weird");
	check_argv(o, (const char *[]){"-weird", NULL});
	options__free(o);
	/* The first is the value of --focused-on. */
	o = good("pikos-trace --focused-on -- -- x");
	assert_string_equal(o->focus, "--");
	check_argv(o, (const char *[]){"x", NULL});
	options__free(o);
	bad("pikos-trace --focused-on --", "cannot trace: no process and no program given", "-p");
}

static void test_target_errors(void **state)
{
	(void)state;
	bad("pikos-trace", "cannot trace: no process and no program given", "-p PID");
	bad("pikos-trace lines", "cannot trace: no process and no program given", "-p PID");
	bad("pikos-trace --", "cannot run a program: none after '--'", "python3");
	bad("pikos-trace -p 1 -- x",
	    "cannot use '--pid' with a program after '--': either attaches or runs", "one of");
	bad("pikos-trace lines x.py", "cannot use 'x.py': one monitor, then only options",
	    "pikos-trace lines -- x.py");
	bad("pikos-trace functoins -p 1", "cannot monitor 'functoins': no such monitor",
	    "did you mean 'functions'?");
	bad("pikos-trace Lines -p 1", "cannot monitor 'Lines': no such monitor",
	    "did you mean 'lines'?");
	bad("pikos-trace garbage -p 1", "cannot monitor 'garbage': no such monitor", "line_memory");
	bad("pikos-trace python3 x.py", "cannot monitor 'python3': no such monitor",
	    "a program goes after '--'");
	bad("pikos-trace 1234", "cannot monitor '1234': no such monitor",
	    "did you mean '-p 1234'?");
}

static void test_unknown_options(void **state)
{
	(void)state;
	bad("pikos-trace --colour", "cannot use '--colour': no such option", "pikos-trace --help");
	bad("pikos-trace -a", "cannot use '-a': no such option", "--help");
	bad("pikos-trace --follow -p 1", "cannot use '--follow': no such option", "--help");
	bad("pikos-trace -p 1 -qx", "cannot use '-x': no such option", "--help");
	bad("pikos-trace --focussed-on=f", "cannot use '--focussed-on=f': no such option",
	    "did you mean '--focused-on'?");
	bad("pikos-trace --delimiter ;", "cannot use '--delimiter': no such option",
	    "did you mean '--csv-delimiter'?");
	bad("pikos-trace --lossles -p 1", "cannot use '--lossles': no such option",
	    "did you mean '--lossless'?");
	bad("pikos-trace --dur=1s -p 1", "cannot use '--dur=1s': no such option", "'--duration'");
	bad("pikos-trace -p 1 --dur", "cannot use '--dur': no such option", "'--duration'");
	options__free(good("pikos-trace -o --lossles.csv -p 1"));     /* a file of that name */
	options__free(good("pikos-trace -- program --lossles -p 1")); /* the program's */
	bad("pikos-trace --fi x", "cannot use '--fi': it may be '--filter' or '--fields'",
	    "in full");
	bad("pikos-trace --tree=3", "cannot use '--tree=3': it takes no value", "write '--tree'");
	bad("pikos-trace -p", "cannot use '-p': it needs PID[,PID...]",
	    "write '--pid PID[,PID...]'");
	bad("pikos-trace -v --output", "cannot use '--output': it needs FILE",
	    "write '--output FILE'");
	bad("pikos-trace --recording csw -p 1",
	    "cannot use '--recording csw': not one of {screen,text,csv,zmq}",
	    "did you mean '--recording csv'?");
}

static void test_numbers_in_range(void **state)
{
	struct options *o = good("pikos-trace -p 1 --buffer-size 64K --duration 1ms "
				 "--max-records 9223372036854775807");

	(void)state;
	assert_true(o->buffer_size == 65536 && o->duration_ns == 1000000);
	assert_true(o->max_records == INT64_MAX);
	options__free(o);
	o = good("pikos-trace -p 1 --buffer-size 1G");
	assert_true(o->buffer_size == 1 << 30);
	options__free(o);
	o = good("pikos-trace -p 1 --buffer-size 536870913");
	assert_true(o->buffer_size == 1 << 30);
	options__free(o);
	bad("pikos-trace -p 1 --buffer-size 65535",
	    "cannot use '--buffer-size 65535': not a size (65536, 64K, 8M, 1G) within 64K to 1G",
	    "8M");
	bad("pikos-trace -p 1 --buffer-size 1073741825",
	    "cannot use '--buffer-size 1073741825': not a size (65536, 64K, 8M, 1G) within 64K "
	    "to 1G",
	    "8M");
	bad("pikos-trace -p 1 --duration 0", "cannot use '--duration 0': not within 1ms to 8760h",
	    "--help");
	bad("pikos-trace -p 1 --duration 8760.1h",
	    "cannot use '--duration 8760.1h': not within 1ms to 8760h", "--help");
	bad("pikos-trace -p 1 --duration soon",
	    "cannot use '--duration soon': not a time (10s, 500ms, 1.5s, 5m, 2h; a bare number "
	    "is seconds)",
	    "--help");
	bad("pikos-trace -p 1 --max-records 0",
	    "cannot use '--max-records 0': not within 1 to 2^63 - 1", "--help");
	bad("pikos-trace -p 1 --max-records 1K",
	    "cannot use '--max-records 1K': not a whole number", "--help");
}

static void test_conflicts(void **state)
{
	(void)state;
	bad("pikos-trace -qv -p 1",
	    "cannot use '--quiet' with '--verbose': they contradict each other", "one of");
	bad("pikos-trace --plain --tree -p 1",
	    "cannot use '--plain' with '--tree': plain fields are not indented", "one of");
	bad("pikos-trace lines --tree -p 1", "cannot use '--tree': the monitor is lines",
	    "functions");
	bad("pikos-trace --tree -p 1 -o x.csv", "cannot use '--tree': the recording is csv",
	    "screen or text");
	bad("pikos-trace --plain -p 1 --recording zmq",
	    "cannot use '--plain': the recording is zmq", "screen or text");
	bad("pikos-trace --csv-delimiter ; -p 1",
	    "cannot use '--csv-delimiter': the recording is screen", "--recording csv");
	bad("pikos-trace --lossless --transport perfbuf -p 1",
	    "cannot use '--lossless' with '--transport perfbuf': it needs the ring buffer", "auto");
	options__free(good("pikos-trace function_memory --tree -o x.log -p 1"));
	options__free(good("pikos-trace lines --plain -p 1"));
}

static void test_sources(void **state)
{
	struct options *o = good("pikos-trace --source agent --qualified --regions -p 1");

	(void)state;
	assert_int_equal(o->source, SOURCE_AGENT);
	assert_int_equal(o->c_calls, C_CALLS_DEFAULT);
	assert_true(o->qualified && o->regions);
	options__free(o);
	o = good("pikos-trace --c-calls -- python3 x.py");
	assert_int_equal(o->source, SOURCE_AUTO);
	assert_int_equal(o->c_calls, C_CALLS_ON);
	options__free(o);
	o = good("pikos-trace lines --source=agent --no-c-calls -p 1");
	assert_int_equal(o->c_calls, C_CALLS_OFF);
	options__free(o);
	options__free(good("pikos-trace function_memory --source agent --c-calls -p 1"));
	options__free(good("pikos-trace --source usdt --qualified -p 1"));
	bad("pikos-trace --source ebpf -p 1",
	    "cannot use '--source ebpf': not one of {auto,usdt,agent}", "--help");
	bad("pikos-trace --source agnet -p 1",
	    "cannot use '--source agnet': not one of {auto,usdt,agent}", "'--source agent'?");
	bad("pikos-trace --c-calls --source usdt -p 1",
	    "cannot use '--c-calls' with '--source usdt': the built-in probes do not see calls of "
	    "C functions",
	    "--source agent");
	bad("pikos-trace --c-calls --no-c-calls -p 1",
	    "cannot use '--c-calls' with '--no-c-calls': they contradict each other", "one of");
	bad("pikos-trace lines --c-calls -p 1", "cannot use '--c-calls': the monitor is lines",
	    "functions or function_memory");
	bad("pikos-trace --c-calls line_memory -p 1",
	    "cannot use '--c-calls': the monitor is line_memory", "functions or function_memory");
	bad("pikos-trace --source agent --transport perfbuf -p 1",
	    "cannot use '--source agent' with '--transport perfbuf': it needs the ring buffer",
	    "auto");
	bad("pikos-trace --c-calls --transport perfbuf -p 1",
	    "cannot use '--c-calls' with '--transport perfbuf': it needs the ring buffer", "auto");
}

static void test_domains(void **state)
{
	const char *next = "they are raw, mem and obj, comma separated";
	struct options *o = good("pikos-trace allocations --domains obj,raw -- x");

	(void)state;
	assert_int_equal(o->domains, 1 | 4);
	options__free(o);
	bad("pikos-trace allocations --domains= -- x", "cannot use '--domains ': no such domains",
	    next);
	bad("pikos-trace allocations --domains raw,,mem -- x",
	    "cannot use '--domains raw,,mem': no such domains", next);
	bad("pikos-trace allocations --domains ra -- x",
	    "cannot use '--domains ra': no such domains", next);
	bad("pikos-trace memory --domains raw -- x",
	    "cannot use '--domains': the monitor is memory", "it goes with allocations");
}

static void test_summaries(void **state)
{
	struct options *o = good("pikos-trace memory --summary --interval 500ms -p 1");

	(void)state;
	assert_true(o->summary);
	assert_int_equal(o->interval_ns, 500000000);
	assert_int_equal(o->top, 20);
	assert_string_equal(options__record_type(o), "memory_summary");
	options__free(o);
	o = good("pikos-trace memory --leaks -o x.csv -p 1,2");
	assert_true(o->summary && o->leaks);
	assert_int_equal(o->top, 0);
	assert_string_equal(o->fields, "+pid");
	options__free(o);
	o = good("pikos-trace memory --summary --top 0 --filter section=line -p 1");
	assert_int_equal(o->top, 0);
	options__free(o);
	o = good("pikos-trace memory -p 1");
	assert_string_equal(options__record_type(o), "memory");
	options__free(o);
	bad("pikos-trace --summary -p 1", "cannot use '--summary': the monitor is functions",
	    "memory");
	bad("pikos-trace lines --leaks -p 1", "cannot use '--leaks': the monitor is lines",
	    "memory");
	bad("pikos-trace memory --interval 1 -p 1", "cannot use '--interval': there is no summary",
	    "--summary");
	bad("pikos-trace memory --top 5 -p 1", "cannot use '--top': there is no summary",
	    "--summary");
	bad("pikos-trace memory --summary --stacks -p 1",
	    "cannot use '--stacks' with '--summary': it is of records", "leave");
	bad("pikos-trace memory --leaks --max-records 5 -p 1",
	    "cannot use '--max-records' with '--leaks': it is of records", "leave");
	bad("pikos-trace memory --leaks --interval 1 -p 1",
	    "cannot use '--interval' with '--leaks': what is held at the end is known at the end",
	    "--summary --interval");
	bad("pikos-trace memory --summary --interval 10ms -p 1",
	    "cannot use '--interval 10ms': not within 100ms to 8760h", "--help");
	bad("pikos-trace memory --summary --filter type=mmap -p 1",
	    "cannot filter by 'type=mmap': memory_summary has no such field", "section");
}

static void test_delimiters(void **state)
{
	static const char *const refused[] = {"''", ";;",   "\"",   "\n",
					      "\r", "\x1f", "\x7f", "\xc3\xa9"};
	char command[128], error[128];
	struct options *o;

	(void)state;
	o = good("pikos-trace -p 1 --recording csv --csv-delimiter \t");
	assert_int_equal(o->csv_delimiter, '\t');
	options__free(o);
	o = good("pikos-trace -p 1 --recording csv --csv-delimiter \\t");
	assert_int_equal(o->csv_delimiter, '\t');
	options__free(o);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct options *bad_one;

		snprintf(command, sizeof(command),
			 "pikos-trace -p 1 --recording csv --csv-delimiter %s", refused[i]);
		snprintf(error, sizeof(error), "cannot use '--csv-delimiter %s': not one",
			 i ? refused[i] : "");
		assert_int_equal(parse(&bad_one, command), -EINVAL);
		assert_int_equal(strncmp(bad_one->error, error, strlen(error)), 0);
		options__free(bad_one);
	}
}

static void test_records(void **state)
{
	(void)state;
	options__free(good("pikos-trace -p 1,2 --filter pid=1"));
	bad("pikos-trace -p 1 --filter pid=1",
	    "cannot filter by 'pid=1': functions has no such field",
	    "its fields are index, type, function, lineNo, filename");
	bad("pikos-trace lines -p 1 --filter type=call",
	    "cannot filter by 'type=call': lines has no such field", "lineNo, line, filename");
	bad("pikos-trace -p 1 --filter type", "cannot filter by 'type': not a filter",
	    "'field=V1,V2'");
	bad("pikos-trace -p 1 --fields pid", "cannot add fields 'pid': not extra fields", "+pid");
	bad("pikos-trace -p 1 --fields +pid --fields +pid",
	    "cannot add fields '+pid,+pid': not extra fields", "once");
	bad("pikos-trace -p 1 --fields +line", "cannot add fields '+line': not extra fields",
	    "+pid");
	bad("pikos-trace -p 1 --focused-on ,", "cannot focus on ',': no function named", "gcd");
	bad("pikos-trace -p 1 --focused-on ''", "cannot focus on '': no function named", "gcd");
}

static void test_too_many_filters(void **state)
{
	struct options *o = options__new();
	char *argv[3 + OPTIONS_MAX_FILTERS + 2] = {"pikos-trace", "-p", "1"};
	int n = 3;

	(void)state;
	while (n < 3 + OPTIONS_MAX_FILTERS)
		argv[n++] = "--filter=type=call";
	assert_int_equal(options__parse(o, n, argv), 0);
	assert_int_equal(o->n_filters, OPTIONS_MAX_FILTERS);
	options__free(o);
	argv[n++] = "--filter=type=call";
	o = options__new();
	assert_int_equal(options__parse(o, n, argv), -EINVAL);
	assert_string_equal(o->error, "cannot filter by 'type=call': more than 64 filters");
	options__free(o);
}

static void test_show(void **state)
{
	struct options *o = good("pikos-trace --list");

	(void)state;
	assert_int_equal(o->action, ACTION_LIST);
	assert_true(!o->n_pids && !o->list_file && !o->argv);
	options__free(o);
	o = good("pikos-trace -v --list /usr/bin/python3");
	assert_string_equal(o->list_file, "/usr/bin/python3");
	options__free(o);
	o = good("pikos-trace --list -p 5");
	assert_int_equal(o->pids[0], 5);
	assert_false(o->json);
	options__free(o);
	o = good("pikos-trace --json --list -p 5");
	assert_true(o->json && o->action == ACTION_LIST);
	options__free(o);
	bad("pikos-trace --json -p 5", "cannot use '--json' without '--list'", "zmq");
	bad("pikos-trace --features --json", "cannot use '--json' with '--features'", "--help");
	o = good("pikos-trace --features -q");
	assert_int_equal(o->action, ACTION_FEATURES);
	options__free(o);
	bad("pikos-trace --list -p 1 /bin/x", "cannot list more than one interpreter", "FILE");
	bad("pikos-trace --list -p 1,2", "cannot list more than one interpreter", "FILE");
	bad("pikos-trace --list a b", "cannot list more than one interpreter", "FILE");
	bad("pikos-trace --list --tree", "cannot use '--tree' with '--list'", "--help");
	bad("pikos-trace --list -- x", "cannot use '--list' with a program after '--'", "--help");
	bad("pikos-trace --features lines", "cannot use 'lines' with '--features'", "--help");
	bad("pikos-trace --features -p 1", "cannot use '--pid' with '--features'", "--help");
	bad("pikos-trace --features --list", "cannot use '--list' with '--features': one at a time",
	    "one of");
}

static void test_agent(void **state)
{
	struct options *o = good("pikos-trace agent -p 7 -v");

	(void)state;
	assert_int_equal(o->action, ACTION_AGENT);
	assert_true(o->n_pids == 1 && o->pids[0] == 7 && o->verbose);
	options__free(o);
	o = good("pikos-trace --list agent");
	assert_int_equal(o->action, ACTION_LIST);
	options__free(o);
	o = good("pikos-run functions agent");
	assert_int_equal(o->action, ACTION_TRACE);
	options__free(o);
	bad("pikos-trace agent", "cannot load the agent: no process given", "agent -p PID");
	bad("pikos-trace agent -p 1,2",
	    "cannot load the agent: it is loaded into one process at a time", "agent -p PID");
	bad("pikos-trace agent 12", "cannot use '12': 'agent' takes no words", "agent -p PID");
	bad("pikos-trace agent -p 1 -- x", "cannot use 'agent' with a program after '--'",
	    "--source agent");
	bad("pikos-trace -p 1 agent --tree", "cannot use '--tree' with 'agent'", "--help");
	bad("pikos-trace -p 1 agnet", "cannot monitor 'agnet': no such monitor", "monitors are");
}

static void test_help_comes_first(void **state)
{
	static const struct {
		const char *command;
		enum action action;
	} cases[] = {
		{"pikos-trace -h", ACTION_HELP},
		{"pikos-trace nonsense --help --nonsense", ACTION_HELP},
		{"pikos-trace -p 1 -vhq", ACTION_HELP},
		{"pikos-trace -V -h", ACTION_VERSION},
		{"pikos-run -h", ACTION_HELP},
		{"pikos-run lines x.py -h", ACTION_HELP},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct options *o = good(cases[i].command);

		assert_int_equal(o->action, cases[i].action);
		options__free(o);
	}
}

/* The order of the seeds' own example, and every other. */
static void test_pikos_run_order(void **state)
{
	static const char *const commands[] = {
		"pikos-run line_memory s.py --recording csv --focused-on=f --buffered -o out",
		"/x/pikos-run --recording csv --focused-on f --buffered -o out line_memory s.py",
		"pikos-run --recording=csv line_memory -oout s.py --buffered --focused-on f",
		"./pikos-run --rec csv --foc f --output out --buf -- line_memory s.py",
		"pikos-run --buffered --recording csv line_memory -o out --focused-on f -- ./s.py",
	};
	char path[PATH_MAX + 8];

	(void)state;
	assert_non_null(getcwd(path, PATH_MAX));
	strcat(path, "/s.py");
	unsetenv("PIKOS_PYTHON");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		struct options *o = good(commands[i]);

		assert_string_equal(o->program, "pikos-run");
		assert_true(o->pikos_run);
		assert_string_equal(o->monitor, "line_memory");
		assert_string_equal(o->script, path);
		check_argv(o, (const char *[]){"python3", path, NULL});
		assert_string_equal(o->focus, "f");
		assert_string_equal(o->output, "out");
		assert_int_equal(o->recording, RECORDING_CSV);
		assert_true(o->buffered);
		options__free(o);
	}
}

static void test_pikos_run_arguments(void **state)
{
	struct options *o;

	(void)state;
	setenv("PIKOS_PYTHON", "/opt/py thon", 1);
	o = good("pikos-run lines /s.py a --unknown=1 -x -h5 -5 - --buffered b -o out.csv "
		 "--verbose --rec --bufferedx c -- --buffered -h -- d");
	check_argv(o, (const char *[]){"/opt/py thon", "/s.py", "a", "--unknown=1", "-x", "-h5",
				       "-5", "-", "b", "--verbose", "--rec", "--bufferedx", "c",
				       "--buffered", "-h", "--", "d", NULL});
	assert_true(o->buffered);
	assert_string_equal(o->output, "out.csv");
	options__free(o);
	setenv("PIKOS_PYTHON", "", 1);
	o = good("pikos-run lines /s.py ''");
	check_argv(o, (const char *[]){"python3", "/s.py", "", NULL});
	options__free(o);
	unsetenv("PIKOS_PYTHON");
}

static void test_pikos_run_errors(void **state)
{
	(void)state;
	bad("pikos-run", "cannot run a script: no monitor and no script given", "script.py");
	bad("pikos-run lines", "cannot run a script: none after 'lines'", "script.py");
	bad("pikos-run s.py lines", "cannot monitor 's.py': no such monitor", "functions, lines");
	bad("pikos-run -p 1", "cannot use '-p': no such option", "pikos-run --help");
	bad("pikos-run lines --tree s.py", "cannot use '--tree': no such option",
	    "pikos-run --help");
	bad("pikos-run lines s.py -o", "cannot use '-o': it needs OUTPUT", "--output OUTPUT");
	bad("pikos-run lines s.py --buffered=1", "cannot use '--buffered=1': it takes no value",
	    "write '--buffered'");
	bad("pikos-run lines s.py -o x.dat",
	    "cannot use '--output x.dat': its suffix says no recording", ".csv");
}

static void test_script_from_the_root(void **state)
{
	int here = open(".", O_RDONLY | O_DIRECTORY);
	struct options *o;

	(void)state;
	assert_int_equal(chdir("/"), 0);
	o = good("pikos-run lines ././/a/../s.py");
	/* CPython joins and does not resolve: co_filename is this. */
	assert_string_equal(o->script, "/a/../s.py");
	options__free(o);
	assert_int_equal(fchdir(here), 0);
	close(here);
}

static void test_argv_is_not_changed(void **state)
{
	char *argv[] = {"pikos-trace", "x", "-p", "1", "lines", "--", "y", NULL};
	char *copy[8];
	struct options *o = options__new();

	(void)state;
	memcpy(copy, argv, sizeof(argv));
	assert_int_equal(options__parse(o, 7, argv), -EINVAL);
	assert_memory_equal(copy, argv, sizeof(argv));
	options__free(o);
	o = options__new();
	assert_int_equal(options__parse(o, 0, argv + 7), -EINVAL);
	options__free(o);
	options__free(NULL);
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void test_read_key(void **state)
{
	static const char good_key[] = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs";
	char dir[] = "/tmp/pikos-test.XXXXXX", path[64], fifo[64], text[256], key[41];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/key", dir);
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	write_file(path, good_key);
	assert_int_equal(options__read_key(path, key), 0);
	assert_string_equal(key, good_key);
	snprintf(text, sizeof(text), "%s \r\n\n", good_key);
	write_file(path, text);
	assert_int_equal(options__read_key(path, key), 0);
	assert_string_equal(key, good_key);
	snprintf(text, sizeof(text), "%s\n%s", good_key, good_key);
	write_file(path, text);
	assert_int_equal(options__read_key(path, key), -EBADMSG);
	assert_string_equal(key, "");
	write_file(path, good_key + 1);
	assert_int_equal(options__read_key(path, key), -EBADMSG);
	write_file(path, "");
	assert_int_equal(options__read_key(path, key), -EBADMSG);
	memset(text, ' ', sizeof(text) - 1);
	memcpy(text, good_key, 40);
	text[sizeof(text) - 1] = '\0';
	write_file(path, text);
	assert_int_equal(options__read_key(path, key), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(options__read_key(fifo, key), -EBADMSG); /* at once */
	assert_int_equal(options__read_key(dir, key), -EISDIR);
	unlink(fifo);
	unlink(path);
	assert_int_equal(options__read_key(path, key), -ENOENT);
	rmdir(dir);
}

/* Each option of a table stands in its help, with its argument, in lines of 80 columns. */
static void check_help(bool pikos_run, const struct option_info *info)
{
	char *text = help__text(pikos_run), name[128], *from;
	size_t len;

	assert_non_null(text);
	for (; info->name; info++) {
		snprintf(name, sizeof(name), "--%s%s%s", info->name, info->arg ? " " : "",
			 info->arg ? info->arg : "");
		if (!strstr(text, name))
			fail_msg("'%s' is not in the help", name);
		assert_non_null(info->help);
	}
	for (from = text; *from; from += len + 1) {
		len = strcspn(from, "\n");
		assert_int_equal(from[len], '\n');
		if (len > 80)
			fail_msg("too wide: %.*s", (int)len, from);
	}
	assert_non_null(strstr(text, "\nEXAMPLES:\n"));
	free(text);
}

static void test_help(void **state)
{
	static const char usage[] =
		"usage: pikos-run [-h] [-o OUTPUT] [--buffered] [--recording {screen,text,csv}]\n"
		"                 [--focused-on FOCUSED_ON]\n"
		"                 {functions,line_memory,lines,function_memory} script\n";
	char *text = help__text(true);

	(void)state;
	assert_int_equal(strncmp(text, usage, strlen(usage)), 0);
	free(text);
	check_help(false, options__trace_table);
	check_help(true, options__run_table);
	assert_string_equal(help__version(false), "pikos-trace " PIKOS_VERSION);
	assert_string_equal(help__version(true), "pikos-run " PIKOS_VERSION);
}

/* What --help and the man page show as examples is accepted. */
static void test_examples_parse(void **state)
{
	(void)state;
	for (int pikos_run = 0; pikos_run < 2; pikos_run++) {
		char *text = help__text(pikos_run), *save = NULL, *at, *row;
		int n = 0;

		at = strstr(text, "EXAMPLES:\n");
		assert_non_null(at);
		for (row = strtok_r(at, "\n", &save); row; row = strtok_r(NULL, "\n", &save)) {
			char bare[128], *to = bare;

			if (strncmp(row, "  pikos-", 8) != 0)
				continue;
			row[strcspn(row, "#")] = '\0';
			for (char *from = row + 2; *from; from++)
				if (*from != '\'')
					*to++ = *from;
			*to = '\0';
			options__free(good(bare));
			n++;
		}
		assert_true(n >= 4);
		free(text);
	}
}

static int forget(void **state)
{
	(void)state;
	free(line);
	line = NULL;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_every_monitor),
		cmocka_unit_test(test_everything_at_once),
		cmocka_unit_test(test_zmq),
		cmocka_unit_test(test_recording),
		cmocka_unit_test(test_pids),
		cmocka_unit_test(test_program),
		cmocka_unit_test(test_target_errors),
		cmocka_unit_test(test_unknown_options),
		cmocka_unit_test(test_numbers_in_range),
		cmocka_unit_test(test_conflicts),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_domains),
		cmocka_unit_test(test_summaries),
		cmocka_unit_test(test_delimiters),
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_too_many_filters),
		cmocka_unit_test(test_show),
		cmocka_unit_test(test_agent),
		cmocka_unit_test(test_help_comes_first),
		cmocka_unit_test(test_pikos_run_order),
		cmocka_unit_test(test_pikos_run_arguments),
		cmocka_unit_test(test_pikos_run_errors),
		cmocka_unit_test(test_script_from_the_root),
		cmocka_unit_test(test_argv_is_not_changed),
		cmocka_unit_test(test_read_key),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_examples_parse),
	};

	return cmocka_run_group_tests(tests, NULL, forget);
}
