// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/agent_command.h"
#include "cli/help.h"
#include "cli/list.h"
#include "cli/options.h"
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

static int act(const struct options *options)
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

int main(int argc, char *argv[])
{
	struct options *options = options__new();
	int err = options ? options__parse(options, argc, argv) : -ENOMEM, status = STATUS_FAILED;

	if (options)
		log_init(options->program,
			 options->quiet	    ? LOG_QUIET
			 : options->verbose ? LOG_VERBOSE
					    : LOG_NORMAL,
			 options->progress);
	if (!err) {
		status = act(options);
	} else if (err == -EINVAL) {
		log_error("%s", options->error);
		log_hint("%s", options->hint);
		status = STATUS_USAGE;
	} else {
		log_error("%s", error_words(err));
	}
	options__free(options);
	return status;
}
