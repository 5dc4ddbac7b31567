// SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only)
/*
 * The floor: empty programs on the probes that a monitor needs. What the target pays under them no
 * tracer that uses these probes can avoid.
 */
#include "bpf/vmlinux.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("uprobe")
int on_entry(void *ctx)
{
	return 0;
}

SEC("uprobe")
int on_return(void *ctx)
{
	return 0;
}

SEC("uprobe")
int on_line(void *ctx)
{
	return 0;
}

/* Where nothing runs any more, only to raise the semaphore of `line` on 3.11. */
SEC("uprobe")
int on_nothing(void *ctx)
{
	return 0;
}

/* Not quite empty: what counts faults, counts them. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} changes SEC(".maps");

SEC("tp_btf/rss_stat")
int on_rss_stat(void *ctx)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&changes, &zero);

	if (count)
		*count += 1;
	return 0;
}
