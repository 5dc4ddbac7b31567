// SPDX-License-Identifier: BSD-3-Clause
/* The protocol, the rights, and what the keeper does when it is left alone. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "keeper/protocol.h"
#include "process/packet.h"
#include "keeper/rights.h"

#define CAP(name) (UINT64_C(1) << CAP_##name)
#define DEADLINE  30 /* seconds after which a test that hangs is ended */

static int n_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* ------------------------------------------------------------------ protocol */

static int ends[2];

static int open_ends(void **state)
{
	(void)state;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
}

static int close_ends(void **state)
{
	(void)state;
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static void test_packets(void **state)
{
	struct keeper_request sent = {.verb = KEEPER_ATTACH, .target = 3, .pid = 42}, got;
	int fd = 7;

	(void)state;
	for (int i = 0; i < 3; i++) {
		sent.pid = i;
		assert_int_equal(packet__send(ends[0], &sent, sizeof(sent), -1), 0);
	}
	for (int i = 0; i < 3; i++) {
		memset(&got, 0xff, sizeof(got));
		assert_int_equal(packet__receive(ends[1], &got, sizeof(got), &fd), 0);
		assert_int_equal(got.verb, KEEPER_ATTACH);
		assert_int_equal(got.target, 3);
		assert_int_equal(got.pid, i);
		assert_int_equal(fd, -1);
	}
}

static void test_descriptor(void **state)
{
	struct keeper_reply reply = {.err = -3}, got;
	int n = n_descriptors(), fd = -1, pipes[2];
	char byte = 0;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(packet__send(ends[0], &reply, sizeof(reply), pipes[1]), 0);
	assert_int_equal(packet__receive(ends[1], &got, sizeof(got), &fd), 0);
	assert_int_equal(got.err, -3);
	assert_true(fd >= 0);
	assert_int_not_equal(fd, pipes[1]);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	assert_int_equal(byte, 'x');
	close(fd);
	close(pipes[0]);
	close(pipes[1]);
	assert_int_equal(n_descriptors(), n);
	assert_int_equal(packet__send(ends[0], &reply, sizeof(reply), 250), -EBADF);
}

/* Another size is another protocol, and a descriptor that came with it does not stay open. */
static void test_other_sizes(void **state)
{
	char room[64] = {0}, buf[32];
	int n = n_descriptors(), fd;

	(void)state;
	for (size_t size = 1; size < sizeof(room); size++) {
		assert_int_equal(packet__send(ends[0], room, size, STDERR_FILENO), 0);
		if (size == sizeof(buf)) {
			assert_int_equal(packet__receive(ends[1], buf, sizeof(buf), &fd), 0);
			close(fd);
			continue;
		}
		assert_int_equal(packet__receive(ends[1], buf, sizeof(buf), &fd), -EPROTO);
		assert_int_equal(fd, -1);
		assert_int_equal(n_descriptors(), n);
	}
}

static void test_closed(void **state)
{
	struct keeper_request request = {.verb = KEEPER_CONTINUE};
	int fd;

	(void)state;
	assert_int_equal(packet__send(ends[0], &request, sizeof(request), -1), 0);
	close(ends[0]);
	assert_int_equal(packet__receive(ends[1], &request, sizeof(request), &fd), 0);
	assert_int_equal(packet__receive(ends[1], &request, sizeof(request), &fd), -EPIPE);
	assert_int_equal(packet__send(ends[1], &request, sizeof(request), -1), -EPIPE);
	assert_int_equal(open("/dev/null", O_RDONLY), ends[0]); /* for close_ends */
}

/* ------------------------------------------------------------------ rights */

static uint64_t capabilities(bool effective)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{0}, {0}};

	if (syscall(SYS_capget, &header, data))
		return 1;
	return effective ? (uint64_t)data[1].effective << 32 | data[0].effective
			 : (uint64_t)data[1].permitted << 32 | data[0].permitted;
}

