// SPDX-License-Identifier: BSD-3-Clause
#include "buffer.h"

#include <string.h>

#include "overhead.h"
#include "probes.h"
#include "session.h"
#include "test_hook.h"

struct buffer buffer;

PROBE_SEMAPHORE(pikos, batch);
PROBE_SEMAPHORE(pikos, run);
PROBE_SEMAPHORE(pikos, resend);

/* Where `run` and `resend` are attached to; nothing ever goes there. */
__attribute__((noinline, used)) static void never_hit(void)
{
	PROBE0(pikos, run);
	PROBE0(pikos, resend);
}

__attribute__((noinline)) static void hit_batch(const struct wire_batch *batch)
{
	PROBE1(pikos, batch, batch);
	TEST_HOOK_BATCH(batch);
}

bool buffer__is_wanted(void)
{
	return pikos_run_semaphore && pikos_batch_semaphore;
}

bool buffer__resend_is_asked(void)
{
	return pikos_resend_semaphore;
}

/* How many of the slots are events; and whose turn it is, and with which values, behind them. */
static uint32_t count_events(const struct wire_slot *slots, uint32_t n)
{
	uint32_t events = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t type = wire_slot_type(&slots[i]);

		if (type == WIRE_SLOT_DETAILED)
			i += WIRE_DETAILED_SLOTS - 1;
		if (type && type <= WIRE_SLOT_DETAILED)
			events++;
		else if (type == WIRE_SLOT_DEFINE)
			i += wire_slot_line(&slots[i]);
		else if (type == WIRE_SLOT_THREAD)
			buffer.flushed_tid = slots[i].code;
		else if (type == WIRE_SLOT_OVERHEAD)
			i++;
		else if (type == WIRE_SLOT_VALUES)
			memcpy(&buffer.flushed_values, &slots[++i], sizeof(buffer.flushed_values));
	}
	return events;
}

static void fill_head_and_hit(const struct wire_slot *slots, uint32_t n)
{
	struct wire_batch *head = &buffer.head;

	memset(head, 0, sizeof(*head));
	head->slots = (uintptr_t)slots;
	head->n_slots = n;
	head->tid = buffer.flushed_tid;
	head->values = buffer.flushed_values;
	head->n_events = count_events(slots, n);
	head->before = __atomic_fetch_add(&buffer.handed_over, head->n_events, __ATOMIC_SEQ_CST);
	head->time = system__now();
	head->clock = system_has_cycles ? cycles() : head->time;
	hit_batch(head);
}

/* Of another thread than the helper, whose time is its CPU's. */
static void hand_over_timed(const struct wire_slot *slots, uint32_t n)
{
	struct stopwatch watch;

	if (session__is_helper()) {
		fill_head_and_hit(slots, n);
		overhead__note_helper(1);
		return;
	}
	stopwatch__start(&watch);
	fill_head_and_hit(slots, n);
	stopwatch__stop(&watch, WIRE_OVERHEAD_BATCH);
}

/* The lock is held. */
static void hand_over(const struct wire_slot *slots, uint32_t n)
{
	if (!n || buffer.closed)
		return;
	if (unlikely(overhead__is_on()))
		hand_over_timed(slots, n);
	else
		fill_head_and_hit(slots, n);
}

static void flush_locked(void)
{
	uint32_t count = __atomic_load_n(&buffer.count, __ATOMIC_ACQUIRE);

	hand_over(buffer.slots + buffer.flushed, count - buffer.flushed);
	buffer.flushed = count;
}

/* The lock is held. What the figures themselves cost comes with the next ones. */
static void say_overhead(void)
{
	static struct wire_slot slots[OVERHEAD_SLOTS];

	if (unlikely(overhead__is_on()))
		hand_over(slots, overhead__say(slots));
}

void buffer__flush(void)
{
	lock__take(&buffer.lock);
	flush_locked();
	say_overhead();
	lock__release(&buffer.lock);
}

/* The caller may append. */
static void rewind_buffer(void)
{
	lock__take(&buffer.lock);
	flush_locked();
	buffer.flushed = 0;
	__atomic_store_n(&buffer.count, 0, __ATOMIC_RELEASE);
	lock__release(&buffer.lock);
}

static void begin_append(void)
{
	if (buffer.is_shared)
		lock__take(&buffer.appending);
}

static void end_append(void)
{
	if (buffer.is_shared)
		lock__release(&buffer.appending);
}

