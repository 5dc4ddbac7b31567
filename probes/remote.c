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
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "probes/way_back.h"

#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif

#define TICK_SIGNAL SIGRTMAX	/* nobody else's */
#define TICK_NS	    2000000	/* how late a deadline is noticed */
#define STOP_NS	    500000000	/* a thread stops once it has a CPU, unless deep in the kernel */
#define CALL_NS	    2000000000	/* a call that waits for a lock for so long will not get it */
#define ENDLESS_NS  30000000000 /* nor will one that runs for so long end */
#define RED_ZONE    128		/* below the stack pointer a leaf function keeps things, too */
#define PAGE	    4096
#define FLAG_TRAP   (1 << 8)  /* of rflags */
#define FLAG_DOWN   (1 << 10) /* of rflags: string instructions go downwards */

/* The kernel's own, seen by tracers only: the system call is to be restarted. */
#define ERESTARTSYS	      512
#define ERESTARTNOINTR	      513
#define ERESTARTNOHAND	      514
#define ERESTART_RESTARTBLOCK 516

#define SYSCALL_STOP (SIGTRAP | 0x80) /* PTRACE_O_TRACESYSGOOD */

struct remote {
	pid_t pid, tid;
	timer_t timer;
	bool has_timer;
	bool gone;	  /* nothing to let go of */
	int owed;	  /* a signal that came while calls were made */
	uint64_t stopped; /* when */
	struct remote_place place;
	struct remote_code code; /* the C library's */
	struct user_regs_struct saved;
	struct scheduling scheduling; /* before it was made to hurry */
	bool has_scheduling, is_calling, hurries;
	bool has_returned; /* it is about to make rt_sigreturn */
	bool has_crashed;
	uint64_t saved_mask;
	uint64_t page; /* of return_code, in the target; 0: not there yet */
	uint64_t restorer, frame;
	uint64_t value; /* of the last system call */
	size_t n_xstate;
	char xstate[WAY_BACK_MAX_XSTATE];
	char way_back[WAY_BACK_MAX_SIZE];
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
	if (!ptrace(remote->is_calling ? PTRACE_SYSCALL : PTRACE_CONT, remote->tid, NULL, number))
		return 0;
	return -errno;
}

