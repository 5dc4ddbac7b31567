/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * internal.h - the loaded BPF object, shared by its files:
 *
 *	kernel.c	knobs, maps, programs of all monitors
 *	mappings.c	what the monitor of memory needs
 */
#ifndef PIKOS_KERNEL_INTERNAL_H
#define PIKOS_KERNEL_INTERNAL_H

#include "kernel/kernel.h"
#include "pikos.skel.h"

struct kernel {
	struct pikos_bpf *bpf;
	struct wire_target *targets;
	struct wire_rule *rules;
	int *rings;
	int n_cpus;
	uint32_t ring_size, perf_size;
	bool has_cookies, has_uprobe_multi;
	int timing; /* descriptor: programs are timed while it is open; -1 */
	/* kernel_config.mappings */
	struct wire_memory_state *memories; /* n_targets of them */
	uint32_t n_targets;
	struct bpf_link **ticks; /* one per CPU; NULL: offline */
};

/* @brief Map an array that was made for it (BPF_F_MMAPABLE). @return 0 or -errno */
int kernel__map_array(const struct bpf_map *map, size_t size, void **out);

/* mappings.c, in the order of their calls */
void mappings__choose_programs(struct kernel *kernel, const struct kernel_config *config,
			       const bool *found);
int mappings__size_maps(struct kernel *kernel, uint32_t n_targets);
int mappings__fill(struct kernel *kernel);
/* @return calls whose program did not run; a change of RSS is in the next one then */
uint64_t mappings__missed(const struct kernel *kernel);
/* Nothing made yet is fine. */
void mappings__free(struct kernel *kernel);

#endif /* PIKOS_KERNEL_INTERNAL_H */
