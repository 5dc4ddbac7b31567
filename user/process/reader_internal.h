/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * reader_internal.h - what both sides of the reader's socket share.
 *
 *	reader.c	the library's side: starts the process, asks it, with deadlines
 *	reader_server.c	the process: answers, one request after another
 *	reader_become.c	the process, before that: it becomes the target
 *
 * The process is forked twice, so that it is nobody's child: no SIGCHLD and no zombie for the
 * program that uses the library. It blocks all signals: Ctrl-C at the terminal must not end it
 * before the tracer has written its last lines. After the fork it makes system calls only, for
 * the forking program may have threads.
 */
#ifndef PIKOS_PROCESS_READER_INTERNAL_H
#define PIKOS_PROCESS_READER_INTERNAL_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>

#include "process/reader.h"

#define MAX_LIST (256u * 1024) /* bytes of one directory's names */

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

static inline void close_if(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* reader.c: takes the descriptor that came along, if any; @return bytes or -errno */
ssize_t reader_receive(int sock, void *data, size_t size, int *fd, int flags);

/* reader_server.c: what the forked process does. It ends with its socket. */
void __attribute__((noreturn)) reader_serve(const struct identity *id, int fd);

/* reader_become.c: @param hello its `missing` is set on -EPERM @return 0 or -errno */
int reader_become(const struct identity *id, struct hello *hello);

#endif /* PIKOS_PROCESS_READER_INTERNAL_H */
