// SPDX-License-Identifier: BSD-3-Clause
/*
 * The consumer is another process with a socket of its own; it keeps the frames in a file, which
 * Python's json or libmsgpack-c then reads. Nothing here waits for time to pass: the recorder
 * itself waits for its subscriber, and says when a consumer holds it up.
 */
#include "recorder_support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <msgpack.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <zmq.h>

#include "monitor/record_type.h"

static struct pikos_record_type type;

static int setup(void **state)
{
	(void)state;
	return pikos_record_type__init(&type, "functions", NULL);
}

/* ------------------------------------------------------------------ consumer */

struct consumer {
	pid_t pid;
	int go; /* a byte in here: start reading */
	char *path;
};

struct consumer_options {
	int socket; /* ZMQ_SUB, ZMQ_PULL */
	int port;
	const char *first_reply; /* to the handshake, before "true"; NULL: none */
	bool handshake;
	bool wait_for_go;
	const char *server_key;
};

static void must(bool holds)
{
	if (!holds)
		_exit(10);
}

static void set_keys(void *socket, const char *server_key)
{
	char public[41], secret[41];

	if (!server_key)
		return;
	must(!zmq_curve_keypair(public, secret));
	must(!zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server_key, 41));
	must(!zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, public, 41));
	must(!zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, secret, 41));
}

static void keep_frame(FILE *out, const void *data, size_t len)
{
	uint32_t n = len;

	must(fwrite(&n, sizeof(n), 1, out) == 1);
	must(fwrite(data, 1, len, out) == len);
}

static void answer_handshake(void *context, const struct consumer_options *o, FILE *out)
{
	void *reply = zmq_socket(context, ZMQ_REP);
	char endpoint[64], request[1024];
	int n;

	set_keys(reply, o->server_key);
	snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%d", o->port + 1);
	must(!zmq_bind(reply, endpoint));
	if (o->first_reply) {
		must(zmq_recv(reply, request, sizeof(request), 0) > 0);
		must(zmq_send(reply, o->first_reply, strlen(o->first_reply), 0) >= 0);
	}
	n = zmq_recv(reply, request, sizeof(request), 0);
	must(n > 0 && n < (int)sizeof(request));
	must(zmq_send(reply, "true", 4, 0) == 4);
	keep_frame(out, "handshake", 9);
	keep_frame(out, request, n);
	zmq_close(reply);
}

/* Keep messages until the one that says that it is the end, in either encoding. */
static void consume(void *socket, FILE *out)
{
	bool end = false;
	zmq_msg_t frame;
	int i;

	while (!end)
		for (i = 0; i < 2; i++) {
			zmq_msg_init(&frame);
			must(zmq_msg_recv(&frame, socket, 0) >= 0);
			must(zmq_msg_more(&frame) == !i);
			keep_frame(out, zmq_msg_data(&frame), zmq_msg_size(&frame));
			end = memmem(zmq_msg_data(&frame), zmq_msg_size(&frame), "filtered", 8);
			zmq_msg_close(&frame);
		}
}

static void run_consumer(const struct consumer_options *o, const char *path, int go)
{
	void *context = zmq_ctx_new(), *socket = zmq_socket(context, o->socket);
	FILE *out = fopen(path, "w");
	char endpoint[64], byte;
	int one = 1;

	must(out && socket);
	must(!zmq_setsockopt(socket, ZMQ_RCVHWM, &one, sizeof(one)));
	if (o->socket == ZMQ_SUB)
		must(!zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "pikos.", 6));
	set_keys(socket, o->server_key);
	snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%d", o->port);
	must(!zmq_connect(socket, endpoint));
	if (o->handshake)
		answer_handshake(context, o, out);
	if (o->wait_for_go)
		must(read(go, &byte, 1) == 1);
	consume(socket, out);
	must(!fclose(out));
	zmq_close(socket);
	zmq_ctx_term(context);
	_exit(0);
}

