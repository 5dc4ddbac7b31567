// SPDX-License-Identifier: BSD-3-Clause
#include "session/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "errors.h"

struct program {
	pid_t pid;
	int go;	   /* writing lets the child exec */
	int error; /* its errno if it cannot; closed by a successful exec */
	bool gone, ended;
	int status;
};

/* The signals that the tracer handles in its own way. */
static const int changed[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGCHLD};

#define N_CHANGED (sizeof(changed) / sizeof(*changed))

static struct sigaction inherited[N_CHANGED];

void program__keep_signals(void)
{
	for (size_t i = 0; i < N_CHANGED; i++)
		sigaction(changed[i], NULL, &inherited[i]);
}

/* In the child: wait, exec, or tell why not. */
static _Noreturn void hold_and_exec(char *const argv[], int go, int error)
{
	char byte;
	int err;

	for (size_t i = 0; i < N_CHANGED; i++)
		sigaction(changed[i], &inherited[i], NULL);
	if (read(go, &byte, 1) != 1)
		_exit(0); /* the tracer has ended */
	execvp(argv[0], argv);
	err = errno;
	while (write(error, &err, sizeof(err)) < 0 && errno == EINTR)
		;
	_exit(err == ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_RUN);
}

struct program *program__new(char *const argv[])
{
	struct program *program = calloc(1, sizeof(*program));
	int go[2] = {-1, -1}, error[2] = {-1, -1}, err;

	if (!program)
		return NULL;
	if (pipe2(go, O_CLOEXEC) || pipe2(error, O_CLOEXEC))
		goto out;
	program->pid = fork();
	if (program->pid < 0)
		goto out;
	if (!program->pid) {
		close(go[1]);
		close(error[0]);
		hold_and_exec(argv, go[0], error[1]);
	}
	close(go[0]);
	close(error[1]);
	program->go = go[1];
	program->error = error[0];
	return program;
out:
	err = errno;
	for (int i = 0; i < 2; i++) {
		if (go[i] >= 0)
			close(go[i]);
		if (error[i] >= 0)
			close(error[i]);
	}
	free(program);
	errno = err;
	return NULL;
}

pid_t program__pid(const struct program *program)
{
	return program->pid;
}

int program__go(struct program *program)
{
	ssize_t got;
	int err = 0;

	program->gone = true;
	while (write(program->go, "", 1) < 0)
		if (errno != EINTR)
			return -errno;
	do
		got = read(program->error, &err, sizeof(err));
	while (got < 0 && errno == EINTR);
	return got == sizeof(err) ? -err : 0;
}

static void keep_status(struct program *program, const siginfo_t *info)
{
	program->ended = true;
	program->status =
		info->si_code == CLD_EXITED ? info->si_status : STATUS_SIGNAL + info->si_status;
}

enum program_change program__poll(struct program *program)
{
	siginfo_t info = {0};

	if (program->ended)
		return PROGRAM_ENDED;
	if (waitid(P_PID, program->pid, &info, WEXITED | WSTOPPED | WNOHANG) || !info.si_pid)
		return PROGRAM_NOTHING;
	if (info.si_code == CLD_STOPPED || info.si_code == CLD_TRAPPED)
		return PROGRAM_STOPPED;
	keep_status(program, &info);
	return PROGRAM_ENDED;
}

void program__wait(struct program *program)
{
	siginfo_t info = {0};

	while (!program->ended) {
		if (!waitid(P_PID, program->pid, &info, WEXITED))
			keep_status(program, &info);
		else if (errno != EINTR)
			program->ended = true;
	}
}

int program__signal(const struct program *program, int number)
{
	if (program->ended)
		return -ESRCH;
	return kill(program->pid, number) ? -errno : 0;
}

int program__status(const struct program *program)
{
	return program->status;
}

bool program__ended(const struct program *program)
{
	return program->ended;
}

void program__free(struct program *program)
{
	if (!program)
		return;
	close(program->go); /* a child that still waits ends */
	close(program->error);
	if (!program->gone)
		program__wait(program);
	free(program);
}
