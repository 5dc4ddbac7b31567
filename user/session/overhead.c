// SPDX-License-Identifier: BSD-3-Clause
/*
 * What tracing took, by who has measured it: the agents their hooks and hand-overs, the kernel our
 * programs, we our own time. A table of numbers and names without spaces, for people and for awk.
 */
#include <inttypes.h>
#include <time.h>

#include "log.h"
#include "session/internal.h"

static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void overhead__begin(struct session *session)
{
	session->cpu_start = cpu_ns();
}

void overhead__settle(struct session *session)
{
	if (session->options->overhead && session->keeper)
		keeper__costs(session->keeper, &session->costs);
}

static void row(const char *who, const char *what, uint64_t count, uint64_t ns)
{
	if (count)
		log_line("%12" PRIu64 " %15" PRIu64 " %11.1f  %s:%s", count, ns,
			 (double)ns / (double)count, who, what);
}

/* Hooks, then hand-overs: together what the program's own threads have spent on it. */
static bool report_agents(const struct session *session)
{
	static const char *const hooks[WIRE_OVERHEAD_BATCH] = {
		[WIRE_OVERHEAD_OTHER] = "other",
		[WIRE_CALL] = "call",
		[WIRE_RETURN] = "return",
		[WIRE_LINE] = "line",
		[WIRE_C_CALL] = "c_call",
		[WIRE_C_RETURN] = "c_return",
		[WIRE_C_EXCEPTION] = "c_exception",
		[WIRE_MALLOC] = "malloc",
		[WIRE_CALLOC] = "calloc",
		[WIRE_REALLOC] = "realloc",
		[WIRE_FREE] = "free",
	};
	struct wire_overhead sums[WIRE_N_OVERHEADS] = {0}, all = {0};
	bool any = false;

	for (int i = 0; i < session->n_targets; i++) {
		const struct monitor_agent *agent = monitor__agent(session->monitor, i);

		any |= agent->hooked;
		for (int kind = 0; kind < WIRE_N_OVERHEADS; kind++) {
			sums[kind].count += agent->overhead[kind].count;
			sums[kind].ns += agent->overhead[kind].ns;
		}
	}
	for (int kind = 0; kind <= WIRE_OVERHEAD_BATCH; kind++) {
		bool is_hook = kind < WIRE_OVERHEAD_BATCH;

		if (is_hook && !hooks[kind])
			continue;
		row(is_hook ? "hook" : "agent", is_hook ? hooks[kind] : "batch", sums[kind].count,
		    sums[kind].ns);
		all.ns += sums[kind].ns;
		all.count += is_hook ? sums[kind].count : 0;
	}
	row("agent", "total", all.count, all.ns);
	row("agent", "helper", sums[WIRE_OVERHEAD_HELPER].count, sums[WIRE_OVERHEAD_HELPER].ns);
	row("agent", "clock", sums[WIRE_OVERHEAD_CLOCK].count, sums[WIRE_OVERHEAD_CLOCK].ns);
	return any;
}

void overhead__report(const struct session *session, uint64_t records)
{
	const struct keeper_costs *costs = &session->costs;
	bool any_agent;

	log_line("%12s %15s %11s  %s", "count", "ns", "ns/each", "overhead");
	any_agent = report_agents(session);
	for (int i = 0; i < costs->n; i++)
		row("bpf", costs->programs[i].name, costs->programs[i].count,
		    costs->programs[i].ns);
	row("loader", "record", records, cpu_ns() - session->cpu_start);
	if (!kernel__is_timed(session->kernel))
		log_warn("the kernel has not timed its programs: BPF_ENABLE_STATS was refused");
	else if (!any_agent)
		log_warn("without an agent only BPF programs are timed: what the kernel takes "
			 "around them, the trap of a probe above all, is not in it");
}
