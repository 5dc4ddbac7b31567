// SPDX-License-Identifier: BSD-3-Clause
#include "focus/focus_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ names of files */

const char *focus_below(const char *path, const char *dir)
{
	size_t len = dir ? strlen(dir) : 0;

	if (!len || strncmp(path, dir, len))
		return NULL;
	if (dir[len - 1] == '/')
		return path + len;
	return path[len] == '/' ? path + len + 1 : NULL;
}

bool focus_is_suffix(const char *path, const char *suffix)
{
	size_t n = strlen(path), m = strlen(suffix);

	return n > m && path[n - m - 1] == '/' && !strcmp(path + n - m, suffix);
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
	const char *rest = focus_below(s->real, p->cwd);
	int err = add_form(rule, false, "%s", s->path);

	if (!err)
		err = add_form(rule, false, "%s", s->real);
	if (!err && rest)
		err = add_form(rule, false, "%s", rest);
	if (!err && rest)
		err = add_form(rule, false, "./%s", rest);
	/* Every entry of sys.path that leads there, through symlinks too. */
	for (int i = 0; !err && i < p->n_dirs; i++) {
		rest = focus_below(s->real, p->dirs[i].real);
		if (!rest)
			rest = focus_below(s->path, p->dirs[i].path);
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

/* ------------------------------------------------------------------ rules */

struct focus_rule *focus_add_rule(struct resolver *r, const char *function)
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
int focus_add_defs(struct resolver *r, const struct source *s, const bool *chosen,
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
	rule = focus_add_rule(r, name);
	err = rule ? add_forms(r, rule, s) : -ENOMEM;
	for (size_t i = 0; i < pysource__count(s->py) && others && !err; i++)
		if (chosen[i])
			err = add_ranges(rule, s->py, i);
	if (!err && !others && suffix)
		err = add_form(rule, true, "%s", suffix);
	return err ? focus_no_memory(r) : 0;
}

int focus_add_name(struct resolver *r, const struct source *s, const char *name, const char *suffix)
{
	struct focus_rule *rule = focus_add_rule(r, name);
	int err = rule ? add_forms(r, rule, s) : -ENOMEM;

	if (!err && suffix)
		err = add_form(rule, true, "%s", suffix);
	return err ? focus_no_memory(r) : 0;
}

/* "Class.<lambda>": lambdas in the lines of Class. */
int focus_add_special(struct resolver *r, const struct source *s, const char *name,
		      const char *suffix)
{
	const char *last = strrchr(name, '.');
	struct focus_rule *rule = NULL;
	char *around;
	int err = 0;

	if (!last)
		return focus_add_name(r, s, name, suffix);
	around = strndup(name, (size_t)(last - name));
	if (!around)
		return focus_no_memory(r);
	for (size_t i = 0; i < pysource__count(s->py) && !err; i++) {
		const struct pysource_def *def = pysource__def(s->py, i);

		if (!pysource__is(def, around))
			continue;
		if (!rule) {
			rule = focus_add_rule(r, last + 1);
			err = rule ? add_forms(r, rule, s) : -ENOMEM;
		}
		if (!err)
			err = add_range(rule, def->first, def->last);
	}
	free(around);
	if (err)
		return focus_no_memory(r);
	return rule ? 0 : -ENOENT;
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

		if (f->suffix ? focus_is_suffix(file, f->path) : !strcmp(file, f->path))
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
