// SPDX-License-Identifier: BSD-3-Clause
#include "source/frame_layout.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "source/frame_offsets.h"

#define MAX_OFFSET (16u << 20)
#define MAX_WORDS  64

#define ARRAY_SIZE(array) (sizeof(array) / sizeof(*(array)))

/* struct _Py_DebugOffsets (Include/internal/pycore_debug_offsets.h), in 8-byte words. */
enum word {
	COOKIE = 0,
	VERSION = 1,
	FREE_THREADED = 2,
};

/* Where each version has them; what a version adds moves the ones behind. */
struct words {
	int minor;
	__u8 interpreters_head, interpreter_next, interpreter_threads_head;
	__u8 thread_next, thread_frame, thread_id;
	__u8 frame_size, frame_previous, frame_code, frame_instruction, frame_locals, frame_owner;
	__u8 code_size, code_file, code_name, code_qualname, code_table, code_first_line;
	__u8 code_argcount, code_locals, code_instructions;
};

static const struct words versions[] = {
	{13, 5, 8, 9, 21, 23, 24, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 43},
	{14, 5, 8, 9, 24, 26, 27, 31, 32, 33, 34, 35, 36, 39, 40, 41, 42, 43, 44, 45, 46, 48},
	{15, 5, 8, 9, 24, 26, 30, 39, 40, 41, 42, 43, 44, 47, 48, 49, 50, 51, 52, 53, 54, 56},
};

static const char *fill_from_table(const struct interpreter_info *info, struct wire_layout *layout)
{
	for (size_t i = 0; i < ARRAY_SIZE(frame_offsets); i++) {
		if (frame_offsets[i].minor != info->minor)
			continue;
		*layout = frame_offsets[i].layout;
		return NULL;
	}
	return "has no table of frame offsets";
}

/* Fields that debuggers were not told of, by their neighbours; the same from 3.13 to 3.15. */
static void fill_neighbours(const struct words *at, const __u64 *words, struct wire_layout *layout)
{
	/* int co_flags, co_argcount; */
	layout->code_flags = words[at->code_argcount] - sizeof(int);
	/* uint32_t co_version; PyObject *co_localsplusnames; */
	layout->code_version = words[at->code_locals] - sizeof(__u32);
	/* int _co_firsttraceable; void *co_extra; char co_code_adaptive[1]; */
	layout->code_first_traceable = words[at->code_instructions] - 2 * sizeof(__u64);
}

static bool is_sane(const struct words *at, const __u64 *words)
{
	const __u8 *word = &at->interpreters_head;

	if (words[at->interpreters_head - 1] > MAX_OFFSET) /* of the same struct's finalizing */
		return false;
	for (; word <= &at->code_instructions; word++)
		if (words[*word] > MAX_OFFSET)
			return false;
	/* Both structs end in an array of one: words that have moved do not fit together. */
	return words[at->frame_locals] + 8 == words[at->frame_size] &&
	       words[at->code_instructions] + 8 == words[at->code_size] &&
	       words[at->code_argcount] >= sizeof(int) && words[at->code_locals] >= sizeof(__u32);
}

static void take_words(const struct words *at, const __u64 *words, struct wire_layout *layout)
{
	*layout = (struct wire_layout){
		.flags = WIRE_LAYOUT_OWNER | WIRE_LAYOUT_QUALNAME | WIRE_LAYOUT_VERSION,
		.table_format = WIRE_LOCATIONS,
		.runtime_finalizing = words[at->interpreters_head - 1],
		.interpreters_head = words[at->interpreters_head],
		.interpreter_next = words[at->interpreter_next],
		.interpreter_threads_head = words[at->interpreter_threads_head],
		.thread_next = words[at->thread_next],
		.thread_frame = words[at->thread_frame],
		.thread_id = words[at->thread_id],
		.frame_previous = words[at->frame_previous],
		.frame_code = words[at->frame_code],
		.frame_instruction = words[at->frame_instruction],
		.frame_owner = words[at->frame_owner],
		.code_file = words[at->code_file],
		.code_name = words[at->code_name],
		.code_qualname = words[at->code_qualname],
		.code_table = words[at->code_table],
		.code_first_line = words[at->code_first_line],
		.code_instructions = words[at->code_instructions],
		.ascii_size = 40,
		.compact_size = 56,
	};
}

static const char *fill_from_debug_offsets(const struct interpreter_info *info,
					   struct wire_layout *layout)
{
	const struct words *at = NULL;
	__u64 words[MAX_WORDS];

	for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
		if (versions[i].minor == info->minor)
			at = &versions[i];
	if (!at)
		return "has no table of frame offsets";
	/* Constants of the file: its own bytes are as good as the process's. */
	if (elf_notes__read(info->elf, info->runtime_addr, words, sizeof(words)) ||
	    memcmp(&words[COOKIE], "xdebugpy", 8) ||
	    words[VERSION] >> 16 != (3u << 8 | (unsigned int)info->minor) || !is_sane(at, words))
		return "has _Py_DebugOffsets that cannot be read";
	if (words[FREE_THREADED])
		return "is free-threaded";
	take_words(at, words, layout);
	fill_neighbours(at, words, layout);
	return NULL;
}

static const char *fill(const struct interpreter_info *info, struct wire_layout *layout)
{
	if (info->kind != INTERPRETER_CPYTHON || info->major != 3)
		return "is no CPython of a known version";
	if (!info->has_bias || !info->runtime_addr)
		return "has neither a symbol _PyRuntime nor its section";
	if (info->free_threaded)
		return "is free-threaded";
	return info->minor < 13 ? fill_from_table(info, layout)
				: fill_from_debug_offsets(info, layout);
}

/* How far from its begin a struct must be read for all these fields. */
static __u32 span(const __u32 *fields, size_t n)
{
	__u32 end = 0;

	for (size_t i = 0; i < n; i++)
		if (fields[i] > end)
			end = fields[i];
	return (end & ~7u) + 8;
}

static bool set_spans(struct wire_layout *layout)
{
	const __u32 frame[] = {layout->frame_previous, layout->frame_code,
			       layout->frame_instruction, layout->frame_owner};
	const __u32 code[] = {layout->code_first_line, layout->code_file,
			      layout->code_name,       layout->code_qualname,
			      layout->code_table,      layout->code_first_traceable,
			      layout->code_version};

	layout->frame_bytes = span(frame, ARRAY_SIZE(frame));
	layout->code_bytes = span(code, ARRAY_SIZE(code));
	return layout->frame_bytes <= WIRE_LAYOUT_FRAME_BYTES &&
	       layout->code_bytes <= WIRE_LAYOUT_CODE_BYTES;
}

int frame_layout__of(const struct interpreter_info *info, struct wire_layout *layout,
		     struct interpreter_reason *why)
{
	const char *problem = fill(info, layout);

	if (!problem && !set_spans(layout))
		problem = "has _Py_DebugOffsets that cannot be right";
	if (!problem) {
		layout->runtime = info->runtime_addr + info->load_bias;
		if (info->code_type_addr)
			layout->code_type = info->code_type_addr + info->load_bias;
		return 0;
	}
	memset(layout, 0, sizeof(*layout));
	if (why) {
		*why = (struct interpreter_reason){.problem = INTERPRETER_UNKNOWN_VERSION};
		snprintf(why->text, sizeof(why->text), "CPython %d.%d %s", info->major, info->minor,
			 problem);
		snprintf(why->next_step, sizeof(why->next_step),
			 "its frames are not walked: functions and lines are <unknown>");
	}
	return -ENODATA;
}