static struct consumer start_consumer(const struct consumer_options *options)
{
	struct consumer c = {.path = temporary("zmq.frames")};
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	c.go = pipes[1];
	c.pid = fork();
	assert_true(c.pid >= 0);
	if (!c.pid) {
		close(pipes[1]);
		run_consumer(options, c.path, pipes[0]);
	}
	close(pipes[0]);
	return c;
}

static void end_consumer(struct consumer *c)
{
	int status;

	assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
	assert_int_equal(status, 0);
	close(c->go);
}

static void forget_consumer(struct consumer *c)
{
	unlink(c->path);
	free(c->path);
}

/* ------------------------------------------------------------------ ports, records */

static int bound_socket(int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (!bind(fd, (struct sockaddr *)&address, sizeof(address)))
		return fd;
	close(fd);
	return -1;
}

/* A port that is free, as is the next one. */
static int free_ports(void)
{
	struct sockaddr_in address;
	socklen_t len = sizeof(address);
	int first, second, port;

	for (;;) {
		first = bound_socket(0);
		assert_int_equal(getsockname(first, (struct sockaddr *)&address, &len), 0);
		port = ntohs(address.sin_port);
		second = port < 65535 ? bound_socket(port + 1) : -1;
		close(first);
		if (second >= 0) {
			close(second);
			return port;
		}
	}
}

static const char *endpoint_of(int port)
{
	static char endpoint[64];

	snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%d", port);
	return endpoint;
}

static struct pikos_recorder *prepared(const struct pikos_zmq_options *options)
{
	struct pikos_recorder *rec = pikos_recorder__zmq(options);

	assert_non_null(rec);
	if (pikos_recorder__prepare(rec, &type))
		fail_msg("%s", pikos_recorder__error(rec));
	return rec;
}

static int record(struct pikos_recorder *rec, uint32_t pid, int64_t index, const char *function)
{
	struct row row;
	int err;

	row_function(&row, &type, index, "call", function, 3, "f.py");
	row.record.pid = pid;
	row.record.time = index;
	err = pikos_recorder__record(rec, &row.record);
	row_free(&row);
	return err;
}

static void record_loss(struct pikos_recorder *rec, uint64_t count)
{
	const struct pikos_lost lost = {"buffer full", count, 77};
	struct pikos_value values[PIKOS_MAX_FIELDS];
	struct pikos_text reason;
	struct pikos_record record_lost = {
		.type = &type, .values = values, .lost = &lost, .pid = 42};

	pikos_lost_row(&type, 0, &lost, 0, 0, &reason, values);
	assert_int_equal(pikos_recorder__record(rec, &record_lost), 0);
}

/* What a Python program says that has (topic, bytes) pairs in `frames`. */
static void check_with_python(const char *program, const char *path, const char *expected)
{
	static const char head[] =
		"import json, struct, sys\n"
		"data, parts, at = open(sys.argv[1], 'rb').read(), [], 0\n"
		"while at < len(data):\n"
		"  n, = struct.unpack_from('=I', data, at)\n"
		"  parts.append(data[at + 4:at + 4 + n])\n"
		"  at += 4 + n\n"
		"frames = [(t.decode(), m) for t, m in zip(parts[::2], parts[1::2])]\n";
	char whole[4096], *out;
	size_t len;

	snprintf(whole, sizeof(whole), "%s%s", head, program);
	out = python(whole, path, &len);
	assert_string_equal(out, expected);
	free(out);
}

/* ------------------------------------------------------------------ shape of the messages */

/* 1200 records of one process, 2 of another, a loss, one more record. */
static struct consumer publish(enum pikos_encoding encoding, const char *first_reply)
{
	const struct pikos_summary summary = {1210, 1204, 1, 5, 3};
	int port = free_ports();
	struct consumer consumer = start_consumer(&(struct consumer_options){
		.socket = ZMQ_SUB, .port = port, .handshake = true, .first_reply = first_reply});
	struct pikos_recorder *rec = prepared(&(struct pikos_zmq_options){
		.endpoint = endpoint_of(port), .wait = true, .pid = 42, .encoding = encoding});
	int i;

