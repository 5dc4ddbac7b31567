// SPDX-License-Identifier: BSD-3-Clause
#include <poll.h>
#include <string.h>

#include "log.h"
#include "session/internal.h"
#include "source/agent.h"

#define LOOK_EVERY_MS 2
#define HOOKED_WITHIN 5000000000ull /* ns; longer only if a C call keeps the GIL */
#define ENDED_WITHIN  500000000ull
#define RESENT_WITHIN 1000000000ull /* then its answer was lost, too */

static const struct monitor_agent *agent_of(const struct session *session, int index)
{
	return monitor__agent(session->monitor, index);
}

int agents__wait_hooked(struct session *session, int index, struct interpreter_reason *why)
{
	struct target *target = &session->targets[index];
	struct pollfd end = {.fd = target->pidfd, .events = POLLIN};
	uint64_t deadline = clock_ns() + HOOKED_WITHIN;

	while (!agent_of(session, index)->hooked && !session_signal && !session->failure) {
		if (session__drain(session, false) || poll(&end, 1, LOOK_EVERY_MS) > 0)
			return 0;
		if (agent_of(session, index)->ended && !agent_of(session, index)->hooked)
			return agent__explain(why, agent_of(session, index)->refusal);
		for (int i = 0; i <= index && session->options->lossless; i++)
			targets__look_at_stops(session, i);
		if (clock_ns() < deadline)
			continue;
		log_warn("PID %d has not let the agent in yet: it is stopped, or a long C call "
			 "keeps the GIL",
			 target->pid);
		break;
	}
	return 0;
}

/* Losses may take the definitions of ids with them. */
static void look_at_ids(struct session *session, int index)
{
	struct target *target = &session->targets[index];
	bool wanted = agent_of(session, index)->wants_resend;
	uint64_t now = clock_ns();

	if (wanted == (target->resend_since != 0) &&
	    (!wanted || now - target->resend_since < RESENT_WITHIN))
		return;
	/* A lost answer needs another rise of the semaphore, so it has to fall first. */
	if (!keeper__resend(session->keeper, index, wanted))
		target->resend_since = wanted ? now : 0;
}

static void tell_notices(struct session *session, int index)
{
	struct target *target = &session->targets[index];
	const struct monitor_agent *agent = agent_of(session, index);
	struct monitor_agent *told = &target->told;

	if (agent->replaced && !told->replaced)
		log_warn("PID %d set a profiler or tracer of its own: events may be missing before "
			 "both ran again",
			 target->pid);
	if (agent->allocators && !told->allocators)
		log_warn("PID %d set an allocator of its own: allocations may be missing before "
			 "ours ran again",
			 target->pid);
	if (agent->interpreters > told->interpreters)
		log_warn("PID %d has %u subinterpreters, of which nothing is seen", target->pid,
			 agent->interpreters);
	if (agent->late_threads && !told->late_threads)
		log_warn("PID %d has threads that C code made: their first events are missing",
			 target->pid);
	*told = *agent;
}

void agents__look(struct session *session)
{
	for (int i = 0; i < session->n_targets; i++) {
		if (!session->targets[i].agent)
			continue;
		tell_notices(session, i);
		if (!session->targets[i].ended && !session->detached)
			look_at_ids(session, i);
	}
}

static bool is_awaited(const struct session *session, int index)
{
	const struct target *target = &session->targets[index];

	/* One that never got the GIL holds nothing, and hooks nothing any more. */
	return target->agent && !target->ended && agent_of(session, index)->hooked &&
	       !agent_of(session, index)->ended && !targets__has_exited(target);
}

static bool any_awaited(const struct session *session)
{
	for (int i = 0; i < session->n_targets; i++)
		if (is_awaited(session, i))
			return true;
	return false;
}

void agents__stop(struct session *session)
{
	struct pollfd keeper = {.fd = keeper__fd(session->keeper), .events = POLLIN};
	uint64_t deadline;
	bool any = false;

	for (int i = 0; i < session->n_targets; i++)
		any |= session->targets[i].agent && !session->targets[i].ended;
	if (!any)
		return;
	if (keeper__stop_agents(session->keeper)) {
		session__mourn_keeper(session);
		return;
	}
	deadline = clock_ns() + ENDED_WITHIN;
	/* Whoever has enough does not wait for more; the hooks go all the same. */
	while (any_awaited(session) && !session->enough && !session->failure) {
		if (session__drain(session, false))
			return;
		if (clock_ns() >= deadline)
			break;
		poll(&keeper, 1, LOOK_EVERY_MS);
		for (int i = 0; i < session->n_targets && session->options->lossless; i++)
			targets__look_at_stops(session, i);
	}
	for (int i = 0; i < session->n_targets && !session->enough && !session->failure; i++)
		if (is_awaited(session, i))
			log_warn("PID %d does not answer: what its agent still held is lost",
				 session->targets[i].pid);
}
