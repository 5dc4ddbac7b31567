/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * compat.h - every difference between CPython 3.9 and 3.15 that the agent knows of, each in a
 * function named after the question. Offsets are those of 64-bit builds; what could differ between
 * builds is checked when the hooks go in (names__init, thread_hooks__install).
 */
#ifndef PIKOS_AGENT_COMPAT_H
#define PIKOS_AGENT_COMPAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "system.h"

#define COMPAT_FIRST 9
#define COMPAT_LAST  15

static inline void *pointer_at(const void *base, size_t offset)
{
	return *(void *const *)((const char *)base + offset);
}

static inline int32_t int_at(const void *base, size_t offset)
{
	return *(const int32_t *)((const char *)base + offset);
}

/* sys.monitoring (PEP 669) came with 3.12. SetProfile is built upon it there and costs more. */
static inline bool compat_has_monitoring(int minor)
{
	return minor >= 12;
}

/*
 * os.fork warns a program that has other threads. (The interpreter's list of threads is locked
 * around a fork from 3.13 on.)
 */
static inline bool compat_fork_warns_of_threads(int minor)
{
	return minor >= 12;
}

static inline bool compat_fork_locks_threads(int minor)
{
	return minor >= 13;
}

/*
 * tracemalloc's raw allocator takes the GIL first, and a program in which it was stopped meanwhile
 * crashes (gh-128679).
 */
static inline bool compat_tracemalloc_crashes(int minor, int micro)
{
	return minor <= 11 || (minor == 12 && micro <= 8) || (minor == 13 && micro <= 1);
}

/*
 * Whose pending call a busy main thread notices: until 3.12 its own, also when it is interrupted
 * anywhere. Later others' too, but who is interrupted may have the lock that it takes.
 */
static inline bool compat_main_thread_calls_itself(int minor)
{
	return minor <= 12;
}

/* From 3.12 on who asks for the current thread state gets its own or none; before, the holder's of
 * the GIL. */
static inline bool compat_current_is_own(int minor)
{
	return minor >= 12;
}

/* co_qualname came with 3.11. */
static inline const char *compat_qualified_name(int minor)
{
	return minor >= 11 ? "co_qualname" : "co_name";
}

/*
 * A bound method of a C function: sys.setprofile sees the call of the function from 3.12.5 on; from
 * 3.14 on the interpreter unpacks it before it tells.
 */
static inline bool compat_profile_sees_methods(int minor, int micro)
{
	return (minor == 12 && micro >= 5) || minor == 13;
}

/* ------------------------------------------------------------------ objects: the same in all */

/* As PyMethodDef. */
struct method_definition {
	const char *name;
	void *(*function)(void *, void *, void *, void *);
	int flags;
	const char *doc;
};

static inline void *object_type(const void *object)
{
	return pointer_at(object, 8);
}

static inline ptrdiff_t type_basic_size(const void *type)
{
	return (ptrdiff_t)pointer_at(type, 32);
}

/* What a bound method is of. */
static inline void *method_function(const void *method)
{
	return pointer_at(method, 16);
}

/* The struct PyMethodDef of a builtin function or bound method; its first word is the name. */
static inline void **builtin_definition(void *builtin)
{
	return (void **)((char *)builtin + 16);
}

static inline void *builtin_self(const void *builtin)
{
	return pointer_at(builtin, 24);
}

/* Methods of a type's own, an array that ends with a NULL; its base. */
static inline const struct method_definition *type_methods(const void *type)
{
	return pointer_at(type, 232);
}

static inline void *type_base(const void *type)
{
	return pointer_at(type, 256);
}

static inline void *method_descriptor_definition(const void *descriptor)
{
	return pointer_at(descriptor, 40);
}

static inline void *method_descriptor_type(const void *descriptor)
{
	return pointer_at(descriptor, 16);
}

/*
 * An int that is an offset into code. 3.12's layout: a word with the number of digits above three
 * bits, then digits of 30 bits.
 */
