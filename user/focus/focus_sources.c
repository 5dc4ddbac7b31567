// SPDX-License-Identifier: BSD-3-Clause
#include "focus/focus_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "symbols/lines.h"

#define MAX_SOURCE (16u << 20) /* bytes of a file that is looked into */

void focus_close_source(struct source *s)
{
	free(s->path);
	free(s->real);
	free(s->module);
	pysource__free(s->py);
	*s = (struct source){0};
}

/* @return 0 or -errno, without words */
int focus_open_source(struct resolver *r, const char *path, struct source *s)
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
		focus_close_source(s);
	return err;
}

int focus_need_paths(struct resolver *r)
{
	if (r->paths)
		return 0;
	r->paths = pypath__new(r->ctx);
	if (!r->paths)
		return focus_no_memory(r);
	if (reader__dead(r->ctx->reader))
		return focus_fail(r, -ETIMEDOUT, "the target's file system does not answer");
	return 0;
}

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

int focus_add_from_source(struct resolver *r, const struct source *s, const char *name,
			  bool anywhere, const char *suffix)
{
	const char *last = strrchr(name, '.');
	enum found found;
	bool *chosen;
	int err;

	if (is_special(last ? last + 1 : name))
		return focus_add_special(r, s, name, suffix);
	chosen = calloc(pysource__count(s->py) + 1, sizeof(*chosen));
	if (!chosen)
		return focus_no_memory(r);
	found = choose(s, name, anywhere, chosen);
	if (found == FOUND_FUNCTION) {
		err = focus_add_defs(r, s, chosen, suffix);
	} else if (found == FOUND_CLASS) {
		err = focus_fail(r, -EISDIR, "'%.100s' is a class in %s", name, s->path);
		focus_hint(r, "name one of its methods, as in '%.100s.__init__'", r->spec);
	} else {
		err = -ENOENT;
	}
	free(chosen);
	return err;
}
