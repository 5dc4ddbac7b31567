// SPDX-License-Identifier: BSD-3-Clause
#include <elf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#include <cmocka.h>

#include "source/usdt_args.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

struct one {
	const char *text;
	struct probe_arg arg;
};

/* offset, reg, index, kind, size, is_signed, shift */
static const struct one x86[] = {
	{"8@%rbp", {0, 32, 0, PROBE_ARG_REG, 8, 0, 0}},
	{"-4@%eax", {0, 80, 0, PROBE_ARG_REG, 4, 1, 0}},
	{"1@%al", {0, 80, 0, PROBE_ARG_REG, 1, 0, 0}},
	{"-1@%sil", {0, 104, 0, PROBE_ARG_REG, 1, 1, 0}},
	{"-2@%r8w", {0, 72, 0, PROBE_ARG_REG, 2, 1, 0}},
	{"-4@%r14d", {0, 8, 0, PROBE_ARG_REG, 4, 1, 0}},
	{"1@%r15b", {0, 0, 0, PROBE_ARG_REG, 1, 0, 0}},
	{"8@%rsp", {0, 152, 0, PROBE_ARG_REG, 8, 0, 0}},
	{"8@16(%rsp)", {16, 152, 0, PROBE_ARG_DEREF, 8, 0, 0}},
	{"-4@-1204(%rbp)", {-1204, 32, 0, PROBE_ARG_DEREF, 4, 1, 0}},
	{"8@(%rax)", {0, 80, 0, PROBE_ARG_DEREF, 8, 0, 0}},
	{"8@0x10(%rdi)", {16, 112, 0, PROBE_ARG_DEREF, 8, 0, 0}},
	{"8@(%rax,%rbx,8)", {0, 80, 40, PROBE_ARG_SIB, 8, 0, 3}},
	{"8@-24(%rdx,%rcx)", {-24, 96, 88, PROBE_ARG_SIB, 8, 0, 0}},
	{"-4@4(%r9,%r10,2)", {4, 64, 56, PROBE_ARG_SIB, 4, 1, 1}},
	{"-4@$-9", {-9, 0, 0, PROBE_ARG_CONST, 4, 1, 0}},
	{"8@$18446744073709551615", {-1, 0, 0, PROBE_ARG_CONST, 8, 0, 0}},
	{"-8@$-9223372036854775808", {INT64_MIN, 0, 0, PROBE_ARG_CONST, 8, 1, 0}},
	{"  8@$0x1f  ", {31, 0, 0, PROBE_ARG_CONST, 8, 0, 0}},
};

static const struct one arm64[] = {
	{"8@x0", {0, 0, 0, PROBE_ARG_REG, 8, 0, 0}},
	{"-4@w3", {0, 24, 0, PROBE_ARG_REG, 4, 1, 0}},
	{"8@x30", {0, 240, 0, PROBE_ARG_REG, 8, 0, 0}},
	{"8@sp", {0, 248, 0, PROBE_ARG_REG, 8, 0, 0}},
	{"8@[x19]", {0, 152, 0, PROBE_ARG_DEREF, 8, 0, 0}},
	{"-4@[sp, 76]", {76, 248, 0, PROBE_ARG_DEREF, 4, 1, 0}},
	{"-4@[sp,76]", {76, 248, 0, PROBE_ARG_DEREF, 4, 1, 0}},
	{"8@[x29, #-16]", {-16, 232, 0, PROBE_ARG_DEREF, 8, 0, 0}},
	{"8@[x0, x1]", {0, 0, 8, PROBE_ARG_SIB, 8, 0, 0}},
	{"8@[x21, x2, lsl 3]", {0, 168, 16, PROBE_ARG_SIB, 8, 0, 3}},
	{"8@[x21, x2, lsl #3]", {0, 168, 16, PROBE_ARG_SIB, 8, 0, 3}},
	{"-4@5", {5, 0, 0, PROBE_ARG_CONST, 4, 1, 0}},
	{"-4@-5", {-5, 0, 0, PROBE_ARG_CONST, 4, 1, 0}},
	{"-4@wzr", {0, 0, 0, PROBE_ARG_CONST, 4, 1, 0}},
};

struct refused {
	const char *text;
	int err;
};

static const struct refused x86_refused[] = {
	{"8@symbol(%rip)", -EOPNOTSUPP},
	{"8@16+symbol(%rip)", -EOPNOTSUPP},
	{"8@16(%rip)", -EOPNOTSUPP},
	{"8@symbol", -EOPNOTSUPP},
	{"8@$symbol", -EOPNOTSUPP},
	{"8@4096", -EOPNOTSUPP},
	{"1@%ah", -EOPNOTSUPP},
	{"8f@%xmm0", -EOPNOTSUPP},
	{"8@%xmm0", -EOPNOTSUPP},
	{"8@%fs:16", -EOPNOTSUPP},
	{"8@(,%rax,8)", -EOPNOTSUPP},
	{"8@(%eax)", -EOPNOTSUPP},
	{"8@(%rax,%ebx,8)", -EOPNOTSUPP},
	{"8@%rbpx", -EOPNOTSUPP},
	{"8", -EINVAL},
	{"8@", -EINVAL},
	{"@%rax", -EINVAL},
	{"3@%rax", -EINVAL},
	{"16@%rax", -EINVAL},
	{"--8@%rax", -EINVAL},
	{"8@%", -EINVAL},
	{"8@$", -EINVAL},
	{"8@$-", -EINVAL},
	{"8@$0x", -EINVAL},
	{"8@(", -EINVAL},
	{"8@(%rax", -EINVAL},
	{"8@(%rax,", -EINVAL},
	{"8@(%rax,%rbx,3)", -EINVAL},
	{"8@(%rax,%rbx,8", -EINVAL},
	{"8@(%rax)x", -EINVAL},
	{"8@%rax,8@%rbx", -EINVAL},
	{"8@$18446744073709551616", -EINVAL},
	{"8@$-9223372036854775809", -EINVAL},
	{"8@16", -EOPNOTSUPP},
	{"8@%rax garbage", -EINVAL},
	{"\xff", -EINVAL},
};

