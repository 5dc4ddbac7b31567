// SPDX-License-Identifier: BSD-3-Clause
#include "cli/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "errors.h"
#include "log.h"
#include "process/maps.h"
#include "source/agent_check.h"
#include "source/usdt.h"

#define DEFAULT_PYTHON "python3"

/* ------------------------------------------------------------------ which file */

static int open_file(const char *path, struct interpreter **in, struct interpreter_reason *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), err; /* a FIFO must not hang us */
	char real[PATH_MAX];

	if (fd < 0)
		return -errno;
	err = interpreter__open_fd(fd, realpath(path, real) ? real : path, in, why);
	close(fd);
	return err;
}

static bool is_script(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char start[2] = "";
	bool yes;

	if (fd < 0)
		return false;
	yes = read(fd, start, 2) == 2 && start[0] == '#' && start[1] == '!';
	close(fd);
	return yes;
}

/* The first of PATH that is a program: what a version manager puts in front is a script. */
static bool find_default(char *path, size_t size)
{
	const char *dirs = getenv("PATH");
	char script[PATH_MAX] = "";

	while (dirs && *dirs) {
		size_t len = strcspn(dirs, ":");

		if (snprintf(path, size, "%.*s/" DEFAULT_PYTHON, (int)len, dirs) < (int)size &&
		    !access(path, X_OK)) {
			if (!is_script(path)) {
				if (*script)
					log_warn("'%s' is a script: this is '%s', the next in PATH",
						 script, path);
				return true;
			}
			if (!*script)
				snprintf(script, sizeof(script), "%s", path);
		}
		dirs += len + (dirs[len] == ':');
	}
	snprintf(path, size, "%s", *script ? script : DEFAULT_PYTHON);
	return false;
}

/* An executable says which libpython it wants; where it lies is guessed as it is installed. */
static struct interpreter *find_library(const struct interpreter *exe)
{
	static const char *const places[] = {"lib", "lib64", "lib/x86_64-linux-gnu",
					     "lib/aarch64-linux-gnu"};
	const struct interpreter_info *info = interpreter__info(exe);
	const char *needed = elf_notes__header(info->elf)->needed[0];
	const char *slash = strrchr(info->path, '/');
	struct interpreter *in = NULL;
	char path[PATH_MAX];

	if (strchr(needed, '/')) /* it may say anything */
		return NULL;
	for (size_t i = 0; slash && i < sizeof(places) / sizeof(*places); i++) {
		int len = (int)(slash - info->path);

		if (snprintf(path, sizeof(path), "%.*s/../%s/%s", len, info->path, places[i],
			     needed) >= (int)sizeof(path))
			continue;
		if (!open_file(path, &in, NULL) &&
		    interpreter__info(in)->kind == INTERPRETER_CPYTHON)
			return in;
		interpreter__free(in);
		in = NULL;
	}
	return NULL;
}

/* ------------------------------------------------------------------ build */

static void note_executable(struct doctor *doctor, const struct interpreter_info *exe)
{
	doctor->is_pie = elf_notes__header(exe->elf)->is_pie;
	if (exe->ino == interpreter__info(doctor->in)->ino &&
	    exe->dev == interpreter__info(doctor->in)->dev)
		return;
	snprintf(doctor->executable, sizeof(doctor->executable), "%s", exe->path);
}

static void find_executable_of(struct doctor *doctor, pid_t pid)
{
	struct interpreter *exe = NULL;
	char link[32], path[PATH_MAX];
	ssize_t len;
	int fd = process__open(pid, "exe", O_PATH);

	if (fd >= 0)
		fd = process__reopen(fd);
	if (fd < 0)
		return;
	snprintf(link, sizeof(link), "/proc/%d/exe", pid);
	len = readlink(link, path, sizeof(path) - 1);
	path[len > 0 ? len : 0] = '\0';
	if (!interpreter__open_fd(fd, path, &exe, NULL))
		note_executable(doctor, interpreter__info(exe));
	interpreter__free(exe);
	close(fd);
}

static bool is_debug(const struct interpreter_info *info)
{
	/* Of builds that count all references, which Py_DEBUG does, 3.9 to 3.15. */
	struct elf_symbol symbol = {.name = "_Py_NegativeRefcount"};

	return elf_notes__find_symbols(info->elf, &symbol, 1) == 1;
}

