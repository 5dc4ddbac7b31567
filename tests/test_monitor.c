// SPDX-License-Identifier: BSD-3-Clause
/* The test plays the kernel: what it counted is the truth that the totals must tell. */
#include "monitor_support.h"

#include <errno.h>

#define NAMES 20 /* codes that are known */

/* ------------------------------------------------------------------ what a monitor is told */

static void code(uint32_t id, const char *name, const char *file)
{
	struct wire_code record = {.head = {.kind = WIRE_CODE}, .code = id};

	strcpy(record.name, name);
	strcpy(record.file, file);
	assert_int_equal(monitor__handle(monitor, &record.head, sizeof(record)), 0);
}

static void start_with(const char *name, const char *fields, const char *filter,
		       struct pikos_recorder *to, uint64_t max_records)
{
	char function[16];

	assert_int_equal(pikos_record_type__init(&type, name, fields), 0);
	if (filter) {
		filters = pikos_filters__new();
		assert_int_equal(pikos_filters__add(filters, &type, filter), 0);
	}
	start_monitor((struct monitor_config){.max_records = max_records}, to);
	assert_int_equal(monitor__set_target(monitor, 0, 100, NULL), 0);
	for (uint32_t id = 1; id <= NAMES; id++) {
		snprintf(function, sizeof(function), "f%u", id);
		code(id, function, "/x.py");
	}
}

static void start(const char *name, const char *fields)
{
	start_with(name, fields, NULL, pikos_recorder__list(), 0);
}

static int event_of(uint32_t target, uint8_t kind, uint32_t id, int32_t line, uint64_t seq)
{
	struct wire_event event = {
		.head = {WIRE_EVENT, kind, target, 7, 1000 + seq},
		.code = id,
		.line = line,
		.seq = seq,
	};

	return monitor__handle(monitor, &event.head, sizeof(event));
}

static int event(uint64_t seq)
{
	return event_of(0, WIRE_CALL, 1 + seq % NAMES, 10, seq);
}

static int loss(uint32_t target, enum wire_reason reason, uint64_t count)
{
	struct wire_lost lost = {.head = {WIRE_LOST, reason, target, 8, 5}, .count = count};

	return monitor__handle(monitor, &lost.head, sizeof(lost));
}

/* ------------------------------------------------------------------ what came of it */

static void assert_indices(size_t n, const int64_t indices[])
{
	assert_int_equal(pikos_recorder__list_count(recorder), n);
	for (size_t i = 0; i < n; i++)
		assert_int(i, "index", indices[i]);
}

static void assert_totals(uint64_t seen, uint64_t written, uint64_t filtered, uint64_t lost)
{
	struct monitor_totals totals;
	uint64_t by_reason = 0;

	monitor__totals(monitor, &totals);
	assert_int_equal(totals.written, written);
	assert_int_equal(totals.filtered, filtered);
	assert_int_equal(totals.lost, lost);
	assert_int_equal(totals.seen, seen);
	assert_int_equal(seen, written + filtered + lost);
	for (int i = 0; i < totals.n_losses; i++)
		by_reason += totals.losses[i].count;
	assert_int_equal(by_reason, lost);
}

/* ------------------------------------------------------------------ rows */

static void test_functions(void **state)
{
	const struct pikos_record *record;

	(void)state;
	start("functions", "+pid,+tid,+time");
	assert_int_equal(event_of(0, WIRE_CALL, 3, 17, 0), 0);
	assert_int_equal(event_of(0, WIRE_RETURN, 4, -1, 1), 0);
	assert_text(0, "type", "call");
	assert_text(0, "function", "f3");
	assert_int(0, "lineNo", 17);
	assert_text(0, "filename", "/x.py");
	assert_int(0, "pid", 100);
	assert_int(0, "tid", 7);
	assert_int(0, "time", 1000);
	assert_text(1, "type", "return");
	assert_int(1, "lineNo", -1);
	assert_indices(2, (int64_t[]){0, 1});
	record = pikos_recorder__list_get(recorder, 0);
	assert_true(record->is_call && !record->is_return);
	assert_int_equal(record->pid, 100);
	assert_int_equal(record->tid, 7);
	assert_int_equal(record->time, 1000);
	record = pikos_recorder__list_get(recorder, 1);
	assert_true(!record->is_call && record->is_return);
	assert_totals(2, 2, 0, 0);
}

