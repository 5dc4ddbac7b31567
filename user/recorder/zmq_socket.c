// SPDX-License-Identifier: BSD-3-Clause
/*
 * PUB is an XPUB socket: to subscribers it is the same, but it lets us see subscriptions (a
 * handshake can wait for one) and, with ZMQ_XPUB_NODROP (libzmq 4.1), refuses a message that a
 * subscriber has no room for instead of dropping it unseen.
 *
 * In CURVE the tracer is the server on every socket, also on the one that connects: the roles of
 * CURVE and of TCP are independent. Consumers need to know its public key.
 */
#include "recorder/zmq_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#define DEFAULT_ENDPOINT "tcp://127.0.0.1:9001"
#define HIGH_WATER	 1000 /* messages a consumer may be behind */
#define SLICE_MS	 100  /* of waiting, between two looks at the interruption */
#define LINGER_MS	 2000
#define PUSH_LINGER_MS	 60000
#define SUBSCRIBE_MS	 5000
#define MAX_INCOMING	 (64 << 10) /* bytes: subscriptions and replies are small */
#define KEY_LEN		 40	    /* Z85 */

struct zmq_socket {
	struct pikos_zmq_options options; /* strings: owned below */
	char *endpoint, *secret_key, *public_key;
	void *context, *socket;
	char bound[256];
	bool started, finishing;
	bool interrupted;
	int64_t deadline; /* ms of CLOCK_MONOTONIC; 0: none yet */
	char words[512];
};

/* Negative, and one that strerror knows: libzmq has errors of its own. */
static int zmq_error(void)
{
	int err = zmq_errno();

	return err > ZMQ_HAUSNUMERO ? -EPROTO : -err;
}

static int fail(struct zmq_socket *s, const char *verb, int err, const char *reason)
{
	snprintf(s->words, sizeof(s->words), "cannot %s '%s': %s", verb, s->endpoint, reason);
	return err;
}

