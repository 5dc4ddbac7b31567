// SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only)
/*
 * What a process takes from its libc and gives back: malloc, calloc, realloc, free, and the aligned
 * ones, whichever code calls them.
 *
 * Entry and return of each are two traps, and the return's comes by a return address that the
 * kernel changes: this is dear, and the agent is there for whom that matters.
 *
 * libc calls itself (calloc malloc, realloc malloc and free, in musl): only the outermost call is
 * the program's. It is known by the stack pointer: what is called from it is below. So a return
 * that was missed, a longjmp say, ends with the next call from further up.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "bpf/state.bpf.h"
#include "bpf/core_compat.bpf.h"
#include "bpf/sites.bpf.h"
#include "bpf/details.bpf.h"
#include "bpf/region_depths.bpf.h"

struct request { /* a call that has not returned */
	__u64 stack_pointer;
	__u64 size;
	__u64 result; /* posix_memalign: where it is put */
	__u32 what;   /* as emit_detailed wants it */
	__u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct request);
} requests SEC(".maps");

struct no_programs no_allocation_programs SEC(".maps"); /* they may be for uprobe_multi */

#if defined(__TARGET_ARCH_x86)
#define RETURN_SIZE 8 /* what a call puts on the stack */
#else
#define RETURN_SIZE 0
#endif

/* The cookie: index of the target, and an enum wire_libc_call above 16 bits. */
static __always_inline __u32 find_call(struct pt_regs *ctx, struct wire_target **target)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32, index;
	__u32 call = site_index(ctx, tgid);

	index = call & 0xffff;
	*target = bpf_map_lookup_elem(&targets, &index);
	if (*target && (*target)->tgid != tgid)
		*target = NULL;
	return call;
}

static __always_inline bool is_wanted(void)
{
	__u32 tid = bpf_get_current_pid_tgid();

	if (filter_regions && !in_region())
		return false;
	return !filter_focus || bpf_map_lookup_elem(&focus_depths, &tid);
}

static __always_inline void emit_allocation(struct wire_target *target, __u32 index, __u32 type,
					    __u64 address, __u64 size)
{
	__sync_fetch_and_add(&target->seen, 1);
	emit_detailed(index | type << 16, address, size, 0, 0);
}

static __always_inline bool is_inner(struct pt_regs *ctx, __u32 tid)
{
	struct request *outer = bpf_map_lookup_elem(&requests, &tid);

	return outer && outer->stack_pointer > PT_REGS_SP(ctx);
}

SEC("?uprobe")
int on_allocate(struct pt_regs *ctx)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct wire_target *target;
	struct request request = {.stack_pointer = PT_REGS_SP(ctx)};
	__u32 call, index, type = WIRE_MALLOC;

	KEEP_OWN_STACK_BY(ctx, no_allocation_programs);
	call = find_call(ctx, &target);
	if (!target || !is_wanted() || is_inner(ctx, tid))
		return 0;
	index = call & 0xffff;
	switch (call >> 16) {
	case WIRE_LIBC_CALLOC:
		type = WIRE_CALLOC;
		request.size = PT_REGS_PARM1(ctx) * PT_REGS_PARM2(ctx);
		break;
	case WIRE_LIBC_REALLOC:
		type = WIRE_REALLOC;
		request.size = PT_REGS_PARM2(ctx);
		if (PT_REGS_PARM1(ctx))
			emit_allocation(target, index, WIRE_REALLOC_FREE, PT_REGS_PARM1(ctx), 0);
		break;
	case WIRE_LIBC_ALIGNED:
		request.size = PT_REGS_PARM2(ctx);
		break;
	case WIRE_LIBC_POSIX_MEMALIGN:
		request.result = PT_REGS_PARM1(ctx);
		request.size = PT_REGS_PARM3(ctx);
		break;
	default:
		request.size = PT_REGS_PARM1(ctx);
	}
	request.what = index | type << 16;
	if (!bpf_map_update_elem(&requests, &tid, &request, BPF_ANY))
		return 0;
	__sync_fetch_and_add(&target->seen, 1);
	count_lost(target, WIRE_MAP_FULL);
	return 0;
}

SEC("?uretprobe")
int on_allocated(struct pt_regs *ctx)
{
	__u32 tid = bpf_get_current_pid_tgid(), index;
	struct request *found = bpf_map_lookup_elem(&requests, &tid), request;
	struct wire_target *target;
	__u64 address;

	KEEP_OWN_STACK_BY(ctx, no_allocation_programs);
	if (!found || PT_REGS_SP(ctx) < found->stack_pointer + RETURN_SIZE)
		return 0;
	request = *found;
	bpf_map_delete_elem(&requests, &tid);
	index = request.what & 0xffff;
	target = bpf_map_lookup_elem(&targets, &index);
	if (!target)
		return 0;
	address = PT_REGS_RC(ctx);
	if (request.result) {
		if (address ||
		    bpf_probe_read_user(&address, sizeof(address), (const void *)request.result))
			address = 0;
	}
	__sync_fetch_and_add(&target->seen, 1);
	emit_detailed(request.what, address, request.size, 0, 0);
	return 0;
}

SEC("?uprobe")
int on_free(struct pt_regs *ctx)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct wire_target *target;
	__u32 call;

	KEEP_OWN_STACK_BY(ctx, no_allocation_programs);
	call = find_call(ctx, &target);
	if (!target || !PT_REGS_PARM1(ctx) || !is_wanted() || is_inner(ctx, tid))
		return 0;
	emit_allocation(target, call & 0xffff, WIRE_FREE, PT_REGS_PARM1(ctx), 0);
	return 0;
}
