// SPDX-License-Identifier: BSD-3-Clause
/*
 * Lines of a focus on 3.12 and later: the code of focused functions has local events, all other
 * code runs at bare speed after its first call, where its PY_START is switched off.
 *
 * LINE and JUMP make what sys.settrace sees, by CPython's own rule (its legacy_tracing.c): a jump
 * back on the same line is that line once more. A trace function would be as exact, but it makes
 * every line of every function an event.
 */
#include <stdlib.h>

#include "buffer.h"
#include "focus.h"
#include "monitoring.h"
#include "names.h"
#include "session.h"

/* Focused code with local events; without references, their entries say when they go. */
static struct {
	struct {
		const struct code_entry *entry;
		void *code;
	} * list;
	size_t n, room;
} local;

static struct monitoring_event events[];
static const size_t n_events;

/* ------------------------------------------------------------------ events */

static bool remember(const struct code_entry *entry, void *code)
{
	if (local.n == local.room) {
		size_t room = local.room ? local.room * 2 : 16;
		void *list = realloc(local.list, room * sizeof(*local.list));

		if (!list)
			return false;
		local.list = list;
		local.room = room;
	}
	local.list[local.n].entry = entry;
	local.list[local.n++].code = code;
	return true;
}

void hooks_lines__forget(const struct code_entry *entry)
{
	for (size_t i = 0; i < local.n; i++)
		if (local.list[i].entry == entry) {
			local.list[i] = local.list[--local.n];
			return;
		}
}

/* @return whether it is focused */
static bool discover(void *code)
{
	struct code_entry *entry = names__entry(code);
	struct python_error error;

	if (!entry || !(entry->flags & ENTRY_FOCUSED))
		return false;
	if (entry->flags & ENTRY_LOCAL)
		return true;
	python__save_error(&error);
	if (monitoring__set_local(events, n_events, code, true) && remember(entry, code))
		entry->flags |= ENTRY_LOCAL;
	python__restore_error(&error);
	return true;
}

/*
 * Focused code keeps the event: 3.13 finds the line of a function of one line new only behind a
 * RESUME that is instrumented.
 */
static void *on_start(void *self, void *const *args, size_t n, void *names_)
{
	(void)self, (void)n, (void)names_;
	return discover(args[0]) ? py._Py_NoneStruct : monitoring_disable;
}

static void *on_throw(void *self, void *const *args, size_t n, void *names_)
{
	(void)self, (void)n, (void)names_;
	discover(args[0]);
	return py._Py_NoneStruct;
}

static void see(void *code, int32_t line)
{
	struct code_entry *entry = names__entry(code);

	if (likely(entry) && focus__passes(entry, WIRE_LINE))
		buffer__event(entry->id, line, WIRE_LINE);
}

static void *on_line(void *self, void *const *args, size_t n, void *names_)
{
	(void)self, (void)n, (void)names_;
	see(args[0], compat_offset(args[1]));
	return py._Py_NoneStruct;
}

static void *on_jump(void *self, void *const *args, size_t n, void *names_)
{
	int32_t from = compat_offset(args[1]), to = compat_offset(args[2]), line;

	(void)self, (void)n, (void)names_;
	if (to > from)
		return monitoring_disable;
	line = py.PyCode_Addr2Line(args[0], to);
	if (line != py.PyCode_Addr2Line(args[0], from))
		return monitoring_disable; /* LINE says it */
	if (line >= 0)
		see(args[0], line);
	return py._Py_NoneStruct;
}

/* ------------------------------------------------------------------ timed */

TIMED_FUNCTION(on_start, WIRE_OVERHEAD_OTHER)
TIMED_FUNCTION(on_throw, WIRE_OVERHEAD_OTHER)
TIMED_FUNCTION(on_line, WIRE_LINE)
TIMED_FUNCTION(on_jump, WIRE_LINE)

/* ------------------------------------------------------------------ in and out */

static struct monitoring_event events[] = {
	{.name = "PY_START", FUNCTIONS(on_start), .is_wanted = true},
	{.name = "PY_RESUME", FUNCTIONS(on_start), .is_wanted = true},
	{.name = "PY_THROW", FUNCTIONS(on_throw), .is_wanted = true},
	{.name = "LINE", FUNCTIONS(on_line), .scope = EVENT_LOCAL, .is_wanted = true},
	{.name = "JUMP", FUNCTIONS(on_jump), .scope = EVENT_LOCAL, .is_wanted = true},
};

static const size_t n_events = sizeof(events) / sizeof(*events);

/* What runs already, or will run on when a thread's frames return to it. */
static void discover_stack(void *frame)
{
	py.Py_IncRef(frame);
	while (frame) {
		void *code = py.PyFrame_GetCode(frame), *back = py.PyFrame_GetBack(frame);

		discover(code);
		py.Py_DecRef(code);
		py.Py_DecRef(frame);
		frame = back;
	}
}

static void discover_running(void)
{
	void *thread = python__first_thread();

	for (; thread; thread = py.PyThreadState_Next(thread)) {
		void *frame = py.PyThreadState_GetFrame(thread);

		if (!frame)
			continue;
		discover_stack(frame);
		py.Py_DecRef(frame);
	}
}

static int put_in(void)
{
	int err = monitoring__put_in(events, n_events);

	if (!err)
		discover_running();
	py.PyErr_Clear();
	return err;
}

static void take_out(void)
{
	while (local.n) {
		void *code = local.list[local.n - 1].code;
		size_t before = local.n;

		((struct code_entry *)local.list[before - 1].entry)->flags &= ~ENTRY_LOCAL;
		local.n = before - 1;
		monitoring__set_local(events, n_events, code, false);
	}
	monitoring__take_out(events, n_events);
}

const struct hooks hooks_lines = {
	.install = put_in,
	.remove = take_out,
};
