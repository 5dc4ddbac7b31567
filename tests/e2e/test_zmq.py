# SPDX-License-Identifier: BSD-3-Clause
"""ZeroMQ against real sockets of pyzmq in this process, which is another than the tracer's."""

import json
import os
import socket
import time

import harness
from harness import Failure, Skip, check, equal, test, wait_for
from records import FIELDS, Event, cut, same
from test_oracle import BIG, oracle, oracle_sections


def need_zmq():
    try:
        import zmq
    except ImportError:
        raise Skip("no pyzmq here") from None
    return zmq


def decoder(encoding):
    if encoding == "json":
        return json.loads
    try:
        import msgpack
    except ImportError:
        raise Skip("no msgpack here") from None
    return lambda data: msgpack.unpackb(data, raw=False)


def free_port():
    """One with a free successor, which the handshake takes."""
    for _ in range(50):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
    raise Failure("no two free ports in a row")


class Subscriber:
    """SUB or PULL on the tracer's endpoint, and the REP that answers its handshake."""

    def __init__(self, context, encoding="json", pattern="pub", **options):
        zmq = self.zmq = need_zmq()
        self.decode = decoder(encoding)
        self.port = free_port()
        self.endpoint = f"tcp://127.0.0.1:{self.port}"
        self.context = zmq.Context()
        self.data = self.context.socket(zmq.SUB if pattern == "pub" else zmq.PULL)
        self.data.setsockopt(zmq.RECONNECT_IVL, 20)
        self.data.setsockopt(zmq.RCVHWM, options.get("hwm", 0))
        if pattern == "pub":
            self.data.setsockopt(zmq.SUBSCRIBE, b"")
        self.monitor = self.data.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self.reply = self.context.socket(zmq.REP)
        context.cleanup(lambda: self.context.destroy(linger=0))
        self.options = ["--recording", "zmq", "--zmq-endpoint", self.endpoint]
        self.options += [] if encoding == "json" else ["--zmq-encoding", encoding]
        self.options += [] if pattern == "pub" else ["--zmq-pattern", pattern]

    def wait_on(self, sock, what):
        if not sock.poll(harness.DEADLINE * 1000):
            raise Failure(f"{what}: nothing came within {harness.DEADLINE:g} s")

    def connect(self):
        self.data.connect(self.endpoint)
        self.reply.bind(f"tcp://127.0.0.1:{self.port + 1}")

    def connected(self):
        self.wait_on(self.monitor, "the connection to the tracer's socket")

    def handshake(self):
        """Answer the request of --zmq-wait; return what it said."""
        self.wait_on(self.reply, "the handshake")
        request = self.decode_request(self.reply.recv_multipart())
        self.connected()
        self.reply.send(b"go")
        return request

    def decode_request(self, frames):
        equal(len(frames), 1, "frames of the handshake")
        return self.decode(frames[0])

    def receive(self):
        """One message: (topic, object)."""
        self.wait_on(self.data, "a message")
        frames = self.data.recv_multipart()
        equal(len(frames), 2, "frames of a message")
        return frames[0].decode(), self.decode(frames[1])

    def receive_all(self):
        messages = []
        while not messages or messages[-1][1]["kind"] != "end":
            messages.append(self.receive())
        return messages


def check_messages(messages, target, monitor):
    """start, records and lost, end, of the shapes of SPEC 5; returns all records."""
    topics = {topic for topic, _ in messages}
    equal(topics, {f"pikos.{target}.{monitor}"}, "the topics")
    first, last = messages[0][1], messages[-1][1]
    equal(sorted(first), ["epoch_ns", "fields", "kind", "monitor", "pid", "version"],
          "the keys of start")
    equal((first["kind"], first["pid"], first["monitor"], first["fields"]),
          ("start", target, monitor, FIELDS[monitor]), "the start message")
    boot = time.time_ns() - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    check(abs(first["epoch_ns"] - boot) < 3600e9 or
          abs(first["epoch_ns"] - time.time_ns()) < 3600e9, "epoch_ns is no time of today",
          (boot, time.time_ns()), first["epoch_ns"])
    records = []
    for _, message in messages[1:-1]:
        if message["kind"] == "lost":
            equal(sorted(message), ["count", "kind", "reason", "time"], "the keys of lost")
            continue
        equal(sorted(message), ["kind", "monitor", "pid", "records"], "the keys of records")
        equal((message["kind"], message["pid"], message["monitor"]), ("records", target, monitor),
              "a records message")
        check(message["records"], "an empty records message")
        records += message["records"]
    equal(sorted(last), ["filtered", "kind", "lost", "seen", "status", "written"],
          "the keys of end")
    equal(last["seen"], last["written"] + last["filtered"] + last["lost"], "seen")
    equal(last["written"], len(records), "written")
    return records


