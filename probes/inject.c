// SPDX-License-Identifier: BSD-3-Clause
#include "probes/inject.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "errors.h"
#include "probes/remote.h"
#include "source/agent_check.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010u
#endif

#define STACK_SIZE	 (256 << 10)
#define PASS_SIZE	 (128 << 10) /* of the stack, at its lower end: what a call is given */
#define SAFE_WITHIN_MS	 3000	     /* a program that is in foreign code for longer is refused */
#define FIRST_PAUSE_MS	 1
#define LONGEST_PAUSE_MS 20
#define MAX_DENIED	 4
#define MAIN_ONLY	 4    /* rounds: the agent can ask more of Python in the main thread */
#define MAX_THREADS	 64   /* that are looked at, of those after the main one */
#define HANDLER_STACK	 2048 /* bytes over a signal handler's stack pointer that are searched */
#define LIBC_DLOPEN	 0x80000000u /* mode of __libc_dlopen_mode: __RTLD_DLOPEN */

struct range {
	uint64_t start, end;
};

#define MAX_RANGES 8

struct ranges {
	struct range list[MAX_RANGES];
	int n;
};

enum {
	SYM_DLOPEN,
	SYM_LIBC_DLOPEN, /* glibc up to 2.33, where dlopen is in a library of its own */
	SYM_DLERROR,
	SYM_SYSCALL,
	SYM_ERRNO,
	SYM_COUNT,
};

static const char *const symbol_names[SYM_COUNT] = {"dlopen", "__libc_dlopen_mode", "dlerror",
						    "syscall", "__errno_location"};

struct inject {
	const struct interpreter_info *info;
	struct ranges text;	     /* the interpreter's */
	struct ranges libc;	     /* of the libraries whose system calls may be waiting */
	struct ranges dl;	     /* musl: where the dynamic linker and libc are one */
	uint64_t symbols[SYM_COUNT]; /* addresses in the target */
	uint64_t restorer;	     /* the same, of code in its C library */
	uint64_t stopped_ns;
};

/* ------------------------------------------------------------------ before stopping it */

static int refuse(struct interpreter_reason *why, int err, const char *text, const char *next)
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

