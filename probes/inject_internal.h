/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * inject_internal.h - what the files of inject share.
 *
 * inject_target.c: what must be known of the process, before it is stopped, and where a thread may
 * be borrowed; inject_loan.c: a borrowed thread and what it is made to do; inject.c: how often
 * which thread is tried, and the calls of inject.h.
 */
#ifndef PIKOS_INJECT_INTERNAL_H
#define PIKOS_INJECT_INTERNAL_H

#include "probes/inject.h"
#include "probes/remote.h"

/* ------------------------------------------------------------------ inject_target.c */

struct range {
	uint64_t start, end;
};

#define MAX_RANGES 8

struct ranges {
	struct range list[MAX_RANGES];
	int n;
};

enum {
	SYM_DLOPEN,
	SYM_LIBC_DLOPEN, /* glibc up to 2.33, where dlopen is in a library of its own */
	SYM_DLERROR,
	SYM_SYSCALL,
	SYM_ERRNO,
	SYM_COUNT,
};

struct inject {
	const struct interpreter_info *info;
	struct ranges text;	     /* the interpreter's */
	struct ranges libc;	     /* of the libraries whose system calls may be waiting */
	struct ranges dl;	     /* musl: where the dynamic linker and libc are one */
	uint64_t symbols[SYM_COUNT]; /* addresses in the target */
	uint64_t restorer;	     /* the same, of code in its C library */
	uint64_t stopped_ns;
};

/* @return err, with why filled */
int inject_refuse(struct interpreter_reason *why, int err, const char *text, const char *next);
int inject_refuse_ended(struct interpreter_reason *why);

/* @return whether the thread that was stopped may be made to call functions */
bool inject_is_safe(const struct inject *inject, const struct remote *remote);

/* ------------------------------------------------------------------ inject_loan.c */

#define STACK_SIZE (256 << 10)
#define PASS_SIZE  (128 << 10) /* of the stack, at its lower end: what a call is given */

/* What stays of a borrowed thread between its calls. */
struct loan {
	struct remote *remote;
	const struct inject *inject;
	uint64_t errno_address, stack; /* stack: its lower end, 0: the thread's own */
	uint64_t top;
	int saved_errno;
};

/* Its stack is made, and what it is to have back is kept. @return 0 or -errno: give it back */
int loan_borrow(struct loan *loan, const struct inject *inject, struct remote *remote);
/* @param err of what was done @return err, or that of giving back */
int loan_give_back(struct loan *loan, int err);

/* @return 0 with the call's result, -1 and an errno of the target's included; -errno */
int loan_syscall(const struct loan *loan, const uint64_t *args, int n, int64_t *result);
/* @return 0, or -errno of the call, or of the target's */
int loan_checked_syscall(const struct loan *loan, const uint64_t *args, int n, int64_t *result);

/* @return whether nothing more can be called there: it has ended, or the call crashed */
bool loan_is_lost(int err);

/*
 * Give the process a descriptor of ours, by a message, since nothing of ours can be opened through
 * /proc by whoever it is. The lower end of its stack is written to.
 * @return 0 with its number there; -EACCES: the kernel has not let it have it; -errno
 */
int loan_give(const struct loan *loan, int given, int *taken);
int loan_close(const struct loan *loan, int number);

#endif /* PIKOS_INJECT_INTERNAL_H */
