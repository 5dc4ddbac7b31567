# SPDX-License-Identifier: BSD-3-Clause
"""Call functions as fast as possible, a known number of times or until told to stop.

Usage: busy.py CALLS     CALLS of work(), then end
       busy.py forever   until a byte comes; announces "turning" once under way
"""

import os
import select
import sys
import time

import stage


def work():
    pass


def counted(calls):
    for _ in range(calls):
        work()


def forever():
    poll = select.poll()
    poll.register(int(os.environ["PIKOS_TEST_GO"]), select.POLLIN)
    counted(1000)
    stage.ready("turning")
    while not poll.poll(0):
        counted(1000)
    stage.wait_go()  # takes the byte


def speed():
    """ns per call, the best of some."""
    best = None
    for _ in range(30):
        start = time.perf_counter_ns()
        counted(20000)
        took = (time.perf_counter_ns() - start) / 20000
        best = took if best is None else min(best, took)
    return best


def main():
    calls = sys.argv[1]
    before = speed()
    stage.ready()
    stage.wait_go()
    if calls == "forever":
        forever()
        stage.ready("stopped")
        stage.wait_go()
        # The test says go when nobody traces any more.
        stage.result((before, speed()))
    else:
        counted(int(calls))
        stage.ready("done")
        stage.wait_go()


if __name__ == "__main__":
    main()
