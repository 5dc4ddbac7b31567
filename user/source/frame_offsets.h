/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * frame_offsets.h - where CPythons without _Py_DebugOffsets keep their frames, a row per version.
 * Written by scripts/frame-offsets from CPython's headers.
 */
#ifndef PIKOS_SOURCE_FRAME_OFFSETS_H
#define PIKOS_SOURCE_FRAME_OFFSETS_H

#include "bpf/wire.h"

/* clang-format off */
static const struct {
	int minor;
	struct wire_layout layout;
} frame_offsets[] = {
	{9, {
		.flags = WIRE_LAYOUT_LASTI,
		.table_format = WIRE_LNOTAB,
		.runtime_finalizing = 16,
		.interpreters_head = 32,
		.interpreter_next = 0,
		.thread_next = 8,
		.thread_id = 176,
		.code_flags = 36,
		.code_first_line = 40,
		.code_file = 104,
		.code_name = 112,
		.interpreter_threads_head = 8,
		.thread_frame = 24,
		.frame_previous = 24,
		.frame_code = 32,
		.frame_instruction = 104,
		.code_table = 120,
		.ascii_size = 48,
		.compact_size = 72,
	}},
	{10, {
		.flags = WIRE_LAYOUT_LASTI | WIRE_LAYOUT_CODE_UNIT,
		.table_format = WIRE_LINETABLE,
		.runtime_finalizing = 16,
		.interpreters_head = 32,
		.interpreter_next = 0,
		.thread_next = 8,
		.thread_id = 176,
		.code_flags = 36,
		.code_first_line = 40,
		.code_file = 104,
		.code_name = 112,
		.interpreter_threads_head = 8,
		.thread_frame = 24,
		.frame_previous = 24,
		.frame_code = 32,
		.frame_instruction = 96,
		.code_table = 120,
		.ascii_size = 48,
		.compact_size = 72,
	}},
	{11, {
		.flags = WIRE_LAYOUT_CFRAME | WIRE_LAYOUT_OWNER | WIRE_LAYOUT_QUALNAME,
		.table_format = WIRE_LOCATIONS,
		.runtime_finalizing = 24,
		.interpreters_head = 40,
		.interpreter_next = 0,
		.thread_next = 8,
		.thread_id = 152,
		.code_flags = 48,
		.code_first_line = 72,
		.code_file = 112,
		.code_name = 120,
		.interpreter_threads_head = 16,
		.thread_frame = 56,
		.cframe_frame = 8,
		.frame_previous = 48,
		.frame_code = 32,
		.frame_instruction = 56,
		.frame_owner = 69,
		.code_qualname = 128,
		.code_first_traceable = 168,
		.code_instructions = 184,
		.code_table = 136,
		.ascii_size = 48,
		.compact_size = 72,
	}},
	{12, {
		.flags = WIRE_LAYOUT_CFRAME | WIRE_LAYOUT_OWNER | WIRE_LAYOUT_QUALNAME | WIRE_LAYOUT_VERSION,
		.table_format = WIRE_LOCATIONS,
		.runtime_finalizing = 24,
		.interpreters_head = 40,
		.interpreter_next = 0,
		.thread_next = 8,
		.thread_id = 136,
		.code_flags = 48,
		.code_first_line = 68,
		.code_file = 112,
		.code_name = 120,
		.interpreter_threads_head = 72,
		.thread_frame = 56,
		.cframe_frame = 0,
		.frame_previous = 8,
		.frame_code = 0,
		.frame_instruction = 56,
		.frame_owner = 70,
		.code_qualname = 128,
		.code_first_traceable = 176,
		.code_instructions = 192,
		.code_version = 92,
		.code_table = 136,
		.ascii_size = 40,
		.compact_size = 56,
	}},
};
/* clang-format on */

#endif /* PIKOS_SOURCE_FRAME_OFFSETS_H */
