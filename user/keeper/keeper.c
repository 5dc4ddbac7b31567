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

struct keeper {
	pid_t pid;
	int socket;
};

int keeper__descriptors(int **list)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	int n = 0, *grown;

	*list = NULL;
	while (dir && (entry = readdir(dir))) {
		int fd = atoi(entry->d_name);

		if (fd <= STDERR_FILENO || fd == dirfd(dir))
			continue;
		grown = realloc(*list, (n + 1) * sizeof(*grown));
		if (!grown)
			break;
		*list = grown;
		grown[n++] = fd;
	}
	if (!dir)
		return -errno;
	closedir(dir);
	return n;
}

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

int keeper__send(int socket, const void *packet, size_t size, int fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = {(void *)packet, size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	if (fd >= 0) {
		memset(&control, 0, sizeof(control));
		message.msg_control = &control;
		message.msg_controllen = sizeof(control.room);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	}
	while (sendmsg(socket, &message, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int keeper__receive(int socket, void *packet, size_t size, int *fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = {packet, size};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = CMSG_LEN(sizeof(int))}; /* no room for two */
	struct cmsghdr *header;
	ssize_t got;

	*fd = -1;
	do
		got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(header), sizeof(*fd));
	if ((size_t)got == size && !(message.msg_flags & MSG_TRUNC))
		return 0;
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return got ? -EPROTO : -EPIPE;
}

static int ask(struct keeper *keeper, const struct keeper_request *request,
	       struct keeper_reply *reply)
{
	int fd = -1, err = keeper__send(keeper->socket, request, sizeof(*request), -1);

	if (!err)
		err = keeper__receive(keeper->socket, reply, sizeof(*reply), &fd);
	if (err)
		return err;
	reply->attached.reader_fd = fd;
	return reply->err;
}

int keeper__attach(struct keeper *keeper, uint32_t target, pid_t pid,
		   struct keeper_attached *attached)
{
	const struct keeper_request request = {KEEPER_ATTACH, target, pid};
	struct keeper_reply reply = {.attached = {.reader_fd = -1}};
	int err = ask(keeper, &request, &reply);

	*attached = reply.attached;
	return err;
}

int keeper__reader(struct keeper *keeper, uint32_t target, int *fd)
{
	const struct keeper_request request = {KEEPER_READER, target, 0};
	struct keeper_reply reply = {.attached = {.reader_fd = -1}};
	int err = ask(keeper, &request, &reply);

	*fd = reply.attached.reader_fd;
	return err;
}

int keeper__detach(struct keeper *keeper, uint32_t target)
{
	const struct keeper_request request = {KEEPER_DETACH, target, 0};
	struct keeper_reply reply;

	return ask(keeper, &request, &reply);
}

int keeper__detach_all(struct keeper *keeper, uint64_t *missed)
{
	const struct keeper_request request = {KEEPER_DETACH_ALL, 0, 0};
	struct keeper_reply reply = {0};
	int err = ask(keeper, &request, &reply);

	*missed = err ? 0 : reply.missed;
	return err;
}

int keeper__continue(struct keeper *keeper, uint32_t target)
{
	const struct keeper_request request = {KEEPER_CONTINUE, target, 0};

	return keeper__send(keeper->socket, &request, sizeof(request), -1);
}

int keeper__drop_rights(uint64_t keep)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		return -errno;
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= keep >> (32 * i);
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &header, data) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return 0;
}
