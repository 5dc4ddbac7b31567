// SPDX-License-Identifier: BSD-3-Clause
/*
 * Three tables, each with a hash index: functions (name, file, first line), places (function,
 * line), nodes (caller, place). A callee's node is always made after its caller's, so sums over
 * subtrees are one pass from the last node to the first. Whether a node's place or function is
 * on its stack already is found when the node is made: subtree sums of the others alone count a
 * recursion once.
 */
#include "ledger/stacks.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "bpf/wire.h"

#define MAX_NODES  (1u << 20)
#define MAX_TEXT   (64u << 20)
#define FIRST_ROOM 64
#define NONE	   UINT32_MAX

struct function {
	struct pikos_text *name, *file;
	int32_t first_line;
};

struct place {
	uint32_t function;
	int32_t line;
};

struct node {
	uint32_t caller, place;
	bool again_line, again_function; /* on the stack above already */
	struct stack_bytes bytes;
};

/* Open addressing; slots hold an entry's number. */
struct index {
	uint32_t *slots;
	uint32_t mask; /* slots - 1 */
	uint32_t n;
};

struct stacks {
	uint64_t seed;
	struct function *functions;
	struct place *places;
	struct node *nodes;
	struct index by_function, by_place, by_node; /* their n: of entries */
	uint32_t room_functions, room_places, room_nodes;
	uint32_t max_nodes;
	size_t text, max_text;
	uint64_t cut;
};

/* ------------------------------------------------------------------ tables */

typedef bool (*is_same_fn)(const struct stacks *stacks, uint32_t entry, const void *key);
typedef uint64_t (*hash_fn)(const struct stacks *stacks, uint32_t entry);

static uint32_t *find_slot(const struct stacks *stacks, const struct index *index, uint64_t hash,
			   is_same_fn is_same, const void *key)
{
	uint32_t slot = hash & index->mask;

	while (index->slots[slot] != NONE && !is_same(stacks, index->slots[slot], key))
		slot = (slot + 1) & index->mask;
	return &index->slots[slot];
}

