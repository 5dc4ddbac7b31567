/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * remote.h - one thread of another process, stopped, made to call functions, let go as it was.
 *
 * By ptrace, so all of it belongs to one thread of ours: when that thread ends, the kernel lets go
 * of what it traces. A call gets the function's address and arguments in registers and returns to
 * code that makes rt_sigreturn, which is ours to see and is not executed. By remote__release,
 * registers, vector registers, signal mask and scheduling are put back, and the kernel restarts the
 * system call that the stop interrupted, as it does after any stop.
 *
 * If we are killed first, whenever that is, the thread runs the function to its end and then does
 * execute rt_sigreturn, which puts all of that back (way_back.h). What is left then: a page of code
 * and what the functions have made; errno may be another.
 *
 * Signals wait while calls are made. Other threads of the process run on. While calls are made the
 * thread runs before all ordinary ones (SCHED_FIFO), if we may have it do so: each call waits twice
 * for a CPU, and the program waits with it.
 */
#ifndef PIKOS_REMOTE_H
#define PIKOS_REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define REMOTE_MAX_ARGS 6

struct remote;

/* Where a thread was stopped. */
struct remote_place {
	uint64_t ip, sp;
	long syscall;	/* that was interrupted and will be restarted; -1: none */
	uint64_t op;	/* its second argument, for futex */
	bool has_limit; /* its fourth argument is not zero: a futex with a timeout */
};

/* Of the C library in the target: what calls are made with. */
struct remote_code {
	uint64_t restorer; /* what its signal handlers return to: makes rt_sigreturn */
	uint64_t syscall;  /* syscall(2) */
};

/* @brief Look for a restorer in mapped code. @return its address, or 0 */
uint64_t remote__find_restorer(pid_t pid, uint64_t start, uint64_t end);

/*
 * @brief Stop a thread.
 * @return NULL and errno: ESRCH (it has ended), EPERM (another tracer, or no rights), ETIMEDOUT (it
 * is deep in the kernel: the calling thread has to end now, so that the kernel lets go of it),
 * ENOTSUP (not on this architecture)
 */
struct remote *remote__stop(pid_t pid, pid_t tid, const struct remote_code *code);
const struct remote_place *remote__place(const struct remote *remote);

/*
 * @brief Call a function there. A seventh argument, on the stack, would be 0.
 * @param stack top of a stack for it, or 0: below what the thread itself uses
 * @return 0; -ESRCH: it has ended or runs another program; -EFAULT: the function crashed, and
 * remote__release undoes what it can; -ETIMEDOUT: it waits for a lock, or does not end, and was
 * taken out of there
 */
int remote__call(struct remote *remote, uint64_t function, const uint64_t *args, int n,
		 uint64_t stack, uint64_t *result);

/* @return 0; -EFAULT: not mapped; -ESRCH */
int remote__read(const struct remote *remote, uint64_t address, void *buf, size_t size);
int remote__write(const struct remote *remote, uint64_t address, const void *buf, size_t size);

/* @brief Have the calling thread run before all ordinary ones, too, if it may. */
void remote__hurry(void);

/* @brief Let the thread go on where it was. @return how long it was stopped, in ns. NULL is fine */
uint64_t remote__release(struct remote *remote);

#endif /* PIKOS_REMOTE_H */