	assert_string_equal(pikos_recorder__zmq_endpoint(rec), endpoint_of(port));
	for (i = 0; i < 1200; i++) {
		assert_int_equal(record(rec, 42, i, "f"), 0);
		if (i % 500 == 250)
			assert_int_equal(record(rec, 43, 9000000000000000000 + i, "g"), 0);
	}
	record_loss(rec, 5);
	assert_int_equal(record(rec, 42, -1, "\"\\\x01\x1b\n\xff é🐍,"), 0);
	assert_int_equal(pikos_recorder__flush(rec), 0);
	assert_int_equal(pikos_recorder__finalize(rec, &summary), 0);
	assert_int_equal(pikos_recorder__dropped(rec), 0);
	pikos_recorder__free(rec);
	end_consumer(&consumer);
	return consumer;
}

static void publishes_json(void **state)
{
	static const char program[] =
		"import time\n"
		"m = [(t, json.loads(b)) for t, b in frames]\n"
		"assert m[0] == ('handshake', dict(pid=42, monitor='functions',\n"
		"  fields='index type function lineNo filename'.split())), m[0]\n"
		"start = m[1][1]\n"
		"epoch = time.time_ns() - time.monotonic_ns()\n"
		"assert abs(start.pop('epoch_ns') - epoch) < 10**9\n"
		"assert m[1] == ('pikos.42.functions', dict(kind='start', version='0.1.0', "
		"pid=42,\n"
		"  monitor='functions', fields=m[0][1]['fields'])), m[1]\n"
		"rows = {42: [], 43: []}\n"
		"for topic, o in m[2:-3]:\n"
		"  assert topic == 'pikos.%d.functions' % o['pid'] and o['monitor'] == "
		"'functions'\n"
		"  assert set(o) == {'kind', 'pid', 'monitor', 'records'} and o['kind'] == "
		"'records'\n"
		"  assert 0 < len(o['records']) <= 500\n"
		"  rows[o['pid']] += o['records']\n"
		"assert rows[42] == [[i, 'call', 'f', 3, 'f.py'] for i in range(1200)]\n"
		"assert rows[43] == [[9 * 10**18 + i, 'call', 'g', 3, 'f.py'] for i in (250, "
		"750)]\n"
		"assert m[-3] == ('pikos.42.functions',\n"
		"  dict(kind='lost', reason='buffer full', count=5, time=77)), m[-3]\n"
		"assert m[-2][1]['records'] == [[-1, 'call',\n"
		"  '\"\\\\\\x01\\x1b\\n\\\\xff \\xe9\\U0001f40d,', 3, 'f.py']], m[-2]\n"
		"assert m[-1] == ('pikos.42.functions', dict(kind='end', seen=1210, written=1204,\n"
		"  filtered=1, lost=5, status=3)), m[-1]\n"
		"print(len(m))\n";
	struct consumer consumer = publish(PIKOS_JSON, NULL);

	(void)state;
	/* handshake, start, 500 + 500 + 200 of one process, 2 of the other, lost, 1, end */
	check_with_python(program, consumer.path, "9\n");
	forget_consumer(&consumer);
}

static const msgpack_object *get(const msgpack_object *map, const char *key)
{
	uint32_t i;

	assert_int_equal(map->type, MSGPACK_OBJECT_MAP);
	for (i = 0; i < map->via.map.size; i++)
		if (map->via.map.ptr[i].key.via.str.size == strlen(key) &&
		    !memcmp(map->via.map.ptr[i].key.via.str.ptr, key, strlen(key)))
			return &map->via.map.ptr[i].val;
	fail_msg("no key '%s'", key);
	return NULL;
}

static void assert_str(const msgpack_object *object, const char *expected)
{
	assert_int_equal(object->type, MSGPACK_OBJECT_STR);
	assert_int_equal(object->via.str.size, strlen(expected));
	assert_memory_equal(object->via.str.ptr, expected, strlen(expected));
}

