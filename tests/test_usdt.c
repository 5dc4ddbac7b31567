// SPDX-License-Identifier: BSD-3-Clause
/*
 * Attaching to real interpreters. What is attached is seen from outside: a semaphore in the
 * target's memory counts who listens, and targets[].seen counts what came.
 */
#define _GNU_SOURCE 1

#include "tests/traced_python.h"

#include <bpf/libbpf.h>

#define DEADLINE 60

static struct kernel *kernel;

static int unload(void **state)
{
	(void)state;
	kernel__free(kernel);
	kernel = NULL;
	alarm(0);
	return 0;
}

static void load(const char *python, bool lines)
{
	const struct kernel_config config = {.buffer_size = 1 << 20, .lines = lines};

	traced__need(python);
	alarm(DEADLINE);
	kernel = traced__kernel(&config);
}

/* ------------------------------------------------------------------ semaphores */

static int semaphore_of(const struct traced *traced, pid_t pid, const char *name)
{
	const struct interpreter_info *info = interpreter__info(traced->interpreter);
	const struct usdt_probe *probe = elf_notes__next(info->elf, name, NULL);
	unsigned short value = 0;
	char path[64];
	int mem;

	assert_non_null(probe);
	assert_int_not_equal(probe->semaphore_addr, 0);
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(mem >= 0);
	assert_int_equal(pread(mem, &value, sizeof(value), probe->semaphore_addr + info->load_bias),
			 sizeof(value));
	close(mem);
	return value;
}

static void assert_semaphores(const struct traced *traced, pid_t pid, bool entry, bool back,
			      bool line)
{
	assert_int_equal(semaphore_of(traced, pid, "function__entry") > 0, entry);
	assert_int_equal(semaphore_of(traced, pid, "function__return") > 0, back);
	assert_int_equal(semaphore_of(traced, pid, "line") > 0, line);
}

static struct usdt *attach(const struct traced *traced, bool lines, bool script_end)
{
	const struct usdt_request request = {
		.kernel = kernel,
		.pid = traced->pid,
		.lines = lines,
		.script_end = script_end,
	};
	struct interpreter_reason why;
	struct usdt *usdt = usdt__attach(&request, traced->interpreter, &why);

	if (!usdt)
		fail_msg("cannot attach: %s", why.text);
	assert_string_equal(why.text, "");
	return usdt;
}

/* ------------------------------------------------------------------ what is attached */

static void test_needs(void **state)
{
	(void)state;
	assert_int_equal(usdt__needs(false, false),
			 CPYTHON_FUNCTION_ENTRY | CPYTHON_FUNCTION_RETURN);
	assert_int_equal(usdt__needs(false, true),
			 CPYTHON_FUNCTION_ENTRY | CPYTHON_FUNCTION_RETURN);
	assert_int_equal(usdt__needs(true, false), CPYTHON_LINE);
	assert_int_equal(usdt__needs(true, true), CPYTHON_LINE | CPYTHON_FUNCTION_RETURN);
	usdt__free(NULL);
}

#define CALLS                          \
	"import os\n"                  \
	"def f(x):\n"                  \
	"    x = x + 1\n"              \
	"    return x\n"               \
	"os.write(1, b'ready')\n"      \
	"os.read(0, 1)\n"              \
	"for i in range(1000): f(i)\n" \
	"os._exit(0)\n"

static void test_functions(void **state)
{
	const struct wire_target *target;
	struct traced traced;
	struct usdt *usdt;

	(void)state;
	load(TRACED_PYTHON, false);
	target = kernel__targets(kernel);
	traced = traced__start(NULL, TRACED_PYTHON, CALLS);
	assert_semaphores(&traced, traced.pid, false, false, false);
	for (int i = 0; i < 2; i++) { /* detached, everything is as it was */
		usdt = attach(&traced, false, false);
		assert_semaphores(&traced, traced.pid, true, true, true); /* 3.11's trick */
		usdt__free(usdt);
		assert_semaphores(&traced, traced.pid, false, false, false);
	}
	usdt = attach(&traced, false, false);
	kernel__targets(kernel)[0].tgid = traced.pid;
	traced__finish(&traced);
	usdt__free(usdt);
	assert_int_equal(target->seen, 2000);
	assert_int_equal(kernel__missed(kernel), 0);
}

static void test_lines(void **state)
{
	struct traced traced;
	struct usdt *usdt;

	(void)state;
	load(TRACED_PYTHON, true);
	traced = traced__start(NULL, TRACED_PYTHON, CALLS);
	usdt = attach(&traced, true, false);
	assert_semaphores(&traced, traced.pid, false, false, true);
	kernel__targets(kernel)[0].tgid = traced.pid;
	traced__finish(&traced);
	usdt__free(usdt);
	/* Two of f and the loop's own each time, then the last line. */
	assert_in_range(kernel__targets(kernel)[0].seen, 3000, 3003);
}

/* Events of a process that is no target, or of another one, are none. */
static void test_other_process(void **state)
{
	struct traced traced, other;
	struct usdt *usdt;

	(void)state;
	load(TRACED_PYTHON, false);
	traced = traced__start(NULL, TRACED_PYTHON, CALLS);
	other = traced__start(NULL, TRACED_PYTHON, CALLS);
	usdt = attach(&traced, false, false);
	assert_semaphores(&other, other.pid, false, false, false);
	kernel__targets(kernel)[0].tgid = other.pid;
	traced__finish(&traced);
	traced__finish(&other);
	usdt__free(usdt);
	assert_int_equal(kernel__targets(kernel)[0].seen, 0);
}

/* ------------------------------------------------------------------ fork */

