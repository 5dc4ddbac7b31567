// SPDX-License-Identifier: BSD-3-Clause
/*
 * One pass of getopt over the command line fills what stands on its own (apply), then
 * parser__finish looks at the whole.
 *
 * getopt hands back words in their place (RETURN_IN_ORDER): so we see where `--` stood, which
 * begins the program, and in pikos-run what came after the script.
 */
#include "cli/options.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/parser.h"
#include "cli/suggest.h"

#define MAX_OPTIONS 64	/* bits of `given` */
#define LONG_BASE   256 /* getopt's value of the table's first option */
#define NSEC	    UINT64_C(1000000000)
#define YEAR	    (365 * 24 * 3600 * NSEC)

/* A block that options__free frees, in front of what it holds. */
struct owned {
	struct owned *next;
	max_align_t data[];
};

void *parser__allocate(struct options *options, size_t size)
{
	struct owned *owned = calloc(1, sizeof(*owned) + size);

	if (!owned)
		return NULL;
	owned->next = options->owned;
	options->owned = owned;
	return owned->data;
}

int parser__usage(struct options_parser *parser, const char *next, const char *format, ...)
{
	struct options *options = parser->options;
	va_list args;

	va_start(args, format);
	vsnprintf(options->error, sizeof(options->error), format, args);
	va_end(args);
	if (next)
		snprintf(options->hint, sizeof(options->hint), "%s", next);
	else
		snprintf(options->hint, sizeof(options->hint), "'%s --help' lists the options",
			 options->program);
	return -EINVAL;
}

int parser__hint(struct options_parser *parser, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(parser->options->hint, sizeof(parser->options->hint), format, args);
	va_end(args);
	return -EINVAL;
}

/* ------------------------------------------------------------------ options on their own */

static int add_pid(struct options_parser *parser, const char *text)
{
	struct options *options = parser->options;
	uint64_t pid;
	int err, i;

	err = number__parse(text, NUMBER_COUNT, 1, OPTIONS_MAX_PID, &pid);
	if (err)
		return parser__usage(parser, "-p takes numbers: -p 1234 or -p 1234,5678",
				     "cannot trace '%s': not a process id", text);
	for (i = 0; i < options->n_pids; i++)
		if (options->pids[i] == (pid_t)pid)
			return parser__usage(parser, "name each process once",
					     "cannot trace '%s': it is there twice", text);
	if (options->n_pids == OPTIONS_MAX_PIDS)
		return parser__usage(parser, "trace some of them by a second pikos-trace",
				     "cannot trace '%s': more than %d processes", text,
				     OPTIONS_MAX_PIDS);
	if (!options->pids)
		options->pids = parser__allocate(options, OPTIONS_MAX_PIDS * sizeof(pid_t));
	if (!options->pids)
		return -ENOMEM;
	options->pids[options->n_pids++] = (pid_t)pid;
	return 0;
}

static int set_pids(struct options_parser *parser, const char *arg)
{
	size_t size = strlen(arg) + 1;
	char *list = parser__allocate(parser->options, size), *pid;
	int err;

	if (!list)
		return -ENOMEM;
	memcpy(list, arg, size);
	while ((pid = strsep(&list, ","))) {
		err = add_pid(parser, pid);
		if (err)
			return err;
	}
	return 0;
}

static int add_filter(struct options_parser *parser, const char *arg)
{
	struct options *options = parser->options;

	if (options->n_filters == OPTIONS_MAX_FILTERS)
		return parser__usage(parser, "one filter takes many values: 'field=V1,V2'",
				     "cannot filter by '%s': more than %d filters", arg,
				     OPTIONS_MAX_FILTERS);
	options->filters[options->n_filters++] = arg;
	return 0;
}

/* A delimiter that a field's text or a line's end can be mistaken for cannot be read back. */
static int set_delimiter(struct options_parser *parser, const char *arg)
{
	if (!strcmp(arg, "\\t"))
		arg = "\t";
	if (!arg[0] || arg[1] || (unsigned char)arg[0] > '~' || (arg[0] < ' ' && arg[0] != '\t') ||
	    arg[0] == '"')
		return parser__usage(
			parser, "for example: --csv-delimiter ';' or --csv-delimiter '\\t'",
			"cannot use '--csv-delimiter %s': not one ASCII character other "
			"than the quote",
			arg);
	parser->options->csv_delimiter = arg[0];
	return 0;
}