/* The next frame of the file. */
static const char *next_frame(const char **data, uint32_t *len)
{
	const char *frame;

	memcpy(len, *data, sizeof(*len));
	frame = *data + sizeof(*len);
	*data = frame + *len;
	return frame;
}

static void check_msgpack_rows(const msgpack_object *message, int64_t *next)
{
	const msgpack_object *records = get(message, "records"), *row;
	uint32_t i;

	assert_int_equal(records->type, MSGPACK_OBJECT_ARRAY);
	for (i = 0; i < records->via.array.size; i++) {
		row = &records->via.array.ptr[i];
		assert_int_equal(row->type, MSGPACK_OBJECT_ARRAY);
		assert_int_equal(row->via.array.size, 5);
		assert_str(&row->via.array.ptr[1], "call");
		if (row->via.array.ptr[0].type == MSGPACK_OBJECT_NEGATIVE_INTEGER) {
			assert_str(&row->via.array.ptr[2], "\"\\\x01\x1b\n\\xff é🐍,");
			continue;
		}
		assert_int_equal(row->via.array.ptr[0].type, MSGPACK_OBJECT_POSITIVE_INTEGER);
		if (get(message, "pid")->via.u64 == 42)
			assert_int_equal(row->via.array.ptr[0].via.i64, (*next)++);
	}
}

static void check_msgpack_message(const msgpack_object *message, int i, int64_t *next)
{
	const msgpack_object *kind = i ? get(message, "kind") : NULL;

	if (!i || i == 1) {
		assert_int_equal(get(message, "pid")->via.u64, 42);
		assert_str(get(message, "monitor"), "functions");
		assert_int_equal(get(message, "fields")->via.array.size, 5);
		assert_str(&get(message, "fields")->via.array.ptr[3], "lineNo");
	}
	if (i == 1) {
		assert_str(kind, "start");
		assert_str(get(message, "version"), PIKOS_VERSION);
		assert_int_equal(get(message, "epoch_ns")->type, MSGPACK_OBJECT_POSITIVE_INTEGER);
	} else if (i == 6) {
		assert_str(kind, "lost");
		assert_str(get(message, "reason"), "buffer full");
		assert_int_equal(get(message, "count")->via.u64, 5);
	} else if (i == 8) {
		assert_str(kind, "end");
		assert_int_equal(get(message, "written")->via.u64, 1204);
		assert_int_equal(get(message, "status")->via.u64, 3);
	} else if (i) {
		assert_str(kind, "records");
		check_msgpack_rows(message, next);
	}
}

static void publishes_msgpack(void **state)
{
	struct consumer consumer = publish(PIKOS_MSGPACK, "\xc2"); /* false: not ready yet */
	const char *data, *end, *frame;
	int64_t next = 0;
	msgpack_unpacked message;
	uint32_t len;
	size_t total;
	char *whole = slurp(consumer.path, &total);
	int i = 0;

	(void)state;
	msgpack_unpacked_init(&message);
	for (data = whole, end = whole + total; data < end; i++) {
		next_frame(&data, &len); /* the topic */
		frame = next_frame(&data, &len);
		assert_int_equal(msgpack_unpack_next(&message, frame, len, NULL),
				 MSGPACK_UNPACK_SUCCESS);
		check_msgpack_message(&message.data, i, &next);
	}
	assert_int_equal(i, 9);
	assert_int_equal(next, 1200);
	msgpack_unpacked_destroy(&message);
	free(whole);
	forget_consumer(&consumer);
}

/* ------------------------------------------------------------------ slow consumers */

#define SLOW_RECORDS 6000
#define NAME_LEN     8000

static char *long_name(void)
{
	char *name = malloc(NAME_LEN + 1);

	assert_non_null(name);
	memset(name, 'n', NAME_LEN);
	name[NAME_LEN] = 0;
	return name;
}

