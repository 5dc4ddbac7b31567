// SPDX-License-Identifier: BSD-3-Clause
#include "focus/focus_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_REEXPORTS 8	  /* modules a name is followed through */
#define MAX_OPENED    400 /* modules and aliases that are looked into for one spec */

static int resolve_in_module(struct resolver *r, const char *module, const char *name, int depth);
static int follow_bindings(struct resolver *r, const struct source *s, const char *name, int depth);

/* "a" or "" and "b", with a dot between them */
static char *join_names(const char *a, const char *b)
{
	char *out;

	return asprintf(&out, "%s%s%s", a, *a && *b ? "." : "", b) < 0 ? NULL : out;
}

/* ".core" in package a.b is a.b.core. @return malloc'ed or NULL */
static char *absolute_module(const struct source *s, const char *module)
{
	char *base, *out, *dot;
	size_t dots = strspn(module, ".");

	if (!dots)
		return strdup(module);
	base = strdup(s->module ? s->module : "");
	if (!base)
		return NULL;
	for (size_t up = dots - (s->package ? 1 : 0); up; up--) {
		dot = strrchr(base, '.');
		*(dot ? dot : base) = '\0';
	}
	out = join_names(base, module + dots);
	free(base);
	return out;
}

/* "a.b" and ".c" or "" */
static char *join_name(const char *a, const char *rest)
{
	char *out;

	return asprintf(&out, "%s%s", a, rest) < 0 ? NULL : out;
}

/* `g = f`, `g = module.f`; `g = obj.f` is f of this file at any depth: obj may be an instance. */
static int follow_alias(struct resolver *r, const struct source *s, const char *target,
			const char *rest, int depth)
{
	const char *last = strrchr(target, '.');
	char *name = join_name(target, rest);
	int err = name ? focus_add_from_source(r, s, name, false, NULL) : focus_no_memory(r);

	if (err == -ENOENT)
		err = follow_bindings(r, s, name, depth + 1);
	free(name);
	if (err == -ENOENT && last && !*rest)
		err = focus_add_from_source(r, s, last + 1, true, NULL);
	return err;
}

/* What an import binds: an attribute of a module, or a module below it. */
static int follow_import(struct resolver *r, const struct source *s,
			 const struct pysource_binding *b, const char *first, const char *rest,
			 int depth)
{
	char *module = absolute_module(s, b->module), *name = NULL, *below_it = NULL;
	bool star = b->name && !strcmp(b->name, "*");
	int err = -ENOENT;

	if (!module)
		return focus_no_memory(r);
	if (b->name && !star && *rest) {
		below_it = join_names(module, b->name);
		err = below_it ? resolve_in_module(r, below_it, rest + 1, depth + 1)
			       : focus_no_memory(r);
		free(below_it);
	}
	if (b->name)
		name = join_name(star ? first : b->name, rest);
	else if (*rest)
		name = strdup(rest + 1);
	if (err == -ENOENT && name && *module)
		err = resolve_in_module(r, module, name, depth + 1);
	free(module);
	free(name);
	return err;
}

/* The first part of a name is not defined here: does it come from elsewhere? The last wins. */
static int follow_bindings(struct resolver *r, const struct source *s, const char *name, int depth)
{
	size_t len = strcspn(name, "."), n = pysource__bindings(s->py);
	const char *rest = name + len;
	char *first;
	int err = -ENOENT, c_module = -ENOENT;

	if (depth > MAX_REEXPORTS || r->opened++ > MAX_OPENED)
		return -ENOENT;
	first = strndup(name, len);
	if (!first)
		return focus_no_memory(r);
	for (int stars = 0; stars < 2; stars++) {
		for (size_t i = n; i-- > 0 && err == -ENOENT;) {
			const struct pysource_binding *b = pysource__binding(s->py, i);

			if (strcmp(b->as, stars ? "*" : first))
				continue;
			err = b->module ? follow_import(r, s, b, first, rest, depth)
					: follow_alias(r, s, b->name, rest, depth);
			/* It may come from this module of C, but look at the others first. */
			if (err == -ENOTSUP && stars) {
				c_module = err;
				err = -ENOENT;
			}
		}
	}
	free(first);
	return err == -ENOENT ? c_module : err;
}

