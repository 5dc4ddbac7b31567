// SPDX-License-Identifier: BSD-3-Clause
#include "source/uprobe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/perf_event.h>

/* The kernel's number for events of type uprobe. */
static int uprobe_type(void)
{
	char text[16] = {0};
	int fd = open("/sys/bus/event_source/devices/uprobe/type", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	return got > 0 ? atoi(text) : -ENOENT;
}

int uprobe__open(const char *path, __u64 offset, __u64 semaphore, pid_t pid)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.disabled = 1,
		.config = semaphore << 32, /* ref_ctr_offset */
		.uprobe_path = (uintptr_t)path,
		.probe_offset = offset,
	};
	int fd, type = uprobe_type();

	if (type < 0)
		return type;
	attr.type = type;
	fd = syscall(SYS_perf_event_open, &attr, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int uprobe__sweep(const char *path, __u64 offset, __u64 semaphore)
{
	int fd = uprobe__open(path, offset, semaphore, getpid());

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}
