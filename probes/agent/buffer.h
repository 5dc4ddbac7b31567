/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * buffer.h - the one buffer of the process, in the interpreter's order.
 *
 * Producer: whoever holds the GIL. It appends slots and publishes their count; at `limit` it goes
 * to agent__attention, which hands over. The helper thread hands over what is there at each tick,
 * without the GIL, so that a C call that keeps it does not delay records. Handing over is under
 * `lock`; only the producer starts at slot 0 again, so the helper and it never touch the same slot.
 *
 * Where allocations are events, threads without the GIL have events, too: then the buffer is
 * shared, everyone appends under `appending`, and only who has the GIL looks after more than the
 * buffer.
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
	bool times;
	const struct wire_values *values; /* where they are to be seen; NULL: nobody asks */
	struct wire_values now;		  /* what is said of the events that follow */
	bool is_shared;			  /* ...and `thread` is nobody's: events go to details.c */
	struct lock appending;		  /* is_shared: of count, slots and said_tid */
	uint32_t said_tid;    /* is_shared: of the thread that the next slot belongs to */
	bool closed;	      /* under lock: nothing is handed over any more */
	struct lock lock;     /* of what follows */
	uint32_t flushed;     /* slots handed over */
	uint32_t flushed_tid; /* of the thread that the next slot belongs to */
	struct wire_values flushed_values; /* of the next slot */
	uint64_t handed_over; /* events of this session, and those that never came in; atomic */
	struct wire_batch head;
	struct wire_slot slots[WIRE_BATCH_MAX_SLOTS] __attribute__((aligned(64)));
};

extern struct buffer buffer;

void agent__attention(void); /* agent.c */
void threads__switch(void);  /* threads.c: another thread's turn */
void buffer__say_values(const struct wire_values *values);

/* Whether the next event has others than the one before; values.h. */
static inline void buffer__look_at_values(void)
{
	const struct wire_values values = {
		.rss = __atomic_load_n(&buffer.values->rss, __ATOMIC_RELAXED),
		.vms = __atomic_load_n(&buffer.values->vms, __ATOMIC_RELAXED),
	};

	if (unlikely(values.rss != buffer.now.rss || values.vms != buffer.now.vms))
		buffer__say_values(&values);
}
void details__event(uint32_t code, int32_t line, uint32_t type); /* details.c */

/* Append an event; the caller holds the GIL. */
static inline void buffer__event(uint32_t code, int32_t line, uint32_t type)
{
	struct wire_slot *slot;
	uint32_t count;

	if (unlikely(thread_pointer() != buffer.thread)) {
		if (buffer.is_shared) {
			details__event(code, line, type);
			return;
		}
		threads__switch();
	}
	if (unlikely(buffer.values))
		buffer__look_at_values();
	count = buffer.count;
	slot = &buffer.slots[count];
	slot->time = unlikely(buffer.times) ? agent_clock() : 0;
	slot->code = code;
	slot->line_type = wire_slot_pack(line, type);
	__atomic_store_n(&buffer.count, count + 1, __ATOMIC_RELEASE);
	if (unlikely(count + 1 >= __atomic_load_n(&buffer.limit, __ATOMIC_RELAXED)))
		agent__attention();
}

/* Start anew. The caller holds the GIL. */
void buffer__open(bool times, bool is_shared);

/* Append slots that are no events, all at once. The caller holds the GIL. */
void buffer__append(const struct wire_slot *slots, uint32_t n);
void buffer__say(enum wire_slot_type type, uint32_t code, int32_t line);

/*
 * Append an event with its details, of the thread with that tid; with or without the GIL, while the
 * buffer is shared.
 */
void buffer__detailed(uint32_t tid, uint32_t code, int32_t line, const struct wire_detail *detail);

/* An event that there was no memory for: the next batch says so (wire_batch.before). */
void buffer__lose(void);

/* Hand over what is there; from any thread. */
void buffer__flush(void);
/* The same, and begin at the first slot again; the caller holds the GIL. */
void buffer__rewind(void);
/* Hand over what is there and a last notice; then nothing more. */
void buffer__close(int refusal);
/* Around a fork: nobody appends, nobody hands over. @return whether it has them now */
bool buffer__hold(void);
void buffer__release(void);
/* A child of a fork: nothing of the parent's is its own. */
void buffer__forget(void);

void buffer__want_attention(void);
/* Whether a tracer wants batches. */
bool buffer__is_wanted(void);
bool buffer__resend_is_asked(void);

#endif /* PIKOS_AGENT_BUFFER_H */
