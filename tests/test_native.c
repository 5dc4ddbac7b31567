// SPDX-License-Identifier: BSD-3-Clause
/* Needs root, to become nobody, and libbcc; the oracle is dladdr() on this very process. */
#define _GNU_SOURCE 1

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "process/maps.h"
#include "symbols/native.h"

static struct native *native;
static unsigned int asked; /* how often the source was */

/* ------------------------------------------------------------------ sources */

struct search {
	uint64_t address;
	struct native_mapping *out;
};

static int look(const struct mapping *map, void *arg)
{
	struct search *search = arg;
	struct native_mapping *out = search->out;
	const char *slash = strrchr(map->path, '/');

	if (search->address >= map->end) {
		out->start = map->end;
		return 0;
	}
	if (search->address < map->start) {
		out->end = map->start;
		return 1;
	}
	*out = (struct native_mapping){map->start, map->end, map->offset, -1, "", false};
	snprintf(out->name, sizeof(out->name), "%s", slash ? slash + 1 : map->path);
	if (slash)
		out->fd = maps__open(getpid(), map);
	return 1;
}

static int own_mapping(void *ctx, uint32_t target, uint64_t address, struct native_mapping *out)
{
	struct search search = {address, out};

	(void)ctx;
	(void)target;
	asked++;
	*out = (struct native_mapping){0, UINT64_MAX, 0, -1, "", true};
	return maps__each(getpid(), look, &search) < 0 ? -ESRCH : 0;
}

/* One file, mapped at 0x10000. */
static int forged_mapping(void *ctx, uint32_t target, uint64_t address, struct native_mapping *out)
{
	(void)target;
	(void)address;
	asked++;
	*out = (struct native_mapping){0x10000,	    0x20000, 0, open(ctx, O_RDONLY),
				       "forged.so", false};
	return 0;
}

static int no_mapping(void *ctx, uint32_t target, uint64_t address, struct native_mapping *out)
{
	(void)ctx;
	(void)target;
	(void)address;
	(void)out;
	return -ESRCH;
}

/* ------------------------------------------------------------------ names */

static int start(void **state)
{
	char why[200];

	(void)state;
	native = native__start(why, sizeof(why));
	if (!native) {
		print_error("%s: %s\n", why, strerror(errno));
		return -1;
	}
	native__set_source(native, own_mapping, NULL);
	asked = 0;
	return 0;
}

static int stop(void **state)
{
	(void)state;
	native__free(native);
	native = NULL;
	return 0;
}

static const char *name(uint64_t address, bool is_return)
{
	static char copy[4096];
	const struct pikos_text *text = native__name(native, 0, address, is_return);

	assert_non_null(text);
	snprintf(copy, sizeof(copy), "%.*s", (int)text->len, text->data);
	return copy;
}

static void expect_symbol(const void *function, const char *symbol, const char *library)
{
	char expected[300];

	snprintf(expected, sizeof(expected), "%s+0x0 [%s", symbol, library);
	assert_memory_equal(name((uintptr_t)function, false), expected, strlen(expected));
	snprintf(expected, sizeof(expected), "%s+0x4 [%s", symbol, library);
	assert_memory_equal(name((uintptr_t)function + 4, true), expected, strlen(expected));
}

static void test_functions_of_libraries(void **state)
{
	void *libelf = dlopen("libelf.so.1", RTLD_NOW), *libz = dlopen("libz.so.1", RTLD_NOW);

	(void)state;
	assert_non_null(libelf);
	assert_non_null(libz);
	expect_symbol(dlsym(libelf, "elf_strptr"), "elf_strptr", "libelf");
	expect_symbol(dlsym(libz, "inflate"), "inflate", "libz.so.1");
	expect_symbol(dlsym(libz, "deflate"), "deflate", "libz.so.1");
	assert_int_equal(asked, 2); /* a mapping is looked for once */
}

/* What an address is called is what dladdr says of it, all over a library. */
static void test_equals_dladdr(void **state)
{
	void *libz = dlopen("libz.so.1", RTLD_NOW);
	uint8_t *code = dlsym(libz, "inflate");
	unsigned int compared = 0;

	(void)state;
	for (int at = -0x1000; at < 0x1000; at += 16) {
		char expected[300];
		const char *actual = name((uintptr_t)code + at, false);
		Dl_info info;

		/* dladdr knows exported ones only. */
		if (!dladdr(code + at, &info) || !info.dli_sname ||
		    strncmp(actual, info.dli_sname, strlen(info.dli_sname)))
			continue;
		snprintf(expected, sizeof(expected), "%s+0x%tx [", info.dli_sname,
			 code + at - (uint8_t *)info.dli_saddr);
		assert_memory_equal(actual, expected, strlen(expected));
		compared++;
	}
	assert_true(compared > 100);
}

