/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * internal.h - the session's state, shared by its files:
 *
 *	session.c	the order of things: prepare, watch, end
 *	prepare.c	kernel, keeper, recorder, rights
 *	targets.c	processes: attach, exec, fork, stop, exit
 *	summaries.c	memory --summary: ledgers, and when they are written
 *	agents.c	the agents in them: hooked, ids anew, notices, ended
 *	ending.c	detach, drain, account, report
 *	overhead.c	--overhead: what all of it took
 */
#ifndef PIKOS_SESSION_INTERNAL_H
#define PIKOS_SESSION_INTERNAL_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/options.h"
#include "keeper/keeper.h"
#include "kernel/kernel.h"
#include "monitor/monitor.h"
#include "process/reader.h"
#include "session/output.h"
#include "session/program.h"
#include "session/rules.h"
#include "session/summaries.h"
#include "symbols/native.h"
#include "symbols/symbols.h"
#include "transport/transport.h"

struct session;

struct target {
	struct session *session;
	pid_t pid;
	int pidfd;
	bool ended;
	struct reader *reader;
	struct lines *lines;
	uint32_t execs;		   /* of the kernel's count, handled */
	bool agent;		   /* traced by our agent in it */
	uint64_t resend_since;	   /* CLOCK_MONOTONIC: ids are asked for anew; 0: they are not */
	struct monitor_agent told; /* of its notices, what the user has been told */
};

struct session {
	const struct options *options;
	struct kernel_config config;
	struct source_policy sources;
	struct output output;
	struct rules rules;
	struct kernel *kernel;
	struct wire_target *wire; /* the kernel's side of the targets */
	struct keeper *keeper;
	int *descriptors; /* that the caller had open */
	int n_descriptors;
	struct transport *transport;
	struct symbols *symbols;
	struct native *native; /* --native: names of C functions */
	struct monitor *monitor;
	struct summaries *summaries;		/* NULL: none are wanted */
	const struct memory_consumer *consumer; /* NULL: events become records */
	struct program *program;		/* run mode */
	struct target *targets;
	int n_targets;
	int n_alive;
	int epoll;
	uint64_t deadline; /* CLOCK_MONOTONIC; 0: none */
	bool detached;
	bool any_python;	      /* at least one target was attached */
	bool awaits_main;	      /* one would be, at Py_RunMain */
	bool enough;		      /* --max-records reached */
	struct pikos_summary summary; /* at the end */
	uint64_t cpu_start;	      /* ns of CPU of ours, when the watching began */
	struct keeper_costs costs;    /* --overhead, at the end */
	int failure;		      /* exit status of a failure, 0: none so far */
};

/* Which signal asked for an end; set by handlers. */
extern volatile sig_atomic_t session_signal;

/* prepare.c */
int session__prepare(struct session *session);

/* targets.c */
int targets__open(struct session *session);
int targets__attach_all(struct session *session);
void targets__look(struct session *session);
/* @brief --lossless: continue what was stopped, its records are out of the buffers. */
void targets__look_at_stops(struct session *session, int index);
bool targets__has_exited(const struct target *target);
/* @brief The keeper has died: continue whatever it might have had to. */
void targets__continue_all(struct session *session);
void targets__free(struct session *session);

/* agents.c */
/*
 * @brief An agent was loaded: wait until it sees events, as long as others usually take.
 * @return 0; -ENOTSUP with why filled: it will see none
 */
int agents__wait_hooked(struct session *session, int index, struct interpreter_reason *why);
/* @brief Act on what they have said. */
void agents__look(struct session *session);
/* @brief Have them hand over what they hold, and take it; waits a little for each. */
void agents__stop(struct session *session);

/* ending.c */
/* @return 0; -ECANCELED: enough; else the recorder's error, logged */
int session__drain(struct session *session, bool everything);
/* @brief Without a keeper its probes are gone; what it cannot continue any more we do. */
void session__mourn_keeper(struct session *session);
/* @brief Say why the recorder failed, and end with that. @return err */
int session__recorder_failed(struct session *session, int err);
/* @brief The tracing is over: detach, drain, account, flush. */
void session__settle(struct session *session);
/* @brief The program is over, too: finalize and report. @return the exit status */
int session__end(struct session *session);

/* overhead.c */
/* @brief The tracing begins: from here on is counted what it takes. */
void overhead__begin(struct session *session);
/* @brief All is detached: ask the kernel, while there is a keeper. */
void overhead__settle(struct session *session);
/* @brief Print it. @param records that we have handled */
void overhead__report(const struct session *session, uint64_t records);

#endif /* PIKOS_SESSION_INTERNAL_H */