/* Twice the slots. @return 0 or -ENOMEM: then it is as it was */
static int grow_index(const struct stacks *stacks, struct index *index, hash_fn hash)
{
	uint32_t n_slots = index->slots ? 2 * (index->mask + 1) : 4 * FIRST_ROOM;
	uint32_t *slots = malloc(n_slots * sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	memset(slots, 0xff, n_slots * sizeof(*slots));
	free(index->slots);
	index->slots = slots;
	index->mask = n_slots - 1;
	for (uint32_t entry = 0; entry < index->n; entry++) {
		uint32_t slot = hash(stacks, entry) & index->mask;

		while (slots[slot] != NONE)
			slot = (slot + 1) & index->mask;
		slots[slot] = entry;
	}
	return 0;
}

/* Room for one more entry. @return 0 or -ENOMEM */
static int grow_table(void **table, uint32_t n, uint32_t *room, size_t size)
{
	uint32_t more = *room ? 2 * *room : FIRST_ROOM;
	void *grown;

	if (n < *room)
		return 0;
	grown = realloc(*table, more * size);
	if (!grown)
		return -ENOMEM;
	*table = grown;
	*room = more;
	return 0;
}

static int reserve(const struct stacks *stacks, struct index *index, hash_fn hash, void **table,
		   uint32_t *room, size_t size)
{
	int err = grow_table(table, index->n, room, size);

	if (!err && 2 * (index->n + 1) > index->mask)
		err = grow_index(stacks, index, hash);
	return err;
}

static uint64_t hash_bytes(uint64_t hash, const char *data, size_t len)
{
	size_t i;

	for (i = 0; i + 8 <= len; i += 8) {
		uint64_t word;

		memcpy(&word, data + i, 8);
		hash = wire_hash_word(hash, word);
	}
	for (; i < len; i++)
		hash = wire_hash_word(hash, (unsigned char)data[i]);
	return wire_hash_end(hash, len);
}

/* ------------------------------------------------------------------ functions */

static uint64_t hash_of_line(const struct stacks *stacks, const struct stack_line *line)
{
	uint64_t hash = hash_bytes(stacks->seed, line->function->data, line->function->len);

	hash = hash_bytes(hash, line->file->data, line->file->len);
	return wire_hash_end(hash, (uint32_t)line->first_line);
}

static uint64_t hash_function(const struct stacks *stacks, uint32_t entry)
{
	const struct function *function = &stacks->functions[entry];
	const struct stack_line line = {.function = function->name,
					.file = function->file,
					.first_line = function->first_line};

	return hash_of_line(stacks, &line);
}

static bool is_same_text(const struct pikos_text *a, const struct pikos_text *b)
{
	return a->len == b->len && !memcmp(a->data, b->data, a->len);
}

static bool is_same_function(const struct stacks *stacks, uint32_t entry, const void *key)
{
	const struct function *function = &stacks->functions[entry];
	const struct stack_line *line = key;

	return function->first_line == line->first_line &&
	       is_same_text(function->name, line->function) &&
	       is_same_text(function->file, line->file);
}

static struct pikos_text *copy_text(const struct pikos_text *text)
{
	struct pikos_text *copy = malloc(sizeof(*copy) + text->len);

	if (!copy)
		return NULL;
	*copy = *text;
	copy->data = memcpy(copy + 1, text->data, text->len);
	return copy;
}

/* @return NONE: no room */
static uint32_t find_function(struct stacks *stacks, const struct stack_line *line)
{
	size_t text = line->function->len + line->file->len + 2 * sizeof(struct pikos_text);
	struct function new = {.first_line = line->first_line};
	struct index *index = &stacks->by_function;
	uint32_t *slot;

	if (reserve(stacks, index, hash_function, (void **)&stacks->functions,
		    &stacks->room_functions, sizeof(new)))
		return NONE;
	slot = find_slot(stacks, index, hash_of_line(stacks, line), is_same_function, line);
	if (*slot != NONE)
		return *slot;
	if (stacks->text + text > stacks->max_text || index->n >= stacks->max_nodes)
		return NONE;
	new.name = copy_text(line->function);
	new.file = copy_text(line->file);
	if (!new.name || !new.file) {
		free(new.name);
		free(new.file);
		return NONE;
	}
	stacks->text += text;
	stacks->functions[index->n] = new;
	return *slot = index->n++;
}

/* ------------------------------------------------------------------ places */

static uint64_t hash_of_place(const struct stacks *stacks, const struct place *place)
{
	return wire_hash_end(wire_hash_word(stacks->seed, place->function), (uint32_t)place->line);
}

static uint64_t hash_place(const struct stacks *stacks, uint32_t entry)
{
	return hash_of_place(stacks, &stacks->places[entry]);
}

static bool is_same_place(const struct stacks *stacks, uint32_t entry, const void *key)
{
	const struct place *place = key;

	return stacks->places[entry].function == place->function &&
	       stacks->places[entry].line == place->line;
}

/* @return NONE: no room */
static uint32_t find_place(struct stacks *stacks, const struct stack_line *line)
{
	struct place new = {find_function(stacks, line), line->line};
	struct index *index = &stacks->by_place;
	uint32_t *slot;

	if (new.function == NONE || reserve(stacks, index, hash_place, (void **)&stacks->places,
					    &stacks->room_places, sizeof(new)))
		return NONE;
	slot = find_slot(stacks, index, hash_of_place(stacks, &new), is_same_place, &new);
	if (*slot != NONE)
		return *slot;
	if (index->n >= stacks->max_nodes)
		return NONE;
	stacks->places[index->n] = new;
	return *slot = index->n++;
}

/* ------------------------------------------------------------------ nodes */

static uint64_t hash_of_node(const struct stacks *stacks, const struct node *node)
{
	return wire_hash_end(wire_hash_word(stacks->seed, node->caller), node->place);
}

static uint64_t hash_node(const struct stacks *stacks, uint32_t entry)
{
	return hash_of_node(stacks, &stacks->nodes[entry]);
}

static bool is_same_node(const struct stacks *stacks, uint32_t entry, const void *key)
{
	const struct node *node = key;

	return stacks->nodes[entry].caller == node->caller &&
	       stacks->nodes[entry].place == node->place;
}

static void look_above(const struct stacks *stacks, struct node *new)
{
	uint32_t function = stacks->places[new->place].function;

	for (uint32_t above = new->caller; above >= STACKS_N_SPECIAL;
	     above = stacks->nodes[above].caller) {
		uint32_t place = stacks->nodes[above].place;

		new->again_line |= place == new->place;
		new->again_function |= stacks->places[place].function == function;
	}
}

/* @return NONE: no room */
static uint32_t find_node(struct stacks *stacks, uint32_t caller, uint32_t place)
{
	struct node new = {.caller = caller, .place = place};
	struct index *index = &stacks->by_node;
	uint32_t *slot;

	if (reserve(stacks, index, hash_node, (void **)&stacks->nodes, &stacks->room_nodes,
		    sizeof(new)))
		return NONE;
	slot = find_slot(stacks, index, hash_of_node(stacks, &new), is_same_node, &new);
	if (*slot != NONE)
		return *slot;
	/* Half of the room is for stacks, half for lines of those that found none. */
	if (index->n >= stacks->max_nodes / (caller == STACKS_OTHER ? 1 : 2))
		return NONE;
	if (place != NONE)
		look_above(stacks, &new);
	stacks->nodes[index->n] = new;
	return *slot = index->n++;
}

uint32_t stacks__find(struct stacks *stacks, const struct stack_line *lines, size_t n)
{
	uint32_t node = STACKS_NATIVE;

	for (size_t i = n; i-- && node != NONE;) {
		uint32_t place = find_place(stacks, &lines[i]);

		node = place == NONE ? NONE : find_node(stacks, node, place);
	}
	if (node != NONE)
		return node;
	stacks->cut++;
	node = find_place(stacks, &lines[0]);
	if (node != NONE)
		node = find_node(stacks, STACKS_OTHER, node);
	return node == NONE ? STACKS_OTHER : node;
}

/* ------------------------------------------------------------------ life */

struct stacks *stacks__new(uint32_t max_nodes, size_t max_text)
{
	struct stacks *stacks = calloc(1, sizeof(*stacks));

	if (!stacks)
		return NULL;
	stacks->max_nodes = max_nodes ? max_nodes : MAX_NODES;
	stacks->max_text = max_text ? max_text : MAX_TEXT;
	if (getrandom(&stacks->seed, sizeof(stacks->seed), GRND_NONBLOCK) < 0)
		stacks->seed = (uintptr_t)stacks;
	/* A special node is its own caller: no two are the same. */
	for (uint32_t i = 0; i < STACKS_N_SPECIAL; i++) {
		if (find_node(stacks, i, NONE) != i) {
			stacks__free(stacks);
			errno = ENOMEM;
			return NULL;
		}
	}
	return stacks;
}

void stacks__free(struct stacks *stacks)
{
	if (!stacks)
		return;
	for (uint32_t i = 0; i < stacks->by_function.n; i++) {
		free(stacks->functions[i].name);
		free(stacks->functions[i].file);
	}
	free(stacks->functions);
	free(stacks->places);
	free(stacks->nodes);
	free(stacks->by_function.slots);
	free(stacks->by_place.slots);
	free(stacks->by_node.slots);
	free(stacks);
}

/* ------------------------------------------------------------------ questions */

uint32_t stacks__count(const struct stacks *stacks)
{
	return stacks->by_node.n;
}

struct stack_bytes *stacks__bytes(struct stacks *stacks, uint32_t node)
{
	return &stacks->nodes[node].bytes;
}

uint32_t stacks__caller(const struct stacks *stacks, uint32_t node)
{
	return stacks->nodes[node].caller;
}

uint64_t stacks__cut(const struct stacks *stacks)
{
	return stacks->cut;
}

/* clang-format off */
#define TEXT(string) {.data = string, .len = sizeof(string) - 1, \
		      .flags = PIKOS_TEXT_PLAIN | PIKOS_TEXT_ASCII}
