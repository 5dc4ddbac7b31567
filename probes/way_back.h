/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * way_back.h - how a borrowed thread gets back by itself.
 *
 * Whoever makes a thread call a function may be killed at any moment, and the kernel then lets the
 * thread run. So a call's return address is code that makes the system call rt_sigreturn, and above
 * it on the stack stands the frame of a signal that never was: all registers, vector registers and
 * the signal mask as they were. In front of it is a second such frame, which gives back the
 * scheduling by a call of syscall(2), if that was changed.
 *
 * What rt_sigreturn cannot do: a system call that the stop has interrupted is made anew, but for
 * those with a time limit, which end with EINTR (the kernel forgets how much of it is left).
 */
#ifndef PIKOS_WAY_BACK_H
#define PIKOS_WAY_BACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)

#include <sys/user.h>

#define WAY_BACK_MAX_XSTATE (64 << 10) /* bytes of vector registers; AMX makes 11 KiB */
#define WAY_BACK_MAX_SIZE   (WAY_BACK_MAX_XSTATE + 1024)

/* Of sched_setattr(2), which glibc declares since 2.41 only. */
struct scheduling {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

/* SCHED_FLAG_RESET_ON_FORK: a thread made meanwhile is ordinary */
#define SCHEDULING_RESET_ON_FORK 1

struct way_back {
	uint64_t restorer; /* address of code that makes rt_sigreturn */
	uint64_t syscall;  /* of syscall(2) */
	struct user_regs_struct registers;
	uint64_t mask;
	bool has_scheduling;
	struct scheduling scheduling;
	const char *xstate; /* as PTRACE_GETREGSET has it */
	size_t n_xstate;
};

/*
 * @brief Build what has to stand at an address: the first word is the return address.
 * @param address 8 bytes above a multiple of 16, as the stack is when a function is entered
 * @param bytes WAY_BACK_MAX_SIZE of them @return how many are used
 */
size_t way_back__build(const struct way_back *way, uint64_t address, char *bytes);
/* @return how many will be, at most */
size_t way_back__size(const struct way_back *way);

/* Behind the return address: a word that rt_sigreturn ignores. */
#define WAY_BACK_UNUSED_WORD 16

#endif

#endif /* PIKOS_WAY_BACK_H */
