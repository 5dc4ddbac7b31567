// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/features.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "kernel/uprobe_multi.h"

const struct feature_info features__table[N_FEATURES] = {
	[FEATURE_BTF] = {"BTF", "5.2", "kernel types: find fields on any kernel", true},
	[FEATURE_SEMAPHORES] = {"uprobe reference counters", "4.20",
				"raise the semaphores of USDT probes", true},
	[FEATURE_RING_BUFFER] = {"ring buffer", "5.8", "records to user space", true},
	[FEATURE_MEMCG] = {"memory of maps charged to the cgroup", "5.11",
			   "else RLIMIT_MEMLOCK is raised", false},
	[FEATURE_TASK_BTF] = {"bpf_get_current_task_btf", "5.11",
			      "read a task's fields directly; else by copies", false},
	[FEATURE_MISSES] = {"recursion_misses", "5.12", "count programs that did not run", false},
	[FEATURE_SPIN_LOCK] = {"bpf_spin_lock in tracing programs", "5.15",
			       "keep RSS for the agent right while CPUs race; else repair it",
			       false},
	[FEATURE_COOKIE] = {"bpf_get_attach_cookie", "5.15",
			    "tell probe sites apart; else by address", false},
	[FEATURE_PERCPU_ELEMENT] = {"bpf_map_lookup_percpu_elem", "5.19",
				    "find per-CPU data; needed with the next", false},
	[FEATURE_PERCPU_RSS] = {"rss_stat as percpu_counter", "6.2",
				"sum every CPU's part of RSS; before it is one number", false},
	[FEATURE_ADJACENT_RSS] = {"rss_stat's counters in one array", "6.6",
				  "read all parts of a CPU at once; else one by one", false},
	[FEATURE_PLAIN_LOADS] = {"bpf_rdonly_cast", "6.2",
				 "read the kernel's numbers by plain loads; else by copies", false},
	[FEATURE_MMAP_LOCK] = {"mmap_lock_released without a path", "6.14",
			       "see VMS change for the agent; else as system calls end", false},
	[FEATURE_CALL_EXITS] = {"fexit on system calls", "5.12",
				"watch memory calls at no cost to others; else sys_exit", false},
	[FEATURE_LAZY_PREEMPTION] = {"lazy preemption", "6.13",
				     "who watches memory calls is preempted: there are two of each",
				     false},
	[FEATURE_TASK_REGS] = {"bpf_task_pt_regs", "5.15",
			       "tell faults of the program's own; else they have no addresses",
			       false},
	[FEATURE_FAULTS] = {"exceptions:page_fault_*", "4.4", "addresses of faults; x86 only",
			    false},
	[FEATURE_UPROBE_MULTI] = {"uprobe_multi by process", "6.10",
				  "leave libc at once; else one probe after the other", false},
};

static struct btf *kernel_btf(void)
{
	static struct btf *btf;

	if (!btf)
		btf = btf__load_vmlinux_btf();
	return btf;
}

/* The type of a member of a struct, modifiers skipped; NULL when there is none. */
static const struct btf_type *member_type(const struct btf *btf, const struct btf_type *type,
					  const char *name)
{
	const struct btf_member *member = btf_members(type);
	const struct btf_type *found = NULL;

	for (int i = 0; i < btf_vlen(type) && !found; i++, member++) {
		const char *member_name = btf__name_by_offset(btf, member->name_off);
		__u32 id = member->type;
		const struct btf_type *own = btf__type_by_id(btf, id);

		while (own && (btf_is_mod(own) || btf_is_typedef(own)))
			own = btf__type_by_id(btf, own->type);
		if (!strcmp(member_name, name))
			found = own;
		else if (!*member_name && own && btf_is_composite(own))
			found = member_type(btf, own, name);
	}
	return found;
}

static const struct btf_type *rss_stat_type(const struct btf *btf)
{
	int id = btf ? btf__find_by_name_kind(btf, "mm_struct", BTF_KIND_STRUCT) : -1;

	return id < 0 ? NULL : member_type(btf, btf__type_by_id(btf, id), "rss_stat");
}

static bool is_percpu_rss(const struct btf *btf, const struct btf_type *type)
{
	const struct btf_type *element;

	if (!type || !btf_is_array(type))
		return false;
	element = btf__type_by_id(btf, btf_array(type)->type);
	return element && btf_is_struct(element) &&
	       !strcmp(btf__name_by_offset(btf, element->name_off), "percpu_counter");
}

static bool is_atomic_rss(const struct btf *btf, const struct btf_type *type)
{
	return type && btf_is_struct(type) && member_type(btf, type, "count");
}

bool features__knows_rss(void)
{
	const struct btf *btf = kernel_btf();
	const struct btf_type *type = rss_stat_type(btf);

	return is_percpu_rss(btf, type) || is_atomic_rss(btf, type);
}