static void test_a_call_at_the_end_of_a_function(void **state)
{
	void *libz = dlopen("libz.so.1", RTLD_NOW);
	uint64_t start = (uintptr_t)dlsym(libz, "inflate");
	Dl_info info;

	(void)state;
	/* Where a function begins, nothing returns to: it was a call at the end of another. */
	assert_true(dladdr((void *)(uintptr_t)start, &info));
	assert_null(strstr(name(start, true), "inflate+0x0 "));
}

static void test_own_program(void **state)
{
	(void)state;
	expect_symbol((void *)(uintptr_t)test_own_program, "test_own_program", "test_native");
}

static void test_what_is_no_function(void **state)
{
	char expected[64];
	void *code = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_string_equal(name(0x10, false), "0x10");
	assert_string_equal(name(0x20, false), "0x20");
	assert_int_equal(asked, 1); /* the gap is known */
	assert_false(native__is_code(native, 0, 0x20));
	assert_true(native__is_code(native, 0, (uintptr_t)test_what_is_no_function));
	assert_string_equal(name(0, true), "0x0");
	assert_string_equal(name(UINT64_MAX, false), "0xffffffffffffffff");
	assert_string_equal(name((uintptr_t)code + 8, false), "0x8 [anon]");
	munmap(code, 4096);
	native__changed(native, 0, (uintptr_t)code, 4096);
	snprintf(expected, sizeof(expected), "0x%" PRIxPTR, (uintptr_t)code + 8);
	assert_string_equal(name((uintptr_t)code + 8, false), expected);
	assert_non_null(native__name(native, UINT32_MAX, 1, false)); /* no such target */
}

static void test_a_target_that_has_ended(void **state)
{
	void *libz = dlopen("libz.so.1", RTLD_NOW);

	(void)state;
	native__look(native, 0);
	native__set_source(native, no_mapping, NULL);
	assert_string_equal(name(0x1234, false), "0x1234");
	expect_symbol(dlsym(libz, "inflate"), "inflate", "libz.so.1"); /* looked at before */
	native__changed(native, 0, 0, UINT64_MAX);
	assert_null(strstr(name((uintptr_t)dlsym(libz, "inflate"), false), "inflate"));
}

/* A program linked to one address: where it was mapped is where its symbols are. */
static int python_mapping(void *ctx, uint32_t target, uint64_t address, struct native_mapping *out)
{
	(void)target;
	(void)address;
	*out = *(struct native_mapping *)ctx;
	out->fd = open("/usr/bin/python3.11", O_RDONLY);
	return out->fd < 0 ? -errno : 0;
}

static void test_a_program_of_a_fixed_address(void **state)
{
	struct native_mapping text = {.name = "python3.11"};
	char line[256];
	uint64_t address = 0;
	/* As readelf sees it: the segment and a symbol in it. */
	FILE *segments = popen(
		"readelf -lW /usr/bin/python3.11 | awk '/LOAD.* R E /{print $2, $3, $5}'", "r");
	FILE *symbols = popen("readelf --dyn-syms -W /usr/bin/python3.11 | "
			      "awk '$8 == \"Py_BytesMain\"{print \"0x\" $2}'",
			      "r");
	uint64_t len;

	(void)state;
	if (!fgets(line, sizeof(line), segments) ||
	    sscanf(line, "%" SCNx64 " %" SCNx64 " %" SCNx64, &text.offset, &text.start, &len) != 3)
		skip();
	text.end = (text.start + len + 4095) & ~4095ull;
	assert_non_null(fgets(line, sizeof(line), symbols));
	assert_int_equal(sscanf(line, "%" SCNx64, &address), 1);
	pclose(segments);
	pclose(symbols);
	native__set_source(native, python_mapping, &text);
	assert_string_equal(name(address + 3, false), "Py_BytesMain+0x3 [python3.11]");
}

/* ------------------------------------------------------------------ hostile files */

static char directory[] = "/tmp/test_native.XXXXXX";

static char *forge(const void *data, size_t size)
{
	static char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/forged.so", directory);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), size);
	close(fd);
	return path;
}

