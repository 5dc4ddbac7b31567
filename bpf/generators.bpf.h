/* SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only) */
/*
 * CPython 3.15 fires function__entry when a call makes a generator or coroutine, and no
 * function__return follows. The frame tells: while a generator is made its frame belongs to the
 * thread, when it is resumed to the generator.
 *
 * From the thread to the frame: _PyRuntime lists the interpreters, each lists its
 * PyThreadStates, the one whose thread_id is this thread's pthread_self is ours; offsets come from
 * _Py_DebugOffsets. Everything is bounded and may be garbage.
 */
#ifndef PIKOS_GENERATORS_BPF_H
#define PIKOS_GENERATORS_BPF_H

#include "bpf/state.bpf.h"
#include "bpf/core_compat.bpf.h"

#define CO_ANY_GENERATOR      (0x20 | 0x80 | 0x200) /* generator, coroutine, async generator */
#define FRAME_OWNED_BY_THREAD 0
#define STACKREF_TAG_BITS     7ULL
#define MAX_THREAD_STATES     512 /* looked at, over all interpreters */
#define ASCII_DATA_OFFSET     40  /* of the characters in a compact ASCII str, 3.12 on */

static __always_inline __u64 read_word(__u64 address)
{
	__u64 value = 0;

	bpf_probe_read_user(&value, sizeof(value), (const void *)address);
	return value;
}

__weak __u64 find_thread_state(__u32 index, __u64 self)
{
	struct wire_site *site = bpf_map_lookup_elem(&sites, &index);
	__u64 interpreter, state;

	if (!site)
		return 0;
	interpreter = read_word(site->runtime + site->interpreters_head);
	state = read_word(interpreter + site->interpreter_threads_head);
	for (int i = 0; i < MAX_THREAD_STATES && interpreter; i++) {
		if (!state) {
			interpreter = read_word(interpreter + site->interpreter_next);
			state = read_word(interpreter + site->interpreter_threads_head);
			continue;
		}
		if (read_word(state + site->thread_id) == self)
			return state;
		state = read_word(state + site->thread_next);
	}
	return 0;
}

/* The frame on top of a thread state and its code; false if they are not what the probe tells. */
static __always_inline bool top_frame(const struct wire_site *site, __u64 state, const char *name,
				      __u64 *frame, __u64 *code)
{
	*frame = read_word(state + site->thread_frame);
	*code = read_word(*frame + site->frame_executable) & ~STACKREF_TAG_BITS;
	return read_word(*code + site->code_name) + ASCII_DATA_OFFSET == (__u64)name;
}

/*
 * @param line of the event; -1 says that the frame has not reached its first line: it stands at its
 * definition then
 * @return the frame that is entered or left, if it is a generator's; else 0
 */
static __noinline __u64 generator_frame(const struct wire_site *site, __u32 index, const char *name,
					__s32 *line)
{
	__u32 tid = bpf_get_current_pid_tgid(), flags = 0;
	__u64 self = current_thread_pointer();
	__u64 frame, code, state, *cached;

	if (!site || !line)
		return 0;
	cached = bpf_map_lookup_elem(&thread_states, &tid);
	state = cached ? *cached : 0;
	if (!state || !top_frame(site, state, name, &frame, &code)) {
		state = find_thread_state(index, self);
		if (!state)
			return 0;
		bpf_map_update_elem(&thread_states, &tid, &state, BPF_ANY);
		top_frame(site, state, name, &frame, &code);
	}
	bpf_probe_read_user(&flags, sizeof(flags), (const void *)(code + site->code_flags));
	if (*line == -1)
		bpf_probe_read_user(line, sizeof(*line),
				    (const void *)(code + site->code_first_line));
	return flags & CO_ANY_GENERATOR ? frame : 0;
}

/* Whether the entry of a generator's frame is its making, hence no call. */
static __always_inline bool is_generator_creation(const struct wire_site *site, __u64 frame)
{
	__u8 owner = 0;

	bpf_probe_read_user(&owner, sizeof(owner), (const void *)(frame + site->frame_owner));
	return owner == FRAME_OWNED_BY_THREAD;
}

#endif /* PIKOS_GENERATORS_BPF_H */
