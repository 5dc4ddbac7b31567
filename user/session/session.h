/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * session.h - one run of the tracer, from the checked command line to the exit status.
 */
#ifndef PIKOS_SESSION_SESSION_H
#define PIKOS_SESSION_SESSION_H

#include "cli/options.h"

/* Filters and recorder of a caller of the library, and where it wants the totals; all borrowed. */
struct session_io {
	struct pikos_filters *filters;
	struct pikos_recorder *recorder;
	struct pikos_summary *summary;
	void (*ready)(void *ctx); /* everything is attached */
	void *ready_ctx;
};

/*
 * @brief Trace. Installs handlers for SIGINT, SIGTERM, SIGHUP, SIGCHLD and ignores SIGPIPE.
 * @param options action is ACTION_TRACE; borrowed
 * @param io NULL: filters and recorder as the options say
 * @return the exit status (errors.h); everything was said through log.h
 */
int session__run(const struct options *options, const struct session_io *io);

#endif /* PIKOS_SESSION_SESSION_H */