static int set_buffer_size(struct options_parser *parser, const char *arg)
{
	uint64_t size, rounded = OPTIONS_MIN_BUFFER;

	if (number__parse(arg, NUMBER_SIZE, OPTIONS_MIN_BUFFER, OPTIONS_MAX_BUFFER, &size))
		return parser__usage(parser, "for example: --buffer-size 8M",
				     "cannot use '--buffer-size %s': not %s within 64K to 1G", arg,
				     number__form(NUMBER_SIZE));
	while (rounded < size)
		rounded <<= 1;
	parser->options->buffer_size = rounded;
	return 0;
}

/* The recorder has the last word: it knows which are loopback. */
static bool is_endpoint(const char *text)
{
	const char *port = strrchr(text, ':');
	uint64_t number;

	if (!strncmp(text, "ipc://", 6))
		return text[6];
	if (strncmp(text, "tcp://", 6) != 0 || port < text + 7)
		return false;
	return !strcmp(port + 1, "*") || !number__parse(port + 1, NUMBER_COUNT, 0, 65535, &number);
}

static int set_endpoint(struct options_parser *parser, const char *arg)
{
	if (!is_endpoint(arg))
		return parser__usage(
			parser, "for example: --zmq-endpoint " OPTIONS_DEFAULT_ENDPOINT,
			"cannot use '--zmq-endpoint %s': not tcp://HOST:PORT or ipc://PATH", arg);
	parser->options->zmq_endpoint = arg;
	return 0;
}

/* ------------------------------------------------------------------ the tables */

#define AT(member)	      offsetof(struct options, member)
#define FLAG(member)	      .kind = OPTION_FLAG, .offset = AT(member)
#define ACTION(action_)	      .kind = OPTION_ACTION, .value = (action_)
#define VALUE(member, value_) .kind = OPTION_VALUE, .offset = AT(member), .value = (value_)
#define STRING(member)	      .kind = OPTION_STRING, .offset = AT(member)
#define LIST(member)	      .kind = OPTION_LIST, .offset = AT(member)
#define CHOICE(member, words) .kind = OPTION_CHOICE, .offset = AT(member), .choices = (words)
#define NUMBER(member, unit_, min_, max_, range_)                                    \
	.kind = OPTION_NUMBER, .offset = AT(member), .unit = (unit_), .min = (min_), \
	.max = (max_), .range = (range_)
#define CALL(function) .kind = OPTION_CALL, .call = (function)

static const char *const recordings[] = {[RECORDING_SCREEN] = "screen",
					 [RECORDING_TEXT] = "text",
					 [RECORDING_CSV] = "csv",
					 [RECORDING_ZMQ] = "zmq",
					 NULL};
static const char *const run_recordings[] = {
	[RECORDING_SCREEN] = "screen", [RECORDING_TEXT] = "text", [RECORDING_CSV] = "csv", NULL};
static const char *const sources[] = {
	[SOURCE_AUTO] = "auto", [SOURCE_USDT] = "usdt", [SOURCE_AGENT] = "agent", NULL};
static const char *const transports[] = {[TRANSPORT_AUTO] = "auto",
					 [TRANSPORT_RINGBUF] = "ringbuf",
					 [TRANSPORT_PERFBUF] = "perfbuf",
					 NULL};
static const char *const patterns[] = {[PIKOS_ZMQ_PUB] = "pub", [PIKOS_ZMQ_PUSH] = "push", NULL};
static const char *const encodings[] = {[PIKOS_JSON] = "json", [PIKOS_MSGPACK] = "msgpack", NULL};

const struct monitor_info options__monitors[] = {
	{.name = "functions", .help = "Python function calls and returns (the default)"},
	{.name = "lines", .help = "Python lines, each before it runs"},
	{.name = "function_memory", .help = "functions, with RSS and VMS at that moment"},
	{.name = "line_memory", .help = "lines, with RSS and VMS at that moment"},
	{.name = "memory",
	 .help = "memory calls and page faults, and who made them",
	 .not_of_run = true},
	{.name = "allocations",
	 .help = "functions, and blocks that Python allocates",
	 .not_of_run = true},
	{.name = NULL},
};