/* ------------------------------------------------------------------ probes */

static struct doctor_probe *add_probe(struct doctor *doctor, const char *name)
{
	const struct elf_notes *elf = interpreter__info(doctor->in)->elf;
	const struct usdt_probe *site = NULL;
	struct doctor_probe *probe;

	for (int i = 0; i < doctor->n_probes; i++)
		if (!strcmp(doctor->probes[i].name, name))
			return NULL;
	if (doctor->n_probes == DOCTOR_MAX_PROBES)
		return NULL;
	probe = &doctor->probes[doctor->n_probes++];
	probe->name = name;
	probe->raised = -1;
	probe->first = elf_notes__next(elf, name, NULL);
	while ((site = elf_notes__next(elf, name, site)))
		probe->n_sites++;
	return probe;
}

static void read_semaphores(struct doctor *doctor)
{
	const struct interpreter_info *info = interpreter__info(doctor->in);
	int fd = info->pid && info->has_bias ? process__open(info->pid, "mem", O_RDONLY) : -1;

	for (int i = 0; fd >= 0 && i < doctor->n_probes; i++) {
		const struct usdt_probe *first = doctor->probes[i].first;
		__u16 value;

		if (first && first->semaphore_addr &&
		    pread(fd, &value, sizeof(value), first->semaphore_addr + info->load_bias) ==
			    sizeof(value))
			doctor->probes[i].raised = value;
	}
	if (fd >= 0)
		close(fd);
}

static void find_probes(struct doctor *doctor)
{
	const struct elf_notes *elf = interpreter__info(doctor->in)->elf;
	struct interpreter_reason why;

	for (unsigned int bit = 1; bit <= CPYTHON_LINE; bit <<= 1) {
		struct doctor_probe *probe = add_probe(doctor, cpython__probe_name(bit));

		probe->is_ours = true;
		probe->fires = !interpreter__check(doctor->in, bit, &why);
		if (!probe->fires)
			snprintf(probe->why, sizeof(probe->why), "%s", why.text);
		else if (bit == CPYTHON_FUNCTION_ENTRY &&
			 interpreter__info(doctor->in)->version->entry_needs_line_semaphore)
			snprintf(probe->why, sizeof(probe->why),
				 "only while the semaphore of line is raised, which we do");
	}
	for (int i = 0; i < elf_notes__count(elf); i++)
		add_probe(doctor, elf_notes__probe(elf, i)->name);
	read_semaphores(doctor);
}

/* ------------------------------------------------------------------ sources */

static void find_agent(struct doctor *doctor)
{
	const struct interpreter_info *info = interpreter__info(doctor->in);

	if (info->pid) {
		doctor->can_load = !agent_check__process(doctor->in, &doctor->why_not_load);
		doctor->is_loaded = agent_check__is_loaded(info->pid);
	} else {
		doctor->can_load = !agent_check__interpreter(doctor->in, &doctor->why_not_load);
	}
}

static int find_monitors(struct doctor *doctor)
{
	int n = 0;

	while (options__monitors[n].name)
		n++;
	doctor->monitors = calloc(n, sizeof(*doctor->monitors));
	if (!doctor->monitors)
		return -ENOMEM;
	for (int i = 0; i < n; i++) {
		const char *name = options__monitors[i].name;
		enum monitor_kind kind = monitor__kind(name);
		bool lines = kind == MONITOR_LINES;
		bool kernel = kind == MONITOR_MEMORY;
		bool libc = kind == MONITOR_ALLOCATIONS;

		doctor->monitors[i] = (struct doctor_monitor){
			.name = name,
			.kind = kind,
			.kernel = kernel,
			.libc = libc,
			.usdt = !kernel && !libc &&
				!interpreter__check(doctor->in, usdt__needs(lines, false), NULL),
			.agent = !kernel && doctor->can_load,
		};
	}
	doctor->n_monitors = n;
	return 0;
}

const char *doctor__auto(const struct doctor_monitor *monitor, bool attach)
{
	if (monitor->kernel)
		return "kernel";
	if (monitor->usdt)
		return "usdt";
	if (monitor->agent && !attach)
		return "agent";
	return monitor->libc && attach ? "libc" : NULL;
}

static void add(struct doctor *doctor, const char *name, const char *words)
{
	doctor->adds[doctor->n_adds++] = (struct doctor_add){name, words};
}

