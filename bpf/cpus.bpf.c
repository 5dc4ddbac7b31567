// SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only)
/*
 * Where each CPU's copy of per-CPU data lies, found once before anything is attached:
 * __per_cpu_offset is not exported everywhere, but an element of a per-CPU array is, both as
 * its common address and as each CPU's own.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "bpf/state.bpf.h"
#include "bpf/core_compat.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} cpu_sample SEC(".maps");

/* Of the element: as the map has it, for all CPUs. The loader subtracts it from cpu_offsets. */
__u64 cpu_common;

/* The map itself: the verifier allows reading from a map's address, but no arithmetic on it. */
char map_copy[1024] __attribute__((aligned(8)));

SEC("?raw_tp/sys_enter")
int fill_cpu_offsets(void *ctx)
{
	__u32 place = bpf_core_field_offset(struct bpf_array, pptrs), zero = 0;

	if (place > sizeof(map_copy) - sizeof(cpu_common) ||
	    bpf_probe_read_kernel(map_copy, sizeof(map_copy), &cpu_sample))
		return -1;
	cpu_common = *(__u64 *)&map_copy[place];
	for (__u32 cpu = 0; cpu < WIRE_MAX_CPUS && cpu < n_possible_cpus; cpu++) {
		void *element = bpf_map_lookup_percpu_elem(&cpu_sample, &zero, cpu);

		if (!element)
			return -1;
		cpu_offsets[cpu] = (__u64)element;
	}
	return 0;
}
