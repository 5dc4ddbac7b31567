// SPDX-License-Identifier: BSD-3-Clause
#include "symbols/symbols.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/text.h"

#define CUT_MARK "<cut>"

/* Ids [first, first + count), by index; NULL where none came. */
struct table {
	struct symbol **symbols;
	uint32_t first, count;
	size_t capacity, bytes;
};

struct symbols {
	struct table old, now;
};

struct symbols *symbols__new(void)
{
	return calloc(1, sizeof(struct symbols));
}

void symbol__free(struct symbol *symbol)
{
	if (!symbol)
		return;
	free(symbol->function);
	free(symbol->file);
	free(symbol->path);
	free(symbol->lines);
	free(symbol);
}

static void table_clear(struct table *table)
{
	for (uint32_t i = 0; i < table->count; i++)
		symbol__free(table->symbols[i]);
	free(table->symbols);
	memset(table, 0, sizeof(*table));
}

void symbols__free(struct symbols *symbols)
{
	if (!symbols)
		return;
	table_clear(&symbols->old);
	table_clear(&symbols->now);
	free(symbols);
}

static int table_reserve(struct table *table, uint32_t index)
{
	size_t capacity = table->capacity ? table->capacity : 1024;
	struct symbol **grown;

	if (index < table->capacity)
		return 0;
	while (capacity <= index)
		capacity *= 2;
	grown = realloc(table->symbols, capacity * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	memset(grown + table->capacity, 0, (capacity - table->capacity) * sizeof(*grown));
	table->symbols = grown;
	table->capacity = capacity;
	return 0;
}

static struct pikos_text *make_text(const struct symbol_string *string)
{
	struct pikos_text *text;
	char *marked;

	if (!string->cut)
		return text__new(string->bytes, string->len);
	marked = malloc(string->len + sizeof(CUT_MARK));
	if (!marked)
		return NULL;
	memcpy(marked, string->bytes, string->len);
	memcpy(marked + string->len, CUT_MARK, sizeof(CUT_MARK));
	text = text__new(marked, string->len + sizeof(CUT_MARK) - 1);
	free(marked);
	return text;
}

struct symbol *symbol__new(const struct symbol_string *function, const struct symbol_string *file)
{
	struct symbol *symbol = calloc(1, sizeof(*symbol));

	if (!symbol)
		return NULL;
	symbol->function = make_text(function);
	symbol->file = make_text(file);
	symbol->path = malloc(file->len + 1);
	if (!symbol->function || !symbol->file || !symbol->path) {
		symbol__free(symbol);
		return NULL;
	}
	memcpy(symbol->path, file->bytes, file->len);
	symbol->path[file->len] = '\0';
	symbol->path_len = file->len;
	return symbol;
}

size_t symbol__bytes(const struct symbol *symbol)
{
	return sizeof(*symbol) + symbol->function->len + symbol->file->len + symbol->path_len +
	       (symbol->lines ? symbol->lines->size : 0) + 5 * 32; /* allocations */
}

static struct table *table_of(struct symbols *symbols, uint32_t id)
{
	return id < symbols->now.first ? &symbols->old : &symbols->now;
}

int symbols__define(struct symbols *symbols, uint32_t id, const struct symbol_string *function,
		    const struct symbol_string *file)
{
	struct table *table = table_of(symbols, id);
	struct symbol *symbol;
	int err;

	if (id < table->first)
		return 0; /* of a time that nothing refers to any more */
	err = table_reserve(table, id - table->first);
	if (err)
		return err;
	symbol = symbol__new(function, file);
	if (!symbol)
		return -ENOMEM;
	if (table->symbols[id - table->first])
		table->bytes -= symbol__bytes(table->symbols[id - table->first]);
	symbol__free(table->symbols[id - table->first]);
	table->symbols[id - table->first] = symbol;
	if (table->count <= id - table->first)
		table->count = id - table->first + 1;
	table->bytes += symbol__bytes(symbol);
	return 0;
}

void symbols__set_lines(struct symbols *symbols, uint32_t id, struct line_table *lines)
{
	struct symbol *symbol = symbols__get(symbols, id);

	if (!symbol) {
		free(lines);
		return;
	}
	if (symbol->lines)
		table_of(symbols, id)->bytes -= symbol->lines->size;
	free(symbol->lines);
	symbol->lines = lines;
	table_of(symbols, id)->bytes += lines->size;
}

struct symbol *symbols__get(const struct symbols *symbols, uint32_t id)
{
	const struct table *table = id < symbols->now.first ? &symbols->old : &symbols->now;
	uint32_t index = id - table->first;

	return id >= table->first && index < table->count ? table->symbols[index] : NULL;
}

bool symbols__full(const struct symbols *symbols)
{
	const struct table *now = &symbols->now;

	/* Ids whose names were lost have a place, too. */
	return now->bytes + now->capacity * sizeof(*now->symbols) > SYMBOLS_MAX_BYTES;
}

void symbols__rotate(struct symbols *symbols, uint32_t last_old)
{
	table_clear(&symbols->old);
	symbols->old = symbols->now;
	memset(&symbols->now, 0, sizeof(symbols->now));
	symbols->now.first = last_old + 1;
}
