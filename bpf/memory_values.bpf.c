// SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only)
/*
 * RSS and VMS of the targets, kept on a page that each target's agent reads (struct wire_values).
 *
 * To have them at an event, a probe hit per event is a trap only to read two numbers that have
 * hardly ever changed since the event before. So it is their changes that are watched:
 * kmem:rss_stat fires behind every change of a counter of RSS, and the lock of the address space is
 * given back behind every change of VMS, both before whoever caused it goes on. What the agent
 * reads is thereby what /proc/PID/statm would say to it, without clocks to compare, and nothing can
 * be lost on the way.
 *
 * By mm, never by who runs: pages are also taken and given by reclaim, ptrace, process_madvise.
 * Which mm is a target's is found when its agent maps the page.
 *
 * Two CPUs can be here at once for one mm, and the later sum must not be overwritten with the
 * earlier. Each takes a number behind its own change and before it sums up: the highest number's
 * sum has seen all changes of the lower ones.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "bpf/state.bpf.h"
#include "bpf/core_compat.bpf.h"

struct memory_target {
	__u64 mm;
	__u64 begun, published; /* numbers of sums */
	struct bpf_spin_lock lock;
	__u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WIRE_MAX_TARGETS);
	__type(key, __u32);
	__type(value, struct memory_target);
} memory_targets SEC(".maps");

struct values_page {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct wire_values));
};

/* By target: the page that its agent reads; a map for each, so that none reads another's. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, WIRE_MAX_TARGETS);
	__type(key, __u32);
	__array(values, struct values_page);
} memory_pages SEC(".maps");

/* Written by the loader. */
struct {
	__u32 adopts; /* the tgid whose current mm is to be taken for its target's; 0: none */
} memory_control;

static __always_inline struct wire_values *values_of(__u32 index)
{
	void *page = bpf_map_lookup_elem(&memory_pages, &index);
	__u32 zero = 0;

	return page ? bpf_map_lookup_elem(page, &zero) : NULL;
}

/* A function, or what only other kernels have is made before it is known which kernel it is. */
static __noinline int sum_up(struct mm_struct *mm, struct wire_values *now)
{
	memory_of(mm, &now->rss, &now->vms);
	return 0;
}

static __always_inline void publish_in_order(struct mm_struct *mm, struct memory_target *target,
					     volatile struct wire_values *values)
{
	struct wire_values now;
	__u64 number;

	bpf_spin_lock(&target->lock);
	number = ++target->begun;
	bpf_spin_unlock(&target->lock);
	sum_up(mm, &now);
	bpf_spin_lock(&target->lock);
	if (number > target->published) {
		target->published = number;
		values->rss = now.rss;
		values->vms = now.vms;
	}
	bpf_spin_unlock(&target->lock);
}

/* @return whether nobody has begun meanwhile */
static __always_inline bool publish_once(struct mm_struct *mm, struct memory_target *target,
					 volatile struct wire_values *values)
{
	volatile __u64 *begun = &target->begun;
	__u64 number = *begun;
	struct wire_values now;

	sum_up(mm, &now);
	if (*begun != number)
		return false; /* that one's sum is the younger */
	values->rss = now.rss;
	values->vms = now.vms;
	__sync_fetch_and_add(&target->published, 1); /* a barrier */
	return *begun == number;
}

/*
 * Without locks: who finds that another has begun meanwhile does it again. Between storing and
 * finding that, an old sum can be seen. (No loop: 6.1 takes none that goes back to behind a call.)
 */
static __always_inline void publish_again(struct mm_struct *mm, struct memory_target *target,
					  volatile struct wire_values *values)
{
	__sync_fetch_and_add(&target->begun, 1);
	if (!publish_once(mm, target, values) && !publish_once(mm, target, values) &&
	    !publish_once(mm, target, values))
		publish_once(mm, target, values);
}

static __always_inline int publish(struct mm_struct *mm, __u32 index)
{
	struct memory_target *target = bpf_map_lookup_elem(&memory_targets, &index);
	struct wire_values *values = values_of(index);

	if (!target || !values)
		return 0;
	if (has_spin_lock)
		publish_in_order(mm, target, values);
	else
		publish_again(mm, target, values);
	return 0;
}

/* A target has an mm that is new to us: its first one, or that of another program. */
static __always_inline void renew(__u64 mm, __u32 index)
{
	struct memory_target *target = bpf_map_lookup_elem(&memory_targets, &index);
	__u64 before = target ? target->mm : 0;
	__u32 *owner;

	if (!target || before == mm || !values_of(index))
		return;
	owner = bpf_map_lookup_elem(&mms, &before);
	if (owner && *owner == index)
		bpf_map_delete_elem(&mms, &before);
	target->mm = mm;
	bpf_map_update_elem(&mms, &mm, &index, BPF_ANY);
}

static __always_inline int look(struct mm_struct *mm)
{
	__u64 key = (__u64)mm;
	__u32 *index = bpf_map_lookup_elem(&mms, &key);

	return index ? publish(mm, *index) : 0;
}

static __always_inline void adopt(void)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32, *index;

	if (!memory_control.adopts || tgid != memory_control.adopts)
		return;
	index = bpf_map_lookup_elem(&tgids, &tgid);
	if (index)
		renew((__u64)current_mm(), *index);
}

SEC("?tp_btf/rss_stat")
int BPF_PROG(on_rss_stat, struct mm_struct *mm)
{
	return look(mm);
}

static __always_inline int adopt_and_look(struct mm_struct *mm)
{
	adopt();
	return mm ? look(mm) : 0;
}

/*
 * Those that follow can be preempted, and until they go on the kernel does not run them for other
 * threads on that CPU: it would be within themselves. What they do may be done twice, so where that
 * is usual (FEATURE_LAZY_PREEMPTION) each is there twice.
 */

/* Whatever changes VMS has the lock. */
SEC("?tp_btf/mmap_lock_released")
int BPF_PROG(on_mmap_unlocked, struct mm_struct *mm)
{
	return adopt_and_look(mm);
}

SEC("?tp_btf/mmap_lock_released")
int BPF_PROG(on_mmap_unlocked_again, struct mm_struct *mm)
{
	return adopt_and_look(mm);
}

/* Where that tracepoint is not there, or dear: FEATURE_MMAP_LOCK. */
SEC("?tp_btf/sys_exit")
int BPF_PROG(on_sys_exit)
{
	return adopt_and_look(current_mm());
}

SEC("?tp_btf/sys_exit")
int BPF_PROG(on_sys_exit_again)
{
	return adopt_and_look(current_mm());
}
