// SPDX-License-Identifier: BSD-3-Clause
#include "source/agent_probes.h"

#include <stdio.h>

#include "source/agent.h"
#include "source/agent_check.h"

int agent_probes__offer(const struct interpreter *in, int image, char path[AGENT_PROBES_PATH],
			struct interpreter_reason *why)
{
	pid_t pid = interpreter__info(in)->pid;
	struct agent_copy copy;
	int err;

	if (agent_copy__find(pid, path))
		return 0;
	err = agent_check__process(in, why); /* before a file is made */
	if (!err)
		err = agent_copy__make(&copy, pid, image, why);
	if (err)
		return err;
	err = agent__offer(in, copy.path, why);
	if (err) {
		agent_copy__remove(&copy);
		return err;
	}
	snprintf(path, AGENT_PROBES_PATH, "%s", copy.path);
	agent_copy__keep(&copy);
	return 0;
}
