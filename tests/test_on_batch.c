// SPDX-License-Identifier: BSD-3-Clause
/*
 * The program that takes an agent's batches, attached to a function of this test, which plays the
 * agent: what it hands over comes out as it was, and what it lies about is bounded and counted.
 */
#include "tests/traced_python.h"

#include <bpf/libbpf.h>
#include <sys/mman.h>

#include "transport/batch.h"
#include "transport/transport.h"

#define DEADLINE 60
#define SMALL	 65536u

#if defined(__x86_64__)
#define FIRST_ARGUMENT 112 /* rdi in struct pt_regs */
#else
#define FIRST_ARGUMENT 0 /* x0 */
#endif

static struct kernel *kernel;
static struct transport *transport;
static struct bpf_link *at_batch;

/* ------------------------------------------------------------------ the agent's side */

struct batch {
	struct wire_batch head;
	struct wire_slot slots[WIRE_BATCH_MAX_SLOTS];
};

/* The probe. */
__attribute__((noinline, noclone, no_sanitize("address", "undefined"))) static void hit(
	const struct wire_batch *batch)
{
	asm volatile("" : : "r"(batch) : "memory");
}

static struct wire_slot slots[WIRE_BATCH_MAX_SLOTS];

static struct wire_batch head_of(uint32_t n_slots, uint32_t n_events)
{
	struct wire_batch head = {
		.slots = (uintptr_t)slots,
		.clock = 11,
		.time = 22,
		.n_slots = n_slots,
		.n_events = n_events,
		.tid = 33,
		.flags = 44,
		.values = {55, 56},
		.before = 66,
		.lost = {77, 77, 77, 77},
	};

	return head;
}

static void send(uint32_t n_slots, uint32_t n_events)
{
	struct wire_batch head = head_of(n_slots, n_events);

	hit(&head);
}

/* ------------------------------------------------------------------ the loader's side */

static struct batch seen;
static uint32_t n_seen;

static int take(void *ctx, const struct wire_head *head, uint32_t size)
{
	const struct wire_batch *batch = (const void *)head;

	(void)ctx;
	if (head->kind != WIRE_BATCH)
		return 0;
	assert_true(size >= sizeof(*batch) + batch->n_slots * sizeof(struct wire_slot));
	memcpy(&seen, batch, sizeof(*batch) + batch->n_slots * sizeof(struct wire_slot));
	n_seen++;
	return 0;
}

static void drain(void)
{
	n_seen = 0;
	assert_int_equal(transport__drain(transport, take, NULL, true), 0);
}

/* Where the function lies in this program's file. */
static uint64_t offset_of_probe(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long start, end, offset;
	uint64_t address = (uintptr_t)hit, found = 0;
	char line[4096];

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx %*s %lx", &start, &end, &offset) == 3 &&
		    start <= address && address < end)
			found = address - start + offset;
	fclose(maps);
	assert_true(found);
	return found;
}

static void load(void)
{
	const struct kernel_config config = {.agent = true, .buffer_size = SMALL};
	struct wire_site site = {.file = {.kind = PROBE_ARG_REG, .reg = FIRST_ARGUMENT, .size = 8}};
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .bpf_cookie = 0);

	traced__need(TRACED_PYTHON);
	alarm(DEADLINE);
	kernel = traced__kernel(&config);
	transport = transport__new(kernel__ring_fds(kernel), kernel__n_cpus(kernel), SMALL, -1, 0);
	assert_non_null(transport);
	assert_int_equal(kernel__set_site(kernel, 0, &site), 0);
	assert_int_equal(kernel__set_site_address(kernel, getpid(), (uintptr_t)hit, 0), 0);
	kernel__targets(kernel)[0].tgid = getpid();
	at_batch =
		bpf_program__attach_uprobe_opts(kernel__program(kernel, KERNEL_ON_BATCH), getpid(),
						"/proc/self/exe", offset_of_probe(), &opts);
	assert_non_null(at_batch);
	for (uint32_t i = 0; i < WIRE_BATCH_MAX_SLOTS; i++)
		slots[i] = (struct wire_slot){i, i * 3, wire_slot_pack(i, WIRE_CALL)};
}

static int unload(void **state)
{
	(void)state;
	bpf_link__destroy(at_batch);
	transport__free(transport);
	kernel__free(kernel);
	at_batch = NULL;
	transport = NULL;
	kernel = NULL;
	alarm(0);
	return 0;
}

static const struct wire_target *target(void)
{
	return &kernel__targets(kernel)[0];
}

static uint64_t lost(void)
{
	uint64_t all = 0;

	for (int i = 0; i < WIRE_N_REASONS; i++)
		all += target()->lost[i];
	return all;
}

