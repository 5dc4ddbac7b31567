# SPDX-License-Identifier: BSD-3-Clause
"""What a full buffer takes from an agent's stream, the names of functions among it."""

import os
import signal

from harness import check, equal, process_state, test, wait_for
from records import read_csv
from test_agent_odd import AGENT, each_of_some

MANY = 400
ROUNDS = 5
TAIL = 100_000  # bytes, more than two rounds

NAMES = """
import os, sys
sys.path.insert(0, %r)
import stage

def make(name):
    scope = {}
    exec("def %%s(): pass" %% name, scope)
    return scope[name]

functions = [make("function_%%d" %% i) for i in range(%d)]

def fill():
    pass

stage.ready()
stage.wait_go()
for i in range(15000 * os.cpu_count()):  # there is a buffer for each CPU that it may move to
    fill()
for function in functions:  # nobody has room for their names any more
    function()
stage.ready("filled")
number = 0
while True:
    stage.wait_go()
    for function in functions:
        function()
    make("mark_%%d" %% number)()
    stage.ready("round")
    number += 1
    if number == %d:
        break
"""


@test()
def test_agent_names_after_losses(context):
    """Names that were lost with their batch are asked for and sent again, and never wrong: the
    tracer is stopped while they come, so that the buffer is full for certain."""
    def lose(interpreter):
        place, _ = interpreter.place(context)
        script = os.path.join(interpreter.scratch(context), "names.py")
        with open(script, "w") as stream:
            stream.write(NAMES % (place, MANY, ROUNDS))
        workload = context.start(interpreter.command(interpreter.inside(script)))
        tracer = context.attach("functions", workload, *AGENT, "--no-c-calls", "--buffer-size",
                                "256K")
        os.kill(tracer.process.pid, signal.SIGSTOP)
        wait_for(lambda: process_state(tracer.process.pid) == "T", "the tracer's stop")
        workload.go()
        workload.ready("filled")
        os.kill(tracer.process.pid, signal.SIGCONT)
        # What the buffer held is written at once: then there is room again.
        wait_for(lambda: os.path.getsize(context.path("records.csv")) > TAIL, "the first records")
        expected = [f"function_{i}" for i in range(MANY)]
        for number in range(ROUNDS):
            workload.go()
            workload.ready("round")
            wait_for(lambda: calls(context)[-1:] == [f"mark_{number}"], "the end of a round")
            names = calls(context)[:-1]
            if number:  # before the first one are the last of those that found no room
                names = names[names.index(f"mark_{number - 1}") + 1:]
                rest = iter(expected)
                check(all(name in rest for name in names), "names of others", actual=names)
        equal(names, expected, "names of the last round")
        workload.wait(0)
        tracer.wait(0)
        summary = tracer.summary()
        rows = read_csv(context.path("records.csv"), "functions")
        check(summary["lost"] > 10000, "events lost", actual=summary)
        at = 0
        for row in rows:
            equal(row["index"], at, "the index")
            at += int(row["lineNo"]) if row["type"] == "lost" else 1
        equal(at, summary["seen"], "events that the rows account for")

    each_of_some(context, lose)


def calls(context):
    """Of the last rounds: the file is looked at often, and is long."""
    with open(context.path("records.csv"), "rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - TAIL))
        lines = stream.read().decode().split("\r\n")[1:-1]
    names = [line.split(",")[2] for line in lines if ",call," in line]
    return [name for name in names if name.startswith(("function_", "mark_"))]
