/* SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only) */
/*
 * By how much the kernel's counters of resident pages have changed, exactly and cheaply.
 *
 * kmem:rss_stat fires after each change and tells which counter it was, not by how much. Before 6.2
 * a counter is one atomic number (and lags behind by up to 64 pages per thread: task->rss_stat).
 * Since 6.2 it is a common count and a part per CPU: a change goes to the CPU's part, and when that
 * has grown to a batch, all of it to the common count, so that the part is zero then.
 *
 * What we have seen of each of these numbers is kept; a change is the difference. Whatever is
 * missed or comes at once on several CPUs is in the next difference: the sum of all changes is
 * always that of the counters.
 */
#ifndef PIKOS_RSS_BPF_H
#define PIKOS_RSS_BPF_H

#include "bpf/state.bpf.h"
#include "bpf/core_compat.bpf.h"

/* The memory of each target. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct wire_memory_state);
} memories __weak SEC(".maps");

/* What was seen of the parts; by target * n_possible_cpus + CPU. A cache line each. */
struct memory_parts {
	__s32 seen[WIRE_N_COUNTERS];
	__u64 unused[6];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct memory_parts);
} memory_parts __weak SEC(".maps");

static __always_inline struct memory_parts *parts_of(__u32 index, __u32 cpu)
{
	__u32 key = index * n_possible_cpus + cpu;

	return bpf_map_lookup_elem(&memory_parts, &key);
}

static __always_inline __s32 read_part(__u64 parts, __u32 cpu)
{
	__s32 part = 0;

	if (cpu < WIRE_MAX_CPUS)
		bpf_probe_read_kernel(&part, sizeof(part), (void *)(parts + cpu_offsets[cpu]));
	return part;
}

static __always_inline __s64 read_count(__u64 address)
{
	__s64 count = 0;

	bpf_probe_read_kernel(&count, sizeof(count), (void *)address);
	return count;
}

/* ------------------------------------------------------------------ the beginning */

/* An index must be a constant to be relocated, whatever the compiler makes of a loop. */
#define FIND_PERCPU(i)                                                                      \
	do {                                                                                \
		state->counts[i] =                                                          \
			(__u64)__builtin_preserve_access_index(&percpu->rss_stat[i].count); \
		state->parts[i] = (__u64)BPF_CORE_READ(percpu, rss_stat[i].counters);       \
	} while (0)

#define FIND_ATOMIC(i) \
	(state->counts[i] = (__u64)__builtin_preserve_access_index(&old->rss_stat.count[i].counter))

/* Functions of their own, so that what this kernel does not have is not looked at. */
static __noinline int find_percpu(struct wire_memory_state *state, struct mm_struct *mm)
{
	struct mm_struct___percpu *percpu = (void *)mm;

	if (!state)
		return 0;
	FIND_PERCPU(MM_FILEPAGES);
	FIND_PERCPU(MM_ANONPAGES);
	FIND_PERCPU(MM_SWAPENTS);
	FIND_PERCPU(MM_SHMEMPAGES);
	return 0;
}

static __noinline int find_atomic(struct wire_memory_state *state, struct mm_struct *mm)
{
	struct mm_struct___old *old = (void *)mm;

	if (!state)
		return 0;
	FIND_ATOMIC(MM_FILEPAGES);
	FIND_ATOMIC(MM_ANONPAGES);
	FIND_ATOMIC(MM_SWAPENTS);
	FIND_ATOMIC(MM_SHMEMPAGES);
	return 0;
}

static __always_inline void find_counters(struct wire_memory_state *state, struct mm_struct *mm)
{
	if (has_percpu_rss)
		find_percpu(state, mm);
	else
		find_atomic(state, mm);
}

static __always_inline void see_counter(struct wire_memory_state *state, __u32 index, int i)
{
	state->total[i] = state->seen[i] = read_count(state->counts[i]);
	for (__u32 cpu = 0; has_percpu_rss && cpu < n_possible_cpus && cpu < WIRE_MAX_CPUS; cpu++) {
		struct memory_parts *parts = parts_of(index, cpu);

		if (!parts)
			continue;
		parts->seen[i] = read_part(state->parts[i], cpu);
		state->total[i] += parts->seen[i];
	}
	state->start[i] = state->total[i];
}

