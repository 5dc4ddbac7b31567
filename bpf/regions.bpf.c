// SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only)
/*
 * Regions that a program marks: pikos:region__enter and region__leave, in the agent's library
 * (probes/python/pikos.py hits it) or in the program itself (user/pikos_regions.h).
 *
 * They nest, per thread. A thread that was inside when the tracer came counts from its next entry.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "bpf/state.bpf.h"
#include "bpf/core_compat.bpf.h"
#include "bpf/transport.bpf.h"

/* What happens in a region that finds no room is not seen: one loss stands for all of it. */
static __noinline int lose_region(void)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	__u32 *index = bpf_map_lookup_elem(&tgids, &tgid);
	struct wire_target *target = index ? bpf_map_lookup_elem(&targets, index) : NULL;

	if (!target)
		return 0;
	__sync_fetch_and_add(&target->seen, 1);
	count_lost(target, WIRE_MAP_FULL);
	return 0;
}

SEC("uprobe")
int on_region_enter(void *ctx)
{
	__u32 tid = bpf_get_current_pid_tgid(), first = 1;
	__u32 *depth = bpf_map_lookup_elem(&region_depths, &tid);

	if (depth)
		*depth += 1;
	else if (bpf_map_update_elem(&region_depths, &tid, &first, BPF_ANY))
		lose_region();
	return 0;
}

/* A focus that was entered inside the region ends with it: nothing will be seen of its return. */
SEC("uprobe")
int on_region_leave(void *ctx)
{
	__u32 tid = bpf_get_current_pid_tgid();
	__u32 *depth = bpf_map_lookup_elem(&region_depths, &tid);

	if (!depth)
		return 0;
	*depth -= 1;
	if (!*depth) {
		bpf_map_delete_elem(&region_depths, &tid);
		bpf_map_delete_elem(&focus_depths, &tid);
	}
	return 0;
}
