// SPDX-License-Identifier: BSD-3-Clause
#include "source/interpreter_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCAN_CHUNK   (64 << 10)
#define SCAN_OVERLAP 128
#define MAX_SCAN     (64 << 20) /* bytes of one file; a libpython has 5 MiB */

enum {
	SYM_PY_GETVERSION, /* exported by every CPython */
	SYM_PY_VERSION,	   /* 3.11 on */
	SYM_PYRUNTIME,	   /* 3.7 on */
	SYM_CODE_TYPE,	   /* exported by every CPython */
	SYM_FREE_THREADED, /* 3.13 on, in builds with Py_GIL_DISABLED only */
	SYM_PYPY,
	SYM_COUNT,
};

/* A search through the parts of the file that are mapped read-only. */
struct scan {
	const char *needle;
	size_t needle_len;
	/* Whether the match at `at` is the one; sees SCAN_OVERLAP bytes or the chunk's end behind.
	 */
	bool (*accept)(const char *chunk, size_t at, size_t len, void *arg);
	void *arg;
};

static bool scan_chunk(const struct scan *scan, const char *chunk, size_t len)
{
	const char *hit = chunk;

	while ((hit = memmem(hit, len - (size_t)(hit - chunk), scan->needle, scan->needle_len))) {
		if (scan->accept(chunk, (size_t)(hit - chunk), len, scan->arg))
			return true;
		hit++;
	}
	return false;
}

static bool scan_segment(const struct interpreter *in, const struct elf_segment *segment,
			 const struct scan *scan, char *chunk)
{
	size_t len, step = SCAN_CHUNK - SCAN_OVERLAP;
	__u64 at, size = segment->file_size;

	if (size > MAX_SCAN)
		size = MAX_SCAN;
	for (at = 0; at < size; at += step) {
		len = size - at < SCAN_CHUNK ? (size_t)(size - at) : SCAN_CHUNK;
		if (elf_notes__read(in->elf, segment->addr + at, chunk, len))
			return false;
		if (scan_chunk(scan, chunk, len))
			return true;
	}
	return false;
}

/* Looks in the constants first; old linkers put them into the segment of the code. */
static bool scan_file(const struct interpreter *in, const struct scan *scan)
{
	const struct elf_header *header = elf_notes__header(in->elf);
	char *chunk = malloc(SCAN_CHUNK);
	bool found = false;
	int i, pass;

	if (!chunk)
		return false;
	for (pass = 0; pass < 2 && !found; pass++)
		for (i = 0; i < header->n_segments && !found; i++)
			if (!header->segments[i].writable &&
			    header->segments[i].executable == (pass == 1))
				found = scan_segment(in, &header->segments[i], scan, chunk);
	free(chunk);
	return found;
}

static int take_digits(const char **at, const char *end)
{
	int value = -1;

	while (*at < end && **at >= '0' && **at <= '9' && value < 1000)
		value = (value < 0 ? 0 : value * 10) + (*(*at)++ - '0');
	return value < 1000 ? value : -1;
}

/* "lib/python3.9": the directory of the standard library is in every CPython. */
static bool accept_stdlib(const char *chunk, size_t at, size_t len, void *arg)
{
	struct interpreter_info *info = arg;
	const char *next = chunk + at + strlen("lib/python"), *end = chunk + len;
	int major, minor;

	major = take_digits(&next, end);
	if (major < 2 || next == end || *next++ != '.')
		return false;
	minor = take_digits(&next, end);
	if (minor < 0 || next == end || *next != '\0')
		return false;
	info->major = major;
	info->minor = minor;
	return true;
}

struct micro {
	int loose; /* at the end of a longer string: linkers merge "3.9.2" into "/opt/3.9.2" */
	int exact;
};

/* "3.9.2" or "3.9.2rc1+", behind which the string ends */
static bool accept_micro(const char *chunk, size_t at, size_t len, void *arg)
{
	struct micro *micro = arg;
	const char *next = chunk + at, *end = chunk + len;
	char before = at > 0 ? chunk[at - 1] : '.';
	int value;

	if (before == '.' || (before >= '0' && before <= '9'))
		return false;
	take_digits(&next, end);
	next++;
	take_digits(&next, end);
	next++;
	value = take_digits(&next, end);
	while (next < end && *next && strchr("abrc+0123456789", *next))
		next++;
	if (value < 0 || next >= end || *next != '\0')
		return false;
	if (before == '\0') {
		micro->exact = value;
		return true;
	}
	if (micro->loose < 0)
		micro->loose = value;
	return false;
}

static bool accept_any(const char *chunk, size_t at, size_t len, void *arg)
{
	(void)chunk;
	(void)at;
	(void)len;
	(void)arg;
	return true;
}

/* "libpython3.11.so.1.0", "python3.9", "python3.13t": the version in a file's name. */
static bool version_of_name(const char *name, struct interpreter_info *info)
{
	const char *at = base_name(name), *end = at + strlen(at);
	int major, minor;

	if (strncmp(at, "lib", 3) == 0)
		at += 3;
	if (strncmp(at, "python", 6) != 0)
		return false;
	at += 6;
	major = take_digits(&at, end);
	if (major < 2 || *at++ != '.')
		return false;
	minor = take_digits(&at, end);
	if (minor < 0)
		return false;
	info->major = major;
	info->minor = minor;
	return true;
}

bool interpreter_is_python_name(const char *name)
{
	struct interpreter_info ignored;

	return version_of_name(name, &ignored) || has_prefix(name, "libpypy");
}

/* 3.13 on: what _PyRuntime starts with. */
struct debug_offsets_head {
	char cookie[8];
	__u64 version;
	__u64 free_threaded;
};

