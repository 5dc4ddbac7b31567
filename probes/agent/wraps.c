// SPDX-License-Identifier: BSD-3-Clause
#include "wraps.h"

#include <errno.h>
#include <string.h>

#include "buffer.h"
#include "compat.h"
#include "python_api.h"
#include "session.h"

enum wrap_kind { WRAP_END, WRAP_FORK, WRAP_THREAD, WRAP_PROFILE, WRAP_TRACE };

static struct wrap {
	const char *module, *name;
	enum wrap_kind kind;
	void *builtin; /* our reference, while it is in */
	const struct method_definition *original;
	struct method_definition copy;
} wraps[] = {
	{.module = "posix", .name = "_exit", .kind = WRAP_END},
	{.module = "posix", .name = "abort", .kind = WRAP_END},
	{.module = "posix", .name = "execv", .kind = WRAP_END},
	{.module = "posix", .name = "execve", .kind = WRAP_END},
	{.module = "posix", .name = "kill", .kind = WRAP_END},
	{.module = "posix", .name = "killpg", .kind = WRAP_END},
	{.module = "posix", .name = "fork", .kind = WRAP_FORK},
	{.module = "posix", .name = "forkpty", .kind = WRAP_FORK},
	{.module = "_signal", .name = "raise_signal", .kind = WRAP_END},
	{.module = "_thread", .name = "start_new_thread", .kind = WRAP_THREAD},
	{.module = "_thread", .name = "start_new", .kind = WRAP_THREAD},
	{.module = "_thread", .name = "start_joinable_thread", .kind = WRAP_THREAD},
	{.module = "sys", .name = "setprofile", .kind = WRAP_PROFILE},
	{.module = "sys", .name = "settrace", .kind = WRAP_TRACE},
};

#define N_WRAPS (sizeof(wraps) / sizeof(*wraps))

static void (*look_after)(void);
static bool look_at_trace;

static void before(enum wrap_kind kind)
{
	int saved = errno;

	if (kind == WRAP_FORK)
		session__send_helper_away();
	buffer__flush();
	errno = saved;
}

static void after(enum wrap_kind kind)
{
	int saved = errno;

	if (kind == WRAP_FORK)
		session__let_helper_return();
	else if (look_after)
		look_after();
	errno = saved;
}

/*
 * All conventions of builtin functions pass at most four words in registers and return one, so one
 * function fits them all: it hands on what it got.
 */
static void *call(size_t i, void *a, void *b, void *c, void *d)
{
	void *result;

	if (wraps[i].kind == WRAP_END || wraps[i].kind == WRAP_FORK)
		before(wraps[i].kind);
	result = wraps[i].original->function(a, b, c, d);
	if (wraps[i].kind != WRAP_END)
		after(wraps[i].kind);
	return result;
}

#define TRAMPOLINE(i)                                                \
	static void *wrapped_##i(void *a, void *b, void *c, void *d) \
	{                                                            \
		return call(i, a, b, c, d);                          \
	}
TRAMPOLINE(0)
TRAMPOLINE(1)
TRAMPOLINE(2)
TRAMPOLINE(3)
TRAMPOLINE(4)
TRAMPOLINE(5)
TRAMPOLINE(6)
TRAMPOLINE(7)
TRAMPOLINE(8)
TRAMPOLINE(9)
TRAMPOLINE(10)
TRAMPOLINE(11)
TRAMPOLINE(12)
TRAMPOLINE(13)

static void *(*const trampolines[])(void *, void *, void *, void *) = {
	wrapped_0, wrapped_1, wrapped_2, wrapped_3,  wrapped_4,	 wrapped_5,  wrapped_6,
	wrapped_7, wrapped_8, wrapped_9, wrapped_10, wrapped_11, wrapped_12, wrapped_13,
};

_Static_assert(sizeof(trampolines) / sizeof(*trampolines) == N_WRAPS, "one each");

void wraps__set_watchers(void (*function)(void), bool is_trace)
{
	look_after = function;
	look_at_trace = is_trace;
}

static bool is_wanted(const struct wrap *wrap)
{
	if (wrap->kind == WRAP_END)
		return true;
	if (wrap->kind == WRAP_FORK)
		return compat_fork_warns_of_threads(py.minor);
	if (!look_after)
		return false;
	if (wrap->kind == WRAP_THREAD)
		return true;
	return (wrap->kind == WRAP_TRACE) == look_at_trace;
}

static void put_in(struct wrap *wrap, void *function)
{
	/* Nothing is imported: that could be the program's own code. */
	void *module = py.PyDict_GetItemString(py.PyImport_GetModuleDict(), wrap->module);
	void *builtin = module ? py.PyObject_GetAttrString(module, wrap->name) : NULL;

	if (!builtin) {
		py.PyErr_Clear();
		return;
	}
	if (object_type(builtin) != py.PyCFunction_Type) { /* somebody's own has its place */
		py.Py_DecRef(builtin);
		return;
	}
	wrap->original = *builtin_definition(builtin);
	wrap->copy = *wrap->original;
	wrap->copy.function = function;
	wrap->builtin = builtin;
	*builtin_definition(builtin) = &wrap->copy;
}

void wraps__put_in(void)
{
	for (size_t i = 0; i < N_WRAPS; i++)
		if (!wraps[i].builtin && is_wanted(&wraps[i]))
			put_in(&wraps[i], trampolines[i]);
}

void wraps__take_out(void)
{
	for (size_t i = 0; i < N_WRAPS; i++) {
		void *builtin = wraps[i].builtin;

		if (!builtin)
			continue;
		wraps[i].builtin = NULL;
		*builtin_definition(builtin) = (void *)wraps[i].original;
		py.Py_DecRef(builtin);
	}
}
