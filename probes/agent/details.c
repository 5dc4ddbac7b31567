// SPDX-License-Identifier: BSD-3-Clause
/*
 * Events of functions with their details, where allocations are events, too.
 */
#include "buffer.h"
#include "details.h"
#include "threads.h"

static bool is_c(uint32_t type)
{
	return type == WIRE_C_CALL || type == WIRE_C_RETURN || type == WIRE_C_EXCEPTION;
}

/* A C function is called by what runs; a Python function by what ran before. */
static void fill(struct wire_detail *detail, struct agent_thread *thread, int32_t line)
{
	const struct running *running = stack__at(thread, line, detail->type == WIRE_CALL);
	bool c = is_c(detail->type);

	detail->caller = c ? running->id : running->caller;
	detail->caller_line = c ? line : running->caller_line;
	detail->depth = thread->depth;
}

static void see(struct agent_thread *thread, uint32_t code, int32_t line, uint32_t type)
{
	struct wire_detail detail = {.type = type};

	if (type == WIRE_CALL)
		thread->depth++;
	fill(&detail, thread, line);
	buffer__detailed(thread->tid, code, line, &detail);
	if (type != WIRE_RETURN)
		return;
	thread->depth--;
	stack__leave(thread);
}

/* The caller holds the GIL. */
void details__event(uint32_t code, int32_t line, uint32_t type)
{
	struct agent_thread *thread = threads__own();

	if (thread)
		see(thread, code, line, type);
	else
		buffer__lose();
	if (unlikely(!__atomic_load_n(&buffer.limit, __ATOMIC_RELAXED)))
		agent__attention();
}

void details__allocation(struct agent_thread *thread, uint32_t type, const void *block,
			 uint64_t size)
{
	const struct running *running = stack__look(thread);
	struct wire_detail detail = {
		.type = type,
		.caller = running->caller,
		.caller_line = running->caller_line,
		.depth = thread->depth,
		.address = (uintptr_t)block,
		.size = size,
	};

	buffer__detailed(thread->tid, running->id, running->line, &detail);
}
