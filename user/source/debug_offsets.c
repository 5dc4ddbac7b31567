// SPDX-License-Identifier: BSD-3-Clause
#include "source/debug_offsets.h"

#include <errno.h>
#include <string.h>

#define MAX_OFFSET (16u << 20)

/* struct _Py_DebugOffsets of 3.15 (Include/internal/pycore_debug_offsets.h), in 8-byte words. */
enum word {
	COOKIE = 0,
	VERSION = 1,
	FREE_THREADED = 2,
	RUNTIME_INTERPRETERS_HEAD = 5,
	INTERPRETER_NEXT = 8,
	INTERPRETER_THREADS_HEAD = 9,
	THREAD_NEXT = 24,
	THREAD_CURRENT_FRAME = 26,
	THREAD_ID = 30,
	FRAME_EXECUTABLE = 41,
	FRAME_OWNER = 44,
	CODE_NAME = 49,
	CODE_FIRST_LINE = 52,
	CODE_ARGCOUNT = 53,
	N_WORDS,
};

static int take(const __u64 *words, enum word word, __u32 *out)
{
	if (words[word] > MAX_OFFSET)
		return -ENODATA;
	*out = words[word];
	return 0;
}

int debug_offsets__fill(const struct interpreter_info *info, struct wire_site *site)
{
	__u64 words[N_WORDS];

	/* Constants of the file: its own bytes are as good as the process's. */
	if (!info->runtime_addr || !info->has_bias ||
	    elf_notes__read(info->elf, info->runtime_addr, words, sizeof(words)))
		return -ENODATA;
	if (memcmp(&words[COOKIE], "xdebugpy", 8) || words[VERSION] >> 16 != 0x030f ||
	    words[FREE_THREADED])
		return -ENODATA;
	if (take(words, RUNTIME_INTERPRETERS_HEAD, &site->interpreters_head) ||
	    take(words, INTERPRETER_NEXT, &site->interpreter_next) ||
	    take(words, INTERPRETER_THREADS_HEAD, &site->interpreter_threads_head) ||
	    take(words, THREAD_NEXT, &site->thread_next) ||
	    take(words, THREAD_CURRENT_FRAME, &site->thread_frame) ||
	    take(words, THREAD_ID, &site->thread_id) ||
	    take(words, FRAME_EXECUTABLE, &site->frame_executable) ||
	    take(words, FRAME_OWNER, &site->frame_owner) ||
	    take(words, CODE_NAME, &site->code_name) ||
	    take(words, CODE_FIRST_LINE, &site->code_first_line) ||
	    take(words, CODE_ARGCOUNT, &site->code_flags) || site->code_flags < sizeof(int))
		return -ENODATA;
	site->code_flags -= sizeof(int); /* co_flags stands in front of co_argcount */
	site->runtime = info->runtime_addr + info->load_bias;
	site->flags |= WIRE_SITE_GENERATORS;
	return 0;
}
