// SPDX-License-Identifier: BSD-3-Clause
/*
 * Live records over ZeroMQ. Messages of two frames, a topic and an object; records of one process
 * travel together, up to MAX_RECORDS of them or until a flush.
 *
 * A message that a consumer has no room for is dropped and its records are counted; the notice of
 * it, as all notices of losses, is kept until it can be sent and goes out before later records.
 */
#include "pikos.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "recorder/encoder.h"
#include "recorder/recorder.h"
#include "recorder/zmq_socket.h"

#define MAX_RECORDS   500
#define MAX_BYTES     (256 << 10) /* a batch is sent earlier when its names are long */
#define MAX_PROCESSES 64	  /* batches open at a time */
#define MAX_NOTICES   16	  /* reasons are few */

struct batch {
	uint32_t pid;
	uint32_t n;
	uint64_t time; /* of the last record */
	struct encoder rows;
};

struct notice {
	char reason[64];
	uint32_t pid;
	uint64_t count, time;
};

struct zmq_recorder {
	struct zmq_socket *socket;
	bool wait;
	uint32_t pid;
	struct pikos_record_type type;
	struct encoder message;
	struct batch batches[MAX_PROCESSES];
	int n_batches, last;
	struct notice notices[MAX_NOTICES];
	int n_notices;
	uint64_t dropped;
	const char *own_error; /* of what is not the socket's */
};

/* ------------------------------------------------------------------ messages */

static struct encoder *begin(struct zmq_recorder *z, const char *kind, uint32_t pairs)
{
	struct encoder *e = &z->message;

	encoder__reset(e);
	encoder__map(e, 1 + pairs);
	encoder__pair_string(e, "kind", kind);
	return e;
}

/* End the message and send it under the topic of that process. */
static int send_message(struct zmq_recorder *z, uint32_t pid)
{
	char topic[64];

	encoder__end_map(&z->message);
	if (z->message.err) {
		z->own_error = "cannot encode a message: out of memory";
		return z->message.err;
	}
	snprintf(topic, sizeof(topic), "pikos.%" PRIu32 ".%s", pid, z->type.monitor);
	return zmq_socket__send(z->socket, topic, z->message.data, z->message.len);
}

static void put_identity(struct zmq_recorder *z, uint32_t pid)
{
	encoder__pair_natural(&z->message, "pid", pid);
	encoder__pair_string(&z->message, "monitor", z->type.monitor);
}

static void put_fields(struct zmq_recorder *z)
{
	struct encoder *e = &z->message;
	int i;

	encoder__key(e, "fields");
	encoder__array(e, z->type.n_fields);
	for (i = 0; i < z->type.n_fields; i++)
		encoder__string(e, z->type.fields[i].name);
	encoder__end_array(e);
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static int send_start(struct zmq_recorder *z)
{
	struct encoder *e = begin(z, "start", 5);

	encoder__pair_string(e, "version", PIKOS_VERSION);
	put_identity(z, z->pid);
	put_fields(z);
	encoder__pair_integer(e, "epoch_ns", clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC));
	return send_message(z, z->pid);
}

static int shake_hands(struct zmq_recorder *z)
{
	struct encoder *e = &z->message;

	encoder__reset(e);
	encoder__map(e, 3);
	put_identity(z, z->pid);
	put_fields(z);
	encoder__end_map(e);
	return e->err ? e->err : zmq_socket__handshake(z->socket, e->data, e->len);
}

/* ------------------------------------------------------------------ notices of losses */

static void note(struct zmq_recorder *z, const char *reason, uint32_t pid, uint64_t count,
		 uint64_t time)
{
	struct notice *n = z->notices, *end = z->notices + z->n_notices;

	for (; n < end; n++)
		if (!strncmp(n->reason, reason, sizeof(n->reason) - 1))
			break;
	if (n == end && z->n_notices == MAX_NOTICES) {
		n--; /* none is forgotten, but two share their words */
		snprintf(n->reason, sizeof(n->reason), "several reasons");
	} else if (n == end) {
		z->n_notices++;
		*n = (struct notice){.pid = pid};
		snprintf(n->reason, sizeof(n->reason), "%s", reason);
	}
	n->count += count;
	n->time = time;
}

/* 0 when none is left; -EAGAIN: no room for them yet. */
static int send_notices(struct zmq_recorder *z)
{
	const struct notice *n;
	struct encoder *e;
	int err;

	while (z->n_notices) {
		n = &z->notices[0];
		e = begin(z, "lost", 3);
		encoder__pair_string(e, "reason", n->reason);
		encoder__pair_natural(e, "count", n->count);
		encoder__pair_natural(e, "time", n->time);
		err = send_message(z, n->pid);
		if (err)
			return err;
		z->n_notices--;
		memmove(z->notices, z->notices + 1, z->n_notices * sizeof(*n));
	}
	return 0;
}

/* ------------------------------------------------------------------ batches */

static int send_batch(struct zmq_recorder *z, struct batch *b)
{
	struct encoder *e;
	int err;

	if (!b->n)
		return 0;
	err = send_notices(z);
	if (!err) {
		e = begin(z, "records", 3);
		put_identity(z, b->pid);
		encoder__key(e, "records");
		encoder__array(e, b->n);
		encoder__elements(e, &b->rows);
		encoder__end_array(e);
		err = send_message(z, b->pid);
	}
	if (err) {
		z->dropped += b->n;
		note(z, "subscriber slow", b->pid, b->n, b->time);
	}
	b->n = 0;
	encoder__reset(&b->rows);
	return err == -EAGAIN ? 0 : err;
}

static int send_batches(struct zmq_recorder *z)
{
	int i, err, first = 0;

	for (i = 0; i < z->n_batches; i++) {
		err = send_batch(z, &z->batches[i]);
		if (!first)
			first = err;
	}
	return first;
}

