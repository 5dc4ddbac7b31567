// SPDX-License-Identifier: BSD-3-Clause
/*
 * An argument string is foreign bytes: whatever it is, what comes out must be safe to hand to a BPF
 * program.
 */
#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "source/usdt_args.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct probe_arg *arg, unsigned int max_reg)
{
	if (arg->kind < PROBE_ARG_CONST || arg->kind > PROBE_ARG_SIB)
		abort();
	if (arg->reg % 8 || arg->reg > max_reg || arg->index % 8 || arg->index > max_reg)
		abort();
	if ((arg->size != 1 && arg->size != 2 && arg->size != 4 && arg->size != 8) ||
	    arg->is_signed > 1 || arg->shift > 4)
		abort();
}

static void parse(const char *text, int machine, unsigned int max_reg)
{
	struct probe_arg args[USDT_MAX_ARGS];
	int i, n;

	n = usdt_args__parse(text, machine, args, USDT_MAX_ARGS);
	if (n > USDT_MAX_ARGS || (n < 0 && n != -EINVAL && n != -EOPNOTSUPP && n != -E2BIG))
		abort();
	for (i = 0; i < n; i++)
		check(&args[i], max_reg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	parse(text, EM_X86_64, 152);
	parse(text, EM_AARCH64, 248);
	free(text);
	return 0;
}
