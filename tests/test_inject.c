// SPDX-License-Identifier: BSD-3-Clause
/*
 * Borrowing a thread: of children of the test, which needs no rights. What they were doing goes on
 * as if nothing had been.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "probes/agent/agent.h"
#include "probes/inject.h"
#include "probes/remote.h"
#include "process/maps.h"
#include "source/agent_file.h"

#define PYTHON	   "/usr/bin/python3"
#define AGENT_PATH "build/" AGENT_FILE
#define TIMEOUT_S  60

struct shared {
	int ready, go, seen;
	uint32_t lock;
	double sum;
	uint64_t words[4];
};

static struct shared *shared;
static struct remote_code code; /* ours, so a child's */

static void *address_of(void *address)
{
	return address; /* the same in a child */
}

static void find_code(void)
{
	FILE *file = fopen("/proc/self/maps", "r");
	unsigned long start, end;
	char line[512];

	assert_non_null(file);
	while (!code.restorer && fgets(line, sizeof(line), file))
		if (strstr(line, " r-xp ") && strstr(line, "/libc") &&
		    sscanf(line, "%lx-%lx", &start, &end) == 2)
			code.restorer = remote__find_restorer(getpid(), start, end);
	fclose(file);
	code.syscall = (uintptr_t)syscall;
	assert_int_not_equal(code.restorer, 0);
}

/* ------------------------------------------------------------------ children */

static pid_t start(int (*run)(void))
{
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(TIMEOUT_S);
		_exit(run());
	}
	while (!__atomic_load_n(&shared->ready, __ATOMIC_ACQUIRE))
		sched_yield();
	return pid;
}

static void say_ready(void)
{
	__atomic_store_n(&shared->ready, 1, __ATOMIC_RELEASE);
}

static bool may_go(void)
{
	return __atomic_load_n(&shared->go, __ATOMIC_ACQUIRE);
}

static void let_go(void)
{
	__atomic_store_n(&shared->go, 1, __ATOMIC_RELEASE);
}