def run(context, encoding, case, monitor="functions", extra=()):
    subscriber = Subscriber(context, encoding)
    subscriber.connect()
    workload = context.workload("drive.py", "plain", case)
    target = workload.ready()
    tracer = context.trace(monitor, "-v", *BIG, *subscriber.options, "--zmq-wait", *extra, "-p",
                           target)
    request = subscriber.handshake()
    equal((request["pid"], request["monitor"], request["fields"]),
          (target, monitor, FIELDS[monitor]), "the handshake's request")
    tracer.attached()
    messages = [subscriber.receive()]
    equal(messages[0][1]["kind"], "start", "the first message")
    workload.go()
    workload.wait(0)
    messages += subscriber.receive_all()
    tracer.wait(0)
    records = check_messages(messages, target, monitor)
    equal(messages[-1][1]["status"], 0, "status in end")
    summary = tracer.summary()
    equal({key: messages[-1][1][key] for key in summary}, summary, "the counts in end")
    return records


@test()
def test_zmq_json(context):
    records = run(context, "json", "generators")
    equal([record[0] for record in records], list(range(len(records))), "the index")
    same(cut([Event(*record[1:]) for record in records]),
         oracle_sections(oracle(context, "functions", "generators"), "generators")[""])


@test()
def test_zmq_msgpack(context):
    records = run(context, "msgpack", "generators")
    same(cut([Event(*record[1:]) for record in records]),
         oracle_sections(oracle(context, "functions", "generators"), "generators")[""])


@test()
def test_zmq_memory(context):
    """Numbers are numbers, in the field order of the monitor."""
    for record in run(context, "json", "recursion", "function_memory"):
        index, kind, function, rss, vms, line, filename = record
        check(isinstance(rss, int) and isinstance(vms, int) and 1 << 20 < rss < vms and
              isinstance(line, int) and isinstance(index, int), "a record", actual=record)


@test(lines=True)
def test_zmq_lines(context):
    for encoding in ("json", "msgpack"):
        records = run(context, encoding, "recursion", "lines")
        same(cut([Event("line", name, line, filename)
                  for _, name, line, _, filename in records]),
             [event._replace(kind="line") for event in
              oracle_sections(oracle(context, "lines", "recursion"), "recursion")[""]])


@test()
def test_zmq_hostile_names(context):
    """Any name survives JSON and msgpack."""
    expected = oracle_sections(oracle(context, "functions", "names_hostile"), "names_hostile")[""]
    for encoding in ("json", "msgpack"):
        records = run(context, encoding, "names_hostile")
        same(cut([Event(*record[1:]) for record in records]), expected, encoding)


@test()
def test_zmq_filtered(context):
    """What a filter drops is counted in the end message."""
    records = run(context, "json", "recursion", extra=("--filter", "type=call"))
    equal({record[1] for record in records}, {"call"}, "the types")


@test(vm=True)
def test_zmq_push(context):
    """A consumer that begins late and has a small queue gets everything."""
    subscriber = Subscriber(context, pattern="push", hwm=1)
    workload = context.workload("busy.py", "30000")
    target = workload.ready()
    tracer = context.trace("functions", "-v", "--buffer-size", "64M", *subscriber.options, "-p",
                           target)
    subscriber.connect()  # it begins with a message that needs a consumer
    tracer.attached()
    workload.go()
    workload.ready("done")
    workload.go()
    workload.wait(0)
    records = check_messages(subscriber.receive_all(), target, "functions")
    tracer.wait(0)
    equal(sum(record[2] == "work" for record in records), 60000, "records of work()")
    equal([record[0] for record in records], list(range(len(records))), "the index")


