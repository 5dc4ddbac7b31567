// SPDX-License-Identifier: BSD-3-Clause
/*
 * Batches of an agent, handed to the monitor by hand: what a truthful agent says, and what a
 * hostile one can. The kernel has counted n_events of each batch, and the totals must tell that.
 */
#include "monitor_support.h"

#include <errno.h>

#include "symbols/ids.h"

#define CALL	  WIRE_CALL
#define RETURN	  WIRE_RETURN
#define FILE_NAME "/x.py"

static uint64_t counted; /* by the kernel */

/* ------------------------------------------------------------------ the agent's side */

struct batch {
	struct wire_batch head;
	struct wire_slot slots[WIRE_BATCH_MAX_SLOTS];
};

static struct batch batch;

static struct wire_slot *slot(uint32_t type_, uint32_t code, int32_t line, uint64_t time)
{
	struct wire_slot *new = &batch.slots[batch.head.n_slots++];

	assert_true(batch.head.n_slots <= WIRE_BATCH_MAX_SLOTS);
	*new = (struct wire_slot){time, code, wire_slot_pack(line, type_)};
	return new;
}

static void event(uint32_t type_, uint32_t code, int32_t line)
{
	slot(type_, code, line, 0);
	batch.head.n_events++;
}

static void define_bytes(uint32_t id, const char *name, size_t name_len, const char *file,
			 size_t file_len, uint32_t cut)
{
	struct wire_definition definition = {name_len, file_len, cut};
	size_t size = sizeof(definition) + name_len + file_len;
	uint32_t n = (size + sizeof(struct wire_slot) - 1) / sizeof(struct wire_slot);
	char *to = (char *)(slot(WIRE_SLOT_DEFINE, id, n, 0) + 1);

	assert_true(batch.head.n_slots + n <= WIRE_BATCH_MAX_SLOTS);
	batch.head.n_slots += n;
	memset(to, 0, n * sizeof(struct wire_slot));
	memcpy(to, &definition, sizeof(definition));
	memcpy(to + sizeof(definition), name, name_len);
	memcpy(to + sizeof(definition) + name_len, file, file_len);
}

static void define(uint32_t id, const char *name)
{
	define_bytes(id, name, strlen(name), FILE_NAME, strlen(FILE_NAME), 0);
}

/* An own copy of exactly its size, so that ASan sees a read behind it. */
static int send_sized(uint32_t target, uint32_t size)
{
	struct wire_head *record = malloc(size);
	int err;

	assert_non_null(record);
	batch.head.head.kind = WIRE_BATCH;
	batch.head.head.target = target;
	if (!batch.head.head.time)
		batch.head.head.time = UINT64_MAX;
	memcpy(record, &batch, size);
	counted += batch.head.n_events;
	for (int i = 0; i < 4; i++)
		counted += batch.head.lost[i];
	err = monitor__handle(monitor, record, size);
	free(record);
	memset(&batch.head, 0, sizeof(batch.head));
	return err;
}

static int send_to(uint32_t target)
{
	return send_sized(target,
			  sizeof(batch.head) + batch.head.n_slots * sizeof(struct wire_slot));
}

static void send(void)
{
	assert_int_equal(send_to(0), 0);
}

/* ------------------------------------------------------------------ the monitor's side */

static bool keep_all(void *ctx, const struct pikos_record *record)
{
	(void)ctx;
	(void)record;
	return true;
}

static void start_with(const char *name, const char *fields, const char *filter,
		       struct pikos_recorder *to, uint64_t max_records)
{
	assert_int_equal(pikos_record_type__init(&type, name, fields), 0);
	if (filter) {
		filters = pikos_filters__new();
		if (*filter)
			assert_int_equal(pikos_filters__add(filters, &type, filter), 0);
		else /* nothing is known of it, so every record is made */
			assert_int_equal(pikos_filters__add_callback(filters, keep_all, NULL), 0);
	}
	start_monitor((struct monitor_config){.max_records = max_records}, to);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(monitor__set_target(monitor, i, 100 + i, NULL), 0);
	counted = 0;
	memset(&batch, 0, sizeof(batch));
}

static void start(const char *name, const char *fields)
{
	start_with(name, fields, NULL, pikos_recorder__list(), 0);
}

/* The agent has a function to tell of: 1 is f of FILE_NAME. */
static void start_with_f(const char *name, const char *fields)
{
	start(name, fields);
	define(1, "f");
}

