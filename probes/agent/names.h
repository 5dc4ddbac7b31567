/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * names.h - ids of code objects and of what they call in C, and their definitions in the stream.
 *
 * A code object carries its entry in a co_extra slot, whose free function says when the id's code
 * is gone: ids never stand for two things at once, however the interpreter reuses memory. What is
 * looked up once and kept (line numbers, callees at a place) hangs on the entry.
 *
 * An entry is defined (its strings sent) at its first use in an epoch; a session is an epoch, and a
 * loader that lost a definition makes a new one.
 */
#ifndef PIKOS_AGENT_NAMES_H
#define PIKOS_AGENT_NAMES_H

#include "compat.h"
#include "python_api.h"
#include "system.h"

enum entry_flag {
	ENTRY_FOCUSED = 1 << 0,
	ENTRY_WINDOW = 1 << 1,	    /* the <module> of the script */
	ENTRY_REGION_MARK = 1 << 2, /* makes regions: is none of their events */
	ENTRY_LOCAL = 1 << 3,	    /* has local events: hooks_lines.c */
};

/*
 * A C function called from a code object: its id means (its name, the caller's file), or with
 * AGENT_ALLOCATIONS (its name, its module).
 */
struct callee {
	struct callee *next;
	const char *module; /* behind the name; NULL: the caller's file */
	uint32_t id;
	uint32_t epoch;
	char name[];
};

/* What was called last at a place in the code. */
struct call_site {
	int32_t offset;
	int32_t line;
	const struct method_definition *definition;
	struct callee *callee;
};

#define ENTRY_LINES 4

struct code_entry {
	uint32_t id;
	uint32_t epoch;
	uint32_t flags; /* enum entry_flag */
	uint32_t site_mask;
	struct {
		int32_t offset, line;
	} lines[ENTRY_LINES];
	struct call_site *sites;
	struct callee *callees;
};

struct names {
	uint32_t epoch;
	uint64_t generation; /* grows when an entry goes or must be defined anew */
	size_t extra_offset; /* of co_extra in a code object; 0: ask the interface */
	ssize_t extra_index;
	bool is_open; /* definitions are wanted */
};

extern struct names names;

/* Once. The caller holds the GIL. @return 0 or -AGENT_NO_MEMORY */
int names__init(void);
/* From here on everything is defined anew. */
void names__new_epoch(void);

struct code_entry *names__entry_slow(void *code);
int32_t names__line_slow(struct code_entry *entry, void *code, int32_t offset);
struct call_site *names__site_slow(struct code_entry *entry, void *code, int32_t offset,
				   int32_t line, void *function,
				   const struct method_definition *definition);

/* CPython's struct behind co_extra. */
struct code_extra {
	ssize_t size;
	void *extras[];
};

/* The entry of a code object, defined. NULL: no memory. */
static inline struct code_entry *names__entry(void *code)
{
	const struct code_extra *extra = pointer_at(code, names.extra_offset);
	struct code_entry *entry;

	if (unlikely(!names.extra_offset || !extra || extra->size <= names.extra_index))
		return names__entry_slow(code);
	entry = extra->extras[names.extra_index];
	if (unlikely(!entry || entry->epoch != names.epoch))
		return names__entry_slow(code);
	return entry;
}

/* The same if it is there already: nothing is called. NULL: it is not, or is of another session. */
static inline struct code_entry *names__known(const void *code)
{
	const struct code_extra *extra = pointer_at(code, names.extra_offset);
	struct code_entry *entry;

	if (unlikely(!names.extra_offset || !extra || extra->size <= names.extra_index))
		return NULL;
	entry = extra->extras[names.extra_index];
	return likely(entry && entry->epoch == names.epoch) ? entry : NULL;
}

/* Define what the threads are in; the caller holds the GIL and no Python error is set. */
void names__define_running(void);

/* The line of an instruction at a byte offset. */
static inline int32_t names__line(struct code_entry *entry, void *code, int32_t offset)
{
	unsigned int slot = (uint32_t)offset / 2 % ENTRY_LINES;

	if (likely(entry->lines[slot].offset == offset))
		return entry->lines[slot].line;
	return names__line_slow(entry, code, offset);
}

/* Names are compared, not their addresses: definitions can be made and freed at run time. */
static inline bool same_text(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/*
 * What is called at a place, defined. NULL: no memory.
 * @param line of the place, or LINE_UNKNOWN: to be found by the offset
 * @param function what is called, of that definition
 */
#define LINE_UNKNOWN INT32_MIN
static inline struct call_site *names__site(struct code_entry *entry, void *code, int32_t offset,
					    int32_t line, void *function,
					    const struct method_definition *definition)
{
	struct call_site *site;

	if (unlikely(!entry->sites))
		return names__site_slow(entry, code, offset, line, function, definition);
	site = &entry->sites[(uint32_t)offset / 2 & entry->site_mask];
	if (unlikely(site->offset != offset || site->definition != definition ||
		     site->callee->epoch != names.epoch ||
		     !same_text(site->callee->name, definition->name)))
		return names__site_slow(entry, code, offset, line, function, definition);
	return site;
}

#endif /* PIKOS_AGENT_NAMES_H */