@test()
def test_zmq_push_lossless(context):
    """With --lossless the back pressure reaches the target."""
    subscriber = Subscriber(context, pattern="push", hwm=1)
    workload = context.workload("busy.py", "200000")
    target = workload.ready()
    tracer = context.trace("functions", "-v", "--buffer-size", "64K", "--lossless",
                           *subscriber.options, "-p", target)
    subscriber.connect()
    tracer.attached()
    workload.go()
    wait_for(lambda: harness.process_state(target) == "T", "the target's pause")
    workload.go()
    records = check_messages(subscriber.receive_all(), target, "functions")
    workload.wait(0)
    tracer.wait(0)
    equal(sum(record[2] == "work" for record in records), 400000, "records of work()")


@test()
def test_zmq_lost(context):
    """Lost events are messages of their own, where they happened, and add up."""
    subscriber = Subscriber(context, pattern="push", hwm=1)
    workload = context.workload("busy.py", "200000")
    target = workload.ready()
    tracer = context.trace("functions", "-v", "--buffer-size", "64K", *subscriber.options, "-p",
                           target)
    subscriber.connect()
    tracer.attached()
    workload.go()
    workload.ready("done")
    workload.go()
    workload.wait(0)
    messages = subscriber.receive_all()
    check_messages(messages, target, "functions")
    tracer.wait(0)
    lost = [message for _, message in messages if message["kind"] == "lost"]
    check(lost, "nothing was lost: proves nothing")
    equal(sum(message["count"] for message in lost), messages[-1][1]["lost"], "the lost counts")
    check(all(message["reason"] for message in lost), "a lost message without a reason")


@test()
def test_zmq_pub_slow(context):
    """A subscriber that does not keep up: what it missed is counted, the target not held up."""
    subscriber = Subscriber(context, hwm=1)
    subscriber.connect()
    workload = context.workload("busy.py", "300000")
    target = workload.ready()
    tracer = context.trace("functions", "-v", "--buffer-size", "64M", *subscriber.options,
                           "--zmq-wait", "-p", target)
    subscriber.handshake()
    tracer.attached()
    workload.go()
    workload.ready("done")
    workload.go()
    workload.wait(0)
    messages = subscriber.receive_all()
    tracer.wait(0)
    check_messages(messages, target, "functions")
    end = messages[-1][1]
    check(end["seen"] >= 600000, "few events were seen", actual=end)
    context.note(f"lost {end['lost']} of {end['seen']}")


@test()
def test_zmq_default_endpoint(context):
    zmq = need_zmq()
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 9001))
    except OSError:
        raise Skip("port 9001 is taken by another program") from None
    workload = context.workload("drive.py", "plain", "recursion")
    target = workload.ready()
    tracer = context.trace("functions", "-v", "--recording", "zmq", "-p", target).attached()
    client = zmq.Context()
    context.cleanup(lambda: client.destroy(linger=0))
    sock = client.socket(zmq.SUB)
    sock.setsockopt(zmq.SUBSCRIBE, b"pikos.")
    monitor = sock.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
    sock.connect("tcp://127.0.0.1:9001")
    check(monitor.poll(harness.DEADLINE * 1000), "cannot connect to 127.0.0.1:9001")
    workload.go()
    workload.wait(0)
    tracer.wait(0)


@test()
def test_zmq_no_subscriber(context):
    """PUB without anyone listening does not hold the target or the tracer up."""
    need_zmq()
    workload = context.workload("drive.py", "plain", "recursion")
    tracer = context.attach("functions", workload, "--recording", "zmq", "--zmq-endpoint",
                            f"tcp://127.0.0.1:{free_port()}", output=None)
    workload.go()
    workload.wait(0)
    tracer.wait(0)


@test()
def test_zmq_address_in_use(context):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        workload = context.workload("drive.py", "plain", "recursion")
        target = workload.ready()
        tracer = context.run("functions", "--recording", "zmq", "--zmq-endpoint", endpoint, "-p",
                             target, status=1)
        text = tracer.errors()
        check(text.startswith("pikos-trace: cannot ") and endpoint in text and
              "in use" in text and len(text.splitlines()) <= 2, "no clear error", actual=text)
        equal(set(harness.semaphores(target, context.python).values()), {0},
              "the target's semaphores")


