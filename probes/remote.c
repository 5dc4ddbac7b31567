// SPDX-License-Identifier: BSD-3-Clause
#include "probes/remote.h"

#include <errno.h>
#include <stdlib.h>

#if defined(__x86_64__)
#include <elf.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif

#define TICK_SIGNAL SIGRTMAX	/* nobody else's */
#define TICK_NS	    2000000	/* how late a deadline is noticed */
#define STOP_NS	    500000000	/* a thread stops once it has a CPU, unless deep in the kernel */
#define CALL_NS	    2000000000	/* a call that waits for a lock for so long will not get it */
#define ENDLESS_NS  30000000000 /* nor will one that runs for so long end */
#define RED_ZONE    128		/* below the stack pointer a leaf function keeps things, too */
#define MAX_XSTATE  (64 << 10)	/* bytes of vector registers; AMX makes 11 KiB */
#define RETURN_TO   0		/* nothing is ever mapped there: vm.mmap_min_addr */
#define FLAG_TRAP   (1 << 8)	/* of rflags */
#define FLAG_DOWN   (1 << 10)	/* of rflags: string instructions go downwards */

/* The kernel's own, seen by tracers only: the system call is to be restarted. */
#define ERESTARTSYS	      512
#define ERESTARTNOINTR	      513
#define ERESTARTNOHAND	      514
#define ERESTART_RESTARTBLOCK 516

/* Of sched_setattr(2), which glibc declares since 2.41 only. */
struct scheduling {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

#define FLAG_RESET_ON_FORK 1 /* SCHED_FLAG_RESET_ON_FORK: a thread made meanwhile is ordinary */

struct remote {
	pid_t pid, tid;
	timer_t timer;
	bool has_timer;
	bool gone;	  /* nothing to let go of */
	int owed;	  /* a signal that came while calls were made */
	uint64_t stopped; /* when */
	struct remote_place place;
	struct user_regs_struct saved;
	struct scheduling scheduling; /* before it was made to hurry */
	bool is_calling, hurries;
	uint64_t saved_mask;
	size_t n_xstate;
	char xstate[MAX_XSTATE];
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * UINT64_C(1000000000) + now.tv_nsec;
}

/* ------------------------------------------------------------------ waiting */

static void tick(int number)
{
	(void)number;
}

/* waitpid knows no timeout: a timer of this thread interrupts it again and again. */
static int start_timer(struct remote *remote)
{
	const struct sigaction action = {.sa_handler = tick}; /* no SA_RESTART */
	const struct itimerspec every = {{0, TICK_NS}, {0, TICK_NS}};
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = TICK_SIGNAL};
	sigset_t set;

