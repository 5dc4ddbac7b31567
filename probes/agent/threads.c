// SPDX-License-Identifier: BSD-3-Clause
#include "threads.h"

#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "focus.h"
#include "system.h"

static uint32_t sessions;

/*
 * A thread ends, without the GIL maybe. Its control block's address can be the next thread's, so
 * the buffer must not take that one for this. (Whose turn it is otherwise changes under the GIL.)
 */
static void ended(void *pointer)
{
	struct agent_thread *thread = pointer;
	uintptr_t own = thread_pointer();

	__atomic_compare_exchange_n(&buffer.thread, &own, 0, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
	if (thread->session == sessions)
		focus__thread_ended(thread);
	free(thread);
}

bool threads__init(void)
{
	return system__local_new(ended);
}

struct agent_thread *threads__own(void)
{
	struct agent_thread *thread = system__local();

	if (thread && thread->session == sessions)
		return thread;
	if (!thread) {
		thread = calloc(1, sizeof(*thread));
		if (!thread)
			return NULL;
		thread->tid = system__tid();
		system__set_local(thread);
	}
	thread->session = sessions;
	thread->focus_depth = 0;
	thread->depth = 0;
	memset(&thread->running, 0, sizeof(thread->running));
	return thread;
}

struct agent_thread *threads__current(void)
{
	if (buffer.is_shared)
		return threads__own();
	if (unlikely(thread_pointer() != buffer.thread))
		threads__switch();
	return buffer.current;
}

void threads__renew(void)
{
	sessions++;
}

void threads__forked(void)
{
	struct agent_thread *thread = system__local();

	if (thread)
		thread->tid = system__tid();
}

void threads__switch(void)
{
	struct agent_thread *thread = threads__own();

	if (!thread)
		return; /* the events go to the thread before it */
	buffer.current = thread;
	buffer.thread = thread_pointer();
	buffer__say(WIRE_SLOT_THREAD, thread->tid, 0);
}
