/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * frames.h - what the frames that the kernel walked stand for: function, file and line.
 *
 * The kernel sends a code object's names and its table of lines once, and of each frame only the
 * code's id and the offset of the instruction; lines are found here. Everything comes from the
 * target: a table that makes no sense gives line -1, never a wrong read.
 *
 * The ids are those of struct symbols, and what is learned is kept in there: symbols__rotate
 * forgets it.
 */
#ifndef PIKOS_SYMBOLS_FRAMES_H
#define PIKOS_SYMBOLS_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/wire.h"
#include "symbols/symbols.h"

struct frames;

/* A frame in words. */
struct frame {
	struct symbol *symbol; /* NULL: not known. Owned by the symbols, until symbols__rotate */
	int32_t line;	       /* -1: not known */
	int32_t first_line;    /* of the function's definition; -1: not known */
};

/*
 * @param symbols where names are put; must outlive it
 * @param qualified co_qualname for co_name, where the interpreter has it: 3.11 on
 * @return NULL: no memory
 */
struct frames *frames__new(struct symbols *symbols, bool qualified);
void frames__free(struct frames *frames);

/*
 * @brief Take what is a WIRE_FRAME_CODE or WIRE_LINE_TABLE. Of a record that contradicts itself
 * nothing is taken.
 * @param size of the record, as the buffer has it
 * @return 0; -ENOMEM
 */
int frames__learn(struct frames *frames, const struct wire_head *head, uint32_t size);

/* @brief What a frame stands for. Never fails: out->symbol is NULL then. */
void frames__get(struct frames *frames, const struct wire_frame *frame, struct frame *out);

/* What could not be told, of all frames that frames__get was asked for. */
struct frames_missing {
	uint64_t codes; /* frames whose code is not known */
	uint64_t lines; /* others whose table of lines is too long, or could not be read */
};

struct frames_missing frames__missing(const struct frames *frames);

#endif /* PIKOS_SYMBOLS_FRAMES_H */