/* Prints whether all of the records came, once, in order, or were reported lost. */
static const char account[] =
	"m = [json.loads(b) for t, b in frames if t != 'handshake']\n"
	"rows = [r[0] for o in m if o['kind'] == 'records' for r in o['records']]\n"
	"lost = sum(o['count'] for o in m if o['kind'] == 'lost')\n"
	"assert rows == sorted(set(rows))\n"
	"assert all(o['reason'] == 'subscriber slow' for o in m if o['kind'] == 'lost')\n"
	"end = m[-1]\n"
	"assert end['kind'] == 'end' and end['written'] == len(rows), (end, len(rows))\n"
	"assert end['lost'] == lost, (end, lost)\n"
	"print(len(rows) + lost, lost > 0)\n";

struct slow {
	int go;
	bool started; /* before, it is the connection that is waited for */
	int held_up;
};

/* Called while the consumer holds up the recorder: tell it to read, and go on waiting. */
static bool let_it_read(void *ctx)
{
	struct slow *slow = ctx;

	if (slow->started && !slow->held_up++)
		assert_int_equal(write(slow->go, "g", 1), 1);
	return false;
}

static void push_waits_for_its_consumer(void **state)
{
	const struct pikos_summary summary = {SLOW_RECORDS, SLOW_RECORDS, 0, 0, 0};
	int port = free_ports(), i;
	struct consumer consumer = start_consumer(
		&(struct consumer_options){.socket = ZMQ_PULL, .port = port, .wait_for_go = true});
	struct slow slow = {.go = consumer.go};
	struct pikos_recorder *rec =
		prepared(&(struct pikos_zmq_options){.endpoint = endpoint_of(port),
						     .pattern = PIKOS_ZMQ_PUSH,
						     .interrupted = let_it_read,
						     .interrupted_ctx = &slow});
	char *name = long_name();

	(void)state;
	slow.started = true;
	for (i = 0; i < SLOW_RECORDS; i++) {
		assert_int_equal(record(rec, 1, i, name), 0);
		assert_int_equal(pikos_recorder__flush(rec), 0);
	}
	assert_int_equal(pikos_recorder__finalize(rec, &summary), 0);
	assert_int_equal(pikos_recorder__dropped(rec), 0);
	assert_true(slow.held_up > 0);
	pikos_recorder__free(rec);
	end_consumer(&consumer);
	check_with_python(account, consumer.path, "6000 False\n");
	forget_consumer(&consumer);
	free(name);
}

static void pub_counts_what_it_drops(void **state)
{
	struct pikos_summary summary = {.seen = SLOW_RECORDS};
	int port = free_ports(), i;
	struct consumer consumer = start_consumer(&(struct consumer_options){
		.socket = ZMQ_SUB, .port = port, .handshake = true, .wait_for_go = true});
	struct pikos_recorder *rec = prepared(
		&(struct pikos_zmq_options){.endpoint = endpoint_of(port), .wait = true, .pid = 1});
	char *name = long_name();

	(void)state;
	for (i = 0; i < SLOW_RECORDS; i++) {
		assert_int_equal(record(rec, 1, i, name), 0);
		assert_int_equal(pikos_recorder__flush(rec), 0);
	}
	summary.lost = pikos_recorder__dropped(rec);
	summary.written = SLOW_RECORDS - summary.lost;
	assert_true(summary.lost > 0 && summary.written > 0);
	assert_int_equal(write(consumer.go, "g", 1), 1);
	assert_int_equal(pikos_recorder__finalize(rec, &summary), 0);
	assert_int_equal(pikos_recorder__dropped(rec), summary.lost);
	pikos_recorder__free(rec);
	end_consumer(&consumer);
	check_with_python(account, consumer.path, "6000 True\n");
	forget_consumer(&consumer);
	free(name);
}

static bool stop(void *ctx)
{
	++*(int *)ctx;
	return true;
}

static int64_t seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

