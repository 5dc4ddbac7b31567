# SPDX-License-Identifier: BSD-3-Clause
"""The program that is measured: it reads commands on standard input and answers each in JSON.

    calls N [SLICES]   call an empty function N times: [[wall ns, CPU ns] of each slice]
    lines N            run N lines, of an empty kind: the same
    ccalls N [SLICES]  call functions and methods of C N times in all: the same
    cprofile N [SLICES]  `calls` under cProfile
    cprofile_ccalls N [SLICES]  `ccalls` under cProfile
    compute N          N steps of arithmetic, which asks for no memory: as `calls`
    mandelbrot N       the seeds' example of numpy N times, 400 x 400 points: the same
    fresh N            touch N pages, each for the first time: the same
    allocate N         get and drop N blocks of 600 bytes, which Python asks malloc() for: the same
    setprofile N       `calls` under sys.setprofile with a Python callback
    fork MS            the child calls for MS milliseconds: its windows [[ms after, ns a call]]
    storm N            call N functions, each of another name, and one N times
    warm N             call another empty function, for the tracer to see something
    watch MS           call for MS milliseconds: [[ns of CLOCK_MONOTONIC, ns a call] of windows]
    paced N RATE       call N times, at most RATE times a second: seconds it took
    busy               call until there is a byte more on standard input: how many calls

It times itself: what starts and stops it is no part of a figure.
"""

import cProfile
import json
import mmap
import os
import select
import sys
import time

LINES_A_TURN = 10
WINDOW = 5000  # calls
C_CALLS_A_TURN = 4
PAGES_AT_ONCE = 4096


sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "workloads"))


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


def call_c(count):
    text = "text"
    for _ in range(count // C_CALLS_A_TURN):
        len(text)
        abs(-1)
        isinstance(text, str)
        text.startswith("t")


def run_compute(count):
    value = 1
    for i in range(count):
        value = (value * 1103515245 + i) & 0x7fffffff
    return value


def run_mandelbrot(count):
    from mandelbrot import mandelbrot  # numpy need not be there for the others

    for _ in range(count):
        mandelbrot(400, 400)


def touch_fresh(count):
    while count > 0:
        pages = min(count, PAGES_AT_ONCE)
        with mmap.mmap(-1, pages * mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
            area.madvise(mmap.MADV_NOHUGEPAGE)
            area[::mmap.PAGESIZE] = bytes(pages)
        count -= pages


def run_allocate(count):
    for _ in range(count):
        bytes(600)


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


def ccalls(count, slices=1):
    return timed(call_c, count, slices)


def compute(count, slices=1):
    return timed(run_compute, count, slices)


def mandelbrot(count, slices=1):
    return timed(run_mandelbrot, count, slices)


def fresh(count, slices=1):
    return timed(touch_fresh, count, slices)


def allocate(count, slices=1):
    return timed(run_allocate, count, slices)


def cprofile(count, slices=1, function=call):
    profile = cProfile.Profile()
    profile.enable()
    found = timed(function, count, slices)
    profile.disable()
    return found


def cprofile_ccalls(count, slices=1):
    return cprofile(count, slices, call_c)


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


def watch(ms):
    found = []
    end = time.monotonic_ns() + ms * 1000000
    while not found or found[-1][0] < end:
        cpu = time.thread_time_ns()
        call(WINDOW)
        cpu = time.thread_time_ns() - cpu
        found.append((time.monotonic_ns(), cpu / WINDOW))
    return found


def paced(count, rate):
    """In bursts of a millisecond; what a burst is late, the next makes up for."""
    start = time.monotonic()
    burst = min(count, max(1, rate // 1000))
    done = 0
    while done < count:
        call(burst)
        done += burst
        ahead = done / rate - (time.monotonic() - start)
        if ahead > 0.001:
            time.sleep(ahead)
    return time.monotonic() - start


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
            (calls, lines, ccalls, compute, mandelbrot, fresh, allocate, cprofile, cprofile_ccalls, setprofile, fork, storm, watch, paced,
             warm, busy)}


def main(commands):
    # Unbuffered: what has been read ahead, poll() does not see.
    with open(0, "rb", buffering=0) as stream:
        for line in iter(stream.readline, b""):
            name, *numbers = line.decode().split()
            answer = json.dumps(commands[name](*map(int, numbers)))
            os.write(1, answer.encode() + b"\n")


if __name__ == "__main__":
    main(COMMANDS)
