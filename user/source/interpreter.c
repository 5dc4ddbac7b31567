// SPDX-License-Identifier: BSD-3-Clause
/*
 * From the file alone: is it a CPython, which version, what is special about the build. From a
 * process: which of its files is the interpreter. Both are claims of the target's; what depends on
 * them can only harm the target's own trace.
 */

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process/maps.h"
#include "source/interpreter.h"

#if defined(__x86_64__)
#define OWN_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define OWN_MACHINE EM_AARCH64
#else
#error "registers of this architecture are not described yet"
#endif

#define SCAN_CHUNK   (64 << 10)
#define SCAN_OVERLAP 128
#define MAX_SCAN     (64 << 20) /* bytes of one file; a libpython has 5 MiB */
#define MAX_ENVIRON  (4 << 20)
#define MAX_TRIES    16 /* mapped files with a Python's name that are opened */

/* Every probe has these: the file, the function, the line. */
#define PROBE_ARGS 3

struct interpreter {
	struct interpreter_info info;
	struct elf_notes *elf;
};

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

static void set_reason(struct interpreter_reason *why, enum interpreter_problem problem)
{
	if (!why)
		return;
	memset(why, 0, sizeof(*why));
	why->problem = problem;
}

#define SET_TEXT(why, ...) \
	((why) ? (void)snprintf((why)->text, sizeof((why)->text), __VA_ARGS__) : (void)0)
#define SET_NEXT(why, ...) \
	((why) ? (void)snprintf((why)->next_step, sizeof((why)->next_step), __VA_ARGS__) : (void)0)

static void copy_printable(char *to, size_t size, const char *from)
{
	size_t i;

	for (i = 0; i + 1 < size && from[i]; i++)
		to[i] = from[i] < 0x20 || from[i] > 0x7e ? '?' : from[i];
	to[i] = '\0';
}

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

/* The last part of a path, in the path. */
static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
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

static bool has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
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

static void identify(struct interpreter *in)
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

static void set_open_reason(struct interpreter_reason *why, int err)
{
	switch (err) {
	case -ESRCH:
		set_reason(why, INTERPRETER_GONE);
		SET_TEXT(why, "no such process");
		break;
	case -EACCES:
	case -EPERM:
		set_reason(why, INTERPRETER_FORBIDDEN);
		SET_TEXT(why, "reading it is not permitted");
		SET_NEXT(why, "run as root, or with CAP_SYS_PTRACE over its user namespace");
		break;
	case -ENOEXEC:
		set_reason(why, INTERPRETER_NOT_ELF);
		SET_TEXT(why, "it is not a 64-bit ELF program");
		break;
	case -ENOENT:
		set_reason(why, INTERPRETER_UNREADABLE);
		SET_TEXT(why, "its libpython was deleted or replaced on disk");
		SET_NEXT(why, "restart it, or run as root");
		break;
	case -EBADMSG:
	case -E2BIG:
		set_reason(why, INTERPRETER_UNREADABLE);
		SET_TEXT(why, "its ELF headers are damaged");
		break;
	default:
		set_reason(why, INTERPRETER_UNREADABLE);
		SET_TEXT(why, "%s",
			 strerrordesc_np(-err) ? strerrordesc_np(-err) : "unknown error");
	}
}

/* Takes over fd, also after an error. */
static int open_owned(int fd, const char *path, struct interpreter **out)
{
	struct interpreter *in = calloc(1, sizeof(*in));
	struct stat st;
	int err;

	if (!in) {
		close(fd);
		return -ENOMEM;
	}
	in->info.fd = fd;
	if (path)
		snprintf(in->info.path, sizeof(in->info.path), "%s", path);
	if (fstat(fd, &st) < 0) {
		err = -errno;
		goto out;
	}
	in->info.dev = st.st_dev;
	in->info.ino = st.st_ino;
	in->elf = elf_notes__new(fd, "python");
	if (!in->elf) {
		err = -errno;
		goto out;
	}
	in->info.elf = in->elf;
	identify(in);
	*out = in;
	return 0;
out:
	interpreter__free(in);
	return err;
}