static int fail_zmq(struct zmq_socket *s, const char *verb)
{
	int err = zmq_error();

	return fail(s, verb, err, zmq_strerror(zmq_errno()));
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------ endpoints */

/* The host of "tcp://HOST:PORT" into host, without brackets. Returns the port's text or NULL. */
static const char *split(const char *endpoint, char *host, size_t size)
{
	const char *colon = strrchr(endpoint, ':');
	size_t len;

	if (strncmp(endpoint, "tcp://", 6) || colon < endpoint + 7)
		return NULL;
	endpoint += 6;
	len = colon - endpoint;
	if (endpoint[0] == '[' && endpoint[len - 1] == ']') {
		endpoint++;
		len -= 2;
	}
	if (!len || len >= size)
		return NULL;
	memcpy(host, endpoint, len);
	host[len] = 0;
	return colon + 1;
}

static bool is_endpoint(const char *endpoint)
{
	char host[128], *end;
	const char *port;
	unsigned long n;

	if (!strncmp(endpoint, "ipc://", 6))
		return endpoint[6];
	port = split(endpoint, host, sizeof(host));
	if (!port)
		return false;
	if (!strcmp(port, "*"))
		return true;
	n = strtoul(port, &end, 10);
	return *port >= '0' && *port <= '9' && !*end && n <= 65535;
}

/* ipc is as good as loopback: it does not leave the machine. */
static bool is_loopback(const char *endpoint)
{
	struct in6_addr v6;
	struct in_addr v4;
	char host[128];

	if (!strncmp(endpoint, "ipc://", 6))
		return true;
	if (!split(endpoint, host, sizeof(host)))
		return false;
	if (inet_pton(AF_INET, host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* Where the handshake's consumer listens: the next port; of any address, loopback. */
static int next_endpoint(const struct zmq_socket *s, char *next, size_t size)
{
	char host[128];
	const char *port = split(s->bound, host, sizeof(host));
	unsigned long n = port ? strtoul(port, NULL, 10) : 0;

	if (!n || n >= 65535)
		return -EINVAL;
	if (!strcmp(host, "0.0.0.0") || !strcmp(host, "*"))
		strcpy(host, "127.0.0.1");
	else if (!strcmp(host, "::"))
		strcpy(host, "::1");
	snprintf(next, size, strchr(host, ':') ? "tcp://[%s]:%lu" : "tcp://%s:%lu", host, n + 1);
	return 0;
}

/* ------------------------------------------------------------------ life */

static bool is_key(const char *key)
{
	return !key || strlen(key) == KEY_LEN;
}

/* bind knows addresses and interfaces, no names but this one that everybody writes. */
static char *copy_endpoint(const char *endpoint)
{
	static const char named[] = "tcp://localhost:", address[] = "tcp://127.0.0.1:";
	char *copy = strdup(endpoint ? endpoint : DEFAULT_ENDPOINT);

	_Static_assert(sizeof(named) == sizeof(address), "replaced in place");
	if (copy && !strncmp(copy, named, sizeof(named) - 1))
		memcpy(copy, address, sizeof(address) - 1);
	return copy;
}

static int copy_options(struct zmq_socket *s, const struct pikos_zmq_options *options)
{
	s->options = *options;
	s->endpoint = copy_endpoint(options->endpoint);
	if (!s->endpoint)
		return -ENOMEM;
	if (!is_endpoint(s->endpoint) || !is_key(options->curve_secret_key) ||
	    !is_key(options->curve_public_key))
		return -EINVAL;
	if (options->curve_public_key && !options->curve_secret_key)
		return -EINVAL;
	if (options->curve_secret_key) {
		s->secret_key = strdup(options->curve_secret_key);
		if (!s->secret_key)
			return -ENOMEM;
	}
	if (options->curve_public_key) {
		s->public_key = strdup(options->curve_public_key);
		if (!s->public_key)
			return -ENOMEM;
	}
	return 0;
}

struct zmq_socket *zmq_socket__new(const struct pikos_zmq_options *options)
{
	struct zmq_socket *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return NULL;
	err = copy_options(s, options);
	if (err) {
		zmq_socket__free(s);
		errno = -err;
		return NULL;
	}
	return s;
}

/* After a slice of waiting, or a signal: has somebody told us to stop? */
static bool interrupted(struct zmq_socket *s, int err)
{
	if (s->options.interrupted)
		s->interrupted |= s->options.interrupted(s->options.interrupted_ctx);
	else
		s->interrupted |= err == -EINTR;
	return s->interrupted;
}

static void close_within(struct zmq_socket *s, int linger)
{
	if (s->socket) {
		zmq_setsockopt(s->socket, ZMQ_LINGER, &linger, sizeof(linger));
		zmq_close(s->socket);
	}
	s->socket = NULL;
	/* Bounded: every socket has a linger period; a signal that asks for an end cuts a long one.
	 */
	while (s->context && zmq_ctx_term(s->context) < 0 && zmq_errno() == EINTR)
		if (linger > LINGER_MS && interrupted(s, -EINTR))
			break; /* the process is about to end, and its threads with it */
	s->context = NULL;
}

/* How long what is queued may take: PUSH is for consumers that want everything, however slow. */
static int linger_ms(const struct zmq_socket *s)
{
	return s->options.pattern == PIKOS_ZMQ_PUSH && !s->interrupted ? PUSH_LINGER_MS : LINGER_MS;
}

void zmq_socket__close(struct zmq_socket *s)
{
	close_within(s, linger_ms(s));
}

void zmq_socket__free(struct zmq_socket *s)
{
	if (!s)
		return;
	close_within(s, 0);
	if (s->secret_key)
		explicit_bzero(s->secret_key, strlen(s->secret_key));
	free(s->secret_key);
	free(s->public_key);
	free(s->endpoint);
	free(s);
}

/* ------------------------------------------------------------------ bind */

static int set_int(void *socket, int option, int value)
{
	return zmq_setsockopt(socket, option, &value, sizeof(value));
}

/* What every socket gets; 0 or -1 as zmq says it. */
static int set_common(const struct zmq_socket *s, void *socket)
{
	int64_t max_incoming = MAX_INCOMING;

	if (set_int(socket, ZMQ_LINGER, 0) < 0 || set_int(socket, ZMQ_SNDTIMEO, SLICE_MS) < 0 ||
	    zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &max_incoming, sizeof(max_incoming)) < 0)
		return -1;
	if (strchr(s->endpoint, '[') && set_int(socket, ZMQ_IPV6, 1) < 0)
		return -1;
	if (!s->secret_key)
		return 0;
	if (set_int(socket, ZMQ_CURVE_SERVER, 1) < 0)
		return -1;
	if (s->public_key &&
	    zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, s->public_key, KEY_LEN + 1) < 0)
		return -1;
	return zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, s->secret_key, KEY_LEN + 1);
}

static int open_socket(struct zmq_socket *s)
{
	bool pub = s->options.pattern == PIKOS_ZMQ_PUB;
	size_t size = sizeof(s->bound);

	s->context = zmq_ctx_new();
	if (!s->context)
		return -1;
	s->socket = zmq_socket(s->context, pub ? ZMQ_XPUB : ZMQ_PUSH);
	if (!s->socket || set_common(s, s->socket) < 0)
		return -1;
	if (set_int(s->socket, ZMQ_SNDHWM, HIGH_WATER) < 0)
		return -1;
	if (pub && set_int(s->socket, ZMQ_XPUB_NODROP, 1) < 0)
		return -1;
	if (zmq_bind(s->socket, s->endpoint) < 0)
		return -1;
	return zmq_getsockopt(s->socket, ZMQ_LAST_ENDPOINT, s->bound, &size);
}

int zmq_socket__bind(struct zmq_socket *s)
{
	int err;

	s->interrupted = false;
	if (s->secret_key && !zmq_has("curve"))
		return fail(s, "secure", -EOPNOTSUPP, "this libzmq was built without CURVE");
	if (!s->secret_key && !s->options.insecure && !is_loopback(s->endpoint))
		return fail(s, "publish on", -EACCES,
			    "it is reachable from other machines and there are no CURVE keys");
	if (open_socket(s) < 0) {
		err = fail_zmq(s, "publish on");
		close_within(s, 0);
		s->bound[0] = 0;
		return err;
	}
	return 0;
}

const char *zmq_socket__endpoint(const struct zmq_socket *s)
{
	return s->bound[0] ? s->bound : NULL;
}

const char *zmq_socket__error(const struct zmq_socket *s)
{
	return s->words;
}

/* ------------------------------------------------------------------ waiting */

/* Wait for something to read, until the deadline (0: none). 0, -EINTR, -ETIMEDOUT, -errno. */
static int wait_readable(struct zmq_socket *s, void *socket, int64_t deadline)
{
	zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
	int n, err;

	for (;;) {
		n = zmq_poll(&item, 1, SLICE_MS);
		if (n > 0)
			return 0;
		err = n < 0 ? zmq_error() : 0;
		if (err && err != -EINTR)
			return err;
		if (interrupted(s, err))
			return -EINTR;
		if (deadline && now_ms() >= deadline)
			return -ETIMEDOUT;
	}
}

/* "not yet" of the seeds' protocol, in either encoding. */
static bool says_not_yet(const char *reply, int len)
{
	return (len == 5 && !memcmp(reply, "false", 5)) || (len == 1 && reply[0] == '\xc2');
}

static int ask(struct zmq_socket *s, void *request, const char *data, size_t len, bool *ready)
{
	char reply[16];
	int n, err;

	if (zmq_send(request, data, len, ZMQ_DONTWAIT) < 0)
		return zmq_error();
	err = wait_readable(s, request, 0);
	if (err)
		return err;
	n = zmq_recv(request, reply, sizeof(reply), ZMQ_DONTWAIT);
	if (n < 0)
		return zmq_error();
	*ready = !says_not_yet(reply, n);
	return 0;
}

static int wait_ready(struct zmq_socket *s, void *request, const char *data, size_t len)
{
	zmq_pollitem_t none = {.fd = -1};
	bool ready = false;
	int err;

	for (;;) {
		err = ask(s, request, data, len, &ready);
		if (err || ready)
			return err;
		/* The consumer asked for patience: one question per slice. */
		err = zmq_poll(&none, 0, SLICE_MS) < 0 ? zmq_error() : 0;
		if (interrupted(s, err))
			return -EINTR;
	}
}

static int wait_subscribed(struct zmq_socket *s)
{
	int err;

	if (s->options.pattern != PIKOS_ZMQ_PUB)
		return 0;
	err = wait_readable(s, s->socket, now_ms() + SUBSCRIBE_MS);
	return err == -ETIMEDOUT ? 0 : err;
}

int zmq_socket__handshake(struct zmq_socket *s, const char *data, size_t len)
{
	char next[256] = "";
	void *request;
	int err;

	if (next_endpoint(s, next, sizeof(next)))
		return fail(s, "wait for a consumer of", -EINVAL, "it has no port + 1");
	request = zmq_socket(s->context, ZMQ_REQ);
	if (!request)
		return fail_zmq(s, "wait for a consumer of");
	if (set_common(s, request) < 0 || zmq_connect(request, next) < 0)
		err = zmq_error();
	else
		err = wait_ready(s, request, data, len);
	zmq_close(request);
	if (!err)
		err = wait_subscribed(s);
	return err ? fail(s, "wait for a consumer of", err, strerror(-err)) : 0;
}

/* ------------------------------------------------------------------ send */

void zmq_socket__started(struct zmq_socket *s)
{
	s->started = true;
}

void zmq_socket__finishing(struct zmq_socket *s)
{
	s->finishing = true;
}

/* Subscriptions pile up in an XPUB that nobody reads; forged ones would without end. */
static void read_subscriptions(struct zmq_socket *s)
{
	char ignored[1];
	int i;

	if (s->options.pattern != PIKOS_ZMQ_PUB)
		return;
	for (i = 0; i < 4096; i++)
		if (zmq_recv(s->socket, ignored, sizeof(ignored), ZMQ_DONTWAIT) < 0)
			return;
}

/* The consumer has no room: 0 to try again, or what to give up with. */
static int wait_for_room(struct zmq_socket *s, int err)
{
	if (s->options.pattern == PIKOS_ZMQ_PUB && !s->finishing)
		return err == -EINTR ? 0 : -EAGAIN;
	if (!interrupted(s, err) && !s->finishing)
		return 0;
	if (!s->started)
		return -EINTR;
	if (!s->deadline || s->deadline > now_ms() + linger_ms(s))
		s->deadline = now_ms() + linger_ms(s);
	return now_ms() < s->deadline ? 0 : -EAGAIN;
}

/* PUB refuses at once; so does PUSH when its 2 s are over, but for what there is room for. */
static int patience(const struct zmq_socket *s)
{
	if (s->deadline && now_ms() >= s->deadline)
		return ZMQ_DONTWAIT;
	return s->options.pattern == PIKOS_ZMQ_PUB && !s->finishing ? ZMQ_DONTWAIT : 0;
}

int zmq_socket__send(struct zmq_socket *s, const char *topic, const char *data, size_t len)
{
	int err;

	read_subscriptions(s);
	while (zmq_send(s->socket, topic, strlen(topic), ZMQ_SNDMORE | patience(s)) < 0) {
		err = zmq_error();
		if (err != -EAGAIN && err != -EINTR)
			return fail_zmq(s, "send to");
		err = wait_for_room(s, err);
		if (err)
			return err;
	}
	/* Room is counted in whole messages: the second frame never waits. */
	while (zmq_send(s->socket, data, len, 0) < 0) {
		err = zmq_error();
		if (err != -EAGAIN && err != -EINTR)
			return fail_zmq(s, "send to");
	}
	return 0;
}
