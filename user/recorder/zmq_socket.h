/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * zmq_socket.h - the sockets of the zmq recorder: bound, secured, never blocked for good.
 */
#ifndef PIKOS_RECORDER_ZMQ_SOCKET_H
#define PIKOS_RECORDER_ZMQ_SOCKET_H

#include <stdbool.h>
#include <stddef.h>

#include "pikos.h"

struct zmq_socket;

/*
 * @param options copied
 * @return NULL with errno: ENOMEM; EINVAL: an endpoint or key that is none
 */
struct zmq_socket *zmq_socket__new(const struct pikos_zmq_options *options);
/* Closes, without waiting for what was not sent. NULL is fine. */
void zmq_socket__free(struct zmq_socket *s);

/*
 * @brief Bind the PUB or PUSH socket. @return 0; -EACCES: off loopback without keys; -errno
 */
int zmq_socket__bind(struct zmq_socket *s);

/*
 * @brief Send a message to port + 1 until its consumer replies anything but `false`, then wait
 * up to 5 s for its subscription, so that it misses nothing. Makes -EINTR of an interruption.
 */
int zmq_socket__handshake(struct zmq_socket *s, const char *data, size_t len);

/*
 * @brief Send topic and message, both or none.
 * @return 0; -EAGAIN: a consumer is too slow (PUB), or was when an interruption's 2 s were over
 * (PUSH); -EINTR: interrupted before zmq_socket__started; -errno
 */
int zmq_socket__send(struct zmq_socket *s, const char *topic, const char *data, size_t len);

/* Interruptions no longer end a wait at once: a PUSH consumer gets 2 s. */
void zmq_socket__started(struct zmq_socket *s);
/* From now on PUB waits for its subscribers too, 2 s altogether. */
void zmq_socket__finishing(struct zmq_socket *s);
/* @brief Close; what was sent has 2 s to arrive. */
void zmq_socket__close(struct zmq_socket *s);

/* @return the endpoint that is bound, or NULL */
const char *zmq_socket__endpoint(const struct zmq_socket *s);
/* @return words for the last failure, or "" */
const char *zmq_socket__error(const struct zmq_socket *s);

#endif /* PIKOS_RECORDER_ZMQ_SOCKET_H */
