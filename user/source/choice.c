// SPDX-License-Identifier: BSD-3-Clause
#include "source/choice.h"

#include <stdio.h>

#include "source/agent_check.h"

static void name_agent(const struct interpreter *in, struct interpreter_reason *why)
{
	if (agent_check__process(in, NULL))
		return;
	snprintf(why->next_step, sizeof(why->next_step),
		 "--source agent loads our agent into it, which sees everything");
}

int source__choose(const struct source_policy *policy, const struct interpreter *in,
		   struct interpreter_reason *why)
{
	int err;

	if (policy->kernel || policy->libc) { /* a CPython of any version, however it was built */
		err = interpreter__info(in)->kind == INTERPRETER_PYPY
			      ? interpreter__check(in, 0, why)
			      : 0;
		if (err)
			return err;
		return policy->kernel ? SOURCE_IS_KERNEL : SOURCE_IS_LIBC;
	}
	if (policy->agent && (policy->prefer_agent || !policy->probes)) {
		err = agent_check__interpreter(in, why);
		return err ? err : SOURCE_IS_AGENT;
	}
	err = interpreter__check(in, policy->needed, why);
	if (!err)
		return SOURCE_IS_PROBES;
	if (policy->agent && !agent_check__interpreter(in, NULL))
		return SOURCE_IS_AGENT;
	if (policy->name_agent)
		name_agent(in, why);
	return err;
}
