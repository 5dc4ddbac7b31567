/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * maps.h - what is mapped into a process, and the files behind it.
 *
 * All of it was said by the target: names may be lies, a file is opened only if it is a regular
 * one, and how much is read is bounded.
 */
#ifndef PIKOS_PROCESS_MAPS_H
#define PIKOS_PROCESS_MAPS_H

#include <stdbool.h>
#include <sys/types.h>

/* One line of /proc/PID/maps. */
struct mapping {
	unsigned long long start, end, offset, ino;
	unsigned int dev_major, dev_minor;
	char perms[5];
	const char *path; /* up to the end of the line; "" if it has none */
};

/* @brief Take a line apart. Its newline is cut, and the path stays in the line. */
bool maps__parse(char *line, struct mapping *map);

/*
 * @brief Call visit for each executable mapping until it returns non-zero.
 * @return what visit returned; 0 at the end; -errno if the process cannot be read
 */
int maps__each(pid_t pid, int (*visit)(const struct mapping *map, void *arg), void *arg);

/* @brief Open the mapped file for reading, also a deleted one. @return a descriptor or -errno */
int maps__open(pid_t pid, const struct mapping *map);

/*
 * @brief Open a file of /proc/PID.
 * @param flags of open, with O_CLOEXEC added
 * @return a descriptor; -ESRCH: the process has ended (or the file's name is wrong); -errno
 */
int process__open(pid_t pid, const char *name, int flags);

/* @return what /proc/PID/stat says of its main thread: 'R', 'T', 'Z', ...; 0: not known */
char process__state(pid_t pid);

/* @return whether a stopped process is about to run what lies within [address, address + size) */
bool process__is_at(pid_t pid, unsigned long long address, unsigned long long size);

/*
 * @brief Turn a path descriptor of what may be anything into one to read from; closes the former.
 * @return a descriptor; -ENOEXEC: not a regular file; -errno
 */
int process__reopen(int path_fd);

#endif /* PIKOS_PROCESS_MAPS_H */
