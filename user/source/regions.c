// SPDX-License-Identifier: BSD-3-Clause
#include "source/regions.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "errors.h"
#include "process/maps.h"
#include "source/elf_notes.h"
#include "source/uprobe.h"

#define MAX_FILES 256 /* with region probes; of other files only their number is kept */
#define MAX_SITES 4096
#define MAX_SEEN  4096

struct site {
	int file; /* of the files */
	__u64 offset, semaphore;
	struct bpf_link *link; /* or NULL: an event without a program */
	int fd;
};

struct file_id {
	dev_t dev;
	ino_t ino;
};

struct regions {
	struct kernel *kernel;
	pid_t pid;
	int files[MAX_FILES];
	int n_files;
	struct site *sites;
	int n_sites;
	struct file_id *seen;
	int n_seen;
};

static const char *path_of(const struct regions *regions, int file, char *buf, size_t size)
{
	snprintf(buf, size, "/proc/self/fd/%d", regions->files[file]);
	return buf;
}

static int refuse(struct interpreter_reason *why, int err)
{
	why->problem = INTERPRETER_UNREADABLE;
	*why->next_step = '\0';
	if (err == -ENOENT) {
		why->problem = INTERPRETER_NO_SUCH_PROBE;
		snprintf(why->text, sizeof(why->text), "it marks no regions");
		snprintf(why->next_step, sizeof(why->next_step),
			 "regions are made by the module pikos or by pikos_regions.h; without "
			 "--regions all is recorded");
	} else if (err == -EACCES || err == -EPERM) {
		why->problem = INTERPRETER_FORBIDDEN;
		snprintf(why->text, sizeof(why->text),
			 "attaching to its regions needs CAP_SYS_ADMIN");
		snprintf(why->next_step, sizeof(why->next_step), "run it as root");
	} else if (err == -ESRCH) {
		why->problem = INTERPRETER_GONE;
		snprintf(why->text, sizeof(why->text), "the process has ended");
	} else {
		snprintf(why->text, sizeof(why->text), "attaching to its regions: %s",
			 error_words(err));
	}
	return err;
}

/* ------------------------------------------------------------------ sites */

static int attach_program(const struct regions *regions, struct site *site, const char *path,
			  enum kernel_program program)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .ref_ctr_offset = site->semaphore);

	site->link = bpf_program__attach_uprobe_opts(kernel__program(regions->kernel, program),
						     regions->pid, path, site->offset, &opts);
	return site->link ? 0 : -errno;
}

static int attach_nothing(const struct regions *regions, struct site *site, const char *path)
{
	site->fd = uprobe__open(path, site->offset, site->semaphore, regions->pid);
	return site->fd < 0 ? site->fd : 0;
}

static int attach_site(struct regions *regions, int file, const struct usdt_probe *probe,
		       enum kernel_program program)
{
	struct site *sites = regions->sites;
	char path[64];
	int err;

	if (regions->n_sites == MAX_SITES)
		return -E2BIG;
	if (!(regions->n_sites & (regions->n_sites - 1))) { /* full at powers of two */
		size_t room = regions->n_sites ? 2 * (size_t)regions->n_sites : 1;

		sites = reallocarray(sites, room, sizeof(*sites));
		if (!sites)
			return -ENOMEM;
		regions->sites = sites;
	}
	sites += regions->n_sites;
	*sites = (struct site){file, probe->file_offset, probe->semaphore_offset, NULL, -1};
	path_of(regions, file, path, sizeof(path));
	err = regions->kernel ? attach_program(regions, sites, path, program)
			      : attach_nothing(regions, sites, path);
	if (!err)
		regions->n_sites++;
	return err;
}

static int attach_all(struct regions *regions, int file, const struct elf_notes *elf,
		      const char *name, enum kernel_program program)
{
	const struct usdt_probe *probe = NULL;
	int err = 0;

	while (!err && (probe = elf_notes__next(elf, name, probe)))
		err = attach_site(regions, file, probe, program);
	return err;
}

