# SPDX-License-Identifier: BSD-3-Clause
"""What a region of pikos.py costs while nobody is attached. Run by the interpreter in question.

Usage: idle_regions.py LIBRARY; prints a JSON object, ns: best of many short rounds, what is around
a region taken off, and an empty call of a function for comparison.
"""

import json
import os
import sys
import timeit

os.environ.update(PIKOS_TRACE="/nonexistent", PIKOS_AGENT=sys.argv[1])
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(sys.path[0], "..", "..", "probes", "python"))
import pikos  # noqa: E402

COUNT, ROUNDS = 10_000, 100


def function():
    pass


monitor = pikos.monitor_functions()
decorated = monitor(function)


def best(statement):
    return min(timeit.repeat(statement, globals=globals(), number=COUNT,
                             repeat=ROUNDS)) / COUNT * 1e9


def main():
    loop, call = best("pass"), best("function()")
    state = pikos.state().split(",")[0].split(":")[0]
    print(json.dumps({"call": call - loop, "decorator": best("decorated()") - call,
                      "with": best("with monitor: pass") - loop,
                      "enable": best("monitor.enable(); monitor.disable()") - loop,
                      "state": state}))


main()
