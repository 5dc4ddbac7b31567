// SPDX-License-Identifier: BSD-3-Clause
#include "keeper/rights.h"

#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int keeper__descriptors(int **list)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	int n = 0, *grown;

	*list = NULL;
	while (dir && (entry = readdir(dir))) {
		int fd = atoi(entry->d_name);

		if (fd <= STDERR_FILENO || fd == dirfd(dir))
			continue;
		grown = realloc(*list, (n + 1) * sizeof(*grown));
		if (!grown)
			break;
		*list = grown;
		grown[n++] = fd;
	}
	if (!dir)
		return -errno;
	closedir(dir);
	return n;
}

int keeper__drop_rights(uint64_t keep)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		return -errno;
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= keep >> (32 * i);
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &header, data) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return 0;
}
