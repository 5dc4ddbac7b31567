// SPDX-License-Identifier: BSD-3-Clause
/*
 * The probes of pikos_regions.h, found and raised: this program has them itself. Attaching needs
 * root.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "pikos_regions.h"
#include "source/agent_file.h"
#include "source/regions.h"

/* With the probes twice more, as inlining does it. */
static void go_in_and_out(void)
{
	pikos_region_enter();
	pikos_region_enter();
	pikos_region_leave();
	pikos_region_leave();
	pikos_region_leave();
}

static void need_root(void)
{
	if (!geteuid())
		return;
	print_message("attaching needs root\n");
	skip();
}

static void test_raises_own(void **state)
{
	struct interpreter_reason why;
	struct regions *one, *two;

	(void)state;
	need_root();
	go_in_and_out();
	assert_int_equal(pikos_region__enter_semaphore, 0);
	one = regions__attach(NULL, getpid(), -1, &why);
	assert_non_null(one);
	assert_true(pikos_region__enter_semaphore > 0);
	assert_true(pikos_region__leave_semaphore > 0);
	go_in_and_out();
	two = regions__attach(NULL, getpid(), -1, &why);
	assert_non_null(two);
	assert_int_equal(regions__sweep(one), 0);
	regions__free(one);
	assert_true(pikos_region__enter_semaphore > 0);
	regions__free(two);
	assert_int_equal(pikos_region__enter_semaphore, 0);
	assert_int_equal(pikos_region__leave_semaphore, 0);
	go_in_and_out();
}

/* @return a process that has no probes */
static pid_t start_other(void)
{
	int ready[2];
	pid_t pid;
	char byte;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		execlp("sleep", "sleep", "1000", NULL);
		_exit(127);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 0); /* it has become the other program */
	close(ready[0]);
	return pid;
}

static void test_others(void **state)
{
	struct interpreter_reason why;
	pid_t pid = start_other();
	int library = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct regions *regions;

	(void)state;
	if (!geteuid()) {
		assert_null(regions__attach(NULL, pid, -1, &why));
		assert_int_equal(errno, ENOENT);
		assert_string_equal(why.text, "it marks no regions");
		/* What it may load later is attached to. */
		regions = regions__attach(NULL, pid, library, &why);
		assert_non_null(regions);
		assert_int_equal(pikos_region__enter_semaphore, 0);
		regions__free(regions);
	}
	close(library);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_null(regions__attach(NULL, pid, -1, &why));
	assert_int_equal(errno, ESRCH);
	assert_int_equal(why.problem, INTERPRETER_GONE);
}

static void test_library_is_found(void **state)
{
	char path[256];
	int fd;

	(void)state;
	setenv("PIKOS_AGENT", "/proc/self/exe", 1);
	fd = agent_file__open(path, sizeof(path));
	assert_true(fd >= 0);
	assert_string_equal(path, "/proc/self/exe");
	close(fd);
	setenv("PIKOS_AGENT", "/nonexistent/x.so", 1);
	assert_int_equal(agent_file__open(path, sizeof(path)), -ENOENT);
	assert_string_equal(path, "/nonexistent/x.so");
	unsetenv("PIKOS_AGENT");
	fd = agent_file__open(path, sizeof(path));
	assert_non_null(strstr(path, AGENT_FILE));
	if (fd >= 0)
		close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_raises_own),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_library_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
