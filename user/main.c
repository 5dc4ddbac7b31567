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
	int status = STATUS_FAILED;

	if (text && (fputs(text, stdout) < 0 || fflush(stdout)))
		log_cannot("write", "stdout", error_words(errno));
	else if (text)
		status = STATUS_OK;
	free(text);
	return status;
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
	int err = options ? options__parse(options, argc, argv) : -ENOMEM, status;

	if (options)
		log_init(options->program,
			 options->quiet	    ? LOG_QUIET
			 : options->verbose ? LOG_VERBOSE
					    : LOG_NORMAL,
			 options->progress);
	if (err == -EINVAL) {
		log_error("%s", options->error);
		log_hint("%s", options->hint);
		status = STATUS_USAGE;
	} else if (err) {
		log_error("%s", error_words(err));
		status = STATUS_FAILED;
	} else {
		status = act(options);
	}
	options__free(options);
	return status;
}
