# SPDX-License-Identifier: BSD-3-Clause
"""The program that is measured: it reads commands on standard input and answers each in JSON.

    calls N [SLICES]   call an empty function N times: [[wall ns, CPU ns] of each slice]
    lines N            run N lines, of an empty kind: the same
    cprofile N         `calls` under cProfile
    setprofile N       `calls` under sys.setprofile with a Python callback
    fork MS            the child calls for MS milliseconds: its windows [[ms after, ns a call]]
    storm N            call N functions, each of another name, and one N times
    warm N             call another empty function, for the tracer to see something
    busy               call until there is a byte more on standard input: how many calls

It times itself: what starts and stops it is no part of a figure.
"""

import cProfile
import json
import os
import select
import sys
import time

LINES_A_TURN = 10
WINDOW = 5000  # calls


def work():
    pass


def call(count):
    for _ in range(count):
        work()


def run_lines(count):
    for _ in range(count // LINES_A_TURN):
        a = 1
        a = 1
        a = 1
        a = 1
        a = 1
        a = 1
        a = 1
        a = 1
        a = 1  # noqa: F841


def timed(function, count, slices=1):
    found = []
    for _ in range(slices):
        cpu = time.process_time_ns()
        wall = time.perf_counter_ns()
        function(count // slices)
        wall = time.perf_counter_ns() - wall
        found.append((wall, time.process_time_ns() - cpu))
    return found


def calls(count, slices=1):
    return timed(call, count, slices)


def lines(count, slices=1):
    return timed(run_lines, count, slices)


def cprofile(count):
    profile = cProfile.Profile()
    profile.enable()
    found = timed(call, count)
    profile.disable()
    return found


def setprofile(count):
    events = []
    append = events.append

    def callback(frame, event, argument):
        append(event)

    sys.setprofile(callback)
    found = timed(call, count)
    sys.setprofile(None)
    return found


def windows(start, ms):
    """Speed by the thread's CPU time: on a shared machine a child may have to wait for a CPU."""
    found = []
    while True:
        began = time.monotonic_ns()
        if began > start + ms * 1000000:
            return found
        cpu = time.thread_time_ns()
        call(WINDOW)
        cpu = time.thread_time_ns() - cpu
        found.append(((began - start) / 1e6, cpu / WINDOW))


def fork(ms):
    read, write = os.pipe()
    start = time.monotonic_ns()
    child = os.fork()
    if child == 0:
        os.close(read)
        with os.fdopen(write, "w") as stream:
            json.dump(windows(start, ms), stream)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        found = json.load(stream)
    os.waitpid(child, 0)
    return found


def warm(count):
    def warm():
        pass

    for _ in range(count):
        warm()


def storm(count):
    make, code = type(work), work.__code__
    for number in range(count):
        make(code.replace(co_name="a name that is new each time %d" % number), {})()
        work()  # its id must outlive the others
    return count


def busy():
    poll = select.poll()
    poll.register(0, select.POLLIN)
    count = 0
    while not poll.poll(0):
        call(1000)
        count += 1000
    os.read(0, 1)
    return count


COMMANDS = {each.__name__: each for each in
            (calls, lines, cprofile, setprofile, fork, storm, warm, busy)}


def main():
    # Unbuffered: what has been read ahead, poll() does not see.
    with open(0, "rb", buffering=0) as stream:
        for line in iter(stream.readline, b""):
            name, *numbers = line.decode().split()
            answer = json.dumps(COMMANDS[name](*map(int, numbers)))
            os.write(1, answer.encode() + b"\n")


if __name__ == "__main__":
    main()
