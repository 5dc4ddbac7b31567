/* SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only) */
#ifndef PIKOS_REGION_DEPTHS_BPF_H
#define PIKOS_REGION_DEPTHS_BPF_H

#include "bpf/state.bpf.h"

/* Whether the current thread is inside a region that the program marks: regions.bpf.c. */
static __always_inline bool in_region(void)
{
	__u32 tid = bpf_get_current_pid_tgid();

	return bpf_map_lookup_elem(&region_depths, &tid);
}

#endif /* PIKOS_REGION_DEPTHS_BPF_H */