/* First the leaves: a region that is entered meanwhile must not stay open. */
static int attach_file(struct regions *regions, int fd)
{
	struct elf_notes *elf = elf_notes__new(fd, REGIONS_PROVIDER);
	int file, err = 0;

	if (!elf)
		return 0; /* not ELF, or forged: no probes in it */
	if (!elf_notes__next(elf, REGIONS_ENTER, NULL))
		goto out;
	if (regions->n_files == MAX_FILES) {
		err = -E2BIG;
		goto out;
	}
	file = regions->n_files;
	regions->files[file] = dup(fd);
	if (regions->files[file] < 0) {
		err = -errno;
		goto out;
	}
	regions->n_files++;
	err = attach_all(regions, file, elf, REGIONS_LEAVE, KERNEL_ON_REGION_LEAVE);
	if (!err)
		err = attach_all(regions, file, elf, REGIONS_ENTER, KERNEL_ON_REGION_ENTER);
out:
	elf_notes__free(elf);
	return err;
}

/* ------------------------------------------------------------------ files */

/* @return 1 for a file that has not been looked at, 0, or -ENOMEM; too many are not looked at */
static int is_new(struct regions *regions, dev_t dev, ino_t ino)
{
	for (int i = 0; i < regions->n_seen; i++)
		if (regions->seen[i].dev == dev && regions->seen[i].ino == ino)
			return 0;
	if (!regions->seen)
		regions->seen = calloc(MAX_SEEN, sizeof(*regions->seen));
	if (!regions->seen)
		return -ENOMEM;
	if (regions->n_seen == MAX_SEEN)
		return 0;
	regions->seen[regions->n_seen++] = (struct file_id){dev, ino};
	return 1;
}

static int look_at(const struct mapping *map, void *arg)
{
	struct regions *regions = arg;
	int fd, err;

	if (!map->ino)
		return 0;
	err = is_new(regions, makedev(map->dev_major, map->dev_minor), map->ino);
	if (err <= 0)
		return err;
	fd = maps__open(regions->pid, map);
	if (fd < 0)
		return 0; /* what cannot be read marks nothing */
	err = attach_file(regions, fd);
	close(fd);
	return err;
}

static int look_at_library(struct regions *regions, int library)
{
	struct stat st;

	if (library < 0 || fstat(library, &st))
		return 0;
	for (int i = 0; i < regions->n_files; i++) {
		struct stat own;

		if (!fstat(regions->files[i], &own) && own.st_dev == st.st_dev &&
		    own.st_ino == st.st_ino)
			return 0;
	}
	return attach_file(regions, library);
}

struct regions *regions__attach(struct kernel *kernel, pid_t pid, int library,
				struct interpreter_reason *why)
{
	struct regions *regions = calloc(1, sizeof(*regions));
	int err;

	memset(why, 0, sizeof(*why));
	if (!regions)
		return NULL;
	regions->kernel = kernel;
	regions->pid = pid;
	err = maps__each(pid, look_at, regions);
	if (!err)
		err = look_at_library(regions, library);
	if (!err && !regions->n_sites)
		err = -ENOENT;
	free(regions->seen);
	regions->seen = NULL;
	if (!err)
		return regions;
	regions__free(regions);
	errno = -refuse(why, err);
	return NULL;
}

void regions__free(struct regions *regions)
{
	if (!regions)
		return;
	for (int i = 0; i < regions->n_sites; i++) {
		bpf_link__destroy(regions->sites[i].link);
		if (regions->sites[i].fd >= 0)
			close(regions->sites[i].fd);
	}
	for (int i = 0; i < regions->n_files; i++)
		close(regions->files[i]);
	free(regions->sites);
	free(regions->seen);
	free(regions);
}

int regions__sweep(const struct regions *regions)
{
	int err = 0;

	for (int i = 0; i < regions->n_sites; i++) {
		const struct site *site = &regions->sites[i];
		char path[64];
		int failed = uprobe__sweep(path_of(regions, site->file, path, sizeof(path)),
					   site->offset, site->semaphore);

		err = failed ? failed : err;
	}
	return err;
}
