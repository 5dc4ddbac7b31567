/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recorder_support.h - what the tests of recorders share: records from C literals, files read
 * back, and Python as the judge of a format.
 */
#ifndef PIKOS_TESTS_RECORDER_SUPPORT_H
#define PIKOS_TESTS_RECORDER_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor/text.h"
#include "pikos.h"

#define PYTHON "/usr/bin/python3"

struct row {
	struct pikos_record record;
	struct pikos_value values[PIKOS_MAX_FIELDS];
	struct pikos_text *texts[PIKOS_MAX_FIELDS];
	int n;
};

static inline void row_init(struct row *row, const struct pikos_record_type *type)
{
	memset(row, 0, sizeof(*row));
	row->record.type = type;
	row->record.values = row->values;
}

static inline void row_int(struct row *row, int64_t n)
{
	row->values[row->n++] = (struct pikos_value){.kind = PIKOS_INT, .i = n};
}

static inline void row_bytes(struct row *row, const char *bytes, size_t len)
{
	struct pikos_text *text = text__new(bytes, len);

	assert_non_null(text);
	row->texts[row->n] = text;
	row->values[row->n++] = (struct pikos_value){.kind = PIKOS_TEXT, .s = text};
}

static inline void row_text(struct row *row, const char *string)
{
	row_bytes(row, string, strlen(string));
}

static inline void row_free(struct row *row)
{
	int i;

	for (i = 0; i < PIKOS_MAX_FIELDS; i++)
		free(row->texts[i]);
}

/* A record of functions: index,type,function,lineNo,filename. */
static inline void row_function(struct row *row, const struct pikos_record_type *type,
				int64_t index, const char *kind, const char *function, int line,
				const char *filename)
{
	row_init(row, type);
	row_int(row, index);
	row_text(row, kind);
	row_text(row, function);
	row_int(row, line);
	row_text(row, filename);
	row->record.is_call = !strcmp(kind, "call");
	row->record.is_return = !strcmp(kind, "return");
}

/* A new path in a directory of this run; the caller frees it and unlinks the file. */
static inline char *temporary(const char *name)
{
	char *path = malloc(256);

	assert_non_null(path);
	snprintf(path, 256, "/tmp/pikos-test-%d-%s", getpid(), name);
	unlink(path);
	return path;
}

/* The whole of a file; *len is set, a NUL follows. The caller frees it. */
static inline char *slurp_fd(int fd, size_t *len)
{
	size_t cap = 1 << 16;
	char *data = malloc(cap);
	ssize_t n;

	assert_non_null(data);
	*len = 0;
	while ((n = read(fd, data + *len, cap - *len - 1)) > 0) {
		*len += n;
		if (cap - *len < 2) {
			cap *= 2;
			data = realloc(data, cap);
			assert_non_null(data);
		}
	}
	assert_int_equal(n, 0);
	data[*len] = 0;
	return data;
}

static inline char *slurp(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *data;

	assert_true(fd >= 0);
	data = slurp_fd(fd, len);
	close(fd);
	return data;
}

/* What a Python program says of a file that is its argument; the caller frees it. */
static inline char *python(const char *program, const char *argument, size_t *len)
{
	int pipes[2], status;
	char *out;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		dup2(pipes[1], STDOUT_FILENO);
		close(pipes[0]);
		close(pipes[1]);
		execl(PYTHON, PYTHON, "-X", "utf8", "-c", program, argument, (char *)NULL);
		_exit(127);
	}
	close(pipes[1]);
	out = slurp_fd(pipes[0], len);
	close(pipes[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return out;
}

static inline void finish(struct pikos_recorder *rec)
{
	struct pikos_summary summary = {0};

	assert_int_equal(pikos_recorder__finalize(rec, &summary), 0);
	pikos_recorder__free(rec);
}

#endif /* PIKOS_TESTS_RECORDER_SUPPORT_H */
