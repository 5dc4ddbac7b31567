// SPDX-License-Identifier: BSD-3-Clause
/*
 * Functions on 3.12 and later: sys.monitoring, with a tool id that was free and callbacks that are
 * objects of our own with a vectorcall, so that an event is one C call. Which events make which
 * record is CPython's own rule for sys.setprofile (its legacy_tracing.c); which calls count as
 * calls of C functions, too.
 *
 * Outside a focus a place is switched off (DISABLE) at its first event while no thread is inside a
 * focused function: then it runs at bare speed. Who enters one switches all on again, if anything
 * was off; when none has been inside for a tick, places may be switched off once more.
 */
#include "buffer.h"
#include "focus.h"
#include "names.h"
#include "python_api.h"
#include "session.h"

static struct {
	void *module; /* sys.monitoring */
	bool is_ready;
	void *missing, *disable;
	int tool; /* -1: none */
	bool sees_methods;
	bool may_disable; /* atomic */
	bool has_disabled;
	bool was_inside; /* of the helper: at the tick before */
} monitoring = {.tool = -1};

/* ------------------------------------------------------------------ events */

static bool is_off_limits(const struct code_entry *entry)
{
	return gate.has_focus && !gate.has_window && !gate.threads_inside &&
	       !(entry->flags & ENTRY_FOCUSED) &&
	       __atomic_load_n(&monitoring.may_disable, __ATOMIC_RELAXED);
}

static void switch_on_again(void)
{
	struct python_error error;
	void *result;

	monitoring.has_disabled = false;
	__atomic_store_n(&monitoring.may_disable, false, __ATOMIC_RELAXED);
	python__save_error(&error);
	result = py.PyObject_CallMethod(monitoring.module, "restart_events", NULL);
	if (result)
		py.Py_DecRef(result);
	python__restore_error(&error);
}

/* @return whether it passes; *answer is what to give back to the interpreter */
static bool pass_gate(const struct code_entry *entry, uint32_t type, void **answer)
{
	bool passes = focus__passes(entry, type);

	if (!passes && is_off_limits(entry)) {
		monitoring.has_disabled = true;
		*answer = monitoring.disable;
	}
	if (passes && type == WIRE_CALL && unlikely(monitoring.has_disabled) && gate.threads_inside)
		switch_on_again();
	return passes;
}

/* None is immortal on 3.12 and later. */
static inline __attribute__((always_inline)) void *on_function(void *const *args, uint32_t type,
							       bool can_be_disabled)
{
	struct code_entry *entry = names__entry(args[0]);
	void *answer = py._Py_NoneStruct;

	if (unlikely(!entry))
		return answer;
	if (unlikely(gate.is_there) && !pass_gate(entry, type, &answer))
		return can_be_disabled ? answer : py._Py_NoneStruct;
	buffer__event(entry->id, names__line(entry, args[0], compat_offset(args[1])), type);
	return answer;
}

static void *on_call(void *self, void *const *args, size_t n, void *names_)
{
	(void)self, (void)n, (void)names_;
	return on_function(args, WIRE_CALL, true);
}

static void *on_throw(void *self, void *const *args, size_t n, void *names_)
{
	(void)self, (void)n, (void)names_;
	return on_function(args, WIRE_CALL, false);
}

static void *on_return(void *self, void *const *args, size_t n, void *names_)
{
	(void)self, (void)n, (void)names_;
	return on_function(args, WIRE_RETURN, true);
}

/*
 * The offset is that of the instruction that raised again at the end of a handler, which has no
 * line; the frame knows where the exception came from.
 */
