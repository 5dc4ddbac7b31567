// SPDX-License-Identifier: BSD-3-Clause
#include "allocations.h"

#include <string.h>

#include "agent.h"
#include "buffer.h"
#include "details.h"
#include "focus.h"
#include "overhead.h"
#include "python_api.h"
#include "threads.h"

#define N_DOMAINS 3 /* PYMEM_DOMAIN_RAW, _MEM, _OBJ */
/*
 * What a hook hands on to never changes: another thread may be about to. So there is a set of hooks
 * for each allocator that was found in their place.
 */
#define N_SETS 3

static struct place {
	struct python_allocator original;
	bool is_used;
} places[N_SETS][N_DOMAINS];

#define RECORDED(domain) (1u << (domain))
#define TRIED(domain)	 (1u << (N_DOMAINS + (domain)))

static struct {
	uint32_t wanted;  /* bits of RECORDED */
	uint32_t watched; /* RECORDED: events; TRIED: is_reached asks; atomic */
	uintptr_t trying; /* thread_pointer() of who asks */
	bool timed;	  /* which hooks the session has */
	bool was_reached;
	void *seen[N_DOMAINS]; /* the malloc that was in place when we looked last; atomic */
} state;

/* ------------------------------------------------------------------ hooks */

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Which hooks: `timed` is a constant where they are inlined. */
struct which {
	const struct place *place;
	uint32_t domain;
	bool timed;
};

/*
 * @return the calling thread's, if this is an event: then it is busy, and end() makes it ready
 * again. NULL: only hand on.
 */
ALWAYS_INLINE struct agent_thread *begin(struct which which)
{
	uint32_t domain = which.domain;
	uint32_t watched = __atomic_load_n(&state.watched, __ATOMIC_RELAXED);
	struct agent_thread *thread;

	if (likely(!(watched & (RECORDED(domain) | TRIED(domain)))))
		return NULL;
	if (unlikely(watched & TRIED(domain)) && state.trying == thread_pointer()) {
		state.was_reached |= which.timed == state.timed;
		return NULL;
	}
	if (unlikely(!(watched & RECORDED(domain))))
		return NULL;
	thread = threads__own();
	if (unlikely(!thread)) {
		buffer__lose();
		return NULL;
	}
	if (thread->is_busy)
		return NULL;
	if (unlikely(gate.is_there) && !focus__is_inside(thread))
		return NULL;
	thread->is_busy = true;
	return thread;
}

static inline void end(struct agent_thread *thread)
{
	thread->is_busy = false;
}

ALWAYS_INLINE struct agent_thread *begin_hook(struct which which, struct stopwatch *watch)
{
	if (which.timed)
		stopwatch__start(watch);
	return begin(which);
}

/* From here on, and until then, it is the program's own. */
ALWAYS_INLINE void leave_hook(struct which which, struct stopwatch *watch)
{
	if (which.timed)
		stopwatch__pause(watch);
}

ALWAYS_INLINE void enter_hook_again(struct which which, struct stopwatch *watch)
{
	if (which.timed)
		stopwatch__resume(watch);
}

ALWAYS_INLINE void end_hook(struct which which, struct stopwatch *watch,
			    enum wire_allocation_type type, struct agent_thread *thread)
{
	if (likely(thread))
		end(thread);
	if (which.timed)
		stopwatch__stop(watch, type);
}

ALWAYS_INLINE void *on_malloc(struct which which, void *ctx, size_t size)
{
	struct stopwatch watch;
	struct agent_thread *thread = begin_hook(which, &watch);
	void *block;

	leave_hook(which, &watch);
	block = which.place->original.malloc(ctx, size);
	enter_hook_again(which, &watch);
	if (likely(thread))
		details__allocation(thread, WIRE_MALLOC, block, size);
	end_hook(which, &watch, WIRE_MALLOC, thread);
	return block;
}

ALWAYS_INLINE void *on_calloc(struct which which, void *ctx, size_t n, size_t size)
{
	struct stopwatch watch;
	struct agent_thread *thread = begin_hook(which, &watch);
	void *block;

	leave_hook(which, &watch);
	block = which.place->original.calloc(ctx, n, size);
	enter_hook_again(which, &watch);
	if (likely(thread))
		details__allocation(thread, WIRE_CALLOC, block, n * size);
	end_hook(which, &watch, WIRE_CALLOC, thread);
	return block;
}

