// SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only)
/*
 * Memory of the traced processes: system calls that map and unmap, and what becomes resident.
 *
 * System calls. An fexit program on each of the five sees arguments and result at once, and nobody
 * else pays. Where there is none (before 5.12 its detaching can crash a caller that sleeps; some
 * hosts forbid it) the tracepoint sys_exit does, whose registers still hold the arguments: but then
 * the kernel takes every system call of every process through its slow path, 60 - 70 ns each,
 * getppid() 1.4 times as long.
 *
 * Residency. tp_btf/rss_stat fires after each change of a counter; an empty program on it costs a
 * program that only touches fresh pages 2 %. Page-fault tracepoints cost the same, know neither how
 * much came nor what went, and exist on x86 only: there they add where it came.
 *
 * A record per fault would cost more than the fault. Faults of one thread at one place of its
 * Python are one run, and a run is one record. It waits in a slot of its CPU until another thread
 * or place has a fault there, the thread makes one of the system calls, or the next tick
 * (on_tick). A thread that has moved to another CPU meanwhile may have a younger record before:
 * the transport sorts by time and waits for a tick (TRANSPORT_RUN_LAG_NS).
 *
 * Everything goes by the mm: a process may share its memory with a child of vfork(), and its pages
 * are reclaimed by others. What another mm does is never credited to the current thread.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "bpf/state.bpf.h"
#include "bpf/core_compat.bpf.h"
#include "bpf/rss.bpf.h"
#include "bpf/transport.bpf.h"
#include "bpf/frames.bpf.h"

#define PAGE_BYTES	4096 /* where on_fault exists */
#define MAX_FAULT_ORDER 9    /* a huge page is that many times doubled */

#define MAX_GAP	  (2ULL << 20) /* bytes between pages of one run: filter_jumps */
#define MAX_JUMPS 64	       /* a tick */
#define MAX_ERROR 4095	       /* results of system calls from -MAX_ERROR on are errors */

/* madvise: what takes pages away. */
#define MADV_DONTNEED	     4
#define MADV_FREE	     8
#define MADV_REMOVE	     9
#define MADV_PAGEOUT	     21
#define MADV_DONTNEED_LOCKED 24

const volatile bool emit_stacks = false; /* all frames, not the innermost alone */
const volatile bool emit_native = false; /* C frames */

const volatile bool filter_jumps = false; /* runs of faults end where the next one is far away */
const volatile bool emit_begins = false;  /* of calls that unmap */

/* A process to be watched from now on: adopt_memory. */
__u32 adopted_tgid;

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

/* Of system calls. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct native_frames);
} call_natives SEC(".maps");

/* ------------------------------------------------------------------ runs of faults */

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

/* The same: whose memory has changed here before is asked first. */
static __always_inline struct wire_memory_state *state_of_change(const struct mm_struct *mm,
								 __u32 *index)
{
	const struct run *last = run_in(0);
	struct wire_memory_state *state;

	*index = last ? last->place.target : 0;
	state = state_if(mm, *index);
	return state ? state : state_of(mm, index);
}

/* The last user of it has gone: what goes now is the whole, not what the program does. */
static __always_inline bool is_torn_down(struct mm_struct *mm, struct wire_memory_state *state)
{
	__u64 key = (__u64)mm;

	if (mm->mm_users.counter)
		return false;
	state->torn_down = key;
	bpf_map_delete_elem(&mms, &key);
	return true;
}

static __always_inline int on_change(void *ctx, struct mm_struct *mm, __u32 member, bool percpu)
{
	__u64 who = bpf_get_current_pid_tgid();
	struct wire_memory_state *state;
	struct run *run;
	__s64 pages;
	__u32 index;

	if (member >= WIRE_N_COUNTERS)
		return 0;
	barrier_var(member);
	member &= WIRE_N_COUNTERS - 1; /* what the verifier forgets */
	state = state_of_change(mm, &index);
	if (!state || is_torn_down(mm, state))
		return 0;
	run = own_run(who);
	if (!run)
		return 0; /* the next change on this CPU takes this one in */
	pages = percpu ? change_percpu(state, index, member) : change_atomic(state, member);
	__sync_fetch_and_add(&state->total[member], pages);
	find_place(run, index, who, actor_flags(mm, state, who >> 32));
	add_to_run(ctx, run, state, member, pages);
	run->vms = mm->total_vm;
	disown(run);
	return 0;
}

/*
 * A hardened kernel (CONFIG_HARDENED_USERCOPY) makes sure of what user memory is read to: on a
 * stack that is not the kernel's it looks for longer, 8 ns a read.
 */