static void find_adds(struct doctor *doctor)
{
	const struct interpreter_info *info = interpreter__info(doctor->in);
	bool functions = false, lines = false;

	/* Where it can never be loaded it would add nothing. */
	if (agent_check__interpreter(doctor->in, NULL))
		return;
	for (int i = 0; i < doctor->n_monitors; i++) {
		const struct doctor_monitor *monitor = &doctor->monitors[i];

		functions |= monitor->kind == MONITOR_FUNCTIONS && monitor->usdt;
		lines |= monitor->kind == MONITOR_LINES && monitor->usdt;
	}
	if (!functions)
		add(doctor, "functions", "calls and returns of functions");
	add(doctor, "c_calls", "calls of C functions");
	if (functions && info->version->drop_generator_creation_entry)
		add(doctor, "generators", "throw() and close() of generators, as sys.setprofile");
	if (lines)
		add(doctor, "exact_lines", "lines as sys.settrace sees them, in generators, too");
	else
		add(doctor, "lines", "lines");
	if (info->minor >= 11)
		add(doctor, "qualified", "qualified names (--qualified)");
	if (functions || lines)
		add(doctor, "cost", "no trap per event, so that each costs less");
	if (!functions || !lines)
		add(doctor, "old_probes",
		    "the probes that it lacks, for other tracers "
		    "(pikos-trace agent -p PID)");
}

/* ------------------------------------------------------------------ all */

static int examine(struct doctor *doctor)
{
	const struct interpreter_info *info = interpreter__info(doctor->in);
	int err;

	if (info->pid)
		find_executable_of(doctor, info->pid);
	else if (!info->in_library)
		doctor->is_pie = elf_notes__header(info->elf)->is_pie;
	doctor->is_debug = is_debug(info);
	find_probes(doctor);
	find_agent(doctor);
	err = find_monitors(doctor);
	if (!err)
		find_adds(doctor);
	return err;
}

static int open_default(struct doctor *doctor, char *name, size_t size,
			struct interpreter_reason *why)
{
	if (find_default(name, size))
		return open_file(name, &doctor->in, why);
	if (!is_script(name))
		return -ENOENT;
	snprintf(why->text, sizeof(why->text), "it is a script");
	snprintf(why->next_step, sizeof(why->next_step),
		 "name the interpreter that it starts, as sys.executable there has it");
	return -ENOEXEC;
}

static int open_asked(struct doctor *doctor, const struct options *options, char *name, size_t size,
		      struct interpreter_reason *why)
{
	struct interpreter *library;
	int err;

	if (options->n_pids) {
		snprintf(name, size, "PID %d", options->pids[0]);
		err = interpreter__of_pid(options->pids[0], &doctor->in, why);
	} else if (options->list_file) {
		snprintf(name, size, "%s", options->list_file);
		err = open_file(name, &doctor->in, why);
	} else {
		err = open_default(doctor, name, size, why);
	}
	if (!err && interpreter__info(doctor->in)->kind == INTERPRETER_LINKED && !options->n_pids) {
		library = find_library(doctor->in);
		if (library) {
			struct interpreter *exe = doctor->in;

			doctor->in = library;
			note_executable(doctor, interpreter__info(exe));
			interpreter__free(exe);
		}
	}
	if (!err && interpreter__info(doctor->in)->kind == INTERPRETER_NONE) {
		err = -ENOEXEC;
		snprintf(why->text, sizeof(why->text), "it is not a Python");
	}
	return err;
}

struct doctor *doctor__new(const struct options *options)
{
	struct doctor *doctor = calloc(1, sizeof(*doctor));
	struct interpreter_reason why = {0};
	char name[PATH_MAX] = "";
	int err;

	if (!doctor)
		return NULL;
	err = open_asked(doctor, options, name, sizeof(name), &why);
	if (!err)
		err = examine(doctor);
	if (!err)
		return doctor;
	log_cannot("list", name, *why.text ? why.text : error_words(err));
	if (*why.next_step)
		log_hint("%s", why.next_step);
	doctor__free(doctor);
	return NULL;
}

void doctor__free(struct doctor *doctor)
{
	if (!doctor)
		return;
	interpreter__free(doctor->in);
	free(doctor->monitors);
	free(doctor);
}