int interpreter__open_fd(int fd, const char *path_hint, struct interpreter **out,
			 struct interpreter_reason *why)
{
	int own, err;

	*out = NULL;
	set_reason(why, INTERPRETER_FINE);
	own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	err = own < 0 ? -errno : open_owned(own, path_hint, out);
	if (err)
		set_open_reason(why, err);
	return err;
}

void interpreter__free(struct interpreter *in)
{
	if (!in)
		return;
	elf_notes__free(in->elf);
	close(in->info.fd);
	free(in);
}

const struct interpreter_info *interpreter__info(const struct interpreter *in)
{
	return &in->info;
}

/* What was found in a process that is not its executable. */
struct search {
	pid_t pid;
	int tries;
	unsigned long long last_ino;
	struct interpreter *found;
	int err; /* why a file with the right name could not be read */
};

/*
 * python3.11 is a mapped file where the executable is the dynamic loader. libpython3.so is none: it
 * holds no code, only the name of the real one.
 */
static bool is_python_name(const char *name)
{
	struct interpreter_info ignored;

	return version_of_name(name, &ignored) || has_prefix(name, "libpypy");
}

static int visit_library(const struct mapping *map, void *arg)
{
	struct search *search = arg;
	struct interpreter *in;
	int fd, err;

	if (map->ino == 0 || map->ino == search->last_ino || !is_python_name(base_name(map->path)))
		return 0;
	search->last_ino = map->ino;
	if (search->tries++ == MAX_TRIES)
		return 1;
	fd = maps__open(search->pid, map);
	if (fd < 0) {
		search->err = fd;
		return 0;
	}
	err = open_owned(fd, map->path, &in);
	if (err)
		return 0;
	if (in->info.kind != INTERPRETER_CPYTHON && in->info.kind != INTERPRETER_PYPY) {
		interpreter__free(in);
		return 0;
	}
	in->info.has_bias = elf_notes__load_bias(in->elf, map->start, map->offset, true,
						 &in->info.load_bias) == 0;
	search->found = in;
	return 1;
}

/* The loader tells a program where its own entry point is. */
static void find_exe_bias(struct interpreter *in)
{
	__u64 pair[2], entry = elf_notes__header(in->elf)->entry.addr;
	int fd = process__open(in->info.pid, "auxv", O_RDONLY);
	int i;

	if (fd < 0)
		return;
	for (i = 0; i < 64 && read(fd, pair, sizeof(pair)) == sizeof(pair); i++) {
		if (pair[0] == AT_ENTRY && entry) {
			in->info.load_bias = pair[1] - entry;
			in->info.has_bias = true;
			break;
		}
	}
	close(fd);
}

/* PYTHON_JIT as the process was started with: -1 if it was not, else whether it is on. */
static int python_jit_of_environ(pid_t pid)
{
	static const char name[] = "PYTHON_JIT=";
	char *environ_line = NULL;
	size_t size = 0, total = 0;
	int fd, on = -1;
	ssize_t len;
	FILE *file;

	fd = process__open(pid, "environ", O_RDONLY);
	file = fd < 0 ? NULL : fdopen(fd, "r");
	if (!file) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	/* The first one counts, as for getenv; an empty one does not, as for Python. */
	while (total < MAX_ENVIRON && (len = getdelim(&environ_line, &size, '\0', file)) > 0) {
		total += (size_t)len;
		if (!has_prefix(environ_line, name))
			continue;
		if (environ_line[sizeof(name) - 1])
			on = environ_line[sizeof(name) - 1] != '0';
		break;
	}
	free(environ_line);
	fclose(file);
	return on;
}

