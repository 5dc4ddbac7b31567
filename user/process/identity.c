// SPDX-License-Identifier: BSD-3-Clause
#define _GNU_SOURCE 1

#include "process/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_STATUS (1u << 20) /* 65536 groups of up to 11 bytes and the rest */
#define MAX_ARGS   4096
#define EXEC_TRIES 5

/* Bits of CapEff; linux/capability.h has them as numbers too. */
#define CAP_BIT_DAC_OVERRIDE	(1ull << 1)
#define CAP_BIT_DAC_READ_SEARCH (1ull << 2)

/* @return malloc'ed, NUL-terminated, at most max bytes; NULL and errno */
static char *read_at(int dir, const char *name, size_t max, size_t *size)
{
	size_t used = 0, cap = 4096;
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC), err = 0;
	char *data, *bigger;
	ssize_t n = 1;

	if (fd < 0)
		return NULL;
	data = malloc(cap + 1);
	while (data && n > 0 && used < max) {
		if (used == cap) {
			bigger = realloc(data, cap * 2 + 1);
			if (!bigger) {
				free(data);
				data = NULL;
				break;
			}
			data = bigger;
			cap *= 2;
		}
		n = read(fd, data + used, (cap < max ? cap : max) - used);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			used += (size_t)n;
	}
	if (!data)
		err = ENOMEM;
	else if (n < 0)
		err = errno;
	close(fd);
	if (err) {
		free(data);
		errno = err;
		return NULL;
	}
	data[used] = '\0';
	*size = used;
	return data;
}

/* @return what follows "Name:" on its line of /proc/PID/status, or NULL */
static const char *status_field(const char *status, const char *name)
{
	size_t len = strlen(name);

	for (const char *line = status; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, len) && line[len] == ':')
			return line + len + 1;
	}
	return NULL;
}

/* The last of the real, effective, saved and file system ids. */
static int parse_fsid(const char *status, const char *name, unsigned int *id)
{
	const char *at = status_field(status, name);

	if (!at || sscanf(at, "%*u %*u %*u %u", id) != 1)
		return -EPROTO;
	return 0;
}

static int parse_ids(const char *status, unsigned int *uid, unsigned int *gid)
{
	int err = parse_fsid(status, "Uid", uid);

	return err ? err : parse_fsid(status, "Gid", gid);
}

static int parse_groups(struct identity *id, const char *status)
{
	const char *at = status_field(status, "Groups");
	size_t cap = 0;

	if (!at)
		return -EPROTO;
	for (;;) {
		unsigned long group;
		char *end;

		while (*at == ' ' || *at == '\t')
			at++;
		if (*at < '0' || *at > '9')
			return 0;
		if (id->n_groups == IDENTITY_MAX_GROUPS)
			return -EPROTO;
		group = strtoul(at, &end, 10);
		at = end;
		if (id->n_groups == cap) {
			gid_t *bigger;

			cap = cap ? cap * 2 : 32;
			bigger = reallocarray(id->groups, cap, sizeof(*bigger));
			if (!bigger)
				return -ENOMEM;
			id->groups = bigger;
		}
		id->groups[id->n_groups++] = (gid_t)group;
	}
}

