// SPDX-License-Identifier: BSD-3-Clause
#include "probes/inject_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "errors.h"
#include "source/agent_check.h"

#define HANDLER_STACK 2048 /* bytes over a signal handler's stack pointer that are searched */

static const char *const symbol_names[SYM_COUNT] = {"dlopen", "__libc_dlopen_mode", "dlerror",
						    "syscall", "__errno_location"};

/* ------------------------------------------------------------------ before stopping it */

int inject_refuse(struct interpreter_reason *why, int err, const char *text, const char *next)
{
	memset(why, 0, sizeof(*why));
	why->problem = INTERPRETER_NO_AGENT;
	snprintf(why->text, sizeof(why->text), "%s", text);
	snprintf(why->next_step, sizeof(why->next_step), "%s", next);
	return err;
}

static void add_range(struct ranges *ranges, uint64_t start, uint64_t end)
{
	if (ranges->n < MAX_RANGES && start < end)
		ranges->list[ranges->n++] = (struct range){start, end};
}

static bool contains(const struct ranges *ranges, uint64_t address)
{
	for (int i = 0; i < ranges->n; i++)
		if (ranges->list[i].start <= address && address < ranges->list[i].end)
			return true;
	return false;
}

static void add_text(struct ranges *ranges, const struct elf_notes *elf, uint64_t bias)
{
	const struct elf_header *header = elf_notes__header(elf);

	for (int i = 0; i < header->n_segments; i++) {
		const struct elf_segment *segment = &header->segments[i];

		if (segment->executable)
			add_range(ranges, segment->addr + bias,
				  segment->addr + bias + segment->file_size);
	}
}

