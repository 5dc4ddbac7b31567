// SPDX-License-Identifier: BSD-3-Clause
/* Any bytes become valid UTF-8, once and for all, and escaped text holds no control character. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pikos_text *text = text__new((const char *)data, size);
	size_t n, width, i;
	char *out;

	check(text != NULL);
	out = malloc(TEXT_GROWTH * (size_t)text->len + 1);
	check(out != NULL);

	n = text__sanitize(out, text->data, text->len);
	check(n == text->len && !memcmp(out, text->data, n));

	n = text__escape(out, text->data, text->len, &width);
	check(n <= TEXT_GROWTH * (size_t)text->len);
	check(width == text__width(out, n));
	for (i = 0; i < n; i++)
		check((unsigned char)out[i] >= 0x20 && out[i] != 0x7f);
	if (text->flags & PIKOS_TEXT_PLAIN)
		check(n == text->len && !memcmp(out, text->data, n));
	if (text->flags & PIKOS_TEXT_ASCII)
		check(text__width(text->data, text->len) == text->len);
	free(out);
	free(text);
	return 0;
}