struct no_programs no_change_programs SEC(".maps");

SEC("?tp_btf/rss_stat")
int BPF_PROG(on_rss_percpu, struct mm_struct *mm, int member)
{
	KEEP_OWN_STACK_BY(ctx, no_change_programs);
	return on_change(ctx, mm, member, true);
}

SEC("?tp_btf/rss_stat")
int BPF_PROG(on_rss_atomic, struct mm_struct *mm, int member)
{
	return on_change(ctx, mm, member, false);
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

SEC("?tp_btf/page_fault_user")
int BPF_PROG(on_fault, unsigned long address)
{
	return note_fault(current_tid(), address, false);
}

/* A system call that reads into fresh pages, or writes from them. */
SEC("?tp_btf/page_fault_kernel")
int BPF_PROG(on_kernel_fault, unsigned long address)
{
	const struct run *first = run_in(0), *second = run_in(1);
	__u32 tid = current_tid(), owner = tid | OWNED;

	if (!first || !second || first->busy == owner || second->busy == owner)
		return 0; /* our own reads of what is not there */
	return note_fault(tid, address, true);
}

static __always_inline int end_runs(void)
{
	for (__u32 slot = 0; slot < N_RUNS; slot++)
		end_run(slot, 0);
	return 0;
}

/* Some times a second on each CPU: no run waits for longer. */
SEC("?perf_event")
int on_tick(void *ctx)
{
	return end_runs();
}

/* The end of the session: what is left on this CPU. Run by the keeper on each. */
SEC("?raw_tp/sys_enter")
int flush_runs(void *ctx)
{
	return end_runs();
}

/* ------------------------------------------------------------------ system calls */

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

SEC("?tp_btf/sys_enter")
int BPF_PROG(begin_any_call, struct pt_regs *regs, long number)
{
	return number == SYSCALL_MUNMAP || number == SYSCALL_MREMAP ? begin_call() : 0;
}

WATCH_TWICE("?fentry/", begin, munmap, BEGINS_MUNMAP, begin_call())
WATCH_TWICE("?fentry/", begin, mremap, BEGINS_MREMAP, begin_call())

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

SEC("?tp_btf/sys_exit")
int BPF_PROG(on_any_call, struct pt_regs *regs, long result)
{
	long number = syscall_number(regs);

	if (number != SYSCALL_MMAP && number != SYSCALL_MUNMAP && number != SYSCALL_BRK &&
	    number != SYSCALL_MREMAP && number != SYSCALL_MADVISE)
		return 0;
	return on_call(ctx, regs, number, result);
}

WATCH_TWICE("?fexit/", on, mmap, ENDS_MMAP, on_call(ctx, regs, SYSCALL_MMAP, result))
WATCH_TWICE("?fexit/", on, munmap, ENDS_MUNMAP, on_call(ctx, regs, SYSCALL_MUNMAP, result))
WATCH_TWICE("?fexit/", on, mremap, ENDS_MREMAP, on_call(ctx, regs, SYSCALL_MREMAP, result))
WATCH_TWICE("?fexit/", on, brk, ENDS_BRK, on_call(ctx, regs, SYSCALL_BRK, result))
WATCH_TWICE("?fexit/", on, madvise, ENDS_MADVISE, on_call(ctx, regs, SYSCALL_MADVISE, result))

/* ------------------------------------------------------------------ the beginning */

/* Run by the keeper, over all threads: find the memory of a process and watch it from here on. */
SEC("?iter/task")
int adopt_memory(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct wire_memory_state *state;
	struct mm_struct *mm;
	__u32 tgid, *index;
	__u64 key;

	if (!task)
		return 0;
	tgid = task->tgid;
	mm = task->mm;
	if (tgid != adopted_tgid || !mm)
		return 0;
	index = bpf_map_lookup_elem(&tgids, &tgid);
	state = index ? bpf_map_lookup_elem(&memories, index) : NULL;
	key = (__u64)mm;
	if (!state || state_if(mm, *index))
		return 0;
	state->ready = state->torn_down = 0;
	state->mm = key;
	state->tgid = tgid;
	find_counters(state, mm);
	bpf_map_update_elem(&mms, &key, index, BPF_ANY);
	for (int i = 0; i < WIRE_N_COUNTERS; i++)
		see_counter(state, *index, i);
	state->brk = state->start_brk = BPF_CORE_READ(mm, brk);
	state->start_vms = BPF_CORE_READ(mm, total_vm);
	state->start_time = bpf_ktime_get_ns();
	barrier();
	state->ready = 1;
	return 0;
}