/*
 * Compiled code is private, nameless and read-only; 3.15 names it where the kernel can (since 5.17,
 * CONFIG_ANON_VMA_NAME). Another compiler's code may look the same (numba's): then PYTHON_JIT=0
 * says so.
 */
static int visit_compiled_code(const struct mapping *map, void *arg)
{
	(void)arg;
	return map->ino == 0 && strcmp(map->perms, "r-xp") == 0 &&
	       (map->path[0] == '\0' || strcmp(map->path, "[anon:cpython:jit]") == 0);
}

enum interpreter_jit interpreter__jit_now(const struct interpreter *in)
{
	int on;

	if (in->info.jit == INTERPRETER_JIT_NONE || in->info.pid == 0)
		return in->info.jit;
	on = python_jit_of_environ(in->info.pid);
	if (on == 0)
		return INTERPRETER_JIT_OFF;
	if (on == 1 || maps__each(in->info.pid, visit_compiled_code, NULL) == 1)
		return INTERPRETER_JIT_ON;
	return in->info.jit;
}

/* A zombie and a kernel thread have a directory in /proc, but no executable. */
static bool exists(pid_t pid)
{
	int fd = pid > 0 ? process__open(pid, "", O_PATH) : -1;

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static int open_exe(pid_t pid, struct interpreter **out)
{
	char path[sizeof((*out)->info.path)], name[32];
	ssize_t len;
	int fd;

	fd = process__open(pid, "exe", O_PATH);
	if (fd >= 0)
		fd = process__reopen(fd);
	if (fd < 0)
		return fd;
	snprintf(name, sizeof(name), "/proc/%d/exe", (int)pid);
	len = readlink(name, path, sizeof(path) - 1);
	path[len > 0 ? len : 0] = '\0';
	return open_owned(fd, path, out);
}

int interpreter__of_pid(pid_t pid, struct interpreter **out, struct interpreter_reason *why)
{
	struct search search = {.pid = pid};
	struct interpreter *in;
	int err;

	*out = NULL;
	set_reason(why, INTERPRETER_FINE);
	err = pid > 0 ? open_exe(pid, &in) : -ESRCH;
	if (err)
		goto out;
	in->info.pid = pid;
	if (in->info.kind == INTERPRETER_CPYTHON || in->info.kind == INTERPRETER_PYPY) {
		find_exe_bias(in);
	} else {
		err = maps__each(pid, visit_library, &search);
		if (search.found) {
			interpreter__free(in);
			in = search.found;
			in->info.pid = pid;
		} else if (err < 0 || search.err) {
			err = err < 0 ? err : search.err;
			interpreter__free(in);
			goto out;
		}
		err = 0;
	}
	in->info.jit = interpreter__jit_now(in);
	*out = in;
out:
	if (err)
		set_open_reason(why, err);
	if (err == -ESRCH && exists(pid))
		SET_TEXT(why, "it has ended, or is a kernel thread");
	return err;
}

const char *interpreter__describe(const struct interpreter *in, char *buf, size_t size)
{
	static const char *const builds[] = {"", " (JIT)", " (free-threaded)",
					     " (free-threaded, JIT)"};
	const struct interpreter_info *info = &in->info;
	char micro[16] = "", needed[64];

	switch (info->kind) {
	case INTERPRETER_NONE:
		snprintf(buf, size, "not a Python");
		break;
	case INTERPRETER_PYPY:
		snprintf(buf, size, "PyPy");
		break;
	case INTERPRETER_LINKED:
		copy_printable(needed, sizeof(needed), elf_notes__header(in->elf)->needed[0]);
		snprintf(buf, size, "a program that uses %s", needed);
		break;
	case INTERPRETER_CPYTHON:
		if (info->micro >= 0)
			snprintf(micro, sizeof(micro), ".%d", info->micro);
		if (info->major == 0)
			snprintf(buf, size, "a CPython of unknown version");
		else
			snprintf(buf, size, "CPython %d.%d%s%s", info->major, info->minor, micro,
				 builds[(info->jit != INTERPRETER_JIT_NONE) +
					2 * info->free_threaded]);
		break;
	}
	return buf;
}

/* "CPython 3.11.2", without what is special about the build */
static const char *version_text(const struct interpreter_info *info, char *buf, size_t size)
{
	if (info->major == 0)
		snprintf(buf, size, "this CPython");
	else if (info->micro < 0)
		snprintf(buf, size, "CPython %d.%d", info->major, info->minor);
	else
		snprintf(buf, size, "CPython %d.%d.%d", info->major, info->minor, info->micro);
	return buf;
}

/* Problems that are not about one probe. */
static int check_kind(const struct interpreter *in, struct interpreter_reason *why)
{
	const struct interpreter_info *info = &in->info;
	char text[64];

	if (info->kind == INTERPRETER_NONE) {
		set_reason(why, INTERPRETER_NOT_PYTHON);
		SET_TEXT(why, "it is not a Python program");
	} else if (info->kind == INTERPRETER_PYPY) {
		set_reason(why, INTERPRETER_IS_PYPY);
		SET_TEXT(why, "it is PyPy, which has no probes");
		SET_NEXT(why, "use CPython: Debian's, Ubuntu's or Fedora's python3");
	} else if (info->kind == INTERPRETER_LINKED) {
		set_reason(why, INTERPRETER_IS_LINKED);
		copy_printable(text, sizeof(text), elf_notes__header(in->elf)->needed[0]);
		SET_TEXT(why, "its interpreter is %s, which is not loaded", text);
		SET_NEXT(why, "run it, or name that library");
	} else if (elf_notes__header(in->elf)->machine != OWN_MACHINE) {
		set_reason(why, INTERPRETER_OTHER_ARCH);
		SET_TEXT(why, "it is for another processor (ELF machine %d) than this one (%d)",
			 elf_notes__header(in->elf)->machine, OWN_MACHINE);
	} else if (!info->version) {
		set_reason(why, INTERPRETER_UNKNOWN_VERSION);
		if (info->major == 0)
			SET_TEXT(why, "its version of CPython is not to be found in the file");
		else
			SET_TEXT(why, "%s is not known to this tracer (3.6 to 3.15 are)",
				 version_text(info, text, sizeof(text)));
	} else if (info->jit == INTERPRETER_JIT_ON) {
		set_reason(why, INTERPRETER_IS_JIT);
		SET_TEXT(why, "%s runs its JIT compiler, whose code fires no probes",
			 version_text(info, text, sizeof(text)));
		SET_NEXT(why, "start it with PYTHON_JIT=0 in its environment");
	} else {
		return 0;
	}
	return -ENOTSUP;
}

static bool version_has(int minor, enum cpython_probe probe)
{
	const struct cpython_version *version = cpython__find(3, minor);

	return version && (version->probes & probe);
}

static void explain_no_such_probe(const struct interpreter_info *info, enum cpython_probe probe,
				  struct interpreter_reason *why)
{
	int first = info->minor, last = info->minor;
	char text[64];

	while (cpython__find(3, first - 1) && !version_has(first - 1, probe))
		first--;
	while (cpython__find(3, last + 1) && !version_has(last + 1, probe))
		last++;
	set_reason(why, INTERPRETER_NO_SUCH_PROBE);
	SET_TEXT(why, "%s has no %s probe (3.%d to 3.%d have none)",
		 version_text(info, text, sizeof(text)), cpython__probe_name(probe), first, last);
	if (version_has(last + 1, probe))
		SET_NEXT(why,
			 "use CPython 3.6 to 3.%d or 3.%d on, built --with-dtrace as Debian's is",
			 first - 1, last + 1);
	else
		SET_NEXT(why, "use CPython 3.6 to 3.%d, built --with-dtrace as Debian's is",
			 first - 1);
}

static void explain_missing(const struct interpreter *in, enum cpython_probe probe,
			    struct interpreter_reason *why)
{
	char text[64];

	version_text(&in->info, text, sizeof(text));
	set_reason(why, INTERPRETER_BUILT_WITHOUT);
	if (!elf_notes__header(in->elf)->has_sections)
		SET_TEXT(why, "%s was stripped of its section headers, so its probes are not found",
			 text);
	else if (elf_notes__count(in->elf) == 0)
		SET_TEXT(why, "%s was built without probes", text);
	else
		SET_TEXT(why, "%s was built without the %s probe", text,
			 cpython__probe_name(probe));
	SET_NEXT(why, "use Debian's, Ubuntu's or Fedora's python3, or one built --with-dtrace");
}

/* Whether all sites of a probe can be attached to and their arguments read. */
static int check_sites(const struct interpreter *in, enum cpython_probe probe,
		       struct interpreter_reason *why)
{
	const char *name = cpython__probe_name(probe);
	const struct usdt_probe *site = elf_notes__next(in->elf, name, NULL);

	if (!site) {
		explain_missing(in, probe, why);
		return -ENOTSUP;
	}
	for (; site; site = elf_notes__next(in->elf, name, site)) {
		if (site->n_args == PROBE_ARGS && (!site->semaphore_addr || site->semaphore_offset))
			continue;
		set_reason(why, INTERPRETER_BAD_PROBE);
		if (site->n_args == PROBE_ARGS)
			SET_TEXT(why, "the semaphore of its %s probe is not in its data", name);
		else
			SET_TEXT(why, "the arguments of its %s probe cannot be read: '%s'", name,
				 site->args_text);
		return -ENOTSUP;
	}
	return 0;
}

static int check_line_is_safe(const struct interpreter_info *info, struct interpreter_reason *why)
{
	char text[64];

	if (cpython__line_semaphore_is_safe(info->major, info->minor, info->micro))
		return 0;
	set_reason(why, INTERPRETER_LINE_UNSAFE);
	SET_TEXT(why, "%s may crash when its line probe is enabled (CPython issue 98894)",
		 version_text(info, text, sizeof(text)));
	SET_NEXT(why, "use CPython 3.11.2 or newer");
	return -ENOTSUP;
}

/* 3.11: function__entry waits for the semaphore of `line`. */
static int check_line_semaphore(const struct interpreter *in, struct interpreter_reason *why)
{
	int err;

	err = check_line_is_safe(&in->info, why);
	if (!err)
		err = check_sites(in, CPYTHON_LINE, why);
	if (err)
		return err;
	if (!elf_notes__next(in->elf, "line", NULL)->semaphore_addr) {
		set_reason(why, INTERPRETER_BAD_PROBE);
		SET_TEXT(why, "its line probe has no semaphore, on which function__entry waits");
		return -ENOTSUP;
	}
	return 0;
}

static int check_probe(const struct interpreter *in, enum cpython_probe probe,
		       struct interpreter_reason *why)
{
	const struct cpython_version *version = in->info.version;
	int err;

	if (!(version->probes & probe)) {
		explain_no_such_probe(&in->info, probe, why);
		return -ENOTSUP;
	}
	err = check_sites(in, probe, why);
	if (!err && probe == CPYTHON_LINE)
		err = check_line_is_safe(&in->info, why);
	if (!err && probe == CPYTHON_FUNCTION_ENTRY && version->entry_needs_line_semaphore)
		err = check_line_semaphore(in, why);
	return err;
}

int interpreter__check(const struct interpreter *in, unsigned int needed,
		       struct interpreter_reason *why)
{
	unsigned int probe;
	int err;

	set_reason(why, INTERPRETER_FINE);
	err = check_kind(in, why);
	for (probe = 1; !err && probe <= CPYTHON_LINE; probe <<= 1)
		if (needed & probe)
			err = check_probe(in, (enum cpython_probe)probe, why);
	return err;
}