/* In a child, for what is dropped does not come back. @return its status */
static int in_child(int (*what)(void))
{
	int status = 0;
	pid_t pid = fork();

	if (!pid)
		_exit(what());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int drop_some(void)
{
	const uint64_t keep = CAP(KILL) | CAP(BPF) | CAP(PERFMON);
	const uint64_t had = capabilities(false);

	if (keeper__drop_rights(keep))
		return 1;
	if (capabilities(true) != (had & keep) || capabilities(false) != (had & keep))
		return 2;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 3;
	/* Again, with more: nothing is given back. */
	if (keeper__drop_rights(UINT64_MAX) || capabilities(true) != (had & keep))
		return 4;
	if (keeper__drop_rights(0) || capabilities(true) || capabilities(false))
		return 5;
	return chroot("/") && errno == EPERM ? 0 : 6;
}

/* Root that executes a program would be given everything again. */
static int drop_and_exec(void)
{
	if (keeper__drop_rights(0))
		return 1;
	execl("/bin/sh", "sh", "-c", "grep -q '^CapEff:.0*$' /proc/self/status", (char *)NULL);
	return 2;
}

static void test_drop_rights(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: not root, so there is nothing to drop\n");
		skip();
	}
	assert_int_equal(in_child(drop_some), 0);
	assert_int_equal(in_child(drop_and_exec), 0);
}

static int drop_none(void)
{
	if (setresuid(65534, 65534, 65534) || keeper__drop_rights(UINT64_MAX))
		return 1;
	return capabilities(true) || capabilities(false);
}

static void test_drop_without_rights(void **state)
{
	(void)state;
	assert_int_equal(in_child(drop_none), 0);
}

/* ------------------------------------------------------------------ a keeper */

static struct kernel *kernel;

static int load(void **state)
{
	const struct kernel_config config = {.buffer_size = 65536};
	struct kernel_error error = {{0}, {0}};
	bool found[N_FEATURES];

	(void)state;
	alarm(DEADLINE);
	if (geteuid() == 0 && !features__find(found))
		kernel = kernel__new(&config, found, &error);
	return 0;
}

static int unload(void **state)
{
	(void)state;
	kernel__free(kernel);
	kernel = NULL;
	alarm(0);
	return 0;
}

static void need_kernel(void)
{
	if (kernel)
		return;
	print_message("skipped: BPF programs cannot be loaded (not root?)\n");
	skip();
}

static struct keeper *start_keeper(void)
{
	const struct keeper_config config = {0};
	struct keeper *keeper = keeper__start(kernel, &config);

	assert_non_null(keeper);
	return keeper;
}

static void test_start_and_end(void **state)
{
	struct keeper *keeper;
	struct keeper_missed missed = {1, 1};
	int n;

	(void)state;
	need_kernel();
	n = n_descriptors();
	keeper = start_keeper();
	assert_true(fcntl(keeper__fd(keeper), F_GETFD) & FD_CLOEXEC);
	assert_int_equal(keeper__continue(keeper, 0), 0);
	assert_int_equal(keeper__continue(keeper, WIRE_MAX_TARGETS - 1), 0);
	assert_int_equal(keeper__detach(keeper, 5), 0); /* nobody is there */
	assert_int_equal(keeper__detach_all(keeper, &missed), 0);
	assert_int_equal(missed.events + missed.values, 0);
	keeper__free(keeper);
	keeper__free(NULL);
	assert_int_equal(n_descriptors(), n);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* and nobody is left */
	assert_int_equal(errno, ECHILD);
}

/* A pid that was used and is not any more. */
static pid_t gone(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	return pid;
}

static void test_attach_fails(void **state)
{
	struct keeper_attached attached;
	struct keeper *keeper;

	(void)state;
	need_kernel();
	keeper = start_keeper();
	assert_int_equal(keeper__attach(keeper, 0, gone(), &attached), -ESRCH);
	assert_int_equal(attached.why.problem, INTERPRETER_GONE);
	assert_string_equal(attached.why.text, "no such process");
	assert_int_equal(attached.reader_fd, -1);
	/* An index that cannot be is answered as well. */
	assert_int_equal(keeper__attach(keeper, WIRE_MAX_TARGETS, getpid(), &attached), -EINVAL);
	assert_int_equal(keeper__detach(keeper, UINT32_MAX), -EINVAL);
	assert_int_equal(keeper__continue(keeper, UINT32_MAX), 0);
	assert_int_equal(keeper__attach(keeper, 0, getpid(), &attached), 0);
	assert_int_equal(attached.result, KEEPER_NOT_PYTHON);
	assert_int_equal(kernel__targets(kernel)[0].tgid, 0);
	keeper__free(keeper);
}

