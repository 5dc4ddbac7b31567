// SPDX-License-Identifier: BSD-3-Clause
/*
 * Pages of ids, made and given back as ids come and go: programs that compile code all the time go
 * through many ids and keep few.
 */
#include "symbols/ids.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BITS 12
#define PAGE_IDS  (1u << PAGE_BITS)

struct page {
	uint32_t count; /* of known ids */
	struct symbol *symbols[PAGE_IDS];
};

struct ids {
	struct page **pages; /* by the upper bits of the id */
	uint32_t n_pages;
	size_t bytes;
};

struct ids *ids__new(void)
{
	return calloc(1, sizeof(struct ids));
}

void ids__clear(struct ids *ids)
{
	for (uint32_t i = 0; i < ids->n_pages; i++) {
		for (uint32_t j = 0; ids->pages[i] && j < PAGE_IDS; j++)
			symbol__free(ids->pages[i]->symbols[j]);
		free(ids->pages[i]);
	}
	free(ids->pages);
	memset(ids, 0, sizeof(*ids));
}

void ids__free(struct ids *ids)
{
	if (!ids)
		return;
	ids__clear(ids);
	free(ids);
}

static struct symbol **place_of(const struct ids *ids, uint32_t id)
{
	uint32_t page = id >> PAGE_BITS;

	if (page >= ids->n_pages || !ids->pages[page])
		return NULL;
	return &ids->pages[page]->symbols[id % PAGE_IDS];
}

struct symbol *ids__get(const struct ids *ids, uint32_t id)
{
	struct symbol **place = place_of(ids, id);

	return place ? *place : NULL;
}

static int reserve_directory(struct ids *ids, uint32_t page)
{
	uint32_t n = ids->n_pages ? ids->n_pages : 16;
	struct page **grown;

	while (n <= page)
		n *= 2;
	if (n == ids->n_pages)
		return 0;
	grown = realloc(ids->pages, n * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	memset(grown + ids->n_pages, 0, (n - ids->n_pages) * sizeof(*grown));
	ids->bytes += (n - ids->n_pages) * sizeof(*grown);
	ids->pages = grown;
	ids->n_pages = n;
	return 0;
}

static int make_place(struct ids *ids, uint32_t id, struct symbol ***place)
{
	uint32_t page = id >> PAGE_BITS;
	int err = reserve_directory(ids, page);

	if (err)
		return err;
	if (!ids->pages[page]) {
		ids->pages[page] = calloc(1, sizeof(struct page));
		if (!ids->pages[page])
			return -ENOMEM;
		ids->bytes += sizeof(struct page);
	}
	*place = &ids->pages[page]->symbols[id % PAGE_IDS];
	return 0;
}

void ids__forget(struct ids *ids, uint32_t id)
{
	struct symbol **place = place_of(ids, id);
	struct page **page = place && *place ? &ids->pages[id >> PAGE_BITS] : NULL;

	if (!page)
		return;
	ids->bytes -= symbol__bytes(*place);
	symbol__free(*place);
	*place = NULL;
	if (--(*page)->count)
		return;
	free(*page);
	*page = NULL;
	ids->bytes -= sizeof(struct page);
}

int ids__define(struct ids *ids, uint32_t id, const struct symbol_string *function,
		const struct symbol_string *file)
{
	struct symbol **place, *symbol;
	int err;

	if (ids->bytes > IDS_MAX_BYTES)
		return -ENOSPC;
	ids__forget(ids, id);
	symbol = symbol__new(function, file);
	if (!symbol)
		return -ENOMEM;
	err = make_place(ids, id, &place);
	if (err) {
		symbol__free(symbol);
		return err;
	}
	*place = symbol;
	ids->pages[id >> PAGE_BITS]->count++;
	ids->bytes += symbol__bytes(symbol);
	return 0;
}
