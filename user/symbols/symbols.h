/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * symbols.h - what the ids in events stand for: function and file names.
 *
 * Ids grow and are never used again. The table is bounded: when it is full the caller has the
 * kernel make all ids anew (symbols__full, symbols__rotate); names of the time before are
 * kept until the next rotation, for the events that are under way.
 */
#ifndef PIKOS_SYMBOLS_SYMBOLS_H
#define PIKOS_SYMBOLS_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pikos.h"
#include "symbols/lines.h"

#define SYMBOLS_MAX_BYTES (8u << 20) /* of the ids since the last rotation */

#define SYMBOL_ROWS 7

/* A code object's table of lines, as the interpreter has it: line_table.h. */
struct line_table {
	uint32_t size;	/* bytes */
	uint32_t known; /* of them */
	uint8_t bytes[];
};

struct symbol {
	struct pikos_text *function;
	struct pikos_text *file;
	/* The name as the target gave it: what a reader is asked for. */
	char *path;
	uint32_t path_len;
	/* Of a code object that a walk of frames found: frames.h. */
	struct line_table *lines; /* NULL: none came */
	uint32_t table_format;	  /* enum wire_table_format */
	int32_t first_line;
	/* Cached by the monitor: the file's source, valid for one cache and generation. */
	const struct lines_file *source;
	const struct lines *source_cache;
	uint64_t source_generation;
	/* Where the monitor keeps rows of it; n_rows is one more when there are too many to tell.
	 */
	uint8_t n_rows;
	uint16_t rows[SYMBOL_ROWS];
};

struct symbols;

struct symbols *symbols__new(void);
void symbols__free(struct symbols *symbols);

/* One of the two strings that the kernel sent. */
struct symbol_string {
	const char *bytes;
	size_t len;
	bool cut; /* it was longer: marked with `<cut>` */
};

/* @brief A symbol by itself. @return NULL: no memory */
struct symbol *symbol__new(const struct symbol_string *function, const struct symbol_string *file);
void symbol__free(struct symbol *symbol);
/* @return about what it takes */
size_t symbol__bytes(const struct symbol *symbol);

/* @brief Learn an id. @return 0 or -ENOMEM */
int symbols__define(struct symbols *symbols, uint32_t id, const struct symbol_string *function,
		    const struct symbol_string *file);
/* @brief Give an id its table of lines, owned by the symbols from here on. */
void symbols__set_lines(struct symbols *symbols, uint32_t id, struct line_table *lines);
/* @return the symbol, or NULL when the id is not known */
struct symbol *symbols__get(const struct symbols *symbols, uint32_t id);

/* @return true when a rotation is due */
bool symbols__full(const struct symbols *symbols);
/* @brief Forget what was old, make what is known old. @param last_old ids up to it are old */
void symbols__rotate(struct symbols *symbols, uint32_t last_old);

#endif /* PIKOS_SYMBOLS_SYMBOLS_H */
