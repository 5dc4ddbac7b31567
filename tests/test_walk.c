// SPDX-License-Identifier: BSD-3-Clause
/*
 * The walk of frames.bpf.h over an interpreter that this test plays: with frames as they should be,
 * and with every lie that a target could tell. The program is run by the thread whose frames it
 * walks.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cmocka.h>

#include "symbols/frames.h"
#include "tests/walk.h"

#define N_FRAMES 400

/* ------------------------------------------------------------------ the interpreter */

struct text {
	uint64_t references, type, length, hash;
	uint32_t state, unused;
	char characters[64];
};

#define TEXT_ASCII_1 (1 << 2 | 0x20 | 0x40) /* kind 1, compact, ASCII */

struct bytes {
	uint64_t references, type, size, hash;
	uint8_t data[160];
};

struct code {
	uint64_t references, type;
	int32_t first_line, flags;
	uint32_t version, first_traceable;
	struct text *name, *qualname, *file;
	struct bytes *table;
	uint16_t instructions[64];
};

struct frame_of_python {
	uint64_t code; /* its lowest bits are tags */
	struct frame_of_python *previous;
	uint16_t *instruction;
	uint8_t owner;
};

struct state {
	struct state *next;
	uint64_t thread_id;
	struct frame_of_python *frame;
};

struct interpreter_of_python {
	struct interpreter_of_python *next;
	struct state *threads;
};

static struct {
	struct interpreter_of_python *interpreters;
} runtime;

static uint64_t code_type;
static struct interpreter_of_python interpreter, second;
static struct state state, other_state, second_state;
static struct frame_of_python chain[N_FRAMES];
static struct code codes[2];
static struct text name[2], file;
static struct bytes table;

static const struct wire_layout normal = {
	.flags = WIRE_LAYOUT_OWNER | WIRE_LAYOUT_QUALNAME | WIRE_LAYOUT_VERSION,
	.table_format = WIRE_LNOTAB,
	.interpreter_threads_head = offsetof(struct interpreter_of_python, threads),
	.thread_next = offsetof(struct state, next),
	.thread_id = offsetof(struct state, thread_id),
	.thread_frame = offsetof(struct state, frame),
	.frame_previous = offsetof(struct frame_of_python, previous),
	.frame_code = offsetof(struct frame_of_python, code),
	.frame_instruction = offsetof(struct frame_of_python, instruction),
	.frame_owner = offsetof(struct frame_of_python, owner),
	.code_flags = offsetof(struct code, flags),
	.code_first_line = offsetof(struct code, first_line),
	.code_file = offsetof(struct code, file),
	.code_name = offsetof(struct code, name),
	.code_qualname = offsetof(struct code, qualname),
	.code_table = offsetof(struct code, table),
	.code_first_traceable = offsetof(struct code, first_traceable),
	.code_version = offsetof(struct code, version),
	.code_instructions = offsetof(struct code, instructions),
	.frame_bytes = sizeof(struct frame_of_python),
	.code_bytes = offsetof(struct code, instructions),
	.ascii_size = offsetof(struct text, characters),
	.compact_size = offsetof(struct text, characters) + 16,
};

static void set_text(struct text *text, const char *characters)
{
	text->length = strlen(characters);
	text->hash = UINT64_MAX; /* not computed */
	text->state = TEXT_ASCII_1;
	memcpy(text->characters, characters, strlen(characters));
}

static void make_code(struct code *code, struct text *its_name, int32_t first_line,
		      uint32_t version)
{
	*code = (struct code){
		.type = (uintptr_t)&code_type,
		.first_line = first_line,
		.version = version,
		.name = its_name,
		.qualname = its_name,
		.file = &file,
		.table = &table,
	};
}

/* Two functions that call each other, `n` frames; the instruction of each is another. */
static void make_chain(int n)
{
	memset(chain, 0, sizeof(chain));
	for (int i = 0; i < n; i++)
		chain[i] = (struct frame_of_python){
			.code = (uintptr_t)&codes[i % 2] | (uintptr_t)(i % 4),
			.previous = i + 1 < n ? &chain[i + 1] : NULL,
			.instruction = &codes[i % 2].instructions[i % 60],
		};
	state.frame = n ? chain : NULL;
}

