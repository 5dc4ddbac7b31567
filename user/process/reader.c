// SPDX-License-Identifier: BSD-3-Clause
/*
 * reader.c - see reader.h
 *
 * The process is forked twice, so that it is nobody's child: no SIGCHLD and no zombie for the
 * program that uses the library. It blocks all signals: Ctrl-C at the terminal must not end it
 * before the tracer has written its last lines. After the fork it makes system calls only, for
 * the forking program may have threads.
 *
 * A file is first opened with O_PATH, which has no side effect on a FIFO or a device, looked at,
 * and then opened again through /proc/self/fd: the kernel checks the rights then, and nobody can
 * exchange the file in between. That directory is opened before the root is left.
 */
#define _GNU_SOURCE 1

#include "process/reader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_LIST (256u * 1024)

enum operation { OP_OPEN, OP_READ, OP_REALPATH, OP_STAT, OP_LIST };

struct request {
	uint32_t op;
	uint32_t serial;
	uint64_t max;
	char path[PATH_MAX]; /* the message ends with the path, which ends with NUL */
};

struct reply {
	uint32_t serial;
	int32_t result; /* -errno; else bytes of path, or an enum reader_type */
	uint64_t size;	/* bytes of the file or list that comes along */
	char path[PATH_MAX];
};

/* The first message: the process has become the target, or which step failed. */
struct hello {
	int32_t err;
	char missing[20];
};

struct reader {
	int fd;
	int pidfd; /* -1: not our process */
	uint32_t serial;
	int dead; /* 0 or the -errno of all further requests */
};

/* ================================================================== the process */

struct server {
	int fd;
	int self_fds; /* /proc/self/fd */
	struct request request;
	struct reply reply;
	char buffer[64 * 1024];
};

static ssize_t send_with_fd(int sock, const void *data, size_t size, int fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {(void *)data, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.space;
		msg.msg_controllen = sizeof(control.space);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(sock, &msg, MSG_NOSIGNAL);
}

/* Takes the descriptor that came along, if any; @return bytes or -errno */
static ssize_t receive_with_fd(int sock, void *data, size_t size, int *fd, int flags)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {data, size};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof(control.space)};
	ssize_t n;

	*fd = -1;
	do
		n = recvmsg(sock, &msg, flags | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR && !(flags & MSG_DONTWAIT));
	if (n < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return n;
}

static void close_if(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void fd_name(char name[16], int fd)
{
	char digits[16];
	int n = 0, k = 0;

	do
		digits[n++] = (char)('0' + fd % 10);
	while (fd /= 10);
	while (n)
		name[k++] = digits[--n];
	name[k] = '\0';
}

/* File systems whose "regular files" are the kernel speaking: reading one can act or block. */
static bool is_magic(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs))
		return true;
	switch ((unsigned long)fs.f_type) {
	case PROC_SUPER_MAGIC:
	case SYSFS_MAGIC:
	case DEBUGFS_MAGIC:
	case TRACEFS_MAGIC:
	case SECURITYFS_MAGIC:
	case CGROUP_SUPER_MAGIC:
	case CGROUP2_SUPER_MAGIC:
	case BPF_FS_MAGIC:
	case SELINUX_MAGIC:
	case 0xde5e81e4u: /* EFIVARFS_MAGIC */
	case 0x62656570u: /* configfs */
	case PSTOREFS_MAGIC:
	case 0x6e736673u: /* NSFS_MAGIC */
		return true;
	}
	return false;
}

/* @return a descriptor for reading, or -errno */
static int server_open(struct server *s)
{
	int path = open(s->request.path, O_PATH | O_CLOEXEC), fd;
	struct stat st;
	char name[16];

	if (path < 0)
		return -errno;
	fd = fstat(path, &st) ? -errno : 0;
	if (!fd && (!S_ISREG(st.st_mode) || is_magic(path)))
		fd = -EINVAL;
	if (!fd && st.st_size > (off_t)READER_MAX_SIZE)
		fd = -EFBIG;
	if (!fd) {
		fd_name(name, path);
		fd = openat(s->self_fds, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (fd < 0)
			fd = -errno;
	}
	close(path);
	return fd;
}

static int write_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n <= 0)
			return n ? -errno : -EIO;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

