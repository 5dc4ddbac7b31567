// SPDX-License-Identifier: BSD-3-Clause
#include "cli/agent_command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "errors.h"
#include "log.h"
#include "process/identity.h"
#include "source/agent_copy.h"
#include "source/agent_file.h"
#include "source/agent_probes.h"

/*
 * The file is that process's alone. In another root its name leads there by way of /proc, which
 * bpftrace understands as long as it is not told the process, too.
 */
static char *describe(pid_t pid, const char *path)
{
	struct identity *id = identity__of_pid(pid);
	char root[32] = "", option[32] = "", *text = NULL;

	if (id && id->same_root)
		snprintf(option, sizeof(option), "-p %d ", pid);
	else
		snprintf(root, sizeof(root), "/proc/%d/root", pid);
	identity__free(id);
	if (asprintf(&text,
		     "%s%s\n"
		     "bpftrace %s-e 'usdt:%s%s:python:function__entry "
		     "{ printf(\"%%s %%s:%%d\\n\", str(arg1), str(arg0), arg2); }'\n",
		     root, path, option, root, path) < 0)
		return NULL;
	return text;
}

static int offer(pid_t pid, char *path, struct interpreter_reason *why)
{
	struct interpreter *in = NULL;
	char lib[4200];
	int image = agent_file__open(lib, sizeof(lib)), err;

	if (image < 0) {
		log_cannot("open", lib, error_words(image));
		log_hint("it is built and installed beside pikos-trace; PIKOS_AGENT names another");
		return image;
	}
	err = interpreter__of_pid(pid, &in, why);
	if (!err)
		err = agent_probes__offer(in, image, path, why);
	interpreter__free(in);
	close(image);
	if (err) {
		char name[32];

		snprintf(name, sizeof(name), "PID %d", pid);
		log_cannot("load the agent into", name, *why->text ? why->text : error_words(err));
		if (*why->next_step)
			log_hint("%s", why->next_step);
	}
	return err;
}

char *agent_command__run(const struct options *options)
{
	struct interpreter_reason why = {0};
	char path[AGENT_PROBES_PATH];
	pid_t pid = options->pids[0];

	if (offer(pid, path, &why))
		return NULL;
	log_verbose("the file stays: remove its directory when PID %d has ended", pid);
	return describe(pid, path);
}
