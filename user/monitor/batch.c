// SPDX-License-Identifier: BSD-3-Clause
/*
 * Batches of an agent. It lives in the target, so whatever stands in a slot is possible: nothing is
 * read behind the record's end, nothing loops, and of each batch exactly as many events are
 * accounted for as its head says (the kernel has counted those): what is missing or is no event of
 * this monitor is lost, what is too much is nothing.
 */
#include "monitor/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Events of functions, and of lines. */
#define FUNCTION_TYPES                                                                   \
	(1u << WIRE_CALL | 1u << WIRE_RETURN | 1u << WIRE_C_CALL | 1u << WIRE_C_RETURN | \
	 1u << WIRE_C_EXCEPTION)
#define LINE_TYPES (1u << WIRE_LINE)
#define DETAILED_TYPES                                                                 \
	(FUNCTION_TYPES | 1u << WIRE_MALLOC | 1u << WIRE_CALLOC | 1u << WIRE_REALLOC | \
	 1u << WIRE_FREE | 1u << WIRE_REALLOC_FREE)
#define MAX_MISSED (UINT64_C(1) << 32)

void monitor__free_agent(struct agent *agent)
{
	if (!agent)
		return;
	ids__free(agent->ids);
	free(agent);
}

static struct agent *agent_of(struct source *source)
{
	struct agent *agent = source->agent;

	if (agent)
		return agent;
	agent = calloc(1, sizeof(*agent));
	if (!agent)
		return NULL;
	agent->ids = ids__new();
	if (!agent->ids) {
		free(agent);
		return NULL;
	}
	source->agent = agent;
	return agent;
}

const struct monitor_agent *monitor__agent(const struct monitor *monitor, uint32_t target)
{
	static const struct monitor_agent silent;
	const struct source *source = target < WIRE_MAX_TARGETS ? monitor->sources[target] : NULL;

	return source && source->agent ? &source->agent->said : &silent;
}

/* ------------------------------------------------------------------ losses */

static int lose_for(struct monitor *monitor, const struct wire_batch *batch, const char *reason,
		    uint64_t count)
{
	const struct agent *agent = monitor->sources[batch->head.target]->agent;
	const struct wire_head head = {
		.target = batch->head.target,
		.tid = agent->tid,
		.time = agent->clock.last ? agent->clock.last : agent->clock.time,
	};

	return count ? monitor__record_loss(monitor, &head, reason, count) : 0;
}

static int lose(struct monitor *monitor, const struct wire_batch *batch, enum wire_reason reason,
		uint64_t count)
{
	monitor->sources[batch->head.target]->next_seq += count;
	return lose_for(monitor, batch, monitor__reasons[reason], count);
}

/*
 * Events whose definition was lost, with a batch that found no room. A row for all in a row: there
 * can be millions before the agent has defined its ids anew.
 */
static int lose_unnamed(struct monitor *monitor, const struct wire_batch *batch,
			struct agent *agent)
{
	uint32_t count = agent->unnamed;

	agent->unnamed = 0;
	return lose(monitor, batch, WIRE_BUFFER_FULL, count);
}

/* ------------------------------------------------------------------ what is no event */

static void forget(struct monitor *monitor, uint32_t target, uint32_t id)
{
	struct ids *ids = monitor->sources[target]->agent->ids;
	const struct symbol *known = ids__get(ids, id);

	if (!known)
		return;
	rows__forget(monitor->rows, target, id, known);
	ids__forget(ids, id);
}

/* What ids stood for does not count any more. */
static void forget_all(struct monitor *monitor, struct agent *agent)
{
	ids__clear(agent->ids);
	rows__clear(monitor->rows);
}

static void define(struct monitor *monitor, uint32_t target, const struct wire_slot *slots,
		   uint32_t span)
{
	struct agent *agent = monitor->sources[target]->agent;
	const struct wire_definition *definition = (const void *)(slots + 1);
	const char *bytes = (const char *)(definition + 1);
	size_t room = (span - 1) * sizeof(*slots);
	struct symbol_string function, file;
	uint32_t id = slots->code;
	int err;

	forget(monitor, target, id);
	if (room < sizeof(*definition) ||
	    (size_t)definition->name_len + definition->file_len > room - sizeof(*definition))
		return;
	function = (struct symbol_string){bytes, definition->name_len,
					  definition->cut & WIRE_NAME_CUT};
	file = (struct symbol_string){bytes + definition->name_len, definition->file_len,
				      definition->cut & WIRE_FILE_CUT};
	err = ids__define(agent->ids, id, &function, &file);
	if (err != -ENOSPC)
		return; /* without memory the id is not known: asked for again when it is used */
	/* Forgotten ids whose batch was lost, or a target that means harm: begin anew. */
	forget_all(monitor, agent);
	agent->said.wants_resend = true;
	ids__define(agent->ids, id, &function, &file);
}

