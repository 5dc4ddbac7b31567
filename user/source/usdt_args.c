// SPDX-License-Identifier: BSD-3-Clause
/*
 * Only what GCC and clang write for the operands of <sys/sdt.h> is read here, and nothing is
 * guessed: an argument that is read from the wrong place is worse than a probe that is refused.
 */
#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "source/usdt_args.h"

/* Longer operands exist only in forged notes. */
#define MAX_OPERAND 128

struct reg_name {
	const char *name;
	__u8 offset;
	__u8 size;
};

/* Every name of a general register, with its place in struct pt_regs of <asm/ptrace.h>. */
#define X86_LEGACY(l, offset)                   \
	{"r" l, offset, 8}, {"e" l, offset, 4}, \
	{                                       \
		l, offset, 2                    \
	}
#define X86_NUMBERED(n, offset)                                             \
	{"r" n, offset, 8}, {"r" n "d", offset, 4}, {"r" n "w", offset, 2}, \
	{                                                                   \
		"r" n "b", offset, 1                                        \
	}

static const struct reg_name x86_regs[] = {
	X86_NUMBERED("15", 0),	X86_NUMBERED("14", 8), X86_NUMBERED("13", 16),
	X86_NUMBERED("12", 24), X86_LEGACY("bp", 32),  {"bpl", 32, 1},
	X86_LEGACY("bx", 40),	{"bl", 40, 1},	       X86_NUMBERED("11", 48),
	X86_NUMBERED("10", 56), X86_NUMBERED("9", 64), X86_NUMBERED("8", 72),
	X86_LEGACY("ax", 80),	{"al", 80, 1},	       X86_LEGACY("cx", 88),
	{"cl", 88, 1},		X86_LEGACY("dx", 96),  {"dl", 96, 1},
	X86_LEGACY("si", 104),	{"sil", 104, 1},       X86_LEGACY("di", 112),
	{"dil", 112, 1},	X86_LEGACY("sp", 152), {"spl", 152, 1},
};

/* What may follow, as far as it has been read. */
struct cursor {
	const char *at;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
	       c == '.';
}

static bool accept(struct cursor *cur, char c)
{
	if (*cur->at != c)
		return false;
	cur->at++;
	return true;
}

static void skip_spaces(struct cursor *cur)
{
	while (*cur->at == ' ')
		cur->at++;
}

static int digit_value(char c, unsigned int base)
{
	int value = -1;

	if (is_digit(c))
		value = c - '0';
	else if (base == 16 && c >= 'a' && c <= 'f')
		value = c - 'a' + 10;
	else if (base == 16 && c >= 'A' && c <= 'F')
		value = c - 'A' + 10;
	return value;
}

/* A decimal or 0x number with an optional sign. 64 unsigned bits fit: they are the same bits. */
static int take_number(struct cursor *cur, __s64 *number)
{
	bool negative = accept(cur, '-');
	unsigned int base = 10;
	__u64 value = 0;
	int digit;

	if (cur->at[0] == '0' && (cur->at[1] == 'x' || cur->at[1] == 'X')) {
		base = 16;
		cur->at += 2;
	}
	if (digit_value(*cur->at, base) < 0)
		return -EINVAL;
	while ((digit = digit_value(*cur->at, base)) >= 0) {
		if (value > (ULLONG_MAX - (unsigned int)digit) / base)
			return -EINVAL;
		value = value * base + (unsigned int)digit;
		cur->at++;
	}
	if (is_word(*cur->at))
		return -EINVAL;
	if (negative && value > (__u64)LLONG_MAX + 1)
		return -EINVAL;
	*number = (__s64)(negative ? 0 - value : value);
	return 0;
}

static size_t take_word(struct cursor *cur, const char **word)
{
	*word = cur->at;
	while (is_word(*cur->at))
		cur->at++;
	return (size_t)(cur->at - *word);
}

/* %rbp: the register's name is behind the cursor, without the %. */
static int take_x86_reg(struct cursor *cur, __u16 *reg, __u8 *size)
{
	const char *word;
	size_t i, len = take_word(cur, &word);

	if (len == 0)
		return -EINVAL;
	for (i = 0; i < sizeof(x86_regs) / sizeof(x86_regs[0]); i++) {
		if (strlen(x86_regs[i].name) == len && memcmp(x86_regs[i].name, word, len) == 0) {
			*reg = x86_regs[i].offset;
			*size = x86_regs[i].size;
			return 0;
		}
	}
	/* %ah and its like, %rip, %xmm0, %st(0), %fs: registers, but none that is read from here.
	 */
	return -EOPNOTSUPP;
}

