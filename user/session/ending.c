// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "errors.h"
#include "log.h"
#include "session/internal.h"

int session__recorder_failed(struct session *session, int err)
{
	const char *words = pikos_recorder__error(session->output.recorder);

	log_error("%s", *words ? words : error_words(err));
	session->failure = STATUS_FAILED;
	return err;
}

int session__drain(struct session *session, bool everything)
{
	int err =
		transport__drain(session->transport, monitor__handle, session->monitor, everything);

	if (err == -ECANCELED) {
		session->enough = true;
		return err;
	}
	if (!err && !session->options->buffered)
		err = pikos_recorder__flush(session->output.recorder);
	return err ? session__recorder_failed(session, err) : 0;
}

void session__mourn_keeper(struct session *session)
{
	log_error("the keeper process has died: tracing has ended");
	session->failure = STATUS_FAILED;
	session->detached = true;
	targets__continue_all(session);
}

static void detach(struct session *session)
{
	struct keeper_missed missed = {0};

	if (session->detached || !session->keeper)
		return;
	agents__stop(session);
	if (session->detached) /* the keeper has died meanwhile */
		return;
	session->detached = true;
	if (keeper__detach_all(session->keeper, &missed))
		session__mourn_keeper(session);
	if (session->program)
		session->wire[0].exec_stop = 0;
	/* Whatever was stopped until now, by --lossless or at an exec. */
	targets__look(session);
	if (missed.events && session->monitor)
		monitor__lost(session->monitor, MONITOR_NOT_RUN, missed.events);
	if (missed.values)
		log_warn("RSS and VMS may be behind in some records: the kernel has left out "
			 "%" PRIu64 " looks at them",
			 missed.values);
}

/* What the counters say that the stream did not; then the totals must agree. */
static int account(struct session *session)
{
	struct monitor_totals totals;
	uint64_t seen = 0;
	int err = 0;

	for (int i = 0; i < session->n_targets && !err; i++) {
		seen += session->wire[i].seen;
		err = monitor__finish_target(session->monitor, i, &session->wire[i]);
	}
	monitor__totals(session->monitor, &totals);
	seen += totals.marks;
	for (int i = 0; i < totals.n_losses; i++)
		if (!strcmp(totals.losses[i].reason, MONITOR_NOT_RUN)) /* not seen there */
			seen += totals.losses[i].count;
	if (!err && seen != totals.seen) {
		log_error("internal error: %" PRIu64 " events were seen, %" PRIu64
			  " are accounted for",
			  seen, totals.seen);
		session->failure = STATUS_FAILED;
	}
	return err;
}

/* What stands in the records as <unknown>, <unreadable>, <loop> or without a line. */
static void report_frames(const struct monitor_totals *totals)
{
	if (totals->broken_stacks)
		log_warn("%" PRIu64 " stacks of Python could not be read to their end",
			 totals->broken_stacks);
	if (totals->missing.codes)
		log_warn("%" PRIu64 " frames of Python could not be read", totals->missing.codes);
	if (totals->missing.lines)
		log_warn("%" PRIu64 " frames have no line: the table of lines is longer than "
			 "64 KiB, or could not be read",
			 totals->missing.lines);
}

static void report(struct session *session, const struct monitor_totals *totals)
{
	uint64_t late = transport__late(session->transport);

	for (int i = 0; i < totals->n_losses; i++)
		log_warn("lost %" PRIu64 " records: %s", totals->losses[i].count,
			 totals->losses[i].reason);
	if (totals->n_losses && !strcmp(totals->losses[0].reason, "buffer full"))
		log_hint("a larger --buffer-size, a --focused-on or --lossless keeps them");
	if (session->native && native__unresolved(session->native))
		log_warn("%" PRIu64 " C frames have no name: libbcc did not survive a file",
			 native__unresolved(session->native));
	report_frames(totals);
	if (late)
		log_warn("%" PRIu64 " records were written after younger ones", late);
	if (session->options->overhead)
		overhead__report(session, totals->seen);
	if (session->options->verbose)
		log_line("seen=%" PRIu64 " written=%" PRIu64 " filtered=%" PRIu64 " lost=%" PRIu64,
			 totals->seen, totals->written, totals->filtered, totals->lost);
}

static int status_of(const struct session *session, const struct monitor_totals *totals)
{
	if (session->failure)
		return session->failure;
	if (session->options->strict && totals->lost)
		return STATUS_LOST;
	return session->program ? program__status(session->program) : STATUS_OK;
}

static void say_none_came(const struct session *session)
{
	if (!session->program || session->any_python || session->failure)
		return;
	if (session->awaits_main) {
		log_warn("'%s' did not come to Python's main function: nothing was traced",
			 session->options->argv[0]);
		log_hint("the agent is loaded at Py_RunMain; into a program that embeds Python "
			 "otherwise: -p PID");
		return;
	}
	log_warn("'%s' did not become a CPython: nothing was traced", session->options->argv[0]);
	log_hint("only the process itself is watched, through any number of execs, "
		 "not its children");
}

void session__settle(struct session *session)
{
	int err = 0;

	if (session->summaries)
		summaries__note_end(session->summaries);
	detach(session);
	overhead__settle(session);
	if (!session->enough && !session->failure)
		err = session__drain(session, true);
	if (!session->enough && !session->failure && !err)
		err = account(session);
	if (!session->failure && !err && session->summaries)
		err = summaries__end(session->summaries);
	if (!session->failure && !err)
		err = pikos_recorder__flush(session->output.recorder);
	if (err && !session->failure)
		session__recorder_failed(session, err);
}

/* Records that the recorder had taken and could not pass on. */
static void count_dropped(const struct session *session, struct monitor_totals *totals)
{
	bool is_zmq = session->options->recording == RECORDING_ZMQ;
	const char *reason = is_zmq ? "slow consumer" : MONITOR_NOT_WRITTEN;
	uint64_t dropped = pikos_recorder__dropped(session->output.recorder);
	int i = 0;

	if (dropped > totals->written)
		dropped = totals->written; /* rows that tell of losses are no records */
	if (!dropped)
		return;
	totals->written -= dropped;
	totals->lost += dropped;
	while (i < totals->n_losses && strcmp(totals->losses[i].reason, reason))
		i++;
	if (i == MONITOR_MAX_LOSSES)
		return;
	if (i == totals->n_losses)
		totals->losses[totals->n_losses++] = (struct monitor_loss){reason, 0};
	totals->losses[i].count += dropped;
}

int session__end(struct session *session)
{
	struct monitor_totals totals = {0};
	uint64_t dropped;
	int err;

	log_progress_end();
	monitor__totals(session->monitor, &totals);
	dropped = pikos_recorder__dropped(session->output.recorder);
	session->summary =
		(struct pikos_summary){totals.seen, totals.written - dropped, totals.filtered,
				       totals.lost + dropped, status_of(session, &totals)};
	err = pikos_recorder__finalize(session->output.recorder, &session->summary);
	if (err && !session->failure)
		session__recorder_failed(session, err);
	count_dropped(session, &totals);
	say_none_came(session);
	report(session, &totals);
	session->summary = (struct pikos_summary){totals.seen, totals.written, totals.filtered,
						  totals.lost, status_of(session, &totals)};
	return session->summary.status;
}