static void take_notice(struct monitor *monitor, uint32_t target, enum wire_notice notice,
			int32_t number)
{
	struct agent *agent = monitor->sources[target]->agent;
	struct monitor_agent *said = &agent->said;

	switch (notice) {
	case WIRE_NOTICE_HOOKED:
		forget_all(monitor, agent); /* the process may have become another program */
		memset(agent->overhead, 0, sizeof(agent->overhead));
		monitor__forget_sizes(monitor->sources[target]); /* of blocks of its memory */
		said->hooked = true;
		said->ended = false;
		break;
	case WIRE_NOTICE_ENDED:
		said->ended = true;
		said->refusal = number;
		break;
	case WIRE_NOTICE_RESENT:
		said->wants_resend = false;
		break;
	case WIRE_NOTICE_REPLACED:
		said->replaced++;
		break;
	case WIRE_NOTICE_INTERPRETERS:
		said->interpreters = number > 0 ? number : 0;
		break;
	case WIRE_NOTICE_ALLOCATOR:
		said->allocators++;
		monitor__forget_sizes(monitor->sources[target]);
		break;
	case WIRE_NOTICE_LATE_THREAD:
		said->late_threads++;
		break;
	}
}

static void take_values(struct agent *agent, const struct wire_slot *slots, uint32_t span)
{
	if (span > 1)
		memcpy(&agent->values, slots + 1, sizeof(agent->values));
}

/* Each tells all since the agent's beginning; a process can have had several agents. */
static void take_overhead(struct agent *agent, const struct wire_slot *slots, uint32_t span)
{
	struct wire_overhead *sum, *before, now;

	if (span < 2 || slots->code >= WIRE_N_OVERHEADS)
		return;
	memcpy(&now, slots + 1, sizeof(now));
	sum = &agent->said.overhead[slots->code];
	before = &agent->overhead[slots->code];
	sum->count += now.count - before->count;
	sum->ns += now.ns - before->ns;
	*before = now;
}

/* @return 0, or what monitor__mark returned */
static int take_other(struct monitor *monitor, const struct wire_batch *batch,
		      const struct wire_slot *slots, uint32_t span)
{
	uint32_t target = batch->head.target;
	struct source *source = monitor->sources[target];
	struct agent *agent = source->agent;
	bool was_hooked = agent->said.hooked;

	switch (wire_slot_type(slots)) {
	case WIRE_SLOT_THREAD:
		agent->tid = slots->code;
		break;
	case WIRE_SLOT_DEFINE:
		define(monitor, target, slots, span);
		break;
	case WIRE_SLOT_FORGET:
		forget(monitor, target, slots->code);
		break;
	case WIRE_SLOT_NOTICE:
		take_notice(monitor, target, slots->code, wire_slot_line(slots));
		break;
	case WIRE_SLOT_VALUES:
		take_values(agent, slots, span);
		break;
	case WIRE_SLOT_OVERHEAD:
		take_overhead(agent, slots, span);
		break;
	}
	if (was_hooked || !agent->said.hooked || source->has_begun)
		return 0;
	return monitor__mark(monitor, source, MONITOR_BEGIN, agent->clock.time);
}

/* ------------------------------------------------------------------ events */

