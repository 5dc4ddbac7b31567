// SPDX-License-Identifier: BSD-3-Clause
/* The loader's side: start, ask, end. */
#include "keeper/keeper.h"

#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keeper/protocol.h"
#include "process/packet.h"

struct keeper {
	pid_t pid;
	int socket;
};

struct keeper *keeper__start(struct kernel *kernel, const struct keeper_config *config)
{
	struct keeper *keeper = calloc(1, sizeof(*keeper));
	int ends[2] = {-1, -1}, err;

	if (!keeper)
		return NULL;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		goto out;
	keeper->pid = fork();
	if (keeper->pid < 0)
		goto out;
	if (!keeper->pid) {
		close(ends[0]);
		keeper__serve(ends[1], kernel, config);
	}
	close(ends[1]);
	keeper->socket = ends[0];
	kernel__set_keeper(kernel, keeper->pid);
	return keeper;
out:
	err = errno;
	if (ends[0] >= 0) {
		close(ends[0]);
		close(ends[1]);
	}
	free(keeper);
	errno = err;
	return NULL;
}

void keeper__free(struct keeper *keeper)
{
	if (!keeper)
		return;
	close(keeper->socket);
	while (waitpid(keeper->pid, NULL, 0) < 0 && errno == EINTR)
		;
	free(keeper);
}

int keeper__fd(const struct keeper *keeper)
{
	return keeper->socket;
}

static int ask(struct keeper *keeper, const struct keeper_request *request,
	       struct keeper_reply *reply)
{
	int fd = -1, err = packet__send(keeper->socket, request, sizeof(*request), -1);

	if (!err)
		err = packet__receive(keeper->socket, reply, sizeof(*reply), &fd);
	if (err)
		return err;
	reply->attached.reader_fd = fd;
	return reply->err;
}

int keeper__attach(struct keeper *keeper, uint32_t target, pid_t pid,
		   struct keeper_attached *attached)
{
	const struct keeper_request request = {.verb = KEEPER_ATTACH, .target = target, .pid = pid};
	struct keeper_reply reply = {.attached = {.reader_fd = -1}};
	int err = ask(keeper, &request, &reply);

	*attached = reply.attached;
	return err;
}

int keeper__know(struct keeper *keeper, uint32_t target, pid_t pid)
{
	const struct keeper_request request = {.verb = KEEPER_KNOW, .target = target, .pid = pid};
	struct keeper_reply reply;

	return ask(keeper, &request, &reply);
}

int keeper__reader(struct keeper *keeper, uint32_t target, int *fd)
{
	const struct keeper_request request = {.verb = KEEPER_READER, .target = target};
	struct keeper_reply reply = {.attached = {.reader_fd = -1}};
	int err = ask(keeper, &request, &reply);

	*fd = reply.attached.reader_fd;
	return err;
}

int keeper__maps(struct keeper *keeper, uint32_t target, int *fd)
{
	const struct keeper_request request = {.verb = KEEPER_MAPS, .target = target};
	struct keeper_reply reply = {.attached = {.reader_fd = -1}};
	int err = ask(keeper, &request, &reply);

	*fd = reply.attached.reader_fd;
	return err;
}

int keeper__mapping(struct keeper *keeper, uint32_t target, uint64_t address,
		    struct keeper_mapping *mapping)
{
	const struct keeper_request request = {
		.verb = KEEPER_MAPPING, .target = target, .address = address};
	struct keeper_reply reply = {.attached = {.reader_fd = -1}};
	int err = ask(keeper, &request, &reply);

	*mapping = reply.mapping;
	mapping->fd = reply.attached.reader_fd;
	return err;
}

int keeper__resend(struct keeper *keeper, uint32_t target, bool on)
{
	const struct keeper_request request = {.verb = on ? KEEPER_RESEND : KEEPER_RESENT,
					       .target = target};
	struct keeper_reply reply;

	return ask(keeper, &request, &reply);
}

int keeper__stop_agents(struct keeper *keeper)
{
	const struct keeper_request request = {.verb = KEEPER_STOP_AGENTS};
	struct keeper_reply reply;

	return ask(keeper, &request, &reply);
}

int keeper__detach(struct keeper *keeper, uint32_t target)
{
	const struct keeper_request request = {.verb = KEEPER_DETACH, .target = target};
	struct keeper_reply reply;

	return ask(keeper, &request, &reply);
}

int keeper__detach_all(struct keeper *keeper, struct keeper_missed *missed)
{
	const struct keeper_request request = {.verb = KEEPER_DETACH_ALL};
	struct keeper_reply reply = {0};
	int err = ask(keeper, &request, &reply);

	*missed = err ? (struct keeper_missed){0} : reply.missed;
	return err;
}

int keeper__costs(struct keeper *keeper, struct keeper_costs *costs)
{
	const struct keeper_request request = {.verb = KEEPER_COSTS};
	struct keeper_reply reply = {0};
	int err = ask(keeper, &request, &reply);

	*costs = err ? (struct keeper_costs){0} : reply.costs;
	return err;
}

int keeper__continue(struct keeper *keeper, uint32_t target)
{
	const struct keeper_request request = {.verb = KEEPER_CONTINUE, .target = target};

	return packet__send(keeper->socket, &request, sizeof(request), -1);
}
