// SPDX-License-Identifier: BSD-3-Clause
/* libFuzzer target: any bytes are source. What the scanner says must be consistent. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "focus/pysource.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pysource *s = pysource__scan((const char *)data, size);

	if (!s)
		return 0;
	for (size_t i = 0; i < pysource__count(s); i++) {
		const struct pysource_def *def = pysource__def(s, i);
		const struct pysource_def *parent;

		if (def->first < 1 || def->first > def->line || def->line > def->last ||
		    def->last > pysource__lines(s) || !pysource__is(def, def->qualname) ||
		    !strlen(def->name) || def->parent >= (int)i || def->parent < -1)
			abort();
		if (!pysource__at(s, def->line))
			abort();
		if (def->parent < 0)
			continue;
		parent = pysource__def(s, (size_t)def->parent);
		if (parent->line > def->first || parent->last < def->last)
			abort();
	}
	for (size_t i = 0; i < pysource__bindings(s); i++) {
		const struct pysource_binding *b = pysource__binding(s, i);

		if (!b->as || (!b->module && !b->name))
			abort();
	}
	pysource__free(s);
	return 0;
}
