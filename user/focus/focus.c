// SPDX-License-Identifier: BSD-3-Clause
#include "focus/focus_internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SPECS 1000

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
	int err = focus_fail(r, -EINVAL, "neither a function nor a file and a function");

	focus_hint(r, "write NAME, PKG.MOD.NAME, PKG.MOD.CLASS.METHOD, FILE:NAME or FILE:LINE");
	return err;
}

static int resolve_spec(struct resolver *r)
{
	const char *spec = r->spec, *colon = strrchr(spec, ':');

	if (colon) {
		if (colon == spec || !colon[1] ||
		    (focus_line_number(colon + 1) < 0 ||
		     (!focus_line_number(colon + 1) && !is_dotted_name(colon + 1))))
			return not_a_spec(r);
		return focus_resolve_file(r, spec);
	}
	if (strchr(spec, '/') || (strlen(spec) > 3 && !strcmp(spec + strlen(spec) - 3, ".py"))) {
		int err = focus_fail(r, -EINVAL, "a file without a function");

		focus_hint(r, "write '%.100s:FUNCTION', '%.100s:LINE', or '%.100s:<module>'", spec,
			   spec, spec);
		return err;
	}
	if (!*spec || !is_dotted_name(spec))
		return not_a_spec(r);
	if (strchr(spec, '.'))
		return focus_resolve_dotted(r, spec);
	return focus_add_rule(r, spec) ? 0 : focus_no_memory(r);
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
		result = focus_no_memory(&r);
	while (!result && (spec = strsep(&next, ","))) {
		r.spec = trim(spec);
		r.opened = 0;
		result = n++ < MAX_SPECS ? resolve_spec(&r)
					 : focus_fail(&r, -EINVAL, "too many names");
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
