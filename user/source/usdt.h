/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usdt.h - CPython's own probes in one process: attached, verified, detached.
 *
 * Each site is a uprobe at the probe's nop with the probe's semaphore as its reference counter,
 * scoped to the process. 3.11 fires function__entry only while the semaphore of `line` is raised,
 * and a breakpoint at `line` would cost a trap per line: so a uprobe that carries that semaphore is
 * put where nothing runs any more, an instruction that is known to be one (the program's entry
 * point, DT_INIT, DT_FINI).
 */
#ifndef PIKOS_SOURCE_USDT_H
#define PIKOS_SOURCE_USDT_H

#include <stdbool.h>
#include <sys/types.h>

#include "kernel/kernel.h"
#include "source/interpreter.h"

#define USDT_SITES_PER_TARGET (WIRE_MAX_SITES / WIRE_MAX_TARGETS)

struct usdt_request {
	struct kernel *kernel; /* borrowed */
	uint32_t target;       /* index of the process in the targets map */
	pid_t pid;
	bool lines;	 /* line events; else calls and returns */
	bool script_end; /* with lines: notice the end of a script's <module> */
};

struct usdt;

/*
 * @brief Attach and make sure that every semaphore is raised.
 * @param in borrowed until the result is freed
 * @param why filled on failure
 * @return NULL and errno; nothing stays attached then
 */
struct usdt *usdt__attach(const struct usdt_request *request, const struct interpreter *in,
			  struct interpreter_reason *why);
/* @brief Detach. When it returns no program runs for this process any more. NULL is fine. */
void usdt__free(struct usdt *usdt);

/* @return bits of enum cpython_probe that a request needs */
unsigned int usdt__needs(bool lines, bool script_end);

/*
 * @brief Take breakpoints and semaphores out of processes that nobody traces: fork copies them.
 * Attaching and detaching anybody anywhere has the kernel look at all processes.
 */
int usdt__sweep(const struct usdt *usdt);

/* @brief Have a program that will load its libpython stop at its first instruction. */
struct bpf_link *usdt__stop_at_start(struct kernel *kernel, const struct interpreter *in,
				     pid_t pid);
/* @return whether a stopped program stands in front of that still, its libraries not mapped */
bool usdt__is_loading(const struct interpreter *in);

#endif /* PIKOS_SOURCE_USDT_H */
