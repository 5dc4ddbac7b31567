/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stacks.h - Python stacks, each kept once, and what is counted for each.
 *
 * A stack is a node of a tree: a line of a function, and below it what it has called. What is
 * counted stands at the innermost line; sums for lines, functions and callers are made from the
 * tree when they are asked for. Strings are copied. Everything has a bound: what comes when it is
 * reached is counted for STACKS_OTHER, or for the innermost line alone, and counted.
 */
#ifndef PIKOS_LEDGER_STACKS_H
#define PIKOS_LEDGER_STACKS_H

#include <stddef.h>
#include <stdint.h>

#include "pikos.h"

/* Nodes that are no lines. */
enum stacks_special {
	STACKS_START,	/* what was there before the first event */
	STACKS_STARTUP, /* before the first Python frame of a program */
	STACKS_NATIVE,	/* no Python ran; the root of all others */
	STACKS_OUTSIDE, /* done by another process, or the kernel */
	STACKS_UNKNOWN, /* it could not be read */
	STACKS_OTHER,	/* more stacks than there is room for */
	STACKS_N_SPECIAL,
};

/* Bytes. Of what was mapped by a line, the line of the call that unmapped it does not matter. */
struct stack_bytes {
	int64_t mapped;	  /* by its calls */
	int64_t unmapped; /* of these */
	int64_t faulted;  /* made resident */
	int64_t released; /* of these */
};

struct stack_line {
	const struct pikos_text *function, *file;
	int32_t line;	    /* -1: not known */
	int32_t first_line; /* of the function; -1: not known */
};

struct stacks;

/* @param max_nodes,max_text 0: the defaults; text in bytes. @return NULL and errno */
struct stacks *stacks__new(uint32_t max_nodes, size_t max_text);
/* NULL is fine. */
void stacks__free(struct stacks *stacks);

/*
 * @brief The node of a stack.
 * @param lines innermost first; borrowed. n 0: STACKS_NATIVE
 * @return never fails: STACKS_OTHER if need be
 */
uint32_t stacks__find(struct stacks *stacks, const struct stack_line *lines, size_t n);

/* @return how many nodes there are; they are numbered from 0, callers before their callees */
uint32_t stacks__count(const struct stacks *stacks);
/* @return the counters of a node; valid until the next stacks__find */
struct stack_bytes *stacks__bytes(struct stacks *stacks, uint32_t node);
/* @return the caller's node; that of a special one is itself */
uint32_t stacks__caller(const struct stacks *stacks, uint32_t node);
/* @brief What a node's line is: texts are owned by stacks. A special one has a name like `<native>`
 * and line -1 */
void stacks__line(const struct stacks *stacks, uint32_t node, struct stack_line *line);
/* @return stacks that were not kept whole: their own line is right, unless it is STACKS_OTHER */
uint64_t stacks__cut(const struct stacks *stacks);

/* All counters at a moment. */
struct stacks_moment {
	struct stack_bytes *bytes; /* by node; owned */
	uint32_t n;		   /* nodes from n on did not exist: theirs were 0 */
};

/* @brief Copy all counters. @param moment filled; its bytes are freed by the caller. @return 0;
 * -ENOMEM */
int stacks__save(const struct stacks *stacks, struct stacks_moment *moment);
/* @return by how much a node's counters have changed. @param from NULL: all 0 @param to NULL: now
 */
struct stack_bytes stacks__change(const struct stacks *stacks, uint32_t node,
				  const struct stacks_moment *from, const struct stacks_moment *to);

/* What sums are made for. */
enum stacks_by { STACKS_BY_LINE, STACKS_BY_FUNCTION, STACKS_BY_STACK, STACKS_N_BY };

/* The sum over all stacks that end in (own) or run through (inclusive) the same. */
struct stack_sum {
	uint32_t node; /* one of that line or function; of that stack */
	struct stack_bytes own, inclusive;
};

/*
 * @brief Sum up. A line or function that is on a stack more than once counts once.
 * @param from,to as in stacks__change
 * @param sums filled: an array that the caller frees, special nodes included, unsorted
 * @return how many, or -ENOMEM
 */
int64_t stacks__sum(const struct stacks *stacks, enum stacks_by by,
		    const struct stacks_moment *from, const struct stacks_moment *to,
		    struct stack_sum **sums);

#endif /* PIKOS_LEDGER_STACKS_H */