	event._sigev_un._tid = gettid();
	sigaction(TICK_SIGNAL, &action, NULL);
	sigemptyset(&set);
	sigaddset(&set, TICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	if (timer_create(CLOCK_MONOTONIC, &event, &remote->timer))
		return -errno;
	remote->has_timer = true;
	return timer_settime(remote->timer, 0, &every, NULL) ? -errno : 0;
}

/* @return 0 when it has stopped; -ESRCH when it has ended */
static int wait_stop(struct remote *remote, int *status, uint64_t deadline)
{
	for (;;) {
		pid_t got = waitpid(remote->tid, status, __WALL);

		if (got == remote->tid && WIFSTOPPED(*status))
			return 0;
		if (got == remote->tid || (got < 0 && errno == ECHILD)) {
			remote->gone = true;
			return -ESRCH;
		}
		if (got < 0 && errno != EINTR)
			return -errno;
		if (now_ns() >= deadline)
			return -ETIMEDOUT;
	}
}

static int resume(struct remote *remote, int number)
{
	if (!ptrace(PTRACE_CONT, remote->tid, NULL, number))
		return 0;
	return -errno;
}

/* The stop that PTRACE_INTERRUPT asks for. Signals that come first are passed on. */
static int wait_interrupted(struct remote *remote, uint64_t within)
{
	uint64_t deadline = now_ns() + within;
	int status = 0, err;

	if (ptrace(PTRACE_INTERRUPT, remote->tid, NULL, NULL))
		return -errno;
	for (;;) {
		err = wait_stop(remote, &status, deadline);
		if (err || status >> 16 == PTRACE_EVENT_STOP)
			return err;
		err = resume(remote, WSTOPSIG(status));
		if (err)
			return err;
	}
}

/* ------------------------------------------------------------------ registers */

static int get_registers(struct remote *remote, struct user_regs_struct *registers)
{
	struct iovec part = {registers, sizeof(*registers)};

	if (ptrace(PTRACE_GETREGSET, remote->tid, (void *)NT_PRSTATUS, &part))
		return -errno;
	return part.iov_len == sizeof(*registers) ? 0 : -ENOTSUP; /* a 32-bit program */
}

static int set_registers(struct remote *remote, struct user_regs_struct *registers)
{
	struct iovec part = {registers, sizeof(*registers)};

	return ptrace(PTRACE_SETREGSET, remote->tid, (void *)NT_PRSTATUS, &part) ? -errno : 0;
}

/* Faults must come through: the kernel ends a process that blocks those. */
static uint64_t mask_for_calls(void)
{
	const int through[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
	uint64_t mask = ~UINT64_C(0);

	for (size_t i = 0; i < sizeof(through) / sizeof(*through); i++)
		mask &= ~(UINT64_C(1) << (through[i] - 1));
	return mask;
}

static int save(struct remote *remote)
{
	struct iovec part = {remote->xstate, sizeof(remote->xstate)};
	uint64_t mask = mask_for_calls();
	int err = get_registers(remote, &remote->saved);

	if (err)
		return err;
	if (ptrace(PTRACE_GETREGSET, remote->tid, (void *)NT_X86_XSTATE, &part))
		return -errno;
	remote->n_xstate = part.iov_len;
	if (ptrace(PTRACE_GETSIGMASK, remote->tid, (void *)sizeof(mask), &remote->saved_mask) ||
	    ptrace(PTRACE_SETSIGMASK, remote->tid, (void *)sizeof(mask), &mask))
		return -errno;
	return 0;
}

static bool is_restarted(long result)
{
	return result == -ERESTARTSYS || result == -ERESTARTNOINTR || result == -ERESTARTNOHAND ||
	       result == -ERESTART_RESTARTBLOCK;
}

/* The kernel does not restart these, not even after a stop that nobody but a tracer caused. */
static bool is_interrupted_for_good(long number, long result)
{
	switch (number) {
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
#ifdef SYS_epoll_pwait2
	case SYS_epoll_pwait2:
#endif
	case SYS_semop:
	case SYS_semtimedop:
	case SYS_rt_sigtimedwait:
	case SYS_io_getevents:
		return result == -EINTR;
	}
	return false;
}

static void note_place(struct remote *remote)
{
	const struct user_regs_struct *saved = &remote->saved;
	long number = saved->orig_rax, result = saved->rax;
	bool blocked =
		number >= 0 && (is_restarted(result) || is_interrupted_for_good(number, result));

	remote->place = (struct remote_place){
		.ip = saved->rip,
		.sp = saved->rsp,
		.syscall = blocked ? number : -1,
		.op = saved->rsi,
		.has_limit = saved->r10 != 0,
	};
}

/* ------------------------------------------------------------------ scheduling */

static bool is_ordinary(uint32_t policy)
{
	return policy == SCHED_OTHER || policy == SCHED_BATCH || policy == SCHED_IDLE;
}

/* @param before set to what it was @return whether it hurries now and did not before */
static bool hurry(pid_t tid, struct scheduling *before)
{
	struct scheduling fast = {.size = sizeof(fast),
				  .policy = SCHED_FIFO,
				  .flags = FLAG_RESET_ON_FORK,
				  .priority = 1};

	*before = (struct scheduling){.size = sizeof(*before)};
	return !syscall(SYS_sched_getattr, tid, before, sizeof(*before), 0) &&
	       is_ordinary(before->policy) && !syscall(SYS_sched_setattr, tid, &fast, 0);
}

void remote__hurry(void)
{
	struct scheduling before;

	hurry(0, &before);
}

/* ------------------------------------------------------------------ stop, go */

static void remote_free(struct remote *remote)
{
	if (remote->has_timer)
		timer_delete(remote->timer);
	free(remote);
}

struct remote *remote__stop(pid_t pid, pid_t tid)
{
	struct remote *remote = malloc(sizeof(*remote));
	int err;

	if (!remote)
		return NULL;
	memset(remote, 0, offsetof(struct remote, xstate));
	remote->pid = pid;
	remote->tid = tid;
	err = start_timer(remote);
	if (err)
		goto out;
	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL)) {
		err = -errno;
		goto out;
	}
	err = wait_interrupted(remote, STOP_NS);
	remote->stopped = now_ns();
	if (!err)
		err = save(remote);
	if (!err) {
		note_place(remote);
		return remote;
	}
	if (err != -ETIMEDOUT && !remote->gone)
		ptrace(PTRACE_DETACH, tid, NULL, NULL);
out:
	remote_free(remote);
	errno = err == -ENOENT ? ESRCH : -err;
	return NULL;
}