static void assert_totals(uint64_t written, uint64_t filtered, uint64_t lost)
{
	struct monitor_totals totals;

	monitor__totals(monitor, &totals);
	assert_int_equal(totals.written, written);
	assert_int_equal(totals.filtered, filtered);
	assert_int_equal(totals.lost, lost);
	assert_int_equal(totals.seen, counted);
	assert_int_equal(totals.seen, written + filtered + lost);
}

/* ------------------------------------------------------------------ what is true */

static void test_functions(void **state)
{
	(void)state;
	start("functions", "+pid,+tid,+time");
	batch.head.tid = 7;
	batch.head.time = 5000;
	define(1, "f");
	define(2, "len");
	event(CALL, 1, 10);
	event(WIRE_C_CALL, 2, 11);
	slot(WIRE_SLOT_THREAD, 8, 0, 0);
	event(WIRE_C_RETURN, 2, 11);
	event(WIRE_C_EXCEPTION, 2, 12);
	event(RETURN, 1, -1);
	send();
	assert_totals(5, 0, 0);
	assert_text(0, "type", "call");
	assert_text(0, "function", "f");
	assert_text(0, "filename", FILE_NAME);
	assert_int(0, "pid", 100);
	assert_int(0, "tid", 7);
	assert_int(0, "time", 5000);
	assert_text(1, "type", "c_call");
	assert_text(1, "function", "len");
	assert_int(1, "lineNo", 11);
	assert_int(1, "tid", 7);
	assert_text(2, "type", "c_return");
	assert_int(2, "tid", 8);
	assert_text(3, "type", "c_exception");
	assert_text(4, "type", "return");
	assert_int(4, "lineNo", -1);
	for (int i = 0; i < 5; i++)
		assert_int(i, "index", i);
	assert_true(pikos_recorder__list_get(recorder, 0)->is_call);
	assert_true(pikos_recorder__list_get(recorder, 4)->is_return);
}

static void detailed(uint32_t code, int32_t line, const struct wire_detail *detail)
{
	struct wire_slot *to = slot(WIRE_SLOT_DETAILED, code, line, 0);

	batch.head.n_slots += 2;
	batch.head.n_events++;
	memcpy(to + 1, detail, sizeof(*detail));
}

static void allocation(uint32_t type_, uint64_t address, uint64_t size)
{
	const struct wire_detail detail = {type_, 2, 20, 3, address, size};

	detailed(1, 10, &detail);
}

static void test_allocations(void **state)
{
	const struct wire_detail native = {WIRE_CALLOC, WIRE_NO_CODE, -1, 0, 64, 5};

	(void)state;
	start("allocations", "+tid"); /* which it has */
	batch.head.tid = 7;
	define(1, "f");
	define(2, "g");
	allocation(WIRE_CALL, 0, 0);
	allocation(WIRE_MALLOC, 16, 100);
	allocation(WIRE_REALLOC_FREE, 16, 0);
	allocation(WIRE_REALLOC, 32, 200);
	allocation(WIRE_FREE, 32, 0);
	allocation(WIRE_FREE, 48, 0); /* of before */
	detailed(WIRE_NO_CODE, -1, &native);
	detailed(WIRE_UNKNOWN_CODE, -1, &native);
	send();
	assert_totals(8, 0, 0);
	assert_int_equal(type.n_fields, 13);
	assert_int(0, "event", 1);
	assert_int(1, "event", 1000);
	assert_int(1, "value1", 16);
	assert_int(1, "value2", 100);
	assert_int(1, "lineno", 10);
	assert_int(1, "from_line", 20);
	assert_int(1, "depth", 3);
	assert_int(1, "tid", 7);
	assert_text(1, "name", "f");
	assert_text(1, "mod", FILE_NAME);
	assert_text(1, "from_name", "g");
	assert_int(2, "event", 1004);
	assert_int(2, "value2", -100);
	assert_int(3, "event", 1002);
	assert_int(4, "event", 1003);
	assert_int(4, "value2", -200);
	assert_int(5, "value2", 0);
	assert_int(6, "event", 1001);
	assert_text(6, "name", "<native>");
	assert_text(6, "from_name", "");
	assert_text(7, "name", "<unknown>");
}

