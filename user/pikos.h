/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pikos.h - the public interface of libpikos: records, recorders, filters, sessions.
 *
 * Data flows one way: a target's events become records of one type, pass the filters in order
 * and end in a recorder. A record type is one table; every recorder is driven by it.
 *
 *	struct pikos_recorder *rec = pikos_recorder__csv("out.csv", NULL);
 *
 * Every function returns 0 or -errno unless said otherwise; functions that return a pointer
 * return NULL and set errno. Nothing here is thread-safe: one session belongs to one thread.
 */
#ifndef PIKOS_H
#define PIKOS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pikos_regions.h" /* for the programs that are traced: pikos_region_enter, _leave */

#ifdef __cplusplus
extern "C" {
#endif

#define PIKOS_VERSION "0.1.0"

/* ------------------------------------------------------------------ records */

/* Flags of a text, computed once when it is made. */
#define PIKOS_TEXT_PLAIN 1u /* no control character, none of `"` `,` `\`: copied as it is */
#define PIKOS_TEXT_ASCII 2u /* as many characters as bytes */

/*
 * A piece of text: always valid UTF-8 (bytes of the target that were not are written as `\xNN`),
 * not necessarily free of control characters unless PIKOS_TEXT_PLAIN. Not NUL-terminated.
 */
struct pikos_text {
	const char *data;
	uint32_t len;	/* bytes */
	uint32_t flags; /* PIKOS_TEXT_* */
};

enum pikos_kind {
	PIKOS_EMPTY, /* nothing: an empty CSV cell */
	PIKOS_INT,   /* .i */
	PIKOS_TEXT,  /* .s */
};

struct pikos_value {
	uint32_t kind; /* enum pikos_kind */
	union {
		int64_t i;
		const struct pikos_text *s; /* borrowed: valid until the call returns */
	};
};

/* How a cell is aligned in formatted text: Python's mini-language, `{:<8}` and so on. */
struct pikos_cell {
	char align;    /* '<', '>', '^' */
	uint8_t width; /* characters; 0: as long as the value is */
	char after[6]; /* literal text between this cell and the next, e.g. " | " */
};

struct pikos_field {
	const char *name;	  /* the CSV header, e.g. "lineNo" */
	uint32_t kind;		  /* PIKOS_INT or PIKOS_TEXT in an ordinary record */
	struct pikos_cell header; /* formats of SPEC 3 */
	struct pikos_cell line;
};

#define PIKOS_MAX_FIELDS 16

/*
 * A record type: name of the monitor and its columns in order, extra leading columns (+pid,
 * +tid, +time) included. Made by pikos_record_type__init; plain data, no ownership.
 */
struct pikos_record_type {
	const char *monitor; /* "functions" */
	bool functions;	     /* has call/return types: --tree makes sense */
	bool memory;	     /* has RSS and VMS */
	/*
	 * Is a table of data to be read with `#` as the beginning of a comment: CSV has a comment
	 * above its header, which names the offset of `time` to the epoch, and no other `#`.
	 */
	bool comments;
	int64_t epoch_ns; /* what a time lacks to ns since 1970; of record types with comments */
	int n_fields;
	int n_extra; /* leading columns that the user asked for */
	struct pikos_field fields[PIKOS_MAX_FIELDS];
};

/*
 * @brief Fill a record type from a monitor's name and the extra columns.
 * @param fields "+pid,+tid,+time" in any order and subset, or NULL or "" for none
 * @return 0; -ENOENT: no such monitor; -EINVAL: no such extra field
 */
int pikos_record_type__init(struct pikos_record_type *type, const char *monitor,
			    const char *fields);

/*
 * @brief Append a column that the monitor can have besides: memory's "stack" and "native".
 * @return 0; -EINVAL: it has no such column, or has it already
 */
int pikos_record_type__append(struct pikos_record_type *type, const char *name);

/* @return the column of that name, or -1 */
int pikos_record_type__field(const struct pikos_record_type *type, const char *name);

/* What became of events that could not be recorded. */
struct pikos_lost {
	const char *reason; /* "buffer full" */
	uint64_t count;
	uint64_t time; /* ns of CLOCK_MONOTONIC */
};

/*
 * One record: n_fields values in the order of its type. A record of lost events has `lost` set;
 * its values are the row that CSV and text write for it (see SPEC 6).
 */
struct pikos_record {
	const struct pikos_record_type *type;
	const struct pikos_value *values;
	const struct pikos_lost *lost; /* NULL for an event */
	/* Of every record, shown or not (recorders that group by process, --tree). */
	uint32_t pid;
	uint32_t tid;
	uint64_t time;	/* ns of CLOCK_MONOTONIC */
	bool is_return; /* function monitors: 'return' */
	bool is_call;	/* function monitors: 'call' */
	int64_t rss;	/* bytes; memory monitors, else 0 */
};

/* The end of a run: seen = written + filtered + lost. */
struct pikos_summary {
	uint64_t seen, written, filtered, lost;
	int status; /* exit status of the run */
};

/* ------------------------------------------------------------------ recorders */

/*
 * Any subset of the functions; NULL means "nothing to do". Called in this order:
 * prepare once, then record and lost records and flush in any number, finalize once.
 * `flush` is called after every batch unless the user asked for --buffered.
 * A non-zero return (-errno) ends the session; what was written stays.
 */
struct pikos_recorder_ops {
	int (*prepare)(void *ctx, const struct pikos_record_type *type);
	int (*record)(void *ctx, const struct pikos_record *record);
	int (*flush)(void *ctx);
	int (*finalize)(void *ctx, const struct pikos_summary *summary);
	void (*free)(void *ctx);
};

struct pikos_recorder;

/* @brief A recorder of the caller's own. @param ctx given to every function; freed by ops->free */
struct pikos_recorder *pikos_recorder__new(const struct pikos_recorder_ops *ops, void *ctx);
/*
 * @return 0; -EBADFD when already prepared; -EINTR when a wait for a consumer was interrupted.
 * After an error the recorder is as it was made: prepare may be called again.
 */
int pikos_recorder__prepare(struct pikos_recorder *rec, const struct pikos_record_type *type);
/* @return 0; -EBADFD before prepare or after finalize; what the recorder returned */
int pikos_recorder__record(struct pikos_recorder *rec, const struct pikos_record *record);
int pikos_recorder__flush(struct pikos_recorder *rec);
int pikos_recorder__finalize(struct pikos_recorder *rec, const struct pikos_summary *summary);
/*
 * @return how many of the event records that were taken (0 returned) did not reach the consumer
 * after all: zmq's was too slow, a file failed while they were buffered. They are lost, not
 * written. Final after finalize.
 */
uint64_t pikos_recorder__dropped(const struct pikos_recorder *rec);
/* NULL is fine. Does not finalize: what was not flushed may be lost. */
void pikos_recorder__free(struct pikos_recorder *rec);

#define PIKOS_CSV_DELIMITER ','

/* Options that the file recorders share; all zero is the default. */
struct pikos_output {
	const char *path; /* "-" or NULL: stdout */
	bool plain;	  /* text, screen: fields with one space between them */
	bool tree;	  /* text, screen: indent by depth, elapsed time at return */
	char delimiter;	  /* CSV; 0 is ',' */
};

/*
 * Files are opened at prepare with O_NOFOLLOW, mode 0600 if they are made, truncated.
 * /dev/stdout, /dev/stderr and /dev/fd/N name the caller's descriptors. EINVAL: a delimiter that
 * CSV cannot have (a quote, CR, LF, not ASCII). A signal that interrupts a write which the reader
 * of a pipe holds up is no error: the rest stays in memory and goes out with a later flush.
 * The caller ignores SIGPIPE.
 */
struct pikos_recorder *pikos_recorder__screen(const struct pikos_output *out);
struct pikos_recorder *pikos_recorder__text(const struct pikos_output *out);
struct pikos_recorder *pikos_recorder__csv(const struct pikos_output *out);

/* Keeps copies of the records in memory. */
struct pikos_recorder *pikos_recorder__list(void);
size_t pikos_recorder__list_count(const struct pikos_recorder *list);
/* @return a record owned by the list, or NULL past the end; .type is that given to prepare */
const struct pikos_record *pikos_recorder__list_get(const struct pikos_recorder *list, size_t i);

enum pikos_zmq_pattern { PIKOS_ZMQ_PUB, PIKOS_ZMQ_PUSH };
enum pikos_encoding { PIKOS_JSON, PIKOS_MSGPACK };

struct pikos_zmq_options {
	const char *endpoint; /* NULL: tcp://127.0.0.1:9001 */
	enum pikos_zmq_pattern pattern;
	enum pikos_encoding encoding;
	bool wait;     /* REQ handshake on port + 1 before the start message */
	bool insecure; /* allow an endpoint off loopback without CURVE */
	/*
	 * Z85, 40 characters; the tracer's own pair. The tracer is the CURVE server on every
	 * socket, that of the handshake included: consumers need its public key.
	 */
	const char *curve_secret_key, *curve_public_key;
	uint32_t pid; /* of the target, in topics of start and end */
	/*
	 * Asked about every 100 ms while a consumer is waited for, and when a signal came. True:
	 * prepare gives up with -EINTR; a PUSH consumer that holds up the records gets 2 s more,
	 * then records are dropped and counted. NULL: any signal means true.
	 */
	bool (*interrupted)(void *ctx);
	void *interrupted_ctx;
};

/*
 * PUB never holds up the tracing: when a subscriber's queue (1000 messages) is full, a message is
 * dropped for all subscribers, its records are counted (pikos_recorder__dropped) and a "lost"
 * message follows as soon as there is room. PUSH waits. At the end a PUB consumer
 * has 2 s to catch up, a PUSH consumer 60 s unless the session was interrupted.
 * What ZeroMQ took counts as written: of a consumer that dies its queue is lost with it.
 * EINVAL: an endpoint or a key that is none.
 */
struct pikos_recorder *pikos_recorder__zmq(const struct pikos_zmq_options *options);
/* @return the endpoint in use after prepare ("tcp://127.0.0.1:40123" for port *), or NULL */
const char *pikos_recorder__zmq_endpoint(const struct pikos_recorder *rec);

/*
 * @brief Words for the last failure of a recorder ("cannot write 'x.csv': No space left on
 * device (12 records, 640 bytes written)"), or "" when none failed. Owned by the recorder.
 */
const char *pikos_recorder__error(const struct pikos_recorder *rec);

/* ------------------------------------------------------------------ filters */

struct pikos_filters;

struct pikos_filters *pikos_filters__new(void);
void pikos_filters__free(struct pikos_filters *filters);
/*
 * @brief Append a filter: `field=V1,V2`, `field!=V1`, `change(field)`.
 * @return 0; -EINVAL: not of that form; -ENOENT: the type has no such field; -ENOMEM
 */
int pikos_filters__add(struct pikos_filters *filters, const struct pikos_record_type *type,
		       const char *expression);
/* @brief Append a callback. @param keep returns true to keep the record */
int pikos_filters__add_callback(struct pikos_filters *filters,
				bool (*keep)(void *ctx, const struct pikos_record *record),
				void *ctx);
/* @return true when every filter, in order, keeps the record; a later filter does not see what
 * an earlier one dropped. Records of lost events are always kept and seen by none. */
bool pikos_filters__keep(struct pikos_filters *filters, const struct pikos_record *record);

/* ------------------------------------------------------------------ sessions */

/* What to trace, with which recorder; all zero but monitor, recorder and a target is fine. */
struct pikos_session {
	const char *monitor; /* a record type's: "functions" */
	const int *pids;     /* processes to attach to, or NULL */
	int n_pids;
	char *const *argv;		 /* a program to run instead, NULL-terminated */
	const char *focus;		 /* as --focused-on */
	const char *fields;		 /* as --fields */
	struct pikos_filters *filters;	 /* borrowed; may be NULL */
	struct pikos_recorder *recorder; /* borrowed, not prepared; finalized by the session */
	uint64_t buffer_size;		 /* bytes per CPU, a power of two from 64 KiB; 0: default */
	uint64_t duration_ns;		 /* 0: no limit */
	uint64_t max_records;		 /* 0: no limit */
	bool lossless;
	bool agent;   /* as --source agent; else the interpreter's own probes if it has them */
	bool regions; /* as --regions: only what threads do inside of regions */
	bool stacks, native; /* memory: as --stacks, --native */
	/* Called once when every process is attached and its events count; may be NULL. */
	void (*ready)(void *ctx);
	void *ready_ctx;
};

/*
 * @brief Trace until the targets end, the limits are reached or SIGINT, SIGTERM or SIGHUP comes.
 *
 * Needs the rights of the command, and as the command does it installs signal handlers, starts a
 * child process, says on stderr what goes wrong, and gives the capabilities of the calling process
 * away for good: call it in a process of its own.
 *
 * @param summary filled if not NULL, once records were taken
 * @return the exit status of the command: 0, the program's, or 1 for a failure; 2 for a session
 * that cannot be (no monitor, no target, two kinds of targets)
 */
int pikos_session__run(const struct pikos_session *session, struct pikos_summary *summary);

#ifdef __cplusplus
}
#endif

#endif /* PIKOS_H */
