// SPDX-License-Identifier: BSD-3-Clause
#include "source/agent_probes.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "probes/agent/agent.h"
#include "process/maps.h"
#include "source/agent.h"
#include "source/agent_check.h"

struct search {
	pid_t pid;
	char *path;
};

/* Whether the name still leads to what is mapped: tmpfs and overlays tell devices as they like. */
static bool leads_there(pid_t pid, const struct mapping *map)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC,
			       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	int root = process__open(pid, "root", O_PATH | O_DIRECTORY), fd;
	struct stat st = {0};

	if (root < 0)
		return false;
	fd = (int)syscall(SYS_openat2, root, map->path, &how, sizeof(how));
	close(root);
	if (fd < 0)
		return false;
	if (fstat(fd, &st))
		st.st_ino = 0;
	close(fd);
	return S_ISREG(st.st_mode) && st.st_ino == map->ino;
}

/* "/tmp/pikos-agent-0123456789abcdef/old-probes.so" */
static int visit(const struct mapping *map, void *arg)
{
	struct search *search = arg;
	const char *dir = strstr(map->path, "/" AGENT_NAME "-");

	if (!dir || strlen(map->path) >= AGENT_PROBES_PATH || !map->ino ||
	    strcmp(strrchr(map->path, '/'), "/" AGENT_COPY_FILE) != 0 ||
	    !leads_there(search->pid, map))
		return 0;
	snprintf(search->path, AGENT_PROBES_PATH, "%s", map->path);
	return 1;
}

int agent_probes__offer(const struct interpreter *in, int image, char path[AGENT_PROBES_PATH],
			struct interpreter_reason *why)
{
	pid_t pid = interpreter__info(in)->pid;
	struct search search = {pid, path};
	struct agent_copy copy;
	int err;

	if (maps__each(pid, visit, &search) == 1)
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
