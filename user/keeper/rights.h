/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rights.h - what a process of the tracer may and holds: capabilities and descriptors.
 */
#ifndef PIKOS_KEEPER_RIGHTS_H
#define PIKOS_KEEPER_RIGHTS_H

#include <stdint.h>

/*
 * @brief List the descriptors that are open now, but for stdin, stdout and stderr.
 * @param list set to an array that the caller frees @return how many, or -errno
 */
int keeper__descriptors(int **list);

/* @brief Give up all capabilities but those in the mask (bit per CAP_*), for ever. */
int keeper__drop_rights(uint64_t keep);

#endif /* PIKOS_KEEPER_RIGHTS_H */
