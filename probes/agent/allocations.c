// SPDX-License-Identifier: BSD-3-Clause
#include "allocations.h"

#include <string.h>

#include "agent.h"
#include "buffer.h"
#include "details.h"
#include "focus.h"
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
	bool was_reached;
	void *seen[N_DOMAINS]; /* the malloc that was in place when we looked last; atomic */
} state;

/* ------------------------------------------------------------------ hooks */

/*
 * @return the calling thread's, if this is an event: then it is busy, and end() makes it ready
 * again. NULL: only hand on.
 */
static inline struct agent_thread *begin(uint32_t domain)
{
	uint32_t watched = __atomic_load_n(&state.watched, __ATOMIC_RELAXED);
	struct agent_thread *thread;

	if (likely(!(watched & (RECORDED(domain) | TRIED(domain)))))
		return NULL;
	if (unlikely(watched & TRIED(domain)) && state.trying == thread_pointer()) {
		state.was_reached = true;
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

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE void *on_malloc(const struct place *place, uint32_t domain, void *ctx, size_t size)
{
	struct agent_thread *thread = begin(domain);
	void *block = place->original.malloc(ctx, size);

	if (likely(thread)) {
		details__allocation(thread, WIRE_MALLOC, block, size);
		end(thread);
	}
	return block;
}

ALWAYS_INLINE void *on_calloc(const struct place *place, uint32_t domain, void *ctx, size_t n,
			      size_t size)
{
	struct agent_thread *thread = begin(domain);
	void *block = place->original.calloc(ctx, n, size);

	if (likely(thread)) {
		details__allocation(thread, WIRE_CALLOC, block, n * size);
		end(thread);
	}
	return block;
}

/*
 * What is given back is told before: another thread may get it as soon as it is. If there is no
 * memory the old block stays, though its row is there; so it is in the original.
 */
ALWAYS_INLINE void *on_realloc(const struct place *place, uint32_t domain, void *ctx, void *block,
			       size_t size)
{
	struct agent_thread *thread = begin(domain);

	if (likely(thread && block))
		details__allocation(thread, WIRE_REALLOC_FREE, block, 0);
	block = place->original.realloc(ctx, block, size);
	if (likely(thread)) {
		details__allocation(thread, WIRE_REALLOC, block, size);
		end(thread);
	}
	return block;
}

ALWAYS_INLINE void on_free(const struct place *place, uint32_t domain, void *ctx, void *block)
{
	struct agent_thread *thread = block ? begin(domain) : NULL;

	if (likely(thread))
		details__allocation(thread, WIRE_FREE, block, 0);
	place->original.free(ctx, block);
	if (likely(thread))
		end(thread);
}

#define HOOKS(set, domain)                                                         \
	static void *malloc_##set##domain(void *ctx, size_t size)                  \
	{                                                                          \
		return on_malloc(&places[set][domain], domain, ctx, size);         \
	}                                                                          \
	static void *calloc_##set##domain(void *ctx, size_t n, size_t size)        \
	{                                                                          \
		return on_calloc(&places[set][domain], domain, ctx, n, size);      \
	}                                                                          \
	static void *realloc_##set##domain(void *ctx, void *block, size_t size)    \
	{                                                                          \
		return on_realloc(&places[set][domain], domain, ctx, block, size); \
	}                                                                          \
	static void free_##set##domain(void *ctx, void *block)                     \
	{                                                                          \
		on_free(&places[set][domain], domain, ctx, block);                 \
	}
#define HOOKS_OF_SET(set) HOOKS(set, 0) HOOKS(set, 1) HOOKS(set, 2)
HOOKS_OF_SET(0)
HOOKS_OF_SET(1)
HOOKS_OF_SET(2)

#define NAMES(set, domain)                                                               \
	{                                                                                \
		NULL, malloc_##set##domain, calloc_##set##domain, realloc_##set##domain, \
			free_##set##domain                                               \
	}
#define NAMES_OF_SET(set)                                   \
	{                                                   \
		NAMES(set, 0), NAMES(set, 1), NAMES(set, 2) \
	}

static const struct python_allocator hooks[N_SETS][N_DOMAINS] = {
	NAMES_OF_SET(0),
	NAMES_OF_SET(1),
	NAMES_OF_SET(2),
};

/* ------------------------------------------------------------------ in and out */

/* @return the set whose hooks these are, or -1 */
static int set_of(const struct python_allocator *allocator, int domain)
{
	for (int set = 0; set < N_SETS; set++)
		if (allocator->malloc == hooks[set][domain].malloc)
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
	hook = hooks[set][domain];
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
