/* SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only) */
/*
 * Everything that differs between kernels 5.10 and 7.x, an accessor each. What a kernel has is
 * found once by user/features.c and told by the constants below; nothing else in bpf/ knows a
 * kernel release.
 */
#ifndef PIKOS_CORE_COMPAT_BPF_H
#define PIKOS_CORE_COMPAT_BPF_H

#include <bpf/bpf_core_read.h>

__weak const volatile bool has_attach_cookie = false; /* bpf_get_attach_cookie, 5.15 */
__weak const volatile bool has_task_btf = false;      /* bpf_get_current_task_btf, 5.11 */
__weak const volatile bool has_percpu_rss = false;    /* mm->rss_stat[] of percpu_counter, 6.2 */
__weak const volatile bool has_adjacent_rss = false;  /* its counters allocated as one array, 6.6 */
__weak const volatile bool has_plain_loads = false;   /* bpf_rdonly_cast, 6.2 */
__weak const volatile bool has_spin_lock = false;     /* in tracing programs, 5.15 */
__weak const volatile __u32 n_possible_cpus = 1;

/*
 * Since 6.13 a program's deeper frames lie on a stack per CPU, on the understanding that it is
 * never under way twice there. A uprobe's is: it can be preempted, and the next task hits one, too.
 * A program with a tail call keeps the kernel's stack; this one is never made. The array is for
 * programs of one kind of links only: those that may be for another have their own.
 */
struct no_programs {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
};

struct no_programs no_programs __weak SEC(".maps");

__weak const volatile bool makes_tail_calls = false;

#define KEEP_OWN_STACK_BY(ctx, programs)                  \
	do {                                              \
		if (makes_tail_calls)                     \
			bpf_tail_call(ctx, &programs, 0); \
	} while (0)
#define KEEP_OWN_STACK(ctx) KEEP_OWN_STACK_BY(ctx, no_programs)

#define MM_FILEPAGES  0
#define MM_ANONPAGES  1
#define MM_SWAPENTS   2
#define MM_SHMEMPAGES 3

/* Before 6.2. */
struct mm_rss_stat___old {
	atomic_long_t count[4];
} __attribute__((preserve_access_index));

struct mm_struct___old {
	struct mm_rss_stat___old rss_stat;
} __attribute__((preserve_access_index));

/* Since 6.2. */
struct mm_struct___percpu {
	struct percpu_counter rss_stat[4];
} __attribute__((preserve_access_index));

/* Where each CPU's copy of per-CPU data lies from its common address; found by cpus.bpf.c. */
__weak __u64 cpu_offsets[WIRE_MAX_CPUS];

/*
 * One that reads 0 where nothing is mapped. The verifier leaves nothing of the cast, to any struct
 * that begins with a number; bpf_probe_read_kernel takes 20 ns more. For programs that are loaded
 * since 6.2 only: before, calls of this kind are refused.
 */
struct kref {
};

extern void *bpf_rdonly_cast(const void *address, __u32 type) __ksym __weak;

static __always_inline __s32 load_s32(__u64 address)
{
	__s32 value = 0;

	if (has_plain_loads)
		return *(__s32 *)bpf_rdonly_cast((void *)address,
						 bpf_core_type_id_kernel(struct kref));
	bpf_probe_read_kernel(&value, sizeof(value), (void *)address);
	return value;
}

static __always_inline struct mm_struct *current_mm(void)
{
	struct task_struct *task;

	if (has_task_btf)
		return bpf_get_current_task_btf()->mm;
	task = (void *)bpf_get_current_task();
	return BPF_CORE_READ(task, mm);
}

/* All types' parts on one CPU with one read, where they lie side by side. */
static __always_inline long rss_parts_adjacent(const __s32 *counters)
{
	__s32 parts[4];
	long sum = 0;

	for (__u32 cpu = 0; cpu < n_possible_cpus && cpu < WIRE_MAX_CPUS; cpu++) {
		if (bpf_probe_read_kernel(parts, sizeof(parts),
					  (const char *)counters + cpu_offsets[cpu]))
			continue;
		sum += (long)parts[MM_FILEPAGES] + parts[MM_ANONPAGES] + parts[MM_SHMEMPAGES];
	}
	return sum;
}

static __always_inline long rss_parts(const __s32 *counters)
{
	__s32 part;
	long sum = 0;

	for (__u32 cpu = 0; cpu < n_possible_cpus && cpu < WIRE_MAX_CPUS; cpu++)
		if (!bpf_probe_read_kernel(&part, sizeof(part),
					   (const char *)counters + cpu_offsets[cpu]))
			sum += part;
	return sum;
}