/* Its first parameter is a context. @return how many a tracepoint has; -1: it is not there */
static int tracepoint_parameters(const struct btf *btf, const char *name)
{
	int id = btf__find_by_name_kind(btf, name, BTF_KIND_TYPEDEF);
	const struct btf_type *type = id < 0 ? NULL : btf__type_by_id(btf, id);

	while (type && (btf_is_typedef(type) || btf_is_ptr(type)))
		type = btf__type_by_id(btf, type->type);
	return type && btf_is_func_proto(type) ? btf_vlen(type) - 1 : -1;
}

/* libbpf takes a helper for known when loading fails for any other reason, missing rights too. */
static bool can_load(void)
{
	return libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_KPROBE, NULL) == 1;
}

static bool has_helper(enum bpf_func_id helper)
{
	return libbpf_probe_bpf_helper(BPF_PROG_TYPE_KPROBE, helper, NULL) == 1;
}

static bool has_enumerator(const struct btf *btf, const char *name)
{
	for (__u32 id = 1; id < btf__type_cnt(btf); id++) {
		const struct btf_type *type = btf__type_by_id(btf, id);

		for (int i = 0; btf_is_enum(type) && i < btf_vlen(type); i++)
			if (!strcmp(btf__name_by_offset(btf, btf_enum(type)[i].name_off), name))
				return true;
	}
	return false;
}

static bool has_struct_member(const struct btf *btf, const char *name, const char *member)
{
	int id = btf__find_by_name_kind(btf, name, BTF_KIND_STRUCT);

	return id >= 0 && member_type(btf, btf__type_by_id(btf, id), member);
}

/*
 * Not before 5.12, which is told by atomic instructions: an fexit program that goes while a call
 * sleeps takes the way back with it. Some hosts refuse programs of this kind.
 */
static bool can_see_call_exits(struct btf *btf)
{
	static const char *const names[] = {"__x64_sys_mmap", "__arm64_sys_mmap"};
	struct bpf_insn code[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_STX | BPF_MEM | BPF_DW,
		 .dst_reg = BPF_REG_10,
		 .src_reg = BPF_REG_0,
		 .off = -8},
		{.code = BPF_STX | BPF_ATOMIC | BPF_DW,
		 .dst_reg = BPF_REG_10,
		 .src_reg = BPF_REG_0,
		 .off = -8,
		 .imm = BPF_ADD | BPF_FETCH},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = BPF_TRACE_FEXIT);
	int fd = -1;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		int id = btf__find_by_name_kind(btf, names[i], BTF_KIND_FUNC);

		if (id < 0)
			continue;
		options.attach_btf_id = id;
		fd = bpf_prog_load(BPF_PROG_TYPE_TRACING, NULL, "GPL", code,
				   sizeof(code) / sizeof(*code), &options);
	}
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

int features__find(bool found[N_FEATURES])
{
	struct btf *btf = kernel_btf();
	int err = btf ? 0 : -errno;

	memset(found, 0, N_FEATURES * sizeof(*found));
	found[FEATURE_SEMAPHORES] =
		!access("/sys/bus/event_source/devices/uprobe/format/ref_ctr_offset", F_OK);
	found[FEATURE_RING_BUFFER] = libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, NULL) == 1;
	if (can_load()) {
		found[FEATURE_MEMCG] = has_helper(BPF_FUNC_ktime_get_coarse_ns);
		found[FEATURE_TASK_BTF] = has_helper(BPF_FUNC_get_current_task_btf);
		found[FEATURE_SPIN_LOCK] = has_helper(BPF_FUNC_spin_lock);
		found[FEATURE_COOKIE] = has_helper(BPF_FUNC_get_attach_cookie);
		found[FEATURE_TASK_REGS] = has_helper(BPF_FUNC_task_pt_regs);
		found[FEATURE_PERCPU_ELEMENT] = has_helper(BPF_FUNC_map_lookup_percpu_elem);
		found[FEATURE_UPROBE_MULTI] = uprobe_multi__is_there();
	}
	if (!btf)
		return err;
	found[FEATURE_BTF] = true;
	found[FEATURE_MISSES] = has_struct_member(btf, "bpf_prog_info", "recursion_misses") ||
				has_struct_member(btf, "bpf_prog_stats", "misses");
	found[FEATURE_PERCPU_RSS] = is_percpu_rss(btf, rss_stat_type(btf));
	found[FEATURE_ADJACENT_RSS] =
		found[FEATURE_PERCPU_RSS] &&
		btf__find_by_name_kind(btf, "__percpu_counter_init_many", BTF_KIND_FUNC) >= 0;
	found[FEATURE_PLAIN_LOADS] =
		btf__find_by_name_kind(btf, "bpf_rdonly_cast", BTF_KIND_FUNC) >= 0;
	/* Before, the path of a cgroup was made each time: a third parameter. */
	found[FEATURE_MMAP_LOCK] = tracepoint_parameters(btf, "btf_trace_mmap_lock_released") == 2;
	found[FEATURE_FAULTS] =
		btf__find_by_name_kind(btf, "btf_trace_page_fault_user", BTF_KIND_TYPEDEF) >= 0;
	found[FEATURE_LAZY_PREEMPTION] = has_enumerator(btf, "preempt_dynamic_lazy");
	found[FEATURE_CALL_EXITS] = can_see_call_exits(btf);
	return 0;
}