/* clang-format on */

static const struct pikos_text nothing = TEXT("");
static const struct pikos_text special[STACKS_N_SPECIAL] = {
	[STACKS_START] = TEXT("<start>"),     [STACKS_STARTUP] = TEXT("<startup>"),
	[STACKS_NATIVE] = TEXT("<native>"),   [STACKS_OUTSIDE] = TEXT("<outside>"),
	[STACKS_UNKNOWN] = TEXT("<unknown>"), [STACKS_OTHER] = TEXT("<other>"),
};

void stacks__line(const struct stacks *stacks, uint32_t node, struct stack_line *line)
{
	const struct function *function;
	const struct place *place;

	if (node < STACKS_N_SPECIAL) {
		*line = (struct stack_line){&special[node], &nothing, -1, -1};
		return;
	}
	place = &stacks->places[stacks->nodes[node].place];
	function = &stacks->functions[place->function];
	*line = (struct stack_line){function->name, function->file, place->line,
				    function->first_line};
}

/* ------------------------------------------------------------------ sums */

static void add(struct stack_bytes *to, const struct stack_bytes *bytes)
{
	to->mapped += bytes->mapped;
	to->unmapped += bytes->unmapped;
	to->faulted += bytes->faulted;
	to->released += bytes->released;
}

static void subtract(struct stack_bytes *from, const struct stack_bytes *bytes)
{
	from->mapped -= bytes->mapped;
	from->unmapped -= bytes->unmapped;
	from->faulted -= bytes->faulted;
	from->released -= bytes->released;
}

