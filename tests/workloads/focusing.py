# SPDX-License-Identifier: BSD-3-Clause
"""Run pkg/shapes.py in every way that a focus has to follow.

Usage: focusing.py {plain,functions,lines}; the last two are the oracle, as in drive.py.
"""

import gc
import sys
import threading

import drive
import pkg.shapes as shapes
import stage
import textwrap

WORDS = "the quick brown fox jumps over the lazy dog " * 3


def area():
    """Of the same name as others elsewhere."""
    return shapes.helper(7)


def everything():
    shapes.helper(0)
    shapes.area(1)
    area()
    shapes.collatz(6)
    list(shapes.numbers(3))
    first, second = shapes.numbers(2), shapes.numbers(2)
    next(first), next(second), shapes.helper(1), list(first), list(second)
    closed = shapes.numbers(2)
    next(closed)
    closed.close()
    shapes.outer()
    try:
        shapes.leaves()
    except LookupError:
        shapes.helper(4)
    shapes.Circle(1).area()
    shapes.Circle.Inner().area()
    square = shapes.Square(2)
    square.area()
    square.grow()
    shapes.decorated(3)
    sorted((3, 1, 2), key=shapes.key)
    textwrap.fill(WORDS, 30)
    textwrap.TextWrapper(20).wrap(WORDS)


def in_thread(number, gate):
    for step in range(50):
        shapes.collatz(number + step + 1)
        shapes.outer()
        shapes.helper(step)
    gate.release()


def main():
    mode = sys.argv[1]
    gc.disable()
    textwrap.fill(WORDS, 30)
    events = []
    stage.ready()
    stage.wait_go()
    if mode == "functions":
        recorder = drive.function_recorder(events)
        threading.setprofile(recorder)
        sys.setprofile(recorder)
    elif mode == "lines":
        recorder = drive.line_recorder(events)
        threading.settrace(recorder)
        sys.settrace(recorder)
    everything()
    if "threads" in sys.argv:
        gates = [threading.Lock() for _ in range(3)]
        for number, gate in enumerate(gates):
            gate.acquire()
            threading.Thread(target=in_thread, args=(number, gate)).start()
        for gate in gates:
            gate.acquire()
    sys.setprofile(None)
    sys.settrace(None)
    if mode != "plain":
        stage.result(events)


if __name__ == "__main__":
    main()
