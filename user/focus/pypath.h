/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pypath.h - where a target finds its modules: something like its sys.path, from the outside.
 *
 * Built from the command line, the environment, the place of the interpreter, pyvenv.cfg and
 * .pth files; nothing is asked of the target and nothing is imported. What a program adds to
 * sys.path itself is not known.
 */
#ifndef PIKOS_FOCUS_PYPATH_H
#define PIKOS_FOCUS_PYPATH_H

#include <stdbool.h>
#include <stddef.h>

#include "focus/focus.h"

#define PYPATH_MAX_DIRS 512

struct pypath_dir {
	char *path; /* as sys.path has it */
	char *real; /* without symlinks */
	bool stdlib;
};

struct pypath {
	struct reader *reader;
	char *cwd;		 /* real, or NULL */
	char *script;		 /* as on the command line; NULL: none (-c, -m, standard input) */
	char *script_abs;	 /* the cwd of its start, "/" and script: co_filename since 3.9 */
	char *script_real;	 /* NULL: not found */
	char *main_module;	 /* of -m, or NULL */
	int major, minor;	 /* 0, 0: unknown */
	struct pypath_dir *dirs; /* in the order of sys.path */
	int n_dirs;
};

enum pypath_kind {
	PYPATH_NONE,
	PYPATH_SOURCE,	  /* a .py file, or a package's __init__.py */
	PYPATH_NAMESPACE, /* directories without __init__ */
	PYPATH_EXTENSION, /* a shared library */
	PYPATH_BUILTIN,	  /* in the interpreter itself */
};

struct pypath_module {
	enum pypath_kind kind;
	bool package;
	bool stdlib;
	char *path; /* SOURCE, EXTENSION: the file; free() */
};

/* @return NULL and errno: ENOMEM */
struct pypath *pypath__new(const struct focus_context *ctx);
void pypath__free(struct pypath *paths);

/* @brief Find "pkg.mod". @return 0, kind may be PYPATH_NONE; -ENOMEM or what the reader said
 * when it is dead */
int pypath__find(const struct pypath *paths, const char *module, struct pypath_module *out);

/* @return malloc'ed "a/b", or b when it is absolute; NULL without memory */
char *pypath__join(const char *a, const char *b);

#endif /* PIKOS_FOCUS_PYPATH_H */
