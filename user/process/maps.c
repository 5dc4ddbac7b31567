// SPDX-License-Identifier: BSD-3-Clause
#include "process/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define MAX_MAPS (64 << 20) /* bytes of /proc/PID/maps */

int process__open(pid_t pid, const char *name, int flags)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	return fd;
}

char process__state(pid_t pid)
{
	char text[512];
	const char *name_end;
	ssize_t got;
	int fd = process__open(pid, "stat", O_RDONLY);

	if (fd < 0)
		return 0;
	got = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[got < 0 ? 0 : got] = '\0';
	name_end = strrchr(text, ')');
	return name_end && name_end[1] ? name_end[2] : '\0';
}

bool process__is_at(pid_t pid, unsigned long long address, unsigned long long size)
{
	unsigned long long sp, ip;
	char text[256];
	ssize_t got;
	int fd;

	fd = process__open(pid, "syscall", O_RDONLY);
	if (fd < 0)
		return false;
	got = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[got < 0 ? 0 : got] = '\0';
	/* "-1 0xSP 0xIP": in no system call. */
	return sscanf(text, "-1 %llx %llx", &sp, &ip) == 2 && ip >= address && ip - address < size;
}

int process__reopen(int path_fd)
{
	char path[32];
	struct stat st;
	int fd, err;

	if (fstat(path_fd, &st) < 0) {
		err = -errno;
		goto out;
	}
	/* Opening a device or a FIFO would do something. */
	if (!S_ISREG(st.st_mode)) {
		err = -ENOEXEC;
		goto out;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	err = fd < 0 ? -errno : fd;
out:
	close(path_fd);
	return err;
}

/* The file of a mapping by its name in the target's root, if that still names it. */
static int open_by_name(pid_t pid, const struct mapping *map)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC,
			       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	struct stat st;
	int root, fd;

	root = process__open(pid, "root", O_PATH | O_DIRECTORY);
	if (root < 0)
		return root;
	fd = (int)syscall(SYS_openat2, root, map->path, &how, sizeof(how));
	if (fd < 0)
		fd = -errno;
	close(root);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || st.st_ino != map->ino ||
	    st.st_dev != makedev(map->dev_major, map->dev_minor)) {
		close(fd);
		return -ENOENT;
	}
	return process__reopen(fd);
}

int maps__open(pid_t pid, const struct mapping *map)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "map_files/%llx-%llx", map->start, map->end);
	fd = process__open(pid, name, O_PATH);
	if (fd >= 0)
		fd = process__reopen(fd);
	/* map_files wants CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN */
	return fd >= 0 ? fd : open_by_name(pid, map);
}

bool maps__parse(char *line, struct mapping *map)
{
	int path = 0;

	line[strcspn(line, "\n")] = '\0';
	if (sscanf(line, "%llx-%llx %4s %llx %x:%x %llu %n", &map->start, &map->end, map->perms,
		   &map->offset, &map->dev_major, &map->dev_minor, &map->ino, &path) < 7)
		return false;
	map->path = path > 0 ? line + path : "";
	return true;
}

int maps__each(pid_t pid, int (*visit)(const struct mapping *map, void *arg), void *arg)
{
	char *line = NULL;
	size_t size = 0, total = 0;
	struct mapping map;
	ssize_t len;
	FILE *maps;
	int fd, err = 0;

	fd = process__open(pid, "maps", O_RDONLY);
	if (fd < 0)
		return fd;
	maps = fdopen(fd, "r");
	if (!maps) {
		err = -errno;
		close(fd);
		return err;
	}
	while (err == 0 && total < MAX_MAPS && (len = getline(&line, &size, maps)) > 0) {
		total += (size_t)len;
		if (maps__parse(line, &map) && map.perms[2] == 'x')
			err = visit(&map, arg);
	}
	free(line);
	fclose(maps);
	return err;
}
