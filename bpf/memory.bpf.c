// SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only)
/*
 * Memory of the traced processes: system calls that map and unmap, and what becomes resident. These
 * are the programs; what they do is in memory_calls.bpf.h and memory_runs.bpf.h.
 *
 * Residency. tp_btf/rss_stat fires after each change of a counter; an empty program on it costs a
 * program that only touches fresh pages 2 %. Page-fault tracepoints cost the same, know neither how
 * much came nor what went, and exist on x86 only: there they add where it came.
 *
 * Everything goes by the mm: a process may share its memory with a child of vfork(), and its pages
 * are reclaimed by others. What another mm does is never credited to the current thread.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "bpf/memory_calls.bpf.h"

/* A process to be watched from now on: adopt_memory. */
__u32 adopted_tgid;

/* ------------------------------------------------------------------ what is resident */

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

SEC("?tp_btf/sys_enter")
int BPF_PROG(begin_any_call, struct pt_regs *regs, long number)
{
	return number == SYSCALL_MUNMAP || number == SYSCALL_MREMAP ? begin_call() : 0;
}

WATCH_TWICE("?fentry/", begin, munmap, BEGINS_MUNMAP, begin_call())
WATCH_TWICE("?fentry/", begin, mremap, BEGINS_MREMAP, begin_call())

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
