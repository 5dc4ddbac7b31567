/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What Python allocates in the raw domain, as hooks of PyMem_SetAllocator see it: the oracle of the
 * monitor `allocations`, for ctypes. Only of the thread that began.
 *
 *	cc -shared -fPIC -O1 -o oracle.so allocation_oracle.c
 *
 * Nothing is linked, so that it loads everywhere: Python's functions are handed in.
 */
#include <stddef.h>
#include <stdint.h>

struct allocator {
	void *ctx;
	void *(*malloc)(void *ctx, size_t size);
	void *(*calloc)(void *ctx, size_t n, size_t size);
	void *(*realloc)(void *ctx, void *block, size_t size);
	void (*free)(void *ctx, void *block);
};

struct entry {
	int64_t event, address, size;
};

#define MAX_ENTRIES (1 << 20)

struct entry oracle_entries[MAX_ENTRIES];
int64_t oracle_count;
int64_t oracle_calls; /* of hooks, whichever thread's */

static struct allocator before;
static void *owner;
static void (*set_allocator)(int, struct allocator *);

static void see(int64_t event, const void *block, size_t size)
{
	oracle_calls++;
	if (__builtin_thread_pointer() != owner || oracle_count == MAX_ENTRIES)
		return;
	oracle_entries[oracle_count++] = (struct entry){event, (intptr_t)block, size};
}

static void *on_malloc(void *ctx, size_t size)
{
	void *block = before.malloc(ctx, size);

	see(1000, block, size);
	return block;
}

static void *on_calloc(void *ctx, size_t n, size_t size)
{
	void *block = before.calloc(ctx, n, size);

	see(1001, block, n * size);
	return block;
}

static void *on_realloc(void *ctx, void *block, size_t size)
{
	void *new = before.realloc(ctx, block, size);

	if (block)
		see(1004, block, 0);
	see(1002, new, size);
	return new;
}

static void on_free(void *ctx, void *block)
{
	if (block)
		see(1003, block, 0);
	before.free(ctx, block);
}

/* With mark, a size of nobody else, as the first block. */
void oracle_begin(void (*get)(int, struct allocator *), void (*set)(int, struct allocator *),
		  void *(*raw_malloc)(size_t), void (*raw_free)(void *), size_t mark)
{
	struct allocator own = {NULL, on_malloc, on_calloc, on_realloc, on_free};

	get(0, &before);
	own.ctx = before.ctx;
	owner = __builtin_thread_pointer();
	oracle_count = 0;
	set_allocator = set;
	set(0, &own);
	raw_free(raw_malloc(mark));
}

void oracle_end(void *(*raw_malloc)(size_t), void (*raw_free)(void *), size_t mark)
{
	void *block = raw_malloc(mark);

	set_allocator(0, &before);
	raw_free(block);
}
