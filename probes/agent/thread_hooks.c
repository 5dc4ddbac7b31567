// SPDX-License-Identifier: BSD-3-Clause
#include "thread_hooks.h"

#include <stdlib.h>

#include "agent.h"
#include "buffer.h"
#include "compat.h"
#include "session.h"
#include "wraps.h"

/* What a thread of the program had, and has again when we go. */
struct chain {
	struct chain *next;
	void *thread;
	trace_function function;
	bool is_running;
};

uint32_t thread_hooks_running;

#define MAX_LOOKED_AT 256

static struct {
	const struct thread_hook *hook; /* NULL: not in */
	size_t function_offset, object_offset;
	void *interpreter;
	struct chain *chains;
} state;

static trace_function *function_of(void *thread)
{
	return (trace_function *)((char *)thread + state.function_offset);
}

static void **object_of(void *thread)
{
	return (void **)((char *)thread + state.object_offset);
}

static bool is_ours(trace_function function)
{
	return function == state.hook->plain || function == state.hook->chained;
}

/* The helper's own state comes and goes with its turns. */
static bool is_to_be_hooked(void *thread)
{
	if (is_ours(*function_of(thread)))
		return false;
	return !session__is_helper() || thread != py.PyThreadState_Get();
}

/* ------------------------------------------------------------------ one thread */

static void set_own(trace_function function)
{
	(state.hook->is_trace ? py.PyEval_SetTrace : py.PyEval_SetProfile)(function, NULL);
}

/*
 * 3.12 and later count the threads that are traced, and have lost the function that sets another
 * thread's. The calling thread's own raises and lowers the count all the same.
 */
static void count_traced(int delta)
{
	void *own = py.PyThreadState_Get();
	trace_function function = *function_of(own);
	void *object = *object_of(own);

	*object_of(own) = NULL;
	*function_of(own) = delta > 0 ? NULL : state.hook->plain;
	set_own(delta > 0 ? state.hook->plain : NULL);
	*function_of(own) = function;
	*object_of(own) = object;
}

static void set_directly(void *thread, trace_function function, void *object)
{
	int delta = !!function - !!*function_of(thread);
	void *before = *object_of(thread);

	if (delta)
		count_traced(delta);
	if (object)
		py.Py_IncRef(object);
	*function_of(thread) = function;
	*object_of(thread) = object;
	if (before)
		py.Py_DecRef(before);
}

static void set(void *thread, trace_function function, void *object)
{
	int err;

	/* 3.10 gives the thread's object back before it takes the new one: it may be the same. */
	if (object)
		py.Py_IncRef(object);
	if (compat_has_monitoring(py.minor)) {
		set_directly(thread, function, object);
		err = 0;
	} else {
		err = (state.hook->is_trace ? py._PyEval_SetTrace
					    : py._PyEval_SetProfile)(thread, function, object);
	}
	if (object)
		py.Py_DecRef(object);
	if (err) /* an audit hook of the program's forbids it */
		py.PyErr_Clear();
}

static struct chain **chain_of(void *thread)
{
	struct chain **at = &state.chains;

	while (*at && (*at)->thread != thread)
		at = &(*at)->next;
	return at;
}

static void forget_chain(void *thread)
{
	struct chain **at = chain_of(thread), *chain = *at;

	if (!chain)
		return;
	*at = chain->next;
	free(chain);
}

/* @return whether the program's own was there */
static bool hook_thread(void *thread)
{
	trace_function function = *function_of(thread);
	struct chain *chain = *chain_of(thread);

	if (!function) {
		bool had = chain;

		forget_chain(thread);
		set(thread, state.hook->plain, NULL);
		return had;
	}
	if (!chain) {
		chain = calloc(1, sizeof(*chain));
		if (!chain)
			return true; /* the program's own keeps the thread */
		chain->thread = thread;
		chain->next = state.chains;
		state.chains = chain;
	}
	chain->function = function;
	set(thread, state.hook->chained, *object_of(thread));
	return true;
}

static void unhook_thread(void *thread)
{
	struct chain *chain = *chain_of(thread);

	if (!is_ours(*function_of(thread)))
		return;
	if (chain)
		set(thread, chain->function, *object_of(thread));
	else
		set(thread, NULL, NULL);
	forget_chain(thread);
}

bool thread_hooks__is_nested(void)
{
	struct chain *chain = *chain_of(py.PyThreadState_Get());

	return chain && chain->is_running;
}