static bool read_debug_offsets(const struct interpreter *in, struct debug_offsets_head *head)
{
	return in->info.runtime_addr &&
	       !elf_notes__read(in->elf, in->info.runtime_addr, head, sizeof(*head)) &&
	       memcmp(head->cookie, "xdebugpy", sizeof(head->cookie)) == 0;
}

static bool debug_offsets_say_free_threaded(const struct interpreter *in)
{
	struct debug_offsets_head head;

	return read_debug_offsets(in, &head) && head.free_threaded != 0;
}

/*
 * 3.11 on: Py_Version is an unsigned long, PY_VERSION_HEX: 0x030b02f0 is 3.11.2. A program that
 * Python is linked into need not export it; from 3.13 on _Py_DebugOffsets have it as well.
 */
static bool read_py_version(struct interpreter *in, __u64 addr)
{
	struct debug_offsets_head head;
	__u64 hex;

	if (addr == 0 || elf_notes__read(in->elf, addr, &hex, sizeof(hex))) {
		if (!read_debug_offsets(in, &head))
			return false;
		hex = head.version;
	}
	if (hex >> 32 || hex >> 24 < 3)
		return false;
	in->info.major = (int)(hex >> 24);
	in->info.minor = (int)(hex >> 16 & 0xff);
	in->info.micro = (int)(hex >> 8 & 0xff);
	return true;
}

/* Where the string "MAJOR.MINOR.MICRO" is, that sys.version begins with. */
static struct micro scan_micro(const struct interpreter *in, int major, int minor)
{
	struct micro micro = {-1, -1};
	char text[32];
	struct scan scan = {text, 0, accept_micro, &micro};

	scan.needle_len = (size_t)snprintf(text, sizeof(text), "%d.%d.", major, minor);
	scan_file(in, &scan);
	return micro;
}

/* 3.10 to 3.12, linked into a program: of all that tells a version only that string is left. */
static bool version_of_micro(struct interpreter *in)
{
	int found = 0;

	for (int minor = 10; minor <= 12; minor++) {
		const struct micro micro = scan_micro(in, 3, minor);

		if (micro.exact < 0 && micro.loose < 0)
			continue;
		if (found)
			return false; /* one is another program's version */
		found = minor;
	}
	if (!found)
		return false;
	in->info.major = 3;
	in->info.minor = found;
	return true;
}

static void find_version(struct interpreter *in, const struct elf_symbol symbols[])
{
	struct interpreter_info *info = &in->info;
	struct scan scan = {"lib/python", strlen("lib/python"), accept_stdlib, info};
	struct micro micro;

	info->micro = -1;
	if (read_py_version(in, symbols[SYM_PY_VERSION].addr))
		return;
	if (!version_of_name(elf_notes__header(in->elf)->soname, info) && !scan_file(in, &scan) &&
	    !version_of_name(info->path, info) && !version_of_micro(in))
		return;
	micro = scan_micro(in, info->major, info->minor);
	info->micro = micro.exact >= 0 ? micro.exact : micro.loose;
}

static void find_build(struct interpreter *in, const struct elf_symbol symbols[])
{
	/* The warning of the JIT compiler about itself, since 3.13; only its own file has it. */
	static const char jit[] = "JIT %s (%d)";
	struct scan scan = {jit, sizeof(jit), accept_any, NULL};
	struct interpreter_info *info = &in->info;

	info->version = cpython__find(info->major, info->minor);
	if (info->major < 3 || (info->major == 3 && info->minor < 13))
		return;
	info->free_threaded =
		symbols[SYM_FREE_THREADED].addr || debug_offsets_say_free_threaded(in);
	if (scan_file(in, &scan))
		info->jit = INTERPRETER_JIT_DORMANT;
}

/* A program that Python is linked into need not export _PyRuntime; from 3.10 on it has a section.
 */
static void find_runtime(struct interpreter *in, const struct elf_symbol symbols[])
{
	struct interpreter_info *info = &in->info;

	info->runtime_addr = symbols[SYM_PYRUNTIME].addr;
	if (!info->runtime_addr)
		info->runtime_addr = elf_notes__find_section(in->elf, ".PyRuntime");
	info->code_type_addr = symbols[SYM_CODE_TYPE].addr;
}

void interpreter_identify(struct interpreter *in)
{
	struct elf_symbol symbols[SYM_COUNT] = {
		[SYM_PY_GETVERSION] = {.name = "Py_GetVersion"},
		[SYM_PY_VERSION] = {.name = "Py_Version"},
		[SYM_PYRUNTIME] = {.name = "_PyRuntime"},
		[SYM_CODE_TYPE] = {.name = "PyCode_Type"},
		[SYM_FREE_THREADED] = {.name = "_Py_MergeZeroLocalRefcount"},
		[SYM_PYPY] = {.name = "pypy_execute_source"},
	};
	const struct elf_header *header = elf_notes__header(in->elf);
	struct interpreter_info *info = &in->info;

	info->micro = -1;
	elf_notes__find_symbols(in->elf, symbols, SYM_COUNT);
	find_runtime(in, symbols);
	if (symbols[SYM_PYPY].addr || has_prefix(base_name(info->path), "pypy") ||
	    has_prefix(header->soname, "libpypy")) {
		info->kind = INTERPRETER_PYPY;
	} else if (symbols[SYM_PY_GETVERSION].addr || info->runtime_addr ||
		   elf_notes__count(in->elf) > 0) {
		info->kind = INTERPRETER_CPYTHON;
		info->in_library = has_prefix(header->soname, "libpython");
		find_version(in, symbols);
		find_build(in, symbols);
	} else if (header->n_needed > 0) {
		info->kind = INTERPRETER_LINKED;
	}
}
