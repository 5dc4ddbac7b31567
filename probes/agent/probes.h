/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * probes.h - USDT probes with semaphores, without <sys/sdt.h>: always a one byte nop.
 *
 * Linux 6.18 turns a five byte nop into a call through a mapping that fork does not copy: the child
 * crashes there. All files with a site are compiled with -mno-red-zone, since the kernel's
 * emulation of what stands at a site may use the stack.
 *
 * NOTE(provider, name, arguments) stands in an asm statement; arguments is a string of the form
 * that tools read, "8@%rdi -4@%esi".
 */
#ifndef PIKOS_AGENT_PROBES_H
#define PIKOS_AGENT_PROBES_H

#if defined(__x86_64__)
#define PROBE_NOP   ".byte 0x90\n"
#define ARGUMENT(n) "8@%" n
#define INTEGER(n)  "-4@%k" n
#elif defined(__aarch64__)
#define PROBE_NOP   "nop\n"
#define ARGUMENT(n) "8@%" n
#define INTEGER(n)  "-4@%w" n
#endif

/* The kernel counts here who is attached; __extension__ of the tools' format: 16 bits. */
#define PROBE_SEMAPHORE(provider, name)                               \
	extern volatile unsigned short provider##_##name##_semaphore; \
	volatile unsigned short provider##_##name##_semaphore         \
		__attribute__((section(".probes"), visibility("hidden"), used))

#define PROBE_NOTE(provider, name, arguments)                                   \
	"990: " PROBE_NOP ".pushsection .note.stapsdt,\"\",\"note\"\n"          \
	".balign 4\n"                                                           \
	".4byte 992f-991f, 994f-993f, 3\n"                                      \
	"991: .asciz \"stapsdt\"\n"                                             \
	"992: .balign 4\n"                                                      \
	"993: .8byte 990b\n"                                                    \
	".8byte _.stapsdt.base\n"                                               \
	".8byte " #provider "_" #name "_semaphore\n"                            \
	".asciz \"" #provider "\"\n"                                            \
	".asciz \"" #name "\"\n"                                                \
	".asciz \"" arguments "\"\n"                                            \
	"994: .balign 4\n"                                                      \
	".popsection\n"                                                         \
	".ifndef _.stapsdt.base\n"                                              \
	".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n" \
	".weak _.stapsdt.base\n"                                                \
	".hidden _.stapsdt.base\n"                                              \
	"_.stapsdt.base: .space 1\n"                                            \
	".size _.stapsdt.base, 1\n"                                             \
	".popsection\n"                                                         \
	".endif\n"

#define PROBE0(provider, name) asm volatile(PROBE_NOTE(provider, name, "")::: "memory")
#define PROBE1(provider, name, a) \
	asm volatile(PROBE_NOTE(provider, name, ARGUMENT("0"))::"r"(a) : "memory")
/* As CPython has it: two strings and a line. */
#define PROBE_FUNCTION(provider, name, file, function, line)                                  \
	asm volatile(PROBE_NOTE(provider, name,                                               \
				ARGUMENT("0") " " ARGUMENT("1") " " INTEGER("2"))::"r"(file), \
		     "r"(function), "r"(line)                                                 \
		     : "memory")

#endif /* PIKOS_AGENT_PROBES_H */
