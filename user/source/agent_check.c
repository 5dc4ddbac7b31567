// SPDX-License-Identifier: BSD-3-Clause
#include "source/agent_check.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "probes/agent/agent.h"
#include "process/maps.h"
#include "source/agent_file.h"

#if defined(__x86_64__)
#define CAN_INJECT true
#else
#define CAN_INJECT false /* registers and calls of other processors are not written yet */
#endif

#define PTRACE_SCOPE "/proc/sys/kernel/yama/ptrace_scope"

static int refuse(struct interpreter_reason *why, int err, const char *text, const char *next_step)
{
	if (!why)
		return err;
	memset(why, 0, sizeof(*why));
	why->problem = err == -EPERM   ? INTERPRETER_FORBIDDEN
		       : err == -ESRCH ? INTERPRETER_GONE
				       : INTERPRETER_NO_AGENT;
	snprintf(why->text, sizeof(why->text), "%s", text);
	snprintf(why->next_step, sizeof(why->next_step), "%s", next_step);
	return err;
}

/* ------------------------------------------------------------------ the file */

/* The agent finds Python's functions as dlsym does. */
static bool exports_python(const struct interpreter_info *info)
{
	struct elf_symbol symbols[] = {{.name = "PyEval_SetProfile"}, {.name = "Py_GetVersion"}};

	elf_notes__find_symbols(info->elf, symbols, 2);
	return symbols[0].exported && symbols[1].exported;
}

/* A libpython came through a dynamic loader; an executable names its own. */
static bool is_static(const struct interpreter_info *info)
{
	return !info->in_library && !*elf_notes__header(info->elf)->interp;
}

static int check_version(const struct interpreter *in, struct interpreter_reason *why)
{
	const struct interpreter_info *info = interpreter__info(in);
	char text[sizeof(why->text)], words[64];

	if (info->major == 3 && info->minor >= AGENT_FIRST_MINOR &&
	    info->minor <= AGENT_LAST_MINOR && info->version)
		return 0;
	snprintf(text, sizeof(text), "%s is not one that the agent knows (3.%d to 3.%d are)",
		 interpreter__describe(in, words, sizeof(words)), AGENT_FIRST_MINOR,
		 AGENT_LAST_MINOR);
	return refuse(why, -ENOTSUP, text, "run the program with one of those");
}

int agent_check__interpreter(const struct interpreter *in, struct interpreter_reason *why)
{
	const struct interpreter_info *info = interpreter__info(in);
	int err;

	switch (info->kind) {
	case INTERPRETER_NONE:
		return refuse(why, -ENOTSUP, "it is not a Python program", "");
	case INTERPRETER_PYPY:
		return refuse(why, -ENOTSUP, "it is PyPy, and the agent is for CPython",
			      "run the program with CPython 3.9 to 3.15");
	case INTERPRETER_LINKED:
		return refuse(why, -ENOTSUP, "its libpython is not loaded", "name that library");
	case INTERPRETER_CPYTHON:
		break;
	}
	err = check_version(in, why);
	if (err)
		return err;
	if (info->free_threaded)
		return refuse(why, -ENOTSUP,
			      "it is a free-threaded build, and the agent counts on "
			      "the GIL",
			      "run the program with a build that has the GIL");
	if (is_static(info))
		return refuse(why, -ENOTSUP, "it is linked statically, so it loads no library",
			      "run the program with an interpreter that is linked dynamically");
	if (!exports_python(info))
		return refuse(why, -ENOTSUP, "it does not export Python's C interface",
			      "run the program with an interpreter that loads extension modules");
	if (!CAN_INJECT)
		return refuse(why, -ENOTSUP, "the agent is for x86-64 only", "");
	return 0;
}

/* ------------------------------------------------------------------ the process */

/* What /proc/PID/status says; -1: nothing. */
struct state {
	long tracer, seccomp;
	char letter;
};

static int read_state(pid_t pid, struct state *state)
{
	int fd = process__open(pid, "status", O_RDONLY);
	char line[256];
	FILE *file;

	*state = (struct state){-1, -1, '?'};
	if (fd < 0)
		return fd;
	file = fdopen(fd, "r");
	if (!file) {
		close(fd);
		return -ENOMEM;
	}
	while (fgets(line, sizeof(line), file)) {
		if (!strncmp(line, "State:\t", 7))
			state->letter = line[7];
		else if (!strncmp(line, "TracerPid:\t", 11))
			state->tracer = strtol(line + 11, NULL, 10);
		else if (!strncmp(line, "Seccomp:\t", 9))
			state->seccomp = strtol(line + 9, NULL, 10);
	}
	fclose(file);
	return 0;
}