static void make_interpreter(void)
{
	memset(&interpreter, 0, sizeof(interpreter));
	memset(&second, 0, sizeof(second));
	set_text(&name[0], "even");
	set_text(&name[1], "odd");
	set_text(&file, "file.py");
	table = (struct bytes){.size = 4, .data = {4, 1, 4, 1}};
	make_code(&codes[0], &name[0], 10, 1);
	make_code(&codes[1], &name[1], 20, 2);
	state = (struct state){.thread_id = (uint64_t)pthread_self()};
	other_state = (struct state){.next = &state, .thread_id = 1};
	interpreter.threads = &other_state;
	runtime.interpreters = &interpreter;
	make_chain(4);
}

/* ------------------------------------------------------------------ the tracer */

static struct bpf_object *object;
static struct wire_layout layout;
static struct symbols *symbols;
static struct frames *frames;
static struct ring_buffer *rings;
static struct walked walk;
static int n_codes, n_tables;

static int map_fd(const char *map)
{
	int fd = bpf_object__find_map_fd_by_name(object, map);

	assert_true(fd >= 0);
	return fd;
}

static void set(const char *map, const void *value)
{
	uint32_t zero = 0;

	assert_int_equal(bpf_map_update_elem(map_fd(map), &zero, value, BPF_ANY), 0);
}

static int learn(void *ctx, void *data, size_t size)
{
	const struct wire_head *head = data;

	(void)ctx;
	n_codes += head->kind == WIRE_FRAME_CODE;
	n_tables += head->kind == WIRE_LINE_TABLE;
	return frames__learn(frames, head, (uint32_t)size);
}

static void take_rings(void)
{
	int n = libbpf_num_possible_cpus();

	for (int i = 0; i < n; i++) {
		int fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "ring", 0, 0, 1 << 20, NULL);

		assert_true(fd >= 0);
		assert_int_equal(bpf_map_update_elem(map_fd("rings"), &i, &fd, BPF_ANY), 0);
		if (!rings)
			rings = ring_buffer__new(fd, learn, NULL, NULL);
		else
			assert_int_equal(ring_buffer__add(rings, fd, learn, NULL), 0);
		assert_non_null(rings);
	}
}

static int load(void **unused)
{
	struct bpf_map *map;
	int pattern;

	(void)unused;
	if (geteuid())
		return 0;
	object = bpf_object__open_file("build/tests/walk.bpf.o", NULL);
	assert_non_null(object);
	map = bpf_object__find_map_by_name(object, "rings");
	pattern = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "ring", 0, 0, 1 << 20, NULL);
	assert_int_equal(bpf_map__set_inner_map_fd(map, pattern), 0);
	assert_int_equal(bpf_map__set_max_entries(map, libbpf_num_possible_cpus()), 0);
	assert_int_equal(bpf_object__load(object), 0);
	close(pattern);
	take_rings();
	return 0;
}

static int unload(void **unused)
{
	(void)unused;
	ring_buffer__free(rings);
	bpf_object__close(object);
	return 0;
}

static void forget_thread(void)
{
	uint32_t tid = gettid();

	bpf_map_delete_elem(map_fd("thread_states"), &tid);
}

/* So that they are sent in each test. */
static void forget_codes(void)
{
	for (int i = 0; i < 2; i++) {
		struct {
			uint64_t address;
			uint32_t tgid, execs;
		} key = {(uintptr_t)&codes[i], getpid(), 0};

		bpf_map_delete_elem(map_fd("frame_codes"), &key);
	}
}

static int set_up(void **unused)
{
	struct wire_target target = {.tgid = getpid()};

	(void)unused;
	if (!object) {
		print_message("skipped: not root\n");
		skip();
	}
	forget_thread();
	forget_codes();
	make_interpreter();
	layout = normal;
	layout.runtime = (uintptr_t)&runtime;
	layout.code_type = (uintptr_t)&code_type;
	set("targets", &target);
	symbols = symbols__new();
	frames = frames__new(symbols, false);
	walk.max = WIRE_MAX_FRAMES;
	return 0;
}

static int tear_down(void **unused)
{
	(void)unused;
	frames__free(frames);
	symbols__free(symbols);
	return 0;
}