static bool same_file(int dir, const char *path, const char *ours)
{
	struct stat a, b;

	return !fstatat(dir, path, &a, 0) && !stat(ours, &b) && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* Capabilities count only in our user namespace: in one of its own anybody has all of them. */
static int read_rights(struct identity *id, int dir)
{
	unsigned long long caps = 0;
	const char *at;
	size_t size;
	char *status = read_at(dir, "status", MAX_STATUS, &size);
	int err;

	if (!status)
		return -errno;
	free(id->groups);
	id->groups = NULL;
	id->n_groups = 0;
	err = parse_ids(status, &id->uid, &id->gid);
	if (!err)
		err = parse_groups(id, status);
	at = status_field(status, "CapEff");
	if (at)
		caps = strtoull(at, NULL, 16);
	id->reads_all = (caps & (CAP_BIT_DAC_OVERRIDE | CAP_BIT_DAC_READ_SEARCH)) &&
			same_file(dir, "ns/user", "/proc/self/ns/user");
	free(status);
	return err;
}

/* The kernel writes the link from our root; we want it from the target's. */
static char *read_exe(int dir)
{
	static const char deleted[] = " (deleted)";
	char exe[PATH_MAX], root[PATH_MAX], *from = exe;
	ssize_t n = readlinkat(dir, "exe", exe, sizeof(exe) - 1), r, d = sizeof(deleted) - 1;

	if (n < 0)
		return NULL;
	if (n > d && !memcmp(exe + n - d, deleted, (size_t)d))
		n -= d;
	exe[n] = '\0';
	r = readlinkat(dir, "root", root, sizeof(root) - 1);
	if (r > 1 && r < n && !memcmp(exe, root, (size_t)r) && exe[r] == '/')
		from += r;
	return strdup(from);
}

static int open_at(int dir, const char *name, int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = openat(dir, name, O_PATH | O_CLOEXEC);
	return *fd < 0 ? -errno : 0;
}

static int open_dirs(struct identity *id, int dir)
{
	int err = open_at(dir, "root", &id->root_fd);

	if (!err)
		err = open_at(dir, "ns/mnt", &id->mounts_fd);
	if (!err)
		err = open_at(dir, "cwd", &id->cwd_fd);
	if (err)
		return err;
	id->same_root =
		same_file(dir, "root", "/") && same_file(dir, "ns/mnt", "/proc/self/ns/mnt");
	return 0;
}

/* Rights, root and directory of one program: the executable is the same before and after. */
static int read_program(struct identity *id, int dir)
{
	struct stat before, after;
	int err;

	for (int i = 0; i < EXEC_TRIES; i++) {
		err = open_at(dir, "exe", &id->exe_fd);
		if (!err)
			err = read_rights(id, dir);
		if (!err)
			err = open_dirs(id, dir);
		if (err)
			return err;
		if (fstat(id->exe_fd, &before) || fstatat(dir, "exe", &after, 0))
			return -errno;
		if (before.st_dev == after.st_dev && before.st_ino == after.st_ino)
			return 0;
	}
	return -EAGAIN;
}

/* Split strings that end with NUL. @return NULL-terminated, each malloc'ed */
static char **split(const char *data, size_t size, int *count)
{
	char **list = calloc(MAX_ARGS + 1, sizeof(*list));
	int n = 0;

	for (size_t i = 0; list && i < size && n < MAX_ARGS; n++) {
		list[n] = strdup(data + i);
		if (!list[n])
			break;
		i += strlen(list[n]) + 1;
	}
	*count = n;
	return list;
}

static int set_variable(struct identity_env *env, const char *entry)
{
	struct {
		const char *name;
		char **value;
	} const names[] = {
		{"PWD=", &env->pwd},
		{"PATH=", &env->path},
		{"HOME=", &env->home},
		{"PYTHONPATH=", &env->pythonpath},
		{"PYTHONHOME=", &env->pythonhome},
		{"VIRTUAL_ENV=", &env->virtual_env},
		{"PYTHONUSERBASE=", &env->pythonuserbase},
	};

	/* A flag is set when it is not empty. */
	if (!strncmp(entry, "PYTHONNOUSERSITE=", 17))
		env->nousersite = entry[17] != '\0';
	if (!strncmp(entry, "PYTHONSAFEPATH=", 15))
		env->safepath = entry[15] != '\0';
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t len = strlen(names[i].name);

		/* getenv() takes the first. */
		if (strncmp(entry, names[i].name, len) || *names[i].value)
			continue;
		*names[i].value = strdup(entry + len);
		if (!*names[i].value)
			return -ENOMEM;
	}
	return 0;
}