int stacks__save(const struct stacks *stacks, struct stacks_moment *moment)
{
	*moment = (struct stacks_moment){malloc(stacks->by_node.n * sizeof(*moment->bytes)), 0};
	if (!moment->bytes)
		return -ENOMEM;
	for (; moment->n < stacks->by_node.n; moment->n++)
		moment->bytes[moment->n] = stacks->nodes[moment->n].bytes;
	return 0;
}

struct stack_bytes stacks__change(const struct stacks *stacks, uint32_t node,
				  const struct stacks_moment *from, const struct stacks_moment *to)
{
	struct stack_bytes bytes = {0};

	if (!to)
		bytes = stacks->nodes[node].bytes;
	else if (node < to->n)
		bytes = to->bytes[node];
	if (from && node < from->n)
		subtract(&bytes, &from->bytes[node]);
	return bytes;
}

/* Which sum a node belongs to: special ones first, each with its own. */
static uint32_t sum_of(const struct stacks *stacks, enum stacks_by by, uint32_t node)
{
	uint32_t place = stacks->nodes[node].place;

	if (node < STACKS_N_SPECIAL || by == STACKS_BY_STACK)
		return node;
	return STACKS_N_SPECIAL + (by == STACKS_BY_LINE ? place : stacks->places[place].function);
}

static bool is_again(const struct node *node, enum stacks_by by)
{
	return (by == STACKS_BY_LINE && node->again_line) ||
	       (by == STACKS_BY_FUNCTION && node->again_function);
}

static void sum_up(const struct stacks *stacks, enum stacks_by by, struct stack_sum *sums,
		   struct stack_bytes *own, struct stack_bytes *below)
{
	for (uint32_t i = stacks->by_node.n; i--;) {
		const struct node *node = &stacks->nodes[i];
		struct stack_sum *sum = &sums[sum_of(stacks, by, i)];

		sum->node = i;
		add(&below[i], &own[i]);
		add(&sum->own, &own[i]);
		/* What runs without Python is no callee of nobody: special nodes stand alone. */
		if (!is_again(node, by))
			add(&sum->inclusive, i < STACKS_N_SPECIAL ? &own[i] : &below[i]);
		if (i >= STACKS_N_SPECIAL)
			add(&below[node->caller], &below[i]);
	}
}

int64_t stacks__sum(const struct stacks *stacks, enum stacks_by by,
		    const struct stacks_moment *from, const struct stacks_moment *to,
		    struct stack_sum **sums)
{
	uint32_t n_nodes = stacks->by_node.n;
	uint32_t n = by == STACKS_BY_STACK  ? n_nodes
		     : by == STACKS_BY_LINE ? STACKS_N_SPECIAL + stacks->by_place.n
					    : STACKS_N_SPECIAL + stacks->by_function.n;
	struct stack_bytes *own = malloc(n_nodes * sizeof(*own));
	struct stack_bytes *below = calloc(n_nodes, sizeof(*below));

	*sums = calloc(n, sizeof(**sums));
	if (*sums && own && below) {
		for (uint32_t i = 0; i < n_nodes; i++)
			own[i] = stacks__change(stacks, i, from, to);
		sum_up(stacks, by, *sums, own, below);
	} else {
		free(*sums);
		*sums = NULL;
	}
	free(own);
	free(below);
	return *sums ? (int64_t)n : -ENOMEM;
}