/* A size that may be another block's is not told; the lost have a row like the others. */
static void test_allocations_after_a_loss(void **state)
{
	(void)state;
	start_with_f("allocations", NULL);
	allocation(WIRE_MALLOC, 16, 100);
	send();
	batch.head.lost[WIRE_BUFFER_FULL] = 4;
	allocation(WIRE_FREE, 16, 0);
	send();
	assert_totals(2, 0, 4);
	assert_int(1, "event", 0);
	assert_int(1, "value2", 4);
	assert_text(1, "mod", "buffer full");
	assert_int(2, "value2", 0);
	assert_text(2, "from_name", "<unknown>"); /* never defined */
}

static void test_forged_details(void **state)
{
	const struct wire_detail lines = {.type = WIRE_LINE}, huge = {.type = UINT32_MAX};

	(void)state;
	start_with_f("allocations", NULL);
	event(CALL, 1, 1); /* without details */
	detailed(1, 1, &lines);
	detailed(1, 1, &huge);
	detailed(77, 1, &(struct wire_detail){.type = WIRE_FREE}); /* not defined */
	event(WIRE_SLOT_DETAILED, 1, 1);			   /* cut off */
	send();
	assert_totals(0, 0, 5);
	assert_int_equal(lost_for("unreadable batch"), 4);
	stop(NULL);
	start_with_f("functions", NULL);
	allocation(WIRE_MALLOC, 16, 100); /* of a monitor that it is not */
	event(CALL, 1, 1);
	send();
	assert_totals(1, 0, 1);
}

static void test_ids_last(void **state)
{
	(void)state;
	start("functions", NULL);
	define(7, "f");
	send();
	event(CALL, 7, 1);
	slot(WIRE_SLOT_FORGET, 7, 0, 0);
	define(8, "g");
	event(CALL, 8, 1);
	send();
	define(8, "h"); /* a truthful agent says the same again */
	event(CALL, 8, 1);
	assert_int_equal(send_to(0), 0);
	assert_text(0, "function", "f");
	assert_text(1, "function", "g");
	assert_text(2, "function", "h");
	assert_totals(3, 0, 0);
}

/* Each target has ids of its own. */
static void test_several_targets(void **state)
{
	(void)state;
	start_with_f("functions", "+pid");
	send();
	define(1, "g");
	event(CALL, 1, 1);
	assert_int_equal(send_to(1), 0);
	event(CALL, 1, 1);
	send();
	assert_text(0, "function", "g");
	assert_int(0, "pid", 101);
	assert_text(1, "function", "f");
	assert_int(1, "pid", 100);
	assert_totals(2, 0, 0);
}

static void overhead(uint32_t kind, uint64_t count_, uint64_t ns)
{
	const struct wire_overhead said = {count_, ns};

	memcpy(slot(WIRE_SLOT_OVERHEAD, kind, 1, 0) + 1, &said, sizeof(said));
	batch.head.n_slots++;
}

static void assert_overhead(uint32_t kind, uint64_t count_, uint64_t ns)
{
	const struct wire_overhead *said = &monitor__agent(monitor, 0)->overhead[kind];

	assert_int_equal(said->count, count_);
	assert_int_equal(said->ns, ns);
}

/* An agent tells all since its beginning, each time; the next program's begins anew. */
static void test_overhead(void **state)
{
	(void)state;
	start("functions", NULL);
	slot(WIRE_SLOT_NOTICE, WIRE_NOTICE_HOOKED, 0, 0);
	define(1, "f");
	overhead(CALL, 10, 100);
	overhead(WIRE_N_OVERHEADS, 1, 1);
	overhead(UINT32_MAX, 1, 1);
	event(CALL, 1, 1);
	send();
	overhead(CALL, 30, 310);
	overhead(WIRE_OVERHEAD_BATCH, 1, 5000);
	send();
	assert_overhead(CALL, 30, 310);
	assert_overhead(WIRE_OVERHEAD_BATCH, 1, 5000);
	assert_overhead(RETURN, 0, 0);
	slot(WIRE_SLOT_NOTICE, WIRE_NOTICE_HOOKED, 0, 0);
	overhead(CALL, 7, 70);
	slot(WIRE_SLOT_OVERHEAD, CALL, 1, 0); /* cut off */
	send();
	assert_overhead(CALL, 37, 380);
	assert_overhead(WIRE_OVERHEAD_BATCH, 1, 5000);
	assert_totals(1, 0, 0);
}

static void values(uint64_t rss, uint64_t vms)
{
	const struct wire_values said = {rss, vms};

	memcpy(slot(WIRE_SLOT_VALUES, 0, 1, 0) + 1, &said, sizeof(said));
	batch.head.n_slots++;
}

