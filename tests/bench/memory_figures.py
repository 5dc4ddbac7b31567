# SPDX-License-Identifier: BSD-3-Clause
"""What is said of memory.py's trials, and the figures that they are to reach."""

from agent_figures import Figure, beside_reference, per_version, ranged
from interleave import MACHINE_CALL_NS

MOST_ADDED_NS = 150


def slowdown(trials, name, what, percent):
    figure = Figure(what, f"at most {percent} %")
    its = trials.get(name, {})
    if "memory" in its:
        words = [f"{each} {ranged(its[each], 3)} x" for each in ("memory", "empty", "nothing")
                 if each in its]
        figure.found(", ".join(words).replace("empty", "an empty count"),
                     its["memory"]["median"] <= 1 + percent / 100)
    return figure


def explained(trials):
    figure = Figure("share of RSS growth explained by lines", "at least 95 %")
    its = trials.get("memory_explained", {})
    if "numpy" in its:
        figure.found(", ".join(f"{name} {its[name]:.1f} %" for name in ("numpy", "python")),
                     min(its["numpy"], its["python"]) >= 95)
    return figure


def tested(trials, name, what, target):
    figure = Figure(what, target)
    its = trials.get(name, {})
    if "passed" in its:
        figure.found("; ".join(["{passed} tests passed, {failed} failed, {skipped} skipped".format(
            **its), *its["reasons"]]),
            None if not its["passed"] and not its["failed"] else not its["failed"])
    return figure


def dearer(its):
    """What function_memory adds over what functions adds; both of the same process."""
    return [(memory - 1) / (plain - 1) for memory, plain in
            zip(its["function_memory"]["values"], its["functions"]["values"])]


def middle(values):
    return sorted(values)[len(values) // 2]


def issue_table(trials):
    return [
        slowdown(trials, "memory_compute", "slowdown of a compute-bound program under memory", 1),
        slowdown(trials, "memory_mandelbrot", "slowdown of numpy's Mandelbrot under memory", 3),
        slowdown(trials, "memory_fresh",
                 "slowdown of a program that only touches fresh pages under memory", 35),
        tested(trials, "memory_smaps", "bytes mapped and unmapped against smaps", "equal"),
        explained(trials),
        tested(trials, "memory_frames", "frames against traceback, every version", "100 %"),
        tested(trials, "memory_allocations",
               "allocations: rows against PyMem hooks of the original", "the same multiset"),
        per_version(trials, "memory_per_allocation",
                    "allocations by the agent, added time per block (malloc and free), scaled to "
                    f"{MACHINE_CALL_NS} ns per empty call", f"at most {MOST_ADDED_NS} ns",
                    lambda its: its["allocations_scaled_ns"]["median"],
                    lambda its: beside_reference(its["allocations_scaled_ns"], its["reference_ns"],
                                                 its["allocations_added_ns"]) +
                    f", nothing {ranged(its['nothing'], 3)} x", MOST_ADDED_NS),
        per_version(trials, "memory_functions", "function_memory by the agent, added time over "
                    "functions'", "at most 1.3 x", lambda its: middle(dearer(its)),
                    lambda its: f"{middle(dearer(its)):.2f} ({min(dearer(its)):.2f} - "
                    f"{max(dearer(its)):.2f})", 1.3),
    ]
