/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stream.h - a buffered output file of rows, which knows how much of it arrived.
 *
 * The buffer only ever ends between two rows, so that a flushed file is readable whatever
 * happens next. The first failure sticks: every later call returns it.
 */
#ifndef PIKOS_RECORDER_STREAM_H
#define PIKOS_RECORDER_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream;

/*
 * @param path copied; NULL or "-": stdout; /dev/stdout, /dev/stderr, /dev/fd/N: that descriptor
 * @param quoted a newline between two `"` does not end a row (CSV)
 * @return NULL with errno ENOMEM
 */
struct stream *stream__new(const char *path, bool quoted);

/*
 * @brief Open for writing: O_NOFOLLOW, O_CLOEXEC, truncated; mode 0600 if it is made, an
 * existing file keeps its mode. A FIFO waits for its reader.
 * @return 0 or -errno (ELOOP: a symbolic link); may be called again after an error
 */
int stream__open(struct stream *s);

/*
 * @param limit NULL, or set to the end of the room there is, which may be more than n
 * @return room for a row of at most n bytes, or NULL: see stream__status
 */
char *stream__reserve(struct stream *s, size_t n, const char **limit);

/* @brief Rows were written into the room. @param end past the last byte; @param records 0: a header
 */
void stream__commit(struct stream *s, const char *end, uint64_t records);

/* @return how many records were committed that the file did not take, after a failure */
uint64_t stream__missing(const struct stream *s);

/* @return 0, or the first failure as -errno */
int stream__status(const struct stream *s);

/*
 * @brief Write what is buffered, with one write unless the file takes less. A signal while the
 * file takes nothing (a full pipe) leaves the rest in memory, up to a bound, and is no error.
 */
int stream__flush(struct stream *s);

/* @brief Flush and close. A signal while the file takes nothing is -EINTR here. */
int stream__close(struct stream *s);

/* Does not flush. NULL is fine. */
void stream__free(struct stream *s);

/* @return "cannot write 'x.csv': No space left on device (12 records, 640 bytes written)" or "" */
const char *stream__error(const struct stream *s);

#endif /* PIKOS_RECORDER_STREAM_H */
