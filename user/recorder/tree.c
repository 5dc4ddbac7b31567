// SPDX-License-Identifier: BSD-3-Clause
#include "recorder/tree.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/record_type.h"
#include "recorder/cell.h"
#include "recorder/digits.h"

#define MAX_THREADS 1024
#define BUCKETS	    2048
/* Open calls kept over all threads: 64 MiB. Deeper ones are only counted. */
#define MAX_CALLS (2u << 20)
/* A return whose call is not the last open one is looked for this far down. */
#define MAX_SEARCH 1024
/* Deeper lines are no further to the right; they say how deep they are instead. */
#define MAX_INDENT 64

struct call {
	uint64_t name; /* hash of function and file */
	uint64_t time;
	int64_t rss;
};

struct thread {
	uint32_t pid, tid;
	struct call *calls;
	size_t depth, cap;
	size_t uncounted;    /* open calls above calls[depth - 1] that were not kept */
	uint64_t used;	     /* tick of the last record */
	struct thread *next; /* in the bucket */
};

struct tree {
	struct pikos_record_type type;
	int kind, function, filename, line; /* columns */
	struct thread *buckets[BUCKETS];
	struct thread threads[MAX_THREADS];
	size_t n_threads;
	struct thread *last; /* of the record before */
	size_t n_calls;	     /* allocated over all threads */
	uint64_t tick;
};

static const struct pikos_cell tid_cell = {'<', 8, " "};
static const struct pikos_cell elapsed_cell = {'>', 14, " "};
static const struct pikos_cell rss_cell = {'>', 15, " "};

struct tree *tree__new(const struct pikos_record_type *type)
{
	struct tree *tree;

	if (!type->functions) {
		errno = EINVAL;
		return NULL;
	}
	tree = calloc(1, sizeof(*tree));
	if (!tree)
		return NULL;
	tree->type = *type;
	tree->kind = pikos_record_type__field(type, "type");
	tree->function = pikos_record_type__field(type, "function");
	tree->filename = pikos_record_type__field(type, "filename");
	tree->line = pikos_record_type__field(type, "lineNo");
	return tree;
}

void tree__free(struct tree *tree)
{
	size_t i;

	if (!tree)
		return;
	for (i = 0; i < tree->n_threads; i++)
		free(tree->threads[i].calls);
	free(tree);
}

/* ------------------------------------------------------------------ threads */

static struct thread **bucket(struct tree *tree, uint32_t pid, uint32_t tid)
{
	return &tree->buckets[(tid * 2654435761u ^ pid) % BUCKETS];
}

static void forget_calls(struct tree *tree, struct thread *t)
{
	tree->n_calls -= t->cap;
	free(t->calls);
	t->calls = NULL;
	t->cap = 0;
	t->depth = 0;
	t->uncounted = 0;
}

/* Take the thread that was silent for longest out of its bucket. */
static struct thread *evict(struct tree *tree)
{
	struct thread *oldest = tree->threads, **link;
	size_t i;

	for (i = 1; i < tree->n_threads; i++)
		if (tree->threads[i].used < oldest->used)
			oldest = &tree->threads[i];
	for (link = bucket(tree, oldest->pid, oldest->tid); *link != oldest;)
		link = &(*link)->next;
	*link = oldest->next;
	forget_calls(tree, oldest);
	return oldest;
}

static struct thread *find_thread(struct tree *tree, uint32_t pid, uint32_t tid)
{
	struct thread **head, *t = tree->last;

	if (!t || t->tid != tid || t->pid != pid) {
		head = bucket(tree, pid, tid);
		for (t = *head; t && (t->tid != tid || t->pid != pid);)
			t = t->next;
		if (!t) {
			t = tree->n_threads < MAX_THREADS ? &tree->threads[tree->n_threads++]
							  : evict(tree);
			t->pid = pid;
			t->tid = tid;
			head = bucket(tree, pid, tid);
			t->next = *head;
			*head = t;
		}
		tree->last = t;
	}
	t->used = ++tree->tick;
	return t;
}

