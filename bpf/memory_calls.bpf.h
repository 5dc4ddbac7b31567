/* SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only) */
/*
 * System calls that map and unmap.
 *
 * An fexit program on each of the five sees arguments and result at once, and nobody else pays.
 * Where there is none (before 5.12 its detaching can crash a caller that sleeps; some hosts forbid
 * it) the tracepoint sys_exit does, whose registers still hold the arguments: but then the kernel
 * takes every system call of every process through its slow path, 60 - 70 ns each, getppid() 1.4
 * times as long.
 */
#ifndef PIKOS_MEMORY_CALLS_BPF_H
#define PIKOS_MEMORY_CALLS_BPF_H

#include "bpf/memory_runs.bpf.h"

#define MAX_ERROR 4095 /* results of system calls from -MAX_ERROR on are errors */

/* madvise: what takes pages away. */
#define MADV_DONTNEED	     4
#define MADV_FREE	     8
#define MADV_REMOVE	     9
#define MADV_PAGEOUT	     21
#define MADV_DONTNEED_LOCKED 24

const volatile bool emit_begins = false; /* of calls that unmap */

static __always_inline bool takes_pages(__u32 advice)
{
	return advice == MADV_DONTNEED || advice == MADV_FREE || advice == MADV_REMOVE ||
	       advice == MADV_PAGEOUT || advice == MADV_DONTNEED_LOCKED;
}

struct call {
	long number, result;
	__u32 index, flags; /* of the target; WIRE_STACK_* */
};

/* Whether it changes anything: brk says where the end is, also when it fails or is only asked. */
static __always_inline bool is_change(const struct call *call, struct pt_regs *regs,
				      const struct wire_memory_state *state)
{
	if (call->number == SYSCALL_BRK)
		return call->result != state->brk;
	return call->number != SYSCALL_MADVISE || takes_pages(syscall_third(regs));
}

static __always_inline void fill_call(struct wire_memory *memory, const struct call *call,
				      struct pt_regs *regs, struct wire_memory_state *state)
{
	memory->address = syscall_first(regs);
	memory->size = syscall_second(regs);
	switch (call->number) {
	case SYSCALL_MMAP:
		memory->head.type = WIRE_MMAP;
		memory->address = call->result;
		memory->prot = syscall_third(regs);
		memory->map_flags = syscall_fourth(regs);
		break;
	case SYSCALL_MUNMAP:
		memory->head.type = WIRE_MUNMAP;
		break;
	case SYSCALL_MREMAP:
		memory->head.type = WIRE_MREMAP;
		memory->old_address = syscall_first(regs);
		memory->old_size = syscall_second(regs);
		memory->address = call->result;
		memory->size = syscall_third(regs);
		memory->map_flags = syscall_fourth(regs);
		break;
	case SYSCALL_BRK:
		memory->head.type = WIRE_BRK;
		memory->old_address = state->brk;
		memory->address = state->brk = call->result;
		memory->size = 0;
		break;
	case SYSCALL_MADVISE:
		memory->head.type = WIRE_MADVISE;
		memory->prot = syscall_third(regs);
		break;
	}
}

/* Of system calls. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct native_frames);
} call_natives SEC(".maps");

static __always_inline int emit_with_native(void *ctx, struct wire_memory *memory,
					    struct thread_stack *stack)
{
	__u32 zero = 0;
	struct native_frames *native = bpf_map_lookup_elem(&call_natives, &zero);

	if (!native || native->busy) {
		emit(memory, stack ? stack->frames : NULL, NULL);
		return 0;
	}
	*(volatile __u32 *)&native->busy = 1;
	barrier();
	native->n = 0;
	if (!(memory->flags & WIRE_STACK_OUTSIDE))
		find_native(ctx, native);
	memory->n_native = native->n;
	emit(memory, stack ? stack->frames : NULL, native->addresses);
	barrier();
	*(volatile __u32 *)&native->busy = 0;
	return 0;
}

/*
 * A program on a system call can be preempted, and until it goes on the kernel does not run it for
 * other threads on that CPU: it would be within itself. So where that is usual, since 6.13, each is
 * there twice: the second one does what the first could not, which it knows by who is under way.
 * It must run after the first; the one that was attached last is run first. What neither has done
 * is counted as lost.
 */
