// SPDX-License-Identifier: BSD-3-Clause
/*
 * A command line as a whole: what is traced, where its records go, what does not go together.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/parser.h"
#include "cli/suggest.h"
#include "monitor/record_type.h"

/* ------------------------------------------------------------------ what is traced */

static int set_monitor(struct options_parser *parser, const char *word)
{
	const struct monitor_info *info;
	const char *near = NULL;
	uint64_t pid;

	for (info = options__monitors; info->name; info++) {
		if (parser->options->pikos_run && info->not_of_run)
			continue;
		if (!strcmp(info->name, word)) {
			parser->options->monitor = info->name;
			return 0;
		}
		near = suggest__nearer(word, near, info->name);
	}
	parser__usage(parser,
		      parser->options->pikos_run
			      ? "the monitors are functions, lines, function_memory and line_memory"
			      : "the monitors are functions, lines, function_memory, line_memory, "
				"memory and allocations; a program goes after '--'",
		      "cannot monitor '%s': no such monitor", word);
	if (near)
		parser__hint(parser, "did you mean '%s'?", near);
	else if (!parser->options->pikos_run &&
		 !number__parse(word, NUMBER_COUNT, 1, OPTIONS_MAX_PID, &pid))
		parser__hint(parser, "did you mean '-p %s'?", word);
	return -EINVAL;
}

static int set_target(struct options_parser *parser)
{
	struct options *options = parser->options;
	int err;

	if (parser->n_words) {
		err = set_monitor(parser, parser->words[0]);
		if (err)
			return err;
	}
	if (parser->n_words > 1) {
		parser__usage(parser, NULL, "cannot use '%s': one monitor, then only options",
			      parser->words[1]);
		return parser__hint(parser, "a program goes after '--': pikos-trace %s -- %s ...",
				    options->monitor, parser->words[1]);
	}
	if (parser->rest && options->n_pids)
		return parser__usage(
			parser, "give one of them",
			"cannot use '--pid' with a program after '--': either attaches or runs");
	if (parser->rest && !parser->n_rest)
		return parser__usage(parser, "for example: pikos-trace -- python3 script.py",
				     "cannot run a program: none after '--'");
	if (!parser->rest && !options->n_pids)
		return parser__usage(parser,
				     "attach with -p PID, or run a program: -- PROGRAM [ARG...] "
				     "(pikos-trace --help)",
				     "cannot trace: no process and no program given");
	if (!parser->rest)
		return 0;
	options->argv = parser__allocate(options, (parser->n_rest + 1) * sizeof(char *));
	if (!options->argv)
		return -ENOMEM;
	memcpy(options->argv, parser->rest, parser->n_rest * sizeof(char *));
	return 0;
}

/* As CPython makes it: joined, not resolved, so that co_filename is this very string. */
static char *absolute(struct options *options, const char *path)
{
	char cwd[PATH_MAX], *whole;

	while (!strncmp(path, "./", 2))
		for (path += 2; *path == '/'; path++)
			;
	if (*path == '/')
		cwd[0] = '\0';
	else if (!getcwd(cwd, sizeof(cwd)))
		return NULL;
	whole = parser__allocate(options, strlen(cwd) + strlen(path) + 2);
	if (whole)
		sprintf(whole, "%s%s%s", cwd, cwd[0] && cwd[1] ? "/" : "", path);
	return whole;
}

/* MONITOR SCRIPT [ARG...], where words behind `--` follow those before it. */
static int set_script(struct options_parser *parser)
{
	static const char form[] = "for example: pikos-run lines script.py --focused-on main";
	struct options *options = parser->options;
	const char *python = getenv("PIKOS_PYTHON");
	int err;

	for (int i = 0; i < parser->n_rest; i++)
		parser->words[parser->n_words++] = parser->rest[i];
	if (!parser->n_words)
		return parser__usage(parser, form,
				     "cannot run a script: no monitor and no script given");
	err = set_monitor(parser, parser->words[0]);
	if (err)
		return err;
	if (parser->n_words < 2)
		return parser__usage(parser, form, "cannot run a script: none after '%s'",
				     options->monitor);
	options->script = absolute(options, parser->words[1]);
	if (!options->script)
		return parser__usage(parser, "give its absolute path", "cannot run '%s': %s",
				     parser->words[1], "the current directory is gone");
	options->argv = parser__allocate(options, (parser->n_words + 1) * sizeof(char *));
	if (!options->argv)
		return -ENOMEM;
	memcpy(options->argv, parser->words, parser->n_words * sizeof(char *));
	options->argv[0] = (char *)(python && *python ? python : "python3");
	options->argv[1] = (char *)options->script;
	return 0;
}

