// SPDX-License-Identifier: BSD-3-Clause
#include "probes/inject_internal.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
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

#define SAFE_WITHIN_MS	 3000 /* a program that is in foreign code for longer is refused */
#define FIRST_PAUSE_MS	 1
#define LONGEST_PAUSE_MS 20
#define MAX_DENIED	 4
#define MAIN_ONLY	 4  /* rounds: the agent can ask more of Python in the main thread */
#define MAX_THREADS	 64 /* that are looked at, of those after the main one */
#define LIBC_DLOPEN	 0x80000000u /* mode of __libc_dlopen_mode: __RTLD_DLOPEN */

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
	if (inject_is_safe(inject, remote))
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
		return inject_refuse_ended(why);
	case -EAGAIN:
		return inject_refuse(
			why, err,
			"it did not come to a point where the agent can be loaded: it is in "
			"code that is not Python's all the time",
			"try again");
	case -EPERM:
		inject_refuse(why, err, "loading the agent into it by ptrace is not permitted",
			      "run as root, or with CAP_SYS_PTRACE over its user namespace");
		why->problem = INTERPRETER_FORBIDDEN;
		return err;
	case -ETIMEDOUT:
		return inject_refuse(
			why, err, "its dynamic linker is locked: a library is being loaded there",
			"try again");
	}
	if (!*why->text)
		inject_refuse(why, err, "", "");
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
		return inject_refuse_ended(round->why);
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
	err = loan_checked_syscall(loan, args, 3, fd);
	if (err != -EINVAL)
		return err;
	args[2] = MFD_CLOEXEC; /* before Linux 6.3 */
	return loan_checked_syscall(loan, args, 3, fd);
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
	inject_refuse(why, -ELIBACC, "", "");
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
		return inject_refuse(round->why, -EACCES,
				     "it may not make a memfd that can be executed",
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
	later = loan_syscall(loan, close_args, 2, &ignored);
	return err ? err : later;
}

static int load_there(struct round *round, struct remote *remote)
{
	struct loan loan;
	int err = loan_borrow(&loan, round->inject, remote);

	if (err)
		return loan_give_back(&loan, err);
	loan.top = loan.stack + STACK_SIZE;
	err = round->image ? load_memfd(round, &loan) : open_library(round, &loan, round->name);
	return loan_give_back(&loan, err);
}

static int give_for_call(struct round *round, const struct loan *loan, int *taken)
{
	const struct inject_call *call = round->call;
	struct interpreter_reason *why = round->why;
	int err = loan_give(loan, call->given, taken);

	if (err && !loan_is_lost(err) && err != -ETIMEDOUT) {
		inject_refuse(why, err, "", "");
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

	err = loan_borrow(&loan, round->inject, remote);

	if (err)
		return loan_give_back(&loan, err);
	if (!call->at_start)
		loan.top = loan.stack + STACK_SIZE;
	args[1] = loan.stack;
	err = call->gives ? give_for_call(round, &loan, &taken)
			  : remote__write(remote, loan.stack, call->data, call->size);
	if (!err)
		err = remote__call(remote, call->function, args, 2, loan.top, &value);
	round->result = (int)value;
	if (taken >= 0 && !loan_is_lost(err))
		later = loan_close(&loan, taken);
	return loan_give_back(&loan, err ? err : later);
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
