// SPDX-License-Identifier: BSD-3-Clause
/*
 * Lines, on every version: a trace function on every thread. sys.monitoring's LINE alone is not
 * what sys.settrace sees.
 */
#include "buffer.h"
#include "focus.h"
#include "names.h"
#include "session.h"
#include "thread_hooks.h"

static inline __attribute__((always_inline)) void see_line(void *frame)
{
	struct code_entry *entry = names__entry(frame_code(frame, py.minor));
	int32_t line = frame_line(frame, py.minor);

	if (unlikely(!entry))
		return;
	if (unlikely(gate.is_there) && !focus__passes(entry, WIRE_LINE))
		return;
	if (unlikely(line < 0)) /* 3.13.0 leaves lines far down a function to who asks */
		line = py.PyFrame_GetLineNumber(frame);
	buffer__event(entry->id, line, WIRE_LINE);
}

/* They are no records, but a script's <module> begins and ends by them. */
static void see_function(void *frame, uint32_t type)
{
	struct code_entry *entry = names__entry(frame_code(frame, py.minor));

	if (entry)
		focus__passes(entry, type);
}

static inline __attribute__((always_inline)) void see(void *frame, int what, void *argument)
{
	(void)argument;
	if (likely(what == TRACE_LINE))
		see_line(frame);
	else if (unlikely(gate.has_window) && what == TRACE_CALL)
		see_function(frame, WIRE_CALL);
	else if (unlikely(gate.has_window) && what == TRACE_RETURN)
		see_function(frame, WIRE_RETURN);
}

static void see_timed(void *frame, int what, void *argument)
{
	thread_hooks__time(see, frame, what, argument);
}

THREAD_HOOK(hook, see, true);
THREAD_HOOK(timed_hook, see_timed, true);

static int put_in(void)
{
	return thread_hooks__install(overhead__is_on() ? &timed_hook : &hook);
}

const struct hooks hooks_trace = {
	.install = put_in,
	.remove = thread_hooks__remove,
	.look = thread_hooks__look,
	.adopt = thread_hooks__adopt,
};
