/* SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only) */
/*
 * Arguments of a USDT probe, from registers and memory, as its note described them.
 */
#ifndef PIKOS_ARGUMENTS_BPF_H
#define PIKOS_ARGUMENTS_BPF_H

#include "bpf/probe_arg.h"

/*
 * The verifier allows context reads at constant offsets only, and a compiler that sees alike cases
 * merges them into one at a variable offset: hence the assembly.
 */
#define CASE_REGISTER(byte_offset)                                                             \
	case byte_offset:                                                                      \
		asm volatile("%0 = *(u64 *)(%1 + " #byte_offset ")" : "=r"(value) : "r"(ctx)); \
		break;

static __always_inline __u64 read_register(void *ctx, __u16 offset)
{
	__u64 value = 0;

	switch (offset) {
		CASE_REGISTER(0)
		CASE_REGISTER(8)
		CASE_REGISTER(16)
		CASE_REGISTER(24)
		CASE_REGISTER(32)
		CASE_REGISTER(40)
		CASE_REGISTER(48)
		CASE_REGISTER(56)
		CASE_REGISTER(64)
		CASE_REGISTER(72)
		CASE_REGISTER(80)
		CASE_REGISTER(88)
		CASE_REGISTER(96)
		CASE_REGISTER(104)
		CASE_REGISTER(112)
		CASE_REGISTER(152)
#if defined(__TARGET_ARCH_arm64)
		CASE_REGISTER(120)
		CASE_REGISTER(128)
		CASE_REGISTER(136)
		CASE_REGISTER(144)
		CASE_REGISTER(160)
		CASE_REGISTER(168)
		CASE_REGISTER(176)
		CASE_REGISTER(184)
		CASE_REGISTER(192)
		CASE_REGISTER(200)
		CASE_REGISTER(208)
		CASE_REGISTER(216)
		CASE_REGISTER(224)
		CASE_REGISTER(232)
		CASE_REGISTER(240)
		CASE_REGISTER(248)
#endif
	}
	return value;
}

static __always_inline __u64 extend(__u64 value, const struct probe_arg *arg)
{
	__u32 shift = (8 - (arg->size & 7)) * 8 & 63;

	value <<= shift;
	return arg->is_signed ? (__u64)((__s64)value >> shift) : value >> shift;
}

/* An argument that lies in memory: rare, out of line. */
static __noinline __u64 read_memory_argument(__u64 address, const struct probe_arg *arg)
{
	__u64 value = 0;

	if (!arg)
		return 0;
	bpf_probe_read_user(&value, sizeof(value), (const void *)address);
	return extend(value, arg);
}

static __always_inline __u64 read_argument(void *ctx, const struct probe_arg *arg)
{
	__u64 value;

	if (arg->kind == PROBE_ARG_CONST)
		return arg->offset;
	value = read_register(ctx, arg->reg);
	if (arg->kind == PROBE_ARG_REG)
		return extend(value, arg);
	if (arg->kind == PROBE_ARG_SIB)
		value += read_register(ctx, arg->index) << (arg->shift & 7);
	return read_memory_argument(value + arg->offset, arg);
}

#endif /* PIKOS_ARGUMENTS_BPF_H */
