/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * traced_python.h - a Python that waits for its standard input, and what it takes to attach to it.
 * Everything is bounded by alarm(): a test that hangs is ended.
 */
#ifndef PIKOS_TESTS_TRACED_PYTHON_H
#define PIKOS_TESTS_TRACED_PYTHON_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernel/kernel.h"
#include "source/interpreter.h"
#include "source/usdt.h"

#define TRACED_PYTHON "/usr/bin/python3.11"
#define TRACED_SID    "build/pythons/sid"

struct traced {
	pid_t pid;
	int in, out;
	struct interpreter *interpreter;
};

/* Prints "ready" when it is about to wait. @param root a directory to run in, or NULL */
static inline struct traced traced__start(const char *root, const char *python, const char *script)
{
	int in[2], out[2];
	struct traced traced;
	char ready[6] = "";

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	traced.pid = fork();
	assert_true(traced.pid >= 0);
	if (!traced.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		if (root && (chdir(root) || chroot(".")))
			_exit(125);
		execl(python, python, "-I", "-S", "-c", script, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	traced.in = in[1];
	traced.out = out[0];
	assert_int_equal(read(traced.out, ready, 5), 5);
	assert_string_equal(ready, "ready");
	assert_int_equal(interpreter__of_pid(traced.pid, &traced.interpreter, NULL), 0);
	assert_int_equal(interpreter__info(traced.interpreter)->kind, INTERPRETER_CPYTHON);
	return traced;
}

/* Lets it run to its end. */
static inline void traced__finish(struct traced *traced)
{
	int status = 0;

	close(traced->in);
	assert_int_equal(waitpid(traced->pid, &status, 0), traced->pid);
	assert_int_equal(status, 0);
	close(traced->out);
	interpreter__free(traced->interpreter);
}

static inline struct kernel *traced__kernel(const struct kernel_config *config)
{
	struct kernel_error error = {{0}, {0}};
	bool found[N_FEATURES];
	struct kernel *kernel;

	assert_int_equal(features__find(found), 0);
	kernel = kernel__new(config, found, &error);
	if (!kernel)
		fail_msg("cannot load: %s %s (errno %d)", error.text, error.hint, errno);
	return kernel;
}

static inline void traced__need(const char *python)
{
	char path[256];

	snprintf(path, sizeof(path), "%s", python);
	if (geteuid() == 0 && !access(path, X_OK))
		return;
	print_message("skipped: not root, or no %s\n", python);
	skip();
}

#endif /* PIKOS_TESTS_TRACED_PYTHON_H */
