/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * inject.h - load a library into a running interpreter and call a function of it.
 *
 * A thread is borrowed only at a safe point: its instruction pointer is in the interpreter's own
 * text, outside of signal handlers, or in a system call of the C library that waits for something
 * other than a lock. So it is not inside malloc, the dynamic linker or a lock of theirs, which
 * the call is going to need. A thread found elsewhere is let go at once, another is tried, and all
 * again a little later.
 *
 * The library comes from a memfd made in the target: no file in its mounts, nothing that it has to
 * be allowed to open. Calls run on a stack of their own, since a deep recursion may have left no
 * room, but for calls at the start of the interpreter, which may ask Python how much is left.
 *
 * Everything that is read from the target is a claim: it decides what happens to the target only.
 */
#ifndef PIKOS_INJECT_H
#define PIKOS_INJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "process/maps.h"
#include "source/interpreter.h"

struct inject;

/*
 * @brief Find what is needed to call functions in a process. Does not stop it.
 * @param in of that process, borrowed until inject__free
 * @return NULL and errno, with why filled: what agent_check__process says, and more
 */
struct inject *inject__new(const struct interpreter *in, struct interpreter_reason *why);
/* NULL is fine. */
void inject__free(struct inject *inject);

/*
 * @brief Load a library from memory, as dlopen would a file.
 * @param name of the memfd: the mapping will be called "/memfd:NAME (deleted)"
 * @return 0; -errno with why filled
 */
int inject__load(struct inject *inject, const char *name, const void *image, size_t size,
		 struct interpreter_reason *why);

/* @brief The same from a file. @param path as the target sees it */
int inject__load_file(struct inject *inject, const char *path, struct interpreter_reason *why);

struct inject_call {
	uint64_t function; /* int function(int request, const void *data) */
	int request;
	const void *data; /* copied to the target for the time of the call */
	size_t size;
	/* A descriptor of ours that it has, too, for the time of the call; its number there is
	 * written (an int) into the copied data at that offset. */
	bool gives;
	int given;
	size_t given_at;
	/* The process's main thread stands where the call is to be made, and on its own stack. */
	bool at_start;
};

/* @return 0 with result set; -errno with why filled */
int inject__call(struct inject *inject, const struct inject_call *call, int *result,
		 struct interpreter_reason *why);

/* @return how long the process was stopped, in ns: the longest of all stops so far */
uint64_t inject__stopped_ns(const struct inject *inject);

/*
 * @brief Find a loaded library by the beginning of its file's name, or its memfd's.
 * @param map its executable mapping, for maps__open; without the path
 * @return 1 (found), 0 or -errno
 */
int inject__find(pid_t pid, const char *name, struct mapping *map);

#endif /* PIKOS_INJECT_H */