/* Those of the batch's head, until others are said; the next batch's head says them again. */
static void test_memory(void **state)
{
	static const uint64_t rss[] = {30, 30, 31, 29, 29, 7};
	int64_t page = sysconf(_SC_PAGESIZE);

	(void)state;
	start_with_f("function_memory", NULL);
	batch.head.values = (struct wire_values){30, UINT64_C(1) << 40};
	event(CALL, 1, 1);
	event(RETURN, 1, 1);
	values(31, UINT64_C(1) << 40);
	event(CALL, 1, 1);
	values(28, 1);
	values(29, UINT64_C(1) << 40);
	event(RETURN, 1, 1);
	slot(WIRE_SLOT_THREAD, 9, 0, 0);
	event(CALL, 1, 1);
	slot(WIRE_SLOT_VALUES, 0, 1, 0); /* cut off */
	send();
	batch.head.values = (struct wire_values){7, UINT64_C(1) << 40};
	event(CALL, 1, 1);
	send();
	for (int i = 0; i < 6; i++) {
		assert_int(i, "RSS", (int64_t)rss[i] * page);
		assert_int(i, "VMS", (INT64_C(1) << 40) * page);
		assert_int_equal(pikos_recorder__list_get(recorder, i)->rss,
				 (int64_t)rss[i] * page);
	}
	assert_totals(6, 0, 0);
}

static void test_lines(void **state)
{
	(void)state;
	start_with_f("lines", NULL);
	event(WIRE_LINE, 1, 3);
	send();
	assert_int(0, "lineNo", 3);
	assert_text(0, "line", "<compiled string>");
	assert_totals(1, 0, 0);
}

/* Between two pairs the clocks run evenly; an event is never younger than its batch. */
static void test_times(void **state)
{
	(void)state;
	start_with_f("functions", "+time");
	batch.head.clock = 1000;
	batch.head.time = 50000;
	send();
	batch.head.clock = 2000;
	batch.head.time = 52000;
	slot(CALL, 1, 1, 1001);
	slot(CALL, 1, 1, 1500);
	slot(CALL, 1, 1, 1400); /* clocks of two CPUs */
	slot(CALL, 1, 1, 2000);
	slot(CALL, 1, 1, 9000);
	slot(CALL, 1, 1, 0);
	batch.head.n_events = 6;
	send();
	assert_int(0, "time", 50002);
	assert_int(1, "time", 51000);
	assert_int(2, "time", 51000);
	assert_int(3, "time", 52000);
	assert_int(4, "time", 52000);
	assert_int(5, "time", 52000);
	batch.head.clock = 3000;
	batch.head.time = 99999; /* later than the kernel took it */
	batch.head.head.time = 53000;
	slot(CALL, 1, 1, 3000);
	batch.head.n_events = 1;
	send();
	assert_int(6, "time", 53000);
}

static void test_filters(void **state)
{
	(void)state;
	start_with("functions", NULL, "function=f", pikos_recorder__list(), 0);
	define(1, "f");
	define(2, "g");
	event(CALL, 1, 1);
	event(CALL, 2, 1);
	event(RETURN, 2, 1);
	event(RETURN, 1, 1);
	send();
	assert_totals(2, 2, 0);
	assert_int(1, "index", 3);
}

static void test_max_records(void **state)
{
	(void)state;
	start_with("functions", NULL, NULL, pikos_recorder__list(), 2);
	define(1, "f");
	for (int i = 0; i < 5; i++)
		event(CALL, 1, 1);
	assert_int_equal(send_to(0), -ECANCELED);
	event(CALL, 1, 1); /* until the agent has ended */
	event(CALL, 2, 1);
	batch.head.lost[0] = 1;
	slot(WIRE_SLOT_NOTICE, WIRE_NOTICE_ENDED, 0, 0);
	send();
	assert_true(monitor__agent(monitor, 0)->ended);
	assert_int_equal(pikos_recorder__list_count(recorder), 2);
	counted = 2;
	assert_totals(2, 0, 0);
}