/* @return the flags */
static uint32_t run(void)
{
	const struct bpf_program *program = bpf_object__find_program_by_name(object, "walk_here");
	LIBBPF_OPTS(bpf_test_run_opts, options);
	uint32_t zero = 0;

	set("frame_layouts", &layout);
	set("walks", &walk);
	n_codes = n_tables = 0;
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(program), &options), 0);
	assert_int_equal(options.retval, 0);
	assert_int_equal(bpf_map_lookup_elem(map_fd("walks"), &zero, &walk), 0);
	assert_true(walk.n_frames <= WIRE_MAX_FRAMES);
	assert_true(ring_buffer__consume(rings) >= 0);
	return walk.flags;
}

static struct frame frame_at(uint32_t i)
{
	struct frame out;

	assert_true(i < walk.n_frames);
	frames__get(frames, &walk.frames[i], &out);
	return out;
}

static void assert_frame(uint32_t i, const char *function, int line)
{
	struct frame frame = frame_at(i);

	assert_non_null(frame.symbol);
	assert_int_equal(frame.symbol->function->len, strlen(function));
	assert_memory_equal(frame.symbol->function->data, function, strlen(function));
	assert_int_equal(frame.line, line);
}

/* ------------------------------------------------------------------ as it should be */

static void test_frames(void **unused)
{
	(void)unused;
	assert_int_equal(run(), 0);
	assert_int_equal(walk.n_frames, 4);
	assert_int_equal(n_codes, 2);
	assert_int_equal(n_tables, 2);
	assert_frame(0, "even", 10); /* at 0 bytes */
	assert_frame(1, "odd", 20);  /* 2 */
	assert_frame(2, "even", 11); /* 4 */
	assert_frame(3, "odd", 21);  /* 6 */
	assert_int_equal(walk.top_frame, (uintptr_t)chain);
	assert_int_equal(walk.top_instruction, (uintptr_t)chain[0].instruction);
	assert_int_equal(run(), 0);
	assert_int_equal(n_codes + n_tables, 0); /* they are known */
}

static void test_depths(void **unused)
{
	(void)unused;
	for (int depth = 1; depth <= 130; depth++) {
		make_chain(depth);
		assert_int_equal(run(), depth > 128 ? WIRE_STACK_CUT : 0);
		assert_int_equal(walk.n_frames, depth > 128 ? 128 : depth);
	}
	make_chain(N_FRAMES);
	assert_int_equal(run(), WIRE_STACK_CUT);
	walk.max = 1;
	assert_int_equal(run(), WIRE_STACK_CUT);
	assert_int_equal(walk.n_frames, 1);
	walk.max = 1000;
	assert_int_equal(run(), WIRE_STACK_CUT);
	assert_int_equal(walk.n_frames, 128);
}

static void test_frames_that_are_none(void **unused)
{
	(void)unused;
	make_chain(256);
	for (int i = 1; i < 256; i += 2) {
		chain[i].owner = 3;
		chain[i].code = 0; /* of C code */
	}
	assert_int_equal(run(), 0);
	assert_int_equal(walk.n_frames, 128);
	assert_frame(127, "even", 12);
	/* One that is being made, and a generator's that stands at the same place. */
	make_chain(3);
	codes[0].first_traceable = 2;
	codes[0].version = 11;
	assert_int_equal(run(), 0);
	assert_int_equal(walk.n_frames, 2);
	assert_frame(0, "odd", 20);
	chain[0].owner = 1;
	assert_int_equal(run(), 0);
	assert_int_equal(walk.n_frames, 3);
	chain[0].instruction = codes[0].instructions - 1;
	assert_int_equal(run(), 0);
	assert_int_equal(walk.frames[0].offset, WIRE_FRAME_NOT_STARTED);
	assert_frame(0, "even", 10);
}