static int status_of(pid_t pid)
{
	int status = 0;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* Until it waits in that system call. */
static struct remote *stop_in(pid_t pid, long number)
{
	for (;;) {
		struct remote *remote = remote__stop(pid, pid, &code);

		assert_non_null(remote);
		if (remote__place(remote)->syscall == number)
			return remote;
		remote__release(remote);
		sched_yield();
	}
}

static uint64_t call(struct remote *remote, void *function, const uint64_t *args, int n)
{
	uint64_t result = 0;

	assert_int_equal(remote__call(remote, (uintptr_t)address_of(function), args, n, 0, &result),
			 0);
	return result;
}

/* ------------------------------------------------------------------ what is called there */

static uint64_t weigh(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	errno = ENOTTY;
	return a + 10 * b + 100 * c + 1000 * d + 10000 * e + 100000 * f;
}

static uint64_t spoil(void)
{
	volatile double x = 1;

	for (int i = 0; i < 1000; i++)
		x = x / 3 + i;
	return (uint64_t)x;
}

static uint64_t crash(void)
{
	return *(volatile uint64_t *)8;
}

static uint64_t take_lock(void)
{
	while (__atomic_load_n(&shared->lock, __ATOMIC_ACQUIRE) == 0)
		syscall(SYS_futex, &shared->lock, FUTEX_WAIT, 0, NULL, NULL, 0);
	return 1;
}

/* ------------------------------------------------------------------ tests of remote */

static double compute(void)
{
	double sum = 0;

	for (int i = 1; i < 200; i++)
		sum += 1.0 / i + i / 7.0;
	return sum;
}

static int computes(void)
{
	const double expected = compute();

	say_ready();
	while (!may_go()) {
		errno = EBADMSG;
		shared->sum = compute();
		if (shared->sum != expected || errno != EBADMSG)
			return 1;
	}
	return 0;
}

/* Anywhere in a computation: registers, vector registers and flags are as they were. */
static void test_calls(void **state)
{
	const uint64_t args[6] = {1, 2, 3, 4, 5, 6};
	pid_t pid = start(computes);

	(void)state;
	for (int i = 0; i < 300; i++) {
		struct remote *remote = remote__stop(pid, pid, &code);

		assert_non_null(remote);
		assert_true(remote__place(remote)->ip != 0);
		call(remote, spoil, NULL, 0);
		remote__release(remote);
	}
	let_go();
	assert_int_equal(status_of(pid), 0);
	pid = start(computes);
	for (int i = 0; i < 3; i++) {
		struct remote *remote = remote__stop(pid, pid, &code);

		/* errno is the caller's to put back: here it would be seen */
		assert_int_equal(call(remote, getpid, NULL, 0), pid);
		remote__release(remote);
	}
	let_go();
	assert_int_equal(status_of(pid), 0);
	pid = start(computes);
	{
		struct remote *remote = remote__stop(pid, pid, &code);

		assert_int_equal(call(remote, weigh, args, 6), 654321);
		kill(pid, SIGKILL);
		remote__release(remote);
	}
	assert_int_equal(status_of(pid), 1000 + SIGKILL);
}

static int steps[2]; /* a pipe: each byte lets it do the next */

static int waits(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	int epoll = epoll_create1(0);
	struct pollfd input = {.fd = steps[0], .events = POLLIN};
	uint64_t words[2] = {11, 22};
	char byte;

	memcpy(shared->words, (uint64_t[2]){(uintptr_t)words, sizeof(words)}, 16);
	epoll_ctl(epoll, EPOLL_CTL_ADD, steps[0], &event);
	say_ready();
	if (epoll_wait(epoll, &event, 1, 50000) != 1 || read(steps[0], &byte, 1) != 1)
		return 1;
	if (poll(&input, 1, 50000) != 1 || read(steps[0], &byte, 1) != 1)
		return 2;
	if (read(steps[0], &byte, 1) != 1)
		return 3;
	return words[0] == 33 && words[1] == 22 ? 0 : 4;
}

/* No system call returns early, not even epoll_wait, which the kernel never restarts. */
static void test_restarts_system_calls(void **state)
{
	const long numbers[] = {SYS_epoll_wait, SYS_poll, SYS_read};
	uint64_t words[2] = {0};
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(steps), 0);
	pid = start(waits);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		struct remote *remote = stop_in(pid, numbers[i]);

		assert_int_equal(call(remote, getpid, NULL, 0), pid);
		assert_int_equal(remote__read(remote, shared->words[0], words, sizeof(words)), 0);
		assert_int_equal(words[0], i ? 33 : 11);
		words[0] = 33;
		assert_int_equal(remote__write(remote, shared->words[0], words, sizeof(words)), 0);
		assert_int_equal(remote__read(remote, 8, words, sizeof(words)), -EFAULT);
		assert_int_equal(remote__write(remote, 8, words, sizeof(words)), -EFAULT);
		remote__release(remote);
		assert_int_equal(write(steps[1], "", 1), 1);
	}
	assert_int_equal(status_of(pid), 0);
}

static void note_signal(int number)
{
	shared->seen = number;
}

static int is_signalled(void)
{
	struct sigaction action = {.sa_handler = note_signal};
	sigset_t none;

	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	sigemptyset(&none);
	say_ready();
	if (sigsuspend(&none) != -1 || errno != EINTR)
		return 1;
	return shared->seen == SIGUSR1 ? 0 : 2;
}

/* What is sent meanwhile comes afterwards, and ends the waiting as it should. */
static void test_signals_wait(void **state)
{
	pid_t pid = start(is_signalled);
	struct remote *remote = stop_in(pid, SYS_rt_sigsuspend);

	(void)state;
	kill(pid, SIGUSR1);
	assert_int_equal(call(remote, getpid, NULL, 0), pid);
	assert_int_equal(shared->seen, 0);
	remote__release(remote);
	assert_int_equal(status_of(pid), 0);
}