/* Where nothing is traced, what is said about tracing is a mistake. @param with also NULL */
static int allow_only(struct options_parser *parser, const char *command, const char *with)
{
	const struct option_info *info;

	for (info = parser->table; info->name; info++) {
		bool allowed = !strcmp(info->name, command + strspn(command, "-")) ||
			       !strcmp(info->name, "pid") || (with && !strcmp(info->name, with)) ||
			       info->offset == offsetof(struct options, quiet) ||
			       info->offset == offsetof(struct options, verbose);

		if (!allowed && parser__given(parser, info->name))
			return parser__usage(parser, NULL, "cannot use '--%s' with '%s'",
					     info->name, command);
	}
	return 0;
}

static int set_list(struct options_parser *parser)
{
	struct options *options = parser->options;
	int err;

	if (parser->rest)
		return parser__usage(parser, NULL, "cannot use '--list' with a program after '--'");
	err = allow_only(parser, "--list", "json");
	if (err)
		return err;
	if (parser->n_words > 1 || options->n_pids > 1 || (parser->n_words && options->n_pids))
		return parser__usage(parser, "write '--list -p PID' or '--list FILE'",
				     "cannot list more than one interpreter");
	if (parser->n_words)
		options->list_file = parser->words[0];
	return 0;
}

static int set_features(struct options_parser *parser)
{
	if (parser->rest)
		return parser__usage(parser, NULL,
				     "cannot use '--features' with a program after '--'");
	if (parser->n_words)
		return parser__usage(parser, NULL, "cannot use '%s' with '--features'",
				     parser->words[0]);
	if (parser__given(parser, "pid"))
		return parser__usage(parser, NULL, "cannot use '--pid' with '--features'");
	return allow_only(parser, "--features", NULL);
}

/* `agent -p PID` */
static int set_agent(struct options_parser *parser)
{
	struct options *options = parser->options;

	options->action = ACTION_AGENT;
	if (parser->n_words > 1)
		return parser__usage(parser, "write 'pikos-trace agent -p PID'",
				     "cannot use '%s': 'agent' takes no words", parser->words[1]);
	if (parser->rest)
		return parser__usage(parser,
				     "to trace a program by it: pikos-trace --source agent -- ...",
				     "cannot use 'agent' with a program after '--'");
	if (options->n_pids != 1)
		return parser__usage(parser, "write 'pikos-trace agent -p PID'",
				     "cannot load the agent: %s",
				     options->n_pids ? "it is loaded into one process at a time"
						     : "no process given");
	return allow_only(parser, "agent", NULL);
}

/* ------------------------------------------------------------------ where records go */

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && !strcmp(text + len - end_len, end);
}

static int set_recording(struct options_parser *parser)
{
	struct options *options = parser->options;
	const char *output = options->output;

	if (parser__given(parser, "recording")) {
		/* as said */
	} else if (!output || !strcmp(output, "-")) {
		options->recording = RECORDING_SCREEN;
	} else if (ends_with(output, ".csv")) {
		options->recording = RECORDING_CSV;
	} else if (ends_with(output, ".log") || ends_with(output, ".txt")) {
		options->recording = RECORDING_TEXT;
	} else {
		return parser__usage(parser, "name it .csv, .log or .txt, or add --recording",
				     "cannot use '--output %s': its suffix says no recording",
				     output);
	}
	switch (options->recording) {
	case RECORDING_SCREEN:
		if (output && strcmp(output, "-") != 0)
			return parser__usage(parser, "a file is written by --recording text or csv",
					     "cannot use '--output %s': the recording is screen",
					     output);
		options->output = NULL;
		break;
	case RECORDING_ZMQ:
		if (output)
			return parser__usage(parser, "--zmq-endpoint says where to",
					     "cannot use '--output %s': the recording is zmq",
					     output);
		break;
	case RECORDING_TEXT:
		options->output = output ? output : OPTIONS_DEFAULT_TEXT;
		break;
	case RECORDING_CSV:
		options->output = output ? output : OPTIONS_DEFAULT_CSV;
		break;
	}
	return 0;
}

