/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pikos_regions.h - mark regions of a C or C++ program, or of an extension module of Python, for
 * `pikos-trace --regions -p PID`: only what the marking thread does between enter and leave is
 * recorded.
 *
 *	#include <pikos_regions.h>
 *
 *	pikos_region_enter();
 *	PyObject_CallNoArgs(callback);
 *	pikos_region_leave();
 *
 * Nothing to link and nothing to initialise. Regions nest, per thread; leave on the thread that
 * entered. While nobody traces both cost a load and a branch that is not taken. Thread-safe.
 *
 * This header stands alone: it is all that a program needs. What it emits are two USDT probes of
 * provider `pikos` with a semaphore each, which other tracers can use as well (`bpftrace -e
 * 'usdt:FILE:pikos:region__enter { ... }'`). x86-64 and arm64, GCC and Clang, ELF; elsewhere the
 * functions are empty.
 *
 * When pikos-trace reads the events from its agent inside the process, the agent has to know:
 * it is told by a call if it is there.
 */
#ifndef PIKOS_REGIONS_H
#define PIKOS_REGIONS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__ELF__) && (defined(__x86_64__) || defined(__aarch64__))

/* Weak: glibc before 2.34 has it in libdl, a static program nowhere. Not by its own name, whose
 * declaration in <dlfcn.h> differs in C++. */
extern void *pikos_region_dlsym(void *handle, const char *name) __asm__("dlsym")
	__attribute__((weak));

/* Each made by the probe of its name, and one per program or library. */
extern volatile unsigned short pikos_region__enter_semaphore
	__attribute__((weak, visibility("hidden")));
extern volatile unsigned short pikos_region__leave_semaphore
	__attribute__((weak, visibility("hidden")));

/*
 * A note for tracers, as <sys/sdt.h> writes it: where the nop is, where the semaphore is. The
 * instruction is a nop of one byte: one of five is rewritten by Linux 6.18 in a way that forked
 * children do not survive.
 */
#define PIKOS_REGION_PROBE(name)                                                            \
	__asm__ volatile("990: nop\n"                                                       \
			 ".pushsection .note.stapsdt,\"?\",\"note\"\n"                      \
			 ".balign 4\n"                                                      \
			 ".4byte 992f-991f, 994f-993f, 3\n"                                 \
			 "991: .asciz \"stapsdt\"\n"                                        \
			 "992: .balign 4\n"                                                 \
			 "993: .8byte 990b\n"                                               \
			 ".8byte _.stapsdt.base\n"                                          \
			 ".8byte pikos_" #name "_semaphore\n"                               \
			 ".asciz \"pikos\"\n"                                               \
			 ".asciz \"" #name "\"\n"                                           \
			 ".asciz \"\"\n"                                                    \
			 "994: .balign 4\n"                                                 \
			 ".popsection\n"                                                    \
			 ".ifndef _.stapsdt.base\n"                                         \
			 ".pushsection .stapsdt.base,\"aG\",%%progbits,"                    \
			 ".stapsdt.base,comdat\n"                                           \
			 ".weak _.stapsdt.base\n"                                           \
			 ".hidden _.stapsdt.base\n"                                         \
			 "_.stapsdt.base: .space 1\n"                                       \
			 ".size _.stapsdt.base, 1\n"                                        \
			 ".popsection\n"                                                    \
			 ".endif\n"                                                         \
			 ".ifndef pikos_" #name "_defined\n"                                \
			 ".set pikos_" #name "_defined, 1\n"                                \
			 ".pushsection .probes,\"awG\",%%progbits,pikos_" #name ",comdat\n" \
			 ".balign 2\n"                                                      \
			 ".weak pikos_" #name "_semaphore\n"                                \
			 ".hidden pikos_" #name "_semaphore\n"                              \
			 "pikos_" #name "_semaphore: .2byte 0\n"                            \
			 ".type pikos_" #name "_semaphore, %%object\n"                      \
			 ".size pikos_" #name "_semaphore, 2\n"                             \
			 ".popsection\n"                                                    \
			 ".endif\n"                                                         \
			 :                                                                  \
			 :                                                                  \
			 : "memory")

/* @return whether the agent was there and has been told, by a request of its agent.h */
static inline int pikos_region_tell_agent(int request)
{
	int (*agent)(int, const void *) = 0;

	if (pikos_region_dlsym)
		*(void **)&agent = pikos_region_dlsym(0, "pikos_agent"); /* 0: RTLD_DEFAULT */
	if (agent)
		agent(request, 0);
	return agent != 0;
}

/* @brief The calling thread enters a region. Never fails, changes nothing but errno at most. */
static inline void pikos_region_enter(void)
{
	if (__builtin_expect(pikos_region__enter_semaphore, 0) && !pikos_region_tell_agent(2))
		PIKOS_REGION_PROBE(region__enter);
}

/* @brief The calling thread leaves the region that it entered last. Outside of any: nothing. */
static inline void pikos_region_leave(void)
{
	if (__builtin_expect(pikos_region__leave_semaphore, 0) && !pikos_region_tell_agent(3))
		PIKOS_REGION_PROBE(region__leave);
}

#else

static inline void pikos_region_enter(void)
{
}

static inline void pikos_region_leave(void)
{
}

#endif

#ifdef __cplusplus
}
#endif

#endif /* PIKOS_REGIONS_H */