/* A PUSH consumer that never reads cannot keep the tracer from ending, and all is counted. */
static void push_gives_up_when_interrupted(void **state)
{
	struct pikos_summary summary = {0};
	int port = free_ports(), asked = 0, i, status;
	struct consumer consumer = start_consumer(
		&(struct consumer_options){.socket = ZMQ_PULL, .port = port, .wait_for_go = true});
	struct pikos_recorder *rec =
		pikos_recorder__zmq(&(struct pikos_zmq_options){.endpoint = endpoint_of(port),
								.pattern = PIKOS_ZMQ_PUSH,
								.interrupted = stop,
								.interrupted_ctx = &asked});
	int64_t begin = seconds();
	char *name = long_name();

	(void)state;
	while (pikos_recorder__prepare(rec, &type) == -EINTR)
		assert_true(seconds() - begin < 30); /* until the consumer has connected */
	asked = 0;
	for (i = 0; i < SLOW_RECORDS; i++) {
		assert_int_equal(record(rec, 1, i, name), 0);
		assert_int_equal(pikos_recorder__flush(rec), 0);
	}
	assert_true(asked > 0);
	assert_true(pikos_recorder__dropped(rec) > 0);
	assert_true(pikos_recorder__dropped(rec) < SLOW_RECORDS);
	assert_int_equal(pikos_recorder__finalize(rec, &summary), 0);
	assert_true(seconds() - begin < 40);
	pikos_recorder__free(rec);
	kill(consumer.pid, SIGKILL);
	assert_int_equal(waitpid(consumer.pid, &status, 0), consumer.pid);
	close(consumer.go);
	forget_consumer(&consumer);
	free(name);
}

/* ------------------------------------------------------------------ waiting, endpoints */

static void assert_prepare(const struct pikos_zmq_options *options, int err, const char *words)
{
	struct pikos_recorder *rec = pikos_recorder__zmq(options);

	assert_non_null(rec);
	assert_int_equal(pikos_recorder__prepare(rec, &type), err);
	assert_string_equal(pikos_recorder__error(rec), words);
	pikos_recorder__free(rec);
}

static void on_alarm(int sig)
{
	(void)sig;
}

static void waiting_can_be_interrupted(void **state)
{
	const struct sigaction act = {.sa_handler = on_alarm};
	const struct itimerval often = {{0, 50000}, {0, 50000}}, never = {{0, 0}, {0, 0}};
	int port = free_ports(), asked = 0;
	char words[200];

	(void)state;
	snprintf(words, sizeof(words),
		 "cannot wait for a consumer of '%s': Interrupted system call", endpoint_of(port));
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	assert_prepare(&(struct pikos_zmq_options){.endpoint = endpoint_of(port), .wait = true},
		       -EINTR, words);
	assert_prepare(&(struct pikos_zmq_options){.endpoint = "tcp://127.0.0.1:*",
						   .pattern = PIKOS_ZMQ_PUSH},
		       -EINTR, "");
	setitimer(ITIMER_REAL, &never, NULL);
	/* Without any signal, by the caller's word alone. */
	assert_prepare(&(struct pikos_zmq_options){.endpoint = endpoint_of(port),
						   .wait = true,
						   .interrupted = stop,
						   .interrupted_ctx = &asked},
		       -EINTR, words);
	assert_int_equal(asked, 1);
}

static void publishes_to_nobody(void **state)
{
	struct pikos_recorder *rec =
		prepared(&(struct pikos_zmq_options){.endpoint = "tcp://localhost:*"});

	(void)state;
	assert_int_equal(strncmp(pikos_recorder__zmq_endpoint(rec), "tcp://127.0.0.1:", 16), 0);
	assert_int_equal(record(rec, 1, 0, "f"), 0);
	finish(rec);
}

