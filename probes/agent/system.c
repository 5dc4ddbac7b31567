// SPDX-License-Identifier: BSD-3-Clause
#include "system.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

/*
 * dlsym is the only symbol that glibc moved (2.34, from libdl) and that is linked: by its first
 * version, which every glibc has. Musl does not look at versions.
 */
#if defined(__x86_64__) && defined(__GLIBC__)
asm(".symver dlsym, dlsym@GLIBC_2.2.5");
#elif defined(__aarch64__) && defined(__GLIBC__)
asm(".symver dlsym, dlsym@GLIBC_2.17");
#endif

#define STACK_SIZE (256 << 10) /* musl's default of 128 KiB is enough, glibc's 8 MiB is VMS */

bool system_has_cycles;

static struct {
	int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	int (*attr_init)(pthread_attr_t *);
	int (*attr_destroy)(pthread_attr_t *);
	int (*attr_setstacksize)(pthread_attr_t *, size_t);
	int (*attr_setdetachstate)(pthread_attr_t *, int);
	int (*key_create)(pthread_key_t *, void (*)(void *));
	void *(*getspecific)(pthread_key_t);
	int (*setspecific)(pthread_key_t, const void *);
	int (*register_atfork)(void (*)(void), void (*)(void), void (*)(void), void *);
	int (*atfork)(void (*)(void), void (*)(void), void (*)(void));
} libc;

static pthread_key_t local_key;

void *system__symbol(const char *name)
{
	return dlsym(RTLD_DEFAULT, name);
}

/* A TSC that runs at one speed, and that the kernel itself trusts. */
static bool has_steady_cycles(void)
{
#if defined(__x86_64__)
	unsigned int a, b, c, d = 0;
	char source[16] = "";
	ssize_t len;
	int fd;

	if (!__get_cpuid(0x80000007, &a, &b, &c, &d) || !(d >> 8 & 1))
		return false;
	fd = open("/sys/devices/system/clocksource/clocksource0/current_clocksource",
		  O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	len = read(fd, source, sizeof(source) - 1);
	close(fd);
	return len > 0 && (!strncmp(source, "tsc", 3) || !strncmp(source, "kvm-clock", 9));
#else
	return true;
#endif
}

bool system__init(void)
{
	libc.create = system__symbol("pthread_create");
	libc.attr_init = system__symbol("pthread_attr_init");
	libc.attr_destroy = system__symbol("pthread_attr_destroy");
	libc.attr_setstacksize = system__symbol("pthread_attr_setstacksize");
	libc.attr_setdetachstate = system__symbol("pthread_attr_setdetachstate");
	libc.key_create = system__symbol("pthread_key_create");
	libc.getspecific = system__symbol("pthread_getspecific");
	libc.setspecific = system__symbol("pthread_setspecific");
	libc.register_atfork = system__symbol("__register_atfork");
	libc.atfork = system__symbol("pthread_atfork");
	system_has_cycles = has_steady_cycles();
	return libc.create && libc.attr_init && libc.attr_destroy && libc.attr_setstacksize &&
	       libc.attr_setdetachstate && libc.key_create && libc.getspecific &&
	       libc.setspecific && (libc.register_atfork || libc.atfork);
}

static uint64_t read_clock(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

uint64_t system__now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t system__thread_time(void)
{
	return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

uint32_t system__tid(void)
{
	return syscall(SYS_gettid);
}

bool system__is_main_thread(void)
{
	return syscall(SYS_gettid) == syscall(SYS_getpid);
}

void system__yield(void)
{
	sched_yield();
}

void system__sleep_ms(unsigned int ms)
{
	struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	nanosleep(&time, NULL);
}

void system__sleep_while_zero(uint32_t *word, unsigned int ms)
{
	struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, &time, NULL, 0);
}

void system__wake(uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

bool system__thread_is_gone(uint32_t tid)
{
	return syscall(SYS_tgkill, getpid(), tid, 0) != 0;
}

bool system__peek(const void *address, void *to, size_t size)
{
	struct iovec local = {.iov_base = to, .iov_len = size};
	struct iovec remote = {.iov_base = (void *)address, .iov_len = size};

	return syscall(SYS_process_vm_readv, getpid(), &local, 1, &remote, 1, 0) == (long)size;
}

bool system__start_thread(void *(*body)(void *))
{
	sigset_t all, before;
	pthread_attr_t attributes;
	pthread_t thread;
	bool started;

	if (libc.attr_init(&attributes))
		return false;
	libc.attr_setstacksize(&attributes, STACK_SIZE);
	libc.attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	/* The program's signals are for its own threads. (Linux: sigprocmask is per thread.) */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	started = !libc.create(&thread, &attributes, body, NULL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	libc.attr_destroy(&attributes);
	return started;
}

bool system__local_new(void (*ended)(void *))
{
	return !libc.key_create(&local_key, ended);
}

void *system__local(void)
{
	return libc.getspecific(local_key);
}

void system__set_local(void *value)
{
	libc.setspecific(local_key, value);
}

bool system__at_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
	if (libc.register_atfork)
		return !libc.register_atfork(prepare, parent, child, NULL);
	return !libc.atfork(prepare, parent, child);
}

bool lock__try(struct lock *lock)
{
	uintptr_t nobody = 0;

	return __atomic_compare_exchange_n(&lock->owner, &nobody, thread_pointer(), false,
					   __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

void lock__take(struct lock *lock)
{
	while (!lock__try(lock))
		system__yield();
}

bool lock__is_mine(const struct lock *lock)
{
	return __atomic_load_n(&lock->owner, __ATOMIC_RELAXED) == thread_pointer();
}

void lock__release(struct lock *lock)
{
	__atomic_store_n(&lock->owner, 0, __ATOMIC_RELEASE);
}
