/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent_file.h - where the agent's library lies on this machine.
 *
 * $PIKOS_AGENT, if it is set; else beside the running program, as after `make`, or in ../lib/pikos
 * seen from there, as after `make install`; else in /usr/local/lib/pikos or /usr/lib/pikos.
 * probes/python/pikos.py looks at the same places.
 */
#ifndef PIKOS_SOURCE_AGENT_FILE_H
#define PIKOS_SOURCE_AGENT_FILE_H

#include <stddef.h>

#define AGENT_FILE "libpikos-agent.so"

/*
 * @brief Open the library for reading.
 * @param path set to its name, or to where it was looked for last; may be NULL
 * @return a descriptor or -errno
 */
int agent_file__open(char *path, size_t size);

#endif /* PIKOS_SOURCE_AGENT_FILE_H */
