// SPDX-License-Identifier: BSD-3-Clause
/* Needs root for nearly everything: targets of other users and in other roots. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
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
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "process/identity.h"
#include "process/reader.h"

#define NOBODY 65534

static char tree[64]; /* of files, made once */

/* ------------------------------------------------------------------ targets */

struct target {
	pid_t pid;
	int release; /* closing it ends the target */
};

struct shape {
	uid_t uid; /* gid too */
	gid_t group;
	uid_t fsuid; /* 0: uid */
	const char *root, *cwd;
	bool no_caps, own_users;
};

static void drop_caps(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {0};

	if (syscall(SYS_capset, &header, data))
		_exit(9);
}

static void take_shape(const struct shape *shape)
{
	if (shape->root && (chdir(shape->root) || chroot(".")))
		_exit(9);
	if (shape->cwd && chdir(shape->cwd))
		_exit(9);
	if (setgroups(shape->group ? 1 : 0, &shape->group) ||
	    setresgid(shape->uid, shape->uid, shape->uid) ||
	    setresuid(shape->uid, shape->uid, shape->uid))
		_exit(9);
	if (shape->fsuid)
		setfsuid(shape->fsuid);
	if (shape->no_caps)
		drop_caps();
	if (shape->own_users && unshare(CLONE_NEWUSER))
		_exit(9);
}

static struct target start(struct shape shape)
{
	int ready[2], release[2];
	struct target t;
	char c;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	assert_int_equal(pipe2(release, O_CLOEXEC), 0);
	t.pid = fork();
	assert_true(t.pid >= 0);
	if (!t.pid) {
		close(release[1]);
		take_shape(&shape);
		if (write(ready[1], "r", 1) != 1)
			_exit(9);
		_exit(read(release[0], &c, 1) == 0 ? 0 : 9);
	}
	close(ready[1]);
	close(release[0]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	t.release = release[1];
	return t;
}

static void stop(struct target t)
{
	int status;

	close(t.release);
	assert_int_equal(waitpid(t.pid, &status, 0), t.pid);
	assert_int_equal(status, 0);
}

static struct reader *reader_of(struct shape shape)
{
	struct target t = start(shape);
	struct identity *id = identity__of_pid(t.pid);
	struct reader *r;

	assert_non_null(id);
	r = reader__new(id, NULL);
	if (!r)
		fail_msg("reader__new: %s", strerror(errno));
	identity__free(id);
	stop(t);
	return r;
}

static int open_path(struct reader *r, const char *path)
{
	return reader__open(r, path, strlen(path));
}

static void expect_file(struct reader *r, const char *path, const char *content)
{
	char *data, got[64] = "";
	size_t size;
	int fd = open_path(r, path);

	if (fd < 0)
		fail_msg("%s: %s", path, strerror(-fd));
	assert_int_equal(read(fd, got, sizeof(got) - 1), strlen(content));
	assert_string_equal(got, content);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	close(fd);
	assert_int_equal(reader__read_file(r, path, strlen(path), 1000, &data, &size), 0);
	assert_int_equal(size, strlen(content));
	assert_string_equal(data, content);
	free(data);
}

/* The reader tells its own pid by the one magic link that realpath shows. */
static pid_t pid_of(struct reader *r)
{
	char path[PATH_MAX];

	assert_true(reader__realpath(r, "/proc/self", 10, path, sizeof(path)) > 6);
	return atoi(path + 6);
}

static int pidfd_of(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	assert_true(fd >= 0);
	return fd;
}

static void expect_end(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	assert_int_equal(poll(&p, 1, 5000), 1);
	close(pidfd);
}

/* ------------------------------------------------------------------ tests */

static void status_line(pid_t pid, const char *name, char *value)
{
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	assert_non_null(f);
	*value = '\0';
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)))
			strcpy(value, line + strlen(name));
	fclose(f);
}

static void nobody_is_refused(void **state)
{
	struct reader *r = reader_of((struct shape){.uid = NOBODY, .cwd = tree});
	char *data;
	size_t size;

	(void)state;
	assert_int_equal(open_path(r, "/etc/shadow"), -EACCES);
	assert_int_equal(reader__read_file(r, "/etc/shadow", 11, 1 << 20, &data, &size), -EACCES);
	assert_int_equal(open_path(r, "link-to-shadow"), -EACCES);
	assert_int_equal(open_path(r, "of-daemon"), -EACCES);
	assert_int_equal(open_path(r, "private/x.py"), -EACCES);
	assert_int_equal(reader__stat(r, "private/x.py", 12), -EACCES);
	assert_int_equal(open_path(r, "of-group"), -EACCES);
	expect_file(r, "x.py", "world\n");
	reader__free(r);
}