/* @param resumed it runs; else it is let run first @return 0 when it has stopped because of us */
static int interrupt(struct remote *remote, bool resumed, uint64_t within)
{
	uint64_t deadline = now_ns() + within;
	int status = 0, err;

	if (ptrace(PTRACE_INTERRUPT, remote->tid, NULL, NULL))
		return -errno;
	if (!resumed && ptrace(PTRACE_CONT, remote->tid, NULL, NULL))
		return -errno;
	for (;;) { /* signals that come first are passed on */
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
	int err = get_registers(remote, &remote->saved);

	if (err)
		return err;
	if (ptrace(PTRACE_GETREGSET, remote->tid, (void *)NT_X86_XSTATE, &part))
		return -errno;
	remote->n_xstate = part.iov_len;
	return ptrace(PTRACE_GETSIGMASK, remote->tid, (void *)sizeof(remote->saved_mask),
		      &remote->saved_mask)
		       ? -errno
		       : 0;
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

/* @return whether it may be made to hurry */
static bool get_scheduling(pid_t tid, struct scheduling *now)
{
	*now = (struct scheduling){.size = sizeof(*now)};
	return !syscall(SYS_sched_getattr, tid, now, sizeof(*now), 0) && is_ordinary(now->policy);
}

/* @return whether it hurries now */
static bool hurry(pid_t tid)
{
	struct scheduling fast = {.size = sizeof(fast),
				  .policy = SCHED_FIFO,
				  .flags = SCHEDULING_RESET_ON_FORK,
				  .priority = 1};

	return !syscall(SYS_sched_setattr, tid, &fast, 0);
}

void remote__hurry(void)
{
	struct scheduling now;

	if (get_scheduling(0, &now))
		hurry(0);
}

/* ------------------------------------------------------------------ stop, go */

static void remote_free(struct remote *remote)
{
	if (remote->has_timer)
		timer_delete(remote->timer);
	free(remote);
}

struct remote *remote__stop(pid_t pid, pid_t tid, const struct remote_code *code)
{
	struct remote *remote = malloc(sizeof(*remote));
	int err;

	if (!remote)
		return NULL;
	memset(remote, 0, offsetof(struct remote, xstate));
	remote->pid = pid;
	remote->tid = tid;
	remote->code = *code;
	err = start_timer(remote);
	if (err)
		goto out;
	if (ptrace(PTRACE_SEIZE, tid, NULL, PTRACE_O_TRACESYSGOOD)) {
		err = -errno;
		goto out;
	}
	err = interrupt(remote, true, STOP_NS);
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

/* ------------------------------------------------------------------ calls */

/*
 * What functions return to, once it is in the target: rt_sigreturn, as the C library's own code
 * does, but the result is kept, in a word of the frame. (The C library's is found by its bytes.)
 */
static const unsigned char return_code[16] = {
	0x48, 0x89, 0x44, 0x24, 0x08, /* mov %rax, 8(%rsp) */
	0xb8, 0x0f, 0,	  0,	0,    /* mov $15, %eax */
	0x0f, 0x05,		      /* syscall */
	0x0f, 0x0b, 0x0f, 0x0b,	      /* ud2: it does not come back */
};

/* Two words at a time, which a stack grows for and which need not be writable. */
static int poke(const struct remote *remote, uint64_t address, const void *bytes)
{
	uint64_t words[2];

	memcpy(words, bytes, sizeof(words));
	for (int i = 0; i < 2; i++)
		if (ptrace(PTRACE_POKEDATA, remote->tid, address + i * sizeof(*words), words[i]))
			return errno == EIO ? -EFAULT : -errno;
	return 0;
}

/* What stands there already is the same: the thread may be about to take it. */
static int put_way_back(struct remote *remote, uint64_t stack)
{
	const struct way_back way = {
		.restorer = remote->restorer,
		.syscall = remote->code.syscall,
		.registers = remote->saved,
		.mask = remote->saved_mask,
		.has_scheduling = remote->has_scheduling,
		.scheduling = remote->scheduling,
		.xstate = remote->xstate,
		.n_xstate = remote->n_xstate,
	};
	uint64_t address = ((stack - way_back__size(&way)) & ~UINT64_C(15)) - sizeof(address);
	size_t size = way_back__build(&way, address, remote->way_back);
	int err = poke(remote, address, remote->way_back);

	remote->frame = address;
	return err ? err : remote__write(remote, address, remote->way_back, size);
}

/*
 * From the first of these steps on the thread would come back by itself, and everything else that
 * is done to it is undone by its way back. So none of it may come before.
 */
static int enter(struct remote *remote, uint64_t function, const uint64_t *args, int n,
		 uint64_t stack)
{
	struct user_regs_struct registers = remote->saved;
	unsigned long long *const places[REMOTE_MAX_ARGS] = {&registers.rdi, &registers.rsi,
							     &registers.rdx, &registers.rcx,
							     &registers.r8,  &registers.r9};
	uint64_t mask = mask_for_calls();
	int err = put_way_back(remote, stack ? stack : registers.rsp - RED_ZONE);

	if (err)
		return err;
	for (int i = 0; i < n; i++)
		*places[i] = args[i];
	registers.rsp = remote->frame; /* as if called: aligned before the return address */
	registers.rip = function;
	registers.rax = 0; /* no vector registers for variable arguments */
	registers.orig_rax = -1;
	registers.eflags &= ~(FLAG_TRAP | FLAG_DOWN);
	err = set_registers(remote, &registers);
	remote->has_returned = false;
	if (err || remote->is_calling)
		return err;
	remote->is_calling = true;
	remote->hurries = remote->has_scheduling && hurry(remote->tid);
	return ptrace(PTRACE_SETSIGMASK, remote->tid, (void *)sizeof(mask), &mask) ? -errno : 0;
}

/* @return 1: the function has returned; 0; -errno */
static int take_syscall_stop(struct remote *remote)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, remote->tid, (void *)sizeof(info), &info) < 0)
		return -errno;
	if (info.op == PTRACE_SYSCALL_INFO_EXIT)
		remote->value = info.exit.rval;
	return info.op == PTRACE_SYSCALL_INFO_ENTRY && info.entry.nr == SYS_rt_sigreturn &&
	       info.stack_pointer == remote->frame + sizeof(uint64_t);
}

