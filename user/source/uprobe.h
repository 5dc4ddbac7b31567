/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uprobe.h - a uprobe without a program: what it does is to raise its semaphore.
 *
 * An event that has a program waits for a grace period of its readers, 100 ms, before it takes its
 * breakpoint and semaphore away; one without goes at once.
 */
#ifndef PIKOS_SOURCE_UPROBE_H
#define PIKOS_SOURCE_UPROBE_H

#include <sys/types.h>
#include <linux/types.h>

/*
 * @param path of the file; "/proc/self/fd/N" will do
 * @param offset of the instruction in the file
 * @param semaphore offset of the 16-bit counter in the file; 0: none
 * @param pid the process whose memory gets it
 * @return a descriptor, whose close takes it away again; -errno
 */
int uprobe__open(const char *path, __u64 offset, __u64 semaphore, pid_t pid);

/*
 * @brief Take a probe and its semaphore out of processes that nobody traces: fork copies them.
 * Attaching and detaching anybody anywhere has the kernel look at all processes.
 * @return 0 or -errno
 */
int uprobe__sweep(const char *path, __u64 offset, __u64 semaphore);

#endif /* PIKOS_SOURCE_UPROBE_H */