static inline int32_t compat_offset(const void *integer)
{
	uint32_t low = int_at(integer, 24);

	if (likely(((uintptr_t)pointer_at(integer, 16) >> 3) <= 1))
		return low;
	return low | (uint32_t)int_at(integer, 28) << 30;
}

/* ------------------------------------------------------------------ frames */

/* The code of a PyFrameObject. */
static inline void *frame_code(const void *frame, int minor)
{
	const void *inner;

	if (minor <= 10)
		return pointer_at(frame, 32);
	inner = pointer_at(frame, 24); /* struct _PyInterpreterFrame */
	if (minor == 11)
		return pointer_at(inner, 32);
	if (minor <= 13)
		return pointer_at(inner, 0);
	/* 3.14: a stack reference with flags in its low bits. */
	return (void *)((uintptr_t)pointer_at(inner, 0) & ~(uintptr_t)3);
}

/*
 * What a thread runs, from its state: a PyFrameObject until 3.10, then a struct
 * _PyInterpreterFrame. Its own thread may look without the GIL.
 */
static inline const void *thread_frame(const void *thread, int minor)
{
	if (minor <= 10)
		return pointer_at(thread, 24);
	if (minor >= 13)
		return pointer_at(thread, 72);
	return pointer_at(pointer_at(thread, 56), minor == 11 ? 8 : 0); /* by its _PyCFrame */
}

static inline const void *running_previous(const void *frame, int minor)
{
	if (minor <= 10)
		return pointer_at(frame, 24);
	return pointer_at(frame, minor == 11 ? 48 : 8);
}

/* From 3.13 on frames that only mark where C code called have no code object here. */
static inline void *running_code(const void *frame, int minor)
{
	if (minor <= 11)
		return pointer_at(frame, 32);
	return (void *)((uintptr_t)pointer_at(frame, 0) & ~(uintptr_t)3);
}

/*
 * Where it is: the byte offset of an instruction, less than 0 at a beginning.
 * @param code_size size of a code object: its instructions follow from 3.11 on
 */
static inline int32_t running_offset(const void *frame, const void *code, size_t code_size,
				     int minor)
{
	if (minor == 9)
		return int_at(frame, 104);
	if (minor == 10)
		return int_at(frame, 96) * 2;
	return (int32_t)((uintptr_t)pointer_at(frame, 56) - (uintptr_t)code - code_size);
}

static inline void *thread_interpreter(const void *thread)
{
	return pointer_at(thread, 16);
}

/*
 * f_lineno: from 3.10 the interpreter computes it before each call of a trace function, so that it
 * is what frame.f_lineno says there. 3.9 does so for lines only.
 */
static inline int32_t frame_line(const void *frame, int minor)
{
	if (minor == 9)
		return int_at(frame, 108);
	return minor == 10 ? int_at(frame, 100) : int_at(frame, 40);
}

static inline bool compat_line_is_computed(int minor)
{
	return minor >= 10;
}

/* 3.9: the last instruction, and whether frame.f_trace makes f_lineno count instead. */
static inline int32_t frame_last_instruction(const void *frame)
{
	return int_at(frame, 104);
}

static inline bool frame_has_tracer(const void *frame)
{
	return pointer_at(frame, 80) != NULL;
}

/* ------------------------------------------------------------------ threads */

/* prev and next come first in every version. */
static inline size_t thread_next_offset(void)
{
	return 8;
}

/*
 * 3.11 puts a new thread's state at the head of the list before it fills it in, without the GIL;
 * its _initialized is set last. Others fill it in first.
 */
static inline bool thread_is_complete(const void *thread, int minor)
{
	return minor != 11 || __atomic_load_n((const int32_t *)thread + 6, __ATOMIC_ACQUIRE);
}

/* c_profilefunc of a PyThreadState; then c_tracefunc, c_profileobj, c_traceobj. */
static inline size_t thread_hooks_offset(int minor)
{
	if (minor <= 10)
		return 56;
	if (minor <= 12)
		return 64;
	return minor <= 14 ? 80 : 104;
}

#endif /* PIKOS_AGENT_COMPAT_H */
