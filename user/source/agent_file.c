// SPDX-License-Identifier: BSD-3-Clause
#include "source/agent_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int try_file(char *path, size_t size, const char *dir, const char *below)
{
	char name[4200];
	int fd, len = snprintf(name, sizeof(name), "%s%s%s", dir, below, AGENT_FILE);

	if (len >= (int)sizeof(name))
		return -ENAMETOOLONG;
	if (path)
		snprintf(path, size, "%s", name);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* @return the directory of the running program, "." if it is not known */
static void own_directory(char *dir, size_t size)
{
	ssize_t len = readlink("/proc/self/exe", dir, size - 1);
	char *slash;

	dir[len < 0 ? 0 : len] = '\0';
	slash = strrchr(dir, '/');
	if (slash)
		*slash = '\0';
	else
		snprintf(dir, size, ".");
}

int agent_file__open(char *path, size_t size)
{
	static const char *const installed[] = {"/usr/local/lib/pikos/", "/usr/lib/pikos/"};
	const char *named = secure_getenv("PIKOS_AGENT");
	char dir[4096];
	int fd;

	if (named && *named) {
		if (path)
			snprintf(path, size, "%s", named);
		fd = open(named, O_RDONLY | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	own_directory(dir, sizeof(dir));
	fd = try_file(path, size, dir, "/");
	if (fd < 0)
		fd = try_file(path, size, dir, "/../lib/pikos/");
	for (size_t i = 0; i < sizeof(installed) / sizeof(*installed) && fd < 0; i++)
		fd = try_file(path, size, installed[i], "");
	return fd;
}
