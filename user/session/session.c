// SPDX-License-Identifier: BSD-3-Clause
#include "session/session.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "errors.h"
#include "log.h"
#include "session/internal.h"
#include "keeper/rights.h"

#define DRAIN_EVERY_MS 20  /* a record is to reach its recorder within 100 ms */
#define LOOK_EVERY_MS  100 /* after a signal between two looks */
#define MAX_EVENTS     16

volatile sig_atomic_t session_signal;

static void note_signal(int number)
{
	if (number != SIGCHLD)
		session_signal = number;
}

/* What the caller had us ignore (nohup) stays ignored. */
static void catch_signal(int number, void (*handler)(int))
{
	struct sigaction action = {.sa_handler = handler}, inherited;

	if (!sigaction(number, NULL, &inherited) && inherited.sa_handler == SIG_IGN)
		return;
	sigaction(number, &action, NULL);
}

static void catch_signals(bool run_mode, bool summaries)
{
	/* Not signal(), which has calls that wait (a FIFO's open) go on. */
	const struct sigaction ending = {.sa_handler = note_signal};

	program__keep_signals();
	if (summaries)
		summaries__catch_signal();
	catch_signal(SIGTERM, note_signal);
	catch_signal(SIGHUP, note_signal);
	/* A shell has its background jobs ignore it, yet `kill -INT` is how they are ended. */
	if (run_mode)
		catch_signal(SIGINT, note_signal);
	else
		sigaction(SIGINT, &ending, NULL);
	signal(SIGCHLD, note_signal); /* never ignored: run mode waits for its program */
	signal(SIGPIPE, SIG_IGN);
}

/* @return true when a signal ends the tracing */
static bool handle_signal(struct session *session)
{
	int number = session_signal;

	if (!number)
		return false;
	if (!session->program)
		return true; /* and it stays: a recorder that waits for its consumer asks */
	session_signal = 0;
	program__signal(session->program, number);
	return false;
}

/* Have ids made anew before their names fill the memory; see symbols.h. */
static void rotate_symbols(struct session *session)
{
	if (symbols__full(session->symbols))
		symbols__rotate(session->symbols, kernel__next_generation(session->kernel));
}

static void show_progress(const struct session *session)
{
	struct monitor_totals totals;

	if (!session->options->progress)
		return;
	monitor__totals(session->monitor, &totals);
	log_progress("%llu records, %llu lost", (unsigned long long)totals.written,
		     (unsigned long long)totals.lost);
}

static bool keeper_died(const struct session *session, const struct epoll_event *events, int n)
{
	for (int i = 0; i < n; i++)
		if (events[i].data.ptr == session->keeper)
			return true;
	return false;
}

static int watch_keeper(struct session *session)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = session->keeper};

	return epoll_ctl(session->epoll, EPOLL_CTL_ADD, keeper__fd(session->keeper), &event);
}

static int look_at_summaries(struct session *session)
{
	int err = session->summaries ? summaries__look(session->summaries) : 0;

	return err ? session__recorder_failed(session, err) : 0;
}

static void watch(struct session *session)
{
	struct epoll_event events[MAX_EVENTS];

	watch_keeper(session);
	overhead__begin(session);
	if (session->options->duration_ns)
		session->deadline = clock_ns() + session->options->duration_ns;
	while (session->n_alive && !session->enough && !session->failure) {
		int n = epoll_wait(session->epoll, events, MAX_EVENTS, DRAIN_EVERY_MS);

		if (keeper_died(session, events, n)) {
			session__mourn_keeper(session);
			break;
		}
		if (handle_signal(session) || session__drain(session, false))
			break;
		targets__look(session);
		if (look_at_summaries(session))
			break;
		rotate_symbols(session);
		show_progress(session);
		if (session->deadline && clock_ns() >= session->deadline)
			break;
	}
}

/* The tracing is over, the program is not: wait, and pass on what is sent to us. */
static void outlive_program(struct session *session)
{
	/* Not the buffers: what nobody reads any more stays readable. */
	struct pollfd end = {.fd = session->targets[0].pidfd, .events = POLLIN};

	while (session->program && !program__ended(session->program)) {
		poll(&end, 1, LOOK_EVERY_MS);
		handle_signal(session);
		targets__look(session);
	}
}

static void session_free(struct session *session)
{
	monitor__free(session->monitor);
	native__free(session->native);
	summaries__free(session->summaries);
	symbols__free(session->symbols);
	transport__free(session->transport);
	/* A program that was not let go holds the keeper's socket, and the keeper waits for it. */
	targets__free(session);
	keeper__free(session->keeper);
	rules__free(&session->rules);
	output__free(&session->output);
	kernel__free(session->kernel);
	free(session->descriptors);
	if (session->epoll >= 0)
		close(session->epoll);
}

int session__run(const struct options *options, const struct session_io *io)
{
	struct session session = {.options = options, .epoll = -1};
	int status;

	if (io) {
		session.output.borrowed = true;
		session.output.filters = io->filters;
		session.output.recorder = io->recorder;
	}
	catch_signals(options->argv != NULL, options->summary);
	session.n_descriptors = keeper__descriptors(&session.descriptors);
	if (session__prepare(&session)) {
		status = session.failure ? session.failure : STATUS_FAILED;
	} else {
		if (io && io->ready)
			io->ready(io->ready_ctx);
		watch(&session);
		session__settle(&session);
		outlive_program(&session);
		status = session__end(&session);
		if (io && io->summary)
			*io->summary = session.summary;
	}
	session_free(&session);
	return status;
}