static __always_inline long rss_percpu(struct mm_struct *mm)
{
	struct mm_struct___percpu *percpu = (void *)mm;
	long sum = BPF_CORE_READ(percpu, rss_stat[MM_FILEPAGES].count) +
		   BPF_CORE_READ(percpu, rss_stat[MM_ANONPAGES].count) +
		   BPF_CORE_READ(percpu, rss_stat[MM_SHMEMPAGES].count);

	if (has_adjacent_rss)
		return sum + rss_parts_adjacent(BPF_CORE_READ(percpu, rss_stat[0].counters));
	return sum + rss_parts(BPF_CORE_READ(percpu, rss_stat[MM_FILEPAGES].counters)) +
	       rss_parts(BPF_CORE_READ(percpu, rss_stat[MM_ANONPAGES].counters)) +
	       rss_parts(BPF_CORE_READ(percpu, rss_stat[MM_SHMEMPAGES].counters));
}

static __always_inline long rss_atomic(struct mm_struct *mm)
{
	struct mm_struct___old *old = (void *)mm;

	return BPF_CORE_READ(old, rss_stat.count[MM_FILEPAGES].counter) +
	       BPF_CORE_READ(old, rss_stat.count[MM_ANONPAGES].counter) +
	       BPF_CORE_READ(old, rss_stat.count[MM_SHMEMPAGES].counter);
}

/* Resident and mapped pages of a process: the sum that /proc/PID/statm makes. */
static __always_inline void memory_of(struct mm_struct *mm, __u64 *rss, __u64 *vms)
{
	long pages = has_percpu_rss ? rss_percpu(mm) : rss_atomic(mm);

	*rss = pages > 0 ? pages : 0;
	*vms = BPF_CORE_READ(mm, total_vm);
}

static __always_inline void current_memory(__u64 *rss, __u64 *vms)
{
	struct mm_struct *mm = current_mm();

	*rss = *vms = 0;
	if (mm)
		memory_of(mm, rss, vms);
}

/*
 * @return bytes without the NUL, at most size - 1; negative: unreadable. An empty string's NUL is
 * not counted before 6.15.
 */
static __always_inline long read_user_string(void *to, __u32 size, const void *from)
{
	long len = bpf_probe_read_user_str(to, size, from);

	return len > 0 ? len - 1 : len;
}

/* The base that the thread's thread-local storage hangs on: its pthread_self on x86-64. */
static __always_inline __u64 current_thread_pointer(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();

#if defined(__TARGET_ARCH_x86)
	return BPF_CORE_READ(task, thread.fsbase);
#else
	return BPF_CORE_READ(task, thread.uw.tp_value);
#endif
}

__weak const volatile bool has_task_regs = false; /* bpf_task_pt_regs, 5.15 */

#if defined(__TARGET_ARCH_x86)
/*
 * Whether the program itself met a fault, not a system call on its behalf: then the number of the
 * system call is -1.
 */
static __always_inline bool is_user_fault(void)
{
	struct pt_regs *regs;

	if (!has_task_regs || !has_task_btf)
		return false;
	regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	return (long)regs->orig_ax == -1;
}

/* Where the program's own code is; left alone if that cannot be told. */
static __always_inline void current_user_place(__u64 *instruction, __u64 *stack_pointer)
{
	struct pt_regs *regs;

	if (!has_task_regs || !has_task_btf)
		return;
	regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	*instruction = regs->ip;
	*stack_pointer = regs->sp;
}
#else
static __always_inline bool is_user_fault(void)
{
	return false;
}

static __always_inline void current_user_place(__u64 *instruction, __u64 *stack_pointer)
{
	struct pt_regs *regs;

	if (!has_task_regs || !has_task_btf)
		return;
	regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	*instruction = regs->user_regs.pc;
	*stack_pointer = regs->user_regs.sp;
}
#endif

/*
 * System calls, as their entry has left them in the registers. The result has taken the place of
 * arm64's first argument, which is kept for restarting the call.
 */
#if defined(__TARGET_ARCH_x86)
#define SYSCALL_PREFIX	     "__x64_sys_"
#define SYSCALL_MMAP	     9
#define SYSCALL_MUNMAP	     11
#define SYSCALL_BRK	     12
#define SYSCALL_MREMAP	     25
#define SYSCALL_MADVISE	     28
#define syscall_number(regs) ((long)(regs)->orig_ax)
#define syscall_first(regs)  ((regs)->di)
#define syscall_second(regs) ((regs)->si)
#define syscall_third(regs)  ((regs)->dx)
#define syscall_fourth(regs) ((regs)->r10)
#else
#define SYSCALL_PREFIX	     "__arm64_sys_"
#define SYSCALL_BRK	     214
#define SYSCALL_MUNMAP	     215
#define SYSCALL_MREMAP	     216
#define SYSCALL_MMAP	     222
#define SYSCALL_MADVISE	     233
#define syscall_number(regs) ((long)(regs)->syscallno)
#define syscall_first(regs)  ((regs)->orig_x0)
#define syscall_second(regs) ((regs)->user_regs.regs[1])
#define syscall_third(regs)  ((regs)->user_regs.regs[2])
#define syscall_fourth(regs) ((regs)->user_regs.regs[3])
#endif

#endif /* PIKOS_CORE_COMPAT_BPF_H */