/* A handler of its own for SIGSEGV is neither called nor lost. */
static void test_crash(void **state)
{
	pid_t pid = start(is_signalled);
	struct remote *remote = stop_in(pid, SYS_rt_sigsuspend);
	uint64_t result;

	(void)state;
	assert_int_equal(remote__call(remote, (uintptr_t)crash, NULL, 0, 0, &result), -EFAULT);
	remote__release(remote);
	remote = stop_in(pid, SYS_rt_sigsuspend);
	assert_int_equal(call(remote, getpid, NULL, 0), pid);
	remote__release(remote);
	assert_int_equal(shared->seen, 0);
	kill(pid, SIGUSR1);
	assert_int_equal(status_of(pid), 0);
}

/* A call that waits for a lock which nobody gives back is taken out of there. */
static void test_lock(void **state)
{
	pid_t pid = start(is_signalled);
	struct remote *remote = stop_in(pid, SYS_rt_sigsuspend);
	uint64_t result;

	(void)state;
	assert_int_equal(remote__call(remote, (uintptr_t)take_lock, NULL, 0, 0, &result),
			 -ETIMEDOUT);
	assert_int_equal(call(remote, getpid, NULL, 0), pid);
	remote__release(remote);
	kill(pid, SIGUSR1);
	assert_int_equal(status_of(pid), 0);
}

static int runs_on(void)
{
	say_ready();
	while (!may_go())
		sched_yield();
	return 7;
}

static void test_ends_meanwhile(void **state)
{
	pid_t pid = start(runs_on);
	struct remote *remote = remote__stop(pid, pid, &code);
	uint64_t result;

	(void)state;
	assert_non_null(remote);
	kill(pid, SIGKILL);
	assert_int_equal(remote__call(remote, (uintptr_t)getpid, NULL, 0, 0, &result), -ESRCH);
	remote__release(remote);
	errno = 0;
	assert_null(remote__stop(pid, pid, &code));
	waitpid(pid, NULL, 0);
	assert_null(remote__stop(pid, pid, &code));
	assert_int_equal(errno, ESRCH);
}

/* What its user has stopped stays stopped, and can be called into all the same. */
static void test_stopped_by_user(void **state)
{
	pid_t pid = start(runs_on);
	struct remote *remote;
	siginfo_t info;

	(void)state;
	kill(pid, SIGSTOP);
	assert_int_equal(waitid(P_PID, pid, &info, WSTOPPED | WNOWAIT), 0);
	remote = remote__stop(pid, pid, &code);
	assert_non_null(remote);
	assert_int_equal(call(remote, getpid, NULL, 0), pid);
	remote__release(remote);
	assert_int_equal(waitid(P_PID, pid, &info, WSTOPPED), 0);
	assert_int_equal(info.si_code, CLD_STOPPED);
	let_go();
	assert_int_equal(waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
	kill(pid, SIGCONT);
	assert_int_equal(status_of(pid), 7);
}

/* ------------------------------------------------------------------ a tracer that is killed */

/* Runs in the target until the test lets it end. */
static uint64_t lasts(void)
{
	shared->seen = 1;
	while (!__atomic_load_n(&shared->lock, __ATOMIC_ACQUIRE))
		sched_yield();
	spoil();
	shared->seen = 2;
	return 0;
}

static int borrows(pid_t pid, void *function)
{
	for (;;) {
		struct remote *remote = remote__stop(pid, pid, &code);
		uint64_t result;

		if (!remote)
			return 1;
		remote__call(remote, (uintptr_t)address_of(function), NULL, 0, 0, &result);
		remote__release(remote);
	}
}

static pid_t start_tracer(pid_t target, void *function)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(borrows(target, function));
	}
	return pid;
}

static void end_tracer(pid_t tracer)
{
	assert_int_equal(waitpid(tracer, NULL, WNOHANG), 0); /* it has not ended by itself */
	kill(tracer, SIGKILL);
	assert_int_equal(status_of(tracer), 1000 + SIGKILL);
}

