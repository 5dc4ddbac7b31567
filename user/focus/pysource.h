/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pysource.h - finds the definitions in Python source text, without Python.
 *
 * A scanner, not a parser: it knows tokens (strings of every prefix, f-strings with nested
 * quotes of 3.12, comments, brackets, line continuation) and indentation, and accepts the source
 * of every Python 3. Of text that is not Python it says something, never crashes or loops, and is
 * linear in time. More than PYSOURCE_MAX_DEPTH nested definitions are taken as one.
 */
#ifndef PIKOS_FOCUS_PYSOURCE_H
#define PIKOS_FOCUS_PYSOURCE_H

#include <stdbool.h>
#include <stddef.h>

#define PYSOURCE_MAX_DEPTH 100

struct pysource_def {
	const char *name;     /* co_name: "method" */
	const char *qualname; /* co_qualname: "Class.method", "outer.<locals>.inner" */
	int parent;	      /* index of the definition around it, -1 at module level */
	int first;	      /* line of the first decorator, else of def */
	int line;	      /* line of `def`, `async` or `class` */
	int last;	      /* last line of the body */
	bool is_class;
};

/* A name of the module that comes from elsewhere. `from .core import f as g` is ".core", "f", "g";
 * `import a.b as c` is "a.b", NULL, "c"; `from m import *` is "m", "*", "*"; `g = a.f` is NULL,
 * "a.f", "g". */
struct pysource_binding {
	const char *module; /* dots of a relative import first; NULL: an assignment */
	const char *name;
	const char *as;
	int line;
};

struct pysource;

/* @brief Scan UTF-8 text (a BOM is skipped). The text is not needed afterwards.
 * @return NULL and errno: ENOMEM, EFBIG (more than 64 MiB) */
struct pysource *pysource__scan(const char *text, size_t size);
void pysource__free(struct pysource *source);

/* In the order of their lines. */
size_t pysource__count(const struct pysource *source);
const struct pysource_def *pysource__def(const struct pysource *source, size_t index);

/* Imports and plain assignments of module level (also inside its if and try blocks), in order. */
size_t pysource__bindings(const struct pysource *source);
const struct pysource_binding *pysource__binding(const struct pysource *source, size_t index);

/* @return the number of lines */
int pysource__lines(const struct pysource *source);

/* @brief Does a name of a user mean this definition? `<locals>` may be left out:
 * "outer.inner" and "outer.<locals>.inner" both do. */
bool pysource__is(const struct pysource_def *def, const char *qualname);

/* @return the innermost definition whose lines hold this one, or NULL */
const struct pysource_def *pysource__at(const struct pysource *source, int line);

#endif /* PIKOS_FOCUS_PYSOURCE_H */
