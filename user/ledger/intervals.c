// SPDX-License-Identifier: BSD-3-Clause
/*
 * A treap: a search tree by start address that is a heap by a random number of each node, which
 * keeps its depth at a small multiple of log2(n) whatever the target maps. The numbers are seeded
 * by the kernel, so that a target cannot prepare a deep one. Nodes are in one array and name each
 * other by index; index 0 is no node.
 */
#include "ledger/intervals.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FIRST_ROOM 64
#define PAGE	   UINT64_C(4096)

struct node {
	struct interval at;
	uint32_t priority;
	uint32_t left, right; /* of a free node: left is the next free one */
};

struct intervals {
	struct node *nodes;
	uint32_t root;
	uint32_t n, max;
	uint32_t used, room; /* of nodes[] */
	uint32_t free;
	uint64_t random;
};

struct intervals *intervals__new(uint32_t max)
{
	struct intervals *map = calloc(1, sizeof(*map));

	if (!map)
		return NULL;
	map->max = max;
	map->used = 1;
	if (getrandom(&map->random, sizeof(map->random), GRND_NONBLOCK) < 0)
		map->random = (uintptr_t)map;
	map->random |= 1;
	return map;
}

void intervals__free(struct intervals *map)
{
	if (map)
		free(map->nodes);
	free(map);
}

uint32_t intervals__count(const struct intervals *map)
{
	return map->n;
}

/* ------------------------------------------------------------------ nodes */

/* Room for that many more, so that nothing fails half way. */
static int reserve(struct intervals *map, uint32_t more)
{
	uint32_t room = map->room ? map->room : FIRST_ROOM;
	struct node *nodes;

	while (room < map->n + more + 1)
		room *= 2;
	if (room == map->room)
		return 0;
	nodes = realloc(map->nodes, (size_t)room * sizeof(*nodes));
	if (!nodes)
		return -ENOMEM;
	map->nodes = nodes;
	map->room = room;
	return 0;
}

static uint32_t next_random(struct intervals *map)
{
	map->random ^= map->random << 13;
	map->random ^= map->random >> 7;
	map->random ^= map->random << 17;
	return map->random >> 32;
}

/* There is room: see reserve. */
static uint32_t make_node(struct intervals *map, const struct interval *at)
{
	uint32_t index = map->free;

	if (index)
		map->free = map->nodes[index].left;
	else
		index = map->used++;
	map->nodes[index] = (struct node){.at = *at, .priority = next_random(map)};
	map->n++;
	return index;
}

static void free_node(struct intervals *map, uint32_t index)
{
	map->nodes[index].left = map->free;
	map->free = index;
	map->n--;
}

/* ------------------------------------------------------------------ trees */

/* What starts before the address, and the rest. */
static void split(struct intervals *map, uint32_t tree, uint64_t address, uint32_t *before,
		  uint32_t *rest)
{
	struct node *node;

	if (!tree) {
		*before = *rest = 0;
		return;
	}
	node = &map->nodes[tree];
	if (node->at.start < address) {
		*before = tree;
		split(map, node->right, address, &node->right, rest);
	} else {
		*rest = tree;
		split(map, node->left, address, before, &node->left);
	}
}

/* Everything of a lies before everything of b. */
static uint32_t join(struct intervals *map, uint32_t a, uint32_t b)
{
	if (!a || !b)
		return a ? a : b;
	if (map->nodes[a].priority > map->nodes[b].priority) {
		map->nodes[a].right = join(map, map->nodes[a].right, b);
		return a;
	}
	map->nodes[b].left = join(map, a, map->nodes[b].left);
	return b;
}

static void insert(struct intervals *map, const struct interval *at)
{
	uint32_t before, rest, node = make_node(map, at);

	split(map, map->root, at->start, &before, &rest);
	map->root = join(map, join(map, before, node), rest);
}

/* @return the last one that starts at or before the address, or 0 */
static uint32_t find_before(const struct intervals *map, uint64_t address)
{
	uint32_t found = 0;

	for (uint32_t tree = map->root; tree;) {
		if (map->nodes[tree].at.start <= address) {
			found = tree;
			tree = map->nodes[tree].right;
		} else {
			tree = map->nodes[tree].left;
		}
	}
	return found;
}

/* @return the one that the address lies in or at the start of, or 0 */
static uint32_t find_at(const struct intervals *map, uint64_t address)
{
	uint32_t found = find_before(map, address);

	return found && map->nodes[found].at.end > address ? found : 0;
}

/* ------------------------------------------------------------------ pieces */

/* The part of an interval inside [start, end), with its proportion of the bytes, in whole pages. */
static struct interval clip(const struct interval *whole, uint64_t start, uint64_t end)
{
	struct interval part = *whole;
	unsigned __int128 share;

	part.start = whole->start > start ? whole->start : start;
	part.end = whole->end < end ? whole->end : end;
	share = (unsigned __int128)whole->bytes * (part.end - part.start);
	share /= whole->end - whole->start;
	part.bytes = (share + PAGE / 2) & ~(PAGE - 1);
	return part;
}