/* Events whose rows are kept. @return how many slots were taken, or -errno */
static int take_known(struct monitor *monitor, const struct wire_batch *batch, uint32_t from,
		      uint32_t end)
{
	struct source *source = monitor->sources[batch->head.target];
	struct agent *agent = source->agent;
	struct monitor_totals *totals = &monitor->totals;
	struct rows_run run = {
		.slots = batch__slots(batch) + from,
		.n = end - from < agent->left ? end - from : agent->left,
		.target = batch->head.target,
		.index = totals->seen,
		.pid = source->pid,
		.tid = agent->tid,
		.rss = agent->values.rss * monitor->page,
		.vms = agent->values.vms * monitor->page,
		.clock = &agent->clock,
		.has_times = batch->flags & WIRE_BATCH_TIMES,
	};
	uint32_t n;

	if (agent->unnamed) /* they come first */
		return 0;
	/* The last of max_records is for monitor__take. */
	if (monitor->config.max_records && monitor->config.max_records - totals->written <= run.n)
		return 0;
	rows__write(monitor->rows, &run);
	n = run.written + run.dropped;
	source->next_seq += n;
	agent->left -= n;
	totals->seen += n;
	totals->written += run.written;
	totals->filtered += run.dropped;
	return run.err ? run.err : (int)n;
}

/* @return whether the event's row is kept now, so that take_known takes it */
static bool learn(struct monitor *monitor, const struct wire_batch *batch,
		  const struct wire_slot *slot, const struct happening *now)
{
	const struct monitor_config *config = &monitor->config;
	bool kept;

	if (!monitor->rows)
		return false;
	monitor__fill(monitor, monitor->sources[batch->head.target], now, monitor->totals.seen);
	kept = !config->filters || filters__keep(config->filters, &monitor->record, false);
	return rows__keep(monitor->rows, batch->head.target, slot, now->symbol, monitor->values,
			  kept);
}

/* What an id stands for, or no code's; NULL: not known. */
static struct symbol *symbol_of(const struct monitor *monitor, const struct agent *agent,
				uint32_t id, enum monitor_place nobody)
{
	if (id == WIRE_NO_CODE)
		return monitor->places[nobody];
	if (id == WIRE_UNKNOWN_CODE)
		return monitor->places[PLACE_UNKNOWN];
	return ids__get(agent->ids, id);
}

/* @return false: these are no details of an event */
static bool take_detail(struct monitor *monitor, const struct wire_batch *batch, uint32_t i,
			uint32_t span, struct happening *now)
{
	const struct wire_slot *slot = &batch__slots(batch)[i];
	struct source *source = monitor->sources[batch->head.target];
	struct agent *agent = source->agent;
	struct wire_detail detail;

	if (span != WIRE_DETAILED_SLOTS)
		return false;
	memcpy(&detail, slot + 1, sizeof(detail));
	if (!(detail.type < WIRE_ALLOCATION_N_TYPES && DETAILED_TYPES >> detail.type & 1))
		return false;
	now->type = detail.type;
	now->caller = symbol_of(monitor, agent, detail.caller, PLACE_NOBODY);
	if (!now->caller) {
		agent->said.wants_resend = true;
		now->caller = monitor->places[PLACE_UNKNOWN];
	}
	now->caller_line = detail.caller_line;
	now->depth = detail.depth;
	now->address = detail.address;
	now->size = monitor__size(source, detail.type, detail.address, detail.size);
	now->symbol = symbol_of(monitor, agent, slot->code, PLACE_NATIVE);
	return true;
}

static int take_detailed(struct monitor *monitor, const struct wire_batch *batch, uint32_t i,
			 uint32_t span)
{
	struct source *source = monitor->sources[batch->head.target];
	const struct wire_slot *slot = &batch__slots(batch)[i];
	struct agent *agent = source->agent;
	struct happening now = {.tid = agent->tid, .line = wire_slot_line(slot)};
	bool is_right;
	int err;

	if (!agent->left || monitor__enough(monitor))
		return 0;
	now.time = batch->flags & WIRE_BATCH_TIMES ? slot->time
						   : batch_clock__time(&agent->clock, slot->time);
	agent->clock.last = now.time;
	is_right = take_detail(monitor, batch, i, span, &now);
	agent->left--;
	if (is_right && !now.symbol) {
		agent->unnamed++;
		agent->said.wants_resend = true;
		return 0;
	}
	err = lose_unnamed(monitor, batch, agent);
	if (err)
		return err;
	if (!is_right)
		return lose(monitor, batch, WIRE_UNREADABLE_BATCH, 1);
	source->next_seq++;
	return monitor__take(monitor, source, &now, monitor->totals.seen);
}

