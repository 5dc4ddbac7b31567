# SPDX-License-Identifier: BSD-3-Clause
"""Ratios of speeds on a machine whose own speed drifts by two or three within minutes.

Two processes of the same program, one treated (traced, say) and one not, are pinned to one CPU
and take turns in short slices of the same work; the order turns round each time. What the machine
does meets both slices of a pair, so a pair's ratio keeps what the treatment does; the median over
many pairs drops what hit one slice only. Two processes of one program differ by up to 2 % by
themselves (where their memory lies): so the same pairs are measured before the treatment, and the
ratio while treated is divided by the ratio before. `nothing` is a third such phase without any
treatment, divided likewise: what is left of the noise. All that is repeated on fresh processes,
with the roles swapped, and the spread over them is told.

    compare(Target, {"traced": attach}, "calls", runs, quick)
        -> {"traced": spread, "nothing": spread, "bare_ns": spread, "traced_added_ns": spread,
            "traced_scaled_ns": spread, "reference_ns": spread}

Times are the CPU time of the whole process, in ns per unit of work. A figure in ns is told beside
the ns of an empty call of Debian's 3.11 at the same moment (`Reference`), and scaled to the machine
of the figures, where that takes MACHINE_CALL_NS.
"""

import contextlib
import os
import statistics

from measure import Target, collect

SLICE_MS = 10  # a few hundred batches of the agent; pairs of longer ones scatter more
REFERENCE_MS = 2
PAIRS = 60  # of a phase
QUICK_PAIRS = 10
MACHINE_CALL_NS = 24


def pin(*targets, cpu=None):
    """Put processes on one CPU, by default the last; threads that they start stay there, too."""
    cpu = max(os.sched_getaffinity(0)) if cpu is None else cpu
    for target in targets:
        os.sched_setaffinity(target.pid, {cpu})


def alternate(parts, rounds):
    """Call each of {name: function} in turn; @return what they returned, [{name: value}]."""
    rows = []
    for number in range(rounds):
        names = list(parts) if number % 2 else list(parts)[::-1]
        rows.append({name: parts[name]() for name in names})
    return rows


def median(rows, value_of):
    return statistics.median(map(value_of, rows))


def slice_of(target, unit, count):
    """A function that runs a slice of `count` units: CPU ns per unit."""
    return lambda: target.measure(unit, count)[1]


def slice_count(target, unit, ms=SLICE_MS):
    """How many units take `ms` milliseconds of CPU, once they are warm."""
    count = 1
    while (took := target.measure(unit, count)[1] * count) < ms * 5e5:
        count *= 2
    return max(1, round(count * ms * 1e6 / took))


def pairs_of(quick):
    return QUICK_PAIRS if quick else PAIRS


class Reference(Target):
    """Tells how fast the machine is: slices of empty calls of Debian's 3.11."""

    def __enter__(self):
        pin(self)
        self.slice = slice_of(self, "calls", slice_count(self, "calls", REFERENCE_MS))
        return super().__enter__()


def scaled(ns, reference_ns):
    """ns on the machine of the figures."""
    return ns * MACHINE_CALL_NS / reference_ns


def one_pair(treated, bare, reference, treats, unit, pairs):
    """The phases on a pair of processes."""
    pin(treated, bare)
    count = slice_count(bare, unit)
    parts = {"treated": slice_of(treated, unit, count), "bare": slice_of(bare, unit, count),
             "reference": reference.slice}

    def phase():
        alternate(parts, 2)  # the first to run warms up
        return alternate(parts, pairs)

    def ratio(rows):
        return median(rows, lambda row: row["treated"] / row["bare"])

    before, again = phase(), phase()
    found = {"nothing": ratio(again) / ratio(before),
             "bare_ns": median(before + again, lambda row: row["bare"]),
             "reference_ns": median(before + again, lambda row: row["reference"])}
    same = ratio(before + again)
    for name, treat in treats.items():
        with treat(treated):
            rows = phase()
        found[name] = ratio(rows) / same
        found[name + "_added_ns"] = median(rows, lambda row: row["treated"] - row["bare"] * same)
        found[name + "_scaled_ns"] = median(rows, lambda row: scaled(
            row["treated"] - row["bare"] * same, row["reference"]))
    return found


def compare(make, treats, unit, runs, quick):
    """The speed of a treated process over that of a bare one.

    `make` makes a process to measure (a Target) that knows the command `unit`. Each of `treats` is
    a function of the process to be treated that returns a context manager; its work is measured
    inside, one treatment after the other on the same processes. @return {name: spread} over `runs`
    pairs of processes: each treatment's ratio, name_added_ns and name_scaled_ns; nothing, bare_ns,
    reference_ns."""
    rounds = []
    for number in range(runs):
        with make() as one, make() as other, Reference() as reference:
            treated, bare = (one, other) if number % 2 else (other, one)
            rounds.append(one_pair(treated, bare, reference, treats, unit, pairs_of(quick)))
    return collect(rounds)


# ------------------------------------------------------------------ what slows all processes

CYCLES = 12  # of a pair of processes
QUICK_CYCLES = 2
ROWS = 12  # of a part of a cycle
LONG_ROWS = 4  # the same, when one unit is longer than a slice ought to be


def cycle(parts, rows, target, treats):
    """Bare, treated, bare, ...; what the work takes in units of the reference's."""

    def speed():
        return median(alternate(parts, rows), lambda row: row["work"] / row["reference"])

    before, found = speed(), {}
    for name, treat in treats.items():
        with treat(target):
            alternate(parts, 1)
            during = speed()
        after = speed()
        found[name] = during / statistics.mean((before, after))
        before = after
    return found


def switch(make, treats, unit, runs, quick):
    """As compare(), for what runs in other processes as well (a tracepoint's program does): there
    is no bare process beside it, so what is compared are short times with it and without it, one
    after the other, each in units of what the reference takes meanwhile. That is another kind of
    work, so the noise is larger; `nothing` tells. @return {name: spread} of ratios."""
    treats = {"nothing": lambda target: contextlib.nullcontext(), **treats}
    rounds = []
    for _ in range(runs):
        with make() as target, Reference() as reference:
            pin(target)
            count = slice_count(target, unit)
            parts = {"work": slice_of(target, unit, count), "reference": reference.slice}
            rows = ROWS if count > 1 else LONG_ROWS
            alternate(parts, rows)  # the first to run warms up
            cycles = [cycle(parts, rows, target, treats)
                      for _ in range(QUICK_CYCLES if quick else CYCLES)]
        rounds.append({name: median(cycles, lambda its: its[name]) for name in treats})
    return collect(rounds)
