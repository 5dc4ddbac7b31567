// SPDX-License-Identifier: BSD-3-Clause
/* Forged tables are refused; the real one leads from _PyRuntime to the name of what runs. */
#define _GNU_SOURCE 1

#include "tests/traced_python.h"

#include "source/frame_layout.h"
#include "tests/forged_elf.h"

#define RUNTIME (FORGED_DATA + 0xb00)
#define N_WORDS 64 /* as far as it is read */

static struct forged *forged;
static struct interpreter_info info;
static struct elf_notes *elf;
static int fd;

static uint64_t *word(int i)
{
	return (uint64_t *)(forged->bytes + 0x2b00) + i;
}

static int forge(void **state)
{
	(void)state;
	forged = forged__new();
	memcpy(word(0), "xdebugpy", 8);
	*word(1) = 0x030f00f0;
	for (int i = 2; i < N_WORDS; i++)
		*word(i) = 2 * i;
	*word(2) = 0;		   /* free-threaded */
	*word(39) = *word(43) + 8; /* a frame ends in localsplus[1], */
	*word(47) = *word(56) + 8; /* a code object in co_code_adaptive[1] */
	memset(&info, 0, sizeof(info));
	info.kind = INTERPRETER_CPYTHON;
	info.major = 3;
	info.minor = 15;
	info.runtime_addr = RUNTIME;
	info.code_type_addr = RUNTIME + 8;
	info.has_bias = true;
	info.load_bias = 0x10000;
	return 0;
}

static int unforge(void **state)
{
	(void)state;
	free(forged);
	return 0;
}

static int fill(struct wire_layout *layout)
{
	int err;

	fd = forged__fd(forged);
	info.elf = elf = elf_notes__new(fd, NULL);
	assert_non_null(elf);
	memset(layout, 1, sizeof(*layout));
	err = frame_layout__of(&info, layout, NULL);
	elf_notes__free(elf);
	close(fd);
	return err;
}

static void assert_refused(void)
{
	struct wire_layout layout;

	assert_int_equal(fill(&layout), -ENODATA);
	assert_int_equal(layout.runtime, 0); /* or the kernel would follow it */
}

static void test_good(void **state)
{
	struct wire_layout layout;

	(void)state;
	assert_int_equal(fill(&layout), 0);
	assert_int_equal(layout.flags,
			 WIRE_LAYOUT_OWNER | WIRE_LAYOUT_QUALNAME | WIRE_LAYOUT_VERSION);
	assert_int_equal(layout.code_type, RUNTIME + 8 + 0x10000);
	assert_int_equal(layout.runtime, RUNTIME + 0x10000);
	assert_int_equal(layout.interpreters_head, *word(5));
	assert_int_equal(layout.interpreter_next, *word(8));
	assert_int_equal(layout.interpreter_threads_head, *word(9));
	assert_int_equal(layout.thread_next, *word(24));
	assert_int_equal(layout.thread_frame, *word(26));
	assert_int_equal(layout.thread_id, *word(30));
	assert_int_equal(layout.frame_code, *word(41));
	assert_int_equal(layout.frame_owner, *word(44));
	assert_int_equal(layout.code_name, *word(49));
	assert_int_equal(layout.frame_previous, *word(40));
	assert_int_equal(layout.frame_instruction, *word(42));
	assert_int_equal(layout.code_file, *word(48));
	assert_int_equal(layout.code_qualname, *word(50));
	assert_int_equal(layout.code_table, *word(51));
	assert_int_equal(layout.code_first_line, *word(52));
	assert_int_equal(layout.code_flags, *word(53) - 4);
	assert_int_equal(layout.code_version, *word(54) - 4);
	assert_int_equal(layout.code_instructions, *word(56));
	assert_int_equal(layout.code_first_traceable, *word(56) - 16);
	*word(1) = 0x030fffff; /* any 3.15 */
	assert_int_equal(fill(&layout), 0);
}

static void test_not_this_table(void **state)
{
	static const uint64_t versions[] = {0, 0x030e00f0, 0x031000f0, UINT64_MAX,
					    0x1030f00f0 /* more than 32 bits */};

	(void)state;
	memcpy(word(0), "xdebugpz", 8);
	assert_refused();
	memset(word(0), 0, 8);
	assert_refused();
	memcpy(word(0), "xdebugpy", 8);
	for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
		*word(1) = versions[i];
		assert_refused();
	}
	*word(1) = 0x030f00f0;
	*word(2) = 1;
	assert_refused();
	*word(2) = 0;
	/* Words that have moved: the structs do not end where they should. */
	*word(39) += 8;
	assert_refused();
	*word(39) -= 8;
	*word(47) += 8;
	assert_refused();
}

