// SPDX-License-Identifier: BSD-3-Clause
#include "source/agent_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "errors.h"
#include "probes/agent/agent.h"
#include "process/maps.h"

#define MAX_IMAGE (64 << 20)

static const char *const places[] = {"tmp", "var/tmp", "dev/shm"};

static int refuse(struct interpreter_reason *why, int err, const char *next_step)
{
	memset(why, 0, sizeof(*why));
	why->problem = INTERPRETER_NO_AGENT;
	if (err == -ENOENT)
		snprintf(why->text, sizeof(why->text),
			 "there is no directory for the agent's file in its root: none of /tmp, "
			 "/var/tmp and /dev/shm is open to all, writable and without noexec");
	else
		snprintf(why->text, sizeof(why->text),
			 "making a file for the agent in its root: %s", error_words(err));
	snprintf(why->next_step, sizeof(why->next_step), "%s", next_step);
	return err;
}

/* Everybody may make files there and nobody rename another's; what lies there can be executed. */
static bool is_fit(int dir)
{
	struct statvfs fs;
	struct stat st;

	return !fstat(dir, &st) && (st.st_mode & S_ISVTX) && (st.st_mode & S_IWOTH) &&
	       !fstatvfs(dir, &fs) && !(fs.f_flag & (ST_NOEXEC | ST_RDONLY));
}

/* @param place set to its path in the process's root @return a descriptor, or -ENOENT, -errno */
static int open_place(pid_t pid, const char **place)
{
	struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
			       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	int root = process__open(pid, "root", O_PATH | O_DIRECTORY), dir;

	if (root < 0)
		return root;
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		dir = (int)syscall(SYS_openat2, root, places[i], &how, sizeof(how));
		if (dir < 0)
			continue;
		if (is_fit(dir)) {
			close(root);
			*place = places[i];
			return dir;
		}
		close(dir);
	}
	close(root);
	return -ENOENT;
}

/* @return a descriptor of a new directory, or -errno */
static int make_directory(struct agent_copy *copy)
{
	/* Who owns the place can put something else there at once: no link, no other mount. */
	struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
	struct stat st;
	uint64_t number;
	int dir;

	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return -errno;
	snprintf(copy->name, sizeof(copy->name), AGENT_NAME "-%016llx", (unsigned long long)number);
	if (mkdirat(copy->parent, copy->name, 0700))
		return -errno; /* EEXIST, too: one in 2^64 is no accident */
	dir = (int)syscall(SYS_openat2, copy->parent, copy->name, &how, sizeof(how));
	if (dir < 0)
		return -errno;
	if (fstat(dir, &st) || st.st_uid != geteuid() || fchmod(dir, 0755)) {
		close(dir);
		return -EPERM;
	}
	return dir;
}

static int copy_image(int to, int image)
{
	ssize_t got, total = 0;

	while ((got = sendfile(to, image, NULL, 1 << 20)) > 0)
		if ((total += got) > MAX_IMAGE)
			return -EFBIG;
	return got < 0 ? -errno : 0;
}

static int make_file(int dir, int image)
{
	int fd = openat(dir, AGENT_COPY_FILE, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			0600),
	    err;

	if (fd < 0)
		return -errno;
	err = copy_image(fd, image);
	if (!err && fchmod(fd, 0644)) /* whatever the umask is */
		err = -errno;
	close(fd);
	return err;
}

int agent_copy__make(struct agent_copy *copy, pid_t pid, int image, struct interpreter_reason *why)
{
	const char *place = "";
	int dir, err;

	memset(copy, 0, sizeof(*copy));
	copy->parent = open_place(pid, &place);
	if (copy->parent < 0)
		return refuse(why, copy->parent, "mount a tmpfs on /tmp there");
	dir = make_directory(copy);
	if (dir < 0) {
		close(copy->parent);
		copy->parent = -1;
		return refuse(why, dir, "");
	}
	err = make_file(dir, image);
	close(dir);
	if (err) {
		agent_copy__remove(copy);
		return refuse(why, err, err == -ENOSPC ? "make room there" : "");
	}
	snprintf(copy->path, sizeof(copy->path), "/%s/%s/%s", place, copy->name, AGENT_COPY_FILE);
	return 0;
}

void agent_copy__remove(struct agent_copy *copy)
{
	char file[64];

	if (copy->parent < 0)
		return;
	snprintf(file, sizeof(file), "%s/" AGENT_COPY_FILE, copy->name);
	unlinkat(copy->parent, file, 0);
	unlinkat(copy->parent, copy->name, AT_REMOVEDIR);
	agent_copy__keep(copy);
}

void agent_copy__keep(struct agent_copy *copy)
{
	if (copy->parent >= 0)
		close(copy->parent);
	copy->parent = -1;
}

/* ------------------------------------------------------------------ find it again */

struct search {
	pid_t pid;
	char *path;
};

static bool is_file(int root, const char *path, unsigned long long ino)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC,
			       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	struct stat st = {0};

	if (fd < 0)
		return false;
	if (fstat(fd, &st))
		st.st_ino = 0;
	close(fd);
	return S_ISREG(st.st_mode) && st.st_ino == ino;
}

/* How a mapping is named depends on whose root is looked from: only its end is to be used. */
static int visit(const struct mapping *map, void *arg)
{
	struct search *search = arg;
	const char *file = strrchr(map->path, '/'), *dir = file;
	int root, found = 0;

	if (!file || !map->ino || strcmp(file, "/" AGENT_COPY_FILE) != 0)
		return 0;
	while (dir > map->path && dir[-1] != '/')
		dir--;
	if (strncmp(dir, AGENT_NAME "-", strlen(AGENT_NAME "-")) != 0)
		return 0;
	root = process__open(search->pid, "root", O_PATH | O_DIRECTORY);
	for (size_t i = 0; root >= 0 && !found && i < sizeof(places) / sizeof(*places); i++)
		found = snprintf(search->path, AGENT_COPY_PATH, "/%s/%s", places[i], dir) <
				AGENT_COPY_PATH &&
			is_file(root, search->path, map->ino);
	if (root >= 0)
		close(root);
	return found;
}

bool agent_copy__find(pid_t pid, char path[AGENT_COPY_PATH])
{
	struct search search = {pid, path};

	return maps__each(pid, visit, &search) == 1;
}
