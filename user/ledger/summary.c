// SPDX-License-Identifier: BSD-3-Clause
#include "ledger/summary.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filter/filter.h"
#include "monitor/stack_text.h"

/* A moment, with the kernel's word for it. */
struct state {
	struct stacks_moment stacks; /* bytes NULL: all 0, or as they are now */
	struct ledger_totals totals;
	uint64_t time, rss, vms;
};

struct summary {
	struct summary_config config;
	struct ledger *ledger;
	struct stacks *stacks;
	pid_t pid;
	struct state last;
	/* Of the summary that is being written. */
	const struct state *from;
	struct state to;
	struct stack_text stack;
};

/* clang-format off */
#define TEXT(string) {.data = string, .len = sizeof(string) - 1, \
		      .flags = PIKOS_TEXT_PLAIN | PIKOS_TEXT_ASCII}
/* clang-format on */

static const struct pikos_text nothing = TEXT("");
static const struct pikos_text sections[STACKS_N_BY] = {
	[STACKS_BY_LINE] = TEXT("line"),
	[STACKS_BY_FUNCTION] = TEXT("function"),
	[STACKS_BY_STACK] = TEXT("stack"),
};
static const struct pikos_text total = TEXT("total"), own = TEXT("own"),
			       inclusive = TEXT("inclusive");
static const struct pikos_text lines = TEXT("lines"), stack_growth = TEXT("stack growth"),
			       stack_or_lost = TEXT("stack growth or lost"),
			       reclaimed = TEXT("reclaimed"), kernel = TEXT("kernel"),
			       growth = TEXT("growth"), explained = TEXT("explained");
static const struct pikos_text lost = TEXT("lost"), events = TEXT("events"),
			       inexact = TEXT("inexact"), cut_stacks = TEXT("cut stacks"),
			       no_room = TEXT("no room"), unplaced = TEXT("unplaced");

struct summary *summary__new(const struct summary_config *config, struct ledger *ledger, pid_t pid)
{
	struct summary *summary = calloc(1, sizeof(*summary));

	if (!summary)
		return NULL;
	summary->config = *config;
	summary->ledger = ledger;
	summary->stacks = ledger__stacks(ledger);
	summary->pid = pid;
	return summary;
}

void summary__free(struct summary *summary)
{
	if (!summary)
		return;
	free(summary->last.stacks.bytes);
	free(summary->stack.bytes);
	free(summary);
}

/* ------------------------------------------------------------------ rows */

struct row {
	const struct pikos_text *section, *scope;
	const struct pikos_text *function, *file;
	int64_t line; /* or a count */
	struct stack_bytes bytes;
	uint32_t stack; /* its node; 0: none */
};

static int64_t still_mapped(const struct stack_bytes *bytes)
{
	return bytes->mapped - bytes->unmapped;
}

static int64_t resident(const struct stack_bytes *bytes)
{
	return bytes->faulted - bytes->released;
}

static int append_frame(struct summary *summary, uint32_t node)
{
	struct stack_line line;

	stacks__line(summary->stacks, node, &line);
	if (node < STACKS_N_SPECIAL)
		return stack_text__append_words(&summary->stack, line.function->data);
	return stack_text__append_frame(&summary->stack, line.file, line.function, line.line);
}

/* Outermost first. @return NULL: no memory */
static const struct pikos_text *fold(struct summary *summary, uint32_t node)
{
	uint32_t path[WIRE_MAX_FRAMES + 2], n = 0;

	while (n < sizeof(path) / sizeof(*path)) {
		path[n++] = node;
		if (node < STACKS_N_SPECIAL)
			break;
		node = stacks__caller(summary->stacks, node);
	}
	/* What is below all of them goes without saying. */
	if (n > 1 && path[n - 1] == STACKS_NATIVE)
		n--;
	stack_text__begin(&summary->stack);
	while (n--)
		if (append_frame(summary, path[n]) ||
		    (n && stack_text__append_words(&summary->stack, ";")))
			return NULL;
	return stack_text__end(&summary->stack);
}

struct cells {
	const struct pikos_record_type *type;
	struct pikos_value values[PIKOS_MAX_FIELDS];
};

static void set_integer(struct cells *cells, const char *name, int64_t number)
{
	int i = pikos_record_type__field(cells->type, name);

	if (i >= 0)
		cells->values[i] = (struct pikos_value){.kind = PIKOS_INT, .i = number};
}

static void set_text(struct cells *cells, const char *name, const struct pikos_text *text)
{
	int i = pikos_record_type__field(cells->type, name);

	if (i >= 0)
		cells->values[i] = (struct pikos_value){.kind = PIKOS_TEXT, .s = text};
}

static int64_t milliseconds(const struct summary *summary, uint64_t time)
{
	uint64_t started = summary->to.totals.started;

	return time > started ? (time - started) / 1000000 : 0;
}