/* Copy the file into memory of its own: who reads that can neither block nor see it change. */
static int server_read(struct server *s, uint64_t *size)
{
	int in = server_open(s), out, err = 0;
	ssize_t n;

	*size = 0;
	if (in < 0)
		return in;
	out = memfd_create("pikos-reader", MFD_CLOEXEC);
	if (out < 0)
		err = -errno;
	while (!err) {
		n = read(in, s->buffer, sizeof(s->buffer));
		if (n <= 0) {
			err = n ? -errno : 0;
			break;
		}
		*size += (uint64_t)n;
		err = *size > s->request.max ? -EFBIG : write_all(out, s->buffer, (size_t)n);
	}
	close(in);
	if (err) {
		close_if(out);
		return err;
	}
	return out;
}

static int server_realpath(struct server *s)
{
	int fd = open(s->request.path, O_PATH | O_CLOEXEC);
	char name[16];
	ssize_t n;

	if (fd < 0)
		return -errno;
	fd_name(name, fd);
	/* The kernel writes the link from this process's root: the target's. */
	n = readlinkat(s->self_fds, name, s->reply.path, sizeof(s->reply.path) - 1);
	if (n < 0)
		n = -errno;
	else if (s->reply.path[0] != '/')
		n = -ENOENT; /* "(unreachable)..." */
	close(fd);
	return (int)n;
}

static int server_stat(struct server *s)
{
	struct stat st;

	if (fstatat(AT_FDCWD, s->request.path, &st, 0))
		return -errno;
	return S_ISREG(st.st_mode) ? READER_FILE : S_ISDIR(st.st_mode) ? READER_DIR : READER_OTHER;
}

static int list_entries(struct server *s, int dir, int out, uint64_t *size)
{
	char line[1 + 256 + 1];
	long n;

	while ((n = syscall(SYS_getdents64, dir, s->buffer, sizeof(s->buffer))) > 0) {
		for (long i = 0; i < n;) {
			struct dirent64 *e = (struct dirent64 *)(s->buffer + i);
			size_t len = strnlen(e->d_name, 255);
			int err;

			i += e->d_reclen;
			if (*size + len + 2 > MAX_LIST)
				return 0;
			line[0] = e->d_type == DT_DIR	? 'd'
				  : e->d_type == DT_REG ? 'f'
				  : e->d_type == DT_LNK ? 'l'
							: '?';
			memcpy(line + 1, e->d_name, len);
			line[1 + len] = '\0';
			err = write_all(out, line, len + 2);
			if (err)
				return err;
			*size += len + 2;
		}
	}
	return n ? -errno : 0;
}

static int server_list(struct server *s, uint64_t *size)
{
	int dir = open(s->request.path, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC), out, err;

	*size = 0;
	if (dir < 0)
		return -errno;
	out = is_magic(dir) ? -1 : memfd_create("pikos-reader", MFD_CLOEXEC);
	err = out < 0 ? -EINVAL : list_entries(s, dir, out, size);
	close(dir);
	if (err) {
		close_if(out);
		return err;
	}
	return out;
}

static int server_answer(struct server *s, size_t len)
{
	int fd = -1;
	struct reply *reply = &s->reply;
	size_t path = 0;

	*reply = (struct reply){.serial = s->request.serial};
	if (len <= offsetof(struct request, path) || len > sizeof(s->request)) {
		reply->result = -EPROTO;
	} else {
		((char *)&s->request)[len - 1] = '\0';
		switch (s->request.op) {
		case OP_OPEN:
			fd = reply->result = server_open(s);
			break;
		case OP_READ:
			fd = reply->result = server_read(s, &reply->size);
			break;
		case OP_LIST:
			fd = reply->result = server_list(s, &reply->size);
			break;
		case OP_REALPATH:
			reply->result = server_realpath(s);
			path = reply->result > 0 ? (size_t)reply->result : 0;
			break;
		case OP_STAT:
			reply->result = server_stat(s);
			break;
		default:
			reply->result = -EPROTO;
		}
	}
	if (send_with_fd(s->fd, reply, offsetof(struct reply, path) + path, fd) < 0)
		return -errno;
	close_if(fd);
	return 0;
}

