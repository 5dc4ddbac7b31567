// SPDX-License-Identifier: BSD-3-Clause
/* The doctor of --list, and whether the agent can be loaded: on real interpreters. */
#include "traced_python.h"

#include <sys/ptrace.h>

#include "cli/doctor.h"
#include "source/agent_check.h"

#define PYENV "/root/.pyenv/versions"
#define WAIT  "import sys\nprint('ready', end='', flush=True)\nsys.stdin.read()\n"

static struct doctor *examine(const char *file, pid_t pid)
{
	struct options *options = options__new();
	struct doctor *doctor;

	assert_non_null(options);
	options->list_file = file;
	options->pids = &pid;
	options->n_pids = pid ? 1 : 0;
	doctor = doctor__new(options);
	options__free(options);
	return doctor;
}

static bool adds(const struct doctor *doctor, const char *name)
{
	for (int i = 0; i < doctor->n_adds; i++)
		if (!strcmp(doctor->adds[i].name, name))
			return true;
	return false;
}

static void check_text(char *text, const char *const words[])
{
	assert_non_null(text);
	for (int i = 0; words[i]; i++)
		if (!strstr(text, words[i]))
			fail_msg("expected '%s' in: %s", words[i], text);
	free(text);
}

static void test_with_probes(void **state)
{
	struct doctor *doctor;

	(void)state;
	if (access(TRACED_PYTHON, R_OK)) {
		print_message("skipped: no " TRACED_PYTHON "\n");
		skip();
	}
	doctor = examine(TRACED_PYTHON, 0);
	assert_non_null(doctor);
	assert_true(doctor->can_load && !doctor->is_loaded && !doctor->is_debug);
	for (int i = 0; i < 3; i++)
		assert_true(doctor->probes[i].is_ours && doctor->probes[i].fires);
	for (int i = 0; i < doctor->n_monitors; i++) {
		if (doctor->monitors[i].kernel || doctor->monitors[i].libc)
			continue;
		assert_true(doctor->monitors[i].usdt && doctor->monitors[i].agent);
		assert_string_equal(doctor__auto(&doctor->monitors[i], true), "usdt");
		assert_string_equal(doctor__auto(&doctor->monitors[i], false), "usdt");
	}
	assert_true(adds(doctor, "c_calls") && adds(doctor, "exact_lines"));
	assert_false(adds(doctor, "functions") || adds(doctor, "old_probes"));
	check_text(doctor__table(doctor),
		   (const char *const[]){"CPython 3.11.", "executable, not PIE, with the GIL",
					 "only while the semaphore of line is raised",
					 "the built-in probes", "can be loaded: --source agent",
					 NULL});
	check_text(doctor__json(doctor),
		   (const char *const[]){"{\"pid\":null,\"implementation\":\"CPython\"",
					 "\"auto_attach\":\"usdt\"", "\"can_be_loaded\":true",
					 "]}}\n", NULL});
	doctor__free(doctor);
}

/* Any other that is here: an executable finds its libpython, and 3.12 to 3.14 have no probes. */
static void test_without_probes(void **state)
{
	static const char file[] = PYENV "/3.13.0/bin/python3.13";
	struct doctor *doctor;

	(void)state;
	if (access(file, R_OK)) {
		print_message("skipped: no %s\n", file);
		skip();
	}
	doctor = examine(file, 0);
	assert_non_null(doctor);
	assert_true(interpreter__info(doctor->in)->in_library);
	assert_string_equal(doctor->executable, file);
	assert_true(doctor->can_load);
	for (int i = 0; i < doctor->n_monitors; i++) {
		if (doctor->monitors[i].kernel) {
			assert_string_equal(doctor->monitors[i].name, "memory");
			assert_string_equal(doctor__auto(&doctor->monitors[i], true), "kernel");
			continue;
		}
		assert_false(doctor->monitors[i].usdt);
		if (doctor->monitors[i].libc)
			assert_string_equal(doctor__auto(&doctor->monitors[i], true), "libc");
		else
			assert_null(doctor__auto(&doctor->monitors[i], true));
		assert_string_equal(doctor__auto(&doctor->monitors[i], false), "agent");
	}
	assert_true(adds(doctor, "functions") && adds(doctor, "lines") &&
		    adds(doctor, "old_probes"));
	check_text(doctor__table(doctor),
		   (const char *const[]){"shared library", "no: CPython 3.13.0 has no line probe",
					 "the agent\n", NULL});
	doctor__free(doctor);
}

