# SPDX-License-Identifier: BSD-3-Clause
"""What the monitors of memory cost and explain; trials as those of trials.py.

What is compared takes turns in short slices (interleave.py). Recordings go to memory (/dev/shm).
"""

import contextlib
import os
import re
import subprocess
import tempfile

import agent
from interleave import compare, switch
from measure import PYTHON, TRACER, Failed, Floor, Pikos, Target

import interpreters

SHORT = 30  # seconds that a program of `explained` may take


@contextlib.contextmanager
def traced(target, path, *arguments):
    with Pikos(*arguments, "--recording", "csv", "-o", path, targets=[target]) as tool:
        yield
        tool.end()
        totals = tool.totals()
    os.unlink(path)
    if totals["lost"]:
        raise Failed(f"{totals['lost']} records lost of {totals['seen']}")


@contextlib.contextmanager
def counted(target):
    with Floor("faults", target) as tool:
        yield
        tool.end()


def slowdown(unit, **others):
    """Of a program under `memory`, over bare; beside it what others do to it. Both have programs
    that run in every process."""

    def run(directory, runs, quick):
        with tempfile.TemporaryDirectory(prefix="pikos-bench-", dir=agent.MEMORY) as place:
            path = os.path.join(place, "records.csv")
            return switch(Target, {"memory": lambda target: traced(target, path, "memory"),
                                   **others}, unit, runs, quick)

    return run


# ------------------------------------------------------------------ functions, allocations


@agent.in_memory
def functions(interpreter, path, runs, quick):
    """What function_memory adds to a call, over what functions adds; both by the agent."""

    def with_agent(monitor):
        return lambda target: traced(target, path, monitor, "--source", "agent", "--no-c-calls")

    return compare(lambda: Target(interpreter),
                   {monitor: with_agent(monitor) for monitor in ("functions", "function_memory")},
                   "calls", runs, quick)


@agent.in_memory
def allocations(interpreter, path, runs, quick):
    """ns that the agent adds to a block's malloc and free together, where none of them is lost."""
    return compare(lambda: Target(interpreter),
                   {"allocations": lambda target: traced(target, path, "allocations", "--source",
                                                         "agent", "--buffer-size", "256M")},
                   "allocate", runs, quick)


# ------------------------------------------------------------------ explained

PROGRAMS = {  # what makes them grow, and keeps it
    "numpy": "import numpy as np\n"
             "kept = [np.random.random((200, 1000)) for _ in range(100)]\n",
    "python": "kept = {i: [str(i) * 3, (i, i + 1)] for i in range(400000)}\n",
}


def share_of(program):
    """% of RSS growth that the ledger gives to lines."""
    done = subprocess.run([TRACER, "memory", "--summary", "--", PYTHON, "-c", program],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=SHORT,
                          text=True)
    found = re.search(r"lines explain ([0-9.]+) % of", done.stderr)
    if done.returncode or not found:
        raise Failed(f"no share in the summary: {done.stderr[-200:]}")
    return float(found[1])


def explained(directory, runs, quick):
    return {name: share_of(program) for name, program in PROGRAMS.items()}


# ------------------------------------------------------------------ what there is


def all_trials(end_to_end):
    """@param end_to_end makes a trial of the end-to-end tests of a name"""
    found = {
        "memory_compute": slowdown("compute"),
        "memory_mandelbrot": slowdown("mandelbrot"),
        "memory_fresh": slowdown("fresh", empty=counted),
        "memory_explained": explained,
        "memory_smaps": end_to_end("ledger_"),
        "memory_frames": end_to_end("frames_"),
        "memory_allocations": end_to_end("allocations_"),
    }
    for each in agent.by_version(interpreters.known()):
        found[f"memory_functions_{each.label}"] = agent.guarded(functions, each)
        found[f"memory_per_allocation_{each.label}"] = agent.guarded(allocations, each)
    return found