static void *on_unwind(void *self, void *const *args, size_t n, void *names_)
{
	struct code_entry *entry = names__entry(args[0]);
	void *answer = py._Py_NoneStruct, *frame;
	struct python_error error;
	int32_t line;

	(void)self, (void)n, (void)names_;
	if (unlikely(!entry))
		return answer;
	if (unlikely(gate.is_there) && !pass_gate(entry, WIRE_RETURN, &answer))
		return py._Py_NoneStruct;
	python__save_error(&error);
	frame = py.PyEval_GetFrame();
	line = frame ? py.PyFrame_GetLineNumber(frame)
		     : names__line(entry, args[0], compat_offset(args[1]));
	python__restore_error(&error);
	buffer__event(entry->id, line, WIRE_RETURN);
	return py._Py_NoneStruct;
}

/* What sys.setprofile would call a C function here, or NULL. */
static inline const struct method_definition *c_function(void *callable, void *first)
{
	void *type = object_type(callable);

	if (type == py.PyFunction_Type || type == py.PyType_Type)
		return NULL;
	if (type == py.PyCFunction_Type)
		return *builtin_definition(callable);
	if (type == py.PyMethodDescr_Type) {
		void *owner = method_descriptor_type(callable);

		if (first == monitoring.missing)
			return NULL;
		if (object_type(first) != owner && !py.PyType_IsSubtype(object_type(first), owner))
			return NULL;
		return method_descriptor_definition(callable);
	}
	if (type == py.PyMethod_Type) {
		callable = method_function(callable);
		if (!monitoring.sees_methods)
			return NULL;
		type = object_type(callable);
	}
	return py.PyType_IsSubtype(type, py.PyCFunction_Type) ? *builtin_definition(callable)
							      : NULL;
}

static inline __attribute__((always_inline)) void *on_c_function(void *const *args, uint32_t type)
{
	const struct method_definition *definition = c_function(args[2], args[3]);
	void *answer = py._Py_NoneStruct;
	struct code_entry *entry;
	struct call_site *site;

	if (!definition && likely(!gate.is_there))
		return answer;
	entry = names__entry(args[0]);
	if (unlikely(!entry))
		return answer;
	if (unlikely(gate.is_there) && !pass_gate(entry, type, &answer))
		return type == WIRE_C_CALL ? answer : py._Py_NoneStruct;
	if (!definition)
		return answer;
	site = names__site(entry, args[0], compat_offset(args[1]), LINE_UNKNOWN, definition);
	if (likely(site))
		buffer__event(site->callee->id, site->line, type);
	return answer;
}

static void *on_c_call(void *self, void *const *args, size_t n, void *names_)
{
	(void)self, (void)n, (void)names_;
	return on_c_function(args, WIRE_C_CALL);
}

static void *on_c_return(void *self, void *const *args, size_t n, void *names_)
{
	(void)self, (void)n, (void)names_;
	return on_c_function(args, WIRE_C_RETURN);
}

static void *on_c_raise(void *self, void *const *args, size_t n, void *names_)
{
	(void)self, (void)n, (void)names_;
	return on_c_function(args, WIRE_C_EXCEPTION);
}

/* ------------------------------------------------------------------ in and out */

static struct event {
	const char *name;
	vectorcall_function function;
	bool is_c; /* C_RETURN and C_RAISE come with CALL */
	bool is_implied;
	long number;
	void *callback;
} events[] = {
	{"PY_START", on_call, false, false, -1, NULL},
	{"PY_RESUME", on_call, false, false, -1, NULL},
	{"PY_THROW", on_throw, false, false, -1, NULL},
	{"PY_RETURN", on_return, false, false, -1, NULL},
	{"PY_YIELD", on_return, false, false, -1, NULL},
	{"PY_UNWIND", on_unwind, false, false, -1, NULL},
	{"CALL", on_c_call, true, false, -1, NULL},
	{"C_RETURN", on_c_return, true, true, -1, NULL},
	{"C_RAISE", on_c_raise, true, true, -1, NULL},
};

#define N_EVENTS (sizeof(events) / sizeof(*events))

static long int_attribute(void *object, const char *name)
{
	void *value = py.PyObject_GetAttrString(object, name);
	long number = value ? py.PyLong_AsLong(value) : -1;

	if (value)
		py.Py_DecRef(value);
	return number;
}

