// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "errors.h"
#include "log.h"
#include "process/identity.h"
#include "process/maps.h"
#include "session/internal.h"
#include "source/agent_check.h"
#include "source/interpreter.h"
#include "source/usdt.h"

#define SYSTEM_PYTHON "/usr/bin/python3"

static const char *name_of(const struct target *target, char *buf, size_t size)
{
	snprintf(buf, size, "PID %d", target->pid);
	return buf;
}

static void log_refusal(const struct target *target, const struct interpreter_reason *why, int err)
{
	char name[32];

	log_cannot("trace", name_of(target, name, sizeof(name)),
		   *why->text ? why->text : error_words(err));
	if (*why->next_step)
		log_hint("%s", why->next_step);
}

/* ------------------------------------------------------------------ focus */

/* The file that `python3` of a program's command line would run, as far as that can be told. */
static int open_program(const char *name, char *path, size_t size)
{
	const char *dirs = getenv("PATH");

	if (strchr(name, '/') || !dirs) {
		snprintf(path, size, "%s", name);
		return open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	}
	while (*dirs) {
		size_t len = strcspn(dirs, ":");
		int fd;

		if (snprintf(path, size, "%.*s/%s", (int)len, dirs, name) < (int)size) {
			fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
			if (fd >= 0)
				return fd;
		}
		dirs += len + (dirs[len] == ':');
	}
	return -1;
}

/* @return the interpreter of a script's first line, in `line`; NULL: it is no such script */
static const char *shebang(const char *program, char *line, size_t size)
{
	char path[4096], *word, *save = NULL;
	int fd = open_program(program, path, sizeof(path));
	ssize_t got = fd < 0 ? 0 : read(fd, line, size - 1);

	if (fd >= 0)
		close(fd);
	line[got < 0 ? 0 : got] = '\0';
	line[strcspn(line, "\n")] = '\0';
	if (strncmp(line, "#!", 2) != 0)
		return NULL;
	word = strtok_r(line + 2, " \t", &save);
	if (word && strlen(word) > 4 && !strcmp(word + strlen(word) - 4, "/env"))
		word = strtok_r(NULL, " \t", &save);
	return word;
}

/* The interpreter on a command line, perhaps behind env, nice or setpriv; else its first word. */
static const char *find_program(char *const argv[])
{
	for (int i = 0; argv[i]; i++) {
		const char *slash = strrchr(argv[i], '/'), *name = slash ? slash + 1 : argv[i];

		if (!strncmp(name, "python", strlen("python")) && !strstr(name, ".py"))
			return argv[i];
	}
	return argv[0];
}

/*
 * Before a program runs its interpreter is a guess: what it names, else the system's. One that
 * needs a libpython is told by its name.
 */
static struct interpreter *guess_interpreter(char *const argv[])
{
	char line[256], path[4096];
	const char *program = find_program(argv);
	const char *const names[] = {program, shebang(program, line, sizeof(line)), "python3",
				     SYSTEM_PYTHON};
	enum interpreter_kind kind = INTERPRETER_NONE;
	struct interpreter *in = NULL;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		int fd = names[i] ? open_program(names[i], path, sizeof(path)) : -1;

		if (fd < 0)
			continue;
		if (!interpreter__open_fd(fd, path, &in, NULL))
			kind = interpreter__info(in)->kind;
		close(fd);
		if (kind == INTERPRETER_CPYTHON || kind == INTERPRETER_LINKED)
			return in;
		interpreter__free(in);
		in = NULL;
	}
	return NULL;
}

static int resolve_focus(struct session *session, const struct identity *id,
			 const struct interpreter *in)
{
	const struct interpreter_info *info = in ? interpreter__info(in) : NULL;
	struct focus_error error = {{0}, {0}};
	const char *missing = NULL;
	struct focus_context context = {
		.identity = id,
		.reader = reader__new(id, &missing),
		.major = info ? info->major : 0,
		.minor = info ? info->minor : 0,
		.exe = !id->exe && info ? info->path : NULL,
	};
	char name[32] = "the program";
	int err;

	if (!context.reader) {
		err = -errno;
		if (id->pid)
			snprintf(name, sizeof(name), "PID %d", id->pid);
		log_cannot("read files as", name, missing ? missing : error_words(err));
		if (missing)
			log_hint("that capability is missing: run it as root");
		return err;
	}
	err = rules__add(&session->rules, session->kernel, session->options->focus, &context,
			 &error);
	reader__free(context.reader);
	if (!err)
		return 0;
	log_error("%s", *error.text ? error.text : error_words(err));
	if (*error.hint)
		log_hint("%s", error.hint);
	return err;
}

