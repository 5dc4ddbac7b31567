/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * features.h - what the running kernel can do, found once by trying. `--features` prints the table.
 */
#ifndef PIKOS_KERNEL_FEATURES_H
#define PIKOS_KERNEL_FEATURES_H

#include <stdbool.h>

enum feature {
	FEATURE_BTF,
	FEATURE_SEMAPHORES,
	FEATURE_RING_BUFFER,
	FEATURE_MEMCG,
	FEATURE_TASK_BTF,
	FEATURE_MISSES,
	FEATURE_SPIN_LOCK,
	FEATURE_COOKIE,
	FEATURE_PERCPU_ELEMENT,
	FEATURE_PERCPU_RSS,
	FEATURE_ADJACENT_RSS,
	FEATURE_PLAIN_LOADS,
	FEATURE_MMAP_LOCK,
	FEATURE_CALL_EXITS,
	FEATURE_LAZY_PREEMPTION,
	FEATURE_TASK_REGS,
	FEATURE_FAULTS,
	FEATURE_UPROBE_MULTI,
	N_FEATURES,
};

struct feature_info {
	const char *name;
	const char *since; /* release */
	const char *use;   /* what it is for, and what is done without it */
	bool required;
};

extern const struct feature_info features__table[N_FEATURES];

/* @brief Try all. Needs the rights to load BPF: without them all are "not found".
 * @return 0 or -errno of reading the kernel's BTF, found[] filled all the same */
int features__find(bool found[N_FEATURES]);

/* @return whether RSS can be read: mm_struct is of a layout that core_compat.bpf.h knows */
bool features__knows_rss(void);

#endif /* PIKOS_KERNEL_FEATURES_H */
