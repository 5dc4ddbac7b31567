// SPDX-License-Identifier: BSD-3-Clause
/*
 * libFuzzer target: what the kernel sends of a target's code objects, names and tables of lines,
 * whatever the target has written there. Whatever was learned, every instruction has a line or -1.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "symbols/frames.h"
#include "symbols/line_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A record of the buffer's sizes, with the input's bytes in front and mended where the kernel
 * itself writes. */
static size_t make_record(struct wire_head *head, const uint8_t *data, size_t size)
{
	static const size_t sizes[][2] = {
		{sizeof(struct wire_frame_code_short), sizeof(struct wire_frame_code_long)},
		{sizeof(struct wire_line_table) + WIRE_SHORT_TABLE,
		 sizeof(struct wire_line_table) + WIRE_LONG_TABLE},
	};

	memset(head, 0, sizeof(struct wire_frame_code_long));
	memcpy(head, data, size);
	head->kind = head->kind & 1 ? WIRE_FRAME_CODE : WIRE_LINE_TABLE;
	head->type &= 1;
	((struct wire_frame_code *)head)->code &= 255; /* ids are the kernel's own, and grow */
	return sizes[head->kind == WIRE_LINE_TABLE][head->type];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static _Alignas(8) uint8_t record[sizeof(struct wire_frame_code_long)];
	struct symbols *symbols = symbols__new();
	struct frames *frames = symbols ? frames__new(symbols, size & 1) : NULL;
	struct wire_head *head = (void *)record;

	for (uint32_t format = 0; size > 8 && format <= WIRE_LOCATIONS; format++)
		for (uint32_t offset = 0; offset < 64; offset += 2)
			if (line_table__line(format, data, size, data[0], offset) < -1)
				abort();
	while (frames && size > 4) {
		size_t piece = data[0] | data[1] << 8;
		struct wire_frame frame = {.code = data[2], .offset = data[3]};
		struct frame found;

		data += 4;
		size -= 4;
		if (piece > size)
			piece = size;
		if (piece > sizeof(record))
			piece = sizeof(record);
		if (frames__learn(frames, head, (uint32_t)make_record(head, data, piece)))
			abort();
		frames__get(frames, &frame, &found);
		if (found.line < -1 || (!found.symbol && found.line != -1))
			abort();
		data += piece;
		size -= piece;
	}
	frames__free(frames);
	symbols__free(symbols);
	return 0;
}
