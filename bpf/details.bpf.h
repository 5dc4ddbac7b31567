/* SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only) */
/*
 * Events of the monitor `allocations` without an agent: each with the innermost two frames, so that
 * it names the function and who called it.
 */
#ifndef PIKOS_DETAILS_BPF_H
#define PIKOS_DETAILS_BPF_H

#include "bpf/frames.bpf.h"
#include "bpf/transport.bpf.h"

#define DETAIL_FRAMES 2

struct detailed_record {
	struct wire_allocation allocation;
	struct wire_frame frames[DETAIL_FRAMES];
};

/* @return how many calls the current thread is in, that of the event included */
static __always_inline __s32 count_depth(__u32 type)
{
	__u32 tid = bpf_get_current_pid_tgid();
	__s32 *known = bpf_map_lookup_elem(&call_depths, &tid);
	__s32 depth = type == WIRE_CALL;

	if (!known) {
		if (depth)
			bpf_map_update_elem(&call_depths, &tid, &depth, BPF_ANY);
		return depth;
	}
	depth += *known;
	*known = depth - (type == WIRE_RETURN);
	return depth;
}

static __always_inline void fill_frames(struct detailed_record *record)
{
	struct thread_stack *stack = walked_stack();

	__builtin_memset(record->frames, 0, sizeof(record->frames));
	record->allocation.n_frames = 0;
	record->allocation.flags = WIRE_STACK_UNREADABLE;
	if (!stack)
		return;
	record->allocation.flags = stack->flags;
	record->allocation.n_frames =
		stack->n_frames < DETAIL_FRAMES ? stack->n_frames : DETAIL_FRAMES;
	record->frames[0] = stack->frames[0];
	record->frames[1] = stack->frames[1];
}

/*
 * An event of the current thread; it has been seen (wire_target.seen). Nothing is put together on
 * the stack, of which the walk takes nearly all.
 * @param what index of the target, and the type above 16 bits
 * @param code,line what it is if the frames cannot tell; 0: nothing
 */
__weak int emit_detailed(__u32 what, __u64 address, __u64 size, __u32 code, __s32 line)
{
	__u32 index = what & 0xffff;
	struct detailed_record *record = NULL;
	struct wire_target *target;
	void *ring;

	walk_frames(index, DETAIL_FRAMES);
	target = bpf_map_lookup_elem(&targets, &index);
	if (!target)
		return 0;
	ring = this_ring();
	if (ring && !(target->any_unreported && report_lost(index)))
		record = bpf_ringbuf_reserve(ring, sizeof(*record), 0);
	if (!record) {
		count_depth(what >> 16);
		count_lost(target, WIRE_BUFFER_FULL);
		return 0;
	}
	record->allocation.address = address;
	record->allocation.size = size;
	record->allocation.code = code;
	record->allocation.line = line;
	record->allocation.depth = count_depth(what >> 16);
	fill_frames(record);
	fill_head(&record->allocation.head, WIRE_ALLOCATION, what >> 16, index);
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	watch_fill(ring, target, sizeof(*record) + 8);
	return 0;
}

#endif /* PIKOS_DETAILS_BPF_H */
