/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport.h - the kernel's buffers on the user side: one stream of records in time order.
 *
 * Every CPU has buffers of its own, so records of one thread lie in several of them. A drain
 * reads the clock, then the buffers' ends: a record's time is taken after its place was
 * reserved, so what lies behind those ends is younger than the clock was. Everything up to
 * the ends is sorted; what is not younger than the clock is handed out, the rest waits for the
 * next drain. While a record is still being written, nothing is handed out that is younger than the
 * clock of the last drain that did not see its place. A perf buffer has no reservation, so a record
 * may come later than its time by as long as its program was preempted: its clock is read
 * PERF_LAG_NS back, and what is later still is handed out and counted.
 */
#ifndef PIKOS_TRANSPORT_TRANSPORT_H
#define PIKOS_TRANSPORT_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/wire.h"

#define PERF_LAG_NS 5000000ull
/* Runs of faults wait for a tick of 10 ms, which may be late: bpf/memory_runs.bpf.h. */
#define TRANSPORT_RUN_LAG_NS 50000000ull

struct transport;

/* @return 0 to go on; anything else ends the drain and is what it returns. The record is gone
 * when the function returns. */
typedef int (*transport_fn)(void *ctx, const struct wire_head *record, uint32_t size);

/*
 * @param ring_fds one ring buffer map per CPU, borrowed: they may be closed afterwards
 * @param ring_size bytes of each
 * @param perf_fd the perf event array that events take instead, or -1; filled here
 * @param perf_size bytes per CPU
 * @return NULL and errno
 */
struct transport *transport__new(const int *ring_fds, int n_rings, uint32_t ring_size, int perf_fd,
				 uint32_t perf_size);
void transport__free(struct transport *transport);

/* @brief Add the descriptors that become readable when a buffer fills. @return 0 or -errno */
int transport__add_to_epoll(struct transport *transport, int epoll_fd);

/*
 * @brief Hand out what the buffers hold, oldest first.
 * @param everything nothing is written any more: do not hold back the youngest records
 * @return 0, or what `handle` returned; the drain can go on after it
 */
int transport__drain(struct transport *transport, transport_fn handle, void *ctx, bool everything);

/*
 * @brief Say that events of several processes come in batches of the agent, which are to be merged
 * by their events' times: batches are then held back until the others' have come; see merge.h.
 * @return 0 or -ENOMEM
 */
int transport__merge_batches(struct transport *transport);

/*
 * @brief Say that records may come as much later than their times: what is younger is held back as
 * long.
 */
void transport__set_lag(struct transport *transport, uint64_t ns);

/* @return whether what is held back fills a quarter of a buffer: a target that was paused for it is
 * not to go on yet */
bool transport__holds_much(const struct transport *transport);

/* @return how many records were handed out after a younger one */
uint64_t transport__late(const struct transport *transport);

/* @brief ns of CLOCK_MONOTONIC */
uint64_t clock_ns(void);

#endif /* PIKOS_TRANSPORT_TRANSPORT_H */
