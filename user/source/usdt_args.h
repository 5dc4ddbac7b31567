/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The argument string of a stapsdt note, for instance "8@%rbp 8@16(%rsp) -4@%eax": the compiler's
 * own operand syntax, behind a size that is negative for a signed value.
 */
#ifndef PIKOS_USDT_ARGS_H
#define PIKOS_USDT_ARGS_H

#include "bpf/probe_arg.h"

/* <sys/sdt.h> has no macro with more. */
#define USDT_MAX_ARGS 12

/**
 * Reads an argument string into a description that needs no text any more.
 *
 * @param text      the string; foreign bytes, terminated by NUL
 * @param machine   EM_X86_64 or EM_AARCH64 of <elf.h>: whose operand syntax it is
 * @param args      where the arguments go; unspecified after an error
 * @param max_args  how many fit there
 * @return the number of arguments (0 for an empty string), or
 *         -EINVAL      the string is not an argument string,
 *         -EOPNOTSUPP  it is, but one of them cannot be read by a probe (floating point, a symbol,
 *                      %ah, a segment) or the machine is another one,
 *         -E2BIG       there are more than max_args.
 *
 * Thread-safe; allocates nothing.
 */
int usdt_args__parse(const char *text, int machine, struct probe_arg args[], int max_args);

#endif /* PIKOS_USDT_ARGS_H */