/* The name of a process in printable ASCII; "" if it has ended. */
static void read_name(pid_t pid, char name[17])
{
	int fd = process__open(pid, "comm", O_RDONLY);
	ssize_t got = fd < 0 ? 0 : read(fd, name, 16);

	if (fd >= 0)
		close(fd);
	name[got < 0 ? 0 : got] = '\0';
	name[strcspn(name, "\n")] = '\0';
	for (char *at = name; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
}

static int check_state(pid_t pid, struct interpreter_reason *why)
{
	struct state state;
	char text[96], name[17];
	int err = read_state(pid, &state);

	if (err || state.letter == 'Z' || state.letter == 'X')
		return refuse(why, -ESRCH, "it has ended", "");
	if (state.tracer > 0) {
		read_name((pid_t)state.tracer, name);
		snprintf(text, sizeof(text), "another tracer is attached to it (%s, PID %ld)",
			 *name ? name : "unknown", state.tracer);
		return refuse(why, -EBUSY, text, "end that one first");
	}
	if (state.seccomp > 0)
		return refuse(why, -ENOTSUP,
			      "it runs under a seccomp filter, which may kill it for a system call "
			      "that loading needs",
			      "start it without one (docker run --security-opt "
			      "seccomp=unconfined)");
	return 0;
}

static int ptrace_scope(void)
{
	int fd = open(PTRACE_SCOPE, O_RDONLY | O_CLOEXEC), scope = 0;
	char digit = '0';

	if (fd >= 0) {
		if (read(fd, &digit, 1) == 1)
			scope = digit - '0';
		close(fd);
	}
	return scope;
}

/* The kernel asks for its memory what it asks for ptrace. */
static int check_rights(pid_t pid, struct interpreter_reason *why)
{
	int fd = process__open(pid, "mem", O_RDONLY), scope;

	if (fd >= 0) {
		close(fd);
		return 0;
	}
	if (fd == -ESRCH)
		return refuse(why, -ESRCH, "it has ended", "");
	scope = ptrace_scope();
	if (scope >= 3)
		return refuse(why, -EPERM,
			      "tracing is switched off on this machine (kernel.yama.ptrace_scope "
			      "is 3)",
			      "that can be changed by a restart only; run the program with "
			      "pikos-trace -- PROGRAM and its built-in probes");
	if (scope > 0)
		return refuse(why, -EPERM,
			      "tracing it is not permitted (kernel.yama.ptrace_scope is set)",
			      "run as root, or with CAP_SYS_PTRACE");
	return refuse(why, -EPERM, "tracing it is not permitted",
		      "run as root, or with CAP_SYS_PTRACE over its user namespace");
}

/* The library is made in the target and opened there by its name in /proc. */
static int check_proc(pid_t pid, struct interpreter_reason *why)
{
	int fd = process__open(pid, "root/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW);
	struct statfs fs = {0};
	bool is_proc = fd >= 0 && !fstatfs(fd, &fs) && fs.f_type == PROC_SUPER_MAGIC;

	if (fd >= 0)
		close(fd);
	if (is_proc)
		return 0;
	return refuse(why, -ENOTSUP,
		      "there is no /proc where it runs, through which it would "
		      "open the agent",
		      "mount one in its root");
}

int agent_check__process(const struct interpreter *in, struct interpreter_reason *why)
{
	pid_t pid = interpreter__info(in)->pid;
	int err = agent_check__interpreter(in, why);

	if (!err)
		err = check_state(pid, why);
	if (!err)
		err = check_rights(pid, why);
	return err ? err : check_proc(pid, why);
}

static int visit(const struct mapping *map, void *arg)
{
	const char *slash = strrchr(map->path, '/'), *name = slash ? slash + 1 : map->path;

	(void)arg;
	return !strncmp(name, AGENT_NAME, strlen(AGENT_NAME)) ||
	       !strncmp(name, AGENT_FILE, strlen(AGENT_FILE)) ||
	       !strncmp(map->path, "/memfd:" AGENT_NAME, strlen("/memfd:" AGENT_NAME));
}

bool agent_check__is_loaded(pid_t pid)
{
	return maps__each(pid, visit, NULL) == 1;
}
