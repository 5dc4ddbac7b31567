# SPDX-License-Identifier: BSD-3-Clause
"""Regions of probes/python/pikos.py, or of a C library: see run_*.

What is called `inside` runs inside of regions only, `outside` outside only. test_regions.py knows
what is to be recorded.
"""

import ctypes
import os
import sys
import threading

import stage

if "PIKOS_MODULE" in os.environ:
    sys.path.insert(0, os.environ["PIKOS_MODULE"])


def inside(*_):
    return 1


def outside(*_):
    return 2


class Turn:
    """Lets whoever drives a coroutine have a turn."""

    def __await__(self):
        yield


def decorated(monitor):
    """The functions of the tests, all decorated by one monitor."""

    @monitor
    def work(times):
        for _ in range(times):
            inside()
        return times

    @monitor
    def recursive(times):
        inside()
        return recursive(times - 1) if times else 5

    @monitor
    def raises():
        inside()
        raise KeyError("x")

    @monitor
    def numbers(first):
        inside()
        got = yield first
        inside()
        try:
            yield got
        except ValueError:
            inside()
        return 9

    @monitor
    async def waits():
        inside()
        await Turn()
        inside()
        return 4

    @monitor
    async def stream():
        for number in (1, 2):
            inside()
            yield number

    class Class:
        @monitor
        def method(self):
            return inside()

        @staticmethod
        @monitor
        def static():
            return inside()

        @monitor
        @classmethod
        def made(cls):
            return inside()

    return work, recursive, raises, numbers, waits, stream, Class


def step(coroutine):
    """Run a coroutine to its next turn; its result if there is none."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    return outside()


def functions(monitor):
    work, recursive, raises, numbers, waits, stream, Class = decorated(monitor)
    outside()
    assert work(2) == 2
    outside()
    assert recursive(1) == 5
    try:
        raises()
    except KeyError:
        outside()
    generator = numbers(3)
    assert [next(generator), outside(), generator.send(7)] == [3, 2, 7]
    try:
        generator.throw(ValueError())
    except StopIteration as stop:
        assert stop.value == 9
    outside()
    coroutine = waits()
    step(coroutine)
    assert step(coroutine) == 4

    async def consume():
        got = []
        async for number in stream():
            got.append(number)
            outside()
        return got

    assert step(consume()) == [1, 2]
    assert Class().method() == Class.static() == Class.made() == 1
    outside()


def blocks(monitor):
    outside()
    with monitor:
        inside()
        with monitor:
            inside()
        inside()
    outside()
    monitor.disable()
    outside()
    monitor.enable()
    monitor.enable()
    inside()
    monitor.disable()
    inside()
    monitor.disable()
    outside()
    try:
        with monitor:
            raise KeyError(inside())
    except KeyError:
        outside()


def threads(monitor):
    """One is inside while the other one is not, and both run by turns."""
    turns = [threading.Lock(), threading.Lock()]
    for lock in turns:
        lock.acquire()

    def other():
        turns[0].acquire()
        outside()
        turns[1].release()
        turns[0].acquire()
        outside()
        with monitor:
            inside()
        turns[1].release()

    thread = threading.Thread(target=other)
    thread.start()
    with monitor:
        inside()
        turns[0].release()
        turns[1].acquire()
        inside()
        turns[0].release()
        turns[1].acquire()
    thread.join()


def make_monitor():
    import pikos

    monitor = pikos.monitor_functions()
    assert pikos.state().startswith("marked"), pikos.state()
    return monitor


def run_python():
    monitor = make_monitor()
    stage.ready()
    stage.wait_go()
    functions(monitor)
    blocks(monitor)
    threads(monitor)


def run_lines():
    monitor = make_monitor()

    @monitor
    def lines():
        number = 1
        for _ in range(2):
            number += inside()
        return number

    stage.ready()
    stage.wait_go()
    outside()
    lines()
    outside()
    with monitor:
        number = 3
        number += 1
    number += outside()


def run_late():
    """The tracer comes while we are inside."""
    monitor = make_monitor()
    with monitor:
        stage.ready()
        stage.wait_go()
        outside()
        with monitor:
            inside()
        outside()
    outside()
    monitor.disable()
    with monitor:
        inside()


def run_fork():
    monitor = make_monitor()
    stage.ready()
    stage.wait_go()
    with monitor:
        inside()
        child = os.fork()
        if not child:
            with monitor:
                outside()
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    outside()


def run_C(library):
    regions = ctypes.PyDLL(library)
    stage.ready()
    stage.wait_go()
    outside()
    regions.leave()
    regions.enter()
    inside()
    regions.enter()
    inside()
    regions.leave()
    inside()
    regions.leave()
    outside()


if __name__ == "__main__":
    globals()["run_" + sys.argv[1]](*sys.argv[2:])