const struct option_info options__trace_table[] = {
	{"pid", 'p', "PID[,PID...]", "trace these processes; repeatable", CALL(set_pids),
	 .section = "What to trace"},
	{"source", 0, "{auto,usdt,agent}",
	 "where events come from; usdt: the probes that\n"
	 "the interpreter was built with; agent: a library\n"
	 "that we load into it; auto: usdt where it is\n"
	 "enough, else for a program of ours the agent",
	 CHOICE(source, sources)},
	{"list", 0, NULL,
	 "show what the Python of -p PID, of FILE, or the\n"
	 "python3 of PATH offers, and exit",
	 ACTION(ACTION_LIST)},
	{"json", 0, NULL, "with --list: for programs", FLAG(json)},
	{"features", 0, NULL, "show the kernel features found, each with its\nrelease, and exit",
	 ACTION(ACTION_FEATURES)},

	{"focused-on", 0, "F[,F...]",
	 "record only inside these functions, callees\n"
	 "included; for lines: only lines of theirs.\n"
	 "F is gcd, pkg.mod.func, pkg.mod.Class.method,\n"
	 "path/file.py:func or file.py:LINE",
	 LIST(focus), .section = "Which records"},
	{"filter", 0, "EXPR",
	 "keep records by a field: 'field=V1,V2',\n"
	 "'field!=V1', 'change(field)'; repeatable, all\n"
	 "must hold",
	 CALL(add_filter)},
	{"c-calls", 0, NULL,
	 "functions: record calls of C functions, too; the\n"
	 "agent sees them, and does so unless told not to",
	 VALUE(c_calls, C_CALLS_ON)},
	{"no-c-calls", 0, NULL, "leave them out", VALUE(c_calls, C_CALLS_OFF)},
	{"domains", 0, "D[,D...]",
	 "allocations: which of Python's allocators, raw,\n"
	 "mem and obj; default raw",
	 LIST(domain_names)},
	{"regions", 0, NULL, "only inside the regions that the program marks", FLAG(regions)},
	{"fields", 0, "+F[,+F...]", "extra leading columns: +pid, +tid, +time", LIST(fields)},
	{"qualified", 0, NULL,
	 "write co_qualname (Class.method), where the\n"
	 "source knows it: the agent, CPython 3.11 on",
	 FLAG(qualified)},

	{"stacks", 0, NULL,
	 "memory: add a column with the whole Python stack,\n"
	 "outermost first",
	 FLAG(stacks)},
	{"native", 0, NULL, "memory: add a column with the C frames above it", FLAG(native)},
	{"summary", 0, NULL,
	 "memory: no records but sums by line, function and\n"
	 "stack, at the end and on SIGUSR1: who mapped and\n"
	 "touched how much, and what of it is still there",
	 FLAG(summary)},
	{"interval", 0, "TIME", "and what has changed, every TIME",
	 NUMBER(interval_ns, NUMBER_TIME, NSEC / 10, YEAR, "100ms to 8760h")},
	{"leaks", 0, NULL, "a summary of only what is still held at the end", FLAG(leaks)},
	{"top", 0, "N",
	 "rows in each part of a summary; 0 is all;\n"
	 "default 20 on screen and in text, else all",
	 NUMBER(top, NUMBER_COUNT, 0, UINT32_MAX, "0 to 2^32 - 1")},

	{"recording", 0, "{screen,text,csv,zmq}",
	 "default screen, or what the suffix of -o says\n(.csv, .log, .txt)",
	 CHOICE(recording, recordings), .section = "Where they go"},
	{"output", 'o', "FILE",
	 "- is stdout; default " OPTIONS_DEFAULT_TEXT "\nor " OPTIONS_DEFAULT_CSV, STRING(output)},
	{"buffered", 0, NULL, "do not flush after every batch", FLAG(buffered)},
	{"csv-delimiter", 0, "C", "one character, default ','; '\\t' is a tab",
	 CALL(set_delimiter)},
	{"plain", 0, NULL, "screen, text: unformatted fields, one space\nbetween them",
	 FLAG(plain)},
	{"tree", 0, NULL,
	 "screen, text of functions: indent by depth, show\nthe elapsed time at each return",
	 FLAG(tree)},

	{"zmq-endpoint", 0, "ENDPOINT", "bind here; default " OPTIONS_DEFAULT_ENDPOINT,
	 CALL(set_endpoint), .section = "ZeroMQ (--recording zmq)"},
	{"zmq-pattern", 0, "{pub,push}", "push waits for a slow consumer; default pub",
	 CHOICE(zmq_pattern, patterns)},
	{"zmq-encoding", 0, "{json,msgpack}", "default json", CHOICE(zmq_encoding, encodings)},
	{"zmq-wait", 0, NULL, "begin when a consumer has answered on the port\nabove",
	 FLAG(zmq_wait)},
	{"zmq-curve-secret-key", 0, "FILE", "our secret CURVE key (Z85, 40 characters)",
	 STRING(zmq_secret_key_file)},
	{"zmq-curve-public-key", 0, "FILE", "our public CURVE key", STRING(zmq_public_key_file)},
	{"zmq-insecure", 0, NULL, "allow an endpoint off loopback without keys",
	 FLAG(zmq_insecure)},

	{"duration", 0, "TIME",
	 "end the tracing after TIME: 10s, 1500ms, 5m;\na bare number is seconds",
	 NUMBER(duration_ns, NUMBER_TIME, NSEC / 1000, YEAR, "1ms to 8760h"),
	 .section = "When it ends"},
	{"max-records", 0, "N", "end the tracing after N records",
	 NUMBER(max_records, NUMBER_COUNT, 1, INT64_MAX, "1 to 2^63 - 1")},

	{"lossless", 0, NULL, "pause the target rather than lose records", FLAG(lossless),
	 .section = "Losses"},
	{"strict", 0, NULL, "exit with 3 if records were lost", FLAG(strict)},
	{"transport", 0, "{auto,ringbuf,perfbuf}", "how records leave the kernel",
	 CHOICE(transport, transports)},
	{"buffer-size", 0, "SIZE",
	 "of the transport, per CPU: 64K to 1G, rounded up\nto a power of two",
	 CALL(set_buffer_size)},

	{"quiet", 'q', NULL, "no warnings", FLAG(quiet), .section = "Messages"},
	{"verbose", 'v', NULL, "say more, and the totals at the end", FLAG(verbose)},
	{"progress", 0, NULL, "a line of progress on stderr, if a terminal", FLAG(progress)},
	{"overhead", 0, NULL,
	 "measure what the tracing itself takes, and say it\n"
	 "at the end: each hook, probe and record",
	 FLAG(overhead)},
	{"help", 'h', NULL, "show this and exit", ACTION(ACTION_HELP)},
	{"version", 'V', NULL, "show the version and exit", ACTION(ACTION_VERSION)},
	{.name = NULL},
};

