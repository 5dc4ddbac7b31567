/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * choice.h - which source a process's events come from: its interpreter's own probes or our agent.
 */
#ifndef PIKOS_SOURCE_CHOICE_H
#define PIKOS_SOURCE_CHOICE_H

#include <stdbool.h>

#include "source/interpreter.h"

/* SOURCE_IS_LIBC: its functions, and the interpreter's probes if it has them. */
enum source { SOURCE_IS_PROBES, SOURCE_IS_AGENT, SOURCE_IS_KERNEL, SOURCE_IS_LIBC };

/* Sources that may be used: the probes first, unless prefer_agent. */
struct source_policy {
	bool probes, agent, prefer_agent;
	bool kernel;	     /* the kernel alone sees all that is asked for: nothing is attached */
	bool libc;	     /* what is not the agent's comes from libc */
	bool name_agent;     /* a refusal of the probes names the agent, if that would do */
	unsigned int needed; /* of the probes: bits of enum cpython_probe */
};

/* @return an enum source, or -ENOTSUP with why filled */
int source__choose(const struct source_policy *policy, const struct interpreter *in,
		   struct interpreter_reason *why);

#endif /* PIKOS_SOURCE_CHOICE_H */
