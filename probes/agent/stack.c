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

static int32_t offset_in(const void *frame, const void *code)
{
	return running_offset(frame, code, state.code_size, py.minor);
}

static int32_t line_at(struct code_entry *entry, void *code, int32_t offset)
{
	if (unlikely(offset < 0))
		return py.PyCode_Addr2Line(code, -1);
	return names__line(entry, code, offset);
}

static inline const void *top_of(const void *thread_state)
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
	running->caller_line =
		line_at(caller.entry, caller.code, offset_in(caller.frame, caller.code));
}

static const struct running no_python = {
	.id = WIRE_NO_CODE, .caller = WIRE_NO_CODE, .line = -1, .caller_line = -1};
static const struct running unknown = {
	.id = WIRE_UNKNOWN_CODE, .caller = WIRE_UNKNOWN_CODE, .line = -1, .caller_line = -1};

static bool is_same(const struct running *running, const void *top)
{
	return running->frame == top && top && running->generation == names.generation &&
	       running->code == running_code(top, py.minor);
}

static void set_line(struct running *running)
{
	int32_t offset = offset_in(running->frame, running->code);

	if (likely(offset == running->offset))
		return;
	running->line = line_at(running->entry, (void *)running->code, offset);
	running->offset = offset;
}

/* The GIL is held. */
static void look_up(struct running *running, const void *top)
{
	struct found found;

	if (likely(is_same(running, top))) {
		set_line(running);
		return;
	}
	if (!find(top, &found)) {
		*running = top ? unknown : no_python;
		return;
	}
	running->frame = found.frame;
	running->code = found.code;
	running->entry = found.entry;
	running->id = found.entry->id;
	running->generation = names.generation;
	running->offset = offset_in(found.frame, found.code);
	running->line = line_at(found.entry, found.code, running->offset);
	set_caller(running, found.frame);
}

const struct running *stack__look(struct agent_thread *thread)
{
	struct running *running = &thread->running;
	const void *current = py.current_thread(), *own = current, *top;

	if (!current || !compat_current_is_own(py.minor))
		own = py.PyGILState_GetThisThreadState();
	if (!own)
		return &no_python;
	if (unlikely(thread_interpreter(own) != state.interpreter))
		return &unknown;
	top = top_of(own);
	if (likely(own == current)) {
		look_up(running, top);
		return running;
	}
	if (!top)
		return &no_python;
	return is_same(running, top) ? running : &unknown;
}

const struct running *stack__at(struct agent_thread *thread, int32_t line, bool is_new)
{
	struct running *running = &thread->running;

	if (is_new)
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
