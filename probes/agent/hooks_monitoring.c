// SPDX-License-Identifier: BSD-3-Clause
/*
 * Functions on 3.12 and later, by sys.state. Which events make which record is CPython's own
 * rule for sys.setprofile (its legacy_tracing.c); which calls count as calls of C functions, too.
 *
 * Outside a focus a place is switched off (DISABLE) at its first event while no thread is inside a
 * focused function: then it runs at bare speed. Who enters one switches all on again, if anything
 * was off; when none has been inside for a tick, places may be switched off once more.
 */
#include "buffer.h"
#include "focus.h"
#include "monitoring.h"
#include "names.h"
#include "session.h"

static struct {
	bool sees_methods;
	bool may_disable; /* atomic */
	bool has_disabled;
	bool was_inside; /* of the helper: at the tick before */
} state;

/* ------------------------------------------------------------------ events */

static bool is_off_limits(const struct code_entry *entry)
{
	return gate.has_focus && !gate.has_window && !gate.threads_inside &&
	       !(entry->flags & ENTRY_FOCUSED) &&
	       __atomic_load_n(&state.may_disable, __ATOMIC_RELAXED);
}

static void switch_on_again(void)
{
	state.has_disabled = false;
	__atomic_store_n(&state.may_disable, false, __ATOMIC_RELAXED);
	monitoring__restart();
}

/* @return whether it passes; *answer is what to give back to the interpreter */
static bool pass_gate(const struct code_entry *entry, uint32_t type, void **answer)
{
	bool passes = focus__passes(entry, type);

	if (!passes && is_off_limits(entry)) {
		state.has_disabled = true;
		*answer = monitoring_disable;
	}
	if (passes && type == WIRE_CALL && unlikely(state.has_disabled) && gate.threads_inside)
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

		if (first == monitoring_missing)
			return NULL;
		if (object_type(first) != owner && !py.PyType_IsSubtype(object_type(first), owner))
			return NULL;
		return method_descriptor_definition(callable);
	}
	if (type == py.PyMethod_Type) {
		callable = method_function(callable);
		if (!state.sees_methods)
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
	site = names__site(entry, args[0], compat_offset(args[1]), LINE_UNKNOWN, args[2],
			   definition);
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

/* ------------------------------------------------------------------ timed */

TIMED_FUNCTION(on_call, WIRE_CALL)
TIMED_FUNCTION(on_throw, WIRE_CALL)
TIMED_FUNCTION(on_return, WIRE_RETURN)
TIMED_FUNCTION(on_unwind, WIRE_RETURN)
TIMED_FUNCTION(on_c_call, WIRE_C_CALL)
TIMED_FUNCTION(on_c_return, WIRE_C_RETURN)
TIMED_FUNCTION(on_c_raise, WIRE_C_EXCEPTION)

/* ------------------------------------------------------------------ in and out */

static struct monitoring_event events[] = {
	{.name = "PY_START", FUNCTIONS(on_call), .is_wanted = true},
	{.name = "PY_RESUME", FUNCTIONS(on_call), .is_wanted = true},
	{.name = "PY_THROW", FUNCTIONS(on_throw), .is_wanted = true},
	{.name = "PY_RETURN", FUNCTIONS(on_return), .is_wanted = true},
	{.name = "PY_YIELD", FUNCTIONS(on_return), .is_wanted = true},
	{.name = "PY_UNWIND", FUNCTIONS(on_unwind), .is_wanted = true},
	{.name = "CALL", FUNCTIONS(on_c_call)},
	{.name = "C_RETURN", FUNCTIONS(on_c_return), .scope = EVENT_IMPLIED},
	{.name = "C_RAISE", FUNCTIONS(on_c_raise), .scope = EVENT_IMPLIED},
};

#define N_EVENTS (sizeof(events) / sizeof(*events))
#define FIRST_C	 6

static int put_in(void)
{
	for (size_t i = FIRST_C; i < N_EVENTS; i++)
		events[i].is_wanted = session.flags & AGENT_C_CALLS;
	state.sees_methods = compat_profile_sees_methods(py.minor, py.micro);
	state.may_disable = true;
	state.has_disabled = false;
	return monitoring__put_in(events, N_EVENTS);
}

static void take_out(void)
{
	monitoring__take_out(events, N_EVENTS);
}

/* Of the helper, without the GIL. */
static void tick(void)
{
	bool inside = __atomic_load_n(&gate.threads_inside, __ATOMIC_RELAXED);

	if (!inside && !state.was_inside)
		__atomic_store_n(&state.may_disable, true, __ATOMIC_RELAXED);
	state.was_inside = inside;
}

const struct hooks hooks_monitoring = {
	.install = put_in,
	.remove = take_out,
	.tick = tick,
};