static int focus_on_process(struct session *session, const struct target *target)
{
	struct interpreter_reason why = {0};
	struct interpreter *in = NULL;
	struct identity *id;
	int err = interpreter__of_pid(target->pid, &in, &why);

	if (err) {
		log_refusal(target, &why, err);
		return err;
	}
	id = identity__of_pid(target->pid);
	err = id ? resolve_focus(session, id, in) : -errno;
	if (!id)
		log_refusal(target, &why, err);
	identity__free(id);
	interpreter__free(in);
	return err;
}

/* Before anything is written: whether it can be traced, as far as that is to be seen. */
static int check_process(struct session *session, const struct target *target)
{
	struct interpreter_reason why = {0};
	struct interpreter *in = NULL;
	int err = interpreter__of_pid(target->pid, &in, &why);
	enum interpreter_kind kind;

	if (err) /* also what is no process: opening it says why */
		return 0;
	kind = interpreter__info(in)->kind;
	if (kind == INTERPRETER_CPYTHON || kind == INTERPRETER_PYPY) {
		err = source__choose(&session->sources, in, &why);
		if (err == SOURCE_IS_AGENT)
			err = agent_check__process(in, &why);
		if (err < 0)
			log_refusal(target, &why, err);
		else
			err = 0;
	}
	interpreter__free(in);
	return err;
}

static int focus_on_program(struct session *session)
{
	struct interpreter *in = guess_interpreter(session->options->argv);
	struct identity *id = identity__of_self(session->options->argv);
	int err = id ? resolve_focus(session, id, in) : -errno;

	identity__free(id);
	interpreter__free(in);
	return err;
}

/* ------------------------------------------------------------------ open */

static int open_target(struct session *session, int index, pid_t pid)
{
	struct target *target = &session->targets[index];
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = target};
	char name[32];
	int err = 0;

	target->pid = pid;
	target->pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (target->pidfd < 0) {
		err = -errno;
		/* A thread's number is not a process's. */
		log_cannot("trace", name_of(target, name, sizeof(name)),
			   err == -EINVAL ? "it is a thread, not a process" : error_words(err));
		return err;
	}
	session->wire[index].window =
		session->options->pikos_run ? WIRE_WINDOW_WAITING : WIRE_WINDOW_NONE;
	session->wire[index].exec_stop = session->program != NULL;
	session->wire[index].user_stopped = !session->program && process__state(pid) == 'T';
	if (epoll_ctl(session->epoll, EPOLL_CTL_ADD, target->pidfd, &event))
		return -errno;
	session->n_alive++;
	return kernel__add_target(session->kernel, index, pid);
}

int targets__open(struct session *session)
{
	const struct options *options = session->options;
	int n = options->argv ? 1 : options->n_pids, err = 0;

	session->targets = calloc(n, sizeof(*session->targets));
	if (!session->targets)
		return -ENOMEM;
	for (int i = 0; i < n; i++) {
		session->targets[i].session = session;
		session->targets[i].pidfd = -1;
	}
	session->n_targets = n;
	if (options->argv) {
		session->program = program__new(options->argv);
		if (!session->program)
			return -errno;
		session->targets[0].pid = program__pid(session->program);
		err = options->focus ? focus_on_program(session) : 0;
	}
	for (int i = 0; i < options->n_pids && !err; i++) {
		session->targets[i].pid = options->pids[i];
		err = check_process(session, &session->targets[i]);
		if (!err && options->focus)
			err = focus_on_process(session, &session->targets[i]);
	}
	if (!err)
		err = kernel__set_rules(session->kernel, session->rules.rules, session->rules.n);
	for (int i = 0; i < n && !err; i++)
		err = open_target(session, i, session->targets[i].pid);
	return err;
}

/* ------------------------------------------------------------------ attach */

/* Files that the target names are read with the rights that it has then; see keeper__reader. */
static struct reader *current_reader(void *ctx)
{
	struct target *target = ctx;
	struct session *session = target->session;
	int fd = -1;

	if (keeper__reader(session->keeper, target - session->targets, &fd))
		return NULL;
	if (fd >= 0) {
		reader__free(target->reader);
		target->reader = reader__from_socket(fd);
	}
	return target->reader;
}

static void take_reader(struct session *session, int index, int fd)
{
	struct target *target = &session->targets[index];

	lines__free(target->lines);
	reader__free(target->reader);
	target->lines = NULL;
	target->reader = fd < 0 ? NULL : reader__from_socket(fd);
	if (target->reader)
		target->lines = lines__new(target->reader, LINES_MAX_BYTES / session->n_targets);
	if (target->lines)
		lines__set_current(target->lines, current_reader, target);
	monitor__set_target(session->monitor, index, target->pid, target->lines);
}

