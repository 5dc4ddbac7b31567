// SPDX-License-Identifier: BSD-3-Clause
#include "probes/inject_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int loan_syscall(const struct loan *loan, const uint64_t *args, int n, int64_t *result)
{
	uint64_t value;
	int err = remote__call(loan->remote, loan->inject->symbols[SYM_SYSCALL], args, n, loan->top,
			       &value);

	*result = value;
	return err;
}

int loan_checked_syscall(const struct loan *loan, const uint64_t *args, int n, int64_t *result)
{
	int err = loan_syscall(loan, args, n, result), number = 0;

	if (err || *result != -1)
		return err;
	err = remote__read(loan->remote, loan->errno_address, &number, sizeof(number));
	if (err)
		return err;
	return number > 0 && number < 4096 ? -number : -EIO;
}

static int map_stack(struct loan *loan)
{
	/* mmap's sixth argument, an offset of 0, is what stands on the stack. */
	const uint64_t map[] = {SYS_mmap,
				0,
				STACK_SIZE,
				PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK,
				UINT64_MAX};
	int64_t address;
	int err = loan_checked_syscall(loan, map, 6, &address);

	if (err)
		return err;
	loan->stack = address;
	return 0;
}

int loan_borrow(struct loan *loan, const struct inject *inject, struct remote *remote)
{
	int err;

	*loan = (struct loan){.remote = remote, .inject = inject};
	err = remote__call(remote, inject->symbols[SYM_ERRNO], NULL, 0, 0, &loan->errno_address);
	if (!err)
		err = remote__read(remote, loan->errno_address, &loan->saved_errno,
				   sizeof(loan->saved_errno));
	return err ? err : map_stack(loan);
}

int loan_give_back(struct loan *loan, int err)
{
	const uint64_t unmap[] = {SYS_munmap, loan->stack, STACK_SIZE};
	int64_t ignored;
	int later = 0;

	/* After a crash nothing more is called there. */
	if (err == -ESRCH || err == -EFAULT)
		return err;
	loan->top = 0;
	if (loan->stack)
		later = loan_syscall(loan, unmap, 3, &ignored);
	if (!later && loan->errno_address)
		later = remote__write(loan->remote, loan->errno_address, &loan->saved_errno,
				      sizeof(loan->saved_errno));
	return err ? err : later;
}

/* ------------------------------------------------------------------ a descriptor for the target */

/* What its recvmsg is given and writes, at the lower end of its stack. */
struct mailbox {
	int pair[2];
	struct msghdr message;
	struct iovec vector;
	char byte;
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
};

#define IN_TARGET(loan, field) ((loan)->stack + offsetof(struct mailbox, field))

/* Into one end of a pair of its sockets, or what it has put there: then it gets nothing. */
static int send_there(pid_t pid, int number, int given)
{
	char byte = 0;
	struct iovec vector = {.iov_base = &byte, .iov_len = 1};
	struct mailbox box = {.control.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
						 .cmsg_level = SOL_SOCKET,
						 .cmsg_type = SCM_RIGHTS}};
	struct msghdr message = {.msg_iov = &vector,
				 .msg_iovlen = 1,
				 .msg_control = &box.control,
				 .msg_controllen = sizeof(box.control)};
	int pidfd = syscall(SYS_pidfd_open, pid, 0), end, err = 0;

	memcpy(CMSG_DATA(&box.control.header), &given, sizeof(given));
	if (pidfd < 0)
		return -errno;
	end = syscall(SYS_pidfd_getfd, pidfd, number, 0);
	if (end < 0 || sendmsg(end, &message, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
		err = -errno;
	if (end >= 0)
		close(end);
	close(pidfd);
	return err;
}

/* @return 0 with its number there; -EACCES: the kernel has not let it have it */
static int receive_there(const struct loan *loan, int number, int *taken)
{
	const uint64_t receive[] = {SYS_recvmsg, number, IN_TARGET(loan, message),
				    MSG_DONTWAIT | MSG_CMSG_CLOEXEC};
	struct mailbox box = {
		.message = {.msg_iov = (void *)IN_TARGET(loan, vector),
			    .msg_iovlen = 1,
			    .msg_control = (void *)IN_TARGET(loan, control),
			    .msg_controllen = sizeof(box.control)},
		.vector = {.iov_base = (void *)IN_TARGET(loan, byte), .iov_len = 1},
	};
	int64_t got;
	int err = remote__write(loan->remote, loan->stack, &box, sizeof(box));

	if (!err)
		err = loan_checked_syscall(loan, receive, 4, &got);
	if (!err)
		err = remote__read(loan->remote, loan->stack, &box, sizeof(box));
	if (err)
		return err;
	if (box.message.msg_controllen < sizeof(struct cmsghdr) ||
	    box.control.header.cmsg_len != CMSG_LEN(sizeof(int)))
		return -EACCES;
	memcpy(taken, CMSG_DATA(&box.control.header), sizeof(*taken));
	return 0;
}

int loan_close(const struct loan *loan, int number)
{
	const uint64_t args[] = {SYS_close, number};
	int64_t ignored;

	return loan_syscall(loan, args, 2, &ignored);
}

bool loan_is_lost(int err)
{
	return err == -ESRCH || err == -EFAULT;
}

int loan_give(const struct loan *loan, int given, int *taken)
{
	const uint64_t make[] = {SYS_socketpair, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0,
				 IN_TARGET(loan, pair)};
	int pair[2], err, later = 0;
	int64_t ignored;

	err = loan_checked_syscall(loan, make, 5, &ignored);
	if (!err)
		err = remote__read(loan->remote, IN_TARGET(loan, pair), pair, sizeof(pair));
	if (err)
		return err;
	err = send_there(loan->inject->info->pid, pair[0], given);
	if (!err)
		err = receive_there(loan, pair[1], taken);
	for (int i = 0; i < 2 && !loan_is_lost(err) && !later; i++)
		later = loan_close(loan, pair[i]);
	return err ? err : later;
}