/* ------------------------------------------------------------------ changes */

__weak const volatile __u32 rss_batch = 32; /* a part that has grown to it is taken in */

/*
 * Whether a part that was `before` has been taken in since: it grows, or shrinks, away from zero
 * until then. Where a change was missed it may have grown again.
 */
static __always_inline bool is_taken(__s64 before, __s64 part)
{
	return before != part && part * (part - before) <= 0;
}

/* How many other CPUs' parts have been taken in and are still to be accounted for there. */
static __noinline int count_pending(const struct wire_memory_state *state, __u32 index,
				    __u32 member)
{
	__u32 own = bpf_get_smp_processor_id();
	int pending = 0;

	if (!state || member >= WIRE_N_COUNTERS)
		return 0;
	for (__u32 cpu = 0; cpu < n_possible_cpus && cpu < WIRE_MAX_CPUS; cpu++) {
		const struct memory_parts *parts = cpu == own ? NULL : parts_of(index, cpu);

		if (parts && parts->seen[member] &&
		    is_taken(parts->seen[member], read_part(state->parts[member], cpu)))
			pending++;
	}
	return pending;
}

/*
 * What the common count has grown by is this CPU's part and the change itself; if other CPUs' parts
 * were taken in at the same moment, and are still to be accounted for there, a batch each is too
 * much. Pages come one by one or a few at a time: a batch's worth of change is looked into.
 */
static __always_inline __s64 own_share(const struct wire_memory_state *state, __u32 index,
				       __u32 member, __s64 taken, __s64 change)
{
	if (change <= (__s64)rss_batch)
		return taken;
	return taken - count_pending(state, index, member) * (__s64)rss_batch;
}

/*
 * The common count has taken in this CPU's part, and perhaps another's: who finds it changed takes
 * what is its, once.
 * @param change of this CPU's part
 */
static __always_inline __s64 take_count(struct wire_memory_state *state, __u32 index, __u32 member,
					__s64 change)
{
	for (int i = 0; i < 4; i++) {
		__s64 seen = *(volatile __s64 *)&state->seen[member];
		__s64 taken = read_count(state->counts[member]) - seen;

		if (!taken)
			return 0;
		taken = own_share(state, index, member, taken, change + taken);
		if (__sync_val_compare_and_swap(&state->seen[member], seen, seen + taken) == seen)
			return taken;
	}
	return 0; /* others were quicker, and the next one takes what is left */
}

/* Since 6.2; also when instructions exist that 5.10 refuses to load. @return pages */
static __always_inline __s64 change_percpu(struct wire_memory_state *state, __u32 index,
					   __u32 member)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct memory_parts *parts = parts_of(index, cpu);
	__s64 change, before;
	__s32 part;

	if (!parts || cpu >= WIRE_MAX_CPUS)
		return 0;
	part = load_s32(state->parts[member] + cpu_offsets[cpu]);
	before = parts->seen[member];
	change = part - before;
	if (!part || is_taken(before, part))
		change += take_count(state, index, member, change);
	parts->seen[member] = part; /* no longer pending */
	return change;
}

/* Two threads at once may both see the same change; then the next one sees less. @return pages */
static __always_inline __s64 change_atomic(struct wire_memory_state *state, __u32 member)
{
	__s64 change = read_count(state->counts[member]) - *(volatile __s64 *)&state->seen[member];

	__sync_fetch_and_add(&state->seen[member], change);
	return change;
}

static __always_inline __u64 rss_of(const struct wire_memory_state *state)
{
	__s64 pages = state->total[MM_FILEPAGES] + state->total[MM_ANONPAGES] +
		      state->total[MM_SHMEMPAGES];

	return pages > 0 ? pages : 0;
}

#endif /* PIKOS_RSS_BPF_H */
