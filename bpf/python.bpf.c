// SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only)
/*
 * Python's own probes: function__entry, function__return, line.
 *
 *   who      site by the link's cookie, target by the site
 *   what     code by the two strings (codes.bpf.h)
 *   whether  quirks of the version, window of a script, focus; then it is seen and has a number
 *   then     filter, or a record (transport.bpf.h), or a loss that is counted
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "bpf/state.bpf.h"
#include "bpf/core_compat.bpf.h"
#include "bpf/arguments.bpf.h"
#include "bpf/sites.bpf.h"
#include "bpf/codes.bpf.h"
#include "bpf/generators.bpf.h"
#include "bpf/details.bpf.h"
#include "bpf/region_depths.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct occurrence {
	struct wire_target *target;
	const struct code_info *code;
	__s32 line;
	__u8 type;	 /* enum wire_type */
	__u64 generator; /* WIRE_SITE_GENERATORS: its frame if it is one */
};

/* ------------------------------------------------------------------ window and focus */

static __always_inline bool is_script_module(const struct code_info *code)
{
	return code->name_hash == module_name_hash && code->file_hash == window_file_hash;
}

/* Whether the script runs, its <module>'s own entry and return included. */
static __always_inline bool in_window(const struct occurrence *now)
{
	struct wire_target *target = now->target;
	bool own = is_script_module(now->code);

	if (own && now->type == WIRE_CALL) {
		target->window = WIRE_WINDOW_OPEN;
		__sync_fetch_and_add(&target->window_depth, 1);
		return true;
	}
	if (own && now->type == WIRE_LINE && !target->window_depth) {
		target->window = WIRE_WINDOW_OPEN;
		target->window_depth = 1;
		return true;
	}
	if (target->window != WIRE_WINDOW_OPEN)
		return false;
	if (own && now->type == WIRE_RETURN) {
		if (target->window_depth <= 1)
			target->window = WIRE_WINDOW_WAITING;
		__sync_fetch_and_add(&target->window_depth, -1);
	}
	return true;
}

__weak int line_in_ranges(__u32 wanted, __s32 line)
{
	for (__u32 i = 0; i < WIRE_MAX_RULES; i++) {
		struct wire_rule *rule;
		__u32 key = i;

		if (!(wanted >> i & 1))
			continue;
		rule = bpf_map_lookup_elem(&rules, &key);
		for (__u32 j = 0; rule && j < WIRE_MAX_RANGES; j++)
			if (j < rule->n_ranges && rule->ranges[j].first <= line &&
			    line <= rule->ranges[j].last)
				return 1;
	}
	return 0;
}

static __always_inline bool is_focused(const struct occurrence *now)
{
	if (now->code->focus != CODE_BY_RANGE)
		return now->code->focus == CODE_FOCUSED;
	return line_in_ranges(now->code->rules, now->line);
}

enum verdict { VERDICT_DROP, VERDICT_SEE, VERDICT_NO_ROOM };

/*
 * Everything while inside a focused function, per thread; recursion counts. A generator's return
 * without an entry that was seen, that of a throw() on 3.15, leaves the depth alone.
 */
__weak int inside_focus(__u32 focused, __u32 type, __u64 generator)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct frame_key frame = {.frame = generator, .tgid = bpf_get_current_pid_tgid() >> 32};
	__u32 *depth = bpf_map_lookup_elem(&focus_depths, &tid);
	__u32 first = 1;

	if (type == WIRE_CALL && focused) {
		if (generator && bpf_map_update_elem(&focused_generators, &frame, &first, BPF_ANY))
			return VERDICT_NO_ROOM;
		if (depth)
			*depth += 1;
		else if (bpf_map_update_elem(&focus_depths, &tid, &first, BPF_ANY))
			return VERDICT_NO_ROOM;
		return VERDICT_SEE;
	}
	if (!depth)
		return VERDICT_DROP;
	if (type == WIRE_RETURN && focused) {
		if (generator && bpf_map_delete_elem(&focused_generators, &frame))
			return VERDICT_SEE;
		*depth -= 1;
		if (!*depth)
			bpf_map_delete_elem(&focus_depths, &tid);
	}
	return VERDICT_SEE;
}

static __always_inline int in_focus(const struct occurrence *now)
{
	if (filter_focus == FOCUS_OFF)
		return VERDICT_SEE;
	if (filter_focus == FOCUS_LINES)
		return is_focused(now) ? VERDICT_SEE : VERDICT_DROP;
	return inside_focus(is_focused(now), now->type, now->generator);
}

/* ------------------------------------------------------------------ records */

static __always_inline int emit(struct pt_regs *ctx, const struct occurrence *now, __u32 index,
				__u64 seq)
{
	struct wire_event_memory local;
	struct event_slot slot;
	struct wire_event *event;

	if ((now->target->any_unreported && report_lost(index)) || !event_reserve(&slot, &local)) {
		count_lost(now->target, WIRE_BUFFER_FULL);
		return 0;
	}
	event = &slot.event->event;
	event->code = now->code->id;
	event->line = now->line;
	event->seq = seq;
	if (emit_memory)
		current_memory(&slot.event->rss, &slot.event->vms);
	fill_head(&event->head, emit_memory ? WIRE_EVENT_MEMORY : WIRE_EVENT, now->type, index);
	if (!event_submit(ctx, &slot, now->target))
		count_lost(now->target, WIRE_BUFFER_FULL);
	return 0;
}

#define IS_DETAILED (1ULL << 63)

