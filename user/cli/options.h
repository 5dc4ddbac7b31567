/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * options.h - the command lines of pikos-trace and of pikos-run, checked and in one struct.
 *
 *	struct options *options = options__new();
 *	err = options__parse(options, argc, argv);
 *	if (err == -EINVAL) ...options->error and options->hint say why, in one line each...
 *
 * What is here has passed every check that needs no look at the target: ranges, conflicts, fields
 * and filters of the monitor. One table describes the options: getopt, --help and "did you mean"
 * are driven by it, and a test compares the man page with it.
 */
#ifndef PIKOS_CLI_OPTIONS_H
#define PIKOS_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli/numbers.h"
#include "pikos.h"

#define OPTIONS_MAX_PIDS    1024
#define OPTIONS_MAX_FILTERS 64
#define OPTIONS_MIN_BUFFER  (UINT64_C(64) << 10)
#define OPTIONS_MAX_BUFFER  (UINT64_C(1) << 30)

#define OPTIONS_DEFAULT_TEXT	 "monitor_records.log"
#define OPTIONS_DEFAULT_CSV	 "monitor_records.csv"
#define OPTIONS_DEFAULT_ENDPOINT "tcp://127.0.0.1:9001"

enum action {
	ACTION_TRACE,
	ACTION_LIST,	 /* --list: of pids[0], or of list_file, or of the python3 of PATH */
	ACTION_FEATURES, /* --features */
	ACTION_AGENT,	 /* agent: load it into pids[0], for other tracers */
	ACTION_HELP,
	ACTION_VERSION,
};

enum recording {
	RECORDING_SCREEN,
	RECORDING_TEXT,
	RECORDING_CSV,
	RECORDING_ZMQ,
};

enum source_choice {
	SOURCE_AUTO,
	SOURCE_USDT,
	SOURCE_AGENT,
};

enum c_calls_choice {
	C_CALLS_DEFAULT, /* recorded if the source is the agent and the monitor one of functions */
	C_CALLS_ON,	 /* --c-calls: auto takes the agent */
	C_CALLS_OFF,	 /* --no-c-calls */
};

/* Of Python's allocators: --domains. The numbers are CPython's. */
enum domain { DOMAIN_RAW, DOMAIN_MEM, DOMAIN_OBJ, N_DOMAINS };

enum transport_choice {
	TRANSPORT_AUTO,
	TRANSPORT_RINGBUF,
	TRANSPORT_PERFBUF,
};

/* Strings are borrowed from argv or owned by the struct; both are valid until options__free. */
struct options {
	enum action action;
	const char *program; /* "pikos-trace" or "pikos-run": the prefix of messages */

	/* What is watched. Exactly one of pids and argv is set when action is ACTION_TRACE. */
	const char *monitor; /* one of options__monitors */
	pid_t *pids;	     /* no two equal */
	int n_pids;
	char **argv;	/* run mode: the program and its arguments, NULL-terminated; else NULL */
	bool pikos_run; /* argv is {python, script, arguments...} and the records begin and end
			 * with the script's <module> */
	const char *script;    /* pikos_run: absolute path, as it stands in argv[1] */
	const char *list_file; /* --list FILE; else NULL */
	bool json;	       /* --list as JSON */

	/* Which records. */
	const char *focus; /* --focused-on, several joined by ','; NULL: none */
	const char *filters[OPTIONS_MAX_FILTERS]; /* in order */
	int n_filters;
	/* "+pid,+tid", several joined by ','; "+pid" when not given and there are several pids;
	 * NULL or "": none */
	const char *fields;

	/* Where they go. */
	enum recording recording;
	const char *output; /* text, CSV: a path or "-"; screen, zmq: NULL */
	bool buffered;
	bool plain;
	bool tree;
	char csv_delimiter;	  /* ',' unless given */
	const char *zmq_endpoint; /* OPTIONS_DEFAULT_ENDPOINT unless given */
	enum pikos_zmq_pattern zmq_pattern;
	enum pikos_encoding zmq_encoding;
	bool zmq_wait;
	bool zmq_insecure;
	const char *zmq_secret_key_file; /* NULL: none; see options__read_key */
	const char *zmq_public_key_file; /* only with the secret one */