static int not_python(struct resolver *r, const char *module, const char *file)
{
	int err;

	if (file)
		err = focus_fail(r, -ENOTSUP, "module '%.100s' is a C extension (%s)", module,
				 file);
	else
		err = focus_fail(r, -ENOTSUP, "module '%.100s' is built into the interpreter",
				 module);
	focus_hint(r,
		   "functions written in C are not traced: focus on the Python function that calls "
		   "them");
	return err;
}

/* Has the Python definition been replaced by one of C further down, as in
 * `from _collections import OrderedDict`? */
static int check_replaced(struct resolver *r, const struct source *s, const char *name)
{
	size_t len = strcspn(name, ".");
	const struct pysource_binding *last = NULL;
	struct pypath_module m;
	char *module;
	int err = 0, line = 0;

	for (size_t i = 0; i < pysource__count(s->py); i++) {
		const struct pysource_def *def = pysource__def(s->py, i);

		if (def->parent < 0 && strlen(def->name) == len && !strncmp(def->name, name, len))
			line = def->line;
	}
	for (size_t i = 0; i < pysource__bindings(s->py); i++) {
		const struct pysource_binding *b = pysource__binding(s->py, i);

		if (b->module && b->name && b->line > line && strlen(b->as) == len &&
		    !strncmp(b->as, name, len))
			last = b;
	}
	module = last && line ? absolute_module(s, last->module) : NULL;
	if (!module)
		return 0;
	err = pypath__find(r->paths, module, &m);
	if (!err && (m.kind == PYPATH_BUILTIN || m.kind == PYPATH_EXTENSION)) {
		err = focus_fail(r, -ENOTSUP,
				 "line %d of %s replaces '%.*s' by that of the C module "
				 "'%.100s'",
				 last->line, s->path, (int)len, name, module);
		focus_hint(r,
			   "functions written in C are not traced; to trace the Python one all the "
			   "same name its file, as in '%.100s:%.100s'",
			   s->path, name);
	}
	free(m.path);
	free(module);
	return err;
}

/* @return as resolve_in_module; s->py NULL when there is no source but no error either */
static int open_module(struct resolver *r, const char *module, struct source *s)
{
	struct pypath_module m;
	int err;

	*s = (struct source){0};
	err = pypath__find(r->paths, module, &m);
	if (err)
		return err == -ENOMEM ? focus_no_memory(r)
				      : focus_fail(r, err,
						   "the target's file system "
						   "does not answer");
	if (m.kind == PYPATH_EXTENSION || m.kind == PYPATH_BUILTIN)
		err = not_python(r, module, m.path);
	else if (m.kind == PYPATH_SOURCE)
		err = focus_open_source(r, m.path, s);
	else
		err = -ENOENT;
	if (m.kind == PYPATH_SOURCE && err)
		err = focus_fail(r, err, "cannot read %s: %s", m.path, strerror(-err));
	free(m.path);
	if (err)
		return err;
	s->module = strdup(module);
	s->package = m.package;
	s->stdlib = m.stdlib;
	if (!s->module) {
		focus_close_source(s);
		return focus_no_memory(r);
	}
	return 0;
}

/* @return 0; -ENOENT without words: no such module or name; others with words */
static int resolve_in_module(struct resolver *r, const char *module, const char *name, int depth)
{
	struct source s;
	int err;

	if (depth > MAX_REEXPORTS || r->opened++ > MAX_OPENED)
		return -ENOENT;
	err = open_module(r, module, &s);
	if (err)
		return err;
	err = check_replaced(r, &s, name);
	if (!err)
		err = focus_add_from_source(r, &s, name, false, NULL);
	if (err == -ENOENT)
		err = follow_bindings(r, &s, name, depth);
	focus_close_source(&s);
	return err;
}

