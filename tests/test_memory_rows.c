// SPDX-License-Identifier: BSD-3-Clause
/* The monitor of memory: the test plays the kernel, and lies as a hostile one would. */
#include "monitor_support.h"

#include <errno.h>
#include <unistd.h>

static int64_t page;

static struct memory_event last;
static int n_events, consumer_says;

static int note_event(void *ctx, const struct memory_event *event)
{
	assert_ptr_equal(ctx, &last);
	last = *event;
	n_events++;
	return consumer_says;
}

static void start(const struct memory_consumer *consumer, uint64_t max_records)
{
	page = sysconf(_SC_PAGESIZE);
	assert_int_equal(pikos_record_type__init(&type, "memory", "+pid,+tid,+time"), 0);
	assert_int_equal(pikos_record_type__append(&type, "stack"), 0);
	start_monitor((struct monitor_config){.max_records = max_records, .consumer = consumer},
		      pikos_recorder__list());
	assert_int_equal(monitor__set_target(monitor, 0, 100, NULL), 0);
	n_events = consumer_says = 0;
}

struct sent {
	struct wire_memory memory;
	struct wire_frame frames[2];
};

static int send(enum wire_memory_type kind, struct wire_memory memory, uint32_t room)
{
	struct sent sent = {.memory = memory, .frames = {{77, 0}, {0, 0}}};

	sent.memory.head =
		(struct wire_head){.kind = WIRE_MEMORY, .type = kind, .tid = 7, .time = 1234};
	return monitor__handle(monitor, &sent.memory.head,
			       sizeof(sent.memory) + room * sizeof(struct wire_frame));
}

static size_t newest_row(void)
{
	return pikos_recorder__list_count(recorder) - 1;
}

static const struct pikos_value *newest(const char *field)
{
	return cell(newest_row(), field);
}

static void assert_words(const char *field, const char *words)
{
	assert_text(newest_row(), field, words);
}

static void assert_row(const char *kind, const char *address, int64_t size)
{
	assert_words("type", kind);
	assert_words("address", address);
	assert_int(newest_row(), "size", size);
}

static void writes_sizes_as_documented(void **state)
{
	(void)state;
	start(NULL, 0);
	assert_int_equal(
		send(WIRE_MMAP,
		     (struct wire_memory){
			     .address = 0x7f0000001000, .size = page + 1, .rss = 3, .vms = 5},
		     0),
		0);
	assert_row("mmap", "0x7f0000001000", 2 * page);
	assert_int_equal(newest("RSS")->i, 3 * page);
	assert_int_equal(newest("VMS")->i, 5 * page);
	assert_int_equal(newest("pid")->i, 100);
	assert_int_equal(newest("tid")->i, 7);
	assert_int_equal(newest("time")->i, 1234);
	assert_int_equal(newest("index")->i, 0);
	send(WIRE_BRK, (struct wire_memory){.address = 0x1000, .old_address = 0x3000}, 0);
	assert_row("brk", "0x1000", -0x2000);
	send(WIRE_MREMAP, (struct wire_memory){.address = 0x9000, .size = 1, .old_size = page}, 0);
	assert_row("mremap", "0x9000", page);
	send(WIRE_ANON, (struct wire_memory){.change = -3, .n_faults = 1}, 0);
	assert_row("anon", "", -3 * page);
	send(WIRE_SWAP, (struct wire_memory){.change = 2, .address = 0x5000}, 0);
	assert_row("swap", "0x5000", 2 * page);
	assert_int_equal(newest("index")->i, 4);
}

static void names_what_has_no_frame(void **state)
{
	static const struct {
		uint32_t flags;
		const char *function, *stack;
	} cases[] = {
		{WIRE_STACK_NATIVE, "<native>", "<native>"},
		{WIRE_STACK_OUTSIDE, "<outside>", "<outside>"},
		{WIRE_STACK_UNKNOWN, "<unknown>", "<unknown>"},
		{WIRE_STACK_UNREADABLE, "<unknown>", "<unreadable>"},
	};

	(void)state;
	start(NULL, 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		send(WIRE_MUNMAP, (struct wire_memory){.flags = cases[i].flags}, 0);
		assert_words("function", cases[i].function);
		assert_words("filename", cases[i].function);
		assert_words("stack", cases[i].stack);
		assert_words("line", "");
		assert_int_equal(newest("lineNo")->i, -1);
	}
	/* A code that was never sent. */
	send(WIRE_MUNMAP, (struct wire_memory){.n_frames = 1, .flags = WIRE_STACK_CUT}, 1);
	assert_words("function", "<unknown>");
	assert_words("stack", "<cut>;<unknown>");
}

static void believes_no_counts(void **state)
{
	struct monitor_totals totals;

	(void)state;
	start(NULL, 0);
	for (uint32_t n = 0; n < 3; n++) {
		send(WIRE_MUNMAP, (struct wire_memory){.n_frames = 3}, n);
		assert_words("stack", "");
	}
	send(WIRE_MUNMAP, (struct wire_memory){.n_frames = 65535, .n_native = 65535}, 2);
	send(WIRE_MUNMAP, (struct wire_memory){.n_frames = 1, .n_native = 65535}, 2);
	assert_words("stack", "");
	monitor__totals(monitor, &totals);
	assert_int_equal(totals.seen, 5);
	/* No event at all. */
	send(0, (struct wire_memory){0}, 0);
	send(WIRE_MEMORY_N_TYPES, (struct wire_memory){0}, 0);
	send(255, (struct wire_memory){0}, 0);
	monitor__totals(monitor, &totals);
	assert_int_equal(totals.seen, 5);
	assert_int_equal(totals.written, 5);
}

static void hands_events_to_a_consumer(void **state)
{
	const struct memory_consumer consumer = {.event = note_event, .ctx = &last};
	struct monitor_totals totals;

	(void)state;
	start(&consumer, 2);
	assert_int_equal(send(WIRE_MMAP,
			      (struct wire_memory){
				      .size = 1, .prot = 3, .map_flags = 0x22, .first_time = 99},
			      0),
			 0);
	assert_int_equal(last.type, WIRE_MMAP);
	assert_int_equal(last.size, page);
	assert_int_equal(last.prot, 3);
	assert_int_equal(last.map_flags, 0x22);
	assert_int_equal(last.first_time, 99);
	assert_int_equal(last.pid, 100);
	consumer_says = -ENOMEM;
	assert_int_equal(send(WIRE_ANON, (struct wire_memory){.change = -1}, 0), -ENOMEM);
	assert_int_equal(last.change, -page);
	consumer_says = 0;
	assert_int_equal(send(WIRE_ANON, (struct wire_memory){.change = 1}, 0), -ECANCELED);
	assert_int_equal(send(WIRE_ANON, (struct wire_memory){.change = 1}, 0), 0);
	assert_int_equal(n_events, 3);
	assert_int_equal(pikos_recorder__list_count(recorder), 0);
	monitor__totals(monitor, &totals);
	assert_int_equal(totals.written, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(writes_sizes_as_documented, stop),
		cmocka_unit_test_teardown(names_what_has_no_frame, stop),
		cmocka_unit_test_teardown(believes_no_counts, stop),
		cmocka_unit_test_teardown(hands_events_to_a_consumer, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
