/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * interpreter_internal.h - what the files of interpreter share.
 *
 * From the file alone: is it a CPython, which version, what is special about the build. From a
 * process: which of its files is the interpreter. Both are claims of the target's; what depends on
 * them can only harm the target's own trace.
 *
 *	interpreter.c		opens a file, or finds that of a process
 *	interpreter_identify.c	what a file is
 *	interpreter_check.c	whether its probes can be used, and what the user is told of it
 */
#ifndef PIKOS_SOURCE_INTERPRETER_INTERNAL_H
#define PIKOS_SOURCE_INTERPRETER_INTERNAL_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "source/interpreter.h"

struct interpreter {
	struct interpreter_info info;
	struct elf_notes *elf;
};

/* ------------------------------------------------------------------ interpreter.c */

/* A problem without words. @param why may be NULL, as for the two that give it words */
void interpreter_set_reason(struct interpreter_reason *why, enum interpreter_problem problem);

#define SET_TEXT(why, ...) \
	((why) ? (void)snprintf((why)->text, sizeof((why)->text), __VA_ARGS__) : (void)0)
#define SET_NEXT(why, ...) \
	((why) ? (void)snprintf((why)->next_step, sizeof((why)->next_step), __VA_ARGS__) : (void)0)

/* ------------------------------------------------------------------ interpreter_identify.c */

/* Fill in->info from in->elf and in->info.path. */
void interpreter_identify(struct interpreter *in);

/*
 * python3.11 is a mapped file where the executable is the dynamic loader. libpython3.so is none: it
 * holds no code, only the name of the real one. @param name without directories
 */
bool interpreter_is_python_name(const char *name);

/* ------------------------------------------------------------------ names */

/* The last part of a path, in the path. */
static inline const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static inline bool has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

#endif /* PIKOS_SOURCE_INTERPRETER_INTERNAL_H */
