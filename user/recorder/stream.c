// SPDX-License-Identifier: BSD-3-Clause
#include "recorder/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_SIZE (256 << 10)

/*
 * How much may pile up behind a reader that stalls while signals arrive: enough for a session to
 * notice its stop flag and detach from the target before it waits for the reader again.
 */
#define MAX_BACKLOG (16 << 20)

struct stream {
	char *path;
	char *name; /* for words: the path, or "stdout" */
	bool quoted;
	int fd; /* -1: not open */
	bool owned;
	int err;
	char *buf;
	size_t len, cap;
	uint64_t records; /* committed */
	uint64_t missing; /* of them, not in the file, after a failure */
	uint64_t bytes;	  /* that the file took */
	char words[PATH_MAX + 256];
};

struct stream *stream__new(const char *path, bool quoted)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->fd = -1;
	s->quoted = quoted;
	s->path = strdup(path ? path : "-");
	s->name = strdup(!path || !strcmp(path, "-") ? "stdout" : path);
	if (!s->path || !s->name) {
		stream__free(s);
		errno = ENOMEM;
		return NULL;
	}
	return s;
}

/*
 * Rows whose end is among the last n bytes of the buffer. Read backwards, because its end is
 * known to be outside quotes and the beginning of what was not written is not.
 */
static uint64_t rows_in_tail(const struct stream *s, size_t n)
{
	const char *p = s->buf + s->len;
	bool inside = false;
	uint64_t rows = 0;

	while (n--) {
		p--;
		if (s->quoted && *p == '"')
			inside = !inside;
		else if (*p == '\n' && !inside)
			rows++;
	}
	return rows;
}

static int fail(struct stream *s, int err, const char *verb)
{
	uint64_t missing = rows_in_tail(s, s->len);
	uint64_t arrived = s->records > missing ? s->records - missing : 0;

	if (!s->err) {
		s->err = err;
		s->missing = s->records - arrived;
		snprintf(s->words, sizeof(s->words),
			 "cannot %s '%s': %s (%llu record%s, %llu bytes written)", verb, s->name,
			 strerror(-err), (unsigned long long)arrived, arrived == 1 ? "" : "s",
			 (unsigned long long)s->bytes);
	}
	return s->err;
}

static int fail_open(struct stream *s, int err)
{
	struct stat st;
	const char *reason = strerror(-err);

	if (err == -ELOOP && !lstat(s->path, &st) && S_ISLNK(st.st_mode))
		reason = "it is a symbolic link, which is not followed";
	snprintf(s->words, sizeof(s->words), "cannot open '%s': %s", s->name, reason);
	return err;
}

/* The descriptor that a path of /dev stands for (they are symbolic links), or -1. */
static int descriptor(const char *path)
{
	char *end;
	long n;

	if (!strcmp(path, "-") || !strcmp(path, "/dev/stdout"))
		return STDOUT_FILENO;
	if (!strcmp(path, "/dev/stderr"))
		return STDERR_FILENO;
	if (strncmp(path, "/dev/fd/", 8) || path[8] < '0' || path[8] > '9')
		return -1;
	errno = 0;
	n = strtol(path + 8, &end, 10);
	return errno || *end || n > INT_MAX ? -1 : (int)n;
}

static int open_descriptor(struct stream *s, int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	if ((flags & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	s->fd = fd;
	s->owned = false;
	return 0;
}

int stream__open(struct stream *s)
{
	int fd = descriptor(s->path), err;

	if (!s->buf) {
		s->buf = malloc(BUFFER_SIZE);
		if (!s->buf)
			return fail_open(s, -ENOMEM);
		s->cap = BUFFER_SIZE;
	}
	if (fd >= 0) {
		err = open_descriptor(s, fd);
		return err ? fail_open(s, err) : 0;
	}
	fd = open(s->path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0600);
	if (fd < 0)
		return fail_open(s, -errno);
	s->fd = fd;
	s->owned = true;
	return 0;
}

/* Write the buffer. May stop at a signal with a rest: -EINTR, and the rest is in the buffer. */
static int drain(struct stream *s)
{
	struct pollfd pfd = {.fd = s->fd, .events = POLLOUT};
	size_t done = 0;
	ssize_t n;
	int err = 0;

	while (done < s->len && !err) {
		n = write(s->fd, s->buf + done, s->len - done);
		if (n < 0)
			err = -errno;
		else
			done += n;
		/* Someone who shares the file, a shell's pipe, may have made it non-blocking. */
		if (err == -EAGAIN)
			err = poll(&pfd, 1, -1) < 0 ? -errno : 0;
	}
	s->bytes += done;
	s->len -= done;
	memmove(s->buf, s->buf + done, s->len);
	return err && err != -EINTR ? fail(s, err, "write") : err;
}

static int make_room(struct stream *s, size_t n)
{
	size_t cap;
	char *grown;
	int err;

	do {
		err = drain(s);
		if (err && err != -EINTR)
			return err;
	} while (s->len > MAX_BACKLOG);
	if (s->cap - s->len >= n)
		return 0;
	cap = s->len + (n > BUFFER_SIZE ? n : BUFFER_SIZE);
	grown = realloc(s->buf, cap);
	if (!grown)
		return fail(s, -ENOMEM, "write");
	s->buf = grown;
	s->cap = cap;
	return 0;
}

char *stream__reserve(struct stream *s, size_t n, const char **limit)
{
	if (s->err || (s->cap - s->len < n && make_room(s, n)))
		return NULL;
	if (limit)
		*limit = s->buf + s->cap;
	return s->buf + s->len;
}

void stream__commit(struct stream *s, const char *end, uint64_t records)
{
	s->len = end - s->buf;
	s->records += records;
}

uint64_t stream__missing(const struct stream *s)
{
	return s->missing;
}

int stream__status(const struct stream *s)
{
	return s->err;
}

int stream__flush(struct stream *s)
{
	int err = s->err ? s->err : drain(s);

	return err == -EINTR ? 0 : err;
}

int stream__close(struct stream *s)
{
	int err = s->err ? s->err : drain(s);

	if (err == -EINTR)
		err = fail(s, err, "write");
	if (s->owned && s->fd >= 0 && close(s->fd) < 0 && errno != EINTR && !err)
		err = fail(s, -errno, "close");
	s->fd = -1;
	return err;
}

void stream__free(struct stream *s)
{
	if (!s)
		return;
	if (s->owned && s->fd >= 0)
		close(s->fd);
	free(s->buf);
	free(s->path);
	free(s->name);
	free(s);
}

const char *stream__error(const struct stream *s)
{
	return s->words;
}