/* The batch of a process; NULL after an error. */
static struct batch *find_batch(struct zmq_recorder *z, uint32_t pid, int *err)
{
	struct batch *b;
	int i;

	*err = 0;
	if (z->last < z->n_batches && z->batches[z->last].pid == pid)
		return &z->batches[z->last];
	for (i = 0; i < z->n_batches && z->batches[i].pid != pid; i++)
		;
	if (i == MAX_PROCESSES) {
		*err = send_batches(z);
		if (*err)
			return NULL;
		i = z->n_batches = 0; /* all are empty, and their processes may be gone */
	}
	z->last = i;
	b = &z->batches[i];
	if (i == z->n_batches) {
		z->n_batches++;
		b->pid = pid;
	}
	return b;
}

static int add_record(struct zmq_recorder *z, struct batch *b, const struct pikos_record *record)
{
	struct encoder before = b->rows;
	int i;

	encoder__array(&b->rows, z->type.n_fields);
	for (i = 0; i < z->type.n_fields; i++)
		encoder__value(&b->rows, &record->values[i]);
	encoder__end_array(&b->rows);
	if (b->rows.err) {
		b->rows.len = before.len;
		b->rows.comma = before.comma;
		b->rows.err = 0;
		z->own_error = "cannot keep a record: out of memory";
		return -ENOMEM;
	}
	b->n++;
	b->time = record->time;
	return 0;
}

/* ------------------------------------------------------------------ the recorder */

static int zmq_prepare(void *ctx, const struct pikos_record_type *type)
{
	struct zmq_recorder *z = ctx;
	int err;

	z->type = *type;
	err = zmq_socket__bind(z->socket);
	if (err)
		return err;
	if (z->wait)
		err = shake_hands(z);
	if (!err)
		err = send_start(z);
	if (err)
		zmq_socket__close(z->socket);
	else
		zmq_socket__started(z->socket);
	return err;
}

static int zmq_record(void *ctx, const struct pikos_record *record)
{
	struct zmq_recorder *z = ctx;
	uint32_t pid = record->pid ? record->pid : z->pid;
	struct batch *b;
	int err;

	if (record->lost) {
		err = send_batches(z);
		note(z, record->lost->reason, pid, record->lost->count, record->lost->time);
		return err;
	}
	b = find_batch(z, pid, &err);
	if (!b)
		return err;
	err = add_record(z, b, record);
	if (!err && (b->n == MAX_RECORDS || b->rows.len >= MAX_BYTES)) {
		err = send_batch(z, b);
		if (err)
			z->dropped--; /* this one is refused, not dropped */
	}
	return err;
}

static int zmq_flush(void *ctx)
{
	struct zmq_recorder *z = ctx;
	int err = send_batches(z), notices = send_notices(z);

	if (err)
		return err;
	return notices == -EAGAIN ? 0 : notices;
}

static int send_end(struct zmq_recorder *z, const struct pikos_summary *summary, uint64_t late)
{
	struct encoder *e = begin(z, "end", 5);

	encoder__pair_natural(e, "seen", summary->seen);
	encoder__pair_natural(e, "written", summary->written - late);
	encoder__pair_natural(e, "filtered", summary->filtered);
	encoder__pair_natural(e, "lost", summary->lost + late);
	encoder__pair_integer(e, "status", summary->status);
	return send_message(z, z->pid);
}

static int zmq_finalize(void *ctx, const struct pikos_summary *summary)
{
	struct zmq_recorder *z = ctx;
	uint64_t before = z->dropped;
	int err;

	zmq_socket__finishing(z->socket);
	err = zmq_flush(z);
	/* The caller's summary knows of what was dropped before, not of what was just now. */
	if (!err)
		err = send_end(z, summary, z->dropped - before);
	zmq_socket__close(z->socket);
	return err == -EAGAIN ? 0 : err;
}

static void zmq_free(void *ctx)
{
	struct zmq_recorder *z = ctx;
	int i;

	for (i = 0; i < MAX_PROCESSES; i++)
		encoder__free(&z->batches[i].rows);
	encoder__free(&z->message);
	zmq_socket__free(z->socket);
	free(z);
}

static const char *zmq_words(const void *ctx)
{
	const struct zmq_recorder *z = ctx;

	return z->own_error ? z->own_error : zmq_socket__error(z->socket);
}

static uint64_t zmq_dropped(const void *ctx)
{
	return ((const struct zmq_recorder *)ctx)->dropped;
}

static const struct recorder_kind zmq_kind = {
	.ops = {zmq_prepare, zmq_record, zmq_flush, zmq_finalize, zmq_free},
	.error = zmq_words,
	.dropped = zmq_dropped,
};

struct pikos_recorder *pikos_recorder__zmq(const struct pikos_zmq_options *options)
{
	static const struct pikos_zmq_options defaults;
	struct zmq_recorder *z = calloc(1, sizeof(*z));
	int i, err;

	if (!z)
		return NULL;
	if (!options)
		options = &defaults;
	z->wait = options->wait;
	z->pid = options->pid;
	encoder__init(&z->message, options->encoding);
	for (i = 0; i < MAX_PROCESSES; i++)
		encoder__init(&z->batches[i].rows, options->encoding);
	z->socket = zmq_socket__new(options);
	if (!z->socket) {
		err = errno;
		free(z);
		errno = err;
		return NULL;
	}
	return recorder__make(&zmq_kind, z);
}

const char *pikos_recorder__zmq_endpoint(const struct pikos_recorder *rec)
{
	const struct zmq_recorder *z = recorder__ctx(rec, &zmq_kind);

	return z ? zmq_socket__endpoint(z->socket) : NULL;
}
