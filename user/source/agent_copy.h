/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent_copy.h - the agent's library as a file that a process can read, for other tracers: they
 * attach to a file, and one that is to be found by its name.
 *
 * It is made where the process itself may make files (a directory like /tmp, in its root), so
 * nothing comes to be that it could not have made, in a directory of a name that nobody can
 * foresee, and which belongs to us, so nobody can change it.
 */
#ifndef PIKOS_SOURCE_AGENT_COPY_H
#define PIKOS_SOURCE_AGENT_COPY_H

#include <stdbool.h>
#include <sys/types.h>

#include "source/interpreter.h"

#define AGENT_COPY_PATH 64
/* Not called as the agent of a trace is: that one is not to be taken for it, nor the other way. */
#define AGENT_COPY_FILE "old-probes.so"

struct agent_copy {
	char path[AGENT_COPY_PATH]; /* in the process's root:
				       "/tmp/pikos-agent-0123.../old-probes.so" */
	/* private */
	int parent; /* the directory in which ours is; -1: none */
	char name[32];
};

/*
 * @brief Copy what is left to read of a file.
 * @param image of the library
 * @return 0; -errno with why filled, and nothing is left behind
 */
int agent_copy__make(struct agent_copy *copy, pid_t pid, int image, struct interpreter_reason *why);
/* @brief Take the file and its directory away. Does nothing twice. */
void agent_copy__remove(struct agent_copy *copy);
/*
 * @brief Find the copy that an earlier call has left in a process.
 * @param path set to its name, as agent_copy.path
 */
bool agent_copy__find(pid_t pid, char path[AGENT_COPY_PATH]);
/* @brief Keep them. */
void agent_copy__keep(struct agent_copy *copy);

#endif /* PIKOS_SOURCE_AGENT_COPY_H */
