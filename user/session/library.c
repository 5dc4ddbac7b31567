// SPDX-License-Identifier: BSD-3-Clause
/* pikos_session__run: a session for callers of the library. */
#include <errno.h>
#include <string.h>

#include "cli/options.h"
#include "errors.h"
#include "log.h"
#include "session/session.h"

static void convert(const struct pikos_session *session, struct options *options)
{
	options->monitor = session->monitor;
	options->argv = (char **)session->argv;
	options->focus = session->focus;
	options->fields = session->fields;
	options->buffer_size = session->buffer_size;
	options->duration_ns = session->duration_ns;
	options->max_records = session->max_records;
	options->lossless = session->lossless;
	options->source = session->agent ? SOURCE_AGENT : SOURCE_AUTO;
	options->regions = session->regions;
	options->stacks = session->stacks;
	options->native = session->native;
	options->output = "a recorder of the program's own";
}

static bool is_possible(const struct pikos_session *session)
{
	struct pikos_record_type type;
	bool size = !session->buffer_size || (session->buffer_size >= OPTIONS_MIN_BUFFER &&
					      session->buffer_size <= OPTIONS_MAX_BUFFER &&
					      !(session->buffer_size & (session->buffer_size - 1)));

	return session->monitor && session->recorder && size &&
	       !session->argv != !session->n_pids && session->n_pids <= OPTIONS_MAX_PIDS &&
	       !pikos_record_type__init(&type, session->monitor, session->fields);
}

int pikos_session__run(const struct pikos_session *session, struct pikos_summary *summary)
{
	const struct session_io io = {session->filters, session->recorder, summary, session->ready,
				      session->ready_ctx};
	struct options *options;
	pid_t *own;
	int status;

	if (!is_possible(session))
		return STATUS_USAGE;
	options = options__new();
	if (!options)
		return STATUS_FAILED;
	convert(session, options);
	own = options->pids;
	options->pids = (pid_t *)session->pids;
	options->n_pids = session->n_pids;
	status = session__run(options, &io);
	options->pids = own;
	options__free(options);
	return status;
}
