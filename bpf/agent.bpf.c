// SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only)
/*
 * Batches of the agent (probes/agent/agent.h): its probe `pikos:batch`, hit with the address of a
 * struct wire_batch. The batch goes into the ring buffer as it is, behind one head; what it means
 * is the loader's business. Counted here is how many events it says it holds: the loader holds it
 * to that.
 *
 * The agent lives in the target, so what it says is only believed within bounds. Its batches never
 * take the perf buffer.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "bpf/state.bpf.h"
#include "bpf/core_compat.bpf.h"
#include "bpf/arguments.bpf.h"
#include "bpf/sites.bpf.h"
#include "bpf/transport.bpf.h"

/*
 * What was lost since the target's last batch goes into the head of this one. Nobody else reports
 * it meanwhile: the agent hands over one batch at a time.
 */
static __always_inline void report_in_head(struct wire_target *target, struct wire_batch *batch)
{
	target->any_unreported = 0;
	for (int reason = 0; reason < WIRE_N_REASONS; reason++) {
		__u64 count = target->unreported[reason];

		if (count > (__u32)-1) {
			count = (__u32)-1;
			target->any_unreported = 1;
		}
		batch->lost[reason] = count;
		__sync_fetch_and_add(&target->unreported[reason], -count);
	}
}

/*
 * @param room slots to reserve: constant where it is inlined, as bpf_ringbuf_reserve wants it
 * @return 0, or -1: the events are counted as lost
 */
static __always_inline int hand_over(const struct wire_batch *from, struct wire_target *target,
				     __u32 index, const __u32 room)
{
	const __u32 most = room * sizeof(struct wire_slot);
	__u32 size = from->n_slots * sizeof(struct wire_slot);
	void *ring = this_ring();
	struct wire_batch *batch;

	batch = ring ? bpf_ringbuf_reserve(ring, sizeof(*batch) + most, 0) : NULL;
	if (!batch) {
		count_lost_events(target, WIRE_BUFFER_FULL, from->n_events);
		return -1;
	}
	barrier_var(batch); /* no arithmetic on it before the check */
	barrier_var(size);
	if (size > most || bpf_probe_read_user(batch + 1, size, (const void *)from->slots)) {
		bpf_ringbuf_discard(batch, BPF_RB_NO_WAKEUP);
		count_lost_events(target, WIRE_UNREADABLE_BATCH, from->n_events);
		return -1;
	}
	*batch = *from;
	batch->slots = 0;
	batch->flags = 0;
	__builtin_memset(batch->lost, 0, sizeof(batch->lost));
	if (target->any_unreported)
		report_in_head(target, batch);
	fill_head(&batch->head, WIRE_BATCH, 0, index);
	bpf_ringbuf_submit(batch, BPF_RB_NO_WAKEUP);
	watch_fill(ring, target, sizeof(*batch) + most + 8);
	return 0;
}

/* Reservations are of few sizes: constants only (a dynptr would need Linux 5.19). */
static __always_inline int take_batch(const struct wire_batch *batch, struct wire_target *target,
				      __u32 index)
{
	__sync_fetch_and_add(&target->seen, batch->n_events);
	if (batch->n_slots <= 32)
		return hand_over(batch, target, index, 32);
	if (batch->n_slots <= 128)
		return hand_over(batch, target, index, 128);
	if (batch->n_slots <= WIRE_BATCH_SLOTS)
		return hand_over(batch, target, index, WIRE_BATCH_SLOTS);
	if (batch->n_slots <= WIRE_BATCH_SLOTS + 32) /* full, with a definition at its end */
		return hand_over(batch, target, index, WIRE_BATCH_SLOTS + 32);
	return hand_over(batch, target, index, WIRE_BATCH_MAX_SLOTS);
}

/* The probe's only argument is described in the place of the file name. */
SEC("?uprobe")
int on_batch(struct pt_regs *ctx)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	__u32 index, where = site_index(ctx, tgid);
	struct wire_site *site = bpf_map_lookup_elem(&sites, &where);
	struct wire_target *target;
	struct wire_batch batch;

	KEEP_OWN_STACK(ctx);
	if (!site)
		return 0;
	index = site->target;
	target = bpf_map_lookup_elem(&targets, &index);
	if (!target || target->tgid != tgid)
		return 0;
	if (bpf_probe_read_user(&batch, sizeof(batch),
				(const void *)read_argument(ctx, &site->file)) ||
	    batch.n_slots > WIRE_BATCH_MAX_SLOTS || batch.n_events > batch.n_slots) {
		__sync_fetch_and_add(&target->seen, 1);
		count_lost(target, WIRE_UNREADABLE_BATCH);
		return 0;
	}
	take_batch(&batch, target, index);
	return 0;
}
