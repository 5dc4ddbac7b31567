// SPDX-License-Identifier: BSD-3-Clause
#include "session/summaries.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "errors.h"
#include "ledger/summary.h"
#include "log.h"
#include "session/internal.h"

/* After a moment its events have come, and have been drained. */
#define SETTLED_NS (TRANSPORT_RUN_LAG_NS + 2 * UINT64_C(20000000))

struct account { /* of one target */
	struct ledger *ledger;
	struct summary *summary;
	struct summary_moment moment; /* of the summary to come */
	bool ended;		      /* before that moment */
	bool told;		      /* and before the one before: nothing changes any more */
};

struct summaries {
	struct session *session;
	struct memory_consumer consumer;
	struct account *accounts;
	int n;
	/* CLOCK_MONOTONIC */
	uint64_t next;	 /* of --interval; 0: none */
	uint64_t moment; /* whose events are awaited; 0: none */
};

static volatile sig_atomic_t asked;

static void note_question(int number)
{
	(void)number;
	asked = 1;
}

void summaries__catch_signal(void)
{
	const struct sigaction action = {.sa_handler = note_question};

	sigaction(SIGUSR1, &action, NULL);
}

/* ------------------------------------------------------------------ events */

static int start(void *ctx, const struct memory_start *start)
{
	struct summaries *summaries = ctx;
	struct ledger *ledger = summaries->accounts[start->target].ledger;
	int err = 0;

	ledger__start(ledger, start, summaries->session->program);
	if (start->maps_fd >= 0)
		err = ledger__start_maps(ledger, start->maps_fd);
	ledger__start_ends(ledger, clock_ns());
	if (err && err != -ESRCH) /* it has ended meanwhile */
		log_warn("PID %d: its mappings could not be read (%s): the summary lacks them",
			 start->pid, error_words(err));
	return 0;
}

static int take(void *ctx, const struct memory_event *event)
{
	struct summaries *summaries = ctx;

	ledger__take(summaries->accounts[event->target].ledger, event);
	return 0;
}

static void lose(void *ctx, uint32_t target, uint64_t count)
{
	struct summaries *summaries = ctx;

	if (target < (uint32_t)summaries->n)
		ledger__lose(summaries->accounts[target].ledger, count);
}

/* ------------------------------------------------------------------ life */

struct summaries *summaries__new(struct session *session)
{
	const struct options *options = session->options;
	struct summaries *summaries = calloc(1, sizeof(*summaries));

	if (!summaries)
		return NULL;
	summaries->session = session;
	summaries->consumer = (struct memory_consumer){start, take, lose, summaries};
	summaries->n = options->argv ? 1 : options->n_pids;
	summaries->accounts = calloc(summaries->n, sizeof(*summaries->accounts));
	for (int i = 0; summaries->accounts && i < summaries->n; i++) {
		summaries->accounts[i].ledger = ledger__new(LEDGER_MAX_RANGES / summaries->n);
		if (!summaries->accounts[i].ledger)
			break;
	}
	if (summaries->accounts && summaries->accounts[summaries->n - 1].ledger)
		return summaries;
	summaries__free(summaries);
	errno = ENOMEM;
	return NULL;
}

void summaries__free(struct summaries *summaries)
{
	if (!summaries)
		return;
	for (int i = 0; summaries->accounts && i < summaries->n; i++) {
		summary__free(summaries->accounts[i].summary);
		ledger__free(summaries->accounts[i].ledger);
	}
	free(summaries->accounts);
	free(summaries);
}

const struct memory_consumer *summaries__consumer(const struct summaries *summaries)
{
	return &summaries->consumer;
}

int summaries__prepare(struct summaries *summaries)
{
	struct session *session = summaries->session;
	const struct summary_config config = {
		.type = &session->output.type,
		.filters = session->output.filters,
		.recorder = session->output.recorder,
		.top = session->options->top,
		.leaks = session->options->leaks,
	};

	for (int i = 0; i < summaries->n; i++) {
		struct account *account = &summaries->accounts[i];

		account->summary = summary__new(&config, account->ledger, session->targets[i].pid);
		if (!account->summary)
			return -ENOMEM;
	}
	if (session->options->interval_ns)
		summaries->next = clock_ns() + session->options->interval_ns;
	return 0;
}