static int take_x86_scale(struct cursor *cur, __u8 *shift)
{
	__s64 scale;
	int err;

	err = take_number(cur, &scale);
	if (err)
		return err;
	for (*shift = 0; *shift <= 3; (*shift)++)
		if (scale == 1 << *shift)
			return 0;
	return -EINVAL;
}

/* (%base), (%base,%index) or (%base,%index,scale), without the opening parenthesis. */
static int take_x86_memory(struct cursor *cur, struct probe_arg *arg)
{
	__u8 size;
	int err;

	if (*cur->at == ',')
		return -EOPNOTSUPP; /* an index without a base */
	if (!accept(cur, '%'))
		return -EINVAL;
	err = take_x86_reg(cur, &arg->reg, &size);
	if (err)
		return err;
	if (size != 8)
		return -EOPNOTSUPP;
	arg->kind = PROBE_ARG_DEREF;
	if (accept(cur, ')'))
		return 0;
	if (!accept(cur, ',') || !accept(cur, '%'))
		return -EINVAL;
	err = take_x86_reg(cur, &arg->index, &size);
	if (err)
		return err;
	if (size != 8)
		return -EOPNOTSUPP;
	arg->kind = PROBE_ARG_SIB;
	if (accept(cur, ',')) {
		err = take_x86_scale(cur, &arg->shift);
		if (err)
			return err;
	}
	return accept(cur, ')') ? 0 : -EINVAL;
}

static int take_x86_operand(struct cursor *cur, struct probe_arg *arg)
{
	__u8 size;
	int err;

	if (accept(cur, '$')) {
		arg->kind = PROBE_ARG_CONST;
		if (*cur->at != '-' && !is_digit(*cur->at))
			return is_word(*cur->at) ? -EOPNOTSUPP : -EINVAL;
		return take_number(cur, &arg->offset);
	}
	if (accept(cur, '%')) {
		arg->kind = PROBE_ARG_REG;
		return take_x86_reg(cur, &arg->reg, &size);
	}
	if (*cur->at == '-' || is_digit(*cur->at)) {
		err = take_number(cur, &arg->offset);
		if (err)
			return err;
		/* 16+symbol(%rip), and an absolute address */
		if (*cur->at == '+' || *cur->at == '-' || *cur->at == '\0' || *cur->at == ' ')
			return -EOPNOTSUPP;
	}
	if (accept(cur, '('))
		return take_x86_memory(cur, arg);
	return is_word(*cur->at) ? -EOPNOTSUPP : -EINVAL;
}

/* x0 to x30, w0 to w30, sp and wsp; xzr and wzr are a constant, which is_zero tells. */
static int take_arm64_reg(struct cursor *cur, __u16 *reg, __u8 *size, bool *is_zero)
{
	const char *word;
	size_t len = take_word(cur, &word);
	int n;

	*is_zero = false;
	*size = len > 0 && word[0] == 'w' ? 4 : 8;
	if (len == 3 && (memcmp(word, "xzr", 3) == 0 || memcmp(word, "wzr", 3) == 0)) {
		*is_zero = true;
		return 0;
	}
	if ((len == 2 && memcmp(word, "sp", 2) == 0) || (len == 3 && memcmp(word, "wsp", 3) == 0)) {
		*reg = 248;
		return 0;
	}
	if (len == 0)
		return -EINVAL;
	if (len > 3 || (word[0] != 'x' && word[0] != 'w') || len < 2 || !is_digit(word[1]))
		return -EOPNOTSUPP;
	n = word[1] - '0';
	if (len == 3) {
		if (!is_digit(word[2]) || n == 0)
			return -EOPNOTSUPP;
		n = n * 10 + (word[2] - '0');
	}
	if (n > 30)
		return -EINVAL;
	*reg = (__u16)(n * 8);
	return 0;
}

