/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * packet.h - a packet over a SOCK_SEQPACKET socket, a descriptor with it.
 */
#ifndef PIKOS_PROCESS_PACKET_H
#define PIKOS_PROCESS_PACKET_H

#include <stddef.h>

/* @param fd sent with the packet, or -1 @return 0 or -errno */
int packet__send(int socket, const void *packet, size_t size, int fd);
/*
 * @param fd the descriptor that came with it, or -1
 * @return 0; -EPIPE: closed; -EPROTO: another size
 */
int packet__receive(int socket, void *packet, size_t size, int *fd);

#endif /* PIKOS_PROCESS_PACKET_H */
