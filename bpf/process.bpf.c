// SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only)
/*
 * What happens to the traced processes: exec, fork, the end of threads, stops by others.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "bpf/state.bpf.h"
#include "bpf/core_compat.bpf.h"
#include "bpf/transport.bpf.h"

#define SIGCONT	      18
#define SIGSTOP	      19
#define SIGTSTP	      20
#define SIGTTIN	      21
#define SIGTTOU	      22
#define SEND_SIG_PRIV ((void *)1) /* from the kernel itself */

static __always_inline struct wire_target *target_of(__u32 tgid)
{
	__u32 *index = bpf_map_lookup_elem(&tgids, &tgid);

	return index ? bpf_map_lookup_elem(&targets, index) : NULL;
}

/* What is known of a thread, all of which ends with its program. */
static __always_inline void forget_thread(__u32 tid)
{
	bpf_map_delete_elem(&focus_depths, &tid);
	bpf_map_delete_elem(&region_depths, &tid);
	bpf_map_delete_elem(&thread_states, &tid);
	__sync_fetch_and_add(&thread_state_changes, 1);
}

static __always_inline void wake(void)
{
	void *ring = this_ring();

	if (ring)
		wake_loader(ring);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_tid)
{
	__u32 tid = task->tgid;
	struct wire_target *target = target_of(tid);

	if (!target)
		return 0;
	forget_thread(tid);
	/* Before the first instruction of the new program. */
	if (target->exec_stop)
		bpf_send_signal(SIGSTOP);
	__sync_fetch_and_add(&target->execs, 1);
	wake();
	return 0;
}

/*
 * The first instruction of a program whose interpreter is a library: the dynamic linker has mapped
 * it now, and nothing of Python has run. As after an exec, the loader is to look.
 */
SEC("uprobe")
int on_start(void *ctx)
{
	struct wire_target *target = target_of(bpf_get_current_pid_tgid() >> 32);

	if (!target)
		return 0;
	bpf_send_signal(SIGSTOP);
	__sync_fetch_and_add(&target->execs, 1);
	wake();
	return 0;
}

/* The child has inherited breakpoints and semaphores, and nobody traces it. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	__u64 *alert;

	if (parent->tgid == child->tgid || parent->mm == child->mm || !target_of(parent->tgid))
		return 0;
	alert = bpf_ringbuf_reserve(&alerts, sizeof(*alert), 0);
	if (!alert)
		return 0; /* full of alerts that wake it just as well */
	*alert = parent->tgid;
	bpf_ringbuf_submit(alert, BPF_RB_FORCE_WAKEUP);
	return 0;
}

/*
 * A thread that ends inside a focus, and whose number another may get. Of the last one, whose
 * rights it had: files that the process named are still to be read, with no more than those.
 */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_thread_exit, struct task_struct *task)
{
	struct wire_target *target = target_of(task->tgid);
	__u32 tid = task->pid;

	if (!target)
		return 0;
	target->exit_uid = BPF_CORE_READ(task, cred, fsuid.val);
	target->exit_gid = BPF_CORE_READ(task, cred, fsgid.val);
	target->exited = 1;
	forget_thread(tid);
	bpf_map_delete_elem(&thread_stacks, &tid);
	return 0;
}

/* Of the terminal's stop signals; NULL is the default, to stop. */
static __always_inline void *handler_of(struct task_struct *task, int sig)
{
	if (sig == SIGTSTP)
		return task->sighand->action[SIGTSTP - 1].sa.sa_handler;
	if (sig == SIGTTIN)
		return task->sighand->action[SIGTTIN - 1].sa.sa_handler;
	return task->sighand->action[SIGTTOU - 1].sa.sa_handler;
}

/*
 * --lossless stops a target and continues it; what its user stopped must stay stopped. Stops by
 * default action count; ours come from the target itself, through bpf_send_signal.
 */
SEC("?tp_btf/signal_generate")
int BPF_PROG(on_signal, int sig, struct kernel_siginfo *info, struct task_struct *task)
{
	struct wire_target *target;
	__u32 sender;

	if (sig < SIGCONT || sig > SIGTTOU)
		return 0;
	target = target_of(task->tgid);
	if (!target)
		return 0;
	sender = bpf_get_current_pid_tgid() >> 32;
	if (sig == SIGCONT)
		target->user_stopped = target->user_stopped && sender == control.keeper_tgid;
	else if (sig == SIGSTOP)
		target->user_stopped |= !(info == SEND_SIG_PRIV && sender == task->tgid);
	else if (!handler_of(task, sig))
		target->user_stopped = 1;
	return 0;
}
