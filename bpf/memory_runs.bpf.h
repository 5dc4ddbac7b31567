/* SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only) */
/*
 * Runs of page faults.
 *
 * A record per fault would cost more than the fault. Faults of one thread at one place of its
 * Python are one run, and a run is one record. It waits in a slot of its CPU until another thread
 * or place has a fault there, the thread makes one of the system calls, or the next tick
 * (on_tick). A thread that has moved to another CPU meanwhile may have a younger record before:
 * the transport sorts by time and waits for a tick (TRANSPORT_RUN_LAG_NS).
 */
#ifndef PIKOS_MEMORY_RUNS_BPF_H
#define PIKOS_MEMORY_RUNS_BPF_H

#include "bpf/memory_records.bpf.h"

#define PAGE_BYTES	4096 /* where on_fault exists */
#define MAX_FAULT_ORDER 9    /* a huge page is that many times doubled */

#define MAX_GAP	  (2ULL << 20) /* bytes between pages of one run: filter_jumps */
#define MAX_JUMPS 64	       /* a tick */

const volatile bool filter_jumps = false; /* runs of faults end where the next one is far away */

struct place {
	struct top_frame top;
	__u64 callers;			  /* hash; with emit_stacks */
	__u64 instruction, stack_pointer; /* of C; with emit_native */
	__u32 target;			  /* index */
	__u32 tid;
	__u32 outside; /* WIRE_STACK_OUTSIDE: another process, or the kernel */
	__u32 unused;
};

struct change {
	__u64 first_time; /* valid if n_faults */
	__s64 pages;
	__u64 low, high; /* addresses that faulted, whole pages; low 0: not known */
	__u32 n_faults;
	bool unplaced; /* of one of the faults it is not known where */
};

/* The thread that was looked up last, as long as thread_state_changes stays as it is. */
struct known_thread {
	__u64 state; /* address; of an only interpreter */
	__u64 changes;
	__u32 tid; /* 0: none */
	__u32 unused;
};

struct run {
	__u32 busy;	 /* by whom it is being written to: the tid and OWNED; 0: nobody */
	__u32 flags;	 /* WIRE_STACK_* */
	__u64 last_time; /* 0: there is none */
	__u64 vms;
	struct change changes[WIRE_N_COUNTERS];
	__u64 rss;
	struct place place, now; /* of the run; of the change that is looked at */
	struct known_thread thread;
	__u32 n_frames;
	__u32 n_jumps; /* since the last tick */
	struct wire_frame frames[WIRE_MAX_FRAMES];
	struct native_frames native;
};

/*
 * A CPU's runs: the second is used while the first is owned by a thread that was preempted in a
 * system call's program. Changes that find both owned would be credited to whose comes next.
 */
#define N_RUNS 2
#define OWNED  0x80000000

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, N_RUNS);
	__type(key, __u32);
	__type(value, struct run);
} runs SEC(".maps");

/*
 * Threads' last faults, by tid modulo N_FAULTS; a cache line each. Not by CPU: between a fault and
 * its page a thread may be preempted, and others, of whatever process, have theirs.
 */
#define N_FAULTS 256

struct fault {
	__u64 address;
	__u32 tid; /* 0: it was placed */
	__u32 in_kernel;
	__u64 unused[6];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, N_FAULTS);
	__type(key, __u32);
	__type(value, struct fault);
} faults SEC(".maps");

static __always_inline struct fault *fault_of(__u32 tid)
{
	__u32 key = tid % N_FAULTS;

	return bpf_map_lookup_elem(&faults, &key);
}

static const __u8 change_types[WIRE_N_COUNTERS] = {
	[MM_FILEPAGES] = WIRE_FILE,
	[MM_ANONPAGES] = WIRE_ANON,
	[MM_SWAPENTS] = WIRE_SWAP,
	[MM_SHMEMPAGES] = WIRE_SHMEM,
};

static __always_inline struct run *run_in(__u32 slot)
{
	return bpf_map_lookup_elem(&runs, &slot);
}

static __always_inline __u32 current_tid(void)
{
	return bpf_get_current_pid_tgid();
}

/* Tell what has gathered; the caller owns the slot. */
static __noinline int flush(struct run *run)
{
	struct wire_memory memory = {};

	if (!run || !run->last_time)
		return 0;
	memory.head.target = run->place.target;
	memory.head.tid = run->place.tid;
	memory.head.time = run->last_time;
	memory.flags = run->flags;
	memory.rss = run->rss;
	memory.vms = run->vms;
	memory.n_frames = run->n_frames;
	memory.n_native = run->native.n;
	for (int i = 0; i < WIRE_N_COUNTERS; i++) {
		if (run->changes[i].pages) {
			memory.head.type = change_types[i];
			memory.first_time = run->changes[i].first_time;
			memory.change = run->changes[i].pages;
			memory.n_faults = run->changes[i].n_faults;
			memory.address = run->changes[i].unplaced ? 0 : run->changes[i].low;
			memory.size = run->changes[i].unplaced
					      ? 0
					      : run->changes[i].high - run->changes[i].low;
			emit(&memory, run->frames, run->native.addresses);
		}
		__builtin_memset(&run->changes[i], 0, sizeof(run->changes[i]));
	}
	run->last_time = 0;
	return 0;
}