void buffer__rewind(void)
{
	begin_append();
	rewind_buffer();
	end_append();
}

void buffer__close(int refusal)
{
	struct wire_slot notice = {
		.code = WIRE_NOTICE_ENDED,
		.line_type = wire_slot_pack(refusal, WIRE_SLOT_NOTICE),
	};

	lock__take(&buffer.lock);
	flush_locked();
	say_overhead();
	hand_over(&notice, 1);
	buffer.closed = true;
	lock__release(&buffer.lock);
	buffer__want_attention();
}

void buffer__open(bool times, bool is_shared)
{
	lock__take(&buffer.appending);
	lock__take(&buffer.lock);
	buffer.count = buffer.flushed = 0;
	buffer.flushed_tid = 0;
	buffer.handed_over = 0;
	buffer.thread = 0;
	buffer.times = times;
	buffer.limit = WIRE_BATCH_SLOTS;
	memset(&buffer.now, 0, sizeof(buffer.now));
	memset(&buffer.flushed_values, 0, sizeof(buffer.flushed_values));
	buffer.is_shared = is_shared;
	buffer.said_tid = 0;
	buffer.closed = false;
	lock__release(&buffer.lock);
	lock__release(&buffer.appending);
}

bool buffer__hold(void)
{
	if (lock__is_mine(&buffer.lock) || lock__is_mine(&buffer.appending))
		return false; /* a signal handler forks in the middle */
	lock__take(&buffer.appending);
	lock__take(&buffer.lock);
	return true;
}

void buffer__release(void)
{
	lock__release(&buffer.lock);
	lock__release(&buffer.appending);
}

void buffer__forget(void)
{
	buffer.count = buffer.flushed = 0;
	buffer.thread = 0;
	buffer.values = NULL; /* mapped until the hooks are out: an event may be under way */
	buffer.said_tid = 0;
	buffer.closed = true;
	buffer__want_attention();
}

static void append(const struct wire_slot *slots, uint32_t n)
{
	if (buffer.count + n >= WIRE_BATCH_MAX_SLOTS - 1)
		rewind_buffer();
	memcpy(buffer.slots + buffer.count, slots, n * sizeof(*slots));
	__atomic_store_n(&buffer.count, buffer.count + n, __ATOMIC_RELEASE);
}

void buffer__append(const struct wire_slot *slots, uint32_t n)
{
	begin_append();
	append(slots, n);
	end_append();
}

void buffer__detailed(uint32_t tid, uint32_t code, int32_t line, const struct wire_detail *detail)
{
	struct wire_slot *slot;

	if (unlikely(lock__is_mine(&buffer.appending))) { /* a signal handler allocates */
		buffer__lose();
		return;
	}
	lock__take(&buffer.appending);
	if (unlikely(buffer.count >= WIRE_BATCH_SLOTS - WIRE_DETAILED_SLOTS))
		rewind_buffer();
	if (unlikely(buffer.said_tid != tid)) {
		append(&(struct wire_slot){.code = tid,
					   .line_type = wire_slot_pack(0, WIRE_SLOT_THREAD)},
		       1);
		buffer.said_tid = tid;
	}
	slot = &buffer.slots[buffer.count];
	slot->time = agent_clock();
	slot->code = code;
	slot->line_type = wire_slot_pack(line, WIRE_SLOT_DETAILED);
	memcpy(slot + 1, detail, sizeof(*detail));
	__atomic_store_n(&buffer.count, buffer.count + WIRE_DETAILED_SLOTS, __ATOMIC_RELEASE);
	lock__release(&buffer.appending);
}

void buffer__say(enum wire_slot_type type, uint32_t code, int32_t line)
{
	struct wire_slot slot = {.code = code, .line_type = wire_slot_pack(line, type)};

	buffer__append(&slot, 1);
}

void buffer__say_values(const struct wire_values *values)
{
	struct wire_slot slots[2] = {{.line_type = wire_slot_pack(1, WIRE_SLOT_VALUES)}};

	memcpy(&slots[1], values, sizeof(*values));
	buffer__append(slots, 2);
	buffer.now = *values;
}

void buffer__lose(void)
{
	__atomic_fetch_add(&buffer.handed_over, 1, __ATOMIC_SEQ_CST);
}

void buffer__want_attention(void)
{
	__atomic_store_n(&buffer.limit, 0, __ATOMIC_SEQ_CST);
}