static uint64_t mask_of(pid_t pid)
{
	char path[64], line[256];
	unsigned long long mask = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "SigBlk: %llx", &mask) == 1)
			break;
	fclose(file);
	return mask;
}

static int reads(void)
{
	struct pollfd input = {.fd = steps[0], .events = POLLIN};
	char bytes[2] = "";

	say_ready();
	if (poll(&input, 1, 50000) != 1 && errno != EINTR)
		return 1;
	if (read(steps[0], bytes, 2) != 2 || bytes[0] != 'x')
		return 2;
	return poll(NULL, 0, 1) ? 3 : 0;
}

/* In the middle of the function: it runs to its end and the thread is where it
 * was, as it was. */
static void test_tracer_dies_in_call(void **state)
{
	pid_t pid, tracer;

	(void)state;
	for (int i = 0; i < 5; i++) {
		pid = start(computes);
		tracer = start_tracer(pid, lasts);
		while (!__atomic_load_n(&shared->seen, __ATOMIC_ACQUIRE))
			sched_yield();
		assert_int_not_equal(mask_of(pid), 0);
		end_tracer(tracer);
		__atomic_store_n(&shared->lock, 1, __ATOMIC_RELEASE);
		while (__atomic_load_n(&shared->seen, __ATOMIC_ACQUIRE) != 2)
			sched_yield();
		shared->sum = 0;
		while (!*(volatile double *)&shared->sum) /* it is back in its computation */
			sched_yield();
		assert_int_equal(mask_of(pid), 0);
		assert_int_equal(sched_getscheduler(pid) & ~SCHED_RESET_ON_FORK, SCHED_OTHER);
		let_go();
		assert_int_equal(status_of(pid), 0);
	}
}

static uint64_t counts(void)
{
	shared->seen++;
	return spoil();
}

/* At any moment. */
static void test_tracer_dies(void **state)
{
	pid_t pid = start(computes), tracer;
	int seen;

	(void)state;
	for (int i = 0; i < 200; i++) {
		seen = shared->seen;
		tracer = start_tracer(pid, counts);
		while (__atomic_load_n(&shared->seen, __ATOMIC_ACQUIRE) == seen)
			sched_yield();
		for (volatile int wait = rand() % 100000; wait; wait--)
			;
		end_tracer(tracer);
	}
	let_go();
	assert_int_equal(status_of(pid), 0);
}

/* Its system call is made anew, or ends as if a signal had come. */
static void test_tracer_dies_while_waiting(void **state)
{
	pid_t pid, tracer;

	(void)state;
	pid = start(reads);
	tracer = start_tracer(pid, lasts);
	while (!__atomic_load_n(&shared->seen, __ATOMIC_ACQUIRE))
		sched_yield();
	end_tracer(tracer);
	__atomic_store_n(&shared->lock, 1, __ATOMIC_RELEASE);
	assert_int_equal(write(steps[1], "xy", 2), 2);
	assert_int_equal(status_of(pid), 0);
}

/* ------------------------------------------------------------------ tests of inject */

static char *read_agent(size_t *size)
{
	FILE *file = fopen(AGENT_PATH, "r");
	char *bytes = malloc(4 << 20);

	if (!file) {
		free(bytes);
		return NULL;
	}
	*size = fread(bytes, 1, 4 << 20, file);
	fclose(file);
	return bytes;
}

