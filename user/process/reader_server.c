// SPDX-License-Identifier: BSD-3-Clause
/*
 * A file is first opened with O_PATH, which has no side effect on a FIFO or a device, looked at,
 * and then opened again through /proc/self/fd: the kernel checks the rights then, and nobody can
 * exchange the file in between. That directory is opened before the root is left.
 */
#include "process/reader_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "process/packet.h"

struct server {
	int fd;
	int self_fds; /* /proc/self/fd */
	struct request request;
	struct reply reply;
	char buffer[64 * 1024];
};

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
	if (packet__send(s->fd, reply, offsetof(struct reply, path) + path, fd) < 0)
		return -errno;
	close_if(fd);
	return 0;
}

static void server_loop(struct server *s)
{
	for (;;) {
		int fd;
		ssize_t n = reader_receive(s->fd, &s->request, sizeof(s->request), &fd, 0);

		close_if(fd);
		if (n <= 0 || server_answer(s, (size_t)n))
			_exit(0);
	}
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

void __attribute__((noreturn)) reader_serve(const struct identity *id, int fd)
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
		hello.err = reader_become(id, &hello);
	if (!hello.err)
		hello.err = keep_two(&s->fd, &s->self_fds);
	if (!hello.err)
		pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	prctl(PR_SET_NAME, "pikos-reader", 0, 0, 0);
	if (packet__send(s->fd, &hello, sizeof(hello), pidfd) < 0 || hello.err)
		_exit(1);
	close_if(pidfd);
	server_loop(s);
	_exit(0);
}