/* @return 0: wait on; 1: the function has returned; -errno */
static int take_stop(struct remote *remote, int status, uint64_t started, bool *is_asked)
{
	int err;

	if (status >> 16 || WSTOPSIG(status) != SYSCALL_STOP) {
		*is_asked = false;
		return handle_stop(remote, status, started);
	}
	err = take_syscall_stop(remote);
	if (err)
		return err;
	/* Any stop is the answer, but only at its own one the registers tell what it waits for. */
	if (*is_asked && ptrace(PTRACE_INTERRUPT, remote->tid, NULL, NULL))
		return -errno;
	return resume(remote, 0);
}

/* Until the function has returned, and the thread stands in front of rt_sigreturn. */
static int wait_return(struct remote *remote)
{
	uint64_t started = now_ns(), deadline = started + CALL_NS;
	bool is_asked = false;
	int status = 0, err;

	do {
		err = wait_stop(remote, &status, deadline);
		if (err == -ETIMEDOUT) {
			deadline += CALL_NS;
			is_asked = true;
			err = ptrace(PTRACE_INTERRUPT, remote->tid, NULL, NULL) ? -errno : 0;
		} else if (!err) {
			err = take_stop(remote, status, started, &is_asked);
		}
	} while (!err);
	if (err < 0)
		return err;
	remote->has_returned = true;
	if (!remote->page)
		return 0;
	return remote__read(remote, remote->frame + WAY_BACK_UNUSED_WORD, &remote->value,
			    sizeof(remote->value));
}

static int call(struct remote *remote, uint64_t function, const uint64_t *args, int n,
		uint64_t stack)
{
	int err = enter(remote, function, args, n, stack);

	if (!err)
		err = resume(remote, 0);
	if (!err)
		err = wait_return(remote);
	remote->has_crashed |= err == -EFAULT;
	return err;
}

/* The first call: a system call, whose result is seen without return_code. */
static int put_return_code(struct remote *remote)
{
	const uint64_t map[] = {
		SYS_mmap, 0, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, UINT64_MAX};
	int err;

	remote->restorer = remote->code.restorer;
	remote->has_scheduling = get_scheduling(remote->tid, &remote->scheduling);
	err = call(remote, remote->code.syscall, map, 6, 0);
	if (err)
		return err;
	if (remote->value >= (uint64_t)-4095)
		return (int)(int64_t)remote->value;
	err = poke(remote, remote->value, return_code);
	if (err)
		return err;
	remote->page = remote->restorer = remote->value;
	return 0;
}

int remote__call(struct remote *remote, uint64_t function, const uint64_t *args, int n,
		 uint64_t stack, uint64_t *result)
{
	int err = n > REMOTE_MAX_ARGS ? -E2BIG : 0;

	if (!err && !remote->page)
		err = put_return_code(remote);
	if (!err)
		err = call(remote, function, args, n, stack);
	*result = err ? 0 : remote->value;
	return err;
}

/* ------------------------------------------------------------------ let go */

