/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uprobe_multi.h - many uprobes of one program by one link (Linux 6.6).
 *
 * A perf event for each waits for the kernel when it goes, 100 ms and one after the other; a link
 * waits once for all of its own. By the system call: libbpf knows them from 1.3 on.
 */
#ifndef PIKOS_KERNEL_UPROBE_MULTI_H
#define PIKOS_KERNEL_UPROBE_MULTI_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define UPROBE_MULTI_ATTACH_TYPE 48 /* BPF_TRACE_UPROBE_MULTI; of the program when it is loaded */

struct uprobe_multi {
	const char *path;	 /* of the file; "/proc/self/fd/N" will do */
	const uint64_t *offsets; /* of instructions in the file */
	const uint64_t *cookies; /* of each */
	uint32_t n;
	bool returns; /* not there, but where what begins there returns to */
	pid_t pid;    /* the process, all of its threads */
};

/*
 * @param program descriptor of one that was loaded for it
 * @return a descriptor, whose close takes all of them away and waits until none runs; -errno
 */
int uprobe_multi__attach(int program, const struct uprobe_multi *probes);

/*
 * @return whether the kernel has them and takes a pid for a process: until 6.10 (and stable 6.6.33,
 * 6.9.4) it was one thread's. Needs rights.
 */
bool uprobe_multi__is_there(void);

#endif /* PIKOS_KERNEL_UPROBE_MULTI_H */