static uint8_t *read_library(size_t *size)
{
	int fd = open("/lib/x86_64-linux-gnu/libz.so.1", O_RDONLY);
	struct stat st;
	uint8_t *data;

	if (fd < 0 || fstat(fd, &st))
		skip();
	data = malloc((size_t)st.st_size);
	assert_int_equal(read(fd, data, (size_t)st.st_size), st.st_size);
	close(fd);
	*size = (size_t)st.st_size;
	return data;
}

/* Whatever is in the file: a text, in time; and the next file is read. */
static void expect_survival(const void *data, size_t size)
{
	char *path = forge(data, size);

	native__set_source(native, forged_mapping, path);
	native__changed(native, 0, 0, UINT64_MAX);
	assert_non_null(strstr(name(0x10123, false), "[forged.so]"));
}

static void test_hostile_files(void **state)
{
	size_t size;
	uint8_t *data = read_library(&size);

	(void)state;
	expect_survival("", 0);
	expect_survival("\177ELF", 4);
	for (size_t cut = size / 2; cut > 32; cut /= 2)
		expect_survival(data, cut);
	srand(4);
	for (int i = 0; i < 100; i++) {
		uint8_t *copy = malloc(size);

		memcpy(copy, data, size);
		for (int j = 0; j < 40; j++) /* headers of the file and of sections */
			copy[j % 2 ? (size_t)rand() % 4096 : size - 1 - (size_t)rand() % 2048] =
				(uint8_t)rand();
		expect_survival(copy, size);
		free(copy);
	}
	free(data);
}

static void test_a_file_that_is_none(void **state)
{
	(void)state;
	native__set_source(native, forged_mapping, "/dev/zero");
	assert_string_equal(name(0x10123, false), "0x123 [forged.so]");
	native__changed(native, 0, 0, UINT64_MAX);
	native__set_source(native, forged_mapping, directory);
	assert_string_equal(name(0x10123, false), "0x123 [forged.so]");
}

/* Our only child. */
static pid_t helper_pid(void)
{
	char path[64];
	FILE *children;
	pid_t pid;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	children = fopen(path, "r");
	assert_non_null(children);
	assert_int_equal(fscanf(children, "%d", &pid), 1);
	fclose(children);
	return pid;
}

/* The helper has died: addresses, counted, and no waiting. */
static void test_a_dead_helper(void **state)
{
	(void)state;
	assert_int_equal(native__unresolved(native), 0);
	assert_int_equal(kill(helper_pid(), SIGKILL), 0);
	assert_non_null(strstr(name((uintptr_t)dlsym(RTLD_DEFAULT, "getpid"), false), "0x"));
	assert_true(native__unresolved(native) > 0);
	assert_string_equal(name(0x10, false), "0x10");
}

/* It holds nothing that is worth having. */
static void test_rights_of_the_helper(void **state)
{
	char path[64], line[256];
	unsigned int checked = 0;
	FILE *file;

	(void)state;
	snprintf(path, sizeof(path), "/proc/%d/status", helper_pid());
	file = fopen(path, "r");
	while (fgets(line, sizeof(line), file)) {
		if (!strncmp(line, "Uid:", 4) || !strncmp(line, "Gid:", 4)) {
			assert_string_equal(line + 4, "\t65534\t65534\t65534\t65534\n");
			checked++;
		}
		if (!strncmp(line, "CapPrm:", 7) || !strncmp(line, "CapEff:", 7)) {
			assert_string_equal(line + 7, "\t0000000000000000\n");
			checked++;
		}
		if (!strncmp(line, "Groups:", 7)) {
			assert_string_equal(line + 7, "\t \n");
			checked++;
		}
	}
	fclose(file);
	assert_int_equal(checked, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_functions_of_libraries, start, stop),
		cmocka_unit_test_setup_teardown(test_equals_dladdr, start, stop),
		cmocka_unit_test_setup_teardown(test_a_call_at_the_end_of_a_function, start, stop),
		cmocka_unit_test_setup_teardown(test_own_program, start, stop),
		cmocka_unit_test_setup_teardown(test_what_is_no_function, start, stop),
		cmocka_unit_test_setup_teardown(test_a_target_that_has_ended, start, stop),
		cmocka_unit_test_setup_teardown(test_a_program_of_a_fixed_address, start, stop),
		cmocka_unit_test_setup_teardown(test_hostile_files, start, stop),
		cmocka_unit_test_setup_teardown(test_a_file_that_is_none, start, stop),
		cmocka_unit_test_setup_teardown(test_a_dead_helper, start, stop),
		cmocka_unit_test_setup_teardown(test_rights_of_the_helper, start, stop),
	};
	int failed;

	if (!mkdtemp(directory))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(forge("", 0));
	rmdir(directory);
	return failed;
}
