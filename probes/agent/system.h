/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * system.h - what the agent needs of libc and the kernel, so that one binary loads with glibc 2.28
 * and later and with musl: no symbol newer than that is linked; what moved between libraries
 * (threads, 2.34) is looked up at run time.
 */
#ifndef PIKOS_AGENT_SYSTEM_H
#define PIKOS_AGENT_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* The address of the calling thread's control block: a number of its own while it lives. */
static inline uintptr_t thread_pointer(void)
{
	uintptr_t pointer;

#if defined(__x86_64__)
	asm("mov %%fs:0, %0" : "=r"(pointer));
#elif defined(__aarch64__)
	asm("mrs %0, tpidr_el0" : "=r"(pointer));
#endif
	return pointer;
}

/* Whether cycles() counts at one speed on all CPUs; else times are system__now(). */
extern bool system_has_cycles;

static inline uint64_t cycles(void)
{
#if defined(__x86_64__)
	uint32_t low, high;

	asm volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
#elif defined(__aarch64__)
	uint64_t value;

	asm volatile("mrs %0, cntvct_el0" : "=r"(value));
	return value;
#endif
}

uint64_t system__now(void);	    /* ns of CLOCK_MONOTONIC */
uint64_t system__thread_time(void); /* ns of CPU of the calling thread */
static inline uint64_t agent_clock(void)
{
	return likely(system_has_cycles) ? cycles() : system__now();
}

/* Find what is looked up. @return false: this libc cannot be used */
bool system__init(void);
void *system__symbol(const char *name); /* of the program and its libraries; NULL: none */
uint32_t system__tid(void);
bool system__is_main_thread(void);
void system__yield(void);
void system__sleep_ms(unsigned int ms);
/* Sleep, but not when *word is not 0 (any more), of which system__wake tells. */
void system__sleep_while_zero(uint32_t *word, unsigned int ms);
void system__wake(uint32_t *word);
bool system__thread_is_gone(uint32_t tid); /* of this process, for the kernel's count, too */

/* Read memory that may be gone. @return whether it is there */
bool system__peek(const void *address, void *to, size_t size);

/* A detached thread with all signals blocked and a small stack. */
bool system__start_thread(void *(*body)(void *));

/* One pointer per thread; `ended` gets it when the thread ends. */
bool system__local_new(void (*ended)(void *));
void *system__local(void);
void system__set_local(void *value);

bool system__at_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void));

/* A lock for short sections; knows its owner, so that a fork in a signal handler cannot hang. */
struct lock {
	uintptr_t owner;
};

bool lock__try(struct lock *lock);
void lock__take(struct lock *lock);
bool lock__is_mine(const struct lock *lock);
void lock__release(struct lock *lock);

#endif /* PIKOS_AGENT_SYSTEM_H */