const struct option_info options__run_table[] = {
	{"help", 'h', NULL, "show this help message and exit", ACTION(ACTION_HELP)},
	{"output", 'o', "OUTPUT", "record to a file", STRING(output)},
	{"buffered", 0, NULL, "do not flush after every batch", FLAG(buffered)},
	{"recording", 0, "{screen,text,csv}",
	 "default screen, or what the suffix of OUTPUT says\n"
	 "(.csv, .log, .txt)",
	 CHOICE(recording, run_recordings)},
	{"focused-on", 0, "FOCUSED_ON",
	 "record only inside these functions, a comma\nseparated list", LIST(focus)},
	{.name = NULL},
};

_Static_assert(sizeof(options__trace_table) / sizeof(options__trace_table[0]) <= MAX_OPTIONS,
	       "a bit of `given` for every option");

/* @return the option of that letter or of that long name of len bytes, or NULL */
static const struct option_info *find(const struct option_info *table, int letter, const char *name,
				      size_t len)
{
	for (; table->name; table++)
		if (name ? !strncmp(table->name, name, len) && !table->name[len]
			 : table->letter && table->letter == letter)
			return table;
	return NULL;
}

bool parser__given(const struct options_parser *parser, const char *name)
{
	const struct option_info *info = find(parser->table, 0, name, strlen(name));

	return info && parser->given >> (info - parser->table) & 1;
}

/* ------------------------------------------------------------------ one option */

static int join(struct options_parser *parser, const char **list, const char *more)
{
	char *joined;

	if (!*list) {
		*list = more;
		return 0;
	}
	joined = parser__allocate(parser->options, strlen(*list) + strlen(more) + 2);
	if (!joined)
		return -ENOMEM;
	sprintf(joined, "%s,%s", *list, more);
	*list = joined;
	return 0;
}