/* What a target without rights to its own environment hides is simply unknown. */
static int read_words(struct identity *id, int dir)
{
	size_t size = 0;
	char *data = read_at(dir, "cmdline", IDENTITY_MAX_BYTES, &size);
	int err = 0;

	id->argv = split(data ? data : "", data ? size : 0, &id->argc);
	free(data);
	if (!id->argv)
		return -ENOMEM;
	data = read_at(dir, "environ", IDENTITY_MAX_BYTES, &size);
	for (size_t i = 0; data && !err && i < size; i += strlen(data + i) + 1)
		err = set_variable(&id->env, data + i);
	free(data);
	return err;
}

static struct identity *allocate(void)
{
	struct identity *id = calloc(1, sizeof(*id));

	if (id)
		id->root_fd = id->mounts_fd = id->cwd_fd = id->exe_fd = -1;
	return id;
}

struct identity *identity__of_pid(pid_t pid)
{
	struct identity *id = allocate();
	char path[32];
	int dir, err;

	if (!id)
		return NULL;
	/* One descriptor for all: a process that reuses the number is not seen through it. */
	snprintf(path, sizeof(path), "/proc/%d", pid);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = dir < 0 ? -errno : 0;
	if (!err)
		err = read_program(id, dir);
	if (!err)
		err = read_words(id, dir);
	if (!err) {
		id->pid = pid;
		id->exe = read_exe(dir);
		if (!id->exe)
			err = -errno;
	}
	if (dir >= 0)
		close(dir);
	if (err) {
		identity__free(id);
		errno = err == -ENOENT ? ESRCH : -err;
		return NULL;
	}
	return id;
}

/* setfsuid() cannot fail visibly: with an invalid id it tells the present one. */
int identity__ids_of_pid(pid_t pid, unsigned int *uid, unsigned int *gid)
{
	char path[32], *status;
	size_t size;
	int err;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	status = read_at(AT_FDCWD, path, MAX_STATUS, &size);
	if (!status)
		return errno == ENOENT ? -ESRCH : -errno;
	err = parse_ids(status, uid, gid);
	free(status);
	return err;
}

static int read_own_rights(struct identity *id)
{
	int dir = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;

	if (dir < 0)
		return -errno;
	err = read_rights(id, dir);
	if (!err) {
		id->uid = (uid_t)setfsuid((uid_t)-1);
		id->gid = (gid_t)setfsgid((gid_t)-1);
	}
	close(dir);
	return err;
}

struct identity *identity__of_self(char *const argv[])
{
	extern char **environ;
	struct identity *id = allocate();
	int err;

	if (!id)
		return NULL;
	err = read_own_rights(id);
	if (!err)
		err = open_at(AT_FDCWD, "/", &id->root_fd);
	if (!err)
		err = open_at(AT_FDCWD, ".", &id->cwd_fd);
	id->same_root = true;
	id->argv = calloc(MAX_ARGS + 1, sizeof(*id->argv));
	if (!id->argv)
		err = -ENOMEM;
	for (int i = 0; !err && argv[i] && i < MAX_ARGS; i++) {
		id->argv[i] = strdup(argv[i]);
		if (!id->argv[i])
			err = -ENOMEM;
		else
			id->argc++;
	}
	for (char **entry = environ; !err && entry && *entry; entry++)
		err = set_variable(&id->env, *entry);
	if (err) {
		identity__free(id);
		errno = -err;
		return NULL;
	}
	return id;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void identity__free(struct identity *id)
{
	int err = errno;

	if (!id)
		return;
	close_fd(id->root_fd);
	close_fd(id->mounts_fd);
	close_fd(id->cwd_fd);
	close_fd(id->exe_fd);
	for (int i = 0; id->argv && id->argv[i]; i++)
		free(id->argv[i]);
	free(id->argv);
	free(id->groups);
	free(id->exe);
	free(id->env.pwd);
	free(id->env.path);
	free(id->env.home);
	free(id->env.pythonpath);
	free(id->env.pythonhome);
	free(id->env.virtual_env);
	free(id->env.pythonuserbase);
	free(id);
	errno = err;
}
