// SPDX-License-Identifier: BSD-3-Clause
#include "process/reader_internal.h"

#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static int set_capabilities(uint64_t keep)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {0};

	data[0].effective = data[0].permitted = (uint32_t)keep;
	data[1].effective = data[1].permitted = (uint32_t)(keep >> 32);
	if (syscall(SYS_capset, &header, data))
		return -errno;
	return 0;
}

static bool has_capability(int cap)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {0};

	return !syscall(SYS_capget, &header, data) &&
	       (data[cap / 32].permitted & (1u << (cap % 32)));
}

static bool same_groups(const struct identity *id)
{
	static gid_t own[NGROUPS_MAX];
	int n = getgroups(NGROUPS_MAX, own);

	if (n < 0 || (size_t)n != id->n_groups)
		return false;
	/* The kernel keeps them sorted, and so writes them. */
	return !n || !memcmp(own, id->groups, (size_t)n * sizeof(*own));
}

/* System calls of their own: glibc's would ask the other threads of the forked program. */
static int take_ids(const struct identity *id, struct hello *hello)
{
	uid_t uid, euid, suid;
	gid_t gid, egid, sgid;

	if (getresuid(&uid, &euid, &suid) || getresgid(&gid, &egid, &sgid))
		return -errno;
	if (!same_groups(id) && syscall(SYS_setgroups, id->n_groups, id->groups)) {
		strcpy(hello->missing, "CAP_SETGID");
		return -errno;
	}
	if ((gid != id->gid || egid != id->gid || sgid != id->gid) &&
	    syscall(SYS_setresgid, id->gid, id->gid, id->gid)) {
		strcpy(hello->missing, "CAP_SETGID");
		return -errno;
	}
	if ((uid != id->uid || euid != id->uid || suid != id->uid) &&
	    syscall(SYS_setresuid, id->uid, id->uid, id->uid)) {
		strcpy(hello->missing, "CAP_SETUID");
		return -errno;
	}
	return 0;
}

static int enter_root(const struct identity *id, struct hello *hello)
{
	if (!id->same_root) {
		if (fchdir(id->root_fd))
			return -errno;
		if (chroot(".")) {
			strcpy(hello->missing, "CAP_SYS_CHROOT");
			return -errno;
		}
	}
	return fchdir(id->cwd_fd) ? -errno : 0;
}

/* Of the target's capabilities only the one to read all files is of use here. */
int reader_become(const struct identity *id, struct hello *hello)
{
	bool keep = id->reads_all && has_capability(CAP_DAC_READ_SEARCH);
	struct rlimit none = {0, 0};
	int err = enter_root(id, hello);

	if (!err && prctl(PR_SET_KEEPCAPS, keep, 0, 0, 0))
		err = -errno;
	if (!err)
		err = take_ids(id, hello);
	if (err)
		return err;
	prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	err = set_capabilities(keep ? 1ull << CAP_DAC_READ_SEARCH : 0);
	if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		err = -errno;
	/* This is the tracer's memory, and the target's user must not look at it. */
	if (!err && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		err = -errno;
	setrlimit(RLIMIT_CORE, &none);
	return err;
}
