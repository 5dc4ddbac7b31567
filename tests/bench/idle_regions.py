# SPDX-License-Identifier: BSD-3-Clause
"""What a region of pikos.py costs while nobody is attached. Run by the interpreter in question.

Usage: idle_regions.py LIBRARY; then it takes commands as target.py does:

    decorator N, with N, enable N   a region N times: [[wall ns, CPU ns]]
    call N, loop N     an empty function N times; nothing N times: the same
    state              what pikos.state() begins with
    and target.py's
"""

import os
import sys
import time
import timeit

os.environ.update(PIKOS_TRACE="/nonexistent", PIKOS_AGENT=sys.argv[1])
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(sys.path[0], "..", "..", "probes", "python"))
import pikos  # noqa: E402
import target  # noqa: E402


def function():
    pass


monitor = pikos.monitor_functions()
decorated = monitor(function)


STATEMENTS = {"decorator": "decorated()", "with": "with monitor: pass",
              "enable": "monitor.enable(); monitor.disable()", "call": "function()",
              "loop": "pass"}


def timed(statement):
    timer = timeit.Timer(statement, globals=globals())

    def run(count):
        cpu = time.process_time_ns()
        took = timer.timeit(count)
        return [(took * 1e9, time.process_time_ns() - cpu)]

    return run


def state():
    return pikos.state().split(",")[0].split(":")[0]


target.main({**target.COMMANDS, "state": state,
             **{name: timed(statement) for name, statement in STATEMENTS.items()}})