static void test_notices(void **state)
{
	const struct monitor_agent *agent;

	(void)state;
	start("functions", NULL);
	agent = monitor__agent(monitor, 0);
	assert_false(agent->hooked || agent->ended || agent->wants_resend);
	assert_non_null(monitor__agent(monitor, WIRE_MAX_TARGETS));
	slot(WIRE_SLOT_NOTICE, WIRE_NOTICE_HOOKED, 0, 0);
	slot(WIRE_SLOT_NOTICE, WIRE_NOTICE_INTERPRETERS, 3, 0);
	slot(WIRE_SLOT_NOTICE, WIRE_NOTICE_REPLACED, 0, 0);
	slot(WIRE_SLOT_NOTICE, WIRE_NOTICE_REPLACED, 0, 0);
	slot(WIRE_SLOT_NOTICE, WIRE_NOTICE_LATE_THREAD, 0, 0);
	slot(WIRE_SLOT_NOTICE, 77, 0, 0);
	send();
	agent = monitor__agent(monitor, 0);
	assert_true(agent->hooked && !agent->ended);
	assert_int_equal(agent->interpreters, 3);
	assert_int_equal(agent->replaced, 2);
	assert_int_equal(agent->late_threads, 1);
	slot(WIRE_SLOT_NOTICE, WIRE_NOTICE_ENDED, 0, 0);
	send();
	assert_true(agent->ended);
	slot(WIRE_SLOT_NOTICE, WIRE_NOTICE_HOOKED, 0, 0); /* another program in the process */
	send();
	assert_true(agent->hooked && !agent->ended);
}

/* ------------------------------------------------------------------ what was lost */

static void test_losses_in_the_head(void **state)
{
	(void)state;
	start_with_f("functions", NULL);
	event(CALL, 1, 1);
	send();
	event(CALL, 1, 1);
	batch.head.lost[WIRE_BUFFER_FULL] = 1000;
	batch.head.lost[WIRE_UNREADABLE_BATCH] = 1;
	send();
	assert_totals(2, 0, 1001);
	assert_text(1, "function", "buffer full");
	assert_int(1, "index", 1);
	assert_int(1, "lineNo", 1000);
	assert_text(2, "function", "unreadable batch");
	assert_int(2, "index", 1001);
	assert_int(3, "index", 1002);
}

/* What the kernel did not see, because it could not run the program, it has not counted. */
static void test_batches_that_were_missed(void **state)
{
	(void)state;
	start_with_f("functions", NULL);
	event(CALL, 1, 1);
	send();
	batch.head.before = 1001;
	event(CALL, 1, 1);
	send();
	counted += 1000;
	assert_totals(2, 0, 1000);
	assert_int_equal(lost_for(MONITOR_NOT_RUN), 1000);
	assert_int(2, "index", 1001);
	batch.head.before = 1002 + 50; /* those had no room, that is told already */
	batch.head.lost[WIRE_BUFFER_FULL] = 50;
	event(CALL, 1, 1);
	send();
	assert_totals(3, 0, 1050);
	batch.head.before = 7; /* started anew */
	event(CALL, 1, 1);
	send();
	batch.head.before = UINT64_MAX; /* no number of batches */
	event(CALL, 1, 1);
	send();
	assert_totals(5, 0, 1050);
}

/* The definition was in a batch that had no room. */
static void test_unknown_ids(void **state)
{
	(void)state;
	start_with_f("functions", NULL);
	event(CALL, 1, 1);
	event(CALL, 9, 1);
	event(CALL, 9, 2);
	event(CALL, 1u << 31, 2);
	event(CALL, 1, 1);
	event(CALL, 9, 1);
	send();
	assert_totals(2, 0, 4);
	assert_int_equal(pikos_recorder__list_count(recorder), 4);
	assert_int(1, "index", 1); /* a row for the three of them */
	assert_int(1, "lineNo", 3);
	assert_int(2, "index", 4);
	assert_int(3, "index", 5);
	assert_true(monitor__agent(monitor, 0)->wants_resend);
	slot(WIRE_SLOT_NOTICE, WIRE_NOTICE_RESENT, 0, 0);
	define(9, "g");
	event(CALL, 9, 1);
	send();
	assert_false(monitor__agent(monitor, 0)->wants_resend);
	assert_text(4, "function", "g");
	assert_totals(3, 0, 4);
}

static void test_end_of_a_target(void **state)
{
	const struct wire_target final = {.seen = 8, .unreported = {[WIRE_BUFFER_FULL] = 5}};

	(void)state;
	start_with_f("functions", NULL);
	for (int i = 0; i < 3; i++)
		event(CALL, 1, 1);
	send();
	assert_int_equal(monitor__finish_target(monitor, 0, &final), 0);
	counted = 8;
	assert_totals(3, 0, 5);
}

