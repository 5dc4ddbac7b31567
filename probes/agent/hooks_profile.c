// SPDX-License-Identifier: BSD-3-Clause
/*
 * Functions on 3.9 to 3.11: a profile function on every thread.
 */
#include "buffer.h"
#include "focus.h"
#include "names.h"
#include "session.h"
#include "thread_hooks.h"

static int32_t line_of(struct code_entry *entry, void *frame)
{
	int32_t at;
	unsigned int slot;

	if (likely(compat_line_is_computed(py.minor)))
		return frame_line(frame, py.minor);
	if (unlikely(frame_has_tracer(frame)))
		return py.PyFrame_GetLineNumber(frame);
	at = frame_last_instruction(frame) + 2; /* -1 at an entry */
	slot = (uint32_t)at / 2 % ENTRY_LINES;
	if (unlikely(entry->lines[slot].offset != at)) {
		entry->lines[slot].offset = at;
		entry->lines[slot].line = py.PyFrame_GetLineNumber(frame);
	}
	return entry->lines[slot].line;
}

static void see_function(void *frame, uint32_t type)
{
	struct code_entry *entry = names__entry(frame_code(frame, py.minor));

	if (unlikely(!entry))
		return;
	if (unlikely(gate.is_there) && !focus__passes(entry, type))
		return;
	buffer__event(entry->id, line_of(entry, frame), type);
}

static void see_c_function(void *frame, void *function, uint32_t type)
{
	const struct method_definition *definition;
	struct code_entry *entry;
	struct call_site *site;
	void *code;

	if (!(session.flags & AGENT_C_CALLS))
		return;
	code = frame_code(frame, py.minor);
	entry = names__entry(code);
	if (unlikely(!entry))
		return;
	if (unlikely(gate.is_there) && !focus__passes(entry, type))
		return;
	/* A place is who is called: the line is the frame's in any case. */
	definition = *builtin_definition(function);
	site = names__site(entry, code, (uintptr_t)definition >> 4 & INT32_MAX, 0, function,
			   definition);
	if (likely(site))
		buffer__event(site->callee->id, line_of(entry, frame), type);
}

static inline __attribute__((always_inline)) void see(void *frame, int what, void *argument)
{
	if (what == TRACE_CALL)
		see_function(frame, WIRE_CALL);
	else if (what == TRACE_RETURN)
		see_function(frame, WIRE_RETURN);
	else if (what == TRACE_C_CALL)
		see_c_function(frame, argument, WIRE_C_CALL);
	else if (what == TRACE_C_RETURN)
		see_c_function(frame, argument, WIRE_C_RETURN);
	else if (what == TRACE_C_EXCEPTION)
		see_c_function(frame, argument, WIRE_C_EXCEPTION);
}

static void see_timed(void *frame, int what, void *argument)
{
	thread_hooks__time(see, frame, what, argument);
}

THREAD_HOOK(hook, see, false);
THREAD_HOOK(timed_hook, see_timed, false);

static int put_in(void)
{
	return thread_hooks__install(overhead__is_on() ? &timed_hook : &hook);
}

const struct hooks hooks_profile = {
	.install = put_in,
	.remove = thread_hooks__remove,
	.look = thread_hooks__look,
	.adopt = thread_hooks__adopt,
};