@test()
def test_zmq_off_loopback(context):
    """Only with keys, or when told so."""
    workload = context.workload("drive.py", "plain", "recursion")
    target = workload.ready()
    for endpoint in ("tcp://0.0.0.0:%d" % free_port(), "tcp://*:%d" % free_port()):
        tracer = context.run("functions", "--recording", "zmq", "--zmq-endpoint", endpoint, "-p",
                             target, status=None)
        check(tracer.process.returncode in (1, 2), "how it ended", "1 or 2",
              tracer.process.returncode)
        check("--zmq-insecure" in tracer.errors() or "--zmq-curve" in tracer.errors(),
              "what to do is not said", actual=tracer.errors())
    tracer = context.trace("functions", "-v", "--recording", "zmq", "--zmq-endpoint",
                           f"tcp://0.0.0.0:{free_port()}", "--zmq-insecure", "-p", target)
    tracer.attached()
    workload.go()
    workload.wait(0)
    tracer.wait(0)


@test()
def test_zmq_bad_endpoint(context):
    workload = context.workload("drive.py", "plain", "recursion")
    target = workload.ready()
    for endpoint in ("nonsense", "tcp://", "tcp://127.0.0.1:notaport", ""):
        tracer = context.run("functions", "--recording", "zmq", "--zmq-endpoint", endpoint, "-p",
                             target, status=None)
        check(tracer.process.returncode in (1, 2) and tracer.errors().startswith("pikos-trace: "),
              f"endpoint {endpoint!r}", actual=(tracer.process.returncode, tracer.errors()))


@test()
def test_zmq_wait_interrupted(context):
    """Waiting for a consumer that never comes can be ended."""
    need_zmq()
    workload = context.workload("drive.py", "plain", "recursion")
    target = workload.ready()
    tracer = context.trace("functions", "-v", "--recording", "zmq", "--zmq-endpoint",
                           f"tcp://127.0.0.1:{free_port()}", "--zmq-wait", "-p", target)
    wait_for(lambda: len(os.listdir(f"/proc/{tracer.pid}/task")) > 1 and
             harness.process_state(tracer.pid) == "S", "the start of ZeroMQ's threads")
    tracer.signal(harness.signal.SIGINT)
    tracer.wait(None)
    check(tracer.process.returncode in (0, 1, 130, -2), "how it ended",
          actual=tracer.process.returncode)
    workload.go()
    workload.wait(0)


@test()
def test_zmq_curve(context):
    """With keys an endpoint off loopback is fine; a client without them hears nothing."""
    zmq = need_zmq()
    if not zmq.has("curve"):
        raise Skip("pyzmq without CURVE")
    public, secret = zmq.curve_keypair()
    client_public, client_secret = zmq.curve_keypair()
    help_text = context.run("--help").output
    options = [word.strip(",[]") for word in help_text.replace("=", " ").split()
               if word.startswith("--zmq-curve")]
    check(len(options) >= 1, "--help shows no --zmq-curve-*", actual=help_text)
    port = free_port()
    given = []
    for option in dict.fromkeys(options):
        value = secret if "secret" in option else public
        given += [option, context.write(option.strip("-"), value.decode() + "\n")]
    workload = context.workload("drive.py", "plain", "recursion")
    target = workload.ready()
    tracer = context.trace("functions", "-v", "--recording", "zmq", "--zmq-pattern", "push",
                           "--zmq-endpoint", f"tcp://0.0.0.0:{port}", *given, "-p", target)
    client = zmq.Context()
    context.cleanup(lambda: client.destroy(linger=0))
    sock = client.socket(zmq.PULL)
    sock.curve_serverkey, sock.curve_publickey, sock.curve_secretkey = public, client_public, \
        client_secret
    stranger = client.socket(zmq.PULL)
    stranger.connect(f"tcp://127.0.0.1:{port}")
    sock.connect(f"tcp://127.0.0.1:{port}")
    tracer.attached()
    workload.go()
    check(sock.poll(harness.DEADLINE * 1000), "nothing came with the right keys")
    equal(json.loads(sock.recv_multipart()[1])["kind"], "start", "the first message")
    workload.wait(0)
    while json.loads(sock.recv_multipart()[1])["kind"] != "end":
        check(sock.poll(harness.DEADLINE * 1000), "no end message")
    tracer.wait(0)
    check(not stranger.poll(0), "a client without keys got messages")
