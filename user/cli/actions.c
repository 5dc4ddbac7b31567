// SPDX-License-Identifier: BSD-3-Clause
#include "cli/actions.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/agent_command.h"
#include "cli/help.h"
#include "cli/list.h"
#include "errors.h"
#include "log.h"
#include "session/session.h"

static int print(char *text)
{
	bool printed = text && fputs(text, stdout) >= 0 && !fflush(stdout);

	if (text && !printed)
		log_cannot("write", "stdout", error_words(errno));
	free(text);
	return printed ? STATUS_OK : STATUS_FAILED;
}

int actions__run(const struct options *options)
{
	switch (options->action) {
	case ACTION_HELP:
		return print(help__text(options->pikos_run));
	case ACTION_VERSION:
		return puts(help__version(options->pikos_run)) < 0 ? STATUS_FAILED : STATUS_OK;
	case ACTION_FEATURES:
		return print(list__features());
	case ACTION_LIST:
		return print(list__interpreter(options));
	case ACTION_AGENT:
		return print(agent_command__run(options));
	case ACTION_TRACE:
		break;
	}
	return session__run(options, NULL);
}