static int choose(struct options_parser *parser, const struct option_info *info, const char *arg,
		  int *choice)
{
	const char *near = NULL;

	for (int i = 0; info->choices[i]; i++)
		if (!strcmp(info->choices[i], arg)) {
			*choice = i;
			return 0;
		}
	for (int i = 0; info->choices[i]; i++)
		near = suggest__nearer(arg, near, info->choices[i]);
	parser__usage(parser, NULL, "cannot use '--%s %s': not one of %s", info->name, arg,
		      info->arg);
	if (near)
		parser__hint(parser, "did you mean '--%s %s'?", info->name, near);
	return -EINVAL;
}

static int set_number(struct options_parser *parser, const struct option_info *info,
		      const char *arg, uint64_t *number)
{
	int err = number__parse(arg, info->unit, info->min, info->max, number);

	if (err == -ERANGE)
		return parser__usage(parser, NULL, "cannot use '--%s %s': not within %s",
				     info->name, arg, info->range);
	if (err)
		return parser__usage(parser, NULL, "cannot use '--%s %s': not %s", info->name, arg,
				     number__form(info->unit));
	return 0;
}

static int apply(struct options_parser *parser, const struct option_info *info, const char *arg)
{
	void *at = (char *)parser->options + info->offset;

	parser->given |= UINT64_C(1) << (info - parser->table);
	switch (info->kind) {
	case OPTION_FLAG:
		*(bool *)at = true;
		return 0;
	case OPTION_ACTION:
		parser->options->action = info->value;
		return 0;
	case OPTION_VALUE:
		*(int *)at = info->value;
		return 0;
	case OPTION_STRING:
		if (!*arg)
			return parser__usage(parser, NULL, "cannot use '--%s': %s is empty",
					     info->name, info->arg);
		*(const char **)at = arg;
		return 0;
	case OPTION_LIST:
		return join(parser, at, arg);
	case OPTION_NUMBER:
		return set_number(parser, info, arg, at);
	case OPTION_CHOICE:
		return choose(parser, info, arg, at);
	case OPTION_CALL:
		return info->call(parser, arg);
	}
	return -EINVAL;
}

/* ------------------------------------------------------------------ getopt */

static int no_such_option(struct options_parser *parser, const char *word)
{
	const struct option_info *info, *first = NULL;
	size_t len = strcspn(word, "=");
	const char *near = NULL;
	char name[64];

	parser__usage(parser, NULL, "cannot use '%s': no such option", word);
	if (len < 3 || word[1] != '-')
		return -EINVAL;
	snprintf(name, sizeof(name), "%.*s", (int)(len < 60 ? len : 60) - 2, word + 2);
	for (info = parser->table; info->name; info++) {
		near = suggest__nearer(name, near, info->name);
		if (strncmp(info->name, name, len - 2))
			continue;
		if (first)
			return parser__usage(parser, "write it in full",
					     "cannot use '%.*s': it may be '--%s' or '--%s'",
					     (int)len, word, first->name, info->name);
		first = info;
	}
	if (first)
		near = first->name;
	if (near)
		parser__hint(parser, "did you mean '--%s'?", near);
	return -EINVAL;
}

/* Is it a long option, but none in full? */
static bool is_unknown(const struct options_parser *parser, const char *word)
{
	return !strncmp(word, "--", 2) && word[2] &&
	       !find(parser->table, 0, word + 2, strcspn(word + 2, "="));
}

/* What getopt refused: '?' or ':' for a missing argument. */
static int refused(struct options_parser *parser, int code, const char *word)
{
	const struct option_info *info = NULL;
	char letter[] = {'-', (char)optopt, '\0'};

	if (optopt >= LONG_BASE)
		info = &parser->table[optopt - LONG_BASE];
	else if (optopt)
		info = find(parser->table, optopt, NULL, 0);
	if (info && code == ':') {
		parser__usage(parser, NULL, "cannot use '%s': it needs %s", word, info->arg);
		return parser__hint(parser, "write '--%s %s'", info->name, info->arg);
	}
	if (info) {
		parser__usage(parser, NULL, "cannot use '%s': it takes no value", word);
		return parser__hint(parser, "write '--%s'", info->name);
	}
	return no_such_option(parser, optopt ? letter : word);
}

