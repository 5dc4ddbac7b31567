// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>

#include "cli/actions.h"
#include "cli/options.h"
#include "errors.h"
#include "log.h"
#include "session/session.h"

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
		status = actions__run(options);
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