static int take_event(struct monitor *monitor, const struct wire_batch *batch, uint32_t i)
{
	struct source *source = monitor->sources[batch->head.target];
	const struct wire_slot *slot = &batch__slots(batch)[i];
	uint32_t types = monitor->config.type->functions ? FUNCTION_TYPES : LINE_TYPES;
	struct agent *agent = source->agent;
	struct happening now = {
		.type = wire_slot_type(slot),
		.tid = agent->tid,
		.line = wire_slot_line(slot),
		.rss = agent->values.rss,
		.vms = agent->values.vms,
		.symbol = ids__get(agent->ids, slot->code),
	};
	int err, known;

	if (!agent->left || monitor__enough(monitor))
		return 0;
	now.time = batch->flags & WIRE_BATCH_TIMES ? slot->time
						   : batch_clock__time(&agent->clock, slot->time);
	agent->clock.last = now.time;
	if (types >> now.type & 1 && !now.symbol) {
		agent->left--;
		agent->unnamed++;
		agent->said.wants_resend = true;
		return 0;
	}
	err = lose_unnamed(monitor, batch, agent);
	if (!err && types >> now.type & 1 && learn(monitor, batch, slot, &now)) {
		known = take_known(monitor, batch, i, i + 1);
		if (known)
			return known < 0 ? known : 0;
	}
	if (err)
		return err;
	agent->left--;
	if (!(types >> now.type & 1))
		return lose(monitor, batch, WIRE_UNREADABLE_BATCH, 1);
	source->next_seq++;
	return monitor__take(monitor, source, &now, monitor->totals.seen);
}

static int take_slots(struct monitor *monitor, const struct wire_batch *batch, uint32_t end)
{
	const struct wire_slot *slots = batch__slots(batch);
	uint32_t i = batch->slots < end ? batch->slots : end;
	int err = 0;

	while (i < end && !err) {
		uint32_t span = batch__span(slots, i, end);
		int known = monitor->rows ? take_known(monitor, batch, i, end) : 0;

		if (known) {
			err = known < 0 ? known : 0;
			i += known;
			continue;
		}
		if (batch__is_event(wire_slot_type(&slots[i])))
			err = monitor->kind == MONITOR_ALLOCATIONS
				      ? take_detailed(monitor, batch, i, span)
				      : take_event(monitor, batch, i);
		else
			err = take_other(monitor, batch, &slots[i], span);
		i += span;
	}
	return err ? err
		   : lose_unnamed(monitor, batch, monitor->sources[batch->head.target]->agent);
}

/*
 * Batches that the kernel had no chance to count: it hit the probe while it could not run programs.
 * What is no number of batches is a lie, or another session of the agent.
 */
static int lose_missed(struct monitor *monitor, const struct wire_batch *batch, struct agent *agent)
{
	uint64_t missed = batch->before - agent->told;

	if (batch->before <= agent->told || missed > MAX_MISSED)
		missed = 0;
	agent->told = batch->before + batch->n_events;
	return lose_for(monitor, batch, MONITOR_NOT_RUN, missed);
}

static int begin(struct monitor *monitor, const struct wire_batch *batch)
{
	struct agent *agent = monitor->sources[batch->head.target]->agent;
	int err = 0;

	batch_clock__next(&agent->clock, batch);
	agent->tid = batch->tid;
	agent->values = batch->values;
	agent->left = batch->n_events;
	for (int reason = 0; reason < WIRE_N_REASONS && !err; reason++) {
		agent->told += batch->lost[reason];
		err = lose(monitor, batch, reason, batch->lost[reason]);
	}
	return err ? err : lose_missed(monitor, batch, agent);
}

int monitor__handle_batch(struct monitor *monitor, const struct wire_batch *batch, uint32_t size)
{
	struct source *source = monitor->sources[batch->head.target];
	struct agent *agent;
	uint32_t left;
	int err = 0;

	if (size < sizeof(*batch) || !source)
		return 0;
	agent = agent_of(source);
	if (!agent)
		return -ENOMEM;
	if (!monitor->tried_rows) { /* not before the recorder is prepared */
		monitor->rows = rows__new(monitor->config.type, monitor->config.filters,
					  monitor->config.recorder);
		monitor->tried_rows = true;
	}
	if (!batch->slots)
		err = begin(monitor, batch);
	if (!err)
		err = take_slots(monitor, batch, batch__n_slots(batch, size));
	if (err || batch->flags & WIRE_BATCH_MORE)
		return err;
	left = agent->left;
	agent->left = 0;
	return lose(monitor, batch, WIRE_UNREADABLE_BATCH, left);
}
