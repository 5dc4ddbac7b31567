// SPDX-License-Identifier: BSD-3-Clause
#include "python_api.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "buffer.h"
#include "compat.h"
#include "system.h"
#include "threads.h"

struct python py;

static bool find_common(void)
{
	bool all = true;

#define X(result, name, arguments) all = (py.name = system__symbol(#name)) && all;
	PYTHON_FUNCTIONS(X)
#undef X
#define X(name) all = (py.name = system__symbol(#name)) && all;
	PYTHON_OBJECTS(X)
#undef X
	return all;
}

/* The first of two names that is there: 3.12 renamed what is not stable. */
static void *either(const char *now, const char *before)
{
	void *found = system__symbol(now);

	return found ? found : system__symbol(before);
}

static bool find_by_version(void)
{
	py.request_code_extra =
		either("PyUnstable_Eval_RequestCodeExtraIndex", "_PyEval_RequestCodeExtraIndex");
	py.get_code_extra = either("PyUnstable_Code_GetExtra", "_PyCode_GetExtra");
	py.set_code_extra = either("PyUnstable_Code_SetExtra", "_PyCode_SetExtra");
	py.current_thread = either("PyThreadState_GetUnchecked", "_PyThreadState_UncheckedGet");
	py._PyEval_SetProfile = system__symbol("_PyEval_SetProfile");
	py._PyEval_SetTrace = system__symbol("_PyEval_SetTrace");
	if (!py.request_code_extra || !py.get_code_extra || !py.set_code_extra ||
	    !py.current_thread)
		return false;
	return compat_has_monitoring(py.minor) || (py._PyEval_SetProfile && py._PyEval_SetTrace);
}

/* "3.13.0 (main, ...) [GCC 12]"; without the GIL "3.13.0 experimental free-threading build (...)"
 */
static int check_version(void)
{
	const char *version = py.Py_GetVersion();
	char *rest;

	if (strstr(version, "PyPy") || strncmp(version, "3.", 2))
		return -AGENT_UNKNOWN_VERSION;
	if (strstr(version, "free-threading"))
		return -AGENT_FREE_THREADED;
	py.minor = strtol(version + 2, &rest, 10);
	py.micro = *rest == '.' ? atoi(rest + 1) : 0;
	return py.minor >= COMPAT_FIRST && py.minor <= COMPAT_LAST ? 0 : -AGENT_UNKNOWN_VERSION;
}

int python__find(void)
{
	const char *(*version)(void) = system__symbol("Py_GetVersion");
	int err;

	if (!version)
		return -AGENT_NOT_PYTHON;
	py.Py_GetVersion = version;
	err = check_version();
	if (err)
		return err;
	if (!find_common() || !find_by_version())
		return -AGENT_NOT_PYTHON;
	/* A build that traces references has two more words in front of each object. */
	if (object_type(py.PyCode_Type) != py.PyType_Type)
		return -AGENT_UNKNOWN_VERSION;
	return py.Py_IsInitialized() ? 0 : -AGENT_NOT_INITIALIZED;
}

void python__save_error(struct python_error *error)
{
	error->number = errno;
	error->thread = buffer.is_shared ? threads__own() : NULL;
	if (error->thread) {
		error->was_busy = error->thread->is_busy;
		error->thread->is_busy = true;
	}
	py.PyErr_Fetch(&error->type, &error->value, &error->traceback);
}

void python__restore_error(struct python_error *error)
{
	py.PyErr_Clear();
	py.PyErr_Restore(error->type, error->value, error->traceback);
	if (error->thread)
		error->thread->is_busy = error->was_busy;
	errno = error->number;
}

void *python__first_thread(void)
{
	void *interpreter = py.PyInterpreterState_Main();
	void *thread = py.PyInterpreterState_ThreadHead(interpreter);

	/* Whoever fills it in needs a moment and nothing of ours. */
	while (thread && !thread_is_complete(thread, py.minor)) {
		system__yield();
		thread = py.PyInterpreterState_ThreadHead(interpreter);
	}
	return thread;
}

/* ------------------------------------------------------------------ objects of our own */

struct callable {
	uintptr_t object[2]; /* PyObject */
	vectorcall_function vectorcall;
};

/* As in PyMemberDef. */
struct member {
	const char *name;
	int type;
	ssize_t offset;
	int flags;
	const char *doc;
};

enum { SLOT_CALL = 50, SLOT_MEMBERS = 72, MEMBER_SSIZE = 19, MEMBER_READ_ONLY = 1 };
enum { TYPE_HAS_VECTORCALL = 1 << 11, TYPE_DEFAULT = 1 << 18 };

static void *make_type(void)
{
	static struct member members[] = {
		{"__vectorcalloffset__", MEMBER_SSIZE, offsetof(struct callable, vectorcall),
		 MEMBER_READ_ONLY, NULL},
		{NULL, 0, 0, 0, NULL},
	};
	struct type_slot slots[] = {
		{SLOT_CALL, py.PyVectorcall_Call},
		{SLOT_MEMBERS, members},
		{0, NULL},
	};
	struct type_spec spec = {
		.name = "pikos.callback",
		.basic_size = sizeof(struct callable),
		.flags = TYPE_DEFAULT | TYPE_HAS_VECTORCALL,
		.slots = slots,
	};

	return py.PyType_FromSpec(&spec);
}

void *python__new_callable(vectorcall_function function)
{
	static void *type;
	struct callable *callable;

	if (!type)
		type = make_type();
	callable = type ? py.PyObject_CallNoArgs(type) : NULL;
	if (callable)
		callable->vectorcall = function;
	else
		py.PyErr_Clear();
	return callable;
}

int python__at_exit(vectorcall_function function)
{
	void *callable = python__new_callable(function);
	void *module = py.PyImport_ImportModuleLevel("atexit", NULL, NULL, NULL, 0);
	void *result = NULL;

	if (callable && module)
		result = py.PyObject_CallMethod(module, "register", "O", callable);
	if (module)
		py.Py_DecRef(module);
	if (callable)
		py.Py_DecRef(callable);
	if (!result) {
		py.PyErr_Clear();
		return -AGENT_NO_MEMORY;
	}
	py.Py_DecRef(result);
	return 0;
}
