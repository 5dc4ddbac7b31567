/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * buffer.h - the one buffer of the process, in the interpreter's order.
 *
 * Producer: whoever holds the GIL. It appends slots and publishes their count; at `limit` it goes
 * to agent__attention, which hands over. The helper thread hands over what is there at each tick,
 * without the GIL, so that a C call that keeps it does not delay records. Handing over is under
 * `lock`; only the producer starts at slot 0 again, so the helper and it never touch the same slot.
 *
 * Who wants the producer's attention sets what it asks for, then limit to 0: that costs the hot
 * path nothing.
 */
#ifndef PIKOS_AGENT_BUFFER_H
#define PIKOS_AGENT_BUFFER_H

#include "bpf/wire.h"
#include "system.h"

struct agent_thread;

struct buffer {
	uintptr_t thread;	      /* thread_pointer() of the events' thread; 0: not said yet */
	struct agent_thread *current; /* the same one's; only where `thread` is the caller's */
	uint32_t count;		      /* slots that are complete; atomic */
	uint32_t limit;		      /* atomic */
	uint32_t normal_limit;
	bool times;
	bool closed;	      /* under lock: nothing is handed over any more */
	struct lock lock;     /* of what follows */
	uint32_t flushed;     /* slots handed over */
	uint32_t flushed_tid; /* of the thread that the next slot belongs to */
	uint64_t handed_over; /* events of this session, and those that never came in; atomic */
	struct wire_batch head;
	struct wire_slot slots[WIRE_BATCH_MAX_SLOTS] __attribute__((aligned(64)));
};

extern struct buffer buffer;

void agent__attention(void); /* agent.c */
void threads__switch(void);  /* threads.c: another thread's turn */

/* Append an event; the caller holds the GIL. */
static inline void buffer__event(uint32_t code, int32_t line, uint32_t type)
{
	struct wire_slot *slot;
	uint32_t count;

	if (unlikely(thread_pointer() != buffer.thread))
		threads__switch();
	count = buffer.count;
	slot = &buffer.slots[count];
	slot->time = unlikely(buffer.times) ? agent_clock() : 0;
	slot->code = code;
	slot->line_type = wire_slot_pack(line, type);
	__atomic_store_n(&buffer.count, count + 1, __ATOMIC_RELEASE);
	if (unlikely(count + 1 >= __atomic_load_n(&buffer.limit, __ATOMIC_RELAXED)))
		agent__attention();
}

/* Start anew. The caller holds the GIL. @param limit slots at which the producer hands over */
void buffer__open(bool times, uint32_t limit);

/* Append slots that are no events, all at once. The caller holds the GIL. */
void buffer__append(const struct wire_slot *slots, uint32_t n);
void buffer__say(enum wire_slot_type type, uint32_t code, int32_t line);

/* An event that there was no memory for: the next batch says so (wire_batch.before). */
void buffer__lose(void);

/* Hand over what is there; from any thread. */
void buffer__flush(void);
/* The same, and begin at the first slot again; the caller holds the GIL. */
void buffer__rewind(void);
/* Hand over what is there and a last notice; then nothing more. */
void buffer__close(int refusal);
/* A child of a fork: nothing of the parent's is its own. The lock is the caller's. */
void buffer__forget(void);

void buffer__want_attention(void);
/* Whether a tracer wants batches. */
bool buffer__is_wanted(void);
bool buffer__resend_is_asked(void);

#endif /* PIKOS_AGENT_BUFFER_H */
