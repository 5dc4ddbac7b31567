// SPDX-License-Identifier: BSD-3-Clause
/* tests/agent/selftest.py in each interpreter of this machine. */
#include <assert.h>
#include <ctype.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MAX_INTERPRETERS 16

static const char *const places[] = {
	"/usr/bin/python3",
	"/root/.pyenv/versions/3.[0-9]*/bin/python3",
};

static void agent_tests_itself(void **state)
{
	const char *interpreter = *state;
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child) {
		setenv("AGENT", "build/tests/libpikos-agent-test.so", 1);
		execl(interpreter, interpreter, "tests/agent/selftest.py", NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (status)
		fail_msg("%s: status %d", interpreter, status);
}

/* A test's name is a word. */
static char *name_of(const char *path)
{
	char *name;

	assert(asprintf(&name, "agent_in%s", path) > 0);
	for (char *at = name; *at; at++)
		if (!isalnum((unsigned char)*at))
			*at = '_';
	return name;
}

int main(void)
{
	struct CMUnitTest tests[MAX_INTERPRETERS] = {{0}};
	glob_t found = {0};
	size_t n;
	int failed;

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
		glob(places[i], i ? GLOB_APPEND : 0, NULL, &found);
	n = found.gl_pathc < MAX_INTERPRETERS ? found.gl_pathc : MAX_INTERPRETERS;
	for (size_t i = 0; i < n; i++) {
		tests[i].name = name_of(found.gl_pathv[i]);
		tests[i].test_func = agent_tests_itself;
		tests[i].initial_state = found.gl_pathv[i];
	}
	failed = _cmocka_run_group_tests("agent", tests, n, NULL, NULL);
	for (size_t i = 0; i < n; i++)
		free((char *)tests[i].name);
	globfree(&found);
	return failed;
}
