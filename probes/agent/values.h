/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * values.h - RSS and VMS of each event, at the price of two loads.
 *
 * The tracer's kernel side keeps them on a page (struct wire_values) right behind each change and
 * before whoever caused it goes on. Before an event the producer looks whether they are still those
 * of the event before, and says so in the stream if not.
 */
#ifndef PIKOS_AGENT_VALUES_H
#define PIKOS_AGENT_VALUES_H

#include <stdbool.h>

#include "buffer.h"

/*
 * Map the page for the session that is about to start; from any thread. @return false: it cannot be
 * mapped, or nobody keeps it
 */
bool values__map(int fd);
/* The session begins: its page, if it has one, is what is looked at. The caller holds the GIL. */
void values__begin(void);
/* The session's hooks are out: nobody looks any more. The caller holds the GIL. */
void values__end(void);
/* It does not come to begin. */
void values__unmap(void);

#endif /* PIKOS_AGENT_VALUES_H */
