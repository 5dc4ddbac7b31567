/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * threads.h - whose turn it is: what is kept per thread of the target.
 */
#ifndef PIKOS_AGENT_THREADS_H
#define PIKOS_AGENT_THREADS_H

#include <stdbool.h>
#include <stdint.h>

#include "stack.h"

struct agent_thread {
	uint32_t tid;
	uint32_t session;      /* its number: depths of an older one are void */
	uint32_t focus_depth;  /* focused functions that it is in */
	uint32_t region_depth; /* regions that it is in... */
	uint32_t region_start; /* ...since that start of a session: older ones are void */
	int32_t depth;	       /* calls that it is in, since it was first seen */
	uint64_t timed;	       /* overhead.h: ticks, in what is timed now */
	bool is_busy;	       /* what it allocates is not the program's, or is seen already */
	struct running running;
};

/* Once. @return false: no room for another pthread key */
bool threads__init(void);
/* The calling thread's; NULL: no memory. With or without the GIL. */
struct agent_thread *threads__own(void);
/* The same at an event: the caller holds the GIL. */
struct agent_thread *threads__current(void);
/* A new session begins. */
void threads__renew(void);
/* A child of a fork: its one thread has another tid. */
void threads__forked(void);

#endif /* PIKOS_AGENT_THREADS_H */
