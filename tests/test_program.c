// SPDX-License-Identifier: BSD-3-Clause
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "errors.h"
#include "session/program.h"

static char **command(const char *first, ...)
{
	static char *argv[8];
	va_list list;
	int n = 0;

	va_start(list, first);
	for (const char *word = first; word; word = va_arg(list, const char *))
		argv[n++] = (char *)word;
	va_end(list);
	argv[n] = NULL;
	return argv;
}

static struct program *make(char **argv)
{
	struct program *program = program__new(argv);

	assert_non_null(program);
	assert_true(program__pid(program) > 0);
	assert_false(program__ended(program));
	return program;
}

/* Runs to its end. @return its status */
static int run(char **argv)
{
	struct program *program = make(argv);
	int status;

	assert_int_equal(program__go(program), 0);
	program__wait(program);
	assert_true(program__ended(program));
	assert_int_equal(program__poll(program), PROGRAM_ENDED);
	assert_int_equal(program__signal(program, 0), -ESRCH);
	status = program__status(program);
	program__free(program);
	return status;
}

static void wait_for_end(pid_t pid)
{
	struct pollfd end = {.fd = syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};

	if (end.fd < 0) {
		assert_int_equal(errno, ESRCH); /* over already */
		return;
	}
	assert_int_equal(poll(&end, 1, 30000), 1);
	close(end.fd);
}

/* Until a child has stopped or ended; program__poll finds it so. */
static void wait_for_change(pid_t pid)
{
	siginfo_t info;

	assert_int_equal(waitid(P_PID, pid, &info, WEXITED | WSTOPPED | WNOWAIT), 0);
}

static bool is_there(pid_t pid)
{
	return !kill(pid, 0);
}

static void test_status(void **state)
{
	(void)state;
	assert_int_equal(run(command("true", NULL)), 0);
	assert_int_equal(run(command("sh", "-c", "exit 3", NULL)), 3);
	assert_int_equal(run(command("sh", "-c", "exit 255", NULL)), 255);
	assert_int_equal(run(command("sh", "-c", "kill -TERM $$", NULL)), STATUS_SIGNAL + SIGTERM);
	assert_int_equal(run(command("sh", "-c", "ulimit -c 0; kill -ABRT $$", NULL)),
			 STATUS_SIGNAL + SIGABRT);
	assert_int_equal(run(command("sh", "-c", "kill -KILL $$", NULL)), 137);
}

/* Arguments arrive as they are, and the PATH is searched. */
static void test_arguments(void **state)
{
	(void)state;
	assert_int_equal(
		run(command("sh", "-c", "test \"$1$2\" = ' a\nb*'", "0", " a\nb", "*", NULL)), 0);
	assert_int_equal(run(command("/bin/sh", "-c", "test -z \"$1\" -a $# = 1", "0", "", NULL)),
			 0);
}

static void cannot_run(const char *path, int err, int status)
{
	struct program *program = make(command(path, NULL));

	assert_int_equal(program__go(program), -err);
	program__wait(program);
	assert_int_equal(program__status(program), status);
	program__free(program);
}

static void test_exec_fails(void **state)
{
	char path[] = "/tmp/pikos-test-XXXXXX", below[64];
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "\177ELF", 4), 4);
	close(fd);
	cannot_run("/nonexistent/program", ENOENT, STATUS_NOT_FOUND);
	cannot_run("pikos-no-such-program", ENOENT, STATUS_NOT_FOUND);
	cannot_run(path, EACCES, STATUS_CANNOT_RUN);
	cannot_run("/tmp", EACCES, STATUS_CANNOT_RUN);
	snprintf(below, sizeof(below), "%s/program", path);
	cannot_run(below, ENOTDIR, STATUS_CANNOT_RUN);
	unlink(path);
}

/* The tracer attaches in between: the program must not have run an instruction. */
static void test_held(void **state)
{
	char path[] = "/tmp/pikos-test-XXXXXX", link[64], exe[256], own[256];
	struct program *program;
	int fd = mkstemp(path);
	ssize_t len, own_len;

	(void)state;
	close(fd);
	program = make(command("rm", path, NULL));
	assert_int_equal(program__poll(program), PROGRAM_NOTHING);
	snprintf(link, sizeof(link), "/proc/%d/exe", program__pid(program));
	len = readlink(link, exe, sizeof(exe));
	own_len = readlink("/proc/self/exe", own, sizeof(own));
	assert_int_equal(len, own_len);
	assert_memory_equal(exe, own, len);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(program__go(program), 0);
	program__wait(program);
	assert_int_equal(program__status(program), 0);
	assert_int_equal(access(path, F_OK), -1);
	program__free(program);
}

static void test_held_child_ends_when_freed(void **state)
{
	char path[] = "/tmp/pikos-test-XXXXXX";
	struct program *program;
	int fd = mkstemp(path);
	pid_t pid;

	(void)state;
	close(fd);
	program = make(command("rm", path, NULL));
	pid = program__pid(program);
	program__free(program);
	assert_false(is_there(pid));		 /* waited for, too */
	assert_int_equal(access(path, F_OK), 0); /* and without having run */
	unlink(path);
	program__free(NULL);
}

