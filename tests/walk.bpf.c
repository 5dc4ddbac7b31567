// SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only)
/* Walks the frames of the thread that runs it: test_walk.c. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "bpf/frames.bpf.h"
#include "tests/walk.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct walked);
} walks SEC(".maps");

SEC("raw_tp/sys_enter")
int walk_here(void *ctx)
{
	__u32 target = 0;
	struct walked *walk = bpf_map_lookup_elem(&walks, &target);
	__u32 tid = bpf_get_current_pid_tgid();
	struct thread_stack *stack;
	struct thread_state *known;
	struct top_frame top;

	if (!walk || walk_frames(target, walk->max))
		return 1;
	stack = walked_stack();
	if (!stack)
		return 1;
	walk->flags = stack->flags;
	walk->n_frames = stack->n_frames;
	bpf_probe_read_kernel(walk->frames, sizeof(walk->frames), stack->frames);
	known = bpf_map_lookup_elem(&thread_states, &tid);
	top_frame(target, known && known->interpreter ? known->state : 0, &top);
	walk->top_frame = top.frame;
	walk->top_code = top.code;
	walk->top_instruction = top.instruction;
	return 0;
}
