/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent_check.h - whether the agent can be loaded, from what is to be seen without touching the
 * target: for --list, and for a refusal before anything is stopped.
 *
 * A yes is not the last word: what is seen may change, and loading may still fail.
 */
#ifndef PIKOS_SOURCE_AGENT_CHECK_H
#define PIKOS_SOURCE_AGENT_CHECK_H

#include <stdbool.h>
#include <sys/types.h>

#include "source/interpreter.h"

#define AGENT_FIRST_MINOR 9 /* of CPython 3 */
#define AGENT_LAST_MINOR  15

/**
 * Whether the agent works with an interpreter, as far as its file tells: a CPython 3.9 to 3.15
 * with the GIL, for this processor, that can load libraries and exports Python's C interface.
 *
 * @param why  which problem, and the two lines of an error; may be NULL
 * @return 0, or -ENOTSUP with why set
 */
int agent_check__interpreter(const struct interpreter *in, struct interpreter_reason *why);

/**
 * Whether it can be loaded into the process: the above, and no other tracer, no seccomp filter, a
 * /proc, and our right to trace it.
 *
 * @param in  of interpreter__of_pid
 * @return 0; -ESRCH (it has ended), -EBUSY (another tracer), -EPERM (not permitted), or -ENOTSUP,
 *         with why set
 */
int agent_check__process(const struct interpreter *in, struct interpreter_reason *why);

/** @return whether the agent is mapped into the process; it may be without work */
bool agent_check__is_loaded(pid_t pid);

#endif /* PIKOS_SOURCE_AGENT_CHECK_H */