static bool starts_with(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

enum library { LIBRARY_OTHER, LIBRARY_GLIBC, LIBRARY_THREADS, LIBRARY_DL, LIBRARY_MUSL };

/* "/lib/x86_64-linux-gnu/libc.so.6", "/lib/libc-2.31.so", "/lib/ld-musl-x86_64.so.1" */
static enum library library_of(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	if (starts_with(name, "libc.so.") || starts_with(name, "libc-2."))
		return LIBRARY_GLIBC;
	if (starts_with(name, "libpthread.so.") || starts_with(name, "libpthread-2."))
		return LIBRARY_THREADS;
	if (starts_with(name, "libdl.so.") || starts_with(name, "libdl-2."))
		return LIBRARY_DL;
	if (starts_with(name, "ld-musl-") || starts_with(name, "libc.musl-"))
		return LIBRARY_MUSL;
	return LIBRARY_OTHER;
}

static void take_symbols(struct inject *inject, const struct elf_notes *elf, uint64_t bias,
			 enum library library)
{
	struct elf_symbol symbols[SYM_COUNT] = {{0}};

	for (int i = 0; i < SYM_COUNT; i++)
		symbols[i].name = symbol_names[i];
	if (elf_notes__find_symbols(elf, symbols, SYM_COUNT) < 0)
		return;
	for (int i = 0; i < SYM_COUNT; i++) {
		bool from_dl = i == SYM_DLOPEN || i == SYM_DLERROR;

		if (symbols[i].addr && !inject->symbols[i] && (library != LIBRARY_DL || from_dl) &&
		    library != LIBRARY_THREADS)
			inject->symbols[i] = symbols[i].addr + bias;
	}
}

static int visit_libc(const struct mapping *map, void *arg)
{
	struct inject *inject = arg;
	enum library library = library_of(map->path);
	struct elf_notes *elf;
	__u64 bias;
	int fd;

	if (library == LIBRARY_OTHER || !map->ino)
		return 0;
	fd = maps__open(inject->info->pid, map);
	if (fd < 0)
		return 0;
	elf = elf_notes__new(fd, NULL);
	if (elf && !elf_notes__load_bias(elf, map->start, map->offset, true, &bias)) {
		take_symbols(inject, elf, bias, library);
		if (library != LIBRARY_DL)
			add_text(library == LIBRARY_MUSL ? &inject->dl : &inject->libc, elf, bias);
	}
	elf_notes__free(elf);
	close(fd);
	return 0;
}

/* A mask of /proc/PID/status. */
static uint64_t status_mask(const char *text, const char *name)
{
	const char *found = strstr(text, name);

	return found ? strtoull(found + strlen(name), NULL, 16) : 0;
}

static int read_status(pid_t pid, char *text, size_t size)
{
	int fd = process__open(pid, "status", O_RDONLY);
	ssize_t got;

	if (fd < 0)
		return fd;
	got = read(fd, text, size - 1);
	close(fd);
	if (got <= 0)
		return -ESRCH;
	text[got] = '\0';
	return 0;
}

int inject_refuse_ended(struct interpreter_reason *why)
{
	inject_refuse(why, -ESRCH,
		      "it has ended, or runs another program, while the agent was loaded", "");
	why->problem = INTERPRETER_GONE;
	return -ESRCH;
}

/* The kernel would set its handling of SIGSEGV back to the default. */
static int check_signals(pid_t pid, struct interpreter_reason *why)
{
	char text[8192];
	uint64_t ignored;
	int err = read_status(pid, text, sizeof(text));

	if (err)
		return inject_refuse_ended(why);
	ignored = status_mask(text, "\nSigIgn:");
	if (!(ignored >> (SIGSEGV - 1) & 1))
		return 0;
	return inject_refuse(why, -ENOTSUP,
			     "it ignores SIGSEGV, which loading the agent would change", "");
}

static uint64_t find_restorer(pid_t pid, const struct ranges *ranges)
{
	uint64_t found = 0;

	for (int i = 0; i < ranges->n && !found; i++)
		found = remote__find_restorer(pid, ranges->list[i].start, ranges->list[i].end);
	return found;
}

static int find_functions(struct inject *inject, struct interpreter_reason *why)
{
	int err = maps__each(inject->info->pid, visit_libc, inject);

	if (err < 0)
		return inject_refuse_ended(why);
	add_text(&inject->text, inject->info->elf, inject->info->load_bias);
	if (!inject->libc.n && !inject->dl.n)
		return inject_refuse(why, -ENOTSUP, "its C library is not to be found", "");
	if (!inject->symbols[SYM_SYSCALL] || !inject->symbols[SYM_ERRNO] ||
	    (!inject->symbols[SYM_DLOPEN] && !inject->symbols[SYM_LIBC_DLOPEN]))
		return inject_refuse(why, -ENOTSUP, "its C library offers no dlopen", "");
	inject->restorer = find_restorer(inject->info->pid, &inject->libc);
	if (!inject->restorer)
		inject->restorer = find_restorer(inject->info->pid, &inject->dl);
	if (!inject->restorer)
		return inject_refuse(why, -ENOTSUP,
				     "its C library's way back from a signal is not to be found",
				     "");
	return 0;
}

struct inject *inject__new(const struct interpreter *in, struct interpreter_reason *why)
{
	struct inject *inject = calloc(1, sizeof(*inject));
	int err;

	if (!inject)
		return NULL;
	inject->info = interpreter__info(in);
	err = agent_check__process(in, why);
	if (!err)
		err = check_signals(inject->info->pid, why);
	if (!err && !inject->info->has_bias)
		err = inject_refuse(why, -ENOTSUP, "where its code is mapped is not to be found",
				    "");
	if (!err)
		err = find_functions(inject, why);
	if (!err)
		return inject;
	inject__free(inject);
	errno = -err;
	return NULL;
}

void inject__free(struct inject *inject)
{
	free(inject);
}

uint64_t inject__stopped_ns(const struct inject *inject)
{
	return inject->stopped_ns;
}

/* ------------------------------------------------------------------ safe points */

/*
 * Nobody's locks are held in these, and a lock's is none of them: glibc's locks wait with
 * FUTEX_WAIT, its conditions and semaphores (so the GIL's waiters) with FUTEX_WAIT_BITSET; musl's
 * with FUTEX_WAIT, with a limit as the GIL's waiters have one.
 */
static bool waits_freely(const struct remote_place *place, bool is_musl)
{
	int op = place->op & FUTEX_CMD_MASK;

	switch (place->syscall) {
	case SYS_futex:
		return op == FUTEX_WAIT_BITSET || (is_musl && op == FUTEX_WAIT && place->has_limit);
	case SYS_read:
		return !is_musl; /* its dynamic linker reads, too */
#ifdef SYS_poll
	case SYS_poll:
	case SYS_select:
	case SYS_epoll_wait:
	case SYS_pause:
	case SYS_accept:
#endif
	/* What a stop has interrupted before: a wait with a limit, and a lock's has none. */
	case SYS_restart_syscall:
	case SYS_ppoll:
	case SYS_pselect6:
	case SYS_epoll_pwait:
	case SYS_nanosleep:
	case SYS_clock_nanosleep:
	case SYS_wait4:
	case SYS_waitid:
	case SYS_accept4:
	case SYS_connect:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_write:
	case SYS_flock:
	case SYS_rt_sigtimedwait:
	case SYS_rt_sigsuspend:
	case SYS_semop:
	case SYS_semtimedop:
	case SYS_msgrcv:
		return true;
	}
	return false;
}

/*
 * A handler may have interrupted malloc, and Python's own is in the interpreter's text: somewhere
 * over its frame stands the address of the code that returns from a handler.
 */
static bool is_in_handler(const struct inject *inject, const struct remote *remote)
{
	static const unsigned char restorer[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};
	uint64_t sp = remote__place(remote)->sp & ~UINT64_C(7), words[HANDLER_STACK / 8];
	unsigned char code[sizeof(restorer)];
	size_t n = sizeof(words) / sizeof(*words);

	while (n && remote__read(remote, sp, words, n * sizeof(*words)))
		n /= 2; /* near the top of the stack */
	for (size_t i = 0; i < n; i++)
		if ((contains(&inject->libc, words[i]) || contains(&inject->dl, words[i])) &&
		    !remote__read(remote, words[i], code, sizeof(code)) &&
		    !memcmp(code, restorer, sizeof(code)))
			return true;
	return false;
}

bool inject_is_safe(const struct inject *inject, const struct remote *remote)
{
	const struct remote_place *place = remote__place(remote);

	if (place->syscall < 0)
		return contains(&inject->text, place->ip) && !is_in_handler(inject, remote);
	if (contains(&inject->text, place->ip) || contains(&inject->libc, place->ip))
		return waits_freely(place, false);
	return contains(&inject->dl, place->ip) && waits_freely(place, true);
}

/* ------------------------------------------------------------------ find it again */

struct search {
	const char *name;
	struct mapping *map;
};

/* "/memfd:pikos-agent (deleted)"; of a file, "/run/pikos-agent.1.so" */
static int visit_library(const struct mapping *map, void *arg)
{
	static const char prefix[] = "memfd:";
	struct search *search = arg;
	const char *slash = strrchr(map->path, '/'), *name = slash ? slash + 1 : map->path;

	if (starts_with(name, prefix))
		name += strlen(prefix);
	if (!map->ino || !starts_with(name, search->name))
		return 0;
	*search->map = *map;
	search->map->path = "";
	return 1;
}

int inject__find(pid_t pid, const char *name, struct mapping *map)
{
	struct search search = {name, map};

	return maps__each(pid, visit_library, &search);
}
