// SPDX-License-Identifier: BSD-3-Clause
#include "source/agent_probes.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "probes/inject.h"
#include "process/maps.h"
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

static bool is_any_raised(pid_t pid, const struct elf_notes *elf, __u64 bias)
{
	int fd = process__open(pid, "mem", O_RDONLY);
	bool raised = false;

	for (int i = 0; fd >= 0 && !raised && i < elf_notes__count(elf); i++) {
		const struct usdt_probe *probe = elf_notes__probe(elf, i);
		__u16 value;

		raised = probe->semaphore_addr &&
			 pread(fd, &value, sizeof(value), probe->semaphore_addr + bias) ==
				 sizeof(value) &&
			 value;
	}
	if (fd >= 0)
		close(fd);
	return raised;
}

bool agent_probes__are_used(pid_t pid)
{
	struct elf_notes *elf = NULL;
	struct mapping map;
	bool used = false;
	__u64 bias;
	int fd;

	if (inject__find(pid, AGENT_COPY_FILE, &map) != 1)
		return false;
	fd = maps__open(pid, &map);
	if (fd >= 0)
		elf = elf_notes__new(fd, "python");
	if (elf && !elf_notes__load_bias(elf, map.start, map.offset, true, &bias))
		used = is_any_raised(pid, elf, bias);
	elf_notes__free(elf);
	if (fd >= 0)
		close(fd);
	return used;
}