static void test_memory(void **state)
{
	struct wire_event_memory memory = {
		.event = {.head = {WIRE_EVENT_MEMORY, WIRE_CALL, 0, 7, 1}, .code = 1, .line = 2},
		.rss = 300,
		.vms = (UINT64_C(1) << 40) + 1,
	};
	int64_t page = sysconf(_SC_PAGESIZE);

	(void)state;
	start("function_memory", NULL);
	assert_int_equal(monitor__handle(monitor, &memory.event.head, sizeof(memory)), 0);
	assert_int(0, "RSS", 300 * page);
	assert_int(0, "VMS", ((INT64_C(1) << 40) + 1) * page);
	assert_int_equal(pikos_recorder__list_get(recorder, 0)->rss, 300 * page);
}

static void test_lines(void **state)
{
	(void)state;
	start("lines", NULL);
	assert_int_equal(event_of(0, WIRE_LINE, 2, 5, 0), 0);
	assert_text(0, "function", "f2");
	assert_int(0, "lineNo", 5);
	assert_text(0, "line", "<compiled string>"); /* no reader: no source */
	assert_text(0, "filename", "/x.py");
}

static void test_codes(void **state)
{
	struct wire_code_long *text = calloc(1, sizeof(*text));
	struct wire_code code_full = {.head = {.kind = WIRE_CODE}, .code = 41};
	char expected[WIRE_LONG_TEXT + 8];

	(void)state;
	start("functions", NULL);
	memset(expected, 'n', sizeof(expected));
	strcpy(expected + WIRE_LONG_TEXT - 1, "<cut>");
	text->head.kind = WIRE_CODE_LONG;
	text->code = 40;
	text->cut = WIRE_NAME_CUT;
	memset(text->name, 'n', WIRE_LONG_TEXT - 1);
	memset(text->file, 'f', WIRE_LONG_TEXT - 1);
	assert_int_equal(monitor__handle(monitor, &text->head, sizeof(*text)), 0);
	assert_int_equal(event_of(0, WIRE_CALL, 40, 1, 0), 0);
	assert_text(0, "function", expected);
	memset(expected, 'f', WIRE_LONG_TEXT - 1);
	expected[WIRE_LONG_TEXT - 1] = '\0';
	assert_text(0, "filename", expected);
	free(text);
	/* Not even a NUL at the end. */
	memset(code_full.name, 'a', sizeof(code_full.name));
	memset(code_full.file, 'b', sizeof(code_full.file));
	assert_int_equal(monitor__handle(monitor, &code_full.head, sizeof(code_full)), 0);
	assert_int_equal(event_of(0, WIRE_CALL, 41, 1, 1), 0);
	assert_int_equal(cell(1, "function")->s->len, WIRE_SHORT_NAME);
	assert_int_equal(cell(1, "filename")->s->len, WIRE_SHORT_FILE);
}

/* ------------------------------------------------------------------ index */

static void test_gaps_are_filtered(void **state)
{
	(void)state;
	start("functions", NULL);
	event(0);
	event(1);
	event(5);
	event(6);
	event(100);
	assert_indices(5, (int64_t[]){0, 1, 5, 6, 100});
	assert_totals(101, 5, 96, 0);
	assert_int_equal(monitor__finish_target(monitor, 0, &(struct wire_target){.seen = 150}), 0);
	assert_totals(150, 5, 145, 0);
	/* Asked again there is nothing more. */
	assert_int_equal(monitor__finish_target(monitor, 0, &(struct wire_target){.seen = 150}), 0);
	assert_totals(150, 5, 145, 0);
}