static void groups_count(void **state)
{
	struct reader *r = reader_of((struct shape){.uid = NOBODY, .group = 4242, .cwd = tree});

	(void)state;
	expect_file(r, "of-group", "group\n");
	assert_int_equal(open_path(r, "of-daemon"), -EACCES);
	reader__free(r);
}

/* A file server serves a user by its fsuid: that is what the kernel asks. */
static void fsuid_counts(void **state)
{
	struct reader *r = reader_of((struct shape){.fsuid = 1, .cwd = tree});

	(void)state;
	expect_file(r, "of-daemon", "daemon\n");
	assert_int_equal(open_path(r, "private/x.py"), -EACCES);
	reader__free(r);
}

/* A root program in a private home directory reads its own source; one without rights does not. */
static void root_reads_all_if_it_may(void **state)
{
	struct reader *r = reader_of((struct shape){.cwd = tree});

	(void)state;
	expect_file(r, "private/x.py", "private\n");
	reader__free(r);
	r = reader_of((struct shape){.cwd = tree, .no_caps = true});
	assert_int_equal(open_path(r, "private/x.py"), -EACCES);
	expect_file(r, "x.py", "world\n");
	reader__free(r);
}

/* In a user namespace of its own anybody has every capability, and they count for nothing here. */
static void capabilities_of_a_namespace(void **state)
{
	struct target t = start((struct shape){.uid = NOBODY, .cwd = tree, .own_users = true});
	struct identity *id = identity__of_pid(t.pid);
	struct reader *r;
	char value[256];

	(void)state;
	status_line(t.pid, "CapEff:", value);
	assert_string_not_equal(value, "\t0000000000000000\n");
	assert_non_null(id);
	assert_false(id->reads_all);
	r = reader__new(id, NULL);
	assert_non_null(r);
	assert_int_equal(open_path(r, "private/x.py"), -EACCES);
	expect_file(r, "x.py", "world\n");
	reader__free(r);
	identity__free(id);
	stop(t);
}

static void another_root(void **state)
{
	struct reader *r = reader_of((struct shape){.uid = NOBODY, .root = tree, .cwd = "/sub"});
	char path[PATH_MAX];

	(void)state;
	expect_file(r, "/absolute", "world\n");
	expect_file(r, "../x.py", "world\n");
	expect_file(r, "../../../x.py", "world\n");
	assert_int_equal(open_path(r, "/etc/passwd"), -ENOENT);
	assert_int_equal(reader__realpath(r, "/absolute", 9, path, sizeof(path)), 5);
	assert_string_equal(path, "/x.py");
	assert_int_equal(reader__realpath(r, ".", 1, path, sizeof(path)), 4);
	assert_string_equal(path, "/sub");
	reader__free(r);
}

static void only_regular_files(void **state)
{
	struct reader *r = reader_of((struct shape){.cwd = tree});

	(void)state;
	assert_int_equal(open_path(r, "fifo"), -EINVAL);
	assert_int_equal(open_path(r, "sub"), -EINVAL);
	assert_int_equal(open_path(r, "/dev/zero"), -EINVAL);
	assert_int_equal(open_path(r, "/proc/self/status"), -EINVAL);
	assert_int_equal(open_path(r, "/proc/1/environ"), -EINVAL);
	assert_int_equal(open_path(r, "/sys/kernel/notes"), -EINVAL);
	assert_int_equal(open_path(r, "huge"), -EFBIG);
	assert_int_equal(reader__stat(r, "fifo", 4), READER_OTHER);
	assert_int_equal(reader__stat(r, "sub", 3), READER_DIR);
	assert_int_equal(reader__stat(r, "x.py", 4), READER_FILE);
	assert_int_equal(reader__stat(r, "none", 4), -ENOENT);
	assert_false(reader__dead(r));
	reader__free(r);
}

