/* SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only) */
/*
 * The way out of the kernel: reserve, fill, submit. Ring buffer or perf buffer for events; what
 * must not be lost silently and is rare (codes, losses, processes) always takes the ring.
 *
 * Nobody is woken per event: the loader comes by itself every few milliseconds, and is woken when
 * a buffer holds max_unread bytes.
 */
#ifndef PIKOS_TRANSPORT_BPF_H
#define PIKOS_TRANSPORT_BPF_H

#include "bpf/state.bpf.h"

static __always_inline void *this_ring(void)
{
	__u32 cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&rings, &cpu);
}

static __always_inline void fill_head(struct wire_head *head, __u8 kind, __u8 type, __u32 target)
{
	head->kind = kind;
	head->type = type;
	head->target = target;
	head->tid = bpf_get_current_pid_tgid();
	head->time = bpf_ktime_get_ns();
}

static __always_inline void count_lost_events(struct wire_target *target, enum wire_reason reason,
					      __u64 count)
{
	__sync_fetch_and_add(&target->lost[reason], count);
	__sync_fetch_and_add(&target->unreported[reason], count);
	target->any_unreported = 1;
}

static __always_inline void count_lost(struct wire_target *target, enum wire_reason reason)
{
	count_lost_events(target, reason, 1);
}

/*
 * Losses enter the stream in front of the first record that finds room again.
 * @return 0, or -1 when there is no room: then that record is lost, too, or it would overtake them
 */
__weak int report_lost(__u32 index)
{
	struct wire_target *target = bpf_map_lookup_elem(&targets, &index);
	struct wire_lost *record;
	void *ring = this_ring();
	__u64 count;

	if (!ring || !target)
		return -1;
	target->any_unreported = 0;
	for (int reason = 0; reason < WIRE_N_REASONS; reason++) {
		if (!target->unreported[reason])
			continue;
		record = bpf_ringbuf_reserve(ring, sizeof(*record), 0);
		if (!record) {
			target->any_unreported = 1;
			return -1;
		}
		count = target->unreported[reason];
		__sync_fetch_and_add(&target->unreported[reason], -count);
		fill_head(&record->head, WIRE_LOST, reason, index);
		record->count = count;
		bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	}
	return 0;
}

static __always_inline void wake_loader(void *ring)
{
	struct wire_head *record = bpf_ringbuf_reserve(ring, sizeof(*record), 0);

	if (!record)
		return; /* full: it comes by its timer */
	fill_head(record, WIRE_WAKE, 0, 0);
	bpf_ringbuf_submit(record, BPF_RB_FORCE_WAKEUP);
}

/* After a submit: wake the loader once when the buffer passes its mark; pause the target at its. */
static __always_inline void watch_fill(void *ring, struct wire_target *target, __u32 size)
{
	__u64 unread = bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA);
	if (unread < max_unread)
		return;
	if (max_unread_paused && unread >= max_unread_paused && !control.no_pauses) {
		bpf_send_signal(19 /* SIGSTOP */);
		/* After the signal: who reads the count knows that the stop is pending. */
		__sync_fetch_and_add(&target->stops, 1);
	} else if (unread - max_unread >= 2 * size) {
		return;
	}
	wake_loader(ring);
}

struct event_slot {
	void *ring;
	struct wire_event_memory *event; /* only event->event if !emit_memory */
};

static __always_inline bool event_reserve(struct event_slot *slot, struct wire_event_memory *local)
{
	slot->ring = NULL;
	slot->event = local;
	if (emit_to_perf)
		return true;
	slot->ring = this_ring();
	if (!slot->ring)
		return false;
	if (emit_memory)
		slot->event = bpf_ringbuf_reserve(slot->ring, sizeof(struct wire_event_memory), 0);
	else
		slot->event = bpf_ringbuf_reserve(slot->ring, sizeof(struct wire_event), 0);
	if (!slot->event)
		return false;
	barrier_var(slot->event); /* no arithmetic on it before the check */
	return true;
}

/* @return false when the event did not fit (perf buffer only) */
static __always_inline bool event_submit(void *ctx, struct event_slot *slot,
					 struct wire_target *target)
{
	__u32 size = emit_memory ? sizeof(struct wire_event_memory) : sizeof(struct wire_event);

	if (emit_to_perf)
		return !bpf_perf_event_output(ctx, &perf_buffers, BPF_F_CURRENT_CPU, slot->event,
					      size);
	bpf_ringbuf_submit(slot->event, BPF_RB_NO_WAKEUP);
	watch_fill(slot->ring, target, size + 8);
	return true;
}

#endif /* PIKOS_TRANSPORT_BPF_H */
