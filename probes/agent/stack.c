// SPDX-License-Identifier: BSD-3-Clause
#include "stack.h"

#include <string.h>

#include "bpf/wire.h"
#include "compat.h"
#include "names.h"
#include "python_api.h"
#include "threads.h"

#define MAX_UNKNOWN 64 /* frames in a row that belong to no defined code object */

static struct {
	void *interpreter;
	size_t code_size;
} state;

/* A function that runs, as the frames tell. */
struct found {
	const void *frame;
	void *code;
	struct code_entry *entry;
};

void stack__start(void)
{
	state.interpreter = py.PyInterpreterState_Main();
	state.code_size = type_basic_size(py.PyCode_Type);
}

/* From a frame on, itself included. The GIL is held. @return whether there is one */
static bool find(const void *frame, struct found *found)
{
	for (int i = 0; frame && i < MAX_UNKNOWN; i++) {
		void *code = running_code(frame, py.minor);
		bool is_code = code && object_type(code) == py.PyCode_Type;
		struct code_entry *entry = is_code ? names__known(code) : NULL;

		if (entry) {
			*found = (struct found){frame, code, entry};
			return true;
		}
		frame = running_previous(frame, py.minor);
	}
	return false;
}

static int32_t line_of(const struct found *found)
{
	int32_t offset = running_offset(found->frame, found->code, state.code_size, py.minor);

	if (unlikely(offset < 0))
		return py.PyCode_Addr2Line(found->code, -1);
	return names__line(found->entry, found->code, offset);
}

static const void *top_of(const void *thread_state)
{
	return thread_frame(thread_state, py.minor);
}

static void set_caller(struct running *running, const void *frame)
{
	struct found caller;

	running->caller = WIRE_NO_CODE;
	running->caller_line = -1;
	if (!find(running_previous(frame, py.minor), &caller))
		return;
	running->caller = caller.entry->id;
	running->caller_line = line_of(&caller);
}

static const struct running no_python = {
	.id = WIRE_NO_CODE, .caller = WIRE_NO_CODE, .line = -1, .caller_line = -1};
static const struct running unknown = {
	.id = WIRE_UNKNOWN_CODE, .caller = WIRE_UNKNOWN_CODE, .line = -1, .caller_line = -1};

/* The GIL is held. */
static void look_up(struct running *running, const void *top)
{
	struct found found;

	if (!find(top, &found)) {
		*running = top ? unknown : no_python;
		return;
	}
	running->id = found.entry->id;
	running->line = line_of(&found);
	if (running->frame == found.frame && running->code == found.code)
		return;
	running->frame = found.frame;
	running->code = found.code;
	set_caller(running, found.frame);
}

const struct running *stack__look(struct agent_thread *thread)
{
	struct running *running = &thread->running;
	const void *own = py.PyGILState_GetThisThreadState(), *top;

	if (!own)
		return &no_python;
	if (thread_interpreter(own) != state.interpreter)
		return &unknown;
	top = top_of(own);
	if (likely(py.current_thread() == own)) {
		look_up(running, top);
		return running;
	}
	if (!top)
		return &no_python;
	if (running->frame != top || running->code != running_code(top, py.minor))
		return &unknown;
	return running;
}

const struct running *stack__enter(struct agent_thread *thread, int32_t line)
{
	struct running *running = &thread->running;

	running->frame = NULL;
	look_up(running, top_of(py.current_thread()));
	running->line = line;
	return running;
}

void stack__leave(struct agent_thread *thread)
{
	const void *top = top_of(py.current_thread());

	thread->running.frame = NULL;
	look_up(&thread->running, top ? running_previous(top, py.minor) : NULL);
}

bool stack__check(void)
{
	for (void *thread = python__first_thread(); thread;
	     thread = py.PyThreadState_Next(thread)) {
		void *frame = py.PyThreadState_GetFrame(thread), *code;
		const void *inner = thread_frame(thread, py.minor);
		bool is_there = false;

		if (!frame)
			continue;
		code = frame_code(frame, py.minor);
		for (int i = 0; inner && i < MAX_UNKNOWN && !is_there; i++) {
			is_there = running_code(inner, py.minor) == code;
			inner = running_previous(inner, py.minor);
		}
		py.Py_DecRef(frame);
		if (!is_there)
			return false;
	}
	return true;
}
