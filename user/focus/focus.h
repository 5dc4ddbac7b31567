/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * focus.h - turns what the user wrote after --focused-on into rules that can be decided per event.
 *
 * Specs, comma separated:
 *	gcd				any function of that name
 *	pkg.mod.func, pkg.mod.Class.method, pkg.mod.outer.inner, pkg.mod.<module>
 *	path/to/file.py:func		any depth; also <lambda>, <genexpr>, <listcomp>, <module>
 *	file.py:Class.method		narrowed to that definition
 *	file.py:LINE			the innermost function that holds the line, else <module>
 *
 * Modules are found in source, on a search path like the target's sys.path; nothing is imported.
 *
 * An event matches a focus when it matches one of its rules. It matches a rule when co_name is
 * `function`, and n_files is 0 or co_filename is one `path` (or, with `suffix`, ends with "/" and
 * it), and n_ranges is 0 or its line lies in one range, both ends included. Ranges are given only
 * where another function of the same file has the same name, for a line can be -1 or 0.
 */
#ifndef PIKOS_FOCUS_FOCUS_H
#define PIKOS_FOCUS_FOCUS_H

#include <stdbool.h>
#include <stdint.h>

#include "process/identity.h"
#include "process/reader.h"

struct focus_file {
	char *path;
	bool suffix;
};

struct focus_range {
	int lo, hi;
};

struct focus_rule {
	char *spec;	/* what the user wrote, for messages */
	char *function; /* co_name, never NULL */
	struct focus_file *files;
	int n_files; /* 0: any file */
	struct focus_range *ranges;
	int n_ranges; /* 0: any line */
};

struct focus {
	struct focus_rule *rules;
	int n_rules;
};

struct focus_context {
	struct reader *reader;
	const struct identity *identity; /* identity__of_self(argv) before a program runs */
	int major, minor;		 /* of the interpreter; 0, 0: unknown */
	const char *exe; /* the interpreter inside the target's root; NULL: identity->exe */
};

/* For SPEC 8: `pikos-trace: ` text, and a second line with hint unless it is "". No newlines. */
struct focus_error {
	char text[512]; /* "cannot focus on 'a.b': no module 'a'" */
	char hint[512]; /* "looked in /x, /y" */
};

/*
 * @brief Resolve specs. @param err filled on failure
 * @return 0; -EINVAL: not a spec; -ENOENT: it can match nothing; -ENOMEM; what the reader said
 */
int focus__resolve(const char *specs, const struct focus_context *ctx, struct focus **out,
		   struct focus_error *err);
void focus__free(struct focus *focus);

/* @brief Does an event match? What the kernel decides, said in C. @param file may be NULL */
bool focus__match(const struct focus *focus, const char *function, const char *file, int line);

#endif /* PIKOS_FOCUS_FOCUS_H */