static void test_no_table(void **state)
{
	struct interpreter_reason why;
	struct wire_layout layout;

	(void)state;
	info.minor = 12;
	assert_int_equal(fill(&layout), 0);
	assert_int_equal(layout.frame_previous, 8); /* frame_offsets.h */
	for (info.minor = 0; info.minor < 9; info.minor++)
		assert_refused();
	info.minor = 16;
	*word(1) = 0x031000f0;
	assert_refused();
	assert_int_equal(frame_layout__of(&info, &layout, &why), -ENODATA);
	assert_string_equal(why.text, "CPython 3.16 has no table of frame offsets");
	info.minor = 12;
	info.kind = INTERPRETER_PYPY;
	assert_refused();
}

static void test_offsets_that_cannot_be(void **state)
{
	static const int used[] = {5, 8, 9, 24, 26, 30, 41, 44, 48, 49, 50, 51, 52, 53};
	static const uint64_t bad[] = {(16 << 20) + 1, UINT32_MAX, UINT64_C(1) << 32, INT64_MAX,
				       UINT64_MAX};
	struct wire_layout layout;

	(void)state;
	for (size_t i = 0; i < sizeof(used) / sizeof(*used); i++) {
		uint64_t right = *word(used[i]);

		for (size_t j = 0; j < sizeof(bad) / sizeof(*bad); j++) {
			*word(used[i]) = bad[j];
			assert_refused();
		}
		*word(used[i]) = right;
	}
	assert_int_equal(fill(&layout), 0);
	/* co_flags stands in front of co_argcount: there must be something in front. */
	for (*word(53) = 0; *word(53) < 4; ++*word(53))
		assert_refused();
}

static void test_nowhere(void **state)
{
	(void)state;
	info.runtime_addr = 0;
	assert_refused();
	info.runtime_addr = RUNTIME;
	info.has_bias = false;
	assert_refused();
	info.has_bias = true;
	info.runtime_addr = FORGED_DATA + 0x1000; /* .bss: nothing in the file */
	assert_refused();
	info.runtime_addr = FORGED_DATA + 0x1000 - 8 * N_WORDS + 8; /* its end is missing */
	assert_refused();
	info.runtime_addr = UINT64_MAX - 8;
	assert_refused();
}

/* ------------------------------------------------------------------ 3.15 */

static uint64_t peek(int mem, uint64_t address)
{
	uint64_t value = 0;

	if (pread(mem, &value, sizeof(value), address) != sizeof(value))
		fail_msg("cannot read %#lx", (unsigned long)address);
	return value;
}

/* The way that generators.bpf.h goes. */
static void test_real_one(void **state)
{
	const struct interpreter_info *found;
	struct wire_layout layout = {0};
	uint64_t thread, frame, code;
	struct traced traced;
	char path[64], name[16] = "";
	uint32_t flags = 0;
	int mem;

	(void)state;
	traced__need(TRACED_SID "/usr/bin/python3.15");
	alarm(60);
	traced = traced__start(TRACED_SID, "/usr/bin/python3.15",
			       "import os, sys\n"
			       "def waiting_here():\n"
			       "    yield os.read(0, 1)\n"
			       "os.write(1, b'ready')\n"
			       "list(waiting_here())\n");
	found = interpreter__info(traced.interpreter);
	assert_int_equal(found->minor, 15);
	assert_int_equal(frame_layout__of(found, &layout, NULL), 0);
	snprintf(path, sizeof(path), "/proc/%d/mem", traced.pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(mem >= 0);
	assert_int_equal(peek(mem, layout.runtime), *(const uint64_t *)"xdebugpy");
	thread = peek(mem, peek(mem, layout.runtime + layout.interpreters_head) +
				   layout.interpreter_threads_head);
	assert_int_equal(peek(mem, thread + layout.thread_next), 0); /* the only one */
	assert_int_not_equal(peek(mem, thread + layout.thread_id), 0);
	/* It has said that it is ready, and may not have reached its wait. */
	do {
		frame = peek(mem, thread + layout.thread_frame);
		code = peek(mem, frame + layout.frame_code) & ~UINT64_C(7);
		assert_int_equal(pread(mem, name, 12, peek(mem, code + layout.code_name) + 40), 12);
	} while (strcmp(name, "waiting_here"));
	assert_int_equal(pread(mem, &flags, 4, code + layout.code_flags), 4);
	assert_int_equal(flags & 0x20, 0x20);				   /* CO_GENERATOR */
	assert_int_equal(peek(mem, frame + layout.frame_owner) & 0xff, 1); /* resumed: its own */
	close(mem);
	traced__finish(&traced);
	alarm(0);
}

#define FORGED(name) cmocka_unit_test_setup_teardown(name, forge, unforge)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FORGED(test_good),     FORGED(test_not_this_table),
		FORGED(test_no_table), FORGED(test_offsets_that_cannot_be),
		FORGED(test_nowhere),  cmocka_unit_test(test_real_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