static __always_inline bool own(struct run *run, __u32 tid)
{
	if (run->busy)
		return false;
	*(volatile __u32 *)&run->busy = tid | OWNED;
	barrier();
	return true;
}

static __always_inline void disown(struct run *run)
{
	barrier();
	*(volatile __u32 *)&run->busy = 0;
}

/* @return the run for what happens now, owned; NULL: none is free */
static __always_inline struct run *own_run(__u32 tid)
{
	struct run *run = run_in(0);

	if (run && run->busy)
		run = run_in(1);
	return run && own(run, tid) ? run : NULL;
}

/* Tell a run of this CPU, if it is that thread's. @param tid 0: anyone's */
static __always_inline void end_run(__u32 slot, __u32 tid)
{
	struct run *run = run_in(slot);

	if (!run || !run->last_time || (tid && run->place.tid != tid) || !own(run, current_tid()))
		return;
	flush(run);
	if (!tid)
		run->n_jumps = 0;
	disown(run);
}

/* One frame of hash_callers. A function of its own, or 5.10 would look at each anew. */
__weak int hash_frame(__u32 index)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &index);
	struct thread_stack *stack = walked_stack();
	__u32 bytes;

	if (!layout || !stack || !stack->next)
		return WALK_ENDED;
	bytes = layout->frame_bytes;
	if (bytes > sizeof(stack->frame) ||
	    bpf_probe_read_user(stack->frame, bytes, (const void *)stack->next))
		return WALK_ENDED;
	stack->hash = wire_hash_word(stack->hash, stack->next);
	stack->hash = wire_hash_word(stack->hash, FRAME_WORD(stack, layout->frame_code));
	stack->hash = wire_hash_word(stack->hash, FRAME_WORD(stack, layout->frame_instruction));
	stack->next = FRAME_WORD(stack, layout->frame_previous);
	return WALK_ON;
}

/*
 * The frames from the top one on. They wait where they are while it lives, but another call can
 * have its place in memory, of the same function at the same instruction: so all are looked at.
 */
static __always_inline __u64 hash_callers(__u32 index, __u64 frame)
{
	struct thread_stack *stack = walked_stack();

	if (!stack)
		return 0;
	stack->next = frame;
	stack->hash = hash_seed;
	for (int i = 0; i < WIRE_MAX_FRAMES; i++)
		if (hash_frame(index) == WALK_ENDED)
			break;
	return stack->hash;
}

/*
 * A thread that no state is known of: one that the interpreter makes for it stands in front of all
 * others.
 */
static __always_inline void find_newest_state(__u32 index, struct place *place)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &index);

	if (!layout || !layout->runtime)
		return;
	place->top.code = read_word(layout->runtime + layout->interpreters_head);
	place->top.instruction = read_word(place->top.code + layout->interpreter_threads_head);
}

/* With several interpreters only a walk tells. */
static __always_inline void find_place_by_walk(struct place *place)
{
	__u32 flags = 0;
	struct thread_stack *stack = find_stack(place->target, &flags);

	if (!stack)
		return;
	place->top.code = stack->frames[0].code;
	place->top.instruction = (__u64)stack->frames[0].offset << 32 | stack->n_frames;
}

/* @return what top_frame wants */
static __always_inline __u64 known_state(struct known_thread *thread, __u32 tid)
{
	__u64 changes = *(volatile __u64 *)&thread_state_changes;
	struct thread_state *known;

	if (thread->tid == tid && thread->changes == changes)
		return thread->state;
	known = bpf_map_lookup_elem(&thread_states, &tid);
	if (!known || !known->interpreter)
		return 0;
	thread->tid = tid;
	thread->changes = changes;
	thread->state = known->state;
	return thread->state;
}

/* Who is where: as long as it is the same, so is the stack. @param outside as place.outside */
static __always_inline void find_place(struct run *run, __u32 index, __u32 tid, __u32 outside)
{
	struct place *place = &run->now;
	struct thread_state *known;

	__builtin_memset(place, 0, sizeof(*place));
	place->target = index;
	place->tid = tid;
	place->outside = outside;
	if (outside)
		return;
	if (emit_native)
		current_user_place(&place->instruction, &place->stack_pointer);
	top_frame(index, known_state(&run->thread, tid), &place->top);
	if (place->top.frame) {
		if (emit_stacks)
			place->callers = hash_callers(index, place->top.frame);
		return;
	}
	known = bpf_map_lookup_elem(&thread_states, &tid);
	if (!known)
		find_newest_state(index, place);
	else if (!known->interpreter)
		find_place_by_walk(place);
}