static void test_lost_rows(void **state)
{
	const struct pikos_record *record;

	(void)state;
	start("functions", "+pid");
	event(0);
	assert_int_equal(loss(0, WIRE_BUFFER_FULL, 3), 0);
	assert_int_equal(loss(0, WIRE_MAP_FULL, 2), 0);
	event(10); /* 1 to 5 lost, 6 to 9 filtered */
	assert_indices(4, (int64_t[]){0, 1, 4, 10});
	assert_text(1, "type", "lost");
	assert_text(1, "function", "buffer full");
	assert_int(1, "lineNo", 3);
	assert_int(1, "pid", 100);
	assert_int_equal(cell(1, "filename")->kind, PIKOS_EMPTY);
	assert_text(2, "function", "map full");
	record = pikos_recorder__list_get(recorder, 1);
	assert_non_null(record->lost);
	assert_int_equal(record->lost->count, 3);
	assert_int_equal(record->lost->time, 5);
	assert_int_equal(record->tid, 8);
	assert_totals(11, 2, 4, 5);
	assert_int_equal(lost_for("buffer full"), 3);
	assert_int_equal(lost_for("map full"), 2);
}

static void test_losses_at_the_end(void **state)
{
	const struct wire_target final = {
		.seen = 20,
		.lost = {[WIRE_BUFFER_FULL] = 9, [WIRE_UNREADABLE_STRING] = 1},
		.unreported = {[WIRE_BUFFER_FULL] = 5, [WIRE_UNREADABLE_STRING] = 1},
	};

	(void)state;
	start("lines", NULL);
	event_of(0, WIRE_LINE, 1, 1, 0);
	loss(0, WIRE_BUFFER_FULL, 4);
	assert_int_equal(monitor__finish_target(monitor, 0, &final), 0);
	assert_indices(4, (int64_t[]){0, 1, 5, 10});
	assert_text(2, "function", "<lost>");
	assert_int(2, "lineNo", 5);
	assert_text(2, "line", "buffer full");
	assert_text(3, "line", "unreadable string");
	assert_totals(20, 1, 9, 10);
	assert_int_equal(lost_for("buffer full"), 9);
}

static void test_unknown_id(void **state)
{
	(void)state;
	start("functions", NULL);
	event(0);
	assert_int_equal(event_of(0, WIRE_CALL, 4242, 1, 3), 0);
	event(4);
	assert_indices(3, (int64_t[]){0, 3, 4});
	assert_text(1, "type", "lost");
	assert_text(1, "function", "unreadable string");
	assert_int(1, "lineNo", 1);
	assert_totals(5, 2, 2, 1);
}

static void test_filters_of_ours(void **state)
{
	(void)state;
	start_with("functions", NULL, "function=f2,f4", pikos_recorder__list(), 0);
	for (uint64_t seq = 0; seq < 8; seq += 1 + (seq == 5))
		event(seq); /* 6 is filtered by the kernel */
	assert_indices(2, (int64_t[]){1, 3});
	assert_totals(8, 2, 6, 0);
	assert_int_equal(loss(0, WIRE_BUFFER_FULL, 1), 0); /* is never filtered */
	assert_indices(3, (int64_t[]){1, 3, 8});
	assert_totals(9, 2, 6, 1);
}

/* A filter that keeps few: days may lie between two records. */
static void test_more_than_32_bits(void **state)
{
	const int64_t far = (INT64_C(5) << 32) + 3;

	(void)state;
	start("functions", NULL);
	event(0);
	event(UINT64_C(3) << 30); /* more than half of 2^32 */
	event(UINT32_MAX);
	event(UINT64_C(1) << 32);
	event(far);
	assert_indices(5, (int64_t[]){0, INT64_C(3) << 30, UINT32_MAX, INT64_C(1) << 32, far});
	assert_totals(far + 1, 5, far - 4, 0);
	assert_int_equal(monitor__finish_target(monitor, 0, &(struct wire_target){.seen = 3 * far}),
			 0);
	assert_totals(3 * far, 5, 3 * far - 5, 0);
}

