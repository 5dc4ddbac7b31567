# SPDX-License-Identifier: BSD-3-Clause
"""What can go wrong between the processes: helpers that die, rights that change, odd namespaces."""

import os
import signal
import time

import harness
from harness import Failure, check, equal, process_state, test, wait_for
from records import read_csv
from test_odd import script_of


def keeper_of(tracer):
    """The pid of the tracer's keeper process."""
    for pid in harness.descendants(tracer.pid):
        with open(f"/proc/{pid}/comm") as stream:
            if stream.read() == "pikos-keeper\n":
                return pid
    raise Failure("there is no keeper process")


@test()
def test_keeper_killed_while_lossless(context):
    """kill -9 of the keeper alone: what --lossless paused is continued for good."""
    for _ in range(3):
        workload = context.workload("busy.py", "forever")
        tracer = context.attach("functions", workload, "--lossless", "--buffer-size", "64K")
        workload.go()
        workload.ready("turning")
        os.kill(keeper_of(tracer), signal.SIGKILL)
        tracer.wait(1)
        check("keeper" in tracer.errors(), "no clear error", actual=tracer.errors())
        workload.go()
        workload.ready("stopped")
        workload.go()
        workload.wait(0)


@test()
def test_keeper_killed_before_exec(context):
    """A program that becomes another one after the keeper's death runs on, untraced."""
    script = context.write("becomes.py", f"""
import os, time
open({context.path("started")!r}, "w").close()
while not os.path.exists({context.path("go")!r}):
    time.sleep(0.01)
os.execv({context.python!r}, ["python", "-c", "print('second')"])
""")
    tracer = context.trace("functions", "-v", "-o", context.path("a.csv"), "--", context.python,
                           script, stdout=harness.subprocess.PIPE)
    output = harness.Lines(tracer.stdout)
    wait_for(lambda: os.path.exists(context.path("started")), "the program")
    os.kill(keeper_of(tracer), signal.SIGKILL)
    check(tracer.stderr.wait(lambda lines: any("keeper" in line for line in lines),
                             harness.DEADLINE), "no word about the keeper's death")
    context.write("go", "")
    tracer.wait(1)
    output.thread.join(harness.DEADLINE)
    equal(output.text(), "second\n", "what the program printed")
