/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * focus_internal.h - what the files of focus share.
 *
 * Three steps for each spec: find the source file, find the definitions in it, and write the rule:
 * every spelling of the file's name that the interpreter may use (co_filename is made from a
 * sys.path entry or the command line, never resolved), and line ranges where the name alone does
 * not tell the function.
 *
 *	focus.c		specs: which of the forms each one has; focus__resolve
 *	focus_modules.c	pkg.mod.name: modules, and where they import a name from
 *	focus_files.c	path/to/file.py:name: which files are meant
 *	focus_sources.c	a source file, and the definitions in it that have a name
 *	focus_rules.c	rules: spellings of a file's name, ranges of lines; focus__match
 *	focus_errors.c	what the user is told
 *
 * What can fail returns 0 or -errno, with words in the resolver's error unless it is said
 *otherwise.
 */
#ifndef PIKOS_FOCUS_FOCUS_INTERNAL_H
#define PIKOS_FOCUS_FOCUS_INTERNAL_H

#include <stdbool.h>

#include "focus/focus.h"
#include "focus/pypath.h"
#include "focus/pysource.h"

struct resolver {
	const struct focus_context *ctx;
	struct focus_error *err;
	struct pypath *paths; /* made when first needed */
	struct focus *focus;
	const char *spec;
	int opened; /* modules and aliases, for this spec */
};

/* A source file under examination. */
struct source {
	char *path; /* as it was found */
	char *real;
	char *module; /* NULL: it was named as a file */
	bool package, stdlib;
	struct pysource *py;
};

/* ------------------------------------------------------------------ focus_errors.c */

/* @return code */
int __attribute__((format(printf, 3, 4)))
focus_fail(struct resolver *r, int code, const char *format, ...);
int focus_no_memory(struct resolver *r);

void __attribute__((format(printf, 2, 3))) focus_hint(struct resolver *r, const char *format, ...);
/* Append to the hint while there is room for whole words. @return false when there is none */
bool __attribute__((format(printf, 2, 3)))
focus_hint_more(struct resolver *r, const char *format, ...);
/* The directories of modules. */
void focus_hint_dirs(struct resolver *r);
/* The functions that a file does have, or those of the same name in one of its classes. */
void focus_hint_functions(struct resolver *r, const struct pysource *py, const char *name);

/* ------------------------------------------------------------------ focus_rules.c */

/* @return what follows dir and a slash in path, or NULL when it is not below */
const char *focus_below(const char *path, const char *dir);
bool focus_is_suffix(const char *path, const char *suffix);

/* A rule for a function of any file. @return NULL: without memory, without words */
struct focus_rule *focus_add_rule(struct resolver *r, const char *function);
/* A rule for some of the definitions of one name. @param suffix of other files, or NULL */
int focus_add_defs(struct resolver *r, const struct source *s, const bool *chosen,
		   const char *suffix);
/* A rule for a name of the whole file, such as <module> or <lambda>. */
int focus_add_name(struct resolver *r, const struct source *s, const char *name,
		   const char *suffix);
/* "Class.<lambda>": lambdas in the lines of Class. @return -ENOENT without words: no such class */
int focus_add_special(struct resolver *r, const struct source *s, const char *name,
		      const char *suffix);

/* ------------------------------------------------------------------ focus_sources.c */

/* The resolver has its paths from here on. */
int focus_need_paths(struct resolver *r);

/* @return 0 or -errno, without words; then there is nothing to close */
int focus_open_source(struct resolver *r, const char *path, struct source *s);
void focus_close_source(struct source *s);

/*
 * Rules for the functions of a name. @param anywhere a bare name means any depth
 * @return 0; -ENOENT without words; others with words. A class is an error with words (-EISDIR).
 */
int focus_add_from_source(struct resolver *r, const struct source *s, const char *name,
			  bool anywhere, const char *suffix);

/* ------------------------------------------------------------------ the forms of a spec */

/* focus_modules.c: pkg.mod.Class.method: the longest beginning that is a module. */
int focus_resolve_dotted(struct resolver *r, const char *spec);

/* focus_files.c: what stands before the last colon is a file */
int focus_resolve_file(struct resolver *r, const char *spec);
/* @return the line number that a name is, 0 when it is none, -1 when it is too large */
int focus_line_number(const char *name);

#endif /* PIKOS_FOCUS_FOCUS_INTERNAL_H */