static void server_loop(struct server *s)
{
	for (;;) {
		int fd;
		ssize_t n = receive_with_fd(s->fd, &s->request, sizeof(s->request), &fd, 0);

		close_if(fd);
		if (n <= 0 || server_answer(s, (size_t)n))
			_exit(0);
	}
}

/* ------------------------------------------------------------------ becoming the target */

static int set_capabilities(uint64_t keep)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {0};

	data[0].effective = data[0].permitted = (uint32_t)keep;
	data[1].effective = data[1].permitted = (uint32_t)(keep >> 32);
	if (syscall(SYS_capset, &header, data))
		return -errno;
	return 0;
}

static bool has_capability(int cap)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {0};

	return !syscall(SYS_capget, &header, data) &&
	       (data[cap / 32].permitted & (1u << (cap % 32)));
}

static bool same_groups(const struct identity *id)
{
	static gid_t own[NGROUPS_MAX];
	int n = getgroups(NGROUPS_MAX, own);

	if (n < 0 || (size_t)n != id->n_groups)
		return false;
	/* The kernel keeps them sorted, and so writes them. */
	return !n || !memcmp(own, id->groups, (size_t)n * sizeof(*own));
}

/* System calls of their own: glibc's would ask the other threads of the forked program. */
static int take_ids(const struct identity *id, struct hello *hello)
{
	uid_t uid, euid, suid;
	gid_t gid, egid, sgid;

	if (getresuid(&uid, &euid, &suid) || getresgid(&gid, &egid, &sgid))
		return -errno;
	if (!same_groups(id) && syscall(SYS_setgroups, id->n_groups, id->groups)) {
		strcpy(hello->missing, "CAP_SETGID");
		return -errno;
	}
	if ((gid != id->gid || egid != id->gid || sgid != id->gid) &&
	    syscall(SYS_setresgid, id->gid, id->gid, id->gid)) {
		strcpy(hello->missing, "CAP_SETGID");
		return -errno;
	}
	if ((uid != id->uid || euid != id->uid || suid != id->uid) &&
	    syscall(SYS_setresuid, id->uid, id->uid, id->uid)) {
		strcpy(hello->missing, "CAP_SETUID");
		return -errno;
	}
	return 0;
}

static int enter_root(const struct identity *id, struct hello *hello)
{
	if (!id->same_root) {
		if (fchdir(id->root_fd))
			return -errno;
		if (chroot(".")) {
			strcpy(hello->missing, "CAP_SYS_CHROOT");
			return -errno;
		}
	}
	return fchdir(id->cwd_fd) ? -errno : 0;
}

/* Of the target's capabilities only the one to read all files is of use here. */
static int become(const struct identity *id, struct hello *hello)
{
	bool keep = id->reads_all && has_capability(CAP_DAC_READ_SEARCH);
	struct rlimit none = {0, 0};
	int err = enter_root(id, hello);

	if (!err && prctl(PR_SET_KEEPCAPS, keep, 0, 0, 0))
		err = -errno;
	if (!err)
		err = take_ids(id, hello);
	if (err)
		return err;
	prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	err = set_capabilities(keep ? 1ull << CAP_DAC_READ_SEARCH : 0);
	if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		err = -errno;
	/* This is the tracer's memory, and the target's user must not look at it. */
	if (!err && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		err = -errno;
	setrlimit(RLIMIT_CORE, &none);
	return err;
}

/* 0, 1 and 2 are closed too: what is left is the socket and /proc/self/fd. */
static int keep_two(int *a, int *b)
{
	int x = fcntl(*a, F_DUPFD_CLOEXEC, 10), y = fcntl(*b, F_DUPFD_CLOEXEC, 10);
	int lo = x < y ? x : y, hi = x < y ? y : x;

	if (x < 0 || y < 0)
		return -errno;
	/* Since 5.9, older than any kernel that we run on. */
	if (syscall(SYS_close_range, 0, lo - 1, 0) ||
	    (hi > lo + 1 && syscall(SYS_close_range, lo + 1, hi - 1, 0)) ||
	    syscall(SYS_close_range, hi + 1, ~0U, 0))
		return -errno;
	*a = x;
	*b = y;
	return 0;
}

static void __attribute__((noreturn)) serve(const struct identity *id, int fd)
{
	static struct server server; /* a copy of its own after the fork */
	struct server *s = &server;
	struct hello hello = {0};
	int pidfd = -1;

	s->fd = fd;
	s->self_fds = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->self_fds < 0)
		hello.err = -errno;
	if (!hello.err)
		hello.err = become(id, &hello);
	if (!hello.err)
		hello.err = keep_two(&s->fd, &s->self_fds);
	if (!hello.err)
		pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	prctl(PR_SET_NAME, "pikos-reader", 0, 0, 0);
	if (send_with_fd(s->fd, &hello, sizeof(hello), pidfd) < 0 || hello.err)
		_exit(1);
	close_if(pidfd);
	server_loop(s);
	_exit(0);
}

