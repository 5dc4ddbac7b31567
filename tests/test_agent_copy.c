// SPDX-License-Identifier: BSD-3-Clause
/* The agent's file for other tracers: where it is made, whose it is, what is left of it. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "source/agent_copy.h"

static int make_image(size_t size)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_true(fd >= 0);
	for (size_t i = 0; i < size; i += 8)
		assert_int_equal(write(fd, "01234567", 8), 8);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static void test_make(void **state)
{
	struct interpreter_reason why;
	struct agent_copy copy;
	char dir[AGENT_COPY_PATH];
	struct stat file, parent;
	int image = make_image(3 << 20);
	mode_t mask = umask(077);

	(void)state;
	assert_int_equal(agent_copy__make(&copy, getpid(), image, &why), 0);
	umask(mask);
	assert_int_equal(strncmp(copy.path, "/tmp/pikos-agent-", 17), 0);
	assert_int_equal(stat(copy.path, &file), 0);
	assert_int_equal(file.st_mode, S_IFREG | 0644);
	assert_int_equal(file.st_size, 3 << 20);
	snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(copy.path, '/') - copy.path), copy.path);
	assert_int_equal(stat(dir, &parent), 0);
	assert_int_equal(parent.st_mode, S_IFDIR | 0755);
	assert_true(parent.st_uid == geteuid() && file.st_uid == geteuid());

	agent_copy__remove(&copy);
	assert_int_equal(access(dir, F_OK), -1);
	agent_copy__remove(&copy);
	close(image);
}

/* What is mapped is found again; what only has the name is not. */
static void test_find(void **state)
{
	struct interpreter_reason why;
	struct agent_copy copy;
	char path[AGENT_COPY_PATH], moved[AGENT_COPY_PATH + 8];
	int image = make_image(8192), fd;
	void *mapped;

	(void)state;
	assert_int_equal(agent_copy__make(&copy, getpid(), image, &why), 0);
	assert_false(agent_copy__find(getpid(), path));
	fd = open(copy.path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	mapped = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	assert_ptr_not_equal(mapped, MAP_FAILED);
	assert_true(agent_copy__find(getpid(), path));
	assert_string_equal(path, copy.path);

	/* Another file in its place. */
	snprintf(moved, sizeof(moved), "%s.moved", copy.path);
	assert_int_equal(rename(copy.path, moved), 0);
	close(open(copy.path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	assert_false(agent_copy__find(getpid(), path));
	munmap(mapped, 4096);
	close(fd);
	unlink(moved);
	agent_copy__remove(&copy);
	close(image);
}

static void copy_under(unsigned long flags, const char *second, const char *expected)
{
	struct interpreter_reason why = {0};
	struct agent_copy copy;
	int image = make_image(8192), err;

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/tmp", "tmpfs", flags, "mode=1777") ||
	    mount("none", "/var/tmp", "tmpfs", 0, second) ||
	    mount("none", "/dev/shm", "tmpfs", MS_RDONLY, "mode=1777"))
		_exit(2);
	err = agent_copy__make(&copy, getpid(), image, &why);
	if (!expected)
		_exit(err == -ENOENT && strstr(why.text, "no directory") ? 0 : 1);
	_exit(!err && !strncmp(copy.path, expected, strlen(expected)) ? 0 : 1);
}

/* noexec, read-only, and directories that are not everybody's are passed by. */
static void test_places(void **state)
{
	static const struct {
		unsigned long flags;
		const char *second, *expected;
	} cases[] = {
		{0, "mode=1777", "/tmp/"},
		{MS_NOEXEC, "mode=1777", "/var/tmp/"},
		{MS_NOEXEC, "mode=0777", NULL},
		{MS_NOEXEC, "mode=0755", NULL},
	};

	(void)state;
	if (geteuid())
		skip();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int status;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (!pid)
			copy_under(cases[i].flags, cases[i].second, cases[i].expected);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (status)
			fail_msg("case %zu: status 0x%x", i, status);
	}
}

/* A full file system: nothing is left. */
static void test_no_room(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (geteuid())
		skip();
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		struct interpreter_reason why = {0};
		struct agent_copy copy;
		struct stat st;
		int image = make_image(1 << 20), err;

		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("none", "/tmp", "tmpfs", 0, "mode=1777,size=64k"))
			_exit(2);
		err = agent_copy__make(&copy, getpid(), image, &why);
		if (err != -ENOSPC || strcmp(why.next_step, "make room there") != 0)
			_exit(1);
		_exit(stat("/tmp", &st) || st.st_nlink != 2); /* of a directory without others */
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_make),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
