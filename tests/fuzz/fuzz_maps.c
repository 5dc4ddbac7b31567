// SPDX-License-Identifier: BSD-3-Clause
/*
 * libFuzzer target: a line of /proc/PID/maps with a path that the target chose. What comes out lies
 * in the line.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "process/maps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *line = malloc(size + 1);
	struct mapping map;

	if (!line)
		return 0;
	memcpy(line, data, size);
	line[size] = '\0';
	if (maps__parse(line, &map)) {
		if (!memchr(map.perms, '\0', sizeof(map.perms)))
			abort();
		if (*map.path && (map.path < line || map.path > line + size))
			abort();
		if (strchr(map.path, '\n'))
			abort();
	}
	free(line);
	return 0;
}
