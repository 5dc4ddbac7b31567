// SPDX-License-Identifier: BSD-3-Clause
#include "focus/focus_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void clean(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

int __attribute__((format(printf, 3, 4)))
focus_fail(struct resolver *r, int code, const char *format, ...)
{
	int n = snprintf(r->err->text, sizeof(r->err->text), "cannot focus on '%.200s': ", r->spec);
	va_list args;

	va_start(args, format);
	vsnprintf(r->err->text + n, sizeof(r->err->text) - (size_t)n, format, args);
	va_end(args);
	clean(r->err->text);
	return code;
}

void __attribute__((format(printf, 2, 3))) focus_hint(struct resolver *r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(r->err->hint, sizeof(r->err->hint), format, args);
	va_end(args);
	clean(r->err->hint);
}

bool __attribute__((format(printf, 2, 3)))
focus_hint_more(struct resolver *r, const char *format, ...)
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

int focus_no_memory(struct resolver *r)
{
	return focus_fail(r, -ENOMEM, "out of memory");
}

void focus_hint_dirs(struct resolver *r)
{
	const struct pypath *p = r->paths;

	focus_hint(r, "looked in ");
	for (int i = 0; i < p->n_dirs; i++)
		if (!focus_hint_more(r, "%s%s", i ? ", " : "", p->dirs[i].path))
			return;
	if (!p->n_dirs)
		focus_hint(
			r,
			"no directory of modules is known: name the file, as in path/to/file.py:f");
}

void focus_hint_functions(struct resolver *r, const struct pysource *py, const char *name)
{
	const char *dot = strrchr(name, '.'), *last = dot ? dot + 1 : name;
	int n = 0;

	for (size_t i = 0; i < pysource__count(py); i++) {
		const struct pysource_def *def = pysource__def(py, i);

		if (def->is_class || strcmp(def->name, last))
			continue;
		if (!n)
			focus_hint(r, "did you mean ");
		if (!focus_hint_more(r, "%s%s", n++ ? " or " : "", def->qualname))
			return;
	}
	if (n)
		return;
	for (size_t i = 0; i < pysource__count(py); i++) {
		const struct pysource_def *def = pysource__def(py, i);

		if (def->is_class)
			continue;
		if (!n)
			focus_hint(r, "it has ");
		if (!focus_hint_more(r, "%s%s", n++ ? ", " : "", def->qualname))
			return;
	}
	if (!n)
		focus_hint(r, "it defines no functions");
}