static int refuse_ended(struct interpreter_reason *why)
{
	refuse(why, -ESRCH, "it has ended, or runs another program, while the agent was loaded",
	       "");
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
		return refuse_ended(why);
	ignored = status_mask(text, "\nSigIgn:");
	if (!(ignored >> (SIGSEGV - 1) & 1))
		return 0;
	return refuse(why, -ENOTSUP, "it ignores SIGSEGV, which loading the agent would change",
		      "");
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
		return refuse_ended(why);
	add_text(&inject->text, inject->info->elf, inject->info->load_bias);
	if (!inject->libc.n && !inject->dl.n)
		return refuse(why, -ENOTSUP, "its C library is not to be found", "");
	if (!inject->symbols[SYM_SYSCALL] || !inject->symbols[SYM_ERRNO] ||
	    (!inject->symbols[SYM_DLOPEN] && !inject->symbols[SYM_LIBC_DLOPEN]))
		return refuse(why, -ENOTSUP, "its C library offers no dlopen", "");
	inject->restorer = find_restorer(inject->info->pid, &inject->libc);
	if (!inject->restorer)
		inject->restorer = find_restorer(inject->info->pid, &inject->dl);
	if (!inject->restorer)
		return refuse(why, -ENOTSUP,
			      "its C library's way back from a signal is not to be found", "");
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
		err = refuse(why, -ENOTSUP, "where its code is mapped is not to be found", "");
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

static bool is_safe(const struct inject *inject, const struct remote *remote)
{
	const struct remote_place *place = remote__place(remote);

	if (place->syscall < 0)
		return contains(&inject->text, place->ip) && !is_in_handler(inject, remote);
	if (contains(&inject->text, place->ip) || contains(&inject->libc, place->ip))
		return waits_freely(place, false);
	return contains(&inject->dl, place->ip) && waits_freely(place, true);
}

/* ------------------------------------------------------------------ a round: one thread of ours */

struct round;
typedef int (*work_fn)(struct round *round, struct remote *remote);

struct round {
	struct inject *inject;
	work_fn work;
	bool at_start;
	int n; /* how many were before it */
	int err;
	struct interpreter_reason *why;
	/* inject__load */
	const char *name;
	const void *image;
	size_t size;
	/* inject__call */
	const struct inject_call *call;
	int result;
};

/* Threads that wait in the kernel for something that is no safe point are not even stopped. */
static bool looks_busy_elsewhere(pid_t pid, pid_t tid)
{
	char name[64], text[256], state = 0;
	const char *behind;
	ssize_t got;
	int fd;

	snprintf(name, sizeof(name), "task/%d/stat", tid);
	fd = process__open(pid, name, O_RDONLY);
	got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	if (got <= 0)
		return true;
	text[got] = '\0';
	behind = strrchr(text, ')');
	if (behind && behind[1])
		state = behind[2];
	return state == 'D' || state == 'Z' || state == 'X' || state == 'x';
}

/* @return 0 done; -EAGAIN: no safe point; -errno */
static int try_thread(struct round *round, pid_t tid)
{
	struct inject *inject = round->inject;
	const struct remote_code code = {inject->restorer, inject->symbols[SYM_SYSCALL]};
	struct remote *remote;
	uint64_t ns;
	int err = -EAGAIN;

	if (looks_busy_elsewhere(inject->info->pid, tid))
		return -EAGAIN;
	remote = remote__stop(inject->info->pid, tid, &code);
	if (!remote)
		/* A thread that has just ended; one deep in the kernel. */
		return errno == ESRCH ? -EAGAIN : errno == ETIMEDOUT ? -EINPROGRESS : -errno;
	if (is_safe(inject, remote))
		err = round->work(round, remote);
	ns = remote__release(remote);
	if (ns > inject->stopped_ns)
		inject->stopped_ns = ns;
	return err;
}

static int try_threads(struct round *round)
{
	pid_t pid = round->inject->info->pid;
	int err = try_thread(round, pid), fd, n = 0;
	struct dirent *entry;
	DIR *dir;

	if (err != -EAGAIN || round->at_start || round->n < MAIN_ONLY)
		return err;
	fd = process__open(pid, "task", O_RDONLY | O_DIRECTORY);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return fd == -ESRCH ? -ESRCH : -EAGAIN;
	}
	while (err == -EAGAIN && n < MAX_THREADS && (entry = readdir(dir))) {
		pid_t tid = atoi(entry->d_name);

		if (tid <= 0 || tid == pid)
			continue;
		n++;
		err = try_thread(round, tid);
	}
	closedir(dir);
	return err;
}

static void *round_thread(void *arg)
{
	struct round *round = arg;

	remote__hurry();
	round->err = try_threads(round);
	return NULL;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * UINT64_C(1000) + now.tv_nsec / 1000000;
}

static int explain(struct round *round, int err)
{
	struct interpreter_reason *why = round->why;

	switch (err) {
	case 0:
		return 0;
	case -ESRCH:
		return refuse_ended(why);
	case -EAGAIN:
		return refuse(why, err,
			      "it did not come to a point where the agent can be loaded: it is in "
			      "code that is not Python's all the time",
			      "try again");
	case -EPERM:
		refuse(why, err, "loading the agent into it by ptrace is not permitted",
		       "run as root, or with CAP_SYS_PTRACE over its user namespace");
		why->problem = INTERPRETER_FORBIDDEN;
		return err;
	case -ETIMEDOUT:
		return refuse(why, err,
			      "its dynamic linker is locked: a library is being loaded there",
			      "try again");
	}
	if (!*why->text)
		refuse(why, err, "", "");
	if (!*why->text)
		snprintf(why->text, sizeof(why->text), "loading the agent: %s", error_words(err));
	return err;
}

/*
 * Rounds have a thread each: whatever it still traces when it ends, the kernel lets go of. Between
 * two rounds it is the end of the process that is waited for.
 */