/*
 * What is given back is told before: another thread may get it as soon as it is. If there is no
 * memory the old block stays, though its row is there; so it is in the original.
 */
ALWAYS_INLINE void *on_realloc(struct which which, void *ctx, void *block, size_t size)
{
	struct stopwatch watch;
	struct agent_thread *thread = begin_hook(which, &watch);

	if (likely(thread && block))
		details__allocation(thread, WIRE_REALLOC_FREE, block, 0);
	leave_hook(which, &watch);
	block = which.place->original.realloc(ctx, block, size);
	enter_hook_again(which, &watch);
	if (likely(thread))
		details__allocation(thread, WIRE_REALLOC, block, size);
	end_hook(which, &watch, WIRE_REALLOC, thread);
	return block;
}

ALWAYS_INLINE void on_free(struct which which, void *ctx, void *block)
{
	struct stopwatch watch;
	struct agent_thread *thread;

	if (!block) {
		which.place->original.free(ctx, block);
		return;
	}
	thread = begin_hook(which, &watch);
	if (likely(thread))
		details__allocation(thread, WIRE_FREE, block, 0);
	leave_hook(which, &watch);
	which.place->original.free(ctx, block);
	enter_hook_again(which, &watch);
	end_hook(which, &watch, WIRE_FREE, thread);
}

#define HOOKS(kind, timed, set, domain)                                                            \
	static void *malloc_##kind##set##domain(void *ctx, size_t size)                            \
	{                                                                                          \
		return on_malloc((struct which){&places[set][domain], domain, timed}, ctx, size);  \
	}                                                                                          \
	static void *calloc_##kind##set##domain(void *ctx, size_t n, size_t size)                  \
	{                                                                                          \
		return on_calloc((struct which){&places[set][domain], domain, timed}, ctx, n,      \
				 size);                                                            \
	}                                                                                          \
	static void *realloc_##kind##set##domain(void *ctx, void *block, size_t size)              \
	{                                                                                          \
		return on_realloc((struct which){&places[set][domain], domain, timed}, ctx, block, \
				  size);                                                           \
	}                                                                                          \
	static void free_##kind##set##domain(void *ctx, void *block)                               \
	{                                                                                          \
		on_free((struct which){&places[set][domain], domain, timed}, ctx, block);          \
	}
#define HOOKS_OF_SET(kind, timed, set) \
	HOOKS(kind, timed, set, 0) HOOKS(kind, timed, set, 1) HOOKS(kind, timed, set, 2)
HOOKS_OF_SET(plain, false, 0)
HOOKS_OF_SET(plain, false, 1)
HOOKS_OF_SET(plain, false, 2)
HOOKS_OF_SET(timed, true, 0)
HOOKS_OF_SET(timed, true, 1)
HOOKS_OF_SET(timed, true, 2)

#define NAMES(kind, set, domain)                                              \
	{                                                                     \
		NULL, malloc_##kind##set##domain, calloc_##kind##set##domain, \
			realloc_##kind##set##domain, free_##kind##set##domain \
	}
#define NAMES_OF_SET(kind, set)                                               \
	{                                                                     \
		NAMES(kind, set, 0), NAMES(kind, set, 1), NAMES(kind, set, 2) \
	}
#define NAMES_OF_SETS(kind) NAMES_OF_SET(kind, 0), NAMES_OF_SET(kind, 1), NAMES_OF_SET(kind, 2)

static const struct python_allocator plain_hooks[N_SETS][N_DOMAINS] = {NAMES_OF_SETS(plain)};
static const struct python_allocator timed_hooks[N_SETS][N_DOMAINS] = {NAMES_OF_SETS(timed)};

/* The session's. Others may be behind somebody's, from a session before. */
static const struct python_allocator *hooks_of(int set, int domain)
{
	return state.timed ? &timed_hooks[set][domain] : &plain_hooks[set][domain];
}

/* ------------------------------------------------------------------ in and out */

/* @return the set whose hooks these are, or -1 */
static int set_of(const struct python_allocator *allocator, int domain)
{
	for (int set = 0; set < N_SETS; set++)
		if (allocator->malloc == hooks_of(set, domain)->malloc)
			return set;
	return -1;
}

static int choose_set(const struct python_allocator *original, int domain)
{
	for (int set = 0; set < N_SETS; set++)
		if (places[set][domain].is_used &&
		    !memcmp(&places[set][domain].original, original, sizeof(*original)))
			return set;
	for (int set = 0; set < N_SETS; set++)
		if (!places[set][domain].is_used)
			return set;
	return -1;
}