static bool defines(const struct pysource *py, const char *name, size_t len)
{
	for (size_t i = 0; i < pysource__count(py); i++) {
		const struct pysource_def *def = pysource__def(py, i);

		if (def->parent < 0 && strlen(def->name) == len && !strncmp(def->name, name, len))
			return true;
	}
	return false;
}

/* A class without the method, a file without the function. The module was found. */
static int no_such_function(struct resolver *r, const char *module, const char *name)
{
	const char *dot = strrchr(name, '.');
	struct source s;
	int err = open_module(r, module, &s);

	if (err)
		return err;
	err = focus_fail(r, -ENOENT, "no function '%.100s' in %s", name, s.path);
	focus_hint_functions(r, s.py, name);
	if (dot && s.package && !defines(s.py, name, strcspn(name, "."))) {
		focus_fail(r, err, "no module '%.100s.%.*s'", module, (int)strcspn(name, "."),
			   name);
		focus_hint(r, "package '%.100s' is %s", module, s.path);
	}
	for (size_t i = 0; dot && i < pysource__count(s.py); i++) {
		const struct pysource_def *def = pysource__def(s.py, i);

		if (def->is_class && strlen(def->qualname) == (size_t)(dot - name) &&
		    !strncmp(def->qualname, name, (size_t)(dot - name)))
			focus_hint(r,
				   "if class '%.100s' inherits it, name the class that defines it",
				   def->qualname);
	}
	focus_close_source(&s);
	return err;
}

static int resolve_main(struct resolver *r, const char *name)
{
	struct source s;
	int err;

	if (r->paths->main_module)
		return resolve_in_module(r, r->paths->main_module, name, 0);
	if (!r->paths->script_real)
		return focus_fail(r, -ENOENT, "the program's script is not known");
	err = focus_open_source(r, r->paths->script_real, &s);
	if (err)
		return focus_fail(r, err, "cannot read %s: %s", r->paths->script_real,
				  strerror(-err));
	err = focus_add_from_source(r, &s, name, false, NULL);
	if (err == -ENOENT) {
		err = focus_fail(r, err, "no function '%.100s' in %s", name, s.path);
		focus_hint_functions(r, s.py, name);
	}
	focus_close_source(&s);
	return err;
}

/* os.path is a name, not a module. */
static char *canonical(const char *spec)
{
	if (!strncmp(spec, "os.path.", 8))
		return join_name("posixpath", spec + 7);
	return strdup(spec);
}

/* @return the dot where the module ends and the name begins: before at, and not inside <locals> */
static char *dot_before(char *text, char *at)
{
	while (at > text)
		if (*--at == '.')
			return at;
	return NULL;
}

int focus_resolve_dotted(struct resolver *r, const char *spec)
{
	char *text = canonical(spec), *known = NULL, *dot;
	int err = text ? focus_need_paths(r) : focus_no_memory(r), words = 0;

	if (!err && !strncmp(text, "__main__.", 9)) {
		err = resolve_main(r, text + 9);
		free(text);
		return err;
	}
	dot = err ? NULL : text + strlen(text);
	err = err ? err : -ENOENT;
	while (err == -ENOENT && dot && (dot = dot_before(text, dot))) {
		struct pypath_module m = {.kind = PYPATH_NONE};

		*dot = '\0';
		words = pypath__find(r->paths, text, &m);
		free(m.path);
		if (words)
			err = focus_fail(r, words, "cannot look for modules: %s", strerror(-words));
		else if (m.kind && m.kind != PYPATH_NAMESPACE)
			err = resolve_in_module(r, text, dot + 1, 0);
		if (m.kind && m.kind != PYPATH_NAMESPACE && !known && err == -ENOENT)
			known = strdup(text);
		*dot = '.';
	}
	if (err == -ENOENT && known) {
		err = no_such_function(r, known, text + strlen(known) + 1);
	} else if (err == -ENOENT) {
		err = focus_fail(r, err, "no module '%.*s'", (int)strcspn(text, "."), text);
		focus_hint_dirs(r);
	}
	free(known);
	free(text);
	return err;
}
