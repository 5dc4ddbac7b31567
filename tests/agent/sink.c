// SPDX-License-Identifier: BSD-3-Clause
/*
 * Stands in for the kernel in the tests' build of the agent: batches go to a file as they are
 * (head, slots), and the semaphores can be set.
 */
#include <stdint.h>
#include <unistd.h>

#include "bpf/wire.h"
#include "probes/agent/session.h"
#include "probes/agent/test_hook.h"

#define EXPORT __attribute__((visibility("default")))

extern volatile unsigned short pikos_batch_semaphore, pikos_run_semaphore, pikos_resend_semaphore;

EXPORT int agent_test_fd = -1;
EXPORT uint64_t agent_test_events;
EXPORT int agent_test_resend_is_known(void);
EXPORT void agent_test_set(unsigned short run, unsigned short resend);

void agent_test_batch(const struct wire_batch *batch)
{
	const char *slots = (const char *)(uintptr_t)batch->slots;
	size_t size = batch->n_slots * sizeof(struct wire_slot), done = 0;

	agent_test_events += batch->n_events;
	if (agent_test_fd < 0)
		return;
	if (write(agent_test_fd, batch, sizeof(*batch)) != sizeof(*batch))
		_exit(99);
	while (done < size) {
		ssize_t n = write(agent_test_fd, slots + done, size - done);

		if (n <= 0)
			_exit(99);
		done += n;
	}
}

void agent_test_set(unsigned short run, unsigned short resend)
{
	pikos_batch_semaphore = run;
	pikos_run_semaphore = run;
	pikos_resend_semaphore = resend;
}

/* Whether the agent has seen that `resend` fell. */
int agent_test_resend_is_known(void)
{
	return !session.resend_was_asked;
}
