// SPDX-License-Identifier: BSD-3-Clause
/*
 * libFuzzer target: batches of two agents, of any bytes, through the merge and as they are. Every
 * event that a head tells of is accounted for, whatever the slots hold.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/monitor.h"
#include "transport/merge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct stations {
	struct pikos_record_type type;
	struct pikos_recorder *recorder;
	struct symbols *symbols;
	struct monitor *monitor;
	struct merge *merge; /* NULL: batches as they are */
	uint64_t counted;
};

static void open_stations(struct stations *s, bool merged, const char *monitor)
{
	const struct pikos_output out = {.path = "/dev/null"};
	struct monitor_config config = {.type = &s->type};

	memset(s, 0, sizeof(*s));
	pikos_record_type__init(&s->type, monitor, "+tid,+time");
	config.recorder = s->recorder = pikos_recorder__csv(&out);
	config.symbols = s->symbols = symbols__new();
	s->monitor = monitor__new(&config);
	s->merge = merged ? merge__new() : NULL;
	if (!s->monitor || pikos_recorder__prepare(s->recorder, &s->type) || merged != !!s->merge ||
	    monitor__set_target(s->monitor, 0, 1, NULL) ||
	    monitor__set_target(s->monitor, 1, 2, NULL))
		abort();
}

static void close_stations(struct stations *s)
{
	merge__free(s->merge);
	monitor__free(s->monitor);
	symbols__free(s->symbols);
	pikos_recorder__free(s->recorder);
}

/* The kernel's part: a record of the right size, and counts that are not from the target. */
static size_t hand_over(struct stations *s, const uint8_t *data, size_t size, uint64_t now)
{
	struct wire_batch *batch, head;
	size_t n;

	memcpy(&head, data, sizeof(head));
	n = (size - sizeof(head)) / sizeof(struct wire_slot);
	if (n > head.n_slots % (WIRE_BATCH_MAX_SLOTS + 1))
		n = head.n_slots % (WIRE_BATCH_MAX_SLOTS + 1);
	batch = malloc(sizeof(*batch) + n * sizeof(struct wire_slot));
	if (!batch)
		abort();
	memcpy(batch, data, sizeof(head) + n * sizeof(struct wire_slot));
	batch->head = (struct wire_head){WIRE_BATCH, 0, head.tid & 1, 1, now};
	batch->before = batch->slots = batch->flags = 0;
	batch->n_events %= WIRE_BATCH_MAX_SLOTS + 1;
	s->counted += batch->n_events;
	for (int i = 0; i < WIRE_N_REASONS; i++)
		s->counted += batch->lost[i];
	if (s->merge ? merge__add(s->merge, &batch->head,
				  sizeof(*batch) + n * sizeof(struct wire_slot))
		     : monitor__handle(s->monitor, &batch->head,
				       sizeof(*batch) + n * sizeof(struct wire_slot)))
		abort();
	free(batch);
	return sizeof(head) + n * sizeof(struct wire_slot);
}

static void run(const uint8_t *data, size_t size, bool merged, const char *monitor)
{
	struct monitor_totals totals;
	struct stations s;
	uint64_t now = 1000000000;
	size_t used;

	open_stations(&s, merged, monitor);
	while (size >= sizeof(struct wire_batch)) {
		used = hand_over(&s, data, size, now += 10000000);
		data += used;
		size -= used;
		if (merged && merge__hand_out(s.merge, now, monitor__handle, s.monitor, false))
			abort();
	}
	if (merged && merge__hand_out(s.merge, now, monitor__handle, s.monitor, true))
		abort();
	monitor__totals(s.monitor, &totals);
	if (totals.seen != s.counted + totals.marks || totals.seen != totals.written + totals.lost)
		abort();
	close_stations(&s);
}

/* What libc's uprobes tell, with frames of no code: each is a row or nothing. */
static void run_without_agent(const uint8_t *data, size_t size)
{
	struct {
		struct wire_allocation event;
		struct wire_frame frames[2];
	} record;
	struct monitor_totals totals;
	struct stations s;
	uint64_t n = 0;

	open_stations(&s, false, "allocations");
	for (; size >= sizeof(record); data += sizeof(record), size -= sizeof(record), n++) {
		memcpy(&record, data, sizeof(record));
		record.event.head.kind = WIRE_ALLOCATION;
		record.event.head.target &= 1;
		if (monitor__handle(s.monitor, &record.event.head, sizeof(record)))
			abort();
	}
	monitor__totals(s.monitor, &totals);
	if (totals.seen != totals.written + totals.lost || totals.seen > n + totals.marks)
		abort();
	close_stations(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	run(data, size, false, "functions");
	run(data, size, true, "functions");
	run(data, size, true, "function_memory");
	run(data, size, false, "allocations");
	run(data, size, true, "allocations");
	run_without_agent(data, size);
	return 0;
}
