/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * threads.h - whose turn it is: what is kept per thread of the target.
 */
#ifndef PIKOS_AGENT_THREADS_H
#define PIKOS_AGENT_THREADS_H

#include <stdbool.h>
#include <stdint.h>

struct agent_thread {
	uint32_t tid;
	uint32_t session;      /* its number: depths of an older one are void */
	uint32_t focus_depth;  /* focused functions that it is in */
	uint32_t region_depth; /* regions that it is in... */
	uint32_t region_start; /* ...since that start of a session: older ones are void */
};

/* Once. @return false: no room for another pthread key */
bool threads__init(void);
/* The calling thread's; NULL: no memory. */
struct agent_thread *threads__own(void);
/* A new session begins. */
void threads__renew(void);
/* A child of a fork: its one thread has another tid. */
void threads__forked(void);

#endif /* PIKOS_AGENT_THREADS_H */