/* The same if the tracer dies without a word. */
static void test_held_child_ends_with_the_tracer(void **state)
{
	int pipes[2];
	pid_t tracer, held = 0;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	tracer = fork();
	if (!tracer) {
		struct program *program = program__new(command("sleep", "1000", NULL));
		pid_t pid = program ? program__pid(program) : -1;

		if (write(pipes[1], &pid, sizeof(pid)) != sizeof(pid))
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(read(pipes[0], &held, sizeof(held)), sizeof(held));
	assert_true(held > 0);
	assert_int_equal(waitpid(tracer, NULL, 0), tracer);
	wait_for_end(held);
	close(pipes[0]);
	close(pipes[1]);
}

static void test_running_child_is_left_alone(void **state)
{
	struct program *program = make(command("sleep", "1000", NULL));
	pid_t pid = program__pid(program);
	siginfo_t info = {0};

	(void)state;
	assert_int_equal(program__go(program), 0);
	assert_int_equal(program__poll(program), PROGRAM_NOTHING);
	program__free(program);
	assert_int_equal(waitid(P_PID, pid, &info, WEXITED | WNOHANG), 0);
	assert_int_equal(info.si_pid, 0); /* runs on */
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_stops_and_signals(void **state)
{
	struct program *program = make(command("sleep", "1000", NULL));
	pid_t pid = program__pid(program);

	(void)state;
	assert_int_equal(program__go(program), 0);
	assert_int_equal(program__poll(program), PROGRAM_NOTHING);
	assert_int_equal(program__signal(program, SIGSTOP), 0);
	wait_for_change(pid);
	assert_int_equal(program__poll(program), PROGRAM_STOPPED);
	assert_int_equal(program__poll(program), PROGRAM_NOTHING); /* told once */
	assert_int_equal(program__signal(program, SIGCONT), 0);
	assert_int_equal(program__signal(program, SIGTERM), 0);
	wait_for_change(pid);
	assert_int_equal(program__poll(program), PROGRAM_ENDED);
	assert_int_equal(program__poll(program), PROGRAM_ENDED);
	assert_int_equal(program__status(program), STATUS_SIGNAL + SIGTERM);
	assert_int_equal(program__signal(program, SIGTERM), -ESRCH); /* perhaps another's by now */
	program__free(program);
}

/* Killed while it waits: there is nobody to be let go. */
static void test_killed_while_held(void **state)
{
	struct program *program = make(command("true", NULL));

	(void)state;
	signal(SIGPIPE, SIG_IGN); /* as session__run does */
	assert_int_equal(program__signal(program, SIGKILL), 0);
	wait_for_change(program__pid(program));
	assert_int_equal(program__go(program), -EPIPE);
	program__wait(program);
	assert_int_equal(program__status(program), STATUS_SIGNAL + SIGKILL);
	program__free(program);
	signal(SIGPIPE, SIG_DFL);
}

/* How many descriptors a program has that is started from here by others. */
static const char *open_here(void)
{
	static char count[16];
	FILE *pipe = popen("ls /proc/self/fd | wc -l", "r");

	assert_non_null(pipe);
	assert_int_equal(fscanf(pipe, "%15s", count), 1);
	pclose(pipe);
	return count;
}

/* What the tracer does to its own signals is not inherited, nor are its descriptors. */
static void test_what_the_program_inherits(void **state)
{
	static const char ignored[] = "while read name mask; do case $name in SigIgn:) "
				      "test $((0x$mask & 0x5003)) = 0; exit;; esac; done "
				      "</proc/self/status; exit 9";
	static const int numbers[] = {SIGHUP, SIGINT, SIGPIPE, SIGTERM};
	struct program *program;

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		signal(numbers[i], SIG_IGN);
	program = make(command("sh", "-c", ignored, NULL));
	assert_int_equal(program__go(program), 0);
	program__wait(program);
	assert_int_equal(program__status(program), 0);
	program__free(program);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		signal(numbers[i], SIG_DFL);
	/* ls has its own directory open, and nothing of ours. */
	program = make(command("sh", "-c", "test $(ls /proc/self/fd | wc -l) = $1", "0",
			       open_here(), NULL));
	assert_int_equal(program__go(program), 0);
	program__wait(program);
	assert_int_equal(program__status(program), 0);
	program__free(program);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_exec_fails),
		cmocka_unit_test(test_held),
		cmocka_unit_test(test_held_child_ends_when_freed),
		cmocka_unit_test(test_held_child_ends_with_the_tracer),
		cmocka_unit_test(test_running_child_is_left_alone),
		cmocka_unit_test(test_stops_and_signals),
		cmocka_unit_test(test_killed_while_held),
		cmocka_unit_test(test_what_the_program_inherits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
