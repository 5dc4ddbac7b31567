// SPDX-License-Identifier: BSD-3-Clause
#include "source/interpreter_internal.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process/maps.h"

#define MAX_ENVIRON (4 << 20)
#define MAX_TRIES   16 /* mapped files with a Python's name that are opened */

void interpreter_set_reason(struct interpreter_reason *why, enum interpreter_problem problem)
{
	if (!why)
		return;
	memset(why, 0, sizeof(*why));
	why->problem = problem;
}

static void set_open_reason(struct interpreter_reason *why, int err)
{
	switch (err) {
	case -ESRCH:
		interpreter_set_reason(why, INTERPRETER_GONE);
		SET_TEXT(why, "no such process");
		break;
	case -EACCES:
	case -EPERM:
		interpreter_set_reason(why, INTERPRETER_FORBIDDEN);
		SET_TEXT(why, "reading it is not permitted");
		SET_NEXT(why, "run as root, or with CAP_SYS_PTRACE over its user namespace");
		break;
	case -ENOEXEC:
		interpreter_set_reason(why, INTERPRETER_NOT_ELF);
		SET_TEXT(why, "it is not a 64-bit ELF program");
		break;
	case -ENOENT:
		interpreter_set_reason(why, INTERPRETER_UNREADABLE);
		SET_TEXT(why, "its libpython was deleted or replaced on disk");
		SET_NEXT(why, "restart it, or run as root");
		break;
	case -EBADMSG:
	case -E2BIG:
		interpreter_set_reason(why, INTERPRETER_UNREADABLE);
		SET_TEXT(why, "its ELF headers are damaged");
		break;
	default:
		interpreter_set_reason(why, INTERPRETER_UNREADABLE);
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
	interpreter_identify(in);
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
	interpreter_set_reason(why, INTERPRETER_FINE);
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

static int visit_library(const struct mapping *map, void *arg)
{
	struct search *search = arg;
	struct interpreter *in;
	int fd, err;

	if (map->ino == 0 || map->ino == search->last_ino ||
	    !interpreter_is_python_name(base_name(map->path)))
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
	interpreter_set_reason(why, INTERPRETER_FINE);
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