/* ------------------------------------------------------------------ summaries */

/* What the kernel says of a process now; of one that has ended what it said last. */
static struct summary_moment moment_of(const struct session *session, int index)
{
	const struct target *target = &session->targets[index];
	struct summary_moment moment = {.time = clock_ns()};
	uint64_t page = sysconf(_SC_PAGESIZE);
	char path[64];
	FILE *statm;

	snprintf(path, sizeof(path), "/proc/%d/statm", target->pid);
	statm = target->ended ? NULL : fopen(path, "re");
	if (!statm)
		return moment;
	if (fscanf(statm, "%" SCNu64 " %" SCNu64, &moment.vms, &moment.rss) != 2 ||
	    targets__has_exited(target))
		moment.vms = moment.rss = 0;
	fclose(statm);
	moment.vms *= page;
	moment.rss *= page;
	return moment;
}

static void say_share(const struct session *session, int index, const struct summary_share *share)
{
	pid_t pid = session->targets[index].pid;

	if (session->options->quiet)
		return;
	if (share->growth > 0)
		log_line("PID %d: lines explain %.1f %% of the %" PRId64
			 " bytes by which RSS has grown",
			 pid, 100.0 * share->explained / share->growth, share->growth);
	else
		log_line("PID %d: RSS has not grown (%" PRId64 " bytes)", pid, share->growth);
}

static void say_doubts(const struct session *session, int index, const struct ledger *ledger)
{
	struct ledger_totals totals;

	ledger__totals(ledger, &totals);
	if (totals.lost)
		log_warn("PID %d: the summary is inexact: %" PRIu64 " events were lost",
			 session->targets[index].pid, totals.lost);
	if (totals.inexact)
		log_warn("PID %d: the summary is inexact: %" PRIu64
			 " bytes could not be followed, there are too many ranges",
			 session->targets[index].pid, totals.inexact);
	if (totals.cut_stacks)
		log_warn("PID %d: the summary is inexact: there was no room for %" PRIu64
			 " stacks, only for their innermost lines",
			 session->targets[index].pid, totals.cut_stacks);
}

static int write_one(struct summaries *summaries, int index)
{
	const struct account *account = &summaries->accounts[index];
	struct summary_share share;
	int err;

	if (!ledger__started(account->ledger) || (account->told && !account->moment.is_end))
		return 0;
	err = summary__write(account->summary, &account->moment, &share);
	if (err)
		return err;
	say_share(summaries->session, index, &share);
	say_doubts(summaries->session, index, account->ledger);
	return 0;
}

static int write_all(struct summaries *summaries)
{
	int err = 0;

	for (int i = 0; i < summaries->n && !err; i++)
		err = write_one(summaries, i);
	return err;
}

static void note_moment(struct summaries *summaries, bool is_end)
{
	for (int i = 0; i < summaries->n; i++) {
		struct account *account = &summaries->accounts[i];

		account->moment = moment_of(summaries->session, i);
		account->moment.is_end = is_end;
		account->told = account->ended;
		account->ended = summaries->session->targets[i].ended;
		ledger__mark(account->ledger, account->moment.time);
	}
}

int summaries__look(struct summaries *summaries)
{
	uint64_t now = clock_ns(), interval = summaries->session->options->interval_ns;
	bool due = summaries->next && now >= summaries->next;
	int err;

	if (!summaries->moment && (due || asked)) {
		asked = 0;
		while (due && summaries->next <= now)
			summaries->next += interval;
		summaries->moment = now;
		note_moment(summaries, false);
	}
	if (!summaries->moment || now < summaries->moment + SETTLED_NS)
		return 0;
	summaries->moment = 0;
	err = write_all(summaries);
	return err ? err : pikos_recorder__flush(summaries->session->output.recorder);
}

void summaries__note_end(struct summaries *summaries)
{
	note_moment(summaries, true);
}

int summaries__end(struct summaries *summaries)
{
	return write_all(summaries);
}
