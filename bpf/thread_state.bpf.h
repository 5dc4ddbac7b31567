/* SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only) */
/*
 * From the current thread to the interpreter's state of it, and to the frame on top.
 *
 * _PyRuntime lists the interpreters, each lists its PyThreadStates; ours has the thread_id that
 * this thread's pthread_self is, and a frame. Where a thread has several the first with a frame is
 * taken: new ones are put in front, so that is the innermost of subinterpreters that call each
 * other. Until 3.11 a thread that is being started has its starter's id, and no frame yet.
 *
 * What was found is kept per thread and used as long as the state still has the thread's id and a
 * frame (a freed one has none) and no interpreter was added; with several interpreters it is
 * looked for each time.
 *
 * Everything read is bounded and may be garbage.
 *
 * C code may have a state made by one thread and used by another: its id is then the maker's. Who
 * uses it is not found, and who made it has two states with frames, of which nothing tells its own:
 * that is STATE_DOUBTFUL, its frames are not to be read.
 */
#ifndef PIKOS_THREAD_STATE_BPF_H
#define PIKOS_THREAD_STATE_BPF_H

#include "bpf/state.bpf.h"
#include "bpf/core_compat.bpf.h"

#define MAX_INTERPRETERS  32
#define MAX_THREAD_STATES 512 /* of each */
#define STATES_AT_ONCE	  16
#define STACKREF_TAG_BITS 7ULL

#define FRAME_OWNED_BY_THREAD	 0
#define FRAME_OWNED_BY_GENERATOR 1
#define FRAME_OWNED_BY_NO_PYTHON 3 /* and above: 3.12's CSTACK, 3.14's INTERPRETER, ... */

static __always_inline bool read_word_at(__u64 address, __u64 *value)
{
	return !bpf_probe_read_user(value, sizeof(*value), (const void *)address);
}

static __always_inline __u64 read_word(__u64 address)
{
	__u64 value = 0;

	bpf_probe_read_user(&value, sizeof(value), (const void *)address);
	return value;
}

static __always_inline __u32 read_u32(__u64 address)
{
	__u32 value = 0;

	bpf_probe_read_user(&value, sizeof(value), (const void *)address);
	return value;
}

/* What thread_frame leads to, a frame that counts or not. */
static __always_inline __u64 state_frame(const struct wire_layout *layout, __u64 state)
{
	__u64 frame = read_word(state + layout->thread_frame);

	return layout->flags & WIRE_LAYOUT_CFRAME ? read_word(frame + layout->cframe_frame) : frame;
}

/* @return whether a frame leads to any of Python's: the lowest one of a thread may be none */
static __always_inline bool has_python(const struct wire_layout *layout, __u64 frame)
{
	__u8 owner = 0;

	if (!frame || !(layout->flags & WIRE_LAYOUT_OWNER))
		return frame;
	bpf_probe_read_user(&owner, sizeof(owner), (const void *)(frame + layout->frame_owner));
	return owner < FRAME_OWNED_BY_NO_PYTHON || read_word(frame + layout->frame_previous);
}

/* In the lowest bits of a thread state's address: what it is to the thread that looks. */
#define STATE_RUNS  1ULL /* its own, with frames */
#define STATE_IDLES 2ULL /* its own, without */
#define STATE_GONE  4ULL /* none any more */
#define STATE_BITS  7ULL

#define STATE_DOUBTFUL 8ULL /* no address: one of several */

/*
 * These three are functions of their own for the verifier, which looks at each once and not at
 * each turn of the loop around it; and 5.10's compares each turn of a loop with all before it: of
 * 512 turns in one loop it takes seconds, 16 in one and 32 in another are nothing.
 */

/* @return where the next state is, with the bits of this one */
__weak __u64 look_at_state(__u32 target, __u64 state, __u64 self)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &target);
	__u64 id, next;

	if (!layout || !read_word_at(state + layout->thread_id, &id) ||
	    !read_word_at(state + layout->thread_next, &next))
		return STATE_GONE;
	next &= ~STATE_BITS;
	if (id != self)
		return next;
	return next | (has_python(layout, state_frame(layout, state)) ? STATE_RUNS : STATE_IDLES);
}

