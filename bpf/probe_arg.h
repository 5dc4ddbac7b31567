/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where one argument of a probe is, as the loader found it in the probe's note and as a BPF program
 * reads it from the registers.
 *
 * Included after vmlinux.h by BPF programs, and by user code, so it needs __s64, __u16 and __u8
 * only.
 */
#ifndef PIKOS_PROBE_ARG_H
#define PIKOS_PROBE_ARG_H

#if !defined(__BPF__) && !defined(__bpf__)
#include <linux/types.h>
#endif

/* 0 is no kind, so that a zeroed struct probe_arg is recognised as "no such argument". */
enum probe_arg_kind {
	PROBE_ARG_NONE = 0,
	PROBE_ARG_CONST = 1, /* the value is offset */
	PROBE_ARG_REG = 2,   /* the value is in register reg */
	PROBE_ARG_DEREF = 3, /* the value is in memory at reg + offset */
	PROBE_ARG_SIB = 4,   /* the value is in memory at reg + (index << shift) + offset */
};

/*
 * reg and index are byte offsets inside the kernel's struct pt_regs of the target's architecture:
 * x86-64 from r15 (0) to ss (160), arm64 x0 (0) to x30 (240) and sp (248). They are always
 * multiples of 8 and at most 248, but a BPF program has to prove that to the verifier on its own.
 *
 * size is 1, 2, 4 or 8 bytes. What was read is to be cut to its lowest `size` bytes, then extended
 * by sign if is_signed, by zero if not: the register or the memory above may hold anything.
 */
struct probe_arg {
	__s64 offset;
	__u16 reg;
	__u16 index;
	__u8 kind;
	__u8 size;
	__u8 is_signed;
	__u8 shift; /* 0 to 3; 4 on arm64 */
};

_Static_assert(sizeof(struct probe_arg) == 16, "struct probe_arg is read by BPF programs");

#endif /* PIKOS_PROBE_ARG_H */