static int run_rounds(struct round *round)
{
	uint64_t deadline = now_ms() + SAFE_WITHIN_MS;
	struct pollfd end = {.events = POLLIN};
	int pause = FIRST_PAUSE_MS, denied = 0, err;
	pthread_t thread;

	memset(round->why, 0, sizeof(*round->why));
	end.fd = syscall(SYS_pidfd_open, round->inject->info->pid, 0);
	if (end.fd < 0)
		return refuse_ended(round->why);
	for (;;) {
		err = -pthread_create(&thread, NULL, round_thread, round);
		if (err)
			break;
		pthread_join(thread, NULL);
		err = round->err;
		/* A thread that is just ending is denied, too. */
		if (err == -EINPROGRESS || (err == -EPERM && denied++ < MAX_DENIED))
			err = -EAGAIN;
		if (err != -EAGAIN || now_ms() >= deadline)
			break;
		if (poll(&end, 1, pause) > 0) {
			err = -ESRCH;
			break;
		}
		pause = pause * 2 > LONGEST_PAUSE_MS ? LONGEST_PAUSE_MS : pause * 2;
		round->n++;
	}
	close(end.fd);
	return explain(round, err);
}

/* ------------------------------------------------------------------ what is done at a safe point
 */

/* What stays of a borrowed thread between its calls. */
struct loan {
	struct remote *remote;
	const struct inject *inject;
	uint64_t errno_address, stack; /* stack: its lower end, 0: the thread's own */
	uint64_t top;
	int saved_errno;
};

static int call_syscall(const struct loan *loan, const uint64_t *args, int n, int64_t *result)
{
	uint64_t value;
	int err = remote__call(loan->remote, loan->inject->symbols[SYM_SYSCALL], args, n, loan->top,
			       &value);

	*result = value;
	return err;
}

/* @return 0, or -errno of the call, or of the target's */
static int checked_syscall(const struct loan *loan, const uint64_t *args, int n, int64_t *result)
{
	int err = call_syscall(loan, args, n, result), number = 0;

	if (err || *result != -1)
		return err;
	err = remote__read(loan->remote, loan->errno_address, &number, sizeof(number));
	if (err)
		return err;
	return number > 0 && number < 4096 ? -number : -EIO;
}

static int map_stack(struct loan *loan)
{
	/* mmap's sixth argument, an offset of 0, is what stands on the stack. */
	const uint64_t map[] = {SYS_mmap,
				0,
				STACK_SIZE,
				PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK,
				UINT64_MAX};
	int64_t address;
	int err = checked_syscall(loan, map, 6, &address);

	if (err)
		return err;
	loan->stack = address;
	return 0;
}

static int borrow(struct loan *loan, const struct inject *inject, struct remote *remote)
{
	int err;

	*loan = (struct loan){.remote = remote, .inject = inject};
	err = remote__call(remote, inject->symbols[SYM_ERRNO], NULL, 0, 0, &loan->errno_address);
	if (!err)
		err = remote__read(remote, loan->errno_address, &loan->saved_errno,
				   sizeof(loan->saved_errno));
	return err ? err : map_stack(loan);
}

/* @param err of what was done @return err, or that of giving back */
static int give_back(struct loan *loan, int err)
{
	const uint64_t unmap[] = {SYS_munmap, loan->stack, STACK_SIZE};
	int64_t ignored;
	int later = 0;

	/* After a crash nothing more is called there. */
	if (err == -ESRCH || err == -EFAULT)
		return err;
	loan->top = 0;
	if (loan->stack)
		later = call_syscall(loan, unmap, 3, &ignored);
	if (!later && loan->errno_address)
		later = remote__write(loan->remote, loan->errno_address, &loan->saved_errno,
				      sizeof(loan->saved_errno));
	return err ? err : later;
}

static int write_all(int fd, const char *bytes, size_t size)
{
	while (size) {
		ssize_t got = write(fd, bytes, size);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got ? -errno : -EIO;
		bytes += got;
		size -= got;
	}
	return 0;
}