enum watched_call {
	BEGINS_MUNMAP,
	BEGINS_MREMAP,
	ENDS_MMAP,
	ENDS_MUNMAP,
	ENDS_MREMAP,
	ENDS_BRK,
	ENDS_MADVISE,
	N_WATCHED_CALLS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, N_WATCHED_CALLS);
	__type(key, __u32);
	__type(value, __u32);
} under_way SEC(".maps");

/* How often the second program has run in the first one's place: those were not lost. */
__u64 calls_made_up;

static __always_inline void set_under_way(__u32 call, __u32 value)
{
	__u32 *is_under_way = bpf_map_lookup_elem(&under_way, &call);

	barrier();
	if (is_under_way)
		*(volatile __u32 *)is_under_way = value;
	barrier();
}

static __always_inline bool is_missed(__u32 call)
{
	const __u32 *is_under_way = bpf_map_lookup_elem(&under_way, &call);

	if (!is_under_way || !*is_under_way)
		return false;
	if (call >= ENDS_MMAP)
		__sync_fetch_and_add(&calls_made_up, 1);
	return true;
}

#define WATCH_TWICE(section, prefix, name, call, ...)                             \
	SEC(section SYSCALL_PREFIX #name)                                         \
	int BPF_PROG(prefix##_##name, struct pt_regs *regs, long result)          \
	{                                                                         \
		set_under_way(call, 1);                                           \
		__VA_ARGS__;                                                      \
		set_under_way(call, 0);                                           \
		return 0;                                                         \
	}                                                                         \
	SEC(section SYSCALL_PREFIX #name)                                         \
	int BPF_PROG(prefix##_##name##_missed, struct pt_regs *regs, long result) \
	{                                                                         \
		if (is_missed(call))                                              \
			__VA_ARGS__;                                              \
		return 0;                                                         \
	}

/* When calls that unmap began, by tid: others may have mapped the same range before they return. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} call_begins SEC(".maps");

static __always_inline int begin_call(void)
{
	struct mm_struct *mm = current_mm();
	__u32 tid = bpf_get_current_pid_tgid(), index;
	__u64 now = bpf_ktime_get_ns();

	if (mm && state_of(mm, &index))
		bpf_map_update_elem(&call_begins, &tid, &now, BPF_ANY);
	return 0;
}

/* @return 0: not known */
static __always_inline __u64 call_begin(__u32 tid)
{
	__u64 *begin, time = 0;

	if (!emit_begins)
		return 0;
	begin = bpf_map_lookup_elem(&call_begins, &tid);
	if (begin) {
		time = *begin;
		bpf_map_delete_elem(&call_begins, &tid);
	}
	return time;
}

/* A function of its own: with the walk's the stack would be too small. */
static __noinline int tell_call(void *ctx, struct pt_regs *regs, struct wire_memory_state *state,
				const struct call *call, struct thread_stack *stack)
{
	struct mm_struct *mm = current_mm();
	struct wire_memory memory = {};

	if (!ctx || !regs || !state || !call || !mm)
		return 0;
	fill_call(&memory, call, regs, state);
	memory.head.target = call->index;
	memory.head.tid = bpf_get_current_pid_tgid();
	memory.flags = call->flags;
	memory.first_time = call_begin(memory.head.tid);
	memory.rss = rss_of(state);
	memory.vms = BPF_CORE_READ(mm, total_vm);
	for (__u32 slot = 0; slot < N_RUNS; slot++)
		end_run(slot, memory.head.tid);
	memory.n_frames = stack ? stack->n_frames : 0;
	if (emit_native)
		return emit_with_native(ctx, &memory, stack);
	return emit(&memory, stack ? stack->frames : NULL, NULL);
}

static __always_inline int on_call(void *ctx, struct pt_regs *regs, long number, long result)
{
	struct call call = {.number = number, .result = result};
	struct mm_struct *mm = current_mm();
	struct wire_memory_state *state;
	struct thread_stack *stack;

	if (!mm || (__u64)result >= (__u64)-MAX_ERROR)
		return 0;
	state = state_of(mm, &call.index);
	if (!state || !is_change(&call, regs, state))
		return 0;
	call.flags = actor_flags(mm, state, bpf_get_current_pid_tgid() >> 32);
	stack = find_stack(call.index, &call.flags);
	call.flags |= finalizing(call.index);
	return tell_call(ctx, regs, state, &call, stack);
}

#endif /* PIKOS_MEMORY_CALLS_BPF_H */
