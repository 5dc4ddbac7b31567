# SPDX-License-Identifier: BSD-3-Clause
"""A subscriber of `--recording zmq --zmq-wait`, in a process of its own as a user's would be.

Usage: subscriber.py PORT     says "ready"; after the end message how many records came
"""

import sys

import zmq


def main():
    port = int(sys.argv[1])
    context = zmq.Context()
    data = context.socket(zmq.SUB)
    data.setsockopt(zmq.RCVHWM, 0)
    data.setsockopt(zmq.RECONNECT_IVL, 20)
    data.setsockopt(zmq.SUBSCRIBE, b"")
    monitor = data.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
    data.connect(f"tcp://127.0.0.1:{port}")
    reply = context.socket(zmq.REP)
    reply.bind(f"tcp://127.0.0.1:{port + 1}")
    print("ready", flush=True)
    reply.recv()
    monitor.poll(30000)
    reply.send(b"go")
    records = 0
    while True:
        _, body = data.recv_multipart()
        # Decoding would make this process the slowest of all; the workload's names have no "],[".
        if b'"kind":"end"' in body[-400:] or b'"kind": "end"' in body[-400:]:
            break
        if b'"records"' in body[:400]:
            records += body.count(b"],[") + 1
    print(records, flush=True)


if __name__ == "__main__":
    main()