/* Through /proc, and only if it is what it should be: the target may have put another there. */
static int fill_memfd(pid_t pid, int64_t number, const void *image, size_t size)
{
	char name[64];
	struct statfs fs;
	struct stat st;
	int path, fd, err;

	snprintf(name, sizeof(name), "fd/%lld", (long long)number);
	path = process__open(pid, name, O_PATH);
	if (path < 0)
		return path;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", path);
	if (fstatfs(path, &fs) || fstat(path, &st) || fs.f_type != TMPFS_MAGIC ||
	    !S_ISREG(st.st_mode) || st.st_nlink || st.st_size) {
		close(path);
		return -EBADF;
	}
	/* O_NONBLOCK: nor may a lease of its own on the file keep us waiting. */
	fd = open(name, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	err = fd < 0 ? -errno : write_all(fd, image, size);
	if (fd >= 0)
		close(fd);
	close(path);
	return err;
}

static int make_memfd(const struct loan *loan, const char *name, int64_t *fd)
{
	uint64_t args[] = {SYS_memfd_create, loan->stack, MFD_CLOEXEC | MFD_EXEC};
	int err = remote__write(loan->remote, loan->stack, name, strlen(name) + 1);

	if (err)
		return err;
	err = checked_syscall(loan, args, 3, fd);
	if (err != -EINVAL)
		return err;
	args[2] = MFD_CLOEXEC; /* before Linux 6.3 */
	return checked_syscall(loan, args, 3, fd);
}

/* Its words for why dlopen failed. */
static int take_dlerror(struct round *round, const struct loan *loan)
{
	struct interpreter_reason *why = round->why;
	uint64_t address = 0;
	char words[160] = "";
	int err = 0;

	if (round->inject->symbols[SYM_DLERROR])
		err = remote__call(loan->remote, round->inject->symbols[SYM_DLERROR], NULL, 0,
				   loan->top, &address);
	if (err)
		return err;
	for (size_t i = 0; address && i + 1 < sizeof(words); i++) {
		if (remote__read(loan->remote, address + i, &words[i], 1) || !words[i])
			break;
		if (words[i] < 0x20 || words[i] > 0x7e)
			words[i] = '?';
	}
	refuse(why, -ELIBACC, "", "");
	snprintf(why->text, sizeof(why->text), "its dynamic linker refuses the agent: %s",
		 *words ? words : "it does not say why");
	return -ELIBACC;
}

/*
 * A memfd's is RTLD_GLOBAL: pikos.py and pikos_regions.h look its one symbol up, and its path is
 * gone by then. A file's is a copy for other tracers, which is not to be told of regions.
 */
static int open_library(struct round *round, struct loan *loan, const char *path)
{
	const uint64_t *symbols = round->inject->symbols;
	uint64_t args[] = {loan->stack, RTLD_NOW | (round->image ? RTLD_GLOBAL : RTLD_LOCAL)};
	uint64_t function = symbols[SYM_DLOPEN];
	uint64_t handle;
	int err;

	if (!function) {
		function = symbols[SYM_LIBC_DLOPEN];
		args[1] |= LIBC_DLOPEN;
	}
	err = remote__write(loan->remote, loan->stack, path, strlen(path) + 1);
	if (!err)
		err = remote__call(loan->remote, function, args, 2, loan->top, &handle);
	if (err || handle)
		return err;
	return take_dlerror(round, loan);
}

/*
 * What dlopen has loaded it knows by the name that it was given, and a descriptor's number is used
 * again: so the name differs from one time to the next.
 */
static void name_memfd(char *path, size_t size, int64_t fd)
{
	unsigned char n = 0;
	size_t at;

	if (getrandom(&n, sizeof(n), 0) < 0)
		n = now_ms();
	at = snprintf(path, size, "/proc/self/");
	for (unsigned char i = 0; i < n; i++)
		at += snprintf(path + at, size - at, "./");
	snprintf(path + at, size - at, "fd/%lld", (long long)fd);
}

static int load_memfd(struct round *round, struct loan *loan)
{
	uint64_t close_args[] = {SYS_close, 0};
	int64_t fd = -1, ignored;
	char path[600];
	int err = make_memfd(loan, round->name, &fd), later;

	if (err == -EACCES || err == -EPERM) /* vm.memfd_noexec=2 */
		return refuse(round->why, -EACCES, "it may not make a memfd that can be executed",
			      "vm.memfd_noexec forbids it: see sysctl");
	if (err)
		return err;
	name_memfd(path, sizeof(path), fd);
	err = fill_memfd(round->inject->info->pid, fd, round->image, round->size);
	if (!err)
		err = open_library(round, loan, path);
	if (err == -ESRCH || err == -EFAULT)
		return err;
	close_args[1] = fd;
	later = call_syscall(loan, close_args, 2, &ignored);
	return err ? err : later;
}

static int load_there(struct round *round, struct remote *remote)
{
	struct loan loan;
	int err = borrow(&loan, round->inject, remote);

	if (err)
		return give_back(&loan, err);
	loan.top = loan.stack + STACK_SIZE;
	err = round->image ? load_memfd(round, &loan) : open_library(round, &loan, round->name);
	return give_back(&loan, err);
}

/* ------------------------------------------------------------------ a descriptor for the target */

/* What its recvmsg is given and writes, at the lower end of its stack. */
struct mailbox {
	int pair[2];
	struct msghdr message;
	struct iovec vector;
	char byte;
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
};

#define IN_TARGET(loan, field) ((loan)->stack + offsetof(struct mailbox, field))

/* Into one end of a pair of its sockets, or what it has put there: then it gets nothing. */
static int send_there(pid_t pid, int number, int given)
{
	char byte = 0;
	struct iovec vector = {.iov_base = &byte, .iov_len = 1};
	struct mailbox box = {.control.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
						 .cmsg_level = SOL_SOCKET,
						 .cmsg_type = SCM_RIGHTS}};
	struct msghdr message = {.msg_iov = &vector,
				 .msg_iovlen = 1,
				 .msg_control = &box.control,
				 .msg_controllen = sizeof(box.control)};
	int pidfd = syscall(SYS_pidfd_open, pid, 0), end, err = 0;

	memcpy(CMSG_DATA(&box.control.header), &given, sizeof(given));
	if (pidfd < 0)
		return -errno;
	end = syscall(SYS_pidfd_getfd, pidfd, number, 0);
	if (end < 0 || sendmsg(end, &message, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
		err = -errno;
	if (end >= 0)
		close(end);
	close(pidfd);
	return err;
}

/* @return 0 with its number there; -EACCES: the kernel has not let it have it */
static int receive_there(const struct loan *loan, int number, int *taken)
{
	const uint64_t receive[] = {SYS_recvmsg, number, IN_TARGET(loan, message),
				    MSG_DONTWAIT | MSG_CMSG_CLOEXEC};
	struct mailbox box = {
		.message = {.msg_iov = (void *)IN_TARGET(loan, vector),
			    .msg_iovlen = 1,
			    .msg_control = (void *)IN_TARGET(loan, control),
			    .msg_controllen = sizeof(box.control)},
		.vector = {.iov_base = (void *)IN_TARGET(loan, byte), .iov_len = 1},
	};
	int64_t got;
	int err = remote__write(loan->remote, loan->stack, &box, sizeof(box));

	if (!err)
		err = checked_syscall(loan, receive, 4, &got);
	if (!err)
		err = remote__read(loan->remote, loan->stack, &box, sizeof(box));
	if (err)
		return err;
	if (box.message.msg_controllen < sizeof(struct cmsghdr) ||
	    box.control.header.cmsg_len != CMSG_LEN(sizeof(int)))
		return -EACCES;
	memcpy(taken, CMSG_DATA(&box.control.header), sizeof(*taken));
	return 0;
}

static int close_there(const struct loan *loan, int number)
{
	const uint64_t args[] = {SYS_close, number};
	int64_t ignored;

	return call_syscall(loan, args, 2, &ignored);
}

static bool is_lost(int err)
{
	return err == -ESRCH || err == -EFAULT;
}

/* By a message, since nothing of ours can be opened through /proc by whoever it is. */
static int give(const struct loan *loan, int given, int *taken)
{
	const uint64_t make[] = {SYS_socketpair, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0,
				 IN_TARGET(loan, pair)};
	int pair[2], err, later = 0;
	int64_t ignored;

	err = checked_syscall(loan, make, 5, &ignored);
	if (!err)
		err = remote__read(loan->remote, IN_TARGET(loan, pair), pair, sizeof(pair));
	if (err)
		return err;
	err = send_there(loan->inject->info->pid, pair[0], given);
	if (!err)
		err = receive_there(loan, pair[1], taken);
	for (int i = 0; i < 2 && !is_lost(err) && !later; i++)
		later = close_there(loan, pair[i]);
	return err ? err : later;
}

static int give_for_call(struct round *round, const struct loan *loan, int *taken)
{
	const struct inject_call *call = round->call;
	struct interpreter_reason *why = round->why;
	int err = give(loan, call->given, taken);

	if (err && !is_lost(err) && err != -ETIMEDOUT) {
		refuse(why, err, "", "");
		snprintf(why->text, sizeof(why->text), "it cannot be given a descriptor: %s",
			 err == -EACCES ? "it has too many, or a security module forbids it"
					: error_words(err));
		err = -ENOTSUP; /* whatever it was, it says nothing of ptrace */
	}
	/* The mailbox is where the data goes now. */
	if (!err)
		err = remote__write(loan->remote, loan->stack, call->data, call->size);
	if (!err)
		err = remote__write(loan->remote, loan->stack + call->given_at, taken,
				    sizeof(*taken));
	return err;
}

static int call_there(struct round *round, struct remote *remote)
{
	const struct inject_call *call = round->call;
	uint64_t args[2] = {call->request, 0}, value = 0;
	int err, taken = -1, later = 0;
	struct loan loan;

	err = borrow(&loan, round->inject, remote);

	if (err)
		return give_back(&loan, err);
	if (!call->at_start)
		loan.top = loan.stack + STACK_SIZE;
	args[1] = loan.stack;
	err = call->gives ? give_for_call(round, &loan, &taken)
			  : remote__write(remote, loan.stack, call->data, call->size);
	if (!err)
		err = remote__call(remote, call->function, args, 2, loan.top, &value);
	round->result = (int)value;
	if (taken >= 0 && !is_lost(err))
		later = close_there(&loan, taken);
	return give_back(&loan, err ? err : later);
}

/* Loaded but not mapped: it was taken for what had the same name, see name_memfd. */
#define LOAD_TRIES 3

int inject__load(struct inject *inject, const char *name, const void *image, size_t size,
		 struct interpreter_reason *why)
{
	struct round round = {
		.inject = inject,
		.work = load_there,
		.why = why,
		.name = name,
		.image = image,
		.size = size,
	};
	struct mapping map;
	int err, found = 0;

	for (int i = 0; i < LOAD_TRIES && !found; i++) {
		err = run_rounds(&round);
		if (err)
			return err;
		found = inject__find(inject->info->pid, name, &map);
	}
	return found > 0 ? 0 : explain(&round, found < 0 ? found : -ELIBACC);
}

int inject__load_file(struct inject *inject, const char *path, struct interpreter_reason *why)
{
	struct round round = {.inject = inject, .work = load_there, .why = why, .name = path};

	return strlen(path) < PASS_SIZE ? run_rounds(&round) : -ENAMETOOLONG;
}

int inject__call(struct inject *inject, const struct inject_call *call, int *result,
		 struct interpreter_reason *why)
{
	struct round round = {
		.inject = inject,
		.work = call_there,
		.why = why,
		.call = call,
		.at_start = call->at_start,
	};
	int err = call->size > PASS_SIZE ? -E2BIG : run_rounds(&round);

	*result = round.result;
	return err;
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