/* A child that nobody traces has copies of breakpoints and semaphores, until it is swept. */
static void test_sweep(void **state)
{
	struct traced traced;
	struct usdt *usdt;
	pid_t child = 0;

	(void)state;
	load(TRACED_PYTHON, false);
	traced = traced__start(NULL, TRACED_PYTHON,
			       "import os\n"
			       "os.write(1, b'ready')\n"
			       "os.read(0, 1)\n"
			       "child = os.fork()\n"
			       "if not child: os.read(0, 1); os._exit(0)\n"
			       "os.write(1, child.to_bytes(4, 'little'))\n"
			       "os.read(0, 1)\n"
			       "os.wait()\n");
	usdt = attach(&traced, false, false);
	assert_int_equal(write(traced.in, "x", 1), 1);
	assert_int_equal(read(traced.out, &child, 4), 4);
	assert_semaphores(&traced, child, true, true, true);
	assert_int_equal(usdt__sweep(usdt), 0);
	assert_semaphores(&traced, child, false, false, false);
	assert_semaphores(&traced, traced.pid, true, true, true);
	traced__finish(&traced);
	usdt__free(usdt);
}

/* ------------------------------------------------------------------ refusals */

static void test_gone(void **state)
{
	struct usdt_request request = {0};
	struct interpreter_reason why;
	struct traced traced;
	int status;

	(void)state;
	load(TRACED_PYTHON, false);
	traced = traced__start(NULL, TRACED_PYTHON, CALLS);
	close(traced.in);
	assert_int_equal(waitpid(traced.pid, &status, 0), traced.pid);
	close(traced.out);
	request.kernel = kernel;
	request.pid = traced.pid;
	assert_null(usdt__attach(&request, traced.interpreter, &why));
	assert_int_equal(errno, ESRCH);
	assert_int_equal(why.problem, INTERPRETER_GONE);
	assert_string_equal(why.text, "the process has ended");
	interpreter__free(traced.interpreter);
}

static void test_not_python(void **state)
{
	struct usdt_request request = {.pid = getpid()};
	struct interpreter_reason why;
	struct interpreter *in;

	(void)state;
	load(TRACED_PYTHON, false);
	request.kernel = kernel;
	assert_int_equal(interpreter__of_pid(getpid(), &in, NULL), 0);
	assert_null(usdt__attach(&request, in, &why));
	assert_int_equal(errno, ENOTSUP);
	assert_int_equal(why.problem, INTERPRETER_NOT_PYTHON);
	interpreter__free(in);
}

static int without_rights(const struct traced *traced)
{
	struct usdt_request request = {.kernel = kernel, .pid = traced->pid};
	struct interpreter_reason why;

	if (setresuid(65534, 65534, 65534))
		return 1;
	if (usdt__attach(&request, traced->interpreter, &why))
		return 2;
	if (errno != EACCES && errno != EPERM)
		return 3;
	return why.problem != INTERPRETER_FORBIDDEN || !strstr(why.text, "CAP_SYS_ADMIN") ||
	       strcmp(why.next_step, "run it as root");
}

static void test_without_rights(void **state)
{
	struct traced traced;
	int status = -1;
	pid_t pid;

	(void)state;
	load(TRACED_PYTHON, false);
	traced = traced__start(NULL, TRACED_PYTHON, CALLS);
	pid = fork();
	if (!pid)
		_exit(without_rights(&traced));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_semaphores(&traced, traced.pid, false, false, false);
	traced__finish(&traced);
}

/* ------------------------------------------------------------------ 3.15 */

static uint64_t seen_on_sid(const char *body)
{
	struct traced traced;
	struct usdt *usdt;
	char script[1024];

	snprintf(script, sizeof(script),
		 "import os\n%s\nos.write(1, b'ready')\nos.read(0, 1)\nrun()\nos._exit(0)\n", body);
	load(TRACED_SID "/usr/bin/python3.15", false);
	traced = traced__start(TRACED_SID, "/usr/bin/python3.15", script);
	usdt = attach(&traced, false, false);
	assert_int_equal(semaphore_of(&traced, traced.pid, "function__entry"), 1);
	kernel__targets(kernel)[0].tgid = traced.pid;
	traced__finish(&traced);
	usdt__free(usdt);
	return kernel__targets(kernel)[0].seen;
}

/* The making of a generator is no call: run, and twice into the generator and out again. */
static void test_generator_creation(void **state)
{
	(void)state;
	assert_int_equal(seen_on_sid("def g():\n    yield 1\n"
				     "def run():\n    for i in g(): pass\n"),
			 2 + 4);
}

/* A thread of its own: its state is another one. */
static void test_generator_in_a_thread(void **state)
{
	(void)state;
	assert_int_equal(seen_on_sid("import _thread\n"
				     "done = _thread.allocate_lock()\n"
				     "done.acquire()\n"
				     "never = _thread.allocate_lock()\n"
				     "never.acquire()\n"
				     "def g():\n    yield 1\n"
				     "def work():\n    for i in g(): pass\n    done.release()\n"
				     "    never.acquire()\n"
				     "def run():\n    _thread.start_new_thread(work, ())\n"
				     "    done.acquire()\n"),
			 2 + 1 + 4); /* work does not return */
}

/* One return too many after a specialised instantiation: not seen. */
static void test_specialised_instantiation(void **state)
{
	(void)state;
	assert_int_equal(seen_on_sid("class C:\n    def __init__(self): pass\n"
				     "def run():\n    for i in range(500): C()\n"),
			 2 + 1000);
}

#define TEST(name) cmocka_unit_test_teardown(name, unload)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_needs),
		TEST(test_functions),
		TEST(test_lines),
		TEST(test_other_process),
		TEST(test_sweep),
		TEST(test_gone),
		TEST(test_not_python),
		TEST(test_without_rights),
		TEST(test_generator_creation),
		TEST(test_generator_in_a_thread),
		TEST(test_specialised_instantiation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
