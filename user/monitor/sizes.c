// SPDX-License-Identifier: BSD-3-Clause
/*
 * Open addressing, half full at most; who leaves has those behind it move up, so that there are no
 * tombstones however long it runs.
 */
#include "monitor/sizes.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SLOTS 1024

struct block {
	uint64_t address; /* 0: free */
	uint64_t size;
};

struct sizes {
	struct block *slots; /* NULL: none yet */
	uint32_t n_slots;    /* a power of two */
	uint32_t count;
};

struct sizes *sizes__new(void)
{
	return calloc(1, sizeof(struct sizes));
}

void sizes__clear(struct sizes *sizes)
{
	if (!sizes)
		return;
	free(sizes->slots);
	memset(sizes, 0, sizeof(*sizes));
}

void sizes__free(struct sizes *sizes)
{
	sizes__clear(sizes);
	free(sizes);
}

/* Blocks are aligned: their lowest bits tell nothing. */
static uint32_t home_of(const struct sizes *sizes, uint64_t address)
{
	return (address * UINT64_C(0x9e3779b97f4a7c15)) >> 32 & (sizes->n_slots - 1);
}

/* @return the slot of an address, or the free one where it would be */
static uint32_t find(const struct sizes *sizes, uint64_t address)
{
	uint32_t i = home_of(sizes, address);

	while (sizes->slots[i].address && sizes->slots[i].address != address)
		i = (i + 1) & (sizes->n_slots - 1);
	return i;
}

/* @return whether there is room for one more */
static bool grow(struct sizes *sizes)
{
	struct sizes grown = {.n_slots = sizes->n_slots ? 2 * sizes->n_slots : FIRST_SLOTS,
			      .count = sizes->count};

	if (2 * (uint64_t)(sizes->count + 1) <= sizes->n_slots)
		return true;
	if (sizes->count >= SIZES_MAX)
		return false;
	grown.slots = calloc(grown.n_slots, sizeof(*grown.slots));
	if (!grown.slots)
		return false;
	for (uint32_t i = 0; i < sizes->n_slots; i++)
		if (sizes->slots[i].address)
			grown.slots[find(&grown, sizes->slots[i].address)] = sizes->slots[i];
	free(sizes->slots);
	*sizes = grown;
	return true;
}

void sizes__put(struct sizes *sizes, uint64_t address, uint64_t size)
{
	struct block *block;

	if (!sizes || !address)
		return;
	if (!grow(sizes)) {
		sizes__take(sizes, address); /* what is known of it is not true any more */
		return;
	}
	block = &sizes->slots[find(sizes, address)];
	sizes->count += !block->address;
	*block = (struct block){address, size};
}

/* Whether what is at `from` may stand at `to`, in front of it: its home is not in between. */
static bool may_move(const struct sizes *sizes, uint32_t from, uint32_t to)
{
	uint32_t mask = sizes->n_slots - 1;
	uint32_t home = home_of(sizes, sizes->slots[from].address);

	return ((from - home) & mask) >= ((from - to) & mask);
}

uint64_t sizes__take(struct sizes *sizes, uint64_t address)
{
	uint32_t hole, i;
	uint64_t size;

	if (!sizes || !sizes->slots || !address)
		return 0;
	hole = find(sizes, address);
	if (!sizes->slots[hole].address)
		return 0;
	size = sizes->slots[hole].size;
	for (i = (hole + 1) & (sizes->n_slots - 1); sizes->slots[i].address;
	     i = (i + 1) & (sizes->n_slots - 1)) {
		if (!may_move(sizes, i, hole))
			continue;
		sizes->slots[hole] = sizes->slots[i];
		hole = i;
	}
	sizes->slots[hole].address = 0;
	sizes->count--;
	return size;
}
