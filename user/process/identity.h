/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identity.h - who a target is: its rights, its root and working directory, its command line.
 *
 * A snapshot: it does not follow later changes of the process. Everything in it was said by the
 * target and is bounded (IDENTITY_MAX_*), nothing in it is to be believed: use it through a
 * reader (reader.h), which lets the kernel decide with the target's own rights.
 */
#ifndef PIKOS_PROCESS_IDENTITY_H
#define PIKOS_PROCESS_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define IDENTITY_MAX_BYTES  (256u * 1024) /* of the command line, and of the environment, each */
#define IDENTITY_MAX_GROUPS 65536

/* The variables that decide where Python finds modules; NULL when unset. */
struct identity_env {
	char *pwd;	      /* PWD: where a shell was when it started the program, perhaps */
	char *path;	      /* PATH */
	char *home;	      /* HOME */
	char *pythonpath;     /* PYTHONPATH */
	char *pythonhome;     /* PYTHONHOME */
	char *virtual_env;    /* VIRTUAL_ENV */
	char *pythonuserbase; /* PYTHONUSERBASE */
	bool nousersite;      /* PYTHONNOUSERSITE */
	bool safepath;	      /* PYTHONSAFEPATH (3.11) */
};

struct identity {
	pid_t pid; /* 0 for identity__of_self */
	uid_t uid; /* fsuid: what the kernel asks when files are opened */
	gid_t gid; /* fsgid */
	gid_t *groups;
	size_t n_groups;
	bool reads_all; /* CAP_DAC_OVERRIDE or CAP_DAC_READ_SEARCH, in our own user namespace */
	bool same_root; /* its root directory and mounts are ours */
	int root_fd;	/* O_PATH, owned */
	int mounts_fd;	/* its mount namespace, owned: else the mounts below root end with it */
	int cwd_fd;	/* O_PATH, owned */
	int exe_fd;	/* O_PATH of the executable, owned; -1 for identity__of_self */
	char *exe;	/* its path inside the target's root; NULL for identity__of_self */
	char **argv;	/* NULL-terminated; may be empty (a target can overwrite it) */
	int argc;
	struct identity_env env;
};

/*
 * @brief Snapshot a process.
 *
 * The executable is looked at before and after the rest, so that the rights are those of the
 * program that exe_fd names, not those of a set-user-ID program that it becomes meanwhile: a
 * caller who has decided that the target is a CPython compares that file with exe_fd.
 *
 * @return NULL and errno: ESRCH (gone), EACCES or EPERM (CAP_SYS_PTRACE is missing), EAGAIN (it
 *         kept executing other programs), ENOMEM, EPROTO (/proc says nonsense)
 */
struct identity *identity__of_pid(pid_t pid);

/*
 * @brief The ids that a process opens files with; also of one that is about to end, and has no
 *        executable any more.
 * @return 0 or -errno: -ESRCH (gone), -EPROTO
 */
int identity__ids_of_pid(pid_t pid, unsigned int *uid, unsigned int *gid);

/*
 * @brief The identity of a program that this process will run: our own rights, root, directory
 * and environment, and the program's arguments.
 * @param argv NULL-terminated, copied
 */
struct identity *identity__of_self(char *const argv[]);

/* NULL is fine. Keeps errno. */
void identity__free(struct identity *id);

#endif /* PIKOS_PROCESS_IDENTITY_H */
