/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * reader.h - opens files that a target names, with the target's rights and inside its root.
 *
 * A small process of ours that has become the target: same root, working directory, uid, gid
 * and groups, no capability (but CAP_DAC_READ_SEARCH where the target itself may read all
 * files), no other file descriptor than its socket. So the kernel decides what may be read: a
 * program of user nobody that claims to come from /etc/shadow gets -EACCES. It ends when the
 * other end of its socket is closed, in whatever way.
 *
 * Only regular files of at most READER_MAX_SIZE bytes are opened, and none of /proc, /sys and
 * their like. Every request has a deadline of READER_TIMEOUT_MS (a FUSE file system of the target
 * may never answer); after one that passed the reader is dead and all requests return -ETIMEDOUT.
 *
 * Paths are bytes, absolute in the target's root or relative to its working directory; longer
 * than 4095: -ENAMETOOLONG; empty: -ENOENT; with a NUL byte: -EINVAL. One reader belongs to one
 * thread.
 */
#ifndef PIKOS_PROCESS_READER_H
#define PIKOS_PROCESS_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "process/identity.h"

#define READER_MAX_SIZE	  (64u << 20) /* bytes */
#define READER_TIMEOUT_MS 1000
#define READER_START_MS	  10000 /* of its start: forks on a host that is busy */

struct reader;

/*
 * @brief Start a reader for a target. The identity is not needed afterwards.
 *
 * The caller needs CAP_SYS_CHROOT when the target's root is another, CAP_SETUID and CAP_SETGID
 * when its ids are; nothing when both are the caller's own.
 *
 * @param missing if not NULL: set on EPERM to the capability that the failing call lacks
 *        ("CAP_SYS_CHROOT", "CAP_SETUID", "CAP_SETGID"), else to NULL
 * @return NULL and errno
 */
struct reader *reader__new(const struct identity *id, const char **missing);

/*
 * @brief Use the reader behind a socket that another process made and sent by SCM_RIGHTS.
 * @param fd owned by the reader from here on, even on failure
 */
struct reader *reader__from_socket(int fd);

/* @return the socket, still owned by the reader. Only one process may use it at a time. */
int reader__socket(const struct reader *reader);

/* @brief Forget the reader, but leave its process running. @return the socket, now the caller's */
int reader__detach(struct reader *reader);

/* @return a descriptor (O_RDONLY, O_CLOEXEC) owned by the caller, or -errno: -EACCES, -ENOENT, ...;
 *         -EINVAL: not a regular file; -EFBIG; -EPIPE: the reader was killed; -ETIMEDOUT */
int reader__open(struct reader *reader, const char *path, size_t len);

/*
 * @brief Read a whole file. The bytes are read by the reader too, within the deadline.
 * @param data malloc'ed, a NUL after the last byte that size does not count
 * @param max bytes; -EFBIG when the file is longer
 */
int reader__read_file(struct reader *reader, const char *path, size_t len, size_t max, char **data,
		      size_t *size);

/* @brief The path without symlinks, as the target sees it, NUL-terminated.
 * @return its length or -errno; -ENAMETOOLONG: out is too small (PATH_MAX always fits) */
int reader__realpath(struct reader *reader, const char *path, size_t len, char *out, size_t size);

enum reader_type { READER_OTHER, READER_FILE, READER_DIR };

/* @return an enum reader_type (symlinks followed) or -errno */
int reader__stat(struct reader *reader, const char *path, size_t len);

/*
 * @brief List a directory: for each entry a letter ('d' directory, 'f' file, 'l' symlink,
 * '?' other), its name, a NUL. At most 256 KiB; what does not fit is left out.
 * @param names malloc'ed
 */
int reader__list(struct reader *reader, const char *path, size_t len, char **names, size_t *size);

/* @return true when requests can no longer be answered */
bool reader__dead(const struct reader *reader);

/* Ends the process too. NULL is fine. */
void reader__free(struct reader *reader);

#endif /* PIKOS_PROCESS_READER_H */
