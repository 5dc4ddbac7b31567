/* SPDX-License-Identifier: BSD-3-Clause */
/* walk.h - what the program of walk.bpf.c and its test say to each other. */
#ifndef PIKOS_TESTS_WALK_H
#define PIKOS_TESTS_WALK_H

#include "bpf/wire.h"

struct walked {
	__u32 max; /* in: frames to follow */
	__u32 flags, n_frames;
	__u32 unused;
	__u64 top_frame, top_code, top_instruction;
	struct wire_frame frames[WIRE_MAX_FRAMES];
};

#endif /* PIKOS_TESTS_WALK_H */
