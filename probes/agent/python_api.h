/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * python_api.h - Python's own symbols, found at run time. Nothing is linked and no Python.h is
 * used: objects are void pointers, and what is known of their insides is in compat.h.
 */
#ifndef PIKOS_AGENT_PYTHON_API_H
#define PIKOS_AGENT_PYTHON_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef int (*trace_function)(void *object, void *frame, int what, void *argument);
typedef void *(*vectorcall_function)(void *self, void *const *args, size_t n, void *names);

/* What a trace_function is told: PyTrace_*. */
enum {
	TRACE_CALL,
	TRACE_EXCEPTION,
	TRACE_LINE,
	TRACE_RETURN,
	TRACE_C_CALL,
	TRACE_C_EXCEPTION,
	TRACE_C_RETURN
};

struct type_slot {
	int slot;
	void *value;
};

struct type_spec {
	const char *name;
	int basic_size, item_size;
	unsigned int flags;
	struct type_slot *slots;
};

/* As PyMemAllocatorEx. */
struct python_allocator {
	void *ctx;
	void *(*malloc)(void *ctx, size_t size);
	void *(*calloc)(void *ctx, size_t n, size_t size);
	void *(*realloc)(void *ctx, void *block, size_t size);
	void (*free)(void *ctx, void *block);
};

/* X(result, name, arguments): functions that every version has. */
#define PYTHON_FUNCTIONS(X)                                                                \
	X(int, Py_IsInitialized, (void))                                                   \
	X(const char *, Py_GetVersion, (void))                                             \
	X(void, Py_IncRef, (void *))                                                       \
	X(void, Py_DecRef, (void *))                                                       \
	X(void *, PyThreadState_New, (void *))                                             \
	X(void, PyThreadState_Clear, (void *))                                             \
	X(void, PyThreadState_DeleteCurrent, (void))                                       \
	X(void, PyEval_AcquireThread, (void *))                                            \
	X(void *, PyEval_SaveThread, (void))                                               \
	X(void, PyEval_RestoreThread, (void *))                                            \
	X(void, PyEval_SetTrace, (trace_function, void *))                                 \
	X(void, PyEval_SetProfile, (trace_function, void *))                               \
	X(int, Py_AddPendingCall, (int (*)(void *), void *))                               \
	X(void *, PyThreadState_Get, (void))                                               \
	X(void *, PyThreadState_Next, (void *))                                            \
	X(void *, PyInterpreterState_Main, (void))                                         \
	X(void *, PyInterpreterState_Head, (void))                                         \
	X(void *, PyInterpreterState_Next, (void *))                                       \
	X(void *, PyInterpreterState_ThreadHead, (void *))                                 \
	X(void, PyErr_Fetch, (void **, void **, void **))                                  \
	X(void, PyErr_Restore, (void *, void *, void *))                                   \
	X(void, PyErr_Clear, (void))                                                       \
	X(void *, PySys_GetObject, (const char *))                                         \
	X(void *, PyImport_ImportModuleLevel, (const char *, void *, void *, void *, int)) \
	X(void *, PyImport_GetModuleDict, (void))                                          \
	X(void *, PyDict_GetItemString, (void *, const char *))                            \
	X(void *, PyObject_GetAttrString, (void *, const char *))                          \
	X(void *, PyObject_CallMethod, (void *, const char *, const char *, ...))          \
	X(void *, PyObject_CallNoArgs, (void *))                                           \
	X(void *, PyType_FromSpec, (struct type_spec *))                                   \
	X(int, PyType_IsSubtype, (void *, void *))                                         \
	X(void *, PyVectorcall_Call, (void *, void *, void *))                             \
	X(const char *, PyUnicode_AsUTF8AndSize, (void *, ssize_t *))                      \
	X(void *, PyUnicode_AsEncodedString, (void *, const char *, const char *))         \
	X(int, PyBytes_AsStringAndSize, (void *, char **, ssize_t *))                      \
	X(long, PyLong_AsLong, (void *))                                                   \
	X(int, PyCode_Addr2Line, (void *, int))                                            \
	X(void *, PyCode_NewEmpty, (const char *, const char *, int))                      \
	X(void *, PyEval_GetFrame, (void))                                                 \
	X(void *, PyFrame_GetCode, (void *))                                               \
	X(void *, PyFrame_GetBack, (void *))                                               \
	X(void *, PyThreadState_GetFrame, (void *))                                        \
	X(int, PyFrame_GetLineNumber, (void *))                                            \
	X(void *, PyGILState_GetThisThreadState, (void))                                   \
	X(void, PyMem_GetAllocator, (int, struct python_allocator *))                      \
	X(void, PyMem_SetAllocator, (int, struct python_allocator *))                      \
	X(void *, PyMem_RawMalloc, (size_t))                                               \
	X(void *, PyMem_Malloc, (size_t))                                                  \
	X(void *, PyObject_Malloc, (size_t))                                               \
	X(void, PyMem_RawFree, (void *))                                                   \
	X(void, PyMem_Free, (void *))                                                      \
	X(void, PyObject_Free, (void *))                                                   \
	X(int, PyTraceMalloc_Untrack, (unsigned int, uintptr_t))

/* X(name): objects that every version has. */
#define PYTHON_OBJECTS(X)   \
	X(_Py_NoneStruct)   \
	X(PyType_Type)      \
	X(PyCode_Type)      \
	X(PyFunction_Type)  \
	X(PyMethod_Type)    \
	X(PyCFunction_Type) \
	X(PyMethodDescr_Type)

struct python {
#define X(result, name, arguments) result(*name) arguments;
	PYTHON_FUNCTIONS(X)
#undef X
#define X(name) void *name;
	PYTHON_OBJECTS(X)
#undef X
	/* Under several names. */
	void *(*current_thread)(void); /* the state of whoever has the GIL (3.12: of the caller if
					* it has) or NULL; needs none */
	ssize_t (*request_code_extra)(void (*free_function)(void *));
	int (*get_code_extra)(void *code, ssize_t index, void **extra);
	int (*set_code_extra)(void *code, ssize_t index, void *extra);
	/* 3.9 to 3.11. */
	int (*_PyEval_SetProfile)(void *thread, trace_function, void *);
	int (*_PyEval_SetTrace)(void *thread, trace_function, void *);
	int minor, micro; /* of 3.minor.micro */
};

extern struct python py;

/* @return 0 or minus an enum agent_refusal. Needs no GIL. */
int python__find(void);

/*
 * Python's error and errno are put aside and back around what may set one; what is allocated in
 * between is not the program's.
 */
struct python_error {
	void *type, *value, *traceback;
	int number; /* errno */
	struct agent_thread *thread;
	bool was_busy;
};

void python__save_error(struct python_error *error);
void python__restore_error(struct python_error *error);

/*
 * The newest thread state of the main interpreter; the caller holds the GIL, so that none goes, but
 * others may come. The rest by PyThreadState_Next. NULL: none.
 */
void *python__first_thread(void);

/* An object whose call is this function's; it may be called for ever. NULL: no memory. */
void *python__new_callable(vectorcall_function function);
/* Have it called when Python ends. @return 0 or -AGENT_NO_MEMORY */
int python__at_exit(vectorcall_function function);

#endif /* PIKOS_AGENT_PYTHON_API_H */