/*
 * Threads that really run at once (free-threaded builds, interpreters with their own lock) take
 * numbers and times in different orders.
 */
static void test_numbers_out_of_order(void **state)
{
	(void)state;
	start("functions", NULL);
	event(0);
	event(3);
	event(1);
	event(4);
	event(2);
	event(5);
	assert_indices(6, (int64_t[]){0, 3, 1, 4, 2, 5});
	assert_totals(6, 6, 0, 0);
	assert_int_equal(monitor__finish_target(monitor, 0, &(struct wire_target){.seen = 6}), 0);
	assert_totals(6, 6, 0, 0);
}

/* A loss that could be reported only behind a younger event. */
static void test_late_report_of_a_loss(void **state)
{
	(void)state;
	start("functions", NULL);
	event(0);
	event(3); /* 1 and 2 were lost; they look filtered */
	loss(0, WIRE_BUFFER_FULL, 2);
	event(4);
	event(5);
	event(6);
	assert_int_equal(monitor__finish_target(monitor, 0, &(struct wire_target){.seen = 9}), 0);
	assert_totals(9, 5, 2, 2);
	assert_int(pikos_recorder__list_count(recorder) - 1, "index", 6);
}

static void test_several_targets(void **state)
{
	(void)state;
	start("functions", "+pid");
	assert_int_equal(monitor__set_target(monitor, 1, 200, NULL), 0);
	assert_int_equal(monitor__set_target(monitor, WIRE_MAX_TARGETS - 1, 300, NULL), 0);
	event_of(0, WIRE_CALL, 1, 1, 0);
	event_of(1, WIRE_CALL, 1, 1, 0);
	event_of(WIRE_MAX_TARGETS - 1, WIRE_CALL, 1, 1, 2);
	event_of(1, WIRE_CALL, 1, 1, 1);
	event_of(0, WIRE_CALL, 1, 1, 4);
	loss(1, WIRE_BUFFER_FULL, 2);
	assert_indices(6, (int64_t[]){0, 1, 4, 5, 9, 10});
	assert_int(1, "pid", 200);
	assert_int(2, "pid", 300);
	assert_int(5, "pid", 200);
	assert_totals(12, 5, 5, 2);
	/* Nobody's. */
	assert_int_equal(event_of(2, WIRE_CALL, 1, 1, 0), 0);
	assert_int_equal(event_of(WIRE_MAX_TARGETS, WIRE_CALL, 1, 1, 0), 0);
	assert_int_equal(loss(2, WIRE_BUFFER_FULL, 7), 0);
	assert_int_equal(loss(UINT16_MAX, WIRE_BUFFER_FULL, 7), 0);
	assert_int_equal(monitor__finish_target(monitor, 2, &(struct wire_target){.seen = 3}), 0);
	assert_totals(12, 5, 5, 2);
	/* An exec: the same target with other lines goes on counting. */
	assert_int_equal(monitor__set_target(monitor, 1, 200, NULL), 0);
	event_of(1, WIRE_CALL, 1, 1, 4);
	assert_int(6, "index", 12);
	assert_totals(13, 6, 5, 2);
}

static void test_max_records(void **state)
{
	(void)state;
	start_with("functions", NULL, "function!=f1", pikos_recorder__list(), 3);
	assert_int_equal(event(0), 0); /* f1 */
	assert_int_equal(event(1), 0);
	assert_int_equal(loss(0, WIRE_BUFFER_FULL, 2), 0); /* is no record */
	assert_int_equal(event(4), 0);
	assert_int_equal(event(5), -ECANCELED);
	assert_indices(4, (int64_t[]){1, 2, 4, 5});
	assert_totals(6, 3, 1, 2);
}