static __always_inline bool has_moved(const struct run *run)
{
	const struct place *old = &run->place, *now = &run->now;

	return old->tid != now->tid || old->target != now->target || old->outside != now->outside ||
	       old->top.frame != now->top.frame || old->top.code != now->top.code ||
	       old->top.instruction != now->top.instruction || old->callers != now->callers ||
	       old->instruction != now->instruction || old->stack_pointer != now->stack_pointer;
}

static __always_inline void begin_run(void *ctx, struct run *run)
{
	__u32 flags = run->now.outside;
	struct thread_stack *stack = find_stack(run->now.target, &flags);

	run->place = run->now;
	run->flags = flags | finalizing(run->now.target);
	run->n_frames = run->native.n = 0;
	if (emit_native && !(flags & WIRE_STACK_OUTSIDE))
		find_native(ctx, &run->native);
	if (!stack)
		return;
	run->n_frames = stack->n_frames;
	if (emit_stacks)
		__builtin_memcpy(run->frames, stack->frames, sizeof(run->frames));
	else
		run->frames[0] = stack->frames[0];
}

/* Coming and going do not cancel each other out. */
static __always_inline bool turns(const struct change *change, __s64 pages)
{
	return (change->pages > 0 && pages < 0) || (change->pages < 0 && pages > 0);
}

/*
 * Where the pages lie: the address of the thread's fault was noted. What a system call does with
 * pages is no fault, one that it meets is. With more than one page a part of the surroundings came,
 * aligned.
 */
static __always_inline void note_address(struct change *change, __u32 tid, __s64 pages)
{
	struct fault *fault = fault_of(tid);
	__u64 bytes = PAGE_BYTES, low;

	if (!pages)
		return; /* taken in with another change, or put back */
	if (pages < 0 || !fault || fault->tid != tid || fault->in_kernel == is_user_fault()) {
		change->unplaced = true;
		return;
	}
	low = fault->address;
	fault->tid = 0;
	for (int i = 0; i < MAX_FAULT_ORDER && bytes < pages * PAGE_BYTES; i++)
		bytes *= 2;
	low &= -bytes;
	if (!change->low || low < change->low)
		change->low = low;
	if (low + bytes > change->high)
		change->high = low + bytes;
}

/*
 * A run is to be of pages that lie together: its range is all that is told of them. How often that
 * ends one is limited, or a program that touches pages at random would have a record for each.
 */
static __always_inline bool jumps(struct run *run, const struct change *change, __s64 pages)
{
	__u32 tid = run->now.tid;
	const struct fault *fault;

	if (!filter_jumps || pages <= 0 || !change->low)
		return false;
	fault = fault_of(tid);
	if (!fault || fault->tid != tid ||
	    (fault->address + MAX_GAP >= change->low && fault->address <= change->high + MAX_GAP))
		return false;
	return run->n_jumps++ < MAX_JUMPS;
}

/* A function of its own: with the walk's the stack would be too small. */
static __noinline int count_change(struct run *run, const struct wire_memory_state *state,
				   __u32 member, __s64 pages)
{
	__u64 now = bpf_ktime_get_ns();
	struct change *change;

	if (!run || !state)
		return 0;
	change = &run->changes[member & (WIRE_N_COUNTERS - 1)];
	if (!change->n_faults)
		change->first_time = now;
	change->n_faults++;
	change->pages += pages;
	note_address(change, run->now.tid, pages);
	run->last_time = now;
	run->rss = rss_of(state);
	return 0;
}

static __always_inline void add_to_run(void *ctx, struct run *run,
				       const struct wire_memory_state *state, __u32 member,
				       __s64 pages)
{
	const struct change *change = &run->changes[member];

	if (run->last_time && (has_moved(run) || turns(change, pages) || jumps(run, change, pages)))
		flush(run);
	if (!run->last_time)
		begin_run(ctx, run);
	count_change(run, state, member, pages);
}

/* x86 only; elsewhere runs have no addresses. */
static __always_inline int note_fault(__u32 tid, __u64 address, bool in_kernel)
{
	struct fault *fault = fault_of(tid);

	if (!fault)
		return 0;
	fault->address = address;
	fault->in_kernel = in_kernel;
	fault->tid = tid;
	return 0;
}

static __always_inline int end_runs(void)
{
	for (__u32 slot = 0; slot < N_RUNS; slot++)
		end_run(slot, 0);
	return 0;
}

#endif /* PIKOS_MEMORY_RUNS_BPF_H */