static bool put_in(int domain, const struct python_allocator *original)
{
	int set = choose_set(original, domain);
	struct python_allocator hook;

	if (set < 0)
		return false;
	places[set][domain].original = *original;
	places[set][domain].is_used = true;
	hook = *hooks_of(set, domain);
	/* The same one: a thread may use the old functions with the new context, or the reverse. */
	hook.ctx = original->ctx;
	py.PyMem_SetAllocator(domain, &hook);
	return true;
}

/* Whether what is in front of us comes to us: have it allocate something. */
static bool is_reached(int domain)
{
	static void *(**const allocate[])(size_t) = {&py.PyMem_RawMalloc, &py.PyMem_Malloc,
						     &py.PyObject_Malloc};
	static void (**const give_back[])(void *) = {&py.PyMem_RawFree, &py.PyMem_Free,
						     &py.PyObject_Free};
	void *block;

	state.was_reached = false;
	state.trying = thread_pointer();
	__atomic_or_fetch(&state.watched, TRIED(domain), __ATOMIC_SEQ_CST);
	block = (*allocate[domain])(1);
	(*give_back[domain])(block);
	__atomic_and_fetch(&state.watched, ~TRIED(domain), __ATOMIC_SEQ_CST);
	state.trying = 0;
	return state.was_reached;
}

enum presence { IS_IN, IS_IN_AGAIN, CANNOT_BE_IN };

static enum presence have_in(int domain)
{
	enum presence presence = IS_IN;
	struct python_allocator now;

	py.PyMem_GetAllocator(domain, &now);
	if (set_of(&now, domain) < 0 && !is_reached(domain)) {
		presence = put_in(domain, &now) ? IS_IN_AGAIN : CANNOT_BE_IN;
		py.PyMem_GetAllocator(domain, &now);
	}
	__atomic_store_n(&state.seen[domain], (void *)now.malloc, __ATOMIC_RELAXED);
	return presence;
}

static void take_out(int domain)
{
	struct python_allocator now;
	int set;

	py.PyMem_GetAllocator(domain, &now);
	set = set_of(&now, domain);
	if (set >= 0) /* else somebody's is in front: to take that out is theirs */
		py.PyMem_SetAllocator(domain, &places[set][domain].original);
}

bool allocations__put_in(uint32_t flags)
{
	bool all = true;

	state.timed = flags & AGENT_OVERHEAD;
	state.wanted = (flags & AGENT_RAW ? RECORDED(0) : 0) |
		       (flags & AGENT_MEM ? RECORDED(1) : 0) |
		       (flags & AGENT_OBJ ? RECORDED(2) : 0);
	for (int domain = 0; domain < N_DOMAINS && all; domain++)
		all = !(state.wanted & RECORDED(domain)) || have_in(domain) != CANNOT_BE_IN;
	if (!all)
		allocations__take_out();
	return all;
}

void allocations__take_out(void)
{
	allocations__switch(false);
	for (int domain = 0; domain < N_DOMAINS; domain++)
		if (state.wanted & RECORDED(domain))
			take_out(domain);
	state.wanted = 0;
}

void allocations__switch(bool on)
{
	__atomic_store_n(&state.watched, on ? state.wanted : 0, __ATOMIC_SEQ_CST);
}

bool allocations__look(void)
{
	uint32_t wanted = state.wanted;

	for (int domain = 0; domain < N_DOMAINS; domain++) {
		struct python_allocator now;

		if (!(wanted & RECORDED(domain)))
			continue;
		py.PyMem_GetAllocator(domain, &now);
		if ((void *)now.malloc != __atomic_load_n(&state.seen[domain], __ATOMIC_RELAXED))
			return true;
	}
	return false;
}

void allocations__adopt(void)
{
	for (int domain = 0; domain < N_DOMAINS; domain++) {
		struct python_allocator now;

		if (!(state.wanted & RECORDED(domain)))
			continue;
		py.PyMem_GetAllocator(domain, &now);
		if ((void *)now.malloc == state.seen[domain])
			continue;
		if (have_in(domain) != IS_IN)
			buffer__say(WIRE_SLOT_NOTICE, WIRE_NOTICE_ALLOCATOR, domain);
	}
}