	/* How long and how. */
	uint64_t duration_ns; /* 0: no limit */
	uint64_t max_records; /* 0: no limit */
	bool lossless;	      /* never with TRANSPORT_PERFBUF */
	bool strict;
	enum source_choice source;
	enum c_calls_choice c_calls;
	unsigned int domains;	  /* bit per enum domain; allocations */
	const char *domain_names; /* as given: --domains */
	bool qualified;		  /* co_qualname instead of co_name where the source knows it */
	bool stacks;		  /* memory: whole stacks of Python frames */
	bool native;		  /* memory: C frames */
	bool summary;		  /* memory: sums in place of records */
	bool leaks;		  /* of them, only what is still held at the end; implies summary */
	uint64_t interval_ns;	  /* a summary every so often; 0: only at the end */
	uint64_t top;		  /* rows of each section of a summary; 0: all */
	bool regions; /* only inside the regions that the program marks (probes/python/pikos.py) */
	enum transport_choice transport;
	uint64_t buffer_size; /* bytes per CPU, a power of two in 64K..1G; 0: default */

	/* What is said on stderr. */
	bool quiet; /* no warnings; errors always */
	bool verbose;
	bool progress;
	bool overhead; /* what tracing itself took, at the end */

	/* After -EINVAL: `cannot VERB 'OBJECT': REASON`, without the prefix, and what to do next.
	 * Raw: words of the command line are in them as they were typed. */
	char error[1024];
	char hint[1024];
	void *owned; /* private: what options__free frees */
};

/* @return options with every default, or NULL (errno) */
struct options *options__new(void);
/* NULL is fine. */
void options__free(struct options *options);

/*
 * @brief Read a command line. argv[0] decides: basename `pikos-run` is the command of Pikos.
 * @param options from options__new, used once; borrows from argv, which is not changed
 * @return 0; -EINVAL: a usage error, told in ->error and ->hint; -ENOMEM
 * Not thread-safe (getopt).
 */
int options__parse(struct options *options, int argc, char *const argv[]);

/*
 * @brief Read a CURVE key: 40 characters of Z85, then at most white space.
 * @param key filled, NUL-terminated; all zero after an error
 * @return 0; -EBADMSG: holds no key; -errno of open and read
 */
int options__read_key(const char *path, char key[41]);

/* @return whether the monitor is of allocations */
bool options__is_allocations(const struct options *options);
/* @return the name of the record type that the options ask for */
const char *options__record_type(const struct options *options);
/* @brief Append the columns that options ask for behind the monitor's own. @return 0; -EINVAL */
int options__add_columns(const struct options *options, struct pikos_record_type *type);

/* ------------------------------------------------------------------ the table */

struct options_parser; /* private: parser.h */

enum option_kind {
	OPTION_FLAG,   /* bool, set */
	OPTION_ACTION, /* enum action, to `value` */
	OPTION_VALUE,  /* another enum, to `value` */
	OPTION_STRING, /* const char *, not empty */
	OPTION_LIST,   /* const char *, several joined by ',' */
	OPTION_NUMBER, /* uint64_t in min..max */
	OPTION_CHOICE, /* enum: the index of the word in `choices` */
	OPTION_CALL,   /* `call` does it */
};

/* One option: what it is called, what is said about it, what it sets. */
struct option_info {
	const char *name; /* long name without "--" */
	int letter;	  /* 'p', or 0 */
	const char *arg;  /* "PID[,PID...]"; NULL: takes none */
	const char *help; /* lines separated by '\n' */
	enum option_kind kind;
	size_t offset; /* in struct options */
	int value;
	const char *const *choices; /* ends with NULL */
	enum number_unit unit;
	uint64_t min, max;
	const char *range; /* min..max for people: "64K to 1G" */
	int (*call)(struct options_parser *parser, const char *arg);
	const char *section; /* heading over this option and those that follow; NULL: the same */
};

/* Both end with a NULL name. */
extern const struct option_info options__trace_table[];
extern const struct option_info options__run_table[];

struct monitor_info {
	const char *name;
	const char *help;
	bool not_of_run; /* pikos-run has not got it */
};

extern const struct monitor_info options__monitors[]; /* ends with a NULL name */

#endif /* PIKOS_CLI_OPTIONS_H */