static int write_row(struct summary *summary, const struct row *row)
{
	const struct summary_config *config = &summary->config;
	struct cells cells = {.type = config->type};
	const struct pikos_record record = {
		.type = config->type,
		.values = cells.values,
		.pid = summary->pid,
		.time = summary->to.time,
	};
	const struct pikos_text *stack = row->stack ? fold(summary, row->stack) : &nothing;

	if (!stack)
		return -ENOMEM;
	set_integer(&cells, "pid", summary->pid);
	set_integer(&cells, "time", summary->to.time);
	set_integer(&cells, "fromMs", milliseconds(summary, summary->from->time));
	set_integer(&cells, "toMs", milliseconds(summary, summary->to.time));
	set_text(&cells, "section", row->section);
	set_text(&cells, "scope", row->scope);
	set_text(&cells, "function", row->function);
	set_integer(&cells, "lineNo", row->line);
	set_integer(&cells, "mapped", row->bytes.mapped);
	set_integer(&cells, "unmapped", row->bytes.unmapped);
	set_integer(&cells, "stillMapped", still_mapped(&row->bytes));
	set_integer(&cells, "faulted", row->bytes.faulted);
	set_integer(&cells, "resident", resident(&row->bytes));
	set_text(&cells, "filename", row->file);
	set_text(&cells, "stack", stack);
	if (config->filters && !filters__keep(config->filters, &record, false))
		return 0;
	return pikos_recorder__record(config->recorder, &record);
}

/* ------------------------------------------------------------------ totals */

static int write_total(struct summary *summary, const struct pikos_text *name,
		       const struct stack_bytes *bytes)
{
	const struct row row = {&total, &nothing, name, &nothing, -1, *bytes, 0};

	return write_row(summary, &row);
}

static const struct stacks_moment *moment_of(const struct state *state)
{
	return state->stacks.bytes ? &state->stacks : NULL;
}

static struct stack_bytes change_of(const struct summary *summary, uint32_t node)
{
	return stacks__change(summary->stacks, node, moment_of(summary->from),
			      moment_of(&summary->to));
}

static void add(struct stack_bytes *to, const struct stack_bytes *bytes)
{
	to->mapped += bytes->mapped;
	to->unmapped += bytes->unmapped;
	to->faulted += bytes->faulted;
	to->released += bytes->released;
}

static bool is_nothing(const struct stack_bytes *bytes)
{
	return !bytes->mapped && !bytes->unmapped && !bytes->faulted && !bytes->released;
}

/* Calls that are not in the books: what they mapped looks like what was mapped without one. */
static bool is_incomplete(const struct ledger_totals *totals)
{
	return totals->lost || totals->inexact;
}

static int write_totals(struct summary *summary, struct summary_share *share)
{
	const struct state *from = summary->from, *to = &summary->to;
	int64_t elsewhere = to->totals.elsewhere - from->totals.elsewhere;
	struct stack_bytes by_lines = {0}, special;
	/* Gauges are written as sums: so much mapped, so much made resident. */
	struct stack_bytes word = {to->vms - from->vms, 0, to->rss - from->rss, 0};
	struct stack_bytes without_call = {
		word.mapped - (int64_t)(to->totals.vms - from->totals.vms), 0, 0, 0};
	struct stack_bytes grown = word, done;
	int err = 0;

	for (uint32_t i = 0; i < STACKS_N_SPECIAL && !err; i++) {
		struct stack_line line;

		special = change_of(summary, i);
		stacks__line(summary->stacks, i, &line);
		if (i == STACKS_START || !is_nothing(&special))
			err = write_total(summary, line.function, &special);
		if (i == STACKS_START || i == STACKS_STARTUP) {
			grown.mapped -= still_mapped(&special);
			grown.faulted -= resident(&special);
		}
	}
	for (uint32_t i = STACKS_N_SPECIAL; i < stacks__count(summary->stacks); i++) {
		special = change_of(summary, i);
		add(&by_lines, &special);
	}
	done = (struct stack_bytes){still_mapped(&by_lines), 0, resident(&by_lines) - elsewhere, 0};
	*share = (struct summary_share){grown.faulted, done.faulted};
	if (!err)
		err = write_total(summary, &lines, &by_lines);
	if (!err)
		err = write_total(summary,
				  is_incomplete(&to->totals) ? &stack_or_lost : &stack_growth,
				  &without_call);
	if (!err && elsewhere)
		err = write_total(summary, &reclaimed, &(struct stack_bytes){0, 0, 0, elsewhere});
	if (!err)
		err = write_total(summary, &kernel, &word);
	if (!err)
		err = write_total(summary, &growth, &grown);
	return err ? err : write_total(summary, &explained, &done);
}

/* What makes a summary inexact, and by how much. */
static int write_doubts(struct summary *summary)
{
	const struct ledger_totals *totals = &summary->to.totals;
	const struct {
		const struct pikos_text *section, *name;
		uint64_t count, bytes;
	} doubts[] = {
		{&lost, &events, totals->lost, 0},
		{&inexact, &cut_stacks, totals->cut_stacks, 0},
		{&inexact, &no_room, 0, totals->inexact},
		{&inexact, &unplaced, 0, totals->unplaced},
	};
	int err = 0;

	for (size_t i = 0; i < sizeof(doubts) / sizeof(*doubts) && !err; i++) {
		const struct row row = {.section = doubts[i].section,
					.scope = &nothing,
					.function = doubts[i].name,
					.file = &nothing,
					.line = (int64_t)doubts[i].count,
					.bytes = {.faulted = doubts[i].bytes}};

		if (doubts[i].count || doubts[i].bytes)
			err = write_row(summary, &row);
	}
	return err;
}

