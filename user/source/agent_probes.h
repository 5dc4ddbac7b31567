/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent_probes.h - the agent as a source for other tracers: it offers CPython's own probes,
 * python:function__entry, function__return and line, in an interpreter that lacks them.
 */
#ifndef PIKOS_SOURCE_AGENT_PROBES_H
#define PIKOS_SOURCE_AGENT_PROBES_H

#include <stdbool.h>
#include <sys/types.h>

#include "source/agent_copy.h"
#include "source/interpreter.h"

#define AGENT_PROBES_PATH AGENT_COPY_PATH

/*
 * @brief Load the agent from a file of the process's own, or find it there from before, and start
 * it. It stays until the process ends, and costs nothing while nobody is attached.
 * @param in of interpreter__of_pid
 * @param image the library, open for reading
 * @param path set to the file's name in the process's root
 * @return 0; -errno with why filled: then no file is left behind
 */
int agent_probes__offer(const struct interpreter *in, int image, char path[AGENT_PROBES_PATH],
			struct interpreter_reason *why);

/* @return whether another tracer is attached to what agent_probes__offer has loaded */
bool agent_probes__are_used(pid_t pid);

#endif /* PIKOS_SOURCE_AGENT_PROBES_H */