bool targets__has_exited(const struct target *target)
{
	struct pollfd wanted = {.fd = target->pidfd, .events = POLLIN};

	return poll(&wanted, 1, 0) > 0;
}

static int start_consumer(struct session *session, int index)
{
	const struct memory_consumer *consumer = session->consumer;
	const struct kernel_memory memory = kernel__memory(session->kernel, index);
	const uint64_t page = sysconf(_SC_PAGESIZE);
	struct memory_start start = {
		.target = index,
		.pid = session->targets[index].pid,
		.maps_fd = -1,
		.attached = memory.time,
		.vms = memory.vms * page,
		.brk = memory.brk,
	};
	int err;

	for (int i = 0; i < WIRE_N_COUNTERS; i++)
		start.rss[i] = memory.rss[i] * page;
	keeper__maps(session->keeper, index, &start.maps_fd); /* it may have ended */
	start.read_from = clock_ns();
	err = consumer->start(consumer->ctx, &start);
	if (start.maps_fd >= 0)
		close(start.maps_fd);
	return err;
}

static int attach(struct session *session, int index)
{
	struct target *target = &session->targets[index];
	struct keeper_attached attached;
	int err = keeper__attach(session->keeper, index, target->pid, &attached);

	if (!err && attached.result == KEEPER_NOT_PYTHON && !session->program) {
		err = -ENOTSUP;
		snprintf(attached.why.text, sizeof(attached.why.text), "it is not a Python");
		snprintf(attached.why.next_step, sizeof(attached.why.next_step),
			 "give the PID of a CPython; of a program that starts one, "
			 "the one it starts");
	}
	/* The keeper goes by the number: whose it is is known only while our pidfd lives. */
	if (!err && !session->program && targets__has_exited(target)) {
		err = -ESRCH;
		snprintf(attached.why.text, sizeof(attached.why.text),
			 "it has ended while attaching");
		if (attached.reader_fd >= 0)
			close(attached.reader_fd);
		keeper__detach(session->keeper, index);
	}
	if (err) {
		log_refusal(target, &attached.why, err);
		return err;
	}
	target->agent = false; /* of the program before, if there was one */
	session->awaits_main = attached.result == KEEPER_WILL_STOP && attached.agent;
	if (attached.result != KEEPER_ATTACHED)
		return 0;
	/* It stands still: what is in the buffers was done by the program before it. */
	if (session->program && !session->enough)
		err = session__drain(session, true);
	if (err && !session->enough)
		return err;
	target->agent = attached.agent;
	take_reader(session, index, attached.reader_fd);
	if (attached.agent && !session->program)
		err = agents__wait_hooked(session, index, &attached.why);
	if (err) {
		target->agent = false;
		keeper__detach(session->keeper, index);
		log_refusal(target, &attached.why, err);
		return err;
	}
	if (session->consumer)
		err = start_consumer(session, index);
	if (err)
		return err;
	if (session->native)
		native__look(session->native, index);
	session->any_python = true;
	log_verbose("tracing PID %d: %s, %s, %s", target->pid, attached.description,
		    session->options->monitor,
		    session->config.mappings			      ? "kernel"
		    : attached.agent				      ? "agent"
		    : session->config.transport == KERNEL_RING_BUFFER ? "ring buffer"
								      : "perf buffer");
	if (attached.no_frames) {
		log_warn("PID %d: %s", target->pid, attached.why.text);
		log_hint("%s", attached.why.next_step);
	}
	if (attached.agent)
		log_verbose("loading the agent has stopped PID %d for %.1f ms at most", target->pid,
			    attached.stopped_us / 1e3);
	return 0;
}

static int start_program(struct session *session)
{
	int err;

	/* From here on Ctrl-C is the program's, and we wait for what it does with it. */
	signal(SIGINT, SIG_IGN);
	if (session_signal) {
		session->failure = STATUS_SIGNAL + session_signal;
		return -EINTR;
	}
	err = keeper__know(session->keeper, 0, session->targets[0].pid);
	if (!err)
		err = program__go(session->program);
	if (!err)
		return 0;
	program__wait(session->program);
	log_cannot("run", session->options->argv[0], error_words(err));
	session->failure = err == -ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_RUN;
	return err;
}

/* What is attached records while others are not: many targets take seconds. */
static int keep_up(struct session *session, int n_attached)
{
	int err = session__drain(session, false);

	for (int i = 0; i < n_attached && session->options->lossless; i++)
		targets__look_at_stops(session, i);
	return err ? err : session_signal ? -ECANCELED : 0;
}

