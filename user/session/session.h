/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * session.h - one run of the tracer, from the checked command line to the exit status.
 */
#ifndef PIKOS_SESSION_SESSION_H
#define PIKOS_SESSION_SESSION_H

#include "cli/options.h"

/*
 * @brief Trace. Installs handlers for SIGINT, SIGTERM, SIGHUP, SIGCHLD and ignores SIGPIPE.
 * @param options action is ACTION_TRACE; borrowed
 * @return the exit status (errors.h); everything was said through log.h
 */
int session__run(const struct options *options);

#endif /* PIKOS_SESSION_SESSION_H */
