// SPDX-License-Identifier: BSD-3-Clause
/*
 * The library's session with recorders of the caller's own, on a real python3.11.
 *
 * A session gives the caller's capabilities away, so each runs in a child.
 */
#include "traced_python.h"

#include "errors.h"
#include "pikos.h"

/* The script waits on its input, calls f three times, and ends with 7. */
#define SCRIPT                                 \
	"import os, sys\n"                     \
	"def f(): pass\n"                      \
	"print('ready', end='', flush=True)\n" \
	"sys.stdin.read()\n"                   \
	"for i in range(3): f()\n"

static int count_calls(void *ctx, const struct pikos_record *record)
{
	int *calls = ctx;

	if (!record->lost && record->is_call)
		++*calls;
	return 0;
}

static bool is_f(void *ctx, const struct pikos_record *record)
{
	int column = pikos_record_type__field(record->type, "function");
	const struct pikos_text *name = record->values[column].s;

	(void)ctx;
	return name->len == 1 && *name->data == 'f';
}

/* The other end of the target's input: closing it lets the target run. */
static void let_run(void *ctx)
{
	close(*(int *)ctx);
}

/* @return in a child: 0, or the number of the check that failed */
static int trace_with_callbacks(int pid, int gate)
{
	const struct pikos_recorder_ops ops = {.record = count_calls};
	int calls = 0, status;
	struct pikos_recorder *recorder = pikos_recorder__new(&ops, &calls);
	struct pikos_filters *filters = pikos_filters__new();
	struct pikos_summary summary;
	struct pikos_session session = {.monitor = "functions",
					.pids = &pid,
					.n_pids = 1,
					.focus = "f",
					.filters = filters,
					.recorder = recorder,
					.ready = let_run,
					.ready_ctx = &gate};

	pikos_filters__add_callback(filters, is_f, NULL);
	status = pikos_session__run(&session, &summary);
	pikos_recorder__free(recorder);
	pikos_filters__free(filters);
	if (status)
		return 1;
	if (calls != 3)
		return 2;
	return summary.seen == 6 && summary.written == 6 && !summary.lost ? 0 : 3;
}

static int wait_for(pid_t child)
{
	int status = -1;

	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_callbacks(void **state)
{
	struct traced traced;
	pid_t child;

	(void)state;
	traced__need(TRACED_PYTHON);
	alarm(60);
	traced = traced__start(NULL, TRACED_PYTHON, SCRIPT);
	child = fork();
	assert_true(child >= 0);
	if (!child)
		_exit(trace_with_callbacks(traced.pid, traced.in));
	traced__finish(&traced);
	assert_int_equal(wait_for(child), 0);
	alarm(0);
}

static int run_program(void)
{
	char *argv[] = {TRACED_PYTHON,
			"-I",
			"-S",
			"-c",
			"def f():\n pass\nfor i in range(3): f()\nraise SystemExit(7)",
			NULL};
	struct pikos_recorder *list = pikos_recorder__list();
	struct pikos_session session = {
		.monitor = "lines", .argv = argv, .focus = "f", .recorder = list};
	struct pikos_summary summary;
	int status = pikos_session__run(&session, &summary);
	size_t count = pikos_recorder__list_count(list);

	pikos_recorder__free(list);
	if (status != 7 || summary.status != 7)
		return 1;
	return count == 3 && summary.written == 3 ? 0 : 2;
}

static void test_program(void **state)
{
	pid_t child;

	(void)state;
	traced__need(TRACED_PYTHON);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		alarm(60);
		_exit(run_program());
	}
	assert_int_equal(wait_for(child), 0);
}

static void test_impossible(void **state)
{
	struct pikos_recorder *list = pikos_recorder__list();
	char *argv[] = {"true", NULL};
	int pid = 1;
	struct pikos_session sessions[] = {
		{.recorder = list, .argv = argv},
		{.monitor = "functions", .argv = argv},
		{.monitor = "functions", .recorder = list},
		{.monitor = "functions", .recorder = list, .argv = argv, .pids = &pid, .n_pids = 1},
		{.monitor = "nothing", .recorder = list, .argv = argv},
		{.monitor = "lines", .recorder = list, .argv = argv, .fields = "+no"},
		{.monitor = "lines", .recorder = list, .argv = argv, .buffer_size = 100000},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(sessions) / sizeof(*sessions); i++)
		assert_int_equal(pikos_session__run(&sessions[i], NULL), STATUS_USAGE);
	pikos_recorder__free(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_callbacks),
		cmocka_unit_test(test_program),
		cmocka_unit_test(test_impossible),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