static const struct refused arm64_refused[] = {
	{"8@[x0, w1, sxtw 2]", -EOPNOTSUPP},
	{"8@[x0, x1, sxtx 2]", -EOPNOTSUPP},
	{"8f@d0", -EOPNOTSUPP},
	{"8@d0", -EOPNOTSUPP},
	{"8@[x0, 16]!", -EOPNOTSUPP},
	{"8@[w0]", -EOPNOTSUPP},
	{"8@symbol", -EOPNOTSUPP},
	{"8@x31", -EINVAL},
	{"8@x01", -EOPNOTSUPP},
	{"8@[", -EINVAL},
	{"8@[x0", -EINVAL},
	{"8@[x0,", -EINVAL},
	{"8@[x0, x1, lsl 5]", -EINVAL},
	{"8@[x0, x1, lsl", -EINVAL},
	{"8@[x0, 76", -EINVAL},
	{"8@", -EINVAL},
};

static void expect_one(const struct one *one, int machine)
{
	struct probe_arg got[2];
	int n;

	memset(got, 0xa5, sizeof(got));
	n = usdt_args__parse(one->text, machine, got, 2);
	if (n != 1 || memcmp(&got[0], &one->arg, sizeof(got[0])) != 0)
		fail_msg("'%s': n %d kind %d offset %lld reg %d index %d size %d sign %d shift %d",
			 one->text, n, got[0].kind, (long long)got[0].offset, got[0].reg,
			 got[0].index, got[0].size, got[0].is_signed, got[0].shift);
}

static void test_x86(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(x86); i++)
		expect_one(&x86[i], EM_X86_64);
}

static void test_arm64(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(arm64); i++)
		expect_one(&arm64[i], EM_AARCH64);
}

static void expect_refused(const struct refused *refused, int machine)
{
	struct probe_arg got[4];
	int n = usdt_args__parse(refused->text, machine, got, 4);

	if (n != refused->err)
		fail_msg("'%s': %d, expected %d", refused->text, n, refused->err);
}

static void test_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(x86_refused); i++)
		expect_refused(&x86_refused[i], EM_X86_64);
	for (size_t i = 0; i < LENGTH(arm64_refused); i++)
		expect_refused(&arm64_refused[i], EM_AARCH64);
}

static void test_lists(void **state)
{
	struct probe_arg got[3];

	(void)state;
	assert_int_equal(usdt_args__parse("", EM_X86_64, got, 3), 0);
	assert_int_equal(usdt_args__parse("   ", EM_X86_64, got, 3), 0);
	assert_int_equal(usdt_args__parse("8@%r14 8@%rax -4@%ebp", EM_X86_64, got, 3), 3);
	assert_int_equal(got[0].reg, 8);
	assert_int_equal(got[1].reg, 80);
	assert_int_equal(got[2].reg, 32);
	assert_int_equal(usdt_args__parse("8@x19 8@[sp, 8] -4@w0", EM_AARCH64, got, 3), 3);
	assert_int_equal(got[1].offset, 8);
	assert_int_equal(got[2].reg, 0);
	assert_int_equal(usdt_args__parse("8@%r14 8@%rax -4@%ebp", EM_X86_64, got, 2), -E2BIG);
	assert_int_equal(usdt_args__parse("8@%rax", EM_X86_64, got, 0), -E2BIG);
	assert_int_equal(usdt_args__parse("8@%rax", EM_RISCV, got, 3), -EOPNOTSUPP);
}

#ifdef __x86_64__
/* The numbers in the table against the ones of the machine's own header. */
static void test_x86_register_offsets(void **state)
{
	static const struct {
		const char *text;
		size_t offset;
	} regs[] = {
#define REG(text, field) {"8@%" text, offsetof(struct user_regs_struct, field)}
		REG("rax", rax), REG("rbx", rbx), REG("rcx", rcx), REG("rdx", rdx),
		REG("rsi", rsi), REG("rdi", rdi), REG("rbp", rbp), REG("rsp", rsp),
		REG("r8", r8),	 REG("r9", r9),	  REG("r10", r10), REG("r11", r11),
		REG("r12", r12), REG("r13", r13), REG("r14", r14), REG("r15", r15),
#undef REG
	};
	struct probe_arg got;

	(void)state;
	for (size_t i = 0; i < LENGTH(regs); i++) {
		assert_int_equal(usdt_args__parse(regs[i].text, EM_X86_64, &got, 1), 1);
		assert_int_equal(got.reg, regs[i].offset);
	}
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_x86),
		cmocka_unit_test(test_arm64),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_lists),
#ifdef __x86_64__
		cmocka_unit_test(test_x86_register_offsets),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