const struct remote_place *remote__place(const struct remote *remote)
{
	return &remote->place;
}

/* A mask of /proc/PID/task/TID/status. */
static uint64_t status_mask(const char *text, const char *name)
{
	const char *found = strstr(text, name);

	return found ? strtoull(found + strlen(name), NULL, 16) : 0;
}

static bool signal_is_pending(const struct remote *remote)
{
	char path[64], text[4096];
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", remote->pid, remote->tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	if (got <= 0)
		return true; /* then leave everything to the kernel */
	text[got] = '\0';
	return ((status_mask(text, "\nSigPnd:") | status_mask(text, "\nShdPnd:")) &
		~remote->saved_mask) != 0;
}

/* Only our stop has interrupted it: have it run again. */
static void restart_syscall(struct remote *remote)
{
	struct user_regs_struct *saved = &remote->saved;

	if (!is_interrupted_for_good(saved->orig_rax, saved->rax) || signal_is_pending(remote))
		return;
	saved->rip -= 2; /* `syscall` */
	saved->rax = saved->orig_rax;
	saved->orig_rax = -1;
}

uint64_t remote__release(struct remote *remote)
{
	uint64_t ns;

	if (!remote)
		return 0;
	if (!remote->gone) {
		struct iovec part = {remote->xstate, remote->n_xstate};

		if (remote->hurries)
			syscall(SYS_sched_setattr, remote->tid, &remote->scheduling, 0);
		restart_syscall(remote);
		ptrace(PTRACE_SETREGSET, remote->tid, (void *)NT_X86_XSTATE, &part);
		set_registers(remote, &remote->saved);
		ptrace(PTRACE_SETSIGMASK, remote->tid, (void *)sizeof(uint64_t),
		       &remote->saved_mask);
		ptrace(PTRACE_DETACH, remote->tid, NULL, remote->owed);
	}
	ns = now_ns() - remote->stopped;
	remote_free(remote);
	return ns;
}

/* ------------------------------------------------------------------ memory, calls */

/* Not /proc/PID/mem: that is a file of the target's user, to whom we may be a stranger. */
int remote__read(const struct remote *remote, uint64_t address, void *buf, size_t size)
{
	struct iovec here = {buf, size}, there = {(void *)address, size};
	ssize_t got = process_vm_readv(remote->tid, &here, 1, &there, 1, 0);

	if (got == (ssize_t)size)
		return 0;
	return got < 0 && errno != EFAULT ? -errno : -EFAULT;
}

int remote__write(const struct remote *remote, uint64_t address, const void *buf, size_t size)
{
	struct iovec here = {(void *)buf, size}, there = {(void *)address, size};
	ssize_t got = process_vm_writev(remote->tid, &here, 1, &there, 1, 0);

	if (got == (ssize_t)size)
		return 0;
	return got < 0 && errno != EFAULT ? -errno : -EFAULT;
}

/* Two words below all that is on a stack, which may have to grow for them. */
static int push(const struct remote *remote, uint64_t address, const uint64_t words[2])
{
	for (int i = 0; i < 2; i++)
		if (ptrace(PTRACE_POKEDATA, remote->tid, address + i * sizeof(*words), words[i]))
			return errno == EIO ? -EFAULT : -errno;
	return 0;
}

/* It waits for a lock whose holder may be waiting for this very thread. */
static bool waits_for_lock(struct remote *remote)
{
	struct user_regs_struct now;

	return !get_registers(remote, &now) && now.orig_rax == SYS_futex && is_restarted(now.rax);
}