/* ================================================================== the library */

static int wait_readable(int fd, int64_t deadline)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		struct timespec now;
		int64_t left;
		int n;

		clock_gettime(CLOCK_MONOTONIC, &now);
		left = deadline - (now.tv_sec * 1000ll + now.tv_nsec / 1000000);
		if (left <= 0)
			left = 0;
		n = poll(&p, 1, (int)left);
		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int64_t deadline_from_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ll + now.tv_nsec / 1000000 + READER_TIMEOUT_MS;
}

/* Fork twice with all signals blocked. @return 0 or -errno */
static int start(const struct identity *id, int fd)
{
	sigset_t all, before;
	int status, err = 0;
	pid_t pid;

	sigfillset(&all);
	err = -pthread_sigmask(SIG_SETMASK, &all, &before);
	if (err)
		return err;
	pid = fork();
	if (pid < 0)
		err = -errno;
	if (!pid) {
		pid = fork();
		if (!pid)
			serve(id, fd);
		_exit(pid < 0 ? errno : 0);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		return err;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 0; /* SIGCHLD is ignored by the program: reaped already */
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -ECHILD;
}

static int greet(struct reader *reader, const char **missing)
{
	static const char *const names[] = {"CAP_SYS_CHROOT", "CAP_SETUID", "CAP_SETGID"};
	struct hello hello;
	ssize_t n;
	int err = wait_readable(reader->fd, deadline_from_now());

	if (err)
		return err;
	n = receive_with_fd(reader->fd, &hello, sizeof(hello), &reader->pidfd, 0);
	if (n < 0)
		return (int)n;
	if (n != sizeof(hello))
		return -EPIPE;
	for (size_t i = 0; hello.err == -EPERM && missing && i < 3; i++)
		if (!strcmp(hello.missing, names[i]))
			*missing = names[i];
	return hello.err;
}

struct reader *reader__new(const struct identity *id, const char **missing)
{
	struct reader *reader;
	int fds[2], err;

	if (missing)
		*missing = NULL;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		return NULL;
	reader = reader__from_socket(fds[0]);
	if (!reader) {
		close(fds[1]);
		return NULL;
	}
	err = start(id, fds[1]);
	close(fds[1]);
	if (!err)
		err = greet(reader, missing);
	if (err) {
		reader__free(reader);
		errno = -err;
		return NULL;
	}
	return reader;
}

struct reader *reader__from_socket(int fd)
{
	struct reader *reader = calloc(1, sizeof(*reader));

	if (!reader) {
		close(fd);
		errno = ENOMEM;
		return NULL;
	}
	reader->fd = fd;
	reader->pidfd = -1;
	return reader;
}

int reader__socket(const struct reader *reader)
{
	return reader->fd;
}

int reader__detach(struct reader *reader)
{
	int fd = reader->fd;

	close_if(reader->pidfd);
	free(reader);
	return fd;
}

bool reader__dead(const struct reader *reader)
{
	return reader->dead != 0;
}

void reader__free(struct reader *reader)
{
	int err = errno;

	if (!reader)
		return;
	close(reader->fd);
	/* One that hangs in a file system does not see the end of its socket. */
	if (reader->pidfd >= 0) {
		syscall(SYS_pidfd_send_signal, reader->pidfd, SIGKILL, NULL, 0);
		close(reader->pidfd);
	}
	free(reader);
	errno = err;
}

/* Answers to requests that were given up cannot come: the reader is dead then. */
static int await_reply(struct reader *reader, struct reply *reply, int *fd)
{
	ssize_t n;
	int err = wait_readable(reader->fd, deadline_from_now());

	if (err)
		return err;
	n = receive_with_fd(reader->fd, reply, sizeof(*reply), fd, MSG_DONTWAIT);
	if (n == 0 || n == -ECONNRESET)
		return -EPIPE;
	if (n < 0)
		return (int)n;
	if ((size_t)n < offsetof(struct reply, path) || reply->serial != reader->serial)
		return -EPROTO;
	n -= (ssize_t)offsetof(struct reply, path);
	if (n && n != reply->result)
		return -EPROTO;
	return 0;
}

/* @return 0 or -errno, of the request or of the reader; fd may be NULL when none is expected */
static int ask(struct reader *reader, enum operation op, const char *path, size_t len, uint64_t max,
	       struct reply *reply, int *fd)
{
	struct request request = {.op = op, .serial = ++reader->serial, .max = max};
	size_t size = offsetof(struct request, path) + len + 1;
	int got = -1, err;

	if (reader->dead)
		return reader->dead;
	if (!len)
		return -ENOENT;
	if (len >= sizeof(request.path))
		return -ENAMETOOLONG;
	if (memchr(path, '\0', len))
		return -EINVAL;
	memcpy(request.path, path, len);
	request.path[len] = '\0';
	err = send(reader->fd, &request, size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
	if (!err)
		err = await_reply(reader, reply, &got);
	if (err) {
		reader->dead = err == -ECONNRESET ? -EPIPE : err;
		close_if(got);
		return reader->dead;
	}
	if (reply->result < 0 || !fd || got < 0) {
		close_if(got);
		return reply->result < 0 ? reply->result : fd ? -EPROTO : 0;
	}
	*fd = got;
	return 0;
}

int reader__open(struct reader *reader, const char *path, size_t len)
{
	struct reply reply;
	int fd, err = ask(reader, OP_OPEN, path, len, 0, &reply, &fd);

	return err ? err : fd;
}

/* The memory that a reader filled. */
static int take(int fd, uint64_t size, uint64_t max, char **data)
{
	size_t used = 0;
	char *out;

	if (size > max)
		return -EPROTO;
	out = malloc((size_t)size + 1);
	if (!out)
		return -ENOMEM;
	while (used < size) {
		ssize_t n = pread(fd, out + used, (size_t)size - used, (off_t)used);

		if (n <= 0) {
			free(out);
			return n ? -errno : -EPROTO;
		}
		used += (size_t)n;
	}
	out[used] = '\0';
	*data = out;
	return 0;
}

int reader__read_file(struct reader *reader, const char *path, size_t len, size_t max, char **data,
		      size_t *size)
{
	struct reply reply;
	int fd, err = ask(reader, OP_READ, path, len, max, &reply, &fd);

	if (err)
		return err;
	err = take(fd, reply.size, max, data);
	*size = reply.size;
	close(fd);
	return err;
}

int reader__list(struct reader *reader, const char *path, size_t len, char **names, size_t *size)
{
	struct reply reply;
	int fd, err = ask(reader, OP_LIST, path, len, 0, &reply, &fd);

	if (err)
		return err;
	err = take(fd, reply.size, MAX_LIST, names);
	*size = reply.size;
	close(fd);
	return err;
}

int reader__realpath(struct reader *reader, const char *path, size_t len, char *out, size_t size)
{
	struct reply reply;
	int err = ask(reader, OP_REALPATH, path, len, 0, &reply, NULL);

	if (err)
		return err;
	if (reply.result >= PATH_MAX || (size_t)reply.result >= size)
		return -ENAMETOOLONG;
	memcpy(out, reply.path, (size_t)reply.result);
	out[reply.result] = '\0';
	return reply.result;
}

int reader__stat(struct reader *reader, const char *path, size_t len)
{
	struct reply reply;
	int err = ask(reader, OP_STAT, path, len, 0, &reply, NULL);

	return err ? err : reply.result;
}
