/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thread_hooks.h - a profile or trace function on every thread of the main interpreter, in front of
 * what the program sets itself: its function and object are called after ours, sys.getprofile and
 * sys.gettrace give its object, and both run on when it sets another.
 */
#ifndef PIKOS_AGENT_THREAD_HOOKS_H
#define PIKOS_AGENT_THREAD_HOOKS_H

#include "overhead.h"
#include "python_api.h"
#include "system.h"

struct thread_hook {
	bool is_trace;		/* else profile */
	trace_function plain;	/* on threads where the program has none */
	trace_function chained; /* on the others: ours, then the program's */
};

/* All of them with the GIL held and no Python error set, but for __look. */
int thread_hooks__install(const struct thread_hook *hook);
void thread_hooks__remove(void);
/* Hook threads that are new, or whose function the program has replaced. */
void thread_hooks__adopt(void);
bool thread_hooks__look(void);
/*
 * Whether this event was seen: another that chains as we do (a second copy of the agent) can have
 * us behind what is behind us. For `plain` and `chained`, first.
 */
extern uint32_t thread_hooks_running; /* threads that are in a function of the program's */
bool thread_hooks__is_nested(void);
static inline bool thread_hooks__was_seen(void)
{
	return unlikely(thread_hooks_running) && thread_hooks__is_nested();
}

/* For `chained`: the program's own function, to be asked for first, since the hooks may go out. */
trace_function thread_hooks__program(void);
int thread_hooks__chain(trace_function program, void *object, void *frame, int what,
			void *argument);

/* What a kind of hooks does with an event. */
typedef void (*thread_hooks_see)(void *frame, int what, void *argument);

static inline __attribute__((always_inline)) int thread_hooks__plain(thread_hooks_see see,
								     void *frame, int what,
								     void *argument)
{
	if (!thread_hooks__was_seen())
		see(frame, what, argument);
	return 0;
}

static inline __attribute__((always_inline)) int thread_hooks__chained(thread_hooks_see see,
								       void *object, void *frame,
								       int what, void *argument)
{
	trace_function program;

	if (thread_hooks__was_seen())
		return 0;
	program = thread_hooks__program();
	see(frame, what, argument);
	return thread_hooks__chain(program, object, frame, what, argument);
}

/* The same between two looks at the clock: with AGENT_OVERHEAD. */
static inline __attribute__((always_inline)) void thread_hooks__time(thread_hooks_see see,
								     void *frame, int what,
								     void *argument)
{
	static const uint8_t kinds[] = {
		[TRACE_CALL] = WIRE_CALL,	  [TRACE_EXCEPTION] = WIRE_OVERHEAD_OTHER,
		[TRACE_LINE] = WIRE_LINE,	  [TRACE_RETURN] = WIRE_RETURN,
		[TRACE_C_CALL] = WIRE_C_CALL,	  [TRACE_C_EXCEPTION] = WIRE_C_EXCEPTION,
		[TRACE_C_RETURN] = WIRE_C_RETURN,
	};
	bool is_known = what >= 0 && what < (int)(sizeof(kinds) / sizeof(*kinds));
	struct stopwatch watch;

	stopwatch__start(&watch);
	see(frame, what, argument);
	stopwatch__stop(&watch, is_known ? kinds[what] : WIRE_OVERHEAD_OTHER);
}

/* The hook, called `name`, that has `see` do it. */
#define THREAD_HOOK(name, see, trace)                                                  \
	static int name##_plain(void *object, void *frame, int what, void *argument)   \
	{                                                                              \
		(void)object;                                                          \
		return thread_hooks__plain(see, frame, what, argument);                \
	}                                                                              \
	static int name##_chained(void *object, void *frame, int what, void *argument) \
	{                                                                              \
		return thread_hooks__chained(see, object, frame, what, argument);      \
	}                                                                              \
	static const struct thread_hook name = {                                       \
		.is_trace = (trace), .plain = name##_plain, .chained = name##_chained}

#endif /* PIKOS_AGENT_THREAD_HOOKS_H */