#define ON(recording) (1u << (recording))

static const char *recording_name(enum recording recording)
{
	static const char *const names[] = {
		[RECORDING_SCREEN] = "screen",
		[RECORDING_TEXT] = "text",
		[RECORDING_CSV] = "csv",
		[RECORDING_ZMQ] = "zmq",
	};

	return names[recording];
}

/* Options that only some recordings understand. */
static int check_recording(struct options_parser *parser)
{
	static const struct {
		const char *name;
		unsigned int recordings;
		const char *hint;
	} rules[] = {
		{"plain", ON(RECORDING_SCREEN) | ON(RECORDING_TEXT), "it goes with screen or text"},
		{"tree", ON(RECORDING_SCREEN) | ON(RECORDING_TEXT), "it goes with screen or text"},
		{"csv-delimiter", ON(RECORDING_CSV), "it goes with --recording csv"},
	};
	enum recording recording = parser->options->recording;
	const struct option_info *info;

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (parser__given(parser, rules[i].name) && !(rules[i].recordings & ON(recording)))
			return parser__usage(parser, rules[i].hint,
					     "cannot use '--%s': the recording is %s",
					     rules[i].name, recording_name(recording));
	for (info = parser->table; info->name; info++)
		if (!strncmp(info->name, "zmq-", 4) && parser__given(parser, info->name) &&
		    recording != RECORDING_ZMQ)
			return parser__usage(parser, "it goes with --recording zmq",
					     "cannot use '--%s': the recording is %s", info->name,
					     recording_name(recording));
	return 0;
}

/* ------------------------------------------------------------------ what does not go together */

