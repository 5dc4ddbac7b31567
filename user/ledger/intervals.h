/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * intervals.h - ranges of an address space, no two overlapping, each with an owner and a count of
 * bytes.
 *
 *	intervals__put(map, &(struct interval){0x1000, 0x3000, 0x2000, line});
 *	intervals__cut(map, 0x2000, 0x3000, visit, ctx);	one page is left
 *
 * Addresses and bytes are of whole pages. A range may hold fewer bytes than it is long: then nobody
 * knows where in it they are, and what is cut out of it takes its proportion, to the nearest page.
 * Every operation takes O(log n), and O(1) for each interval that it visits.
 */
#ifndef PIKOS_LEDGER_INTERVALS_H
#define PIKOS_LEDGER_INTERVALS_H

#include <stddef.h>
#include <stdint.h>

struct interval {
	uint64_t start, end; /* addresses, end excluded; start < end */
	uint64_t bytes;	     /* up to end - start */
	uint32_t who;
};

struct intervals;

/* Called in order of addresses. @return 0 to go on */
typedef int (*intervals_fn)(void *ctx, const struct interval *piece);

/* @param max how many intervals it may hold @return NULL and errno */
struct intervals *intervals__new(uint32_t max);
/* NULL is fine. */
void intervals__free(struct intervals *map);

/*
 * @brief Add an interval where there is none. It becomes one with a neighbour of the same owner if
 * both are full of their bytes.
 * @return 0; -EEXIST: something is there; -ENOSPC: max are held; -ENOMEM
 */
int intervals__put(struct intervals *map, const struct interval *new);

/*
 * @brief Take out whatever lies in [start, end), splitting what lies across its ends.
 * @param visit called for each piece that was taken out; it must not touch the map. May be NULL
 * @return 0; -ENOMEM, or -ENOSPC for a hole while max are held: nothing was taken out; or what
 * visit returned, which ends the visits but not the cut
 */
int intervals__cut(struct intervals *map, uint64_t start, uint64_t end, intervals_fn visit,
		   void *ctx);

/* @brief Visit what lies in [start, end), as intervals__cut would cut it. @return as visit */
int intervals__each(const struct intervals *map, uint64_t start, uint64_t end, intervals_fn visit,
		    void *ctx);

/* @brief Like intervals__each, for the ranges between: their bytes and owner are 0. */
int intervals__gaps(const struct intervals *map, uint64_t start, uint64_t end, intervals_fn visit,
		    void *ctx);

uint32_t intervals__count(const struct intervals *map);

#endif /* PIKOS_LEDGER_INTERVALS_H */