int targets__attach_all(struct session *session)
{
	int err = 0;

	for (int i = 0; i < session->n_targets && !err; i++)
		err = monitor__set_target(session->monitor, i, session->targets[i].pid, NULL);
	if (err)
		return err;
	if (session->options->lossless)
		log_warn("--lossless stops the program when the buffer is full: its parent sees "
			 "that, and sleeping calls may return early");
	if (session->program)
		return start_program(session);
	for (int i = 0; i < session->n_targets && !err; i++) {
		err = attach(session, i);
		if (!err && (err = keep_up(session, i + 1)))
			break;
	}
	return err == -ECANCELED || session->failure ? 0 : err;
}

/* ------------------------------------------------------------------ what happens to them */

static void end_target(struct session *session, int index)
{
	struct target *target = &session->targets[index];

	if (target->ended)
		return;
	target->ended = true;
	session->n_alive--;
	epoll_ctl(session->epoll, EPOLL_CTL_DEL, target->pidfd, NULL);
}

/* Through the keeper, which has the right; without one as far as our own rights go. */
static void continue_target(struct session *session, int index)
{
	if (keeper__continue(session->keeper, index))
		syscall(SYS_pidfd_send_signal, session->targets[index].pidfd, SIGCONT, NULL, 0);
}

void targets__continue_all(struct session *session)
{
	/* First no new stops: the keeper's probes go one by one, and the buffers are still full. */
	kernel__end_pauses(session->kernel);
	for (int i = 0; i < session->n_targets; i++) {
		struct wire_target *wire = &session->wire[i];
		bool exec_stop = wire->exec_stop;

		wire->exec_stop = 0;
		/* Also what the keeper was asked to continue: it may not have come to it. */
		if (exec_stop || (wire->stops && !wire->user_stopped))
			continue_target(session, i);
		wire->continued = wire->stops;
	}
}

/* The program cannot be traced after all; it has not run an instruction of its interpreter. */
static void refuse_program(struct session *session)
{
	struct interpreter *in = NULL;
	int fd = open(SYSTEM_PYTHON, O_RDONLY | O_CLOEXEC);

	if (session->options->pikos_run && fd >= 0 &&
	    !interpreter__open_fd(fd, SYSTEM_PYTHON, &in, NULL) &&
	    !interpreter__check(in, usdt__needs(session->config.lines, true), NULL))
		log_hint("%s has them: PIKOS_PYTHON=%s pikos-run ...", SYSTEM_PYTHON,
			 SYSTEM_PYTHON);
	interpreter__free(in);
	if (fd >= 0)
		close(fd);
	session->failure = STATUS_FAILED;
	if (program__signal(session->program, SIGKILL))
		continue_target(session, 0); /* not ours to end: let it run untraced */
}

/* Run mode: the program has become another one and stands before its first instruction. */
static void look_at_program(struct session *session)
{
	struct target *target = &session->targets[0];
	enum program_change change = program__poll(session->program);

	if (change == PROGRAM_ENDED) {
		end_target(session, 0);
		return;
	}
	if (change != PROGRAM_STOPPED || session->wire[0].execs == target->execs)
		return;
	target->execs = session->wire[0].execs;
	if (session->native)
		native__changed(session->native, 0, 0, UINT64_MAX);
	if (session->failure || session->detached || !attach(session, 0))
		continue_target(session, 0);
	else
		refuse_program(session);
}

static void look_at_exec(struct session *session, int index)
{
	struct target *target = &session->targets[index];

	if (session->wire[index].execs == target->execs)
		return;
	target->execs = session->wire[index].execs;
	log_warn("PID %d runs another program now: its tracing has ended", target->pid);
	keeper__detach(session->keeper, index);
	end_target(session, index);
}

/* --lossless: what was stopped is continued once its records are out of the buffers. */
void targets__look_at_stops(struct session *session, int index)
{
	struct wire_target *wire = &session->wire[index];
	uint32_t stops = __atomic_load_n(&wire->stops, __ATOMIC_ACQUIRE);

	if (stops == wire->continued || wire->user_stopped ||
	    transport__holds_much(session->transport))
		return;
	wire->continued = stops;
	continue_target(session, index);
}

void targets__look(struct session *session)
{
	if (session->program && !program__ended(session->program))
		look_at_program(session);
	for (int i = 0; i < session->n_targets; i++) {
		struct target *target = &session->targets[i];

		if (session->options->lossless && !target->ended)
			targets__look_at_stops(session, i);
		if (session->program || target->ended)
			continue;
		look_at_exec(session, i);
		if (targets__has_exited(target))
			end_target(session, i);
	}
	agents__look(session);
}

void targets__free(struct session *session)
{
	for (int i = 0; i < session->n_targets; i++) {
		lines__free(session->targets[i].lines);
		reader__free(session->targets[i].reader);
		if (session->targets[i].pidfd >= 0)
			close(session->targets[i].pidfd);
	}
	free(session->targets);
	program__free(session->program);
}