/* Once; what is made stays for ever, since the interpreter may be about to call it. */
static bool make_callbacks(void)
{
	void *numbers;

	if (monitoring.is_ready)
		return true;
	monitoring.module = py.PySys_GetObject("monitoring");
	if (!monitoring.module)
		return false;
	py.Py_IncRef(monitoring.module);
	monitoring.sees_methods = compat_profile_sees_methods(py.minor, py.micro);
	monitoring.missing = py.PyObject_GetAttrString(monitoring.module, "MISSING");
	monitoring.disable = py.PyObject_GetAttrString(monitoring.module, "DISABLE");
	numbers = py.PyObject_GetAttrString(monitoring.module, "events");
	if (!monitoring.missing || !monitoring.disable || !numbers)
		return false;
	for (size_t i = 0; i < N_EVENTS; i++) {
		events[i].number = int_attribute(numbers, events[i].name);
		events[i].callback = python__new_callable(events[i].function);
		if (events[i].number <= 0 || !events[i].callback)
			return false;
	}
	py.Py_DecRef(numbers);
	monitoring.is_ready = true;
	return true;
}

/* Call and forget the result. @return whether it went well */
static bool done(void *result)
{
	if (result)
		py.Py_DecRef(result);
	else
		py.PyErr_Clear();
	return result;
}

/* One of the ids that no kind of tool has by convention comes first. */
static bool take_tool(void)
{
	static const int order[] = {4, 3, 5, 0, 1, 2};

	for (int i = 0; i < 6; i++) {
		if (!done(py.PyObject_CallMethod(monitoring.module, "use_tool_id", "is", order[i],
						 "pikos")))
			continue;
		monitoring.tool = order[i];
		return true;
	}
	return false;
}

static bool is_wanted(const struct event *event)
{
	return !event->is_c || session.flags & AGENT_C_CALLS;
}

static bool set_callbacks(bool in)
{
	bool all = true;

	for (size_t i = 0; i < N_EVENTS; i++) {
		void *what = in ? events[i].callback : py._Py_NoneStruct;

		if (in && !is_wanted(&events[i]))
			continue;
		all = done(py.PyObject_CallMethod(monitoring.module, "register_callback", "iiO",
						  monitoring.tool, (int)events[i].number, what)) &&
		      all;
	}
	return all;
}

static void take_out(void)
{
	if (monitoring.tool < 0)
		return;
	done(py.PyObject_CallMethod(monitoring.module, "set_events", "ii", monitoring.tool, 0));
	set_callbacks(false);
	done(py.PyObject_CallMethod(monitoring.module, "free_tool_id", "i", monitoring.tool));
	monitoring.tool = -1;
}

static int put_in(void)
{
	int wanted = 0;

	if (!make_callbacks()) {
		py.PyErr_Clear();
		return -AGENT_NO_MEMORY;
	}
	if (!take_tool())
		return -AGENT_NO_TOOL;
	for (size_t i = 0; i < N_EVENTS; i++)
		if (is_wanted(&events[i]) && !events[i].is_implied)
			wanted |= (int)events[i].number;
	monitoring.may_disable = true;
	monitoring.has_disabled = false;
	if (set_callbacks(true) && done(py.PyObject_CallMethod(monitoring.module, "set_events",
							       "ii", monitoring.tool, wanted))) {
		/* What an earlier session switched off is off for this one, too. */
		done(py.PyObject_CallMethod(monitoring.module, "restart_events", NULL));
		return 0;
	}
	take_out();
	return -AGENT_NO_TOOL;
}

/* Of the helper, without the GIL. */
static void tick(void)
{
	bool inside = __atomic_load_n(&gate.threads_inside, __ATOMIC_RELAXED);

	if (!inside && !monitoring.was_inside)
		__atomic_store_n(&monitoring.may_disable, true, __ATOMIC_RELAXED);
	monitoring.was_inside = inside;
}

const struct hooks hooks_monitoring = {
	.install = put_in,
	.remove = take_out,
	.tick = tick,
};