/* Have no interval lie across the address. There is room. */
static void split_at(struct intervals *map, uint64_t address)
{
	uint32_t found = find_at(map, address);
	struct interval right;
	struct node *node;

	if (!found || map->nodes[found].at.start == address)
		return;
	node = &map->nodes[found];
	right = node->at;
	node->at = clip(&right, 0, address);
	right.start = address;
	right.bytes -= node->at.bytes;
	insert(map, &right);
}

static bool is_full(const struct interval *at)
{
	return at->bytes == at->end - at->start;
}

static bool may_join(const struct interval *a, const struct interval *b)
{
	return a->end == b->start && a->who == b->who && is_full(a) && is_full(b);
}

int intervals__put(struct intervals *map, const struct interval *new)
{
	uint32_t below = find_before(map, new->end - 1), above;
	struct interval whole;
	int err;

	if (below && map->nodes[below].at.end > new->start)
		return -EEXIST;
	above = find_at(map, new->end);
	if (below && may_join(&map->nodes[below].at, new)) {
		map->nodes[below].at.end = new->end;
		map->nodes[below].at.bytes += new->bytes;
		if (!above || !may_join(&map->nodes[below].at, &map->nodes[above].at))
			return 0;
		whole = map->nodes[above].at;
		if (intervals__cut(map, whole.start, whole.end, NULL, NULL))
			return 0; /* no memory: they stay two */
		map->nodes[below].at.end = whole.end;
		map->nodes[below].at.bytes += whole.bytes;
		return 0;
	}
	if (above && may_join(new, &map->nodes[above].at)) {
		map->nodes[above].at.start = new->start; /* keeps its place in the order */
		map->nodes[above].at.bytes += new->bytes;
		return 0;
	}
	if (map->n >= map->max)
		return -ENOSPC;
	err = reserve(map, 1);
	if (!err)
		insert(map, new);
	return err;
}

static int take_out(struct intervals *map, uint32_t tree, intervals_fn visit, void *ctx)
{
	struct node node;
	int err;

	if (!tree)
		return 0;
	node = map->nodes[tree];
	err = take_out(map, node.left, visit, ctx);
	if (!err && visit)
		err = visit(ctx, &node.at);
	free_node(map, tree);
	/* The rest goes, whatever the visitor said. */
	return take_out(map, node.right, err ? NULL : visit, ctx) ?: err;
}

int intervals__cut(struct intervals *map, uint64_t start, uint64_t end, intervals_fn visit,
		   void *ctx)
{
	uint32_t before, inside, after, found = find_at(map, start);
	bool makes_hole;
	int err;

	if (start >= end || !map->root)
		return 0;
	makes_hole = found && map->nodes[found].at.start < start && map->nodes[found].at.end > end;
	if (makes_hole && map->n >= map->max)
		return -ENOSPC;
	err = reserve(map, 2);
	if (err)
		return err;
	split_at(map, start);
	split_at(map, end);
	split(map, map->root, start, &before, &inside);
	split(map, inside, end, &inside, &after);
	map->root = join(map, before, after);
	return take_out(map, inside, visit, ctx);
}

/* ------------------------------------------------------------------ visits */

struct range {
	uint64_t start, end;
	intervals_fn visit;
	void *ctx;
};

static int walk(const struct intervals *map, uint32_t tree, const struct range *range)
{
	const struct node *node;
	struct interval part;
	int err = 0;

	if (!tree)
		return 0;
	node = &map->nodes[tree];
	if (node->at.start > range->start)
		err = walk(map, node->left, range);
	if (!err && node->at.start < range->end && node->at.end > range->start) {
		part = clip(&node->at, range->start, range->end);
		err = range->visit(range->ctx, &part);
	}
	if (!err && node->at.end < range->end)
		err = walk(map, node->right, range);
	return err;
}

int intervals__each(const struct intervals *map, uint64_t start, uint64_t end, intervals_fn visit,
		    void *ctx)
{
	const struct range range = {start, end, visit, ctx};

	return start < end && map->root ? walk(map, map->root, &range) : 0;
}

struct gaps {
	struct interval gap; /* start: where the last interval ended */
	intervals_fn visit;
	void *ctx;
};

static int visit_gap(struct gaps *gaps, uint64_t end)
{
	gaps->gap.end = end;
	return gaps->gap.start < end ? gaps->visit(gaps->ctx, &gaps->gap) : 0;
}

static int end_gap(void *ctx, const struct interval *piece)
{
	struct gaps *gaps = ctx;
	int err = visit_gap(gaps, piece->start);

	gaps->gap.start = piece->end;
	return err;
}

int intervals__gaps(const struct intervals *map, uint64_t start, uint64_t end, intervals_fn visit,
		    void *ctx)
{
	struct gaps gaps = {.gap = {.start = start}, .visit = visit, .ctx = ctx};
	int err = intervals__each(map, start, end, end_gap, &gaps);

	return err ? err : visit_gap(&gaps, end);
}