static void test_lost_outside_the_kernel(void **state)
{
	(void)state;
	start("functions", NULL);
	event(0);
	assert_int_equal(monitor__lost(monitor, "program not run", 0), 0);
	assert_int_equal(monitor__lost(monitor, "program not run", 4), 0);
	event(1);
	assert_indices(3, (int64_t[]){0, 1, 5});
	assert_totals(6, 2, 0, 4);
	assert_int_equal(lost_for("program not run"), 4);
}

/* ------------------------------------------------------------------ what is not right */

static int n_until_full;

static int full_disk(void *ctx, const struct pikos_record *record)
{
	(void)ctx;
	(void)record;
	return n_until_full-- > 0 ? 0 : -ENOSPC;
}

static void test_recorder_fails(void **state)
{
	static const struct pikos_recorder_ops ops = {.record = full_disk};

	(void)state;
	n_until_full = 2;
	start_with("functions", NULL, NULL, pikos_recorder__new(&ops, NULL), 0);
	assert_int_equal(event(0), 0);
	assert_int_equal(event(1), 0);
	assert_int_equal(event(2), -ENOSPC);
	assert_totals(3, 2, 0, 1);
	assert_int_equal(lost_for("not written"), 1);
	assert_int_equal(loss(0, WIRE_BUFFER_FULL, 5), -ENOSPC);
	assert_totals(8, 2, 0, 6);
}

static void test_short_and_unknown_records(void **state)
{
	static const uint32_t sizes[] = {
		[WIRE_EVENT] = sizeof(struct wire_event),
		[WIRE_EVENT_MEMORY] = sizeof(struct wire_event_memory),
		[WIRE_CODE] = sizeof(struct wire_code),
		[WIRE_CODE_LONG] = sizeof(struct wire_code_long),
		[WIRE_LOST] = sizeof(struct wire_lost),
	};

	(void)state;
	start("functions", NULL);
	for (uint32_t kind = 0; kind < 256; kind++) {
		uint32_t size = kind && kind <= WIRE_LOST ? sizes[kind] : 17;
		/* Exactly as long as it says: the sanitizers see who reads behind it. */
		struct wire_head *head = calloc(1, size - 1);

		*head = (struct wire_head){.kind = kind, .type = WIRE_CALL};
		assert_int_equal(monitor__handle(monitor, head, size - 1), 0);
		free(head);
	}
	assert_int_equal(event_of(0, WIRE_LINE + 1, 1, 1, 0), 0);
	assert_int_equal(loss(0, WIRE_N_REASONS, 1), 0);
	assert_int_equal(pikos_recorder__list_count(recorder), 0);
	assert_totals(0, 0, 0, 0);
}

/* ------------------------------------------------------------------ everything at once */

struct truth {
	struct wire_target counters;
	uint64_t emitted;
};

static void lose(struct truth *truth, enum wire_reason reason)
{
	truth->counters.seen++;
	truth->counters.lost[reason]++;
	truth->counters.unreported[reason]++;
}

/* Reports what fits: now and then nothing does, and the event behind it finds room again. */
static void report(struct truth *truth, uint32_t target, bool room)
{
	for (int reason = 0; reason < WIRE_N_REASONS; reason++) {
		if (!truth->counters.unreported[reason])
			continue;
		if (!room && random() % 2)
			return;
		assert_int_equal(loss(target, reason, truth->counters.unreported[reason]), 0);
		truth->counters.unreported[reason] = 0;
	}
}

