// SPDX-License-Identifier: BSD-3-Clause
#include "symbols/frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "symbols/line_table.h"

struct frames {
	struct symbols *symbols;
	bool qualified;
	struct frames_missing missing;
	/* Room for the texts of one record as UTF-8: a byte becomes two, or two bytes three. */
	char name[2 * WIRE_LONG_TEXT], file[2 * WIRE_LONG_TEXT];
};

struct frames *frames__new(struct symbols *symbols, bool qualified)
{
	struct frames *frames = calloc(1, sizeof(*frames));

	if (!frames)
		return NULL;
	frames->symbols = symbols;
	frames->qualified = qualified;
	return frames;
}

void frames__free(struct frames *frames)
{
	free(frames);
}

/* ------------------------------------------------------------------ texts */

static uint32_t take_character(const uint8_t *at, int kind)
{
	uint16_t two;
	uint32_t four;

	if (kind == 1)
		return *at;
	if (kind == 2) {
		memcpy(&two, at, sizeof(two));
		return two;
	}
	memcpy(&four, at, sizeof(four));
	return four;
}

/* U+DC80 to U+DCFF stand for the bytes of a file's name that were no UTF-8: they are given back. */
static size_t put_character(char *out, uint32_t c)
{
	size_t n = 0;

	if (c < 0x80 || (c >= 0xdc80 && c <= 0xdcff)) {
		out[n++] = (char)c;
		return n;
	}
	if (c < 0x800) {
		out[n++] = (char)(0xc0 | c >> 6);
	} else {
		if (c >= 0x10000) {
			out[n++] = (char)(0xf0 | (c >> 18 & 7));
			out[n++] = (char)(0x80 | (c >> 12 & 63));
		} else {
			out[n++] = (char)(0xe0 | c >> 12);
		}
		out[n++] = (char)(0x80 | (c >> 6 & 63));
	}
	out[n++] = (char)(0x80 | (c & 63));
	return n;
}

/* @param room of the text in the record @param out of 2 * WIRE_LONG_TEXT bytes */
static struct symbol_string take_text(const struct wire_text *text, const uint8_t *bytes,
				      size_t room, char *out)
{
	struct symbol_string string = {.bytes = out, .cut = text->cut};
	int kind = text->kind;

	if ((kind != 1 && kind != 2 && kind != 4) || text->bytes > room)
		return string;
	for (size_t i = 0; i + kind <= text->bytes; i += kind)
		string.len += put_character(out + string.len, take_character(bytes + i, kind));
	return string;
}

/* ------------------------------------------------------------------ records */

static int define(struct frames *frames, const struct wire_frame_code *code,
		  const struct symbol_string *name, const struct symbol_string *file)
{
	struct symbol *symbol;
	int err = symbols__define(frames->symbols, code->code, name, file);

	symbol = err ? NULL : symbols__get(frames->symbols, code->code);
	if (symbol) {
		symbol->first_line = code->first_line;
		symbol->table_format = code->table_format;
	}
	return err;
}

static int learn_code(struct frames *frames, const struct wire_head *head, uint32_t size)
{
	const struct wire_frame_code_short *small = (const void *)head;
	const struct wire_frame_code_long *large = (const void *)head;
	const struct wire_frame_code *code = (const void *)head;
	bool is_long = head->type == WIRE_LONG, qualified;
	struct symbol_string name, file;

	if (size < (is_long ? sizeof(*large) : sizeof(*small)))
		return 0;
	qualified = frames->qualified && code->qualname.bytes;
	if (is_long) {
		name = take_text(qualified ? &code->qualname : &code->name,
				 qualified ? large->qualname : large->name, sizeof(large->name),
				 frames->name);
		file = take_text(&code->file, large->file, sizeof(large->file), frames->file);
	} else {
		name = take_text(qualified ? &code->qualname : &code->name,
				 qualified ? small->qualname : small->name,
				 qualified ? sizeof(small->qualname) : sizeof(small->name),
				 frames->name);
		file = take_text(&code->file, small->file, sizeof(small->file), frames->file);
	}
	return define(frames, code, &name, &file);
}

/* Pieces come in order; one that does not fit the ones before has lost them. */
static int learn_table(struct frames *frames, const struct wire_head *head, uint32_t size)
{
	const struct wire_line_table *piece = (const void *)head;
	struct line_table *lines;
	struct symbol *symbol;

	if (size < sizeof(*piece) || piece->bytes > size - sizeof(*piece) ||
	    piece->total > WIRE_MAX_LINE_TABLE)
		return 0;
	if (!piece->offset) {
		lines = calloc(1, sizeof(*lines) + piece->total);
		if (!lines)
			return -ENOMEM;
		lines->size = piece->total;
		symbols__set_lines(frames->symbols, piece->code, lines);
	}
	symbol = symbols__get(frames->symbols, piece->code);
	lines = symbol ? symbol->lines : NULL;
	if (!lines || piece->offset != lines->known || piece->bytes > lines->size - lines->known)
		return 0;
	memcpy(lines->bytes + lines->known, piece + 1, piece->bytes);
	lines->known += piece->bytes;
	return 0;
}

int frames__learn(struct frames *frames, const struct wire_head *head, uint32_t size)
{
	if (size < sizeof(*head))
		return 0;
	if (head->kind == WIRE_FRAME_CODE)
		return learn_code(frames, head, size);
	if (head->kind == WIRE_LINE_TABLE)
		return learn_table(frames, head, size);
	return 0;
}

void frames__get(struct frames *frames, const struct wire_frame *frame, struct frame *out)
{
	const struct line_table *lines;

	*out = (struct frame){.line = -1, .first_line = -1};
	out->symbol = frame->code ? symbols__get(frames->symbols, frame->code) : NULL;
	if (!out->symbol) {
		frames->missing.codes++;
		return;
	}
	out->first_line = out->symbol->first_line;
	lines = out->symbol->lines;
	if (lines && lines->known == lines->size)
		out->line = line_table__line(out->symbol->table_format, lines->bytes, lines->size,
					     out->first_line, frame->offset);
	else
		frames->missing.lines++;
}

struct frames_missing frames__missing(const struct frames *frames)
{
	return frames->missing;
}
