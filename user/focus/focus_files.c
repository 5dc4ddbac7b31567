// SPDX-License-Identifier: BSD-3-Clause
#include "focus/focus_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WALK_DIRS  3000 /* directories that a search below looks into */
#define MAX_WALK_DEPTH 8
#define MAX_CANDIDATES 64 /* files that one spec may mean */

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
	if (path && focus_is_suffix(path, w->suffix))
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
	if (p->script_abs && focus_is_suffix(p->script_abs, typed))
		add_candidate(r, c, strdup(p->script_abs));
	if (p->script_real && focus_is_suffix(p->script_real, typed))
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
		if (strcmp(p->dirs[i].path, "/") && !focus_below(p->dirs[i].real, cwd))
			walk_below(&w, p->dirs[i].path, 0);
}

int focus_line_number(const char *name)
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
		return focus_fail(r, -ENOENT, "%s ends at line %d", s->path,
				  pysource__lines(s->py));
	if (!def)
		return focus_add_name(r, s, "<module>", suffix);
	chosen = calloc(pysource__count(s->py) + 1, sizeof(*chosen));
	if (!chosen)
		return focus_no_memory(r);
	for (size_t i = 0; i < pysource__count(s->py); i++)
		chosen[i] = pysource__def(s->py, i) == def;
	err = focus_add_defs(r, s, chosen, NULL);
	free(chosen);
	return err;
}

/* @return 0 when one candidate from `from` on has the name; -ENOENT without words; others with */
static int resolve_candidates(struct resolver *r, const struct candidates *c, int from,
			      const char *name, const char *suffix)
{
	int result = -ENOENT, line = focus_line_number(name), read_error = 0;
	const char *unreadable = NULL;

	for (int i = from; i < c->n; i++) {
		struct source s;
		int err = focus_open_source(r, c->paths[i], &s);

		if (err) {
			read_error = err;
			unreadable = c->paths[i];
			continue;
		}
		if (line)
			err = add_line(r, &s, line, NULL);
		else
			err = focus_add_from_source(r, &s, name, !strchr(name, '.'), suffix);
		focus_close_source(&s);
		if (!err)
			result = 0;
		else if (result && err != -ENOENT)
			result = err;
	}
	if (result == -ENOENT && unreadable)
		return focus_fail(r, read_error, "cannot read %s: %s", unreadable,
				  strerror(-read_error));
	return result;
}

static int no_such_file(struct resolver *r, const char *typed)
{
	const struct pypath *p = r->paths;

	focus_fail(r, -ENOENT, "no file '%.200s'", typed);
	if (typed[0] == '/')
		return -ENOENT;
	focus_hint(r, "looked in %s%s", searched_cwd(p) ? "and below " : "", p->cwd ? p->cwd : "/");
	for (int i = 0; i < p->n_dirs; i++)
		if ((!p->cwd || strcmp(p->dirs[i].path, p->cwd)) &&
		    !focus_hint_more(r, ", %s", p->dirs[i].path))
			break;
	return -ENOENT;
}

static int not_in_file(struct resolver *r, const struct candidates *c, const char *name)
{
	struct source s;
	int err;

	if (r->err->text[0]) /* add_line said it */
		return -ENOENT;
	err = focus_fail(r, -ENOENT, "no function '%.100s' in %s", name, c->paths[0]);
	if (!focus_open_source(r, c->paths[0], &s)) {
		focus_hint_functions(r, s.py, name);
		focus_close_source(&s);
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

int focus_resolve_file(struct resolver *r, const char *spec)
{
	const char *colon = strrchr(spec, ':'), *name = colon + 1;
	char *raw = strndup(spec, (size_t)(colon - spec)), *typed = raw ? simplify(raw) : NULL;
	struct candidates c = {.n = 0};
	bool is_relative;
	int err = typed ? focus_need_paths(r) : focus_no_memory(r), direct;

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
			err = focus_fail(r, -ETIMEDOUT, "the target's file system does not answer");
	}
	free_candidates(&c);
	free(typed);
	free(raw);
	return err;
}