/* The chain is looked up again each time: the program can set another function in its own. */
static void mark_running(bool is_running)
{
	struct chain *chain = *chain_of(py.PyThreadState_Get());

	if (chain)
		chain->is_running = is_running;
	thread_hooks_running += is_running ? 1 : -1;
}

trace_function thread_hooks__program(void)
{
	struct chain *chain = *chain_of(py.PyThreadState_Get());

	return chain ? chain->function : NULL;
}

int thread_hooks__chain(trace_function program, void *object, void *frame, int what, void *argument)
{
	struct python_error error;
	void *thread;
	int result;

	if (!program)
		return 0;
	mark_running(true);
	result = program(object, frame, what, argument);
	mark_running(false);
	if (!result || !state.hook)
		return result;
	/* One that raised takes out what is set: that is ours. */
	thread = py.PyThreadState_Get();
	if (*function_of(thread))
		return result;
	python__save_error(&error);
	hook_thread(thread);
	python__restore_error(&error);
	return result;
}

/* ------------------------------------------------------------------ all threads */

/* A thread that ended took its chain with it; its address can be another's now. */
static void drop_dead_chains(void)
{
	struct chain **at = &state.chains;

	while (*at) {
		struct chain *chain = *at;
		void *thread = python__first_thread();

		while (thread && thread != chain->thread)
			thread = py.PyThreadState_Next(thread);
		if (thread && *function_of(thread)) {
			at = &chain->next;
			continue;
		}
		*at = chain->next;
		free(chain);
	}
}

/* @param expected the program starts threads or sets a function, and we know */
static void adopt(bool expected)
{
	void *thread;
	bool replaced = false, late = false;

	if (!state.hook)
		return;
	if (state.chains && !expected)
		drop_dead_chains();
	thread = python__first_thread();
	for (; thread; thread = py.PyThreadState_Next(thread)) {
		if (!is_to_be_hooked(thread))
			continue;
		if (hook_thread(thread))
			replaced = true;
		else
			late = true;
	}
	if (replaced)
		buffer__say(WIRE_SLOT_NOTICE, WIRE_NOTICE_REPLACED, 0);
	if (late && !expected)
		buffer__say(WIRE_SLOT_NOTICE, WIRE_NOTICE_LATE_THREAD, 0);
}

void thread_hooks__adopt(void)
{
	adopt(false);
}

static void adopt_expected(void)
{
	struct python_error error;

	python__save_error(&error);
	adopt(true);
	python__restore_error(&error);
}

/* Without the GIL, so threads may end meanwhile: their memory is read with care. */
bool thread_hooks__look(void)
{
	const struct thread_hook *hook = state.hook;
	void *thread;

	if (!hook)
		return false;
	thread = py.PyInterpreterState_ThreadHead(state.interpreter);
	for (int i = 0; thread && i < MAX_LOOKED_AT; i++) {
		trace_function function;

		if (!system__peek(function_of(thread), &function, sizeof(function)))
			return false;
		if (function != hook->plain && function != hook->chained)
			return true;
		if (!system__peek((char *)thread + thread_next_offset(), &thread, sizeof(thread)))
			return false;
	}
	return false;
}

/* The offsets are believed when our function is found there after it was set. */
static bool check_offsets(void)
{
	void *own = py.PyThreadState_Get();
	bool found;

	if (*function_of(own))
		return true; /* somebody else's: what cannot be tried must be believed */
	set_own(state.hook->plain);
	found = *function_of(own) == state.hook->plain;
	set_own(NULL);
	return found && !*function_of(own);
}

int thread_hooks__install(const struct thread_hook *hook)
{
	size_t base = thread_hooks_offset(py.minor);

	state.hook = hook;
	state.interpreter = py.PyInterpreterState_Main();
	state.function_offset = hook->is_trace ? base + 8 : base;
	state.object_offset = state.function_offset + 16;
	if (!check_offsets()) {
		state.hook = NULL;
		return -AGENT_UNKNOWN_VERSION;
	}
	wraps__set_watchers(adopt_expected, hook->is_trace);
	for (void *thread = python__first_thread(); thread; thread = py.PyThreadState_Next(thread))
		if (is_to_be_hooked(thread))
			hook_thread(thread);
	return 0;
}

void thread_hooks__remove(void)
{
	void *thread;

	if (!state.hook)
		return;
	wraps__set_watchers(NULL, false);
	for (thread = python__first_thread(); thread; thread = py.PyThreadState_Next(thread))
		unhook_thread(thread);
	state.hook = NULL;
	while (state.chains)
		forget_chain(state.chains->thread);
}