/* ------------------------------------------------------------------ tests */

static void test_sizes(void **state)
{
	static const uint32_t sizes[] = {0,   1,   4,	5,   32,  33,	128,
					 129, 511, 512, 513, 600, 1087, 1088};
	uint64_t events = 0, before;

	(void)state;
	load();
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		before = clock_ns();
		send(sizes[i], sizes[i] / 2);
		events += sizes[i] / 2;
		drain();
		assert_int_equal(n_seen, 1);
		assert_int_equal(seen.head.head.target, 0);
		assert_int_equal(seen.head.head.tid, getpid());
		assert_true(seen.head.head.time >= before && seen.head.head.time <= clock_ns());
		assert_int_equal(seen.head.slots, 0);
		assert_int_equal(seen.head.clock, 11);
		assert_int_equal(seen.head.time, 22);
		assert_int_equal(seen.head.n_slots, sizes[i]);
		assert_int_equal(seen.head.n_events, sizes[i] / 2);
		assert_int_equal(seen.head.tid, 33);
		assert_int_equal(seen.head.before, 66);
		assert_int_equal(seen.head.flags, 0);	    /* what the kernel says, it says */
		assert_int_equal(seen.head.values.rss, 55); /* the agent's word */
		assert_int_equal(seen.head.values.vms, 56);
		for (int j = 0; j < 4; j++)
			assert_int_equal(seen.head.lost[j], 0);
		assert_memory_equal(seen.slots, slots, sizes[i] * sizeof(*slots));
	}
	assert_int_equal(target()->seen, events);
	assert_int_equal(lost(), 0);
}

/* Not where it says, not what it says: counted, at the next batch's head, and no more than that. */
static void test_lies(void **state)
{
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct wire_batch head;

	(void)state;
	load();
	assert_true(page != MAP_FAILED);
	assert_int_equal(munmap(page + 4096, 4096), 0);
	hit(NULL);
	hit((void *)(page + 4096));
	hit((void *)(page + 4096 - sizeof(head) + 1));
	hit((void *)UINTPTR_MAX);
	send(WIRE_BATCH_MAX_SLOTS + 1, 1);
	send(UINT32_MAX, UINT32_MAX);
	send(3, 4);
	send(0, UINT32_MAX);
	assert_int_equal(target()->seen, 8);
	assert_int_equal(target()->lost[WIRE_UNREADABLE_BATCH], 8);
	head = head_of(16, 16);
	head.slots =
		(uintptr_t)page + 4096 - 15 * sizeof(struct wire_slot); /* its end is not there */
	hit(&head);
	head.slots = 0;
	hit(&head);
	head.slots = UINTPTR_MAX - 8;
	hit(&head);
	assert_int_equal(target()->seen, 8 + 3 * 16);
	assert_int_equal(lost(), target()->seen);
	drain();
	assert_int_equal(n_seen, 0);
	send(5, 5);
	drain();
	assert_int_equal(n_seen, 1);
	assert_int_equal(seen.head.lost[WIRE_UNREADABLE_BATCH], 8 + 3 * 16);
	assert_int_equal(seen.head.lost[WIRE_BUFFER_FULL], 0);
	send(5, 5);
	drain();
	assert_int_equal(seen.head.lost[WIRE_UNREADABLE_BATCH], 0);
	assert_int_equal(target()->unreported[WIRE_UNREADABLE_BATCH], 0);
	munmap(page, 4096);
}

static void test_no_room(void **state)
{
	uint64_t events = 0, came;

	(void)state;
	load();
	while (target()->lost[WIRE_BUFFER_FULL] < 10 * 400) {
		send(512, 400);
		events += 400;
		assert_true(events < 400 * 10000);
	}
	drain();
	came = n_seen;
	assert_true(came > 0);
	assert_int_equal(target()->seen, events);
	assert_int_equal(came * 400 + lost(), events);
	send(512, 400);
	drain();
	assert_int_equal(n_seen, 1);
	assert_int_equal(seen.head.lost[WIRE_BUFFER_FULL], lost());
	assert_int_equal(target()->unreported[WIRE_BUFFER_FULL], 0);
}

/* A forked child has the breakpoint and is no target. */
static void test_others(void **state)
{
	int status = 1;
	pid_t pid;

	(void)state;
	load();
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		send(5, 5);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	drain();
	assert_int_equal(n_seen, 0);
	kernel__targets(kernel)[0].tgid = pid;
	send(5, 5);
	drain();
	assert_int_equal(n_seen, 0);
	assert_int_equal(target()->seen, 0);
}

#define TEST(name) cmocka_unit_test_teardown(name, unload)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sizes),
		TEST(test_lies),
		TEST(test_no_room),
		TEST(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
