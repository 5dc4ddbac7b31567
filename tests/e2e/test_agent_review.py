# SPDX-License-Identifier: BSD-3-Clause
"""What a review of the agent has found: harm to the target, and losses that nobody was told of."""

import os
import re
import signal

import interpreters
from harness import check, descendants, equal, test, wait_for
from records import read_csv
from test_agent_odd import AGENT, each_of_some, gone, tasks
from test_oracle import BIG


def hostile(context, interpreter, name):
    place, _ = interpreter.place(context)
    return context.start(interpreter.command(os.path.join(place, "agent_hostile.py"), name))


def status_of(pid, thread, name):
    with open(f"/proc/{pid}/task/{thread}/status") as stream:
        return re.search(rf"^{name}:\t(\S+)", stream.read(), re.M)[1]


def tracer_of(pid):
    """The process (or a thread of it) that traces a thread of the target, or 0."""
    found = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            found = found or int(status_of(pid, thread, "TracerPid"))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


@test()
def test_agent_killed_in_injection(context):
    """kill -9 of who has a thread of the target in its hands: that goes on as it was."""
    def kill(interpreter):
        workload = hostile(context, interpreter, "runs")
        target = workload.ready()
        before = tasks(target), status_of(target, target, "SigBlk")
        for _ in range(2):
            tracer = context.trace("functions", *AGENT, "-v", "-o", context.path("k.csv"),
                                   "-p", target)
            keepers = []
            wait_for(lambda: keepers.append(tracer_of(target)) or keepers[-1] or
                     ": tracing " in tracer.errors(), "a stop")
            if keepers[-1]:
                caught.append(keepers[-1])
                try:
                    os.kill(keepers[-1], signal.SIGKILL)
                except ProcessLookupError:  # that thread of it has just ended
                    pass
            others = descendants(tracer.pid)
            tracer.signal(signal.SIGKILL)
            tracer.wait(None)  # it may have missed its keeper and ended by itself
            wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in others),
                     "the end of all of the tracer")
            # What it was calling it calls to the end, with signals blocked.
            wait_for(lambda: (tracer_of(target), status_of(target, target, "SigBlk"),
                              status_of(target, target, "State")) in
                     ((0, before[1], "R"), (0, before[1], "S")), "the target as it was")
            wait_for(lambda: gone(target, before[0]), "the end of the agent's thread")
        workload.go()
        equal(workload.result(), (1, os.SCHED_OTHER), "signals that came, its scheduling")

    caught = []
    each_of_some(context, kill)
    check(caught, "no target was ever caught in an injection")


@test()
def test_agent_imports_by_itself(context):
    """The program's own __import__ is not called for what the agent needs."""
    def own(interpreter):
        workload = hostile(context, interpreter, "imports")
        context.record("functions", workload, *AGENT)
        equal(workload.peek(), False, "atexit came to the program's __import__")

    each_of_some(context, own)


@test()
def test_agent_without_memory(context):
    """An event that there is no memory for is lost, and counted."""
    interpreter = interpreters.of_version(3, 11)
    workload = hostile(context, interpreter, "no_memory")
    lost = context.record("lines", workload, *AGENT, *BIG).summary()["lost"]
    seen = sum(row["function"] == "leaf" for row in read_csv(context.path("records.csv"), "lines"))
    equal(lost + seen, 20000, "lines of leaf() that were recorded or lost")


@test()
def test_agent_forks_at_once(context):
    """Two threads fork at the same time: neither hangs, nor does what comes after it."""
    def both(interpreter):
        workload = hostile(context, interpreter, "forks")
        context.record("functions", workload, *AGENT)

    each_of_some(context, both)