static void test_threads(void **unused)
{
	(void)unused;
	state.thread_id++; /* another's */
	assert_int_equal(run(), WIRE_STACK_NATIVE);
	assert_int_equal(walk.n_frames, 0);
	assert_int_equal(walk.top_frame, 0);
	state.thread_id--;
	assert_int_equal(run(), 0);
	/* It goes and another one, at another place, comes. */
	second_state = state;
	state.thread_id = 0;
	interpreter.threads = &second_state;
	assert_int_equal(run(), 0);
	second_state.frame = NULL;
	assert_int_equal(run(), WIRE_STACK_NATIVE);
	/* Until 3.11 a new thread has the id of who starts it. */
	interpreter.threads = &other_state;
	other_state = (struct state){.next = &state, .thread_id = second_state.thread_id};
	state.thread_id = second_state.thread_id;
	assert_int_equal(run(), 0);
	assert_int_equal(walk.n_frames, 4);
}

static void test_interpreters(void **unused)
{
	(void)unused;
	assert_int_equal(run(), 0);
	/* A new one that the thread runs in. */
	second_state = (struct state){.thread_id = state.thread_id, .frame = &chain[2]};
	second = (struct interpreter_of_python){.next = &interpreter, .threads = &second_state};
	runtime.interpreters = &second;
	assert_int_equal(run(), 0);
	assert_int_equal(walk.n_frames, 2);
	/* It comes back, and goes in again. */
	second_state.frame = NULL;
	assert_int_equal(run(), 0);
	assert_int_equal(walk.n_frames, 4);
	second_state.frame = &chain[3];
	assert_int_equal(run(), 0);
	assert_int_equal(walk.n_frames, 1);
	/* 3.15: the lowest frame of an idle one belongs to its thread. */
	chain[3].owner = 4;
	assert_int_equal(run(), 0);
	assert_int_equal(walk.n_frames, 3);
}

static void test_older_layouts(void **unused)
{
	struct {
		struct frame_of_python *frame;
	} cframe = {chain};
	int32_t last;

	(void)unused;
	layout.flags |= WIRE_LAYOUT_CFRAME;
	state.frame = (void *)&cframe;
	assert_int_equal(run(), 0);
	assert_int_equal(walk.n_frames, 4);
	assert_int_equal(walk.top_frame, (uintptr_t)chain);
	state.frame = chain;
	layout.flags = WIRE_LAYOUT_LASTI;
	last = 4;
	memcpy(&chain[0].instruction, &last, sizeof(last));
	last = -1;
	memcpy(&chain[1].instruction, &last, sizeof(last));
	assert_int_equal(run(), 0);
	assert_frame(0, "even", 11);
	assert_int_equal(walk.top_code & ~UINT64_C(7), (uintptr_t)&codes[0]);
	assert_int_equal(walk.frames[1].offset, WIRE_FRAME_NOT_STARTED);
	layout.flags = WIRE_LAYOUT_LASTI | WIRE_LAYOUT_CODE_UNIT;
	assert_int_equal(run(), 0);
	assert_frame(0, "even", 12);
	layout.runtime = 0;
	assert_int_equal(run(), WIRE_STACK_UNKNOWN);
	assert_int_equal(walk.n_frames, 0);
}

/* Another code at the same place: with a version, and without. */
static void test_code_reused(void **unused)
{
	(void)unused;
	make_chain(1);
	for (uint32_t i = 0; i < 20; i++) {
		codes[0].version = 100 + i;
		name[0].characters[0] = (char)('a' + i);
		assert_int_equal(run(), 0);
		assert_int_equal(n_codes, 1);
		assert_int_equal(frame_at(0).symbol->function->data[0], 'a' + i);
	}
	codes[0].version = 0;
	for (int i = 0; i < 20; i++) {
		/* The last byte of each, and the hash of a name. */
		file.characters[6] = (char)('a' + i);
		assert_int_equal(run(), 0);
		assert_int_equal(n_codes, 1);
		assert_int_equal(frame_at(0).symbol->file->data[6], 'a' + i);
		table.size = 150;
		table.data[149] = (uint8_t)i + 1;
		assert_int_equal(run(), 0);
		assert_int_equal(n_codes, 1);
		codes[0].first_line++;
		assert_int_equal(run(), 0);
		assert_int_equal(n_codes, 1);
		name[0].hash = 1000 + i;
		assert_int_equal(run(), 0);
		assert_int_equal(n_codes, 1);
		assert_int_equal(run(), 0);
		assert_int_equal(n_codes, 0);
	}
}