/* @return the first state that has bits, with them; else the next one to look at, 0: none */
__weak __u64 look_at_states(__u32 target, __u64 state, __u64 self)
{
	__u64 next;

	for (int i = 0; i < STATES_AT_ONCE && state; i++) {
		next = look_at_state(target, state, self);
		if (next & STATE_BITS)
			return state | (next & STATE_BITS);
		state = next;
	}
	return state;
}

/*
 * @return a state of the interpreter that is the thread's, with its bits; 0: none; with STATE_GONE:
 * as far as could be looked
 */
__weak __u64 find_in_interpreter(__u32 target, __u64 interpreter, __u64 self)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &target);
	__u64 state, found = 0;

	if (!layout)
		return 0;
	state = read_word(interpreter + layout->interpreter_threads_head) & ~STATE_BITS;
	for (int i = 0; i < MAX_THREAD_STATES / STATES_AT_ONCE && state; i++) {
		state = look_at_states(target, state, self);
		if (state & STATE_GONE)
			return found | STATE_GONE;
		if (state & found & STATE_RUNS)
			return STATE_DOUBTFUL | STATE_RUNS;
		if (!(state & STATE_BITS))
			continue;
		if (!(found & STATE_RUNS))
			found = state;
		state = read_word((state & ~STATE_BITS) + layout->thread_next) & ~STATE_BITS;
	}
	return found;
}

/*
 * Other threads make and free states while this one looks. A state that cannot be read has just
 * been freed (the allocator writes where its links were): its interpreter is looked at once more.
 * @return the thread's state, one that has a frame before one that is about to have; 0: none
 */
__weak __u64 find_thread_state(__u32 target, __u64 self)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &target);
	__u64 interpreter, found, idle = 0;

	if (!layout)
		return 0;
	interpreter = read_word(layout->runtime + layout->interpreters_head);
	for (int i = 0; i < MAX_INTERPRETERS && interpreter; i++) {
		found = find_in_interpreter(target, interpreter, self);
		if (found & STATE_GONE)
			found = find_in_interpreter(target, interpreter, self);
		if (found & STATE_RUNS)
			return found & ~STATE_BITS;
		if (found & STATE_IDLES)
			idle = found & ~STATE_BITS;
		interpreter = read_word(interpreter + layout->interpreter_next);
	}
	return idle;
}

/* With several interpreters nothing is trusted: 0 is no interpreter. */
static __always_inline __u64 only_interpreter(const struct wire_layout *layout)
{
	__u64 head = read_word(layout->runtime + layout->interpreters_head);

	return read_word(head + layout->interpreter_next) ? 0 : head;
}

/* @return the current thread's state anew, 0: it runs no Python */
static __always_inline __u64 look_up_thread_state(const struct wire_layout *layout, __u32 target,
						  __u64 self)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct thread_state found;

	found.interpreter = only_interpreter(layout);
	found.state = find_thread_state(target, self);
	if (!found.state || found.state == STATE_DOUBTFUL)
		return found.state;
	bpf_map_update_elem(&thread_states, &tid, &found, BPF_ANY);
	__sync_fetch_and_add(&thread_state_changes, 1);
	return found.state;
}

/*
 * @return the frame on top of the current thread, complete or not; 0: it runs no Python;
 * STATE_DOUBTFUL: nowhere that can be read
 */
static __always_inline __u64 thread_frame(const struct wire_layout *layout, __u32 target)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct thread_state *known = bpf_map_lookup_elem(&thread_states, &tid);
	__u64 self = current_thread_pointer();
	__u64 frame, state;

	if (known && known->interpreter &&
	    known->interpreter == read_word(layout->runtime + layout->interpreters_head) &&
	    read_word(known->state + layout->thread_id) == self) {
		frame = state_frame(layout, known->state);
		if (frame)
			return frame;
	}
	state = look_up_thread_state(layout, target, self);
	if (!state || state == STATE_DOUBTFUL)
		return state;
	return state_frame(layout, state);
}

#endif /* PIKOS_THREAD_STATE_BPF_H */
