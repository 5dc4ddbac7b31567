/* SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only) */
/* Records of memory: whose it is, who changes it, and how that is told. */
#ifndef PIKOS_MEMORY_RECORDS_BPF_H
#define PIKOS_MEMORY_RECORDS_BPF_H

#include "bpf/state.bpf.h"
#include "bpf/core_compat.bpf.h"
#include "bpf/rss.bpf.h"
#include "bpf/transport.bpf.h"
#include "bpf/frames.bpf.h"

const volatile bool emit_stacks = false; /* all frames, not the innermost alone */
const volatile bool emit_native = false; /* C frames */

/* ------------------------------------------------------------------ whose */

/* @return the target's state, if mm is its memory and watched */
static __always_inline struct wire_memory_state *state_if(const struct mm_struct *mm, __u32 index)
{
	struct wire_memory_state *state = bpf_map_lookup_elem(&memories, &index);
	__u64 key = (__u64)mm;

	if (!state || state->mm != key || state->torn_down == key)
		return NULL;
	return state->ready ? state : NULL;
}

/* @return the state of a watched mm */
static __always_inline struct wire_memory_state *state_of(const struct mm_struct *mm, __u32 *index)
{
	__u64 key = (__u64)mm;
	__u32 *found = bpf_map_lookup_elem(&mms, &key);

	if (!found)
		return NULL;
	*index = *found;
	return state_if(mm, *index);
}

/* ------------------------------------------------------------------ who */

/* Who does what happens to a target's memory: WIRE_STACK_OUTSIDE or 0 */
static __always_inline __u32 actor_flags(const struct mm_struct *mm,
					 const struct wire_memory_state *state, __u32 tgid)
{
	return state->tgid == tgid && current_mm() == mm ? 0 : WIRE_STACK_OUTSIDE;
}

/* @return WIRE_FINALIZING or 0 */
static __always_inline __u32 finalizing(__u32 index)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &index);

	if (!layout || !layout->runtime || !layout->runtime_finalizing)
		return 0;
	return read_word(layout->runtime + layout->runtime_finalizing) ? WIRE_FINALIZING : 0;
}

/* The frames that a record is to show, and what is to be said of them. */
static __always_inline struct thread_stack *find_stack(__u32 index, __u32 *flags)
{
	struct thread_stack *stack = NULL;

	if (*flags & WIRE_STACK_OUTSIDE)
		return NULL;
	if (!walk_frames(index, emit_stacks ? WIRE_MAX_FRAMES : 1))
		stack = walked_stack();
	if (!stack) {
		*flags |= WIRE_STACK_UNREADABLE;
		return NULL;
	}
	*flags |= stack->flags;
	if (!emit_stacks)
		*flags &= ~WIRE_STACK_CUT; /* one was wanted */
	return stack;
}

/* ------------------------------------------------------------------ C frames */

/*
 * As far as frame pointers lead. Interrupts aside nobody else is here: a slot that is taken belongs
 * to who was preempted.
 */
struct native_frames {
	__u32 n;
	__u32 busy;
	__u64 addresses[WIRE_MAX_NATIVE];
};

static __always_inline void find_native(void *ctx, struct native_frames *native)
{
	long bytes =
		bpf_get_stack(ctx, native->addresses, sizeof(native->addresses), BPF_F_USER_STACK);

	native->n = bytes > 0 ? bytes / sizeof(__u64) : 0;
}

/* ------------------------------------------------------------------ records */

struct short_record {
	struct wire_memory memory;
	struct wire_frame frame;
};

struct long_record {
	struct wire_memory memory;
	struct wire_frame frames[WIRE_MAX_FRAMES];
};

struct native_record {
	struct wire_memory memory;
	__u64 words[WIRE_MAX_FRAMES + WIRE_MAX_NATIVE]; /* frames, then addresses */
};

/* @param from head.time 0: now */
static __always_inline void fill_memory(struct wire_memory *memory, const struct wire_memory *from)
{
	__builtin_memcpy(memory, from, sizeof(*memory));
	memory->head.kind = WIRE_MEMORY;
	if (!from->head.time)
		memory->head.time = bpf_ktime_get_ns();
	if (!from->first_time)
		memory->first_time = memory->head.time;
}

static __always_inline bool send_short(void *ring, const struct wire_memory *from,
				       const struct wire_frame *frames)
{
	struct short_record *record = bpf_ringbuf_reserve(ring, sizeof(*record), 0);

	if (!record)
		return false;
	fill_memory(&record->memory, from);
	record->memory.n_frames = frames && from->n_frames;
	if (frames)
		record->frame = frames[0];
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return true;
}

static __always_inline bool send_long(void *ring, const struct wire_memory *from,
				      const struct wire_frame *frames)
{
	struct long_record *record = bpf_ringbuf_reserve(ring, sizeof(*record), 0);

	if (!record)
		return false;
	fill_memory(&record->memory, from);
	__builtin_memcpy(record->frames, frames, sizeof(record->frames));
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return true;
}

static __always_inline bool send_native(void *ring, const struct wire_memory *from,
					const struct wire_frame *frames, const __u64 *native)
{
	struct native_record *record = bpf_ringbuf_reserve(ring, sizeof(*record), 0);
	__u32 n_frames = frames ? from->n_frames : 0, n_native = from->n_native;

	if (!record)
		return false;
	fill_memory(&record->memory, from);
	record->memory.n_frames = record->memory.n_native = 0;
	if (n_frames <= WIRE_MAX_FRAMES && n_native <= WIRE_MAX_NATIVE) {
		bpf_probe_read_kernel(record->words, n_frames * 8, frames);
		bpf_probe_read_kernel(record->words + n_frames, n_native * 8, native);
		record->memory.n_frames = n_frames;
		record->memory.n_native = n_native;
	}
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return true;
}

/* @param frames room for WIRE_MAX_FRAMES; NULL: none @param native with emit_native */
static __noinline int emit(const struct wire_memory *from, const struct wire_frame *frames,
			   const __u64 *native)
{
	struct wire_target *target;
	bool sent = false;
	__u32 index;
	void *ring;

	if (!from)
		return 0;
	index = from->head.target;
	target = bpf_map_lookup_elem(&targets, &index);
	if (!target)
		return 0;
	__sync_fetch_and_add(&target->seen, 1);
	ring = this_ring();
	if (ring && !(target->any_unreported && report_lost(index))) {
		if (emit_native && native)
			sent = send_native(ring, from, frames, native);
		else if (emit_stacks && frames && from->n_frames > 1)
			sent = send_long(ring, from, frames);
		else
			sent = send_short(ring, from, frames);
	}
	if (!sent)
		count_lost(target, WIRE_BUFFER_FULL);
	else if (bpf_get_current_pid_tgid() >> 32 == target->tgid)
		watch_fill(ring, target, sizeof(struct native_record));
	return 0;
}

#endif /* PIKOS_MEMORY_RECORDS_BPF_H */
