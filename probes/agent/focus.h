/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * focus.h - what passes: focus, the window of a script, regions. Decided per code object when it is
 * defined, and per event by depths. The same rules as bpf/python.bpf.c's.
 */
#ifndef PIKOS_AGENT_FOCUS_H
#define PIKOS_AGENT_FOCUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct agent_thread;
struct code_entry;

struct gate {
	bool is_there; /* some of the below; else everything passes */
	bool has_focus;
	bool has_window;
	bool has_regions;
	uint32_t threads_inside; /* of a focused function; under the GIL, but for a thread's end */
	uint32_t window_depth;	 /* of the script's <module>, all threads */
};

extern struct gate gate;

void focus__start(void);
/* @return enum entry_flag of a code object with these names */
uint32_t focus__decide(void *code, const char *name, size_t name_len, const char *file,
		       size_t file_len);

/*
 * An event of a code object, in order, each one once: does it pass? The caller holds the GIL.
 * @param type enum wire_type
 */
bool focus__passes(const struct code_entry *entry, uint32_t type);

/* Whether what a thread does between its events passes; with or without the GIL. */
bool focus__is_inside(const struct agent_thread *thread);

void focus__thread_ended(const struct agent_thread *thread);

/* The calling thread enters or leaves a region, with or without the GIL. */
void focus__enter_region(struct agent_thread *thread);
void focus__leave_region(struct agent_thread *thread);

#endif /* PIKOS_AGENT_FOCUS_H */
