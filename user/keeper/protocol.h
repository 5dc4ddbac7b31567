/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * protocol.h - what loader and keeper say to each other: one packet (process/packet.h) each way, a
 * descriptor with it.
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
	KEEPER_MAPPING,
	KEEPER_COSTS,
	KEEPER_CONTINUE, /* no answer */
};

struct keeper_request {
	uint32_t verb;
	uint32_t target;
	int32_t pid;
	uint64_t address; /* of KEEPER_MAPPING */
};

struct keeper_reply {
	int32_t err;
	struct keeper_missed missed;
	struct keeper_attached attached; /* reader_fd is sent beside it */
	struct keeper_mapping mapping;	 /* its file is sent beside it */
	struct keeper_costs costs;
};

/* @brief The keeper's life. Does not return. */
_Noreturn void keeper__serve(int socket, struct kernel *kernel, const struct keeper_config *config);

#endif /* PIKOS_KEEPER_PROTOCOL_H */
