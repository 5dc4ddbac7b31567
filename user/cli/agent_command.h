/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent_command.h - `pikos-trace agent -p PID`: the agent for other tracers.
 */
#ifndef PIKOS_CLI_AGENT_COMMAND_H
#define PIKOS_CLI_AGENT_COMMAND_H

#include "cli/options.h"

/*
 * @brief Load the agent from a file into options->pids[0], or find it there, and have it offer
 * CPython's own probes.
 * @return two lines, the file's path and how to use it with bpftrace, freed by the caller; NULL
 * (logged)
 */
char *agent_command__run(const struct options *options);

#endif /* PIKOS_CLI_AGENT_COMMAND_H */