static void test_old(void **state)
{
	static const char file[] = PYENV "/3.8.18/bin/python3.8";
	struct doctor *doctor;

	(void)state;
	if (access(file, R_OK)) {
		print_message("skipped: no %s\n", file);
		skip();
	}
	doctor = examine(file, 0);
	assert_non_null(doctor);
	assert_false(doctor->can_load);
	assert_string_equal(doctor->why_not_load.text,
			    "CPython 3.8.18 is not one that the agent knows (3.9 to 3.15 are)");
	assert_int_equal(doctor->n_adds, 0);
	assert_null(doctor__auto(&doctor->monitors[0], false));
	doctor__free(doctor);
}

static void test_not_a_python(void **state)
{
	(void)state;
	assert_null(examine("/bin/sh", 0));
	assert_null(examine("/etc/passwd", 0));
	assert_null(examine("/no/such/file", 0));
	assert_null(examine(NULL, getpid()));
}

static void test_process(void **state)
{
	struct traced traced;
	struct interpreter_reason why;
	struct doctor *doctor;

	(void)state;
	if (access(TRACED_PYTHON, X_OK)) {
		print_message("skipped: no " TRACED_PYTHON "\n");
		skip();
	}
	traced = traced__start(NULL, TRACED_PYTHON, WAIT);
	doctor = examine(NULL, traced.pid);
	assert_non_null(doctor);
	assert_true(doctor->can_load && !doctor->is_loaded);
	for (int i = 0; i < 3; i++)
		assert_int_equal(doctor->probes[i].raised, 0);
	doctor__free(doctor);

	/* Whoever traces it is named: that is us. */
	assert_int_equal(ptrace(PTRACE_SEIZE, traced.pid, NULL, NULL), 0);
	assert_int_equal(agent_check__process(traced.interpreter, &why), -EBUSY);
	assert_non_null(strstr(why.text, "another tracer is attached to it (test_doctor, PID "));
	assert_int_equal(kill(traced.pid, SIGKILL), 0);
	assert_int_equal(waitpid(traced.pid, NULL, __WALL), traced.pid);
	assert_int_equal(agent_check__process(traced.interpreter, &why), -ESRCH);
	assert_string_equal(why.text, "it has ended");
	interpreter__free(traced.interpreter);
	close(traced.in);
	close(traced.out);
}

/* A filter that allows everything: what it would do to the calls of loading nobody can tell. */
static void test_seccomp(void **state)
{
	static const char script[] =
		"import ctypes, sys\n"
		"libc = ctypes.CDLL(None)\n"
		"program = (ctypes.c_uint64 * 1)(0x7fff000000000006)\n" /* return ALLOW */
		"filter = (ctypes.c_uint64 * 2)(1, ctypes.addressof(program))\n"
		"assert not libc.prctl(38, 1, 0, 0, 0)\n"
		"assert not libc.prctl(22, 2, filter)\n" WAIT;
	struct interpreter_reason why;
	struct traced traced;

	(void)state;
	if (access(TRACED_PYTHON, X_OK)) {
		print_message("skipped: no " TRACED_PYTHON "\n");
		skip();
	}
	traced = traced__start(NULL, TRACED_PYTHON, script);
	assert_int_equal(agent_check__process(traced.interpreter, &why), -ENOTSUP);
	assert_int_equal(why.problem, INTERPRETER_NO_AGENT);
	assert_non_null(strstr(why.text, "seccomp"));
	traced__finish(&traced);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_with_probes), cmocka_unit_test(test_without_probes),
		cmocka_unit_test(test_old),	    cmocka_unit_test(test_not_a_python),
		cmocka_unit_test(test_process),	    cmocka_unit_test(test_seccomp),
	};

	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
