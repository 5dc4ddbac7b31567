// SPDX-License-Identifier: BSD-3-Clause
#include "process/reader_internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct reader {
	int fd;
	int pidfd; /* -1: not our process */
	uint32_t serial;
	int dead; /* 0 or the -errno of all further requests */
};

/* Takes the descriptor that came along, if any; @return bytes or -errno */
ssize_t reader_receive(int sock, void *data, size_t size, int *fd, int flags)
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

static int64_t deadline_in(int64_t ms)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ll + now.tv_nsec / 1000000 + ms;
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
			reader_serve(id, fd);
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
	int err = wait_readable(reader->fd, deadline_in(READER_START_MS));

	if (err)
		return err;
	n = reader_receive(reader->fd, &hello, sizeof(hello), &reader->pidfd, 0);
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
	int err = wait_readable(reader->fd, deadline_in(READER_TIMEOUT_MS));

	if (err)
		return err;
	n = reader_receive(reader->fd, reply, sizeof(*reply), fd, MSG_DONTWAIT);
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
