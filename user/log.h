/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * log.h - what the tracer says about itself, on stderr. With main.c the only module that prints.
 *
 *	log_cannot("open", path, error_words(err));
 *	log_hint("run it as root: sudo pikos-trace ...");
 *
 * gives
 *
 *	pikos-trace: cannot open 'out.csv': Permission denied
 *	pikos-trace: run it as root: sudo pikos-trace ...
 *
 * A message is one line and one write, so that lines of the target on the same terminal do not
 * tear it. Messages carry names from the target: control characters and bytes that are not UTF-8
 * are escaped as text__escape and text__sanitize do. errno is kept by every function.
 * One process-wide state, not thread-safe.
 */
#ifndef PIKOS_LOG_H
#define PIKOS_LOG_H

#include <stdbool.h>

enum log_level {
	LOG_QUIET,   /* errors and their hints */
	LOG_NORMAL,  /* and warnings */
	LOG_VERBOSE, /* and what -v asks for */
};

/*
 * @brief Say who speaks and how much. Without a call: "pikos-trace", LOG_NORMAL, no progress.
 * @param program prefix of every message, borrowed; NULL keeps the one there is
 * @param progress show log_progress; has no effect unless stderr is a terminal
 */
void log_init(const char *program, enum log_level level, bool progress);

/* `cannot VERB 'OBJECT': REASON`, always shown. */
void log_cannot(const char *verb, const char *object, const char *reason);
/* An error of another form, always shown. No newline at the end. */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Unless quiet. */
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* What to do next: shown if the error or warning before it was. */
void log_hint(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* With -v only. */
void log_verbose(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A line as it is, without the prefix, always shown, escaped as the others: the totals of -v. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The progress line: each call replaces it; any message removes it first. */
void log_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Remove it. */
void log_progress_end(void);

#endif /* PIKOS_LOG_H */