/* , x1] or , x1, lsl #3] behind the base register */
static int take_arm64_index(struct cursor *cur, struct probe_arg *arg)
{
	__s64 shift;
	bool is_zero;
	__u8 size;
	int err;

	err = take_arm64_reg(cur, &arg->index, &size, &is_zero);
	if (err)
		return err;
	if (size != 8 || is_zero || arg->index == 248)
		return -EOPNOTSUPP;
	arg->kind = PROBE_ARG_SIB;
	skip_spaces(cur);
	if (accept(cur, ']'))
		return 0;
	if (!accept(cur, ','))
		return -EINVAL;
	skip_spaces(cur);
	if (strncmp(cur->at, "lsl", 3) != 0)
		return -EOPNOTSUPP; /* sxtw, uxtw, sxtx */
	cur->at += 3;
	skip_spaces(cur);
	accept(cur, '#');
	err = take_number(cur, &shift);
	if (err)
		return err;
	if (shift < 0 || shift > 4)
		return -EINVAL;
	arg->shift = (__u8)shift;
	skip_spaces(cur);
	return accept(cur, ']') ? 0 : -EINVAL;
}

/* [x19], [sp, 76] or [x0, x1, lsl 3], without the opening bracket */
static int take_arm64_memory(struct cursor *cur, struct probe_arg *arg)
{
	bool is_zero;
	__u8 size;
	int err;

	skip_spaces(cur);
	err = take_arm64_reg(cur, &arg->reg, &size, &is_zero);
	if (err)
		return err;
	if (size != 8 || is_zero)
		return -EOPNOTSUPP;
	arg->kind = PROBE_ARG_DEREF;
	skip_spaces(cur);
	if (accept(cur, ',')) {
		skip_spaces(cur);
		if (*cur->at != '#' && *cur->at != '-' && !is_digit(*cur->at))
			return take_arm64_index(cur, arg);
		accept(cur, '#');
		err = take_number(cur, &arg->offset);
		if (err)
			return err;
		skip_spaces(cur);
	}
	if (!accept(cur, ']'))
		return -EINVAL;
	return *cur->at == '!' ? -EOPNOTSUPP : 0;
}

static int take_arm64_operand(struct cursor *cur, struct probe_arg *arg)
{
	bool is_zero;
	__u8 size;
	int err;

	if (accept(cur, '['))
		return take_arm64_memory(cur, arg);
	if (*cur->at == '#' || *cur->at == '-' || is_digit(*cur->at)) {
		accept(cur, '#');
		arg->kind = PROBE_ARG_CONST;
		return take_number(cur, &arg->offset);
	}
	err = take_arm64_reg(cur, &arg->reg, &size, &is_zero);
	arg->kind = is_zero ? PROBE_ARG_CONST : PROBE_ARG_REG;
	return err;
}

/* The size in front of the @: -4 is a signed value of four bytes, 8f a floating-point one. */
static int take_size(struct cursor *cur, struct probe_arg *arg)
{
	bool is_signed = accept(cur, '-');
	char digit = *cur->at;

	if (digit != '1' && digit != '2' && digit != '4' && digit != '8')
		return -EINVAL;
	cur->at++;
	if (*cur->at == 'f')
		return -EOPNOTSUPP;
	if (!accept(cur, '@'))
		return -EINVAL;
	arg->is_signed = is_signed;
	arg->size = (__u8)(digit - '0');
	return 0;
}

static int take_arg(struct cursor *cur, int machine, struct probe_arg *arg)
{
	int err;

	memset(arg, 0, sizeof(*arg));
	err = take_size(cur, arg);
	if (err)
		return err;
	err = machine == EM_X86_64 ? take_x86_operand(cur, arg) : take_arm64_operand(cur, arg);
	if (err)
		return err;
	return *cur->at == '\0' || *cur->at == ' ' ? 0 : -EINVAL;
}

int usdt_args__parse(const char *text, int machine, struct probe_arg args[], int max_args)
{
	struct cursor cur = {text};
	int err, n = 0;

	if (machine != EM_X86_64 && machine != EM_AARCH64)
		return -EOPNOTSUPP;
	if (strlen(text) > (size_t)MAX_OPERAND * USDT_MAX_ARGS)
		return -EINVAL;
	for (;;) {
		skip_spaces(&cur);
		if (*cur.at == '\0')
			return n;
		if (n == max_args)
			return -E2BIG;
		err = take_arg(&cur, machine, &args[n]);
		if (err)
			return err;
		n++;
	}
}