static void bad_requests(void **state)
{
	struct reader *r = reader_of((struct shape){.cwd = tree});
	char path[5000], small[4], *data;
	size_t size;

	(void)state;
	memset(path, 'a', sizeof(path));
	assert_int_equal(reader__open(r, path, sizeof(path)), -ENAMETOOLONG);
	assert_int_equal(reader__open(r, path, 4096), -ENAMETOOLONG);
	for (size_t i = 0; i < 4094; i += 2)
		memcpy(path + i, "./", 2);
	memcpy(path + 4090, "/x.py", 5);
	assert_int_equal(reader__stat(r, path, 4095), READER_FILE);
	assert_int_equal(reader__open(r, "", 0), -ENOENT);
	assert_int_equal(reader__open(r, "x.py\0y", 6), -EINVAL);
	assert_int_equal(reader__realpath(r, "x.py", 4, small, sizeof(small)), -ENAMETOOLONG);
	assert_int_equal(reader__read_file(r, "x.py", 4, 5, &data, &size), -EFBIG);
	assert_int_equal(reader__read_file(r, "x.py", 4, 6, &data, &size), 0);
	free(data);
	reader__free(r);
}

static void listing(void **state)
{
	struct reader *r = reader_of((struct shape){.uid = NOBODY, .cwd = tree});
	bool seen[3] = {false};
	char *names;
	size_t size;

	(void)state;
	assert_int_equal(reader__list(r, ".", 1, &names, &size), 0);
	for (size_t i = 0; i < size; i += strlen(names + i) + 1) {
		seen[0] |= !strcmp(names + i, "dsub");
		seen[1] |= !strcmp(names + i, "fx.py");
		seen[2] |= !strcmp(names + i, "labsolute");
	}
	assert_true(seen[0] && seen[1] && seen[2]);
	free(names);
	assert_int_equal(reader__list(r, "private", 7, &names, &size), -EACCES);
	assert_int_equal(reader__list(r, "x.py", 4, &names, &size), -ENOTDIR);
	reader__free(r);
}

static void has_no_rights(void **state)
{
	static const char *const caps[] = {"CapInh:", "CapPrm:", "CapEff:", "CapAmb:"};
	int high = fcntl(0, F_DUPFD, 500);
	struct reader *r = reader_of((struct shape){.uid = NOBODY, .group = 4242});
	pid_t pid = pid_of(r);
	char value[256], path[64];
	struct stat st;
	int own;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		status_line(pid, caps[i], value);
		assert_string_equal(value, "\t0000000000000000\n");
	}
	status_line(pid, "NoNewPrivs:", value);
	assert_string_equal(value, "\t1\n");
	status_line(pid, "Uid:", value);
	assert_string_equal(value, "\t65534\t65534\t65534\t65534\n");
	status_line(pid, "Gid:", value);
	assert_string_equal(value, "\t65534\t65534\t65534\t65534\n");
	status_line(pid, "Groups:", value);
	assert_string_equal(value, "\t4242 \n");
	/* Not dumpable: /proc shows root as the owner, and the target's user cannot ptrace it. */
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, 0);
	/* The socket, /proc/self/fd, and nothing of ours. */
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	own = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(own >= 0);
	for (int fd = 0, n = 0; fd < 1024; fd++) {
		snprintf(path, sizeof(path), "%d", fd);
		n += !fstatat(own, path, &st, AT_SYMLINK_NOFOLLOW);
		if (fd == 1023)
			assert_int_equal(n, 2);
	}
	close(own);
	close(high);
	reader__free(r);
}