/* A file that is mapped, and gone; the gap in front of it; what has no file; and nobody. */
static void test_mapping(void **state)
{
	char path[] = "/tmp/test_keeper.XXXXXX", byte = 'x', got = 0;
	int file = mkstemp(path);
	const size_t page = 4096;
	struct keeper_mapping found, gap;
	struct keeper *keeper;
	pid_t child;
	char *area;

	(void)state;
	need_kernel();
	assert_int_equal(pwrite(file, &byte, 1, page), 1);
	area = mmap(NULL, 4 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(mmap(area + 2 * page, page, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED,
			 file, page) != MAP_FAILED);
	unlink(path);
	close(file);
	child = fork();
	if (!child)
		_exit(pause());
	keeper = start_keeper();
	assert_int_equal(keeper__mapping(keeper, 0, 1, &found), -ESRCH);
	assert_int_equal(keeper__mapping(keeper, WIRE_MAX_TARGETS, 1, &found), -EINVAL);
	assert_int_equal(keeper__know(keeper, 0, child), 0);
	assert_int_equal(keeper__mapping(keeper, 0, (uintptr_t)area + 2 * page + 5, &found), 0);
	assert_false(found.is_gap);
	assert_int_equal(found.start, (uintptr_t)area + 2 * page);
	assert_int_equal(found.end, found.start + page);
	assert_int_equal(found.offset, page);
	assert_non_null(strstr(found.name, "(deleted)"));
	assert_null(strchr(found.name, '/'));
	assert_int_equal(pread(found.fd, &got, 1, page), 1);
	assert_int_equal(got, 'x');
	close(found.fd);
	assert_int_equal(keeper__mapping(keeper, 0, (uintptr_t)area + page, &gap), 0);
	assert_true(gap.is_gap && gap.fd < 0);
	assert_int_equal(gap.end, found.start);
	assert_true(gap.start <= (uintptr_t)area + page);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_int_equal(keeper__mapping(keeper, 0, found.start, &found), -ESRCH);
	keeper__free(keeper);
	munmap(area, 4 * page);
}

/* Requests that no loader of ours makes. */
static void test_unknown_verb(void **state)
{
	const struct keeper_request request = {.verb = 99};
	struct keeper_reply reply;
	struct keeper *keeper;
	int fd;

	(void)state;
	need_kernel();
	keeper = start_keeper();
	assert_int_equal(packet__send(keeper__fd(keeper), &request, sizeof(request), -1), 0);
	assert_int_equal(packet__receive(keeper__fd(keeper), &reply, sizeof(reply), &fd), 0);
	assert_int_equal(reply.err, -EINVAL);
	assert_int_equal(fd, -1);
	keeper__free(keeper);
}

/* ------------------------------------------------------------------ the loader dies */

static pid_t sleeper(void)
{
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	assert_true(pid > 0);
	return pid;
}

/* A loader with a keeper that knows the target; killed. @return the keeper's pid */
static pid_t kill_a_loader(pid_t target)
{
	struct keeper_attached attached;
	int pipes[2], status = 0;
	pid_t loader, keeper = -1;

	assert_int_equal(pipe(pipes), 0);
	loader = fork();
	if (!loader) {
		struct keeper *own = start_keeper();
		char path[64];
		int fd;

		if (keeper__attach(own, 0, target, &attached))
			_exit(1);
		snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
		fd = open(path, O_RDONLY);
		dup2(fd, STDIN_FILENO);
		if (scanf("%d", &keeper) != 1 ||
		    write(pipes[1], &keeper, sizeof(keeper)) != sizeof(keeper))
			_exit(2);
		kill(getpid(), SIGKILL);
	}
	close(pipes[1]);
	assert_int_equal(read(pipes[0], &keeper, sizeof(keeper)), sizeof(keeper));
	close(pipes[0]);
	assert_int_equal(waitpid(loader, &status, 0), loader);
	assert_true(WIFSIGNALED(status));
	return keeper;
}

static void wait_until_gone(pid_t pid)
{
	struct pollfd end = {.fd = syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};

	if (end.fd < 0) {
		assert_int_equal(errno, ESRCH);
		return;
	}
	assert_int_equal(poll(&end, 1, DEADLINE * 1000), 1);
	close(end.fd);
}

static bool runs_after_the_loader(void (*prepare)(struct wire_target *wire))
{
	pid_t target = sleeper();
	siginfo_t info = {0};

	memset(kernel__targets(kernel), 0, sizeof(struct wire_target));
	prepare(kernel__targets(kernel));
	assert_int_equal(kill(target, SIGSTOP), 0);
	assert_int_equal(waitid(P_PID, target, &info, WSTOPPED), 0);
	wait_until_gone(kill_a_loader(target));
	info.si_pid = 0;
	assert_int_equal(waitid(P_PID, target, &info, WCONTINUED | WNOHANG), 0);
	kill(target, SIGKILL);
	waitpid(target, NULL, 0);
	assert_int_equal(kernel__targets(kernel)[0].tgid, 0);
	assert_int_equal(kernel__targets(kernel)[0].exec_stop, 0);
	return info.si_pid == target;
}

static void paused(struct wire_target *wire)
{
	wire->stops = 5;
	wire->continued = 4;
}

static void not_paused(struct wire_target *wire)
{
	wire->stops = wire->continued = 5;
}

static void stopped_by_user(struct wire_target *wire)
{
	paused(wire);
	wire->user_stopped = 1;
}

static void stopped_at_exec(struct wire_target *wire)
{
	wire->exec_stop = 1;
}

static void test_loader_dies(void **state)
{
	(void)state;
	need_kernel();
	assert_true(runs_after_the_loader(paused));
	assert_true(runs_after_the_loader(stopped_at_exec));
	assert_false(runs_after_the_loader(not_paused));
	assert_false(runs_after_the_loader(stopped_by_user));
}

/* The loader notices, and asking gives an error, no signal and no waiting. */
static void test_keeper_dies(void **state)
{
	struct keeper_attached attached;
	struct pollfd end = {.events = POLLIN};
	struct keeper *keeper;
	struct keeper_missed missed = {1, 1};
	char path[64];
	pid_t pid = -1;
	FILE *children;

	(void)state;
	need_kernel();
	keeper = start_keeper();
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	children = fopen(path, "r");
	assert_non_null(children);
	assert_int_equal(fscanf(children, "%d", &pid), 1);
	fclose(children);
	assert_int_equal(kill(pid, SIGKILL), 0);
	end.fd = keeper__fd(keeper);
	assert_int_equal(poll(&end, 1, DEADLINE * 1000), 1);
	assert_int_equal(keeper__attach(keeper, 0, getpid(), &attached), -EPIPE);
	assert_int_equal(attached.reader_fd, -1);
	assert_int_equal(keeper__detach_all(keeper, &missed), -EPIPE);
	assert_int_equal(missed.events + missed.values, 0);
	assert_int_equal(keeper__continue(keeper, 0), -EPIPE);
	keeper__free(keeper);
}

#define PACKETS(name) cmocka_unit_test_setup_teardown(name, open_ends, close_ends)
#define KEEPER(name)  cmocka_unit_test_setup_teardown(name, load, unload)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PACKETS(test_packets),
		PACKETS(test_descriptor),
		PACKETS(test_other_sizes),
		PACKETS(test_closed),
		cmocka_unit_test(test_drop_rights),
		cmocka_unit_test(test_drop_without_rights),
		KEEPER(test_start_and_end),
		KEEPER(test_attach_fails),
		KEEPER(test_mapping),
		KEEPER(test_unknown_verb),
		KEEPER(test_loader_dies),
		KEEPER(test_keeper_dies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
