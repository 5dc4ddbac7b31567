/* SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only) */
/*
 * CPython 3.15 fires function__entry when a call makes a generator or coroutine, and no
 * function__return follows. The frame tells: while a generator is made its frame belongs to the
 * thread, when it is resumed to the generator.
 *
 * The frame is the one on top of the thread's state (thread_state.bpf.h). All of it may be garbage.
 */
#ifndef PIKOS_GENERATORS_BPF_H
#define PIKOS_GENERATORS_BPF_H

#include "bpf/thread_state.bpf.h"

#define CO_ANY_GENERATOR (0x20 | 0x80 | 0x200) /* generator, coroutine, async generator */

/* @return whether the frame is the one that the probe tells of */
static __always_inline bool named_frame(const struct wire_layout *layout, __u64 frame,
					const char *name, __u64 *code)
{
	*code = read_word(frame + layout->frame_code) & ~STACKREF_TAG_BITS;
	return read_word(*code + layout->code_name) + layout->ascii_size == (__u64)name;
}

/*
 * @param line of the event; -1 says that the frame has not reached its first line: it stands at its
 * definition then
 * @return the frame that is entered or left, if it is a generator's; else 0
 */
static __noinline __u64 generator_frame(__u32 target, const char *name, __s32 *line)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &target);
	__u64 frame, code, state;

	if (!layout || !line)
		return 0;
	frame = thread_frame(layout, target);
	if (!named_frame(layout, frame, name, &code)) {
		state = look_up_thread_state(layout, target, current_thread_pointer());
		if (!state)
			return 0;
		frame = state_frame(layout, state);
		named_frame(layout, frame, name, &code);
	}
	if (*line == -1)
		bpf_probe_read_user(line, sizeof(*line),
				    (const void *)(code + layout->code_first_line));
	return read_u32(code + layout->code_flags) & CO_ANY_GENERATOR ? frame : 0;
}

/* Whether the entry of a generator's frame is its making, hence no call. */
static __always_inline bool is_generator_creation(__u32 target, __u64 frame)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &target);
	__u8 owner = 0;

	if (layout)
		bpf_probe_read_user(&owner, sizeof(owner),
				    (const void *)(frame + layout->frame_owner));
	return owner == FRAME_OWNED_BY_THREAD;
}

#endif /* PIKOS_GENERATORS_BPF_H */
