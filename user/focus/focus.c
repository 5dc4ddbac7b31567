// SPDX-License-Identifier: BSD-3-Clause
/*
 * focus.c - see focus.h
 *
 * Three steps for each spec: find the source file, find the definitions in it, and write the rule:
 * every spelling of the file's name that the interpreter may use (co_filename is made from a
 * sys.path entry or the command line, never resolved), and line ranges where the name alone does
 * not tell the function.
 */
#define _GNU_SOURCE 1

#include "focus/focus.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "focus/pypath.h"
#include "focus/pysource.h"
#include "symbols/lines.h"

#define MAX_SPECS      1000
#define MAX_PARTS      64
#define MAX_SOURCE     (16u << 20) /* bytes of a file that is looked into */
#define MAX_REEXPORTS  8	   /* modules a name is followed through */
#define MAX_OPENED     400	   /* modules and aliases that are looked into for one spec */
#define MAX_WALK_DIRS  3000	   /* directories that a search below looks into */
#define MAX_WALK_DEPTH 8
#define MAX_CANDIDATES 64 /* files that one spec may mean */

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

/* ------------------------------------------------------------------ errors */

static void clean(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

static int __attribute__((format(printf, 3, 4)))
fail(struct resolver *r, int code, const char *format, ...)
{
	int n = snprintf(r->err->text, sizeof(r->err->text), "cannot focus on '%.200s': ", r->spec);
	va_list args;

	va_start(args, format);
	vsnprintf(r->err->text + n, sizeof(r->err->text) - (size_t)n, format, args);
	va_end(args);
	clean(r->err->text);
	return code;
}

static void __attribute__((format(printf, 2, 3))) hint(struct resolver *r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(r->err->hint, sizeof(r->err->hint), format, args);
	va_end(args);
	clean(r->err->hint);
}

/* Append to the hint while there is room for whole words. @return false when there is none */
static bool __attribute__((format(printf, 2, 3)))
hint_more(struct resolver *r, const char *format, ...)
{
	size_t used = strlen(r->err->hint);
	size_t room = sizeof(r->err->hint) - used;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(r->err->hint + used, room, format, args);
	va_end(args);
	if (n < 0 || (size_t)n + 4 >= room) {
		strcpy(r->err->hint + used, used + 4 < sizeof(r->err->hint) ? "..." : "");
		return false;
	}
	clean(r->err->hint + used);
	return true;
}

static int no_memory(struct resolver *r)
{
	return fail(r, -ENOMEM, "out of memory");
}

static void hint_dirs(struct resolver *r)
{
	const struct pypath *p = r->paths;

	hint(r, "looked in ");
	for (int i = 0; i < p->n_dirs; i++)
		if (!hint_more(r, "%s%s", i ? ", " : "", p->dirs[i].path))
			return;
	if (!p->n_dirs)
		hint(r, "no directory of modules is known: name the file, as in path/to/file.py:f");
}

/* The functions that a file does have, or those of the same name in one of its classes. */
static void hint_functions(struct resolver *r, const struct pysource *py, const char *name)
{
	const char *dot = strrchr(name, '.'), *last = dot ? dot + 1 : name;
	int n = 0;

	for (size_t i = 0; i < pysource__count(py); i++) {
		const struct pysource_def *def = pysource__def(py, i);

		if (def->is_class || strcmp(def->name, last))
			continue;
		if (!n)
			hint(r, "did you mean ");
		if (!hint_more(r, "%s%s", n++ ? " or " : "", def->qualname))
			return;
	}
	if (n)
		return;
	for (size_t i = 0; i < pysource__count(py); i++) {
		const struct pysource_def *def = pysource__def(py, i);

		if (def->is_class)
			continue;
		if (!n)
			hint(r, "it has ");
		if (!hint_more(r, "%s%s", n++ ? ", " : "", def->qualname))
			return;
	}
	if (!n)
		hint(r, "it defines no functions");
}

/* ------------------------------------------------------------------ rules */

static struct focus_rule *add_rule(struct resolver *r, const char *function)
{
	struct focus *f = r->focus;
	struct focus_rule *bigger = reallocarray(f->rules, (size_t)f->n_rules + 1, sizeof(*bigger));
	struct focus_rule *rule;

	if (!bigger)
		return NULL;
	f->rules = bigger;
	rule = &f->rules[f->n_rules];
	*rule = (struct focus_rule){.spec = strdup(r->spec), .function = strdup(function)};
	f->n_rules++;
	return rule->spec && rule->function ? rule : NULL;
}

/* @param path owned from here on; NULL: without memory */
static int add_file(struct focus_rule *rule, char *path, bool suffix)
{
	struct focus_file *bigger;

	if (!path)
		return -ENOMEM;
	for (int i = 0; i < rule->n_files; i++) {
		if (rule->files[i].suffix == suffix && !strcmp(rule->files[i].path, path)) {
			free(path);
			return 0;
		}
	}
	bigger = reallocarray(rule->files, (size_t)rule->n_files + 1, sizeof(*bigger));
	if (!bigger) {
		free(path);
		return -ENOMEM;
	}
	rule->files = bigger;
	rule->files[rule->n_files++] = (struct focus_file){path, suffix};
	return 0;
}

static int __attribute__((format(printf, 3, 4)))
add_form(struct focus_rule *rule, bool suffix, const char *format, ...)
{
	va_list args;
	char *path;
	int n;

	va_start(args, format);
	n = vasprintf(&path, format, args);
	va_end(args);
	return add_file(rule, n < 0 ? NULL : path, suffix);
}

/* @return what follows dir and a slash in path, or NULL when it is not below */
static const char *below(const char *path, const char *dir)
{
	size_t len = dir ? strlen(dir) : 0;

	if (!len || strncmp(path, dir, len))
		return NULL;
	if (dir[len - 1] == '/')
		return path + len;
	return path[len] == '/' ? path + len + 1 : NULL;
}

/* "json/decoder.py" is json.decoder, "json/__init__.py" json. @return false if it is none */
static bool module_of(const char *relative, char *name, size_t size)
{
	size_t len = strlen(relative);

	if (len < 4 || strcmp(relative + len - 3, ".py") || len - 3 >= size)
		return false;
	memcpy(name, relative, len - 3);
	name[len - 3] = '\0';
	if (len > 12 && !strcmp(name + len - 12, "/__init__"))
		name[len - 12] = '\0';
	for (; *name; name++)
		if (*name == '/')
			*name = '.';
	return true;
}

/* Files of the standard library: frozen ones (3.11), and other spellings of /usr/lib. */
static int add_stdlib_forms(const struct pypath *p, struct focus_rule *rule, const char *relative)
{
	char module[256];
	int err = 0;

	if (strncmp(relative, "site-packages/", 14) && strncmp(relative, "dist-packages/", 14) &&
	    module_of(relative, module, sizeof(module)))
		err = add_form(rule, false, "<frozen %s>", module);
	if (!err)
		err = add_form(rule, true, "python%d.%d/%s", p->major, p->minor, relative);
	return err;
}

/* The script itself is named as on the command line, since 3.9 made absolute. */
static int add_script_forms(const struct pypath *p, struct focus_rule *rule)
{
	const char *script = p->script;
	int err = add_form(rule, false, "%s", script);

	if (!err && p->script_abs)
		err = add_form(rule, false, "%s", p->script_abs);
	while (!strncmp(script, "./", 2))
		script += 2;
	if (!err)
		err = add_form(rule, false, "%s", script);
	if (!err && p->cwd && script[0] != '/')
		err = add_file(rule, pypath__join(p->cwd, script), false);
	return err;
}

static int add_forms(struct resolver *r, struct focus_rule *rule, const struct source *s)
{
	const struct pypath *p = r->paths;
	const char *rest = below(s->real, p->cwd);
	int err = add_form(rule, false, "%s", s->path);

	if (!err)
		err = add_form(rule, false, "%s", s->real);
	if (!err && rest)
		err = add_form(rule, false, "%s", rest);
	if (!err && rest)
		err = add_form(rule, false, "./%s", rest);
	/* Every entry of sys.path that leads there, through symlinks too. */
	for (int i = 0; !err && i < p->n_dirs; i++) {
		rest = below(s->real, p->dirs[i].real);
		if (!rest)
			rest = below(s->path, p->dirs[i].path);
		if (!rest)
			continue;
		err = add_file(rule, pypath__join(p->dirs[i].path, rest), false);
		if (!err && p->dirs[i].stdlib)
			err = add_stdlib_forms(p, rule, rest);
	}
	if (!err && p->script_real && !strcmp(p->script_real, s->real))
		err = add_script_forms(p, rule);
	return err;
}

static int add_range(struct focus_rule *rule, int lo, int hi)
{
	struct focus_range *bigger;

	if (lo > hi)
		return 0;
	bigger = reallocarray(rule->ranges, (size_t)rule->n_ranges + 1, sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	rule->ranges = bigger;
	rule->ranges[rule->n_ranges++] = (struct focus_range){lo, hi};
	return 0;
}

/* The lines of a definition without those of others inside it that have its name. */
static int add_ranges(struct focus_rule *rule, const struct pysource *py, size_t index)
{
	const struct pysource_def *def = pysource__def(py, index);
	int lo = def->first, err = 0;

	for (size_t i = index + 1; i < pysource__count(py) && !err; i++) {
		const struct pysource_def *inner = pysource__def(py, i);

		if (inner->first > def->last)
			break;
		if (inner->first < lo || strcmp(inner->name, rule->function))
			continue;
		err = add_range(rule, lo, inner->first - 1);
		lo = inner->last + 1;
	}
	return err ? err : add_range(rule, lo, def->last);
}

/*
 * A rule for some of the definitions of one name. Ranges only if the file has others of that name,
 * and then no suffix: another file that ends so has other lines.
 */
static int add_defs(struct resolver *r, const struct source *s, const bool *chosen,
		    const char *suffix)
{
	const char *name = NULL;
	struct focus_rule *rule;
	bool others = false;
	int err;

	for (size_t i = 0; i < pysource__count(s->py); i++)
		if (chosen[i])
			name = pysource__def(s->py, i)->name;
	for (size_t i = 0; i < pysource__count(s->py); i++)
		others |= !chosen[i] && !strcmp(pysource__def(s->py, i)->name, name);
	rule = add_rule(r, name);
	err = rule ? add_forms(r, rule, s) : -ENOMEM;
	for (size_t i = 0; i < pysource__count(s->py) && others && !err; i++)
		if (chosen[i])
			err = add_ranges(rule, s->py, i);
	if (!err && !others && suffix)
		err = add_form(rule, true, "%s", suffix);
	return err ? no_memory(r) : 0;
}

/* A rule for a name of the whole file, such as <module> or <lambda>. */
static int add_name(struct resolver *r, const struct source *s, const char *name,
		    const char *suffix)
{
	struct focus_rule *rule = add_rule(r, name);
	int err = rule ? add_forms(r, rule, s) : -ENOMEM;

	if (!err && suffix)
		err = add_form(rule, true, "%s", suffix);
	return err ? no_memory(r) : 0;
}

/* ------------------------------------------------------------------ sources */

static void close_source(struct source *s)
{
	free(s->path);
	free(s->real);
	free(s->module);
	pysource__free(s->py);
	*s = (struct source){0};
}

/* @return 0 or -errno, without words */
static int open_source(struct resolver *r, const char *path, struct source *s)
{
	struct reader *reader = r->ctx->reader;
	char real[PATH_MAX], *data = NULL, *text = NULL;
	size_t size;
	int err = reader__realpath(reader, path, strlen(path), real, sizeof(real));

	*s = (struct source){0};
	if (err < 0)
		return err;
	err = reader__read_file(reader, path, strlen(path), MAX_SOURCE, &data, &size);
	if (err)
		return err;
	err = lines__decode(data, size, &text, &size);
	free(data);
	if (err)
		return err;
	s->py = pysource__scan(text, size);
	err = s->py ? 0 : -errno;
	free(text);
	s->path = strdup(path);
	s->real = strdup(real);
	if (!err && (!s->path || !s->real))
		err = -ENOMEM;
	if (err)
		close_source(s);
	return err;
}

static int need_paths(struct resolver *r)
{
	if (r->paths)
		return 0;
	r->paths = pypath__new(r->ctx);
	if (!r->paths)
		return no_memory(r);
	if (reader__dead(r->ctx->reader))
		return fail(r, -ETIMEDOUT, "the target's file system does not answer");
	return 0;
}

/* ------------------------------------------------------------------ names in a source */

enum found { FOUND_NOTHING, FOUND_CLASS, FOUND_FUNCTION };

/* Choose the definitions that a name means. @param anywhere a bare name means any depth */
static enum found choose(const struct source *s, const char *name, bool anywhere, bool *chosen)
{
	enum found found = FOUND_NOTHING;

	for (size_t i = 0; i < pysource__count(s->py); i++) {
		const struct pysource_def *def = pysource__def(s->py, i);

		chosen[i] = anywhere ? !strcmp(def->name, name) : pysource__is(def, name);
		if (chosen[i] && !def->is_class)
			found = FOUND_FUNCTION;
		else if (chosen[i] && !found)
			found = FOUND_CLASS;
	}
	/* The body of a class runs once, when it is defined: not what the user means. */
	for (size_t i = 0; i < pysource__count(s->py); i++)
		chosen[i] = chosen[i] && !pysource__def(s->py, i)->is_class;
	return found;
}

static bool is_special(const char *name)
{
	return name[0] == '<' && name[strlen(name) - 1] == '>';
}

/* "Class.<lambda>": lambdas in the lines of Class. */
static int add_special(struct resolver *r, const struct source *s, const char *name,
		       const char *suffix)
{
	const char *last = strrchr(name, '.');
	struct focus_rule *rule = NULL;
	char *around;
	int err = 0;

	if (!last)
		return add_name(r, s, name, suffix);
	around = strndup(name, (size_t)(last - name));
	if (!around)
		return no_memory(r);
	for (size_t i = 0; i < pysource__count(s->py) && !err; i++) {
		const struct pysource_def *def = pysource__def(s->py, i);

		if (!pysource__is(def, around))
			continue;
		if (!rule) {
			rule = add_rule(r, last + 1);
			err = rule ? add_forms(r, rule, s) : -ENOMEM;
		}
		if (!err)
			err = add_range(rule, def->first, def->last);
	}
	free(around);
	if (err)
		return no_memory(r);
	return rule ? 0 : -ENOENT;
}

/* @return 0; -ENOENT without words; others with words. A class is an error with words (-EISDIR). */
static int add_from_source(struct resolver *r, const struct source *s, const char *name,
			   bool anywhere, const char *suffix)
{
	const char *last = strrchr(name, '.');
	enum found found;
	bool *chosen;
	int err;

	if (is_special(last ? last + 1 : name))
		return add_special(r, s, name, suffix);
	chosen = calloc(pysource__count(s->py) + 1, sizeof(*chosen));
	if (!chosen)
		return no_memory(r);
	found = choose(s, name, anywhere, chosen);
	if (found == FOUND_FUNCTION) {
		err = add_defs(r, s, chosen, suffix);
	} else if (found == FOUND_CLASS) {
		err = fail(r, -EISDIR, "'%.100s' is a class in %s", name, s->path);
		hint(r, "name one of its methods, as in '%.100s.__init__'", r->spec);
	} else {
		err = -ENOENT;
	}
	free(chosen);
	return err;
}

/* ------------------------------------------------------------------ modules */

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
	int err = name ? add_from_source(r, s, name, false, NULL) : no_memory(r);

	if (err == -ENOENT)
		err = follow_bindings(r, s, name, depth + 1);
	free(name);
	if (err == -ENOENT && last && !*rest)
		err = add_from_source(r, s, last + 1, true, NULL);
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
		return no_memory(r);
	if (b->name && !star && *rest) {
		below_it = join_names(module, b->name);
		err = below_it ? resolve_in_module(r, below_it, rest + 1, depth + 1) : no_memory(r);
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
		return no_memory(r);
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
		err = fail(r, -ENOTSUP, "module '%.100s' is a C extension (%s)", module, file);
	else
		err = fail(r, -ENOTSUP, "module '%.100s' is built into the interpreter", module);
	hint(r, "functions written in C are not traced: focus on the Python function that calls "
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
		err = fail(r, -ENOTSUP,
			   "line %d of %s replaces '%.*s' by that of the C module "
			   "'%.100s'",
			   last->line, s->path, (int)len, name, module);
		hint(r,
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
		return err == -ENOMEM ? no_memory(r)
				      : fail(r, err,
					     "the target's file system "
					     "does not answer");
	if (m.kind == PYPATH_EXTENSION || m.kind == PYPATH_BUILTIN)
		err = not_python(r, module, m.path);
	else if (m.kind == PYPATH_SOURCE)
		err = open_source(r, m.path, s);
	else
		err = -ENOENT;
	if (m.kind == PYPATH_SOURCE && err)
		err = fail(r, err, "cannot read %s: %s", m.path, strerror(-err));
	free(m.path);
	if (err)
		return err;
	s->module = strdup(module);
	s->package = m.package;
	s->stdlib = m.stdlib;
	if (!s->module) {
		close_source(s);
		return no_memory(r);
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
		err = add_from_source(r, &s, name, false, NULL);
	if (err == -ENOENT)
		err = follow_bindings(r, &s, name, depth);
	close_source(&s);
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
	err = fail(r, -ENOENT, "no function '%.100s' in %s", name, s.path);
	hint_functions(r, s.py, name);
	if (dot && s.package && !defines(s.py, name, strcspn(name, "."))) {
		fail(r, err, "no module '%.100s.%.*s'", module, (int)strcspn(name, "."), name);
		hint(r, "package '%.100s' is %s", module, s.path);
	}
	for (size_t i = 0; dot && i < pysource__count(s.py); i++) {
		const struct pysource_def *def = pysource__def(s.py, i);

		if (def->is_class && strlen(def->qualname) == (size_t)(dot - name) &&
		    !strncmp(def->qualname, name, (size_t)(dot - name)))
			hint(r, "if class '%.100s' inherits it, name the class that defines it",
			     def->qualname);
	}
	close_source(&s);
	return err;
}

static int resolve_main(struct resolver *r, const char *name)
{
	struct source s;
	int err;

	if (r->paths->main_module)
		return resolve_in_module(r, r->paths->main_module, name, 0);
	if (!r->paths->script_real)
		return fail(r, -ENOENT, "the program's script is not known");
	err = open_source(r, r->paths->script_real, &s);
	if (err)
		return fail(r, err, "cannot read %s: %s", r->paths->script_real, strerror(-err));
	err = add_from_source(r, &s, name, false, NULL);
	if (err == -ENOENT) {
		err = fail(r, err, "no function '%.100s' in %s", name, s.path);
		hint_functions(r, s.py, name);
	}
	close_source(&s);
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

/* pkg.mod.Class.method: the longest beginning that is a module. */
static int resolve_dotted(struct resolver *r, const char *spec)
{
	char *text = canonical(spec), *known = NULL, *dot;
	int err = text ? need_paths(r) : no_memory(r), words = 0;

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
			err = fail(r, words, "cannot look for modules: %s", strerror(-words));
		else if (m.kind && m.kind != PYPATH_NAMESPACE)
			err = resolve_in_module(r, text, dot + 1, 0);
		if (m.kind && m.kind != PYPATH_NAMESPACE && !known && err == -ENOENT)
			known = strdup(text);
		*dot = '.';
	}
	if (err == -ENOENT && known) {
		err = no_such_function(r, known, text + strlen(known) + 1);
	} else if (err == -ENOENT) {
		err = fail(r, err, "no module '%.*s'", (int)strcspn(text, "."), text);
		hint_dirs(r);
	}
	free(known);
	free(text);
	return err;
}

/* ------------------------------------------------------------------ files */

struct candidates {
	char *paths[MAX_CANDIDATES];
	char *real[MAX_CANDIDATES];
	int n;
};

static void free_candidates(struct candidates *c)
{
	while (c->n) {
		free(c->real[--c->n]);
		free(c->paths[c->n]);
	}
}

/* Take a path if it is a file that is not there yet. Owned from here on, may be NULL. */
static void add_candidate(struct resolver *r, struct candidates *c, char *path)
{
	char real[PATH_MAX];
	struct reader *reader = r->ctx->reader;

	if (path && c->n < MAX_CANDIDATES &&
	    reader__stat(reader, path, strlen(path)) == READER_FILE &&
	    reader__realpath(reader, path, strlen(path), real, sizeof(real)) > 0) {
		for (int i = 0; i < c->n; i++)
			if (!strcmp(c->real[i], real))
				goto out;
		c->real[c->n] = strdup(real);
		if (!c->real[c->n])
			goto out;
		c->paths[c->n++] = path;
		return;
	}
out:
	free(path);
}

static bool is_suffix(const char *path, const char *suffix)
{
	size_t n = strlen(path), m = strlen(suffix);

	return n > m && path[n - m - 1] == '/' && !strcmp(path + n - m, suffix);
}

struct walk {
	struct resolver *r;
	struct candidates *c;
	const char *suffix;
	int budget;
};

/* Look for files that end with the suffix below a directory; symlinks are not followed. */
static void walk_below(struct walk *w, const char *dir, int depth)
{
	const char *slash = strrchr(w->suffix, '/');
	size_t size;
	char *names, *path;

	if (depth > MAX_WALK_DEPTH || w->budget-- <= 0 || reader__dead(w->r->ctx->reader) ||
	    reader__list(w->r->ctx->reader, dir, strlen(dir), &names, &size))
		return;
	/* "app/main.py" is also the main.py of a working directory ".../app". */
	path = pypath__join(dir, slash ? slash + 1 : w->suffix);
	if (path && is_suffix(path, w->suffix))
		add_candidate(w->r, w->c, path);
	else
		free(path);
	for (size_t i = 0; i < size; i += strlen(names + i) + 1) {
		const char *name = names + i + 1;

		if (names[i] != 'd' || name[0] == '.' || !strcmp(name, "__pycache__"))
			continue;
		path = pypath__join(dir, name);
		if (path)
			walk_below(w, path, depth + 1);
		free(path);
	}
	free(names);
}

/* Where a typed path leads at once: the working directory, the script, entries of sys.path. */
static void find_direct(struct resolver *r, const char *typed, struct candidates *c)
{
	const struct pypath *p = r->paths;

	add_candidate(r, c, strdup(typed));
	if (typed[0] == '/')
		return;
	if (p->script_abs && is_suffix(p->script_abs, typed))
		add_candidate(r, c, strdup(p->script_abs));
	if (p->script_real && is_suffix(p->script_real, typed))
		add_candidate(r, c, strdup(p->script_real));
	for (int i = 0; i < p->n_dirs; i++)
		add_candidate(r, c, pypath__join(p->dirs[i].path, typed));
}

/* A working directory at the root would mean the whole system. */
static const char *searched_cwd(const struct pypath *p)
{
	return p->cwd && strcmp(p->cwd, "/") ? p->cwd : NULL;
}

/* Nothing there: any file that ends so, below the places where modules are. */
static void find_below(struct resolver *r, const char *typed, struct candidates *c)
{
	const struct pypath *p = r->paths;
	struct walk w = {r, c, typed, MAX_WALK_DIRS};
	const char *cwd = searched_cwd(p);

	if (cwd)
		walk_below(&w, cwd, 0);
	w.budget = MAX_WALK_DIRS;
	for (int i = 0; i < p->n_dirs; i++)
		if (strcmp(p->dirs[i].path, "/") && !below(p->dirs[i].real, cwd))
			walk_below(&w, p->dirs[i].path, 0);
}

/* @return the line number that a name is, 0 when it is none, -1 when it is too large */
static int line_number(const char *name)
{
	long line;

	if (strspn(name, "0123456789") != strlen(name))
		return 0;
	errno = 0;
	line = strtol(name, NULL, 10);
	return errno || line > INT_MAX || line < 1 ? -1 : (int)line;
}

static int add_line(struct resolver *r, const struct source *s, int line, const char *suffix)
{
	const struct pysource_def *def = pysource__at(s->py, line);
	bool *chosen;
	int err;

	if (line < 1 || line > pysource__lines(s->py))
		return fail(r, -ENOENT, "%s ends at line %d", s->path, pysource__lines(s->py));
	if (!def)
		return add_name(r, s, "<module>", suffix);
	chosen = calloc(pysource__count(s->py) + 1, sizeof(*chosen));
	if (!chosen)
		return no_memory(r);
	for (size_t i = 0; i < pysource__count(s->py); i++)
		chosen[i] = pysource__def(s->py, i) == def;
	err = add_defs(r, s, chosen, NULL);
	free(chosen);
	return err;
}

/* @return 0 when one candidate from `from` on has the name; -ENOENT without words; others with */
static int resolve_candidates(struct resolver *r, const struct candidates *c, int from,
			      const char *name, const char *suffix)
{
	int result = -ENOENT, line = line_number(name), read_error = 0;
	const char *unreadable = NULL;

	for (int i = from; i < c->n; i++) {
		struct source s;
		int err = open_source(r, c->paths[i], &s);

		if (err) {
			read_error = err;
			unreadable = c->paths[i];
			continue;
		}
		if (line)
			err = add_line(r, &s, line, NULL);
		else
			err = add_from_source(r, &s, name, !strchr(name, '.'), suffix);
		close_source(&s);
		if (!err)
			result = 0;
		else if (result && err != -ENOENT)
			result = err;
	}
	if (result == -ENOENT && unreadable)
		return fail(r, read_error, "cannot read %s: %s", unreadable, strerror(-read_error));
	return result;
}

static int no_such_file(struct resolver *r, const char *typed)
{
	const struct pypath *p = r->paths;

	fail(r, -ENOENT, "no file '%.200s'", typed);
	if (typed[0] == '/')
		return -ENOENT;
	hint(r, "looked in %s%s", searched_cwd(p) ? "and below " : "", p->cwd ? p->cwd : "/");
	for (int i = 0; i < p->n_dirs; i++)
		if ((!p->cwd || strcmp(p->dirs[i].path, p->cwd)) &&
		    !hint_more(r, ", %s", p->dirs[i].path))
			break;
	return -ENOENT;
}

static int not_in_file(struct resolver *r, const struct candidates *c, const char *name)
{
	struct source s;
	int err;

	if (r->err->text[0]) /* add_line said it */
		return -ENOENT;
	err = fail(r, -ENOENT, "no function '%.100s' in %s", name, c->paths[0]);
	if (!open_source(r, c->paths[0], &s)) {
		hint_functions(r, s.py, name);
		close_source(&s);
	}
	return err;
}

/* "./a//b.py" is a/b.py; a path with ".." is no suffix. @return malloc'ed */
static char *simplify(const char *typed)
{
	char *out = malloc(strlen(typed) + 1), *to = out;

	while (out && *typed) {
		size_t len = strcspn(typed, "/");

		if (!len && to == out)
			*to++ = '/';
		else if (len && !(len == 1 && *typed == '.')) {
			memcpy(to, typed, len);
			to += len;
			if (typed[len])
				*to++ = '/';
		}
		typed += len + (typed[len] == '/');
	}
	if (out)
		*to = '\0';
	return out;
}

static int resolve_file(struct resolver *r, const char *spec)
{
	const char *colon = strrchr(spec, ':'), *name = colon + 1;
	char *raw = strndup(spec, (size_t)(colon - spec)), *typed = raw ? simplify(raw) : NULL;
	struct candidates c = {.n = 0};
	bool is_relative;
	int err = typed ? need_paths(r) : no_memory(r), direct;

	if (!err) {
		is_relative = typed[0] != '/' && !strstr(typed, "..");
		find_direct(r, typed, &c);
		direct = c.n;
		err = resolve_candidates(r, &c, 0, name, is_relative ? typed : NULL);
		if (err == -ENOENT && is_relative && *typed) {
			find_below(r, typed, &c);
			if (c.n > direct)
				r->err->text[0] = '\0';
			if (c.n > direct || !direct)
				err = resolve_candidates(r, &c, direct, name, typed);
		}
		if (err == -ENOENT)
			err = c.n ? not_in_file(r, &c, name) : no_such_file(r, typed);
		if (err && reader__dead(r->ctx->reader))
			err = fail(r, -ETIMEDOUT, "the target's file system does not answer");
	}
	free_candidates(&c);
	free(typed);
	free(raw);
	return err;
}

/* ------------------------------------------------------------------ specs */

/* Names with dots between them; the last may be <lambda>, any but the first <locals>. */
static bool is_dotted_name(const char *text)
{
	while (*text) {
		size_t len = strcspn(text, ".");

		if (!len)
			return false;
		if (text[0] == '<') {
			if (text[len - 1] != '>' || len < 3)
				return false;
		} else {
			if (isdigit((unsigned char)text[0]))
				return false;
			for (size_t i = 0; i < len; i++)
				if (!isalnum((unsigned char)text[i]) && text[i] != '_' &&
				    (unsigned char)text[i] < 0x80)
					return false;
		}
		text += len;
		if (*text == '.' && !*++text)
			return false;
	}
	return true;
}

static int not_a_spec(struct resolver *r)
{
	int err = fail(r, -EINVAL, "neither a function nor a file and a function");

	hint(r, "write NAME, PKG.MOD.NAME, PKG.MOD.CLASS.METHOD, FILE:NAME or FILE:LINE");
	return err;
}

static int resolve_spec(struct resolver *r)
{
	const char *spec = r->spec, *colon = strrchr(spec, ':');

	if (colon) {
		if (colon == spec || !colon[1] ||
		    (line_number(colon + 1) < 0 ||
		     (!line_number(colon + 1) && !is_dotted_name(colon + 1))))
			return not_a_spec(r);
		return resolve_file(r, spec);
	}
	if (strchr(spec, '/') || (strlen(spec) > 3 && !strcmp(spec + strlen(spec) - 3, ".py"))) {
		int err = fail(r, -EINVAL, "a file without a function");

		hint(r, "write '%.100s:FUNCTION', '%.100s:LINE', or '%.100s:<module>'", spec, spec,
		     spec);
		return err;
	}
	if (!*spec || !is_dotted_name(spec))
		return not_a_spec(r);
	if (strchr(spec, '.'))
		return resolve_dotted(r, spec);
	return add_rule(r, spec) ? 0 : no_memory(r);
}

static char *trim(char *text)
{
	size_t len;

	text += strspn(text, " \t");
	len = strlen(text);
	while (len && (text[len - 1] == ' ' || text[len - 1] == '\t'))
		text[--len] = '\0';
	return text;
}

int focus__resolve(const char *specs, const struct focus_context *ctx, struct focus **out,
		   struct focus_error *err)
{
	struct resolver r = {.ctx = ctx, .err = err, .spec = specs};
	char *list = strdup(specs), *next = list, *spec;
	int result = 0, n = 0;

	*err = (struct focus_error){0};
	*out = NULL;
	r.focus = calloc(1, sizeof(*r.focus));
	if (!list || !r.focus)
		result = no_memory(&r);
	while (!result && (spec = strsep(&next, ","))) {
		r.spec = trim(spec);
		r.opened = 0;
		result = n++ < MAX_SPECS ? resolve_spec(&r) : fail(&r, -EINVAL, "too many names");
		/* What was said on the way to something that matched. */
		if (!result)
			*err = (struct focus_error){0};
	}
	if (result == -EISDIR || result == -ENOTSUP)
		result = -ENOENT;
	free(list);
	pypath__free(r.paths);
	if (result) {
		focus__free(r.focus);
		return result;
	}
	*out = r.focus;
	return 0;
}

void focus__free(struct focus *focus)
{
	if (!focus)
		return;
	for (int i = 0; i < focus->n_rules; i++) {
		struct focus_rule *rule = &focus->rules[i];

		for (int k = 0; k < rule->n_files; k++)
			free(rule->files[k].path);
		free(rule->files);
		free(rule->ranges);
		free(rule->function);
		free(rule->spec);
	}
	free(focus->rules);
	free(focus);
}

static bool match_file(const struct focus_rule *rule, const char *file)
{
	if (!rule->n_files)
		return true;
	for (int i = 0; file && i < rule->n_files; i++) {
		const struct focus_file *f = &rule->files[i];

		if (f->suffix ? is_suffix(file, f->path) : !strcmp(file, f->path))
			return true;
	}
	return false;
}

bool focus__match(const struct focus *focus, const char *function, const char *file, int line)
{
	for (int i = 0; i < focus->n_rules; i++) {
		const struct focus_rule *rule = &focus->rules[i];
		bool in_range = !rule->n_ranges;

		for (int k = 0; k < rule->n_ranges; k++)
			in_range |= rule->ranges[k].lo <= line && line <= rule->ranges[k].hi;
		if (in_range && !strcmp(rule->function, function) && match_file(rule, file))
			return true;
	}
	return false;
}