/* After a loss nobody knows how deep the threads of the process are: they start again at 0. */
static void forget_process(struct tree *tree, uint32_t pid)
{
	size_t i;

	for (i = 0; i < tree->n_threads; i++)
		if (!pid || tree->threads[i].pid == pid)
			forget_calls(tree, &tree->threads[i]);
}

/* ------------------------------------------------------------------ calls */

static uint64_t hash(uint64_t h, const struct pikos_value *value)
{
	uint32_t i;

	if (value->kind != PIKOS_TEXT)
		return h;
	for (i = 0; i < value->s->len; i++)
		h = (h ^ (unsigned char)value->s->data[i]) * 0x100000001b3ull;
	return h ^ 0xff; /* the end: "ab","c" is not "a","bc" */
}

static uint64_t name_of(const struct tree *tree, const struct pikos_record *record)
{
	uint64_t h = hash(0xcbf29ce484222325ull, &record->values[tree->function]);

	return hash(h, &record->values[tree->filename]);
}

static bool make_room(struct tree *tree, struct thread *t)
{
	size_t cap = t->cap ? 2 * t->cap : 64;
	struct call *grown;

	if (t->depth < t->cap)
		return true;
	if (tree->n_calls + cap - t->cap > MAX_CALLS)
		return false;
	grown = reallocarray(t->calls, cap, sizeof(*grown));
	if (!grown)
		return false; /* counted only, as beyond MAX_CALLS */
	tree->n_calls += cap - t->cap;
	t->calls = grown;
	t->cap = cap;
	return true;
}

static void enter(struct tree *tree, struct thread *t, const struct pikos_record *record)
{
	if (t->uncounted || !make_room(tree, t)) {
		t->uncounted++;
		return;
	}
	t->calls[t->depth++] = (struct call){
		.name = name_of(tree, record), .time = record->time, .rss = record->rss};
}

/*
 * Close the call that returns, and what is open above it (its returns were filtered out).
 * Returns false when the call is not known.
 */
static bool leave(struct tree *tree, struct thread *t, const struct pikos_record *record,
		  struct call *call)
{
	uint64_t name = name_of(tree, record);
	size_t i;

	if (t->uncounted) {
		t->uncounted--;
		return false;
	}
	for (i = t->depth; i > 0 && t->depth - i < MAX_SEARCH; i--) {
		if (t->calls[i - 1].name != name)
			continue;
		*call = t->calls[i - 1];
		t->depth = i - 1;
		if (!t->depth)
			forget_calls(tree, t); /* the thread may have ended */
		return true;
	}
	return false;
}

/* ------------------------------------------------------------------ lines */

size_t tree__bound(const struct tree *tree, const struct pikos_record *record)
{
	size_t bound = 256 + 2 * MAX_INDENT;
	int i;

	if (!record)
		return bound + tree->type.n_extra * 64;
	for (i = 0; i < tree->type.n_fields; i++)
		bound += cell__bound(&tree->type.fields[i].line, &record->values[i]);
	return bound;
}

static char *put_string(char *out, const char *string)
{
	size_t len = strlen(string);

	memcpy(out, string, len);
	return out + len;
}

/* A cell of an ordinary string. */
static char *put_words(const struct pikos_cell *cell, char *out, const char *words, size_t len)
{
	struct pikos_text text = {words, len, PIKOS_TEXT_PLAIN | PIKOS_TEXT_ASCII};
	struct pikos_value value = {.kind = PIKOS_TEXT, .s = &text};

	return cell__put(cell, out, &value);
}

static bool is_tid(const struct tree *tree, int column)
{
	return !strcmp(tree->type.fields[column].name, "tid");
}

char *tree__put_header(struct tree *tree, char *out)
{
	const char *name;
	int i;

	for (i = 0; i < tree->type.n_extra; i++) {
		name = tree->type.fields[i].name;
		if (!is_tid(tree, i))
			out = put_words(&tree->type.fields[i].header, out, name, strlen(name));
	}
	out = put_words(&tid_cell, out, "TID", 3);
	out = put_words(&elapsed_cell, out, "ELAPSED(us)", 11);
	if (tree->type.memory)
		out = put_words(&rss_cell, out, "RSS+-", 5);
	return put_string(out, "| FUNCTION");
}