static void one_step(struct truth *truth, uint32_t target, bool room, uint64_t *unknown)
{
	uint32_t id = 1 + random() % NAMES;

	switch (random() % 8) {
	case 0:
	case 1:
		truth->counters.filtered++;
		truth->counters.seen++;
		return;
	case 2:
		lose(truth, random() % WIRE_N_REASONS);
		return;
	case 3:
		if (random() % 10 == 0) { /* a filter's long silence */
			truth->counters.filtered += UINT64_C(1) << 31;
			truth->counters.seen += UINT64_C(1) << 31;
		}
		return;
	}
	report(truth, target, room);
	if (random() % 20 == 0) {
		id = NAMES + 1;
		++*unknown;
	} else {
		truth->emitted++;
	}
	assert_int_equal(event_of(target, WIRE_RETURN, id, 1, truth->counters.seen++), 0);
}

static void random_stream(bool room)
{
	struct truth truths[3] = {0};
	uint64_t seen = 0, written = 0, filtered = 0, lost = 0, unknown = 0;

	start("functions", NULL);
	for (uint32_t i = 1; i < 3; i++)
		assert_int_equal(monitor__set_target(monitor, i, 100 + i, NULL), 0);
	for (int step = 0; step < 3000; step++) {
		uint32_t target = random() % 3;

		one_step(&truths[target], target, room, &unknown);
	}
	for (int i = 0; i < 3; i++) {
		const struct wire_target *final = &truths[i].counters;

		assert_int_equal(monitor__finish_target(monitor, i, final), 0);
		seen += final->seen;
		filtered += final->filtered;
		written += truths[i].emitted;
		for (int reason = 0; reason < WIRE_N_REASONS; reason++)
			lost += final->lost[reason];
	}
	assert_totals(seen, written, filtered, lost + unknown);
	assert_int_equal(lost_for("unreadable string"),
			 unknown + truths[0].counters.lost[WIRE_UNREADABLE_STRING] +
				 truths[1].counters.lost[WIRE_UNREADABLE_STRING] +
				 truths[2].counters.lost[WIRE_UNREADABLE_STRING]);
	for (size_t i = 1; room && i < pikos_recorder__list_count(recorder); i++)
		assert_true(cell(i - 1, "index")->i < cell(i, "index")->i);
	stop(NULL);
}

static void test_random_streams(void **state)
{
	(void)state;
	srandom(1);
	for (int i = 0; i < 20; i++) {
		random_stream(true);
		random_stream(false);
	}
}

/* One target whose threads race: any event may be delayed past up to three others. */
static void test_random_races(void **state)
{
	enum { EVENTS = 5000, WINDOW = 4 };
	uint64_t waiting[WINDOW], filtered = 0, seq = 0;
	int n = 0;

	(void)state;
	srandom(2);
	start("functions", NULL);
	while (seq < EVENTS || n) {
		while (n < WINDOW && seq < EVENTS) {
			if (random() % 3)
				waiting[n++] = seq;
			else
				filtered++;
			seq++;
		}
		if (n) {
			int i = random() % n;
			uint64_t chosen = waiting[i];

			waiting[i] = waiting[--n];
			assert_int_equal(event(chosen), 0);
			assert_int(pikos_recorder__list_count(recorder) - 1, "index", chosen);
		}
	}
	assert_int_equal(monitor__finish_target(monitor, 0, &(struct wire_target){.seen = EVENTS}),
			 0);
	assert_totals(EVENTS, EVENTS - filtered, filtered, 0);
}

#define TEST(name) cmocka_unit_test_teardown(name, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_functions),
		TEST(test_memory),
		TEST(test_lines),
		TEST(test_codes),
		TEST(test_gaps_are_filtered),
		TEST(test_lost_rows),
		TEST(test_losses_at_the_end),
		TEST(test_unknown_id),
		TEST(test_filters_of_ours),
		TEST(test_more_than_32_bits),
		TEST(test_numbers_out_of_order),
		TEST(test_late_report_of_a_loss),
		TEST(test_several_targets),
		TEST(test_max_records),
		TEST(test_lost_outside_the_kernel),
		TEST(test_recorder_fails),
		TEST(test_short_and_unknown_records),
		TEST(test_random_streams),
		TEST(test_random_races),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