static void keeps_to_this_machine(void **state)
{
	static const char *const away[] = {
		"tcp://*:*",	       "tcp://0.0.0.0:*",      "tcp://[::]:*",
		"tcp://10.0.0.1:9001", "tcp://128.0.0.1:9001", "tcp://127.0.0.1.example:9001",
		"tcp://eth0:9001"};
	char words[200];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(away) / sizeof(away[0]); i++) {
		snprintf(words, sizeof(words),
			 "cannot publish on '%s': it is reachable from other machines and there "
			 "are no CURVE keys",
			 away[i]);
		assert_prepare(&(struct pikos_zmq_options){.endpoint = away[i]}, -EACCES, words);
	}
	finish(prepared(
		&(struct pikos_zmq_options){.endpoint = "tcp://0.0.0.0:*", .insecure = true}));
	finish(prepared(&(struct pikos_zmq_options){.endpoint = "tcp://127.1.2.3:*"}));
}

static void says_why_it_cannot_bind(void **state)
{
	struct pikos_recorder *first =
		prepared(&(struct pikos_zmq_options){.endpoint = "tcp://127.0.0.1:*"});
	const char *endpoint = pikos_recorder__zmq_endpoint(first);
	char words[200];

	(void)state;
	snprintf(words, sizeof(words), "cannot publish on '%s': Address already in use", endpoint);
	assert_prepare(&(struct pikos_zmq_options){.endpoint = endpoint}, -EADDRINUSE, words);
	finish(first);
}

static void refuses_what_is_no_endpoint(void **state)
{
	static const char *const bad[] = {"",
					  "tcp://",
					  "tcp://:9001",
					  "127.0.0.1:9001",
					  "tcp://127.0.0.1",
					  "tcp://127.0.0.1:",
					  "tcp://127.0.0.1:x",
					  "tcp://127.0.0.1:65536",
					  "tcp://127.0.0.1:-1",
					  "inproc://x",
					  "ipc://"};
	struct pikos_zmq_options options = {0};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		options.endpoint = bad[i];
		if (pikos_recorder__zmq(&options))
			fail_msg("'%s' was taken for an endpoint", bad[i]);
		assert_int_equal(errno, EINVAL);
	}
	options = (struct pikos_zmq_options){.curve_secret_key = "short"};
	assert_null(pikos_recorder__zmq(&options));
	options = (struct pikos_zmq_options){.curve_public_key =
						     "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"};
	assert_null(pikos_recorder__zmq(&options));
	assert_int_equal(errno, EINVAL);
}

/* Encrypted, handshake included; and then an endpoint off loopback is fine. */
static void publishes_with_curve(void **state)
{
	const struct pikos_summary summary = {1, 1, 0, 0, 0};
	char public[41], secret[41], endpoint[64];
	int port = free_ports();
	struct consumer consumer;
	struct pikos_recorder *rec;

	(void)state;
	assert_int_equal(zmq_curve_keypair(public, secret), 0);
	consumer = start_consumer(&(struct consumer_options){
		.socket = ZMQ_SUB, .port = port, .handshake = true, .server_key = public});
	snprintf(endpoint, sizeof(endpoint), "tcp://0.0.0.0:%d", port);
	rec = prepared(&(struct pikos_zmq_options){.endpoint = endpoint,
						   .wait = true,
						   .curve_secret_key = secret,
						   .curve_public_key = public});
	assert_int_equal(record(rec, 1, 7, "f"), 0);
	assert_int_equal(pikos_recorder__finalize(rec, &summary), 0);
	pikos_recorder__free(rec);
	end_consumer(&consumer);
	check_with_python("print([json.loads(b).get('kind') for t, b in frames])\n", consumer.path,
			  "[None, 'start', 'records', 'end']\n");
	forget_consumer(&consumer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(publishes_json),
		cmocka_unit_test(publishes_msgpack),
		cmocka_unit_test(push_waits_for_its_consumer),
		cmocka_unit_test(pub_counts_what_it_drops),
		cmocka_unit_test(push_gives_up_when_interrupted),
		cmocka_unit_test(waiting_can_be_interrupted),
		cmocka_unit_test(publishes_to_nobody),
		cmocka_unit_test(keeps_to_this_machine),
		cmocka_unit_test(says_why_it_cannot_bind),
		cmocka_unit_test(refuses_what_is_no_endpoint),
		cmocka_unit_test(publishes_with_curve),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
