/* SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only) */
/*
 * The kernel's types that the programs read, and no others. libbpf finds each field's place in the
 * running kernel (CO-RE), so only names and kinds count here, not offsets.
 *
 * What to add for a new field: its declaration as printed by
 *	bpftool btf dump file /sys/kernel/btf/vmlinux format c
 * What a built object really reads is told by
 *	bpftool gen min_core_btf /sys/kernel/btf/vmlinux min.btf build/bpf/pikos.bpf.o &&
 *	bpftool btf dump file min.btf format c
 */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#include <linux/bpf.h> /* user API: map types, flags, __u64 and friends */

typedef _Bool bool;
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __s32 s32;
typedef __u64 u64;
typedef __s64 s64;
typedef int pid_t;

enum { false = 0, true = 1 };

#ifndef NULL
#define NULL ((void *)0)
#endif

#if defined(__TARGET_ARCH_x86)
/* The context of a uprobe program: not relocated, the same on every kernel. */
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di;
	unsigned long orig_ax, ip, cs, flags, sp, ss;
};
#elif defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
	__u64 regs[31];
	__u64 sp, pc, pstate;
};
struct pt_regs {
	struct user_pt_regs user_regs;
	__u64 orig_x0;
	__s32 syscallno;
};
#endif

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	s64 counter;
} atomic64_t;

typedef atomic64_t atomic_long_t;

typedef struct {
	int counter;
} atomic_t;

struct percpu_counter {
	s64 count;
	s32 *counters;
};

struct mm_struct {
	atomic_t mm_users;
	unsigned long total_vm;
	unsigned long brk;
};

#if defined(__TARGET_ARCH_x86)
struct thread_struct {
	unsigned long fsbase;
};
#else
struct thread_struct {
	struct {
		unsigned long tp_value;
	} uw;
};
#endif

struct sigaction {
	void *sa_handler;
};

struct k_sigaction {
	struct sigaction sa;
};

struct sighand_struct {
	struct k_sigaction action[64];
};

typedef struct {
	u32 val;
} kuid_t;

typedef struct {
	u32 val;
} kgid_t;

struct cred {
	kuid_t fsuid;
	kgid_t fsgid;
};

struct task_struct {
	pid_t pid;
	pid_t tgid;
	const struct cred *cred;
	struct mm_struct *mm;
	struct sighand_struct *sighand;
	struct thread_struct thread;
};

struct kernel_siginfo;

struct bpf_iter__task {
	struct task_struct *task;
};

struct bpf_array {
	void *pptrs[0]; /* of a per-CPU array */
};

#pragma clang attribute pop

#endif /* __VMLINUX_H__ */