/* Elapsed microseconds and the change of the RSS in bytes; blank without a call. */
static char *put_change(const struct tree *tree, char *out, const struct call *call,
			const struct pikos_record *record)
{
	char words[DIGITS_MAX + 5], *end = words;
	uint64_t ns;

	if (call) {
		ns = record->time > call->time ? record->time - call->time : 0;
		end = digits__unsigned(words, ns / 1000);
		*end++ = '.';
		*end++ = '0' + (char)(ns / 100 % 10);
		*end++ = '0' + (char)(ns / 10 % 10);
		*end++ = '0' + (char)(ns % 10);
	}
	out = put_words(&elapsed_cell, out, words, end - words);
	if (!tree->type.memory)
		return out;
	end = words;
	if (call) {
		if (record->rss > call->rss)
			*end++ = '+';
		end = digits__signed(end, record->rss - call->rss);
	}
	return put_words(&rss_cell, out, words, end - words);
}

static char *put_place(const struct tree *tree, char *out, const char *arrow, size_t depth,
		       const struct pikos_record *record)
{
	static const struct pikos_cell name = {'<', 0, "  "}, file = {'<', 0, ":"},
				       line = {'<', 0, ""};
	size_t indent = depth < MAX_INDENT ? depth : MAX_INDENT;

	out = put_string(out, "| ");
	memset(out, ' ', 2 * indent);
	out += 2 * indent;
	if (depth > MAX_INDENT) {
		*out++ = '[';
		out = digits__unsigned(out, depth);
		out = put_string(out, "] ");
	}
	out = put_string(out, arrow);
	out = cell__put(&name, out, &record->values[tree->function]);
	out = cell__put(&file, out, &record->values[tree->filename]);
	return cell__put(&line, out, &record->values[tree->line]);
}

static char *put_lost(struct tree *tree, char *out, const struct pikos_record *record)
{
	static const struct pikos_cell bare = {'<', 0, ""};

	forget_process(tree, record->pid);
	out = put_change(tree, out, NULL, record);
	out = put_string(out, "| !! lost ");
	out = cell__put(&bare, out, &record->values[tree->line]);
	out = put_string(out, ": ");
	return cell__put(&bare, out, &record->values[tree->function]);
}

/* The word in the column "type" says which C calls end: c_return, c_exception. */
static bool has_type(const struct tree *tree, const struct pikos_record *record, const char *word)
{
	const struct pikos_value *v = &record->values[tree->kind];

	return v->kind == PIKOS_TEXT && v->s->len == strlen(word) &&
	       !memcmp(v->s->data, word, v->s->len);
}

char *tree__put(struct tree *tree, char *out, const struct pikos_record *record)
{
	struct pikos_value tid = {.kind = record->tid ? PIKOS_INT : PIKOS_EMPTY, .i = record->tid};
	bool exception = has_type(tree, record, "c_exception"), known = false;
	struct thread *t;
	struct call call;
	size_t depth;
	int i;

	for (i = 0; i < tree->type.n_extra; i++)
		if (!is_tid(tree, i))
			out = cell__put(&tree->type.fields[i].line, out, &record->values[i]);
	out = cell__put(&tid_cell, out, &tid);
	if (record->lost)
		return put_lost(tree, out, record);
	t = find_thread(tree, record->pid, record->tid);
	if (record->is_call || has_type(tree, record, "c_call")) {
		depth = t->depth + t->uncounted;
		enter(tree, t, record);
		out = put_change(tree, out, NULL, record);
		return put_place(tree, out, "-> ", depth, record);
	}
	known = leave(tree, t, record, &call);
	out = put_change(tree, out, known ? &call : NULL, record);
	return put_place(tree, out, exception ? "<! " : "<- ", t->depth + t->uncounted, record);
}