static void prepare_getopt(const struct option_info *table, char letters[], struct option longs[])
{
	int n = 0;

	letters += sprintf(letters, "-:"); /* words in place; ':' for a missing argument */
	for (; table[n].name; n++) {
		longs[n] =
			(struct option){.name = table[n].name,
					.has_arg = table[n].arg ? required_argument : no_argument,
					.val = LONG_BASE + n};
		if (table[n].letter)
			letters +=
				sprintf(letters, "%c%s", table[n].letter, table[n].arg ? ":" : "");
	}
	longs[n] = (struct option){0};
	optind = 0; /* glibc: begin anew */
	opterr = 0;
}

/*
 * After the script of pikos-run a word is ours if it is one of our options spelled out, or -o with
 * its file; anything else is the script's.
 */
static bool is_scripts(const struct options_parser *parser, const char *word)
{
	if (!parser->options->pikos_run || parser->n_words < 2)
		return false;
	if (!strncmp(word, "--", 2))
		return is_unknown(parser, word);
	return strncmp(word, "-o", 2) != 0 && strcmp(word, "-h") != 0;
}

static int scan(struct options_parser *parser, int argc, char *const argv[])
{
	struct option longs[MAX_OPTIONS];
	const struct option_info *info;
	char letters[2 * MAX_OPTIONS + 3];
	int code, before, err;

	prepare_getopt(parser->table, letters, longs);
	for (;;) {
		before = optind ? optind : 1;
		if (before < argc && is_scripts(parser, argv[before])) {
			parser->words[parser->n_words++] = argv[before];
			optind = before + 1;
			continue;
		}
		/*
		 * getopt takes the beginning of a name for the name: what is unambiguous today need
		 * not be so with the next option. pikos-run always took it, and has few options.
		 */
		if (!parser->options->pikos_run && before < argc &&
		    is_unknown(parser, argv[before]))
			return no_such_option(parser, argv[before]);
		code = getopt_long(argc, argv, letters, longs, NULL);
		if (code == -1)
			break;
		if (code == 1) {
			parser->words[parser->n_words++] = optarg;
			continue;
		}
		if (code == '?' || code == ':')
			return refused(parser, code, argv[before]);
		info = code < LONG_BASE ? find(parser->table, code, NULL, 0)
					: &parser->table[code - LONG_BASE];
		err = apply(parser, info, optarg);
		if (err)
			return err;
		/* At once, whatever else is wrong. */
		if (info->kind == OPTION_ACTION &&
		    (info->value == ACTION_HELP || info->value == ACTION_VERSION))
			return 0;
	}
	if (optind > before) { /* it took `--` */
		parser->rest = argv + optind;
		parser->n_rest = argc - optind;
	}
	return 0;
}

/* ------------------------------------------------------------------ the public functions */

struct options *options__new(void)
{
	struct options *options = calloc(1, sizeof(*options));

	if (!options)
		return NULL;
	options->program = "pikos-trace";
	options->monitor = options__monitors[0].name;
	options->domains = 1u << DOMAIN_RAW;
	options->csv_delimiter = PIKOS_CSV_DELIMITER;
	options->zmq_endpoint = OPTIONS_DEFAULT_ENDPOINT;
	return options;
}

void options__free(struct options *options)
{
	struct owned *owned, *next;

	if (!options)
		return;
	for (owned = options->owned; owned; owned = next) {
		next = owned->next;
		free(owned);
	}
	free(options);
}

int options__parse(struct options *options, int argc, char *const argv[])
{
	struct options_parser parser = {.options = options, .table = options__trace_table};
	int err;

	if (argc > 0 && !strcmp(basename(argv[0]), "pikos-run")) {
		options->program = "pikos-run";
		options->pikos_run = true;
		parser.table = options__run_table;
	}
	parser.words = parser__allocate(options, (argc + 1) * sizeof(char *));
	if (!parser.words)
		return -ENOMEM;
	err = scan(&parser, argc, argv);
	if (err || options->action == ACTION_HELP || options->action == ACTION_VERSION)
		return err;
	return parser__finish(&parser);
}

int options__read_key(const char *path, char key[41])
{
	static const char z85[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  ".-:+=^!/*?&<>()[]{}@%$#";
	char text[128] = "";
	int fd, err = 0;
	ssize_t n;

	memset(key, 0, 41);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang us */
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		err = -errno;
	else if (strspn(text, z85) != 40 || 40 + strspn(text + 40, " \t\r\n") != (size_t)n)
		err = -EBADMSG;
	else
		memcpy(key, text, 40);
	explicit_bzero(text, sizeof(text));
	close(fd);
	return err;
}
