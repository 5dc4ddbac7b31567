/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * protocol.h - what loader and keeper say to each other: one packet each way, a descriptor with it.
 */
#ifndef PIKOS_KEEPER_PROTOCOL_H
#define PIKOS_KEEPER_PROTOCOL_H

#include <stdint.h>

#include "keeper/keeper.h"

enum keeper_verb {
	KEEPER_ATTACH = 1,
	KEEPER_KNOW,
	KEEPER_DETACH,
	KEEPER_DETACH_ALL,
	KEEPER_READER,
	KEEPER_RESEND,
	KEEPER_RESENT,
	KEEPER_STOP_AGENTS,
	KEEPER_MAPS,
	KEEPER_CONTINUE, /* no answer */
};

struct keeper_request {
	uint32_t verb;
	uint32_t target;
	int32_t pid;
};

struct keeper_reply {
	int32_t err;
	struct keeper_missed missed;
	struct keeper_attached attached; /* reader_fd is sent beside it */
};

/* @param fd sent with the packet, or -1 @return 0 or -errno */
int keeper__send(int socket, const void *packet, size_t size, int fd);
/*
 * @param fd the descriptor that came with it, or -1
 * @return 0; -EPIPE: closed; -EPROTO: another size
 */
int keeper__receive(int socket, void *packet, size_t size, int *fd);

/* @brief The keeper's life. Does not return. */
_Noreturn void keeper__serve(int socket, struct kernel *kernel, const struct keeper_config *config);

#endif /* PIKOS_KEEPER_PROTOCOL_H */