/* ------------------------------------------------------------------ what is a lie */

static void test_counts_that_are_wrong(void **state)
{
	(void)state;
	start_with_f("functions", NULL);
	event(CALL, 1, 1);
	batch.head.n_events = 5; /* more than there are */
	send();
	assert_totals(1, 0, 4);
	assert_int_equal(lost_for("unreadable batch"), 4);
	for (int i = 0; i < 5; i++)
		event(CALL, 1, 1);
	batch.head.n_events = 2; /* fewer */
	send();
	assert_totals(3, 0, 4);
	assert_int(3, "index", 6);
}

static void test_types_that_are_not(void **state)
{
	(void)state;
	start_with_f("functions", NULL);
	event(WIRE_LINE, 1, 1); /* of another monitor */
	event(CALL, 1, 1);
	for (uint32_t i = 12; i < 16; i++)
		event(i, 1, 1);
	event(7, 1, 1);
	send();
	assert_totals(1, 0, 6);
	assert_int_equal(lost_for("unreadable batch"), 6);
	stop(NULL);
	start_with_f("lines", NULL);
	event(WIRE_LINE, 1, 1);
	event(WIRE_C_CALL, 1, 1);
	send();
	assert_totals(1, 0, 1);
}

static void test_sizes_that_are_wrong(void **state)
{
	(void)state;
	start_with_f("functions", NULL);
	send();
	event(CALL, 1, 1);
	event(CALL, 1, 1);
	batch.head.n_slots = UINT32_MAX; /* the record holds two, and half of one */
	assert_int_equal(send_sized(0, sizeof(batch.head) + 2 * sizeof(struct wire_slot) + 8), 0);
	assert_totals(2, 0, 0);
	for (uint32_t size = sizeof(struct wire_head); size < sizeof(batch.head); size++)
		assert_int_equal(send_sized(0, size), 0); /* the kernel makes none */
	assert_int_equal(send_to(WIRE_MAX_TARGETS + 3), 0);
	assert_int_equal(send_to(WIRE_MAX_TARGETS - 1), 0); /* nobody is there */
	batch.head.slots = UINT64_MAX;
	event(CALL, 1, 1);
	batch.head.n_events = 0;
	send();
	assert_totals(2, 0, 0);
}

static void test_definitions_that_run_out(void **state)
{
	struct wire_slot *first;

	(void)state;
	start("functions", NULL);
	for (int line = -1; line < 3; line++) { /* of one slot, of -1, of more than there are */
		first = slot(WIRE_SLOT_DEFINE, 5, line < 0 ? -1 : line * 1000, 0);
		event(CALL, 5, 1);
		(void)first;
		send();
	}
	define_bytes(6, "abc", 3, "def", 3, 0);
	((struct wire_definition *)&batch.slots[1])->name_len = 65535;
	event(CALL, 6, 1);
	send();
	define_bytes(6, "abc", 3, "def", 3, 0);
	((struct wire_definition *)&batch.slots[1])->file_len = 9; /* one too many */
	event(CALL, 6, 1);
	send();
	slot(WIRE_SLOT_DEFINE, 6, WIRE_SLOT_LINE_MAX, 0);
	send();
	assert_totals(0, 0, counted);
	assert_int_equal(counted, 6);
	define_bytes(6, "", 0, "", 0, 0);
	event(CALL, 6, 1);
	define_bytes(7, "ab\0\xff,", 5, FILE_NAME, 5, WIRE_NAME_CUT);
	event(CALL, 7, 1);
	send();
	assert_totals(2, 0, 6);
	assert_text(pikos_recorder__list_count(recorder) - 2, "function", "");
	assert_int_equal(cell(pikos_recorder__list_count(recorder) - 1, "function")->s->len,
			 strlen("ab?\\xff,<cut>"));
}

/* Ids from one end to the other, until it is enough. */
static void test_too_many_ids(void **state)
{
	static char name[WIRE_LONG_TEXT - 1];
	uint32_t id = 0;

	(void)state;
	start("functions", NULL);
	memset(name, 'n', sizeof(name));
	while (!monitor__agent(monitor, 0)->wants_resend) {
		id += 0x01234567;
		define_bytes(id, name, sizeof(name), name, sizeof(name), 0);
		send();
		assert_true(id != 0);
	}
	event(CALL, id, 1); /* the last one is known, what was before is forgotten */
	event(CALL, 0x01234567, 1);
	send();
	assert_totals(1, 0, 1);
}