static void parent_killed(void **state)
{
	int fds[2], status, pidfd;
	pid_t parent, pid;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	parent = fork();
	assert_true(parent >= 0);
	if (!parent) {
		struct reader *r = reader_of((struct shape){.cwd = tree});

		pid = pid_of(r);
		if (write(fds[1], &pid, sizeof(pid)) != sizeof(pid))
			_exit(9);
		for (;;)
			pause();
	}
	assert_int_equal(read(fds[0], &pid, sizeof(pid)), sizeof(pid));
	pidfd = pidfd_of(pid);
	assert_int_equal(kill(parent, SIGKILL), 0);
	expect_end(pidfd);
	assert_int_equal(waitpid(parent, &status, 0), parent);
	close(fds[0]);
	close(fds[1]);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Stopped, it answers as little as one that hangs in a file system. */
static void never_answers(void **state)
{
	struct reader *r = reader_of((struct shape){.uid = NOBODY, .cwd = tree});
	pid_t pid = pid_of(r);
	int pidfd = pidfd_of(pid);
	double start_time = seconds();

	(void)state;
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(open_path(r, "x.py"), -ETIMEDOUT);
	assert_true(seconds() - start_time >= 0.99);
	assert_true(seconds() - start_time < 5);
	assert_true(reader__dead(r));
	start_time = seconds();
	assert_int_equal(open_path(r, "x.py"), -ETIMEDOUT);
	assert_true(seconds() - start_time < 0.5);
	reader__free(r);
	expect_end(pidfd);
}

static void killed(void **state)
{
	struct reader *r = reader_of((struct shape){.cwd = tree});
	pid_t pid = pid_of(r);
	int pidfd = pidfd_of(pid);

	(void)state;
	/* Ctrl-C at the terminal reaches it too. */
	assert_int_equal(kill(pid, SIGINT), 0);
	assert_int_equal(kill(pid, SIGTERM), 0);
	expect_file(r, "x.py", "world\n");
	assert_int_equal(kill(pid, SIGKILL), 0);
	expect_end(pidfd);
	assert_int_equal(open_path(r, "x.py"), -EPIPE);
	assert_true(reader__dead(r));
	reader__free(r);
}

static void handed_over(void **state)
{
	struct reader *r = reader_of((struct shape){.cwd = tree});
	int fd = reader__detach(r);

	(void)state;
	r = reader__from_socket(fd);
	assert_non_null(r);
	assert_int_equal(reader__socket(r), fd);
	expect_file(r, "x.py", "world\n");
	reader__free(r);
}

/* In a process of its own, that has lost its rights. @return 0, or which step went wrong */
static int without_rights(const struct identity *id, const char *want)
{
	const char *missing = "nothing was said";
	char *argv[] = {"x", NULL};
	struct identity *self;
	struct reader *r;
	int fd;

	take_shape(&(struct shape){.uid = NOBODY, .cwd = tree});
	r = reader__new(id, &missing);
	if (r || errno != EPERM)
		return 1;
	if (!missing || strcmp(missing, want))
		return 2;
	self = identity__of_self(argv);
	if (!self || self->uid != NOBODY)
		return 3;
	r = reader__new(self, &missing);
	if (!r || missing)
		return 4;
	fd = open_path(r, "x.py");
	if (fd < 0 || open_path(r, "/etc/shadow") != -EACCES)
		return 5;
	close(fd);
	identity__free(self);
	reader__free(r);
	return 0;
}

static void names_the_capability(void **state)
{
	static const struct {
		struct shape shape;
		const char *missing;
	} cases[] = {
		{{.uid = 1, .group = 0}, "CAP_SETGID"},
		{{.uid = NOBODY, .group = 4242}, "CAP_SETGID"},
		{{.uid = NOBODY, .root = tree}, "CAP_SYS_CHROOT"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct target t = start(cases[i].shape);
		struct identity *id = identity__of_pid(t.pid);
		int status;
		pid_t pid;

		assert_non_null(id);
		pid = fork();
		if (!pid)
			_exit(without_rights(id, cases[i].missing));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
		identity__free(id);
		stop(t);
	}
}

static void uid_only(void **state)
{
	struct target t = start((struct shape){.uid = NOBODY});
	struct identity *id = identity__of_pid(t.pid);
	int status;
	pid_t pid;

	(void)state;
	assert_non_null(id);
	id->uid = 1;
	pid = fork();
	if (!pid)
		_exit(without_rights(id, "CAP_SETUID"));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	identity__free(id);
	stop(t);
}

/* The program that uses the library never sees the process as its child. */
static void nobodys_child(void **state)
{
	struct reader *r = reader_of((struct shape){.cwd = tree});

	(void)state;
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	reader__free(r);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

/* ------------------------------------------------------------------ identity */

static void who_it_is(void **state)
{
	struct target t = start((struct shape){.uid = NOBODY, .group = 4242, .root = tree});
	struct identity *id = identity__of_pid(t.pid);
	struct stat root, want;

	(void)state;
	assert_non_null(id);
	assert_int_equal(id->pid, t.pid);
	assert_int_equal(id->uid, NOBODY);
	assert_int_equal(id->gid, NOBODY);
	assert_int_equal(id->n_groups, 1);
	assert_int_equal(id->groups[0], 4242);
	assert_false(id->reads_all);
	assert_false(id->same_root);
	assert_int_equal(fstat(id->root_fd, &root), 0);
	assert_int_equal(stat(tree, &want), 0);
	assert_int_equal(root.st_ino, want.st_ino);
	identity__free(id);
	stop(t);
	assert_null(identity__of_pid(t.pid));
	assert_int_equal(errno, ESRCH);
	assert_null(identity__of_pid(-1));
}

static void what_it_was_told(void **state)
{
	char *argv[] = {"/bin/sleep", "600", NULL};
	char *envp[] = {"PYTHONPATH=/a:/b",
			"PYTHONPATH=/second",
			"HOME=",
			"PYTHONPATHX=/no",
			"PYTHONNOUSERSITE=1",
			"=",
			NULL};
	int closed[2], status;
	struct identity *id;
	pid_t pid;
	char c;

	(void)state;
	assert_int_equal(pipe2(closed, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		execve(argv[0], argv, envp);
		_exit(127);
	}
	close(closed[1]);
	assert_int_equal(read(closed[0], &c, 1), 0); /* exec closed its copy */
	close(closed[0]);
	id = identity__of_pid(pid);
	assert_non_null(id);
	assert_int_equal(id->argc, 2);
	assert_string_equal(id->argv[1], "600");
	assert_null(id->argv[2]);
	assert_string_equal(id->env.pythonpath, "/a:/b");
	assert_string_equal(id->env.home, "");
	assert_true(id->env.nousersite);
	assert_false(id->env.safepath);
	assert_null(id->env.path);
	assert_true(id->same_root);
	assert_true(id->exe_fd >= 0);
	assert_non_null(strstr(id->exe, "/bin/sleep"));
	identity__free(id);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void own_identity(void **state)
{
	char *argv[] = {"python3", "x.py", NULL};
	struct identity *id = identity__of_self(argv);
	struct reader *r;

	(void)state;
	assert_non_null(id);
	assert_int_equal(id->uid, geteuid());
	assert_int_equal(id->argc, 2);
	assert_string_equal(id->argv[1], "x.py");
	assert_string_equal(id->env.path, getenv("PATH"));
	assert_null(id->exe);
	r = reader__new(id, NULL);
	assert_non_null(r);
	identity__free(id);
	assert_int_equal(reader__stat(r, "/", 1), READER_DIR);
	reader__free(r);
}

/* ------------------------------------------------------------------ files */

static void put(const char *name, const char *content, mode_t mode, uid_t uid, gid_t gid)
{
	int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, strlen(content)), strlen(content));
	assert_int_equal(fchown(fd, uid, gid), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static int make_tree(void **state)
{
	(void)state;
	strcpy(tree, "/tmp/pikos-test-reader-XXXXXX");
	assert_non_null(mkdtemp(tree));
	assert_int_equal(chmod(tree, 0755), 0);
	assert_int_equal(chdir(tree), 0);
	assert_int_equal(mkdir("sub", 0755) | mkdir("private", 0700), 0);
	assert_int_equal(chown("private", 2, 2), 0);
	put("x.py", "world\n", 0644, 0, 0);
	put("private/x.py", "private\n", 0600, 2, 2);
	put("of-daemon", "daemon\n", 0600, 1, 1);
	put("of-group", "group\n", 0640, 0, 4242);
	put("huge", "", 0644, 0, 0);
	assert_int_equal(truncate("huge", (off_t)READER_MAX_SIZE + 1), 0);
	assert_int_equal(mkfifo("fifo", 0666), 0);
	assert_int_equal(symlink("/etc/shadow", "link-to-shadow"), 0);
	assert_int_equal(symlink("/x.py", "absolute"), 0);
	return 0;
}

static int remove_tree(void **state)
{
	static const char *const names[] = {"private/x.py", "x.py", "of-daemon",      "of-group",
					    "huge",	    "fifo", "link-to-shadow", "absolute"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(unlink(names[i]), 0);
	assert_int_equal(rmdir("sub") | rmdir("private"), 0);
	assert_int_equal(chdir("/"), 0);
	return rmdir(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_is_refused),
		cmocka_unit_test(groups_count),
		cmocka_unit_test(fsuid_counts),
		cmocka_unit_test(root_reads_all_if_it_may),
		cmocka_unit_test(capabilities_of_a_namespace),
		cmocka_unit_test(another_root),
		cmocka_unit_test(only_regular_files),
		cmocka_unit_test(bad_requests),
		cmocka_unit_test(listing),
		cmocka_unit_test(has_no_rights),
		cmocka_unit_test(parent_killed),
		cmocka_unit_test(never_answers),
		cmocka_unit_test(killed),
		cmocka_unit_test(handed_over),
		cmocka_unit_test(names_the_capability),
		cmocka_unit_test(uid_only),
		cmocka_unit_test(nobodys_child),
		cmocka_unit_test(who_it_is),
		cmocka_unit_test(what_it_was_told),
		cmocka_unit_test(own_identity),
	};

	if (geteuid()) {
		printf("skipped: needs root, for targets of other users\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