static int check_pairs(struct options_parser *parser)
{
	static const struct {
		const char *a, *b, *reason;
	} pairs[] = {
		{"quiet", "verbose", "they contradict each other"},
		{"plain", "tree", "plain fields are not indented"},
		{"zmq-insecure", "zmq-curve-secret-key", "with keys it is not insecure"},
		{"zmq-insecure", "zmq-curve-public-key", "with keys it is not insecure"},
		{"list", "features", "one at a time"},
		{"c-calls", "no-c-calls", "they contradict each other"},
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		if (parser__given(parser, pairs[i].a) && parser__given(parser, pairs[i].b))
			return parser__usage(parser, "give one of them",
					     "cannot use '--%s' with '--%s': %s", pairs[i].a,
					     pairs[i].b, pairs[i].reason);
	return 0;
}

/* What the source or the transport cannot give. */
static int check_source(struct options_parser *parser)
{
	const struct options *options = parser->options;
	const char *needs_ring = options->source == SOURCE_AGENT  ? "--source agent"
				 : options->c_calls == C_CALLS_ON ? "--c-calls"
				 : options->lossless		  ? "--lossless"
								  : NULL;

	if (options->c_calls == C_CALLS_ON && options->source == SOURCE_USDT)
		return parser__usage(parser,
				     "the agent sees them: --source agent, or leave it to auto",
				     "cannot use '--c-calls' with '--source usdt': the built-in "
				     "probes do not see calls of C functions");
	if (needs_ring && options->transport == TRANSPORT_PERFBUF)
		return parser__usage(parser, "leave --transport to auto",
				     "cannot use '%s' with '--transport perfbuf': "
				     "it needs the ring buffer",
				     needs_ring);
	return 0;
}

static int check_zmq(struct options_parser *parser)
{
	const struct options *options = parser->options;

	if (options->zmq_public_key_file && !options->zmq_secret_key_file)
		return parser__usage(
			parser, "add --zmq-curve-secret-key FILE",
			"cannot use '--zmq-curve-public-key': the secret key is missing");
	if (options->zmq_wait && strncmp(options->zmq_endpoint, "tcp://", 6) != 0)
		return parser__usage(parser, "take a tcp:// endpoint",
				     "cannot use '--zmq-wait' with '%s': there is no port above it",
				     options->zmq_endpoint);
	return 0;
}

static int check_filters(struct options_parser *parser, const struct pikos_record_type *type)
{
	const struct options *options = parser->options;
	struct pikos_filters *filters = pikos_filters__new();
	int err = filters ? 0 : -ENOMEM;

	for (int i = 0; !err && i < options->n_filters; i++) {
		err = pikos_filters__add(filters, type, options->filters[i]);
		if (err == -ENOENT) {
			err = parser__usage(parser, NULL,
					    "cannot filter by '%s': %s has no such field",
					    options->filters[i], type->monitor);
			parser__hint(parser, "its fields are");
			for (int f = 0; f < type->n_fields; f++) {
				size_t len = strlen(options->hint);

				snprintf(parser->options->hint + len, sizeof(options->hint) - len,
					 "%s %s", f ? "," : "", type->fields[f].name);
			}
		} else if (err == -EINVAL) {
			parser__usage(parser,
				      "a filter is 'field=V1,V2', 'field!=V1' or 'change(field)'",
				      "cannot filter by '%s': not a filter", options->filters[i]);
		}
	}
	pikos_filters__free(filters);
	return err;
}

/* What belongs to the monitor of memory, and what can do nothing there. */
static int check_memory(struct options_parser *parser)
{
	static const struct {
		const char *name, *hint;
	} others[] = {
		{"focused-on", "records of a function: --filter 'function=gcd'"},
		{"regions", "memory belongs to the whole process"},
		{"source", "the kernel itself is the source"},
		{"no-c-calls", "--native shows C functions"},
	};
	const struct options *options = parser->options;
	bool memory = monitor__kind(options->monitor) == MONITOR_MEMORY;

	for (size_t i = 0; memory && i < sizeof(others) / sizeof(*others); i++)
		if (parser__given(parser, others[i].name))
			return parser__usage(parser, others[i].hint,
					     "cannot use '--%s': the monitor is memory",
					     others[i].name);
	if (memory && options->transport == TRANSPORT_PERFBUF)
		return parser__usage(parser, "leave --transport to auto",
				     "cannot use '--transport perfbuf': the monitor is memory");
	if (!memory && (options->stacks || options->native))
		return parser__usage(parser, "it goes with memory",
				     "cannot use '--%s': the monitor is %s",
				     options->stacks ? "stacks" : "native", options->monitor);
	return 0;
}

#define SUMMARY_TOP 20 /* more nobody reads on a screen */

/* Summaries are of the monitor of memory, and are no records. */
static int check_summary(struct options_parser *parser)
{
	static const char *const others[] = {"interval", "leaks", "top"};
	static const char *const records[] = {"stacks", "native", "max-records"};
	struct options *options = parser->options;
	bool memory = monitor__kind(options->monitor) == MONITOR_MEMORY;
	bool wanted = options->summary || options->leaks;
	bool is_text =
		options->recording == RECORDING_SCREEN || options->recording == RECORDING_TEXT;

	if (wanted && !memory)
		return parser__usage(parser, "it goes with memory",
				     "cannot use '--%s': the monitor is %s",
				     options->summary ? "summary" : "leaks", options->monitor);
	for (size_t i = 0; !wanted && i < sizeof(others) / sizeof(*others); i++)
		if (parser__given(parser, others[i]))
			return parser__usage(parser, "it goes with memory --summary",
					     "cannot use '--%s': there is no summary", others[i]);
	for (size_t i = 0; wanted && i < sizeof(records) / sizeof(*records); i++)
		if (parser__given(parser, records[i]))
			return parser__usage(parser, "leave one of them out",
					     "cannot use '--%s' with '--%s': it is of records",
					     records[i], options->leaks ? "leaks" : "summary");
	if (options->leaks && options->interval_ns)
		return parser__usage(parser, "what grows between two moments: --summary --interval",
				     "cannot use '--interval' with '--leaks': what is held at the "
				     "end is known at the end");
	options->summary = wanted;
	if (wanted && is_text && !parser__given(parser, "top"))
		options->top = SUMMARY_TOP;
	return 0;
}

const char *options__record_type(const struct options *options)
{
	return options->summary ? "memory_summary" : options->monitor;
}

int options__add_columns(const struct options *options, struct pikos_record_type *type)
{
	int err = options->stacks ? pikos_record_type__append(type, "stack") : 0;

	return err || !options->native ? err : pikos_record_type__append(type, "native");
}

bool options__is_allocations(const struct options *options)
{
	return monitor__kind(options->monitor) == MONITOR_ALLOCATIONS;
}

static int set_domains(struct options_parser *parser)
{
	static const char *const names[N_DOMAINS] = {
		[DOMAIN_RAW] = "raw", [DOMAIN_MEM] = "mem", [DOMAIN_OBJ] = "obj"};
	const struct options *options = parser->options;
	const char *list = options->domain_names;

	if (options__is_allocations(options) && options->transport == TRANSPORT_PERFBUF)
		return parser__usage(
			parser, "leave --transport to auto",
			"cannot use '--transport perfbuf': the monitor is allocations");
	if (!list)
		return 0;
	if (options__is_allocations(options) && options->source != SOURCE_AGENT &&
	    (options->source == SOURCE_USDT || (!options->argv && options->c_calls != C_CALLS_ON)))
		return parser__usage(parser,
				     "--source agent hooks the allocators of Python themselves",
				     "cannot use '--domains': libc, which is the source, has none");
	if (!options__is_allocations(parser->options))
		return parser__usage(parser, "it goes with allocations",
				     "cannot use '--domains': the monitor is %s",
				     parser->options->monitor);
	parser->options->domains = 0;
	do {
		size_t len = strcspn(list, ",");
		int domain = 0;

		while (domain < N_DOMAINS &&
		       (strlen(names[domain]) != len || strncmp(names[domain], list, len) != 0))
			domain++;
		if (domain == N_DOMAINS)
			return parser__usage(parser, "they are raw, mem and obj, comma separated",
					     "cannot use '--domains %s': no such domains",
					     parser->options->domain_names);
		parser->options->domains |= 1u << domain;
		list += len + (list[len] == ',');
	} while (*list);
	return 0;
}

/* What the record type decides. */
static int check_records(struct options_parser *parser)
{
	struct options *options = parser->options;
	struct pikos_record_type type;
	int err;

	if (!options->fields && options->n_pids > 1 && !options__is_allocations(options))
		options->fields = "+pid";
	err = check_summary(parser);
	if (err)
		return err;
	err = pikos_record_type__init(&type, options__record_type(options), options->fields);
	if (err == -EINVAL)
		return parser__usage(parser,
				     "they are +pid, +tid and +time, comma separated, each once",
				     "cannot add fields '%s': not extra fields", options->fields);
	if (!err)
		err = check_memory(parser);
	if (!err)
		err = options__add_columns(options, &type);
	if (err)
		return err;
	if (options->tree && !type.functions)
		return parser__usage(parser, "it goes with functions or function_memory",
				     "cannot use '--tree': the monitor is %s", options->monitor);
	if (options->c_calls == C_CALLS_ON && !type.functions && !options__is_allocations(options))
		return parser__usage(parser, "it goes with functions or function_memory",
				     "cannot use '--c-calls': the monitor is %s", options->monitor);
	if (options->focus && !options->focus[strspn(options->focus, ", ")])
		return parser__usage(parser,
				     "for example: --focused-on gcd or --focused-on file.py:gcd",
				     "cannot focus on '%s': no function named", options->focus);
	return check_filters(parser, &type);
}

int parser__finish(struct options_parser *parser)
{
	struct options *options = parser->options;
	int err;

	err = check_pairs(parser);
	if (!err)
		err = check_source(parser);
	if (!err)
		err = check_zmq(parser);
	if (err)
		return err;
	if (options->action == ACTION_LIST)
		return set_list(parser);
	if (options->action == ACTION_FEATURES)
		return set_features(parser);
	if (!options->pikos_run && parser->n_words && !strcmp(parser->words[0], "agent"))
		return set_agent(parser);
	if (options->json)
		return parser__usage(parser, "records as JSON are live: --recording zmq",
				     "cannot use '--json' without '--list'");
	err = options->pikos_run ? set_script(parser) : set_target(parser);
	if (!err)
		err = set_recording(parser);
	if (!err)
		err = check_recording(parser);
	if (!err)
		err = set_domains(parser);
	return err ? err : check_records(parser);
}