static void test_long_tables(void **unused)
{
	static const uint32_t sizes[] = {0, 1, 511, 512, 513, 4096, 4097, 65535, 65536};
	struct bytes *large = calloc(1, 65536 + 200);

	(void)unused;
	assert_non_null(large);
	make_chain(1);
	codes[0].table = large;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		large->size = sizes[i];
		codes[0].version++;
		assert_int_equal(run(), 0);
		assert_int_equal(n_tables, sizes[i] <= 512 ? 1 : (sizes[i] + 4095) / 4096);
		assert_frame(0, "even", 10);
	}
	large->size = 65537;
	codes[0].version++;
	assert_int_equal(run(), 0);
	assert_int_equal(n_tables, 0);
	assert_frame(0, "even", -1); /* known to be unknown */
	free(large);
}

/* ------------------------------------------------------------------ lies */

static const uint64_t wild[] = {
	1,
	8,
	0xfff,
	0xdeadbeef000,
	0x7ffffffff000,
	0x800000000000,
	UINT64_C(1) << 60,
	0xffff888000000000,
	0xffffffff81000000,
	UINT64_MAX - 7,
	UINT64_MAX,
};
#define N_WILD (sizeof(wild) / sizeof(*wild))

static void test_loops(void **unused)
{
	(void)unused;
	for (int length = 1; length <= 64; length++) {
		for (int into = 0; into < length && into < 5; into++) {
			make_chain(length);
			chain[length - 1].previous = &chain[into];
			assert_int_equal(run(), WIRE_STACK_LOOP);
			assert_true(walk.n_frames >= (uint32_t)length);
		}
	}
	/* Too long to be seen: deep, as far as can be told. */
	make_chain(150);
	chain[149].previous = chain;
	assert_int_equal(run(), WIRE_STACK_CUT);
	/* Of frames that are skipped. */
	make_chain(2);
	chain[0].owner = chain[1].owner = 3;
	chain[1].previous = chain;
	assert_int_equal(run(), WIRE_STACK_CUT);
	assert_int_equal(walk.n_frames, 0);
}

static void test_wild_frames(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < N_WILD; i++) {
		make_chain(4);
		chain[1].previous = (void *)(uintptr_t)wild[i];
		assert_int_equal(run(), WIRE_STACK_UNREADABLE);
		assert_int_equal(walk.n_frames, 2); /* what was read stands */
		assert_frame(1, "odd", 20);
		state.frame = (void *)(uintptr_t)wild[i];
		assert_int_equal(run(), WIRE_STACK_UNREADABLE);
		assert_int_equal(walk.n_frames, 0);
		make_chain(4);
		chain[2].code = wild[i];
		assert_int_equal(run(), WIRE_STACK_UNREADABLE);
		assert_int_equal(walk.n_frames, 2);
	}
	/* Memory that is there, and no frame, and no code. */
	make_chain(4);
	chain[1].previous = (void *)&table;
	assert_int_equal(run(), WIRE_STACK_UNREADABLE);
	make_chain(4);
	chain[1].code = (uintptr_t)&file;
	assert_int_equal(run(), WIRE_STACK_UNREADABLE);
	assert_int_equal(walk.n_frames, 1);
}

static void test_wild_threads(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < N_WILD; i++) {
		forget_thread();
		make_interpreter();
		other_state.next = (void *)(uintptr_t)wild[i];
		assert_int_equal(run(), WIRE_STACK_NATIVE);
		interpreter.threads = (void *)(uintptr_t)wild[i];
		assert_int_equal(run(), WIRE_STACK_NATIVE);
		interpreter.threads = NULL;
		interpreter.next = (void *)(uintptr_t)wild[i];
		assert_int_equal(run(), WIRE_STACK_NATIVE);
		runtime.interpreters = (void *)(uintptr_t)wild[i];
		assert_int_equal(run(), WIRE_STACK_NATIVE);
		layout.runtime = wild[i];
		assert_int_equal(run(), WIRE_STACK_NATIVE);
		layout.runtime = (uintptr_t)&runtime;
	}
	make_interpreter();
	other_state.next = &other_state; /* for ever */
	assert_int_equal(run(), WIRE_STACK_NATIVE);
	interpreter.threads = NULL;
	interpreter.next = &interpreter;
	assert_int_equal(run(), WIRE_STACK_NATIVE);
}

