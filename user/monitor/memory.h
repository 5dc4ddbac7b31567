/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory.h - one change of a process's memory, with the Python that caused it in words.
 *
 * The kernel sends struct wire_memory (bpf/wire.h); the monitor resolves its frames and hands it
 * on: as a record to the filters and the recorder, or, when the monitor has a consumer, to that one
 * (the ledger). Everything in an event is borrowed and valid until the call returns, but for
 * frame.symbol, which stays until symbols__rotate.
 *
 * Events come in the order of their times, over all threads. Those of one thread are exact in that
 * order: a run of faults stands before the system call that ended it.
 */
#ifndef PIKOS_MONITOR_MEMORY_H
#define PIKOS_MONITOR_MEMORY_H

#include <stdint.h>
#include <sys/types.h>

#include "bpf/wire.h"
#include "symbols/frames.h"

struct memory_event {
	enum wire_memory_type type;
	uint32_t target; /* index of the process in the session */
	pid_t pid;
	uint32_t tid;	     /* of the thread that did it, perhaps of another process */
	uint64_t time;	     /* ns of CLOCK_MONOTONIC: of the call's end, of the last fault */
	uint64_t first_time; /* of the first of n_faults; calls: of their begin, if it is known */
	uint64_t address;    /* mmap, mremap: the result; munmap, madvise: as given; brk: the new
			      * end; faults: the lowest one, 0: not known */
	uint64_t size; /* bytes, whole pages: mmap, munmap, madvise: of the range; mremap: the new
			* size; brk: 0; faults: from the lowest to behind the highest */
	uint64_t old_address; /* mremap: as given; brk: the end before; else 0 */
	uint64_t old_size;    /* mremap, bytes; else 0 */
	int64_t change;	      /* faults: bytes by which its type is more resident; else 0 */
	uint64_t rss, vms;    /* bytes, after it */
	uint32_t prot;	      /* mmap: PROT_*; madvise: MADV_* */
	uint32_t map_flags;   /* mmap: MAP_*; mremap: MREMAP_* */
	uint32_t n_faults;
	uint32_t flags; /* WIRE_STACK_* */
	uint32_t n_frames, n_native;
	const struct frame *frames; /* innermost first; only that one without --stacks */
	const uint64_t *native;	    /* addresses of C frames in the target, innermost first */
};

/* What was there when a process's events began: all that was mapped earlier, and how much of it was
 * resident. */
struct memory_start {
	uint32_t target;
	pid_t pid;
	int maps_fd;	    /* /proc/PID/maps, open, at its begin; borrowed. -1: not to be had */
	uint64_t attached;  /* CLOCK_MONOTONIC: events come from here on */
	uint64_t read_from; /* CLOCK_MONOTONIC: events before it are in what maps_fd says; later
			     * ones may be, as it is read piece by piece */
	uint64_t rss[4];    /* bytes at `attached`: file, anon, swap, shmem (the kernel's order) */
	uint64_t vms, brk;  /* bytes; address of the heap's end */
};

/*
 * Whoever takes events in place of records. Failed calls do not come: they change nothing. `start`
 * is called once a process is attached, and again when it has become another program; events of it
 * may have come before. Both return 0, or -errno to end the session.
 */
struct memory_consumer {
	int (*start)(void *ctx, const struct memory_start *start);
	int (*event)(void *ctx, const struct memory_event *event);
	/* So many events of a target were lost. */
	void (*lost)(void *ctx, uint32_t target, uint64_t count);
	void *ctx;
};

#endif /* PIKOS_MONITOR_MEMORY_H */