/* ------------------------------------------------------------------ rows that are kept */

static uint32_t below(uint32_t n)
{
	return (uint32_t)random() % n;
}

static void random_slot(bool hostile)
{
	static const char *const names[] = {"f", "a,b", "say \"x\"", "", "caf\xc3\xa9", "\x01\xff"};
	char long_name[400];
	uint32_t id = below(60);

	switch (below(hostile ? 30 : 24)) {
	case 0:
		define(id, names[below(6)]);
		break;
	case 1:
		memset(long_name, 'l', sizeof(long_name));
		define_bytes(id, long_name, below(400), FILE_NAME, 5, below(4));
		break;
	case 2:
		slot(WIRE_SLOT_FORGET, id, 0, 0);
		break;
	case 3:
		slot(WIRE_SLOT_THREAD, below(4) ? 1000 + id : UINT32_MAX, 0, 0);
		break;
	case 4:
		values(below(3) ? below(100000) : random(),
		       below(2) ? 5000 : (uint64_t)random() << 9);
		break;
	case 23:
		slot(WIRE_SLOT_VALUES, id, (int32_t)below(4) - 1, 0);
		break;
	case 24: /* anything at all */
		*slot(0, 0, 0, 0) = (struct wire_slot){random(), random(), random()};
		batch.head.n_events += below(2);
		break;
	case 25:
		slot(WIRE_SLOT_DEFINE, id, (int32_t)below(40) - 3, 0);
		break;
	case 26:
		slot(WIRE_SLOT_NOTICE, below(9), random() % 100, 0);
		break;
	case 27:
		batch.head.n_events += below(3);
		break;
	default:
		slot(below(6) ? CALL + below(2) : CALL + below(6), id, (int32_t)below(5) - 1,
		     below(20) ? batch.head.clock - below(30000) : (uint64_t)random());
		batch.head.n_events++;
	}
}

/* The same batches for every recorder, whatever it makes of them. */
static void send_random(unsigned int seed, bool hostile)
{
	uint64_t clock = 40000;

	srandom(seed);
	for (int i = 0; i < 60; i++) {
		uint32_t n = below(100);

		batch.head.clock = clock += 25000;
		batch.head.time = UINT64_C(1234567890123) + clock / 2 + below(100);
		batch.head.head.time = batch.head.time + below(10);
		batch.head.tid = 1000 + below(3);
		if (!below(10))
			batch.head.lost[below(4)] = below(3) ? below(100000) : 99999999;
		while (n--)
			random_slot(hostile);
		if (hostile && !below(5))
			batch.head.n_slots += below(1000);
		assert_int_equal(
			send_sized(below(2),
				   sizeof(batch.head) + (batch.head.n_slots < WIRE_BATCH_MAX_SLOTS
								 ? batch.head.n_slots
								 : WIRE_BATCH_MAX_SLOTS) *
								sizeof(struct wire_slot)),
			0);
	}
}

typedef struct pikos_recorder *(*make_fn)(const struct pikos_output *out);

/* @return what the recorder wrote; the caller frees it */
static char *record(make_fn make, struct pikos_output *out, const char *name, const char *fields,
		    const char *filter, unsigned int seed, struct monitor_totals *totals,
		    size_t *len)
{
	char *path = temporary("batch");
	char *data;

	out->path = path;
	start_with(name, fields, filter, make(out), 0);
	send_random(seed, seed % 2);
	monitor__totals(monitor, totals);
	assert_int_equal(totals->seen, counted);
	assert_int_equal(totals->seen, totals->written + totals->filtered + totals->lost);
	assert_int_equal(pikos_recorder__finalize(recorder, &(struct pikos_summary){0}), 0);
	stop(NULL);
	data = slurp(path, len);
	unlink(path);
	free(path);
	return data;
}

static const char *const names[] = {"functions", "function_memory", "line_memory"};

/*
 * A filter of which nothing is known has every record made, formatted and counted by itself: with
 * it and without it the files must be the same.
 */
static void compare(make_fn make, struct pikos_output out, const char *fields, unsigned int seed)
{
	const char *name = names[seed / 3 % (out.tree ? 2 : 3)]; /* lines make no tree */
	struct monitor_totals fast, slow;
	size_t fast_len, slow_len;
	char *kept = record(make, &out, name, fields, NULL, seed, &fast, &fast_len);
	char *made = record(make, &out, name, fields, "", seed, &slow, &slow_len);

	assert_int_equal(fast.written, slow.written);
	assert_int_equal(fast.lost, slow.lost);
	assert_int_equal(fast_len, slow_len);
	assert_memory_equal(kept, made, slow_len);
	free(kept);
	free(made);
}

