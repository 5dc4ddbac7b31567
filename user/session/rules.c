// SPDX-License-Identifier: BSD-3-Clause
#include "session/rules.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int convert(const struct kernel *kernel, const struct focus_rule *from, struct wire_rule *to)
{
	memset(to, 0, sizeof(*to));
	if (from->n_files > WIRE_MAX_FILES || from->n_ranges > WIRE_MAX_RANGES)
		return -E2BIG;
	to->name_hash = kernel__hash(kernel, from->function, strlen(from->function));
	to->n_files = from->n_files;
	for (int i = 0; i < from->n_files; i++) {
		size_t len = strlen(from->files[i].path);

		to->files[i].hash = kernel__hash(kernel, from->files[i].path, len);
		to->files[i].len = len;
		to->files[i].is_suffix = from->files[i].suffix;
	}
	to->n_ranges = from->n_ranges;
	for (int i = 0; i < from->n_ranges; i++) {
		to->ranges[i].first = from->ranges[i].lo;
		to->ranges[i].last = from->ranges[i].hi;
	}
	return 0;
}

static int add_one(struct rules *rules, const struct kernel *kernel, const struct focus_rule *rule)
{
	struct wire_rule wire;
	int err = convert(kernel, rule, &wire);

	if (err)
		return err;
	for (int i = 0; i < rules->n; i++)
		if (!memcmp(&rules->rules[i], &wire, sizeof(wire)))
			return 0; /* the same for another process */
	if (rules->n == WIRE_MAX_RULES)
		return -E2BIG;
	rules->rules[rules->n++] = wire;
	return 0;
}

int rules__add(struct rules *rules, const struct kernel *kernel, const char *specs,
	       const struct focus_context *context, struct focus_error *error)
{
	struct focus *focus = NULL;
	int err = 0;

	if (!rules->rules)
		rules->rules = calloc(WIRE_MAX_RULES, sizeof(*rules->rules));
	if (!rules->rules)
		return -ENOMEM;
	err = focus__resolve(specs, context, &focus, error);
	for (int i = 0; !err && i < focus->n_rules; i++) {
		err = add_one(rules, kernel, &focus->rules[i]);
		if (err)
			snprintf(error->text, sizeof(error->text),
				 "cannot focus on '%s': more than %d definitions, %d files or %d "
				 "places of one",
				 specs, WIRE_MAX_RULES, WIRE_MAX_FILES, WIRE_MAX_RANGES);
	}
	focus__free(focus);
	return err;
}

void rules__free(struct rules *rules)
{
	free(rules->rules);
	rules->rules = NULL;
	rules->n = 0;
}
