/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stack.h - which function a thread runs, and who called it: what the details of an event say.
 *
 * With the GIL it is looked up: frames are walked to the first that belongs to a defined code
 * object (all are that were entered while we looked; the interpreter's own have none). Without it
 * only the thread's own frame is looked at, and what is known of that from the event before is
 * believed if it is the same frame: the co_extra of a code object may move meanwhile.
 */
#ifndef PIKOS_AGENT_STACK_H
#define PIKOS_AGENT_STACK_H

#include <stdbool.h>
#include <stdint.h>

/* Of a thread, as of its last event. Addresses are only compared. */
struct running {
	const void *frame, *code;
	uint32_t id, caller; /* of code objects, or an enum wire_no_code */
	int32_t line, caller_line;
	struct code_entry *entry; /* of code; valid while names.generation is this one */
	uint64_t generation;
	int32_t offset; /* of line, in code */
};

struct agent_thread;
struct code_entry;

/* Once per session. The caller holds the GIL. */
void stack__start(void);
/* @return whether frames are found where they are looked for, as far as that can be seen now */
bool stack__check(void);

/* What the calling thread runs now: thread->running, and that is returned. */
const struct running *stack__look(struct agent_thread *thread);
/*
 * The same at an event of the function, which is at `line`. The caller holds the GIL.
 * @param is_new it is entered: what is known of its frame is of one before
 */
const struct running *stack__at(struct agent_thread *thread, int32_t line, bool is_new);
/* It returns: from here on its caller runs. */
void stack__leave(struct agent_thread *thread);

#endif /* PIKOS_AGENT_STACK_H */