static void test_rows_are_those_of_records(void **state)
{
	static const char *const fields[] = {NULL, "+pid", "+time", "+tid,+time,+pid"};

	(void)state;
	for (unsigned int seed = 0; seed < 48; seed++) {
		const char *some = fields[seed / 2 % 4];

		compare(pikos_recorder__csv, (struct pikos_output){0}, some, seed);
		compare(pikos_recorder__csv, (struct pikos_output){.delimiter = '1'}, some, seed);
		compare(pikos_recorder__text, (struct pikos_output){0}, some, seed);
		compare(pikos_recorder__text, (struct pikos_output){.plain = true}, some, seed);
		compare(pikos_recorder__text, (struct pikos_output){.tree = true}, some, seed);
	}
}

/* Rows that are filtered are kept, too; the index counts them. */
static void test_filtered_rows(void **state)
{
	struct monitor_totals totals;
	struct pikos_output out = {0};
	size_t all_len, len;
	char *all, *some, *line, *rest = NULL;
	uint64_t n = 0;

	(void)state;
	for (unsigned int seed = 0; seed < 8; seed++) {
		all = record(pikos_recorder__csv, &out, "function_memory", NULL, NULL, seed,
			     &totals, &all_len);
		some = record(pikos_recorder__csv, &out, "function_memory", NULL, "type!=call",
			      seed, &totals, &len);
		assert_true(totals.filtered > 0);
		n = 0;
		rest = all;
		for (line = some; *line; line += strcspn(line, "\n") + 1) {
			size_t size = strcspn(line, "\n") + 1;

			while (strncmp(rest, line, size)) { /* it stands further down, unchanged */
				n += !!strstr(rest, ",call,");
				rest += strcspn(rest, "\n") + 1;
				assert_true(rest < all + all_len);
			}
		}
		assert_true(n > 0);
		free(all);
		free(some);
	}
}

/* Across every number of digits, and eight is not special. */
static void test_index_digits(void **state)
{
	static const uint32_t starts[] = {5,	   95,	     995,	9990,	   99990,
					  9999990, 99999985, 999999990, 1999999990};
	char *path = temporary("digits"), *data, *at;
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++) {
		start_with("functions", NULL, NULL,
			   pikos_recorder__csv(&(struct pikos_output){.path = path}), 0);
		define(1, "f");
		batch.head.lost[WIRE_BUFFER_FULL] = starts[i];
		for (int j = 0; j < 30; j++)
			event(CALL, 1, 1);
		send();
		assert_int_equal(pikos_recorder__finalize(recorder, &(struct pikos_summary){0}), 0);
		stop(NULL);
		data = slurp(path, &len);
		at = strstr(data, "\r\n") + 2; /* header, loss */
		at = strstr(at, "\r\n") + 2;
		for (uint32_t j = 0; j < 30; j++) {
			char expected[64];

			snprintf(expected, sizeof(expected), "%u,call,f,1,/x.py\r\n",
				 starts[i] + j);
			assert_memory_equal(at, expected, strlen(expected));
			at += strlen(expected);
		}
		assert_true(!*at);
		free(data);
	}
	unlink(path);
	free(path);
}

#define TEST(name) cmocka_unit_test_teardown(name, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_functions),
		TEST(test_allocations),
		TEST(test_allocations_after_a_loss),
		TEST(test_forged_details),
		TEST(test_overhead),
		TEST(test_ids_last),
		TEST(test_several_targets),
		TEST(test_memory),
		TEST(test_lines),
		TEST(test_times),
		TEST(test_filters),
		TEST(test_max_records),
		TEST(test_notices),
		TEST(test_losses_in_the_head),
		TEST(test_batches_that_were_missed),
		TEST(test_unknown_ids),
		TEST(test_end_of_a_target),
		TEST(test_counts_that_are_wrong),
		TEST(test_types_that_are_not),
		TEST(test_sizes_that_are_wrong),
		TEST(test_definitions_that_run_out),
		TEST(test_too_many_ids),
		TEST(test_rows_are_those_of_records),
		TEST(test_filtered_rows),
		TEST(test_index_digits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
