/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent.h - our agent in one process: loaded or found, attached to, started, stopped.
 *
 * The order matters. The library is loaded (or one that is there already is used again), then its
 * probes are attached to, so that nothing is handed over to nobody, then it is told to start. Its
 * `run` probe is a uprobe without a program, whose semaphore falls as soon as it is closed.
 */
#ifndef PIKOS_SOURCE_AGENT_H
#define PIKOS_SOURCE_AGENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "kernel/kernel.h"
#include "source/interpreter.h"

struct bpf_link;
struct memory_values;

struct agent_order {
	struct kernel *kernel; /* borrowed */
	uint32_t target;       /* index of the process in the targets map */
	uint32_t flags;	       /* enum agent_flag; focus, window and rules are the kernel's */
	bool at_start;	       /* it stands where agent__stop_at_main has stopped it */
	struct memory_values *values; /* borrowed; AGENT_VALUES: where it finds RSS and VMS */
};

struct agent;

/*
 * @brief Load the agent, attach to it, start it. Sets the target's tgid for the kernel side in
 * between: its first batch may come before this returns.
 * @param in of the process, borrowed until the result is freed
 * @param why filled on failure
 * @return NULL and errno; nothing stays attached then, and no hook stays in the target
 */
struct agent *agent__attach(const struct agent_order *order, const struct interpreter *in,
			    struct interpreter_reason *why);
/* @brief Detach. When it returns no program runs for this process any more. NULL is fine. */
void agent__free(struct agent *agent);

/* @brief Have it hand over what it holds and take its hooks out. Does not wait for it. */
void agent__stop(struct agent *agent);
/* @brief Ask it to define every id anew. @param on false: it has answered */
int agent__resend(struct agent *agent, bool on);
/* @return for how long loading has stopped the process at most, in ns */
uint64_t agent__stopped_ns(const struct agent *agent);
/* @brief Take breakpoints and semaphores out of children that were forked: see usdt__sweep. */
int agent__sweep(const struct agent *agent);

/* @brief Words for an enum agent_refusal. @return -ENOTSUP or -EBUSY */
int agent__explain(struct interpreter_reason *why, int refusal);

/*
 * @brief Have a program stop at Py_RunMain: Python is initialised, nothing of __main__ has run.
 * @return NULL and errno
 */
struct bpf_link *agent__stop_at_main(struct kernel *kernel, const struct interpreter *in,
				     pid_t pid);
/* @return whether a stopped process stands there */
bool agent__is_at_main(const struct interpreter *in);

/*
 * @brief Load the agent from a file and have it offer the old probes, for other tracers.
 * @param path as the target sees it
 * @return 0; -errno with why filled
 */
int agent__offer(const struct interpreter *in, const char *path, struct interpreter_reason *why);

#endif /* PIKOS_SOURCE_AGENT_H */