static pid_t start_python(int *in)
{
	int to[2], from[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(to, O_CLOEXEC), 0);
	assert_int_equal(pipe2(from, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(to[0], STDIN_FILENO);
		dup2(from[1], STDOUT_FILENO);
		execl(PYTHON, PYTHON, "-I", "-S", "-c",
		      "import os, sys\n"
		      "os.write(1, b'r')\n"
		      "sys.exit(3 if os.read(0, 1) == b'' else 4)",
		      (char *)NULL);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	assert_int_equal(read(from[0], &byte, 1), 1);
	close(from[0]);
	*in = to[1];
	return pid;
}

static int count_descriptors(pid_t pid)
{
	char path[64];
	DIR *dir;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* The address of an exported function of what is mapped there. */
static uint64_t find_function(pid_t pid, const char *library, const char *name)
{
	struct elf_symbol symbol = {.name = name};
	struct elf_notes *elf;
	struct mapping map;
	__u64 bias = 0;
	int fd;

	assert_int_equal(inject__find(pid, library, &map), 1);
	fd = maps__open(pid, &map);
	if (fd < 0)
		return 0; /* without CAP_SYS_ADMIN nobody opens a memfd of another process */
	elf = elf_notes__new(fd, NULL);
	assert_non_null(elf);
	assert_int_equal(elf_notes__load_bias(elf, map.start, map.offset, true, &bias), 0);
	assert_int_equal(elf_notes__find_symbols(elf, &symbol, 1), 1);
	elf_notes__free(elf);
	close(fd);
	return symbol.addr + bias;
}

/* Whether it has mapped what we have given to it. */
static bool maps_page(pid_t pid)
{
	char line[4096], path[64];
	bool found = false;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		found = found || strstr(line, "given-page");
	fclose(maps);
	return found;
}

/* A descriptor of ours that is its own for the time of a call. */
static void start_with_a_page(struct inject *inject, uint64_t function, pid_t pid)
{
	struct wire_values values = {0, 0};
	struct agent_config config = {.size = sizeof(config),
				      .version = AGENT_VERSION,
				      .flags = AGENT_VALUES,
				      .values = -1};
	struct inject_call call = {.function = function,
				   .request = AGENT_START,
				   .data = &config,
				   .size = sizeof(config),
				   .gives = true,
				   .given = memfd_create("given-page", MFD_CLOEXEC),
				   .given_at = offsetof(struct agent_config, values)};
	struct interpreter_reason why;
	int result = 1;

	assert_true(call.given >= 0);
	assert_int_equal(ftruncate(call.given, 4096), 0);
	assert_int_equal(inject__call(inject, &call, &result, &why), 0);
	assert_int_equal(result, -AGENT_NO_VALUES); /* mapped, but nobody keeps it */
	assert_false(maps_page(pid));
	values.vms = 1;
	assert_int_equal(pwrite(call.given, &values, sizeof(values), 0), sizeof(values));
	assert_int_equal(inject__call(inject, &call, &result, &why), 0);
	assert_int_equal(result, 0);
	close(call.given);
	while (maps_page(pid)) /* no tracer is there: it ends by itself; or the alarm comes */
		usleep(1000);
}

static void test_load(void **state)
{
	struct inject_call enter = {.request = AGENT_REGION_ENTER, .data = "", .size = 1};
	struct interpreter_reason why;
	struct interpreter *in;
	struct inject *inject;
	struct mapping map;
	int pipe_end, result = 1, descriptors;
	size_t size = 0;
	char *bytes = read_agent(&size);
	pid_t pid;

	(void)state;
	if (!bytes || access(PYTHON, X_OK))
		skip(); /* needs both */
	pid = start_python(&pipe_end);
	assert_int_equal(interpreter__of_pid(pid, &in, &why), 0);
	descriptors = count_descriptors(pid);
	assert_int_equal(inject__find(pid, AGENT_NAME, &map), 0);
	inject = inject__new(in, &why);
	if (!inject)
		print_message("%s\n", why.text);
	assert_non_null(inject);
	for (int i = 0; i < 3; i++) /* also with the number of a descriptor that was used before */
		assert_int_equal(inject__load(inject, AGENT_NAME, bytes, size, &why), 0);
	assert_true(inject__stopped_ns(inject) > 0);
	enter.function = find_function(pid, AGENT_NAME, AGENT_ENTRY);
	if (enter.function) {
		assert_int_equal(inject__call(inject, &enter, &result, &why), 0);
		assert_int_equal(result, 0);
	}
	if (enter.function)
		start_with_a_page(inject, enter.function, pid);
	assert_int_equal(inject__load(inject, AGENT_NAME, "no library", 10, &why), -ELIBACC);
	assert_non_null(strstr(why.text, "its dynamic linker refuses the agent: "));
	assert_int_equal(inject__load_file(inject, "/nonexistent.so", &why), -ELIBACC);
	assert_non_null(strstr(why.text, "nonexistent"));
	assert_int_equal(count_descriptors(pid), descriptors);
	close(pipe_end);
	assert_int_equal(status_of(pid), 3);
	assert_int_equal(inject__load(inject, AGENT_NAME, bytes, size, &why), -ESRCH);
	assert_non_null(strstr(why.text, "it has ended"));
	inject__free(inject);
	interpreter__free(in);
	free(bytes);
}

/* ------------------------------------------------------------------ tests of maps */

static bool parse(const char *text, struct mapping *map)
{
	static char line[512];

	snprintf(line, sizeof(line), "%s", text);
	return maps__parse(line, map);
}

static void test_maps(void **state)
{
	struct mapping map;

	(void)state;
	assert_true(parse("7fe8-7ff0 r-xp 00001000 fe:01 42      /memfd:pikos-agent (deleted)\n",
			  &map));
	assert_true(map.start == 0x7fe8 && map.end == 0x7ff0 && map.offset == 0x1000);
	assert_true(map.dev_major == 0xfe && map.dev_minor == 1 && map.ino == 42);
	assert_string_equal(map.perms, "r-xp");
	assert_string_equal(map.path, "/memfd:pikos-agent (deleted)");
	assert_true(parse("1-2 rw-p 0 00:00 0 \n", &map));
	assert_string_equal(map.path, "");
	assert_true(parse("1-2 rw-p 0 00:00 0 /a b  c", &map));
	assert_string_equal(map.path, "/a b  c");
	assert_true(parse("1-2 rw-pxxxx 0 00:00 0 /a", &map) == false);
	assert_false(parse("", &map));
	assert_false(parse("1-2", &map));
	assert_false(parse("x-y rw-p 0 00:00 0 /a", &map));
	assert_false(parse("1-2 rw-p 0 00:00", &map));
}

static void *map_memfd(const char *name, int prot)
{
	int fd = memfd_create(name, MFD_CLOEXEC);
	void *memory;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	memory = mmap(NULL, 4096, prot, MAP_PRIVATE, fd, 0);
	assert_true(memory != MAP_FAILED);
	close(fd);
	return memory;
}

/* By the name's beginning, as code, not as data, and not in the middle of another name. */
static void test_find(void **state)
{
	void *others[] = {map_memfd("x" AGENT_NAME, PROT_READ | PROT_EXEC),
			  map_memfd(AGENT_NAME, PROT_READ)};
	struct mapping map;
	void *found;

	(void)state;
	assert_int_equal(inject__find(getpid(), AGENT_NAME, &map), 0);
	found = map_memfd(AGENT_NAME ".2", PROT_READ | PROT_EXEC);
	assert_int_equal(inject__find(getpid(), AGENT_NAME, &map), 1);
	assert_true(map.start == (uintptr_t)found);
	munmap(found, 4096);
	munmap(others[0], 4096);
	munmap(others[1], 4096);
	assert_int_equal(inject__find(0x7ffffff0, AGENT_NAME, &map), -ESRCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_maps),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_restarts_system_calls),
		cmocka_unit_test(test_signals_wait),
		cmocka_unit_test(test_crash),
		cmocka_unit_test(test_lock),
		cmocka_unit_test(test_ends_meanwhile),
		cmocka_unit_test(test_stopped_by_user),
		cmocka_unit_test(test_tracer_dies_in_call),
		cmocka_unit_test(test_tracer_dies),
		cmocka_unit_test(test_tracer_dies_while_waiting),
		cmocka_unit_test(test_load),
	};

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	alarm(TIMEOUT_S);
	find_code();
	return cmocka_run_group_tests_name("inject", tests, NULL, NULL);
}