static void test_wild_codes(void **unused)
{
	struct text *const good = codes[0].name;
	uint32_t version = 1000;

	(void)unused;
	make_chain(2);
	for (size_t i = 0; i < N_WILD; i++) {
		for (int with_version = 0; with_version < 2; with_version++) {
			make_code(&codes[0], good, 10, with_version ? version++ : 0);
			codes[0].name = (void *)(uintptr_t)wild[i];
			assert_int_equal(run(), 0);
			assert_int_equal(walk.frames[0].code, 0); /* not told, and no lie */
			assert_frame(1, "odd", 20);
			make_code(&codes[0], good, 10, with_version ? version++ : 0);
			codes[0].file = (void *)(uintptr_t)wild[i];
			assert_int_equal(run(), 0);
			assert_int_equal(walk.frames[0].code, 0);
			make_code(&codes[0], good, 10, with_version ? version++ : 0);
			codes[0].qualname = (void *)(uintptr_t)wild[i];
			codes[0].table = (void *)(uintptr_t)wild[i];
			assert_int_equal(run(), 0);
			assert_frame(0, "even", -1);
		}
	}
}

static void test_absurd_lengths(void **unused)
{
	static const uint64_t lengths[] = {65,	       4096,	   4097,      1 << 30,
					   UINT32_MAX, 1ul << 32,  1ul << 62, INT64_MAX,
					   1ul << 63,  UINT64_MAX, 0};
	uint32_t version = 1000;

	(void)unused;
	make_chain(2);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		for (uint32_t kind = 0; kind < 8; kind++) {
			make_interpreter();
			name[0].length = file.length = table.size = lengths[i];
			name[0].state = kind << 2 | 0x20 | (kind & 1 ? 0x40 : 0);
			codes[0].version = kind & 2 ? version++ : 0;
			codes[0].first_line = INT32_MIN;
			assert_int_equal(run(), 0);
			assert_int_equal(walk.n_frames, 4);
			frame_at(0);
		}
	}
}

/* At the end of what is mapped: what is read is no longer than what is there. */
static void test_edge_of_memory(void **unused)
{
	size_t page = sysconf(_SC_PAGESIZE);
	char *pages =
		mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct frame_of_python *last;
	struct text *text;
	struct bytes *bytes;

	(void)unused;
	assert_true(pages != MAP_FAILED);
	assert_int_equal(munmap(pages + page, page), 0);
	last = (void *)(pages + page - sizeof(*last));
	*last = chain[3];
	chain[2].previous = last;
	assert_int_equal(run(), 0);
	assert_int_equal(walk.n_frames, 4);
	chain[2].previous = NULL; /* its place is taken by what follows */
	set_text(&name[0], "evenness");
	text = (void *)(pages + page - offsetof(struct text, characters) - 8);
	memcpy(text, &name[0], offsetof(struct text, characters) + 8);
	codes[0].name = text;
	codes[0].version = 0;
	assert_int_equal(run(), 0);
	assert_frame(0, "evenness", 10);
	table.size = 8;
	bytes = (void *)(pages + page - offsetof(struct bytes, data) - 8);
	memcpy(bytes, &table, offsetof(struct bytes, data) + 8);
	codes[0].table = bytes;
	codes[0].name = codes[0].qualname = &name[0];
	assert_int_equal(run(), 0);
	assert_frame(2, "evenness", 11);
	/* A name that says that it goes on there. */
	text->length = 9;
	codes[0].name = text;
	assert_int_equal(run(), 0);
	assert_int_equal(walk.frames[0].code, 0);
	munmap(pages, page);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_frames),
		TEST(test_depths),
		TEST(test_frames_that_are_none),
		TEST(test_threads),
		TEST(test_interpreters),
		TEST(test_older_layouts),
		TEST(test_code_reused),
		TEST(test_long_tables),
		TEST(test_loops),
		TEST(test_wild_frames),
		TEST(test_wild_threads),
		TEST(test_wild_codes),
		TEST(test_absurd_lengths),
		TEST(test_edge_of_memory),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