/* ------------------------------------------------------------------ sums */

static int compare_numbers(int64_t a, int64_t b)
{
	return (a < b) - (a > b); /* the greatest first */
}

static int compare(const struct stack_bytes *a, const struct stack_bytes *b)
{
	int order = compare_numbers(resident(a), resident(b));

	if (!order)
		order = compare_numbers(still_mapped(a), still_mapped(b));
	if (!order)
		order = compare_numbers(a->mapped, b->mapped);
	return order ? order : compare_numbers(a->faulted, b->faulted);
}

static int compare_own(const void *a, const void *b)
{
	const struct stack_sum *one = a, *other = b;
	int order = compare(&one->own, &other->own);

	return order ? order : compare_numbers(other->node, one->node);
}

static int compare_inclusive(const void *a, const void *b)
{
	const struct stack_sum *one = a, *other = b;
	int order = compare(&one->inclusive, &other->inclusive);

	return order ? order : compare_numbers(other->node, one->node);
}

static bool is_shown(const struct summary *summary, const struct stack_bytes *bytes)
{
	if (is_nothing(bytes))
		return false;
	return !summary->config.leaks || still_mapped(bytes) > 0 || resident(bytes) > 0;
}

static int write_sums(struct summary *summary, enum stacks_by by, const struct pikos_text *scope,
		      struct stack_sum *sums, size_t n)
{
	uint32_t written = 0, top = summary->config.top;
	bool is_own = scope == &own;
	int err = 0;

	qsort(sums, n, sizeof(*sums), is_own ? compare_own : compare_inclusive);
	for (size_t i = 0; i < n && !err && (!top || written < top); i++) {
		struct row row = {.section = &sections[by],
				  .scope = scope,
				  .bytes = is_own ? sums[i].own : sums[i].inclusive};
		struct stack_line line;

		if (sums[i].node < STACKS_N_SPECIAL || !is_shown(summary, &row.bytes))
			continue;
		stacks__line(summary->stacks, sums[i].node, &line);
		row.function = line.function;
		row.file = line.file;
		row.line = by == STACKS_BY_FUNCTION ? line.first_line : line.line;
		row.stack = by == STACKS_BY_STACK ? sums[i].node : 0;
		err = write_row(summary, &row);
		written++;
	}
	return err;
}

static int write_section(struct summary *summary, enum stacks_by by)
{
	struct stack_sum *sums;
	int64_t n = stacks__sum(summary->stacks, by, moment_of(summary->from),
				moment_of(&summary->to), &sums);
	int err;

	if (n < 0)
		return (int)n;
	err = write_sums(summary, by, &own, sums, n);
	/* A stack's callees have rows of their own. */
	if (!err && by != STACKS_BY_STACK)
		err = write_sums(summary, by, &inclusive, sums, n);
	free(sums);
	return err;
}

/* ------------------------------------------------------------------ summaries */

/* So that the next one can tell what has changed. */
static int keep_state(struct summary *summary)
{
	struct state now = summary->to;
	size_t size = now.stacks.n * sizeof(*now.stacks.bytes);
	int err;

	if (now.stacks.bytes) { /* the ledger's */
		now.stacks.bytes = malloc(size);
		if (!now.stacks.bytes)
			return -ENOMEM;
		memcpy(now.stacks.bytes, summary->to.stacks.bytes, size);
	} else {
		err = stacks__save(summary->stacks, &now.stacks);
		if (err)
			return err;
	}
	free(summary->last.stacks.bytes);
	summary->last = now;
	return 0;
}

/*
 * The end is before the interpreter's finalization, if there was one. Where more has happened since
 * the moment, the books are of the last event before it, and so has the kernel's word to be.
 */
static void set_state(struct summary *summary, const struct summary_moment *moment)
{
	const struct ledger_moment *kept = moment->is_end ? ledger__final(summary->ledger) : NULL;
	struct state *to = &summary->to;

	if (!kept)
		kept = ledger__marked(summary->ledger);
	*to = (struct state){.time = moment->time, .rss = moment->rss, .vms = moment->vms};
	if (kept) {
		to->stacks = kept->stacks;
		to->totals = kept->totals;
		to->vms = 0;
	} else {
		ledger__totals(summary->ledger, &to->totals);
	}
	if (!to->vms) {
		to->vms = to->totals.kernel_vms;
		to->rss = to->totals.kernel_rss;
	}
}

int summary__write(struct summary *summary, const struct summary_moment *moment,
		   struct summary_share *share)
{
	static const struct state beginning;
	int err;

	set_state(summary, moment);
	summary->from = moment->is_end ? &beginning : &summary->last;
	err = write_totals(summary, share);
	if (!err)
		err = write_doubts(summary);
	for (int by = 0; by < STACKS_N_BY && !err; by++)
		err = write_section(summary, by);
	return err || moment->is_end ? err : keep_state(summary);
}