static bool is_sent_by_kernel(const struct remote *remote)
{
	siginfo_t info = {0};

	return !ptrace(PTRACE_GETSIGINFO, remote->tid, NULL, &info) && info.si_code > 0;
}

/* A stop that is not the function's return. */
static int handle_stop(struct remote *remote, int status, uint64_t started)
{
	uint64_t since = now_ns() - started;
	int number = WSTOPSIG(status);

	if (status >> 16) /* ours, or that of its user: it stops for good once it is let go */
		return since > ENDLESS_NS || (since > CALL_NS && waits_for_lock(remote))
			       ? -ETIMEDOUT
			       : resume(remote, 0);
	if (mask_for_calls() >> (number - 1) & 1)
		return resume(remote, number); /* SIGSTOP: no mask keeps it off */
	if (is_sent_by_kernel(remote))
		return -EFAULT;
	remote->owed = number;
	return resume(remote, 0);
}

/* Until the function has returned, which is a fault at RETURN_TO. */
static int wait_return(struct remote *remote, struct user_regs_struct *registers)
{
	uint64_t started = now_ns(), deadline = started + CALL_NS;
	int status = 0, err;

	for (;;) {
		err = wait_stop(remote, &status, deadline);
		if (err == -ETIMEDOUT) {
			deadline += CALL_NS;
			if (ptrace(PTRACE_INTERRUPT, remote->tid, NULL, NULL))
				return -errno;
			continue;
		}
		if (!err)
			err = get_registers(remote, registers);
		if (err)
			return err;
		if (!(status >> 16) && WSTOPSIG(status) == SIGSEGV && registers->rip == RETURN_TO)
			return 0;
		err = handle_stop(remote, status, started);
		if (err)
			return err;
	}
}

int remote__call(struct remote *remote, uint64_t function, const uint64_t *args, int n,
		 uint64_t stack, uint64_t *result)
{
	struct user_regs_struct registers = remote->saved;
	unsigned long long *const places[REMOTE_MAX_ARGS] = {&registers.rdi, &registers.rsi,
							     &registers.rdx, &registers.rcx,
							     &registers.r8,  &registers.r9};
	/* The return address; behind it a seventh argument, for syscall(2) with six. */
	const uint64_t frame[2] = {RETURN_TO, 0};
	int err;

	if (n > REMOTE_MAX_ARGS)
		return -E2BIG;
	if (!remote->is_calling)
		remote->hurries = hurry(remote->tid, &remote->scheduling);
	remote->is_calling = true;
	if (!stack)
		stack = registers.rsp - RED_ZONE;
	for (int i = 0; i < n; i++)
		*places[i] = args[i];
	registers.rsp = (stack - sizeof(frame)) & ~UINT64_C(15);
	registers.rsp -= sizeof(uint64_t); /* as if called: aligned before the return address */
	registers.rip = function;
	registers.rax = 0; /* no vector registers for variable arguments */
	registers.orig_rax = -1;
	registers.eflags &= ~(FLAG_TRAP | FLAG_DOWN);
	err = push(remote, registers.rsp, frame);
	if (!err)
		err = set_registers(remote, &registers);
	if (!err)
		err = resume(remote, 0);
	if (!err)
		err = wait_return(remote, &registers);
	*result = err ? 0 : registers.rax;
	return err;
}

#else /* the registers of this architecture are not described yet */

struct remote *remote__stop(pid_t pid, pid_t tid)
{
	(void)pid;
	(void)tid;
	errno = ENOTSUP;
	return NULL;
}

const struct remote_place *remote__place(const struct remote *remote)
{
	return (const struct remote_place *)remote;
}

int remote__call(struct remote *remote, uint64_t function, const uint64_t *args, int n,
		 uint64_t stack, uint64_t *result)
{
	(void)remote, (void)function, (void)args, (void)n, (void)stack;
	*result = 0;
	return -ENOTSUP;
}

int remote__read(const struct remote *remote, uint64_t address, void *buf, size_t size)
{
	(void)remote, (void)address, (void)buf, (void)size;
	return -ENOTSUP;
}

int remote__write(const struct remote *remote, uint64_t address, const void *buf, size_t size)
{
	(void)remote, (void)address, (void)buf, (void)size;
	return -ENOTSUP;
}

uint64_t remote__release(struct remote *remote)
{
	(void)remote;
	return 0;
}

void remote__hurry(void)
{
}

#endif