/* @return 0; with emit_details what is to be emitted: this, the target, the code's id */
static __always_inline __u64 see(struct pt_regs *ctx, const struct occurrence *now, __u32 index,
				 int verdict)
{
	struct wire_target *target = now->target;
	/*
	 * The number is exact because a probe is hit with the GIL held, so never twice at once for
	 * a process. Only 3.12's interpreters with a GIL each can give two events one number; the
	 * count is exact for them too. (An addition with a result needs Linux 5.12.)
	 */
	__u64 seq = *(volatile __u64 *)&target->seen;

	__sync_fetch_and_add(&target->seen, 1);
	if (verdict == VERDICT_NO_ROOM) {
		count_lost(target, WIRE_MAP_FULL);
		return 0;
	}
	if (now->code->filtered || (filter_types && !(filter_types >> now->type & 1))) {
		__sync_fetch_and_add(&target->filtered, 1);
		return 0;
	}
	if (!now->code->id) {
		count_lost(target, WIRE_BUFFER_FULL);
		return 0;
	}
	if (emit_details)
		return IS_DETAILED | (__u64)index << 32 | now->code->id;
	return emit(ctx, now, index, seq);
}

static __always_inline bool is_quirk(const struct wire_site *site, const struct occurrence *now)
{
	if (!(site->flags & WIRE_SITE_GENERATORS))
		return false;
	if (now->type == WIRE_CALL)
		return now->generator && is_generator_creation(site->target, now->generator);
	return now->line == -1 && now->code->name_hash == now->code->file_hash;
}

static __always_inline __u64 handle(struct pt_regs *ctx, __u8 type)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	__u32 index, where = site_index(ctx, tgid);
	struct wire_site *site = bpf_map_lookup_elem(&sites, &where);
	struct occurrence now = {.type = type};
	struct code_info fresh = {};
	const char *name, *file;
	__s32 first_line, ignored = 0;
	int verdict;

	if (!site)
		return 0;
	index = site->target;
	now.target = bpf_map_lookup_elem(&targets, &index);
	if (!now.target || now.target->tgid != tgid)
		return 0;
	if (filter_regions && !in_region())
		return 0;
	name = (const char *)read_argument(ctx, &site->name);
	file = (const char *)read_argument(ctx, &site->file);
	first_line = now.line = read_argument(ctx, &site->line);
	now.code = code_of(name, file, tgid, type == WIRE_RETURN, &fresh);
	if (!now.code) {
		__sync_fetch_and_add(&now.target->seen, 1);
		count_lost(now.target, WIRE_UNREADABLE_STRING);
		return 0;
	}
	if (filter_regions && now.code->name_hash == region_name_hash)
		return 0;
	if (site->flags & WIRE_SITE_GENERATORS && (type == WIRE_CALL || filter_focus))
		now.generator =
			generator_frame(index, name, type == WIRE_CALL ? &first_line : &ignored);
	if (first_line != now.line) /* a module is not defined on a line */
		now.line = now.code->name_hash == module_name_hash ? 0 : first_line;
	if (is_quirk(site, &now) || (filter_window && !in_window(&now)))
		return 0;
	verdict = in_focus(&now);
	return verdict == VERDICT_DROP ? 0 : see(ctx, &now, index, verdict);
}

SEC("uprobe")
int on_entry(struct pt_regs *ctx)
{
	KEEP_OWN_STACK(ctx);
	handle(ctx, WIRE_CALL);
	return 0;
}

SEC("uprobe")
int on_return(struct pt_regs *ctx)
{
	KEEP_OWN_STACK(ctx);
	handle(ctx, WIRE_RETURN);
	return 0;
}

/* With its own part of the stack, which is free again when frames are walked. */
static __noinline __u64 decide(struct pt_regs *ctx, __u8 type)
{
	return handle(ctx, type);
}

static __always_inline int handle_in_detail(struct pt_regs *ctx, __u8 type)
{
	__u64 detailed = decide(ctx, type);

	if (detailed)
		emit_detailed((detailed >> 32 & 0xffff) | (__u32)type << 16, 0, 0, detailed, -1);
	return 0;
}

/*
 * With emit_details. Programs of their own: 5.10's verifier adds up the stack of calls
 * that the knobs rule out, too, and on_entry's with the walk's is more than there is.
 */
SEC("?uprobe")
int on_entry_in_detail(struct pt_regs *ctx)
{
	KEEP_OWN_STACK(ctx);
	return handle_in_detail(ctx, WIRE_CALL);
}

SEC("?uprobe")
int on_return_in_detail(struct pt_regs *ctx)
{
	KEEP_OWN_STACK(ctx);
	return handle_in_detail(ctx, WIRE_RETURN);
}

SEC("uprobe")
int on_line(struct pt_regs *ctx)
{
	KEEP_OWN_STACK(ctx);
	handle(ctx, WIRE_LINE);
	return 0;
}

/*
 * `lines` of a script: its end is known by the return of its <module> only, which is no record.
 */
SEC("uprobe")
int on_return_of_script(struct pt_regs *ctx)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	__u32 index, where = site_index(ctx, tgid);
	struct wire_site *site = bpf_map_lookup_elem(&sites, &where);
	struct occurrence now = {.type = WIRE_RETURN};
	struct code_info fresh = {};

	KEEP_OWN_STACK(ctx);
	if (!site)
		return 0;
	index = site->target;
	now.target = bpf_map_lookup_elem(&targets, &index);
	if (!now.target || now.target->tgid != tgid)
		return 0;
	now.code = code_of((const char *)read_argument(ctx, &site->name),
			   (const char *)read_argument(ctx, &site->file), tgid, false, &fresh);
	if (now.code)
		in_window(&now);
	return 0;
}

/* Attached where nothing runs any more, only to raise a semaphore. */
SEC("uprobe")
int on_nothing(void *ctx)
{
	return 0;
}
