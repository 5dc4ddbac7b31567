// SPDX-License-Identifier: BSD-3-Clause
/*
 * The probes that CPython had or has itself, for scripts that were written for them: python:
 * function__entry, function__return and line, with its own arguments (file, function, line) and
 * semaphores. Hooks are in while somebody is attached: a trace function if `line` is wanted, else a
 * profile function. A hit costs more than all of it.
 */
#include "names.h"
#include "probes.h"
#include "session.h"
#include "thread_hooks.h"
#include "wraps.h"

PROBE_SEMAPHORE(python, function__entry);
PROBE_SEMAPHORE(python, function__return);
PROBE_SEMAPHORE(python, line);

struct place {
	void *file_string, *name_string; /* our references */
	const char *file, *name;
	int line;
};

static const char *text_of(void *code, const char *attribute, void **string)
{
	const char *text = NULL;

	*string = py.PyObject_GetAttrString(code, attribute);
	if (*string)
		text = py.PyUnicode_AsUTF8AndSize(*string, NULL);
	if (!text)
		py.PyErr_Clear();
	return text ? text : "?";
}

static void take_place(struct place *place, void *frame)
{
	void *code = frame_code(frame, py.minor);

	place->file = text_of(code, "co_filename", &place->file_string);
	place->name = text_of(code, "co_name", &place->name_string);
	place->line = py.PyFrame_GetLineNumber(frame);
}

static void leave_place(struct place *place)
{
	if (place->file_string)
		py.Py_DecRef(place->file_string);
	if (place->name_string)
		py.Py_DecRef(place->name_string);
}

__attribute__((noinline)) static void hit_entry(const struct place *at)
{
	PROBE_FUNCTION(python, function__entry, at->file, at->name, at->line);
}

__attribute__((noinline)) static void hit_return(const struct place *at)
{
	PROBE_FUNCTION(python, function__return, at->file, at->name, at->line);
}

__attribute__((noinline)) static void hit_line(const struct place *at)
{
	PROBE_FUNCTION(python, line, at->file, at->name, at->line);
}

static void see(void *frame, int what, void *argument)
{
	struct python_error error;
	struct place place;
	void (*hit)(const struct place *) = NULL;

	(void)argument;
	if (what == TRACE_CALL && python_function__entry_semaphore)
		hit = hit_entry;
	else if (what == TRACE_RETURN && python_function__return_semaphore)
		hit = hit_return;
	else if (what == TRACE_LINE && python_line_semaphore)
		hit = hit_line;
	if (!hit)
		return;
	python__save_error(&error);
	take_place(&place, frame);
	hit(&place);
	leave_place(&place);
	python__restore_error(&error);
}

THREAD_HOOK(trace_hook, see, true);
THREAD_HOOK(profile_hook, see, false);

static const struct thread_hook *hooked; /* now; changes under the GIL */

static const struct thread_hook *wanted(void)
{
	if (python_line_semaphore)
		return &trace_hook;
	return python_function__entry_semaphore || python_function__return_semaphore ? &profile_hook
										     : NULL;
}

static void take_out(void)
{
	if (!hooked)
		return;
	wraps__take_out();
	thread_hooks__remove();
	hooked = NULL;
}

static int put_in(void)
{
	return 0;
}

static bool look(void)
{
	return wanted() != hooked || thread_hooks__look();
}

static void adopt(void)
{
	const struct thread_hook *hook = wanted();

	if (hook == hooked) {
		thread_hooks__adopt();
		return;
	}
	take_out();
	if (!hook || thread_hooks__install(hook))
		return;
	hooked = hook;
	wraps__put_in();
}

const struct hooks hooks_old_probes = {
	.install = put_in,
	.remove = take_out,
	.look = look,
	.adopt = adopt,
};
