// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "cli/actions.h"
#include "cli/options.h"
#include "errors.h"
#include "log.h"
#include "session/session.h"

/*
 * Who starts us without some of them (cron jobs, `>&-`) must not have what we open first in their
 * place. Using them fails as it did, and the program that we run does not get them.
 */
static void occupy_closed_streams(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			open("/dev/null", (fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
}

int main(int argc, char *argv[])
{
	struct options *options = options__new();
	int err = options ? options__parse(options, argc, argv) : -ENOMEM, status = STATUS_FAILED;

	occupy_closed_streams();
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
