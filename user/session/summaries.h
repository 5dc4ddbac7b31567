/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * summaries.h - memory --summary: a ledger for each target, and when it is written.
 *
 * Every --interval and on SIGUSR1 what has changed since the summary before; at the end the whole.
 */
#ifndef PIKOS_SESSION_SUMMARIES_H
#define PIKOS_SESSION_SUMMARIES_H

#include "monitor/memory.h"

struct session;
struct summaries;

/* @brief Have SIGUSR1 ask for a summary. Before the keeper is made: it is not to die of it. */
void summaries__catch_signal(void);
/* @param session options are known, nothing is loaded yet @return NULL and errno */
struct summaries *summaries__new(struct session *session);
void summaries__free(struct summaries *summaries);
/* @return who takes the events */
const struct memory_consumer *summaries__consumer(const struct summaries *summaries);
/* @brief The recorder is prepared: rows can be written. @return 0 or -errno */
int summaries__prepare(struct summaries *summaries);
/* @brief Write those that are due. @return 0; -errno of the recorder */
int summaries__look(struct summaries *summaries);
/* @brief The end is near: keep the kernel's word while the targets still run. */
void summaries__note_end(struct summaries *summaries);
/* @brief All events have come. @return as summaries__look */
int summaries__end(struct summaries *summaries);

#endif /* PIKOS_SESSION_SUMMARIES_H */