/* From in front of rt_sigreturn, which it will make when we are gone, to a stop of ours. */
static int settle(struct remote *remote)
{
	struct user_regs_struct registers = remote->saved;
	int err;

	registers.rip = remote->restorer;
	registers.rsp = remote->frame + sizeof(uint64_t);
	registers.orig_rax = -1;
	err = set_registers(remote, &registers);
	return err ? err : interrupt(remote, false, CALL_NS);
}

static int take_return_code(struct remote *remote)
{
	const uint64_t unmap[] = {SYS_munmap, remote->page, PAGE};

	if (!remote->page || remote->has_crashed)
		return 0;
	remote->page = 0;
	remote->restorer = remote->code.restorer;
	return call(remote, remote->code.syscall, unmap, 3, 0);
}

/* The registers come last: without them it would come back by itself. */
static void undo_calls(struct remote *remote)
{
	struct iovec part = {remote->xstate, remote->n_xstate};

	take_return_code(remote);
	remote->is_calling = false;
	if (remote->gone || (remote->has_returned && settle(remote)))
		return;
	if (remote->hurries)
		syscall(SYS_sched_setattr, remote->tid, &remote->scheduling, 0);
	ptrace(PTRACE_SETSIGMASK, remote->tid, (void *)sizeof(uint64_t), &remote->saved_mask);
	ptrace(PTRACE_SETREGSET, remote->tid, (void *)NT_X86_XSTATE, &part);
	set_registers(remote, &remote->saved);
}

/* Only our stop has interrupted it: have it run again. */
static bool restart_syscall(struct remote *remote)
{
	struct user_regs_struct *saved = &remote->saved;

	if (!is_interrupted_for_good(saved->orig_rax, saved->rax) || signal_is_pending(remote))
		return false;
	saved->rip -= 2; /* `syscall` */
	saved->rax = saved->orig_rax;
	saved->orig_rax = -1;
	return true;
}

uint64_t remote__release(struct remote *remote)
{
	uint64_t ns;
	bool changed;

	if (!remote)
		return 0;
	changed = !remote->gone && restart_syscall(remote);
	if (remote->is_calling)
		undo_calls(remote);
	else if (changed)
		set_registers(remote, &remote->saved);
	if (!remote->gone)
		ptrace(PTRACE_DETACH, remote->tid, NULL, remote->owed);
	ns = now_ns() - remote->stopped;
	remote_free(remote);
	return ns;
}

/* ------------------------------------------------------------------ the C library's code */

/* mov $15, %rax or %eax; syscall */
static const unsigned char restorers[][9] = {{0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05},
					     {0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05}};
static const size_t restorer_sizes[] = {9, 7};

#define SEARCHED_AT_ONCE (64 << 10)

uint64_t remote__find_restorer(pid_t pid, uint64_t start, uint64_t end)
{
	static const size_t overlap = 16;
	char *bytes = malloc(SEARCHED_AT_ONCE);
	uint64_t found = 0;

	while (bytes && !found && start < end) {
		size_t size = end - start < SEARCHED_AT_ONCE ? end - start : SEARCHED_AT_ONCE;
		struct iovec here = {bytes, size}, there = {(void *)start, size};
		ssize_t got = process_vm_readv(pid, &here, 1, &there, 1, 0);

		for (size_t i = 0; got > 0 && i < 2 && !found; i++) {
			const char *at = memmem(bytes, got, restorers[i], restorer_sizes[i]);

			found = at ? start + (at - bytes) : 0;
		}
		if (got <= (ssize_t)overlap)
			break;
		start += got - overlap;
	}
	free(bytes);
	return found;
}

#else /* the registers of this architecture are not described yet */

uint64_t remote__find_restorer(pid_t pid, uint64_t start, uint64_t end)
{
	(void)pid, (void)start, (void)end;
	return 0;
}

struct remote *remote__stop(pid_t pid, pid_t tid, const struct remote_code *code)
{
	(void)pid;
	(void)tid;
	(void)code;
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
