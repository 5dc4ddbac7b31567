// SPDX-License-Identifier: BSD-3-Clause
/* libFuzzer target: a source file of any bytes and any encoding becomes valid UTF-8. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/text.h"
#include "symbols/lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *out, *again;
	size_t n;

	if (lines__decode((const char *)data, size, &out, &n))
		return 0;
	again = malloc(n * TEXT_GROWTH + 1);
	if (!again || text__sanitize(again, out, n) != n || memcmp(out, again, n))
		abort();
	free(again);
	free(out);
	return 0;
}
