# SPDX-License-Identifier: BSD-3-Clause
"""What the agent costs, by interpreter; trials as those of trials.py.

What is compared takes turns in short slices (interleave.py). Recordings go to memory (/dev/shm)
unless a disk is the subject.
"""

import contextlib
import os
import statistics
import subprocess
import tempfile
import time

from interleave import (Reference, alternate, compare, median, pairs_of, pin, scaled, slice_count,
                        slice_of)
from measure import HERE, Failed, Pikos, Target, collect, wait_until

import harness
import interpreters

MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()
STEADY = 5  # windows in a row that are as fast as bare


def traced(target, path, monitor, *arguments):
    return Pikos(monitor, "--source", "agent", "--recording", "csv", "-o", path, *arguments,
                 targets=[target])


def in_memory(function):
    """Give a trial a directory in memory."""

    def run(interpreter, runs, quick):
        with tempfile.TemporaryDirectory(prefix="pikos-bench-", dir=MEMORY) as directory:
            return function(interpreter, os.path.join(directory, "records.csv"), runs, quick)

    return run


# ------------------------------------------------------------------ cost of an event


CPROFILE = {"calls": "cprofile", "ccalls": "cprofile_ccalls"}  # of a line it tells nothing


def rows_of(parts, pairs):
    alternate(parts, 2)  # what runs first warms up
    return alternate(parts, pairs)


def one_kind(interpreter, path, unit, quick, monitor, *arguments):
    """ns of CPU per unit: bare, what we add, what cProfile adds; and what the loader used."""
    pairs = pairs_of(quick)
    with Target(interpreter) as target, Target(interpreter) as other, Reference() as reference:
        pin(target, other)
        count = slice_count(other, unit)
        parts = {"ours": slice_of(target, unit, count), "bare": slice_of(other, unit, count),
                 "reference": reference.slice}
        if unit in CPROFILE:
            parts["cprofile"] = slice_of(other, CPROFILE[unit], count)
        same = median(rows_of(parts, pairs), lambda row: row["ours"] / row["bare"])
        with traced(target, path, monitor, *arguments) as tool:
            rows = rows_of(parts, pairs)
            cpu = tool.end() - tool.cpu_attached
            totals = tool.totals()
    os.unlink(path)
    events = count * pairs * (1 if unit == "lines" else 2)
    if totals["seen"] < events:
        raise Failed(f"{totals['seen']} events seen of {events}")
    result = {"bare": median(rows, lambda row: row["bare"]),
              "ours": median(rows, lambda row: row["ours"]),
              "added": median(rows, lambda row: row["ours"] - row["bare"] * same),
              "scaled": median(rows, lambda row: scaled(row["ours"] - row["bare"] * same,
                                                        row["reference"])),
              "reference": median(rows, lambda row: row["reference"]),
              "loader_ns": cpu / max(1, totals["written"]), "lost": totals["lost"]}
    if unit in CPROFILE:
        result["cprofile"] = median(rows, lambda row: row["cprofile"] - row["bare"])
        result["ratio"] = median(rows, lambda row: (row["ours"] - row["bare"] * same) /
                                 (row["cprofile"] - row["bare"]))
    return {f"{unit}_{name}": value for name, value in result.items()}


@in_memory
def cost(interpreter, path, runs, quick):
    """Functions, functions with C calls, lines to CSV; the first two beside cProfile."""
    return collect([
        {**one_kind(interpreter, path, "calls", quick, "functions", "--no-c-calls"),
         **one_kind(interpreter, path, "ccalls", quick, "functions", "--c-calls"),
         **one_kind(interpreter, path, "lines", quick, "lines")} for _ in range(runs)])


@in_memory
def lost(interpreter, path, runs, quick):
    """Of 10 000 000 events with the default buffer, in one run."""
    count = 50_000 if quick else 5_000_000
    with Target(interpreter) as target, \
            traced(target, path, "functions", "--no-c-calls") as tool:
        took = target.ask("calls", count)[0][0]
        cpu = tool.end() - tool.cpu_attached
    totals = tool.totals()
    return {**totals, **tool.memory(), "events_per_s": 2 * count / took * 1e9,
            "loader_ns": cpu / max(1, totals["written"])}


# ------------------------------------------------------------------ what is not traced


@in_memory
def outside(interpreter, path, runs, quick):
    """A function outside the focus, over bare: never inside, and after the focus was entered and
    left."""

    @contextlib.contextmanager
    def focused(target, entered):
        with traced(target, path, "functions", "--focused-on", "warm") as tool:
            if entered:
                target.ask("warm", 10)
            yield
            tool.end()
        if bool(tool.totals()["seen"]) != entered:
            raise Failed(f"{tool.totals()['seen']} events seen")
        os.unlink(path)

    return compare(lambda: Target(interpreter),
                   {"not_entered": lambda target: focused(target, False),
                    "left": lambda target: focused(target, True)}, "calls", runs, quick)


@in_memory
def loaded(interpreter, path, runs, quick):
    """With the library in, but no tracer, over bare."""

    @contextlib.contextmanager
    def left_behind(target):
        with traced(target, path, "functions") as tool:
            target.ask("warm", 100)
            tool.end()
        wait_until(lambda: tasks(target.pid) == 1, "the end of the agent's thread")
        os.unlink(path)
        yield

    return compare(lambda: Target(interpreter), {"loaded": left_behind}, "calls", runs, quick)


def tasks(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


# ------------------------------------------------------------------ kill -9


NEAR_NS = 20_000_000


def over_companion(windows, companion):
    """[(ns, speed over the companion's about then)] of what two on one CPU told of `watch`."""
    return [(at, speed / statistics.median(near)) for at, speed in windows
            if (near := [its for its_at, its in companion if abs(its_at - at) < NEAR_NS])]


def watch_both(target, companion, ms, meanwhile=None):
    target.tell("watch", ms)
    companion.tell("watch", ms)
    done = meanwhile() if meanwhile else None
    return done, over_companion(target.answer(), companion.answer())


@in_memory
def gone(interpreter, path, runs, quick):
    """ms from kill -9 of the tracer until its thread is gone, and until calls are as fast as those
    of a companion that nobody traces; the two share a CPU."""
    rounds = []
    for _ in range(runs):
        with Target(interpreter) as target, Target(interpreter) as companion:
            pin(target, companion)
            watch_both(target, companion, 50)
            same = statistics.median(ratio for _, ratio in watch_both(target, companion, 200)[1])
            with traced(target, path, "functions", "--no-c-calls") as tool:

                def kill():
                    wait_until(lambda: os.path.getsize(path) > 1 << 20, "a megabyte of records")
                    tool.process.kill()
                    start = time.monotonic_ns()
                    wait_until(lambda: tasks(target.pid) == 1, "the end of the agent's thread", 20)
                    return start, (time.monotonic_ns() - start) / 1e6

                (start, thread), windows = watch_both(target, companion, 1000, kill)
                tool.wait()
            os.unlink(path)
        rounds.append({"thread_ms": thread, "bare_ms": bare_again(
            [(at, ratio / same) for at, ratio in windows if at > start], start)})
    return collect(rounds)


def bare_again(windows, start):
    fast = [ratio < 1.5 for _, ratio in windows]  # traced it is 3 x
    for number in range(len(windows) - STEADY):
        if all(fast[number:number + STEADY]):
            return (windows[number][0] - start) / 1e6
    raise Failed(f"the target stays at {windows[-1][1]:.1f} x bare")


# ------------------------------------------------------------------ two at once, slow disks


@in_memory
def two(interpreter, path, runs, quick):
    """CPU time per call of each of two that run at once, on a CPU each, over one that runs alone:
    traced; and the same bare, which is what the machine itself costs two."""
    rounds = []
    for _ in range(runs):
        with Target(interpreter) as one, Target(interpreter) as other:
            for target, cpu in zip((one, other), sorted(os.sched_getaffinity(0))[-2:]):
                pin(target, cpu=cpu)
            count = slice_count(one, "calls")

            def both():
                for target in (one, other):
                    target.tell("calls", count)
                return statistics.mean(target.answer()[0][1] / count for target in (one, other))

            parts = {"one": slice_of(one, "calls", count),
                     "other": slice_of(other, "calls", count), "both": both}

            def ratio():
                return median(rows_of(parts, pairs_of(quick)),
                              lambda row: 2 * row["both"] / (row["one"] + row["other"]))

            bare = ratio()
            with Pikos("functions", "--source", "agent", "--no-c-calls", "-o", path,
                       targets=[one, other]) as tool:
                both_traced = ratio()
                tool.end()
                totals = tool.totals()
            os.unlink(path)
        rounds.append({"traced": both_traced, "bare": bare, "lost": totals["lost"],
                       "seen": totals["seen"]})
    return collect(rounds)


def rate(interpreter, directory, runs, quick):
    """Events a second at which loss begins, CSV on the disk of build/."""
    count = 50_000 if quick else 5_000_000
    path = os.path.join(directory, "records.csv")
    tries = []
    speed = 1 << 40  # calls a second: as fast as it goes
    while True:
        with Target(interpreter) as target, \
                traced(target, path, "functions", "--no-c-calls") as tool:
            took = target.ask("paced", count, speed)
            tool.end()
        size = os.path.getsize(path)
        os.unlink(path)
        totals = tool.totals()
        tries.append({"events_per_s": 2 * count / took, "bytes_per_s": size / took,
                      "lost": totals["lost"], "seen": totals["seen"]})
        if not totals["lost"] or len(tries) == 12:
            return {"tries": tries}
        speed = int(count / took * 0.8)


# ------------------------------------------------------------------ regions of the program's own


REGIONS = {"decorator": "call", "with": "loop", "enable": "loop", "call": "loop"}


def regions(interpreter, runs, quick):
    """ns of a region of pikos.py while nobody is attached: decorated, `with`, enable(); what is
    around it taken off. `call` is an empty one, for comparison."""
    program = os.path.join(HERE, "idle_regions.py")
    library = os.path.join(harness.ROOT, "build", "libpikos-agent.so")
    rounds = []
    for _ in range(runs):
        with Target(interpreter, program, library) as target, Reference() as reference:
            pin(target)
            if target.ask("state") != "marked":
                raise Failed("the agent's library was not loaded")
            parts = {name: slice_of(target, name, slice_count(target, name))
                     for name in (*REGIONS, "loop")}
            rows = rows_of({**parts, "reference": reference.slice}, pairs_of(quick))
        found = {"reference": median(rows, lambda row: row["reference"])}
        for name, around in REGIONS.items():
            found[name] = median(rows, lambda row: row[name] - row[around])
            found[name + "_scaled"] = median(
                rows, lambda row: scaled(row[name] - row[around], row["reference"]))
        rounds.append(found)
    return collect(rounds)


# ------------------------------------------------------------------ what there is


def by_version(known):
    """One interpreter of each version: Debian's own, else one outside of chroots."""
    found = {}
    for each in sorted(known, key=lambda its: (bool(its.suite), its.label[0] != "s", its.label)):
        found.setdefault(each.version, each)
    return [found[version] for version in sorted(found)]


def guarded(function, interpreter):
    return lambda directory, runs, quick: {"version": ".".join(map(str, interpreter.version)),
                                           **function(interpreter, runs, quick)}


def all_trials():
    found = {}
    chosen = by_version(interpreters.known())
    for name, function in (("cost", cost), ("lost", lost), ("loaded", loaded), ("gone", gone)):
        for each in chosen:
            found[f"agent_{name}_{each.label}"] = guarded(function, each)
    for each in chosen:
        if not each.suite:  # in a chroot the module and the library are not to be found
            found[f"agent_regions_{each.label}"] = guarded(regions, each)
        if each.version >= (3, 12):
            found[f"agent_outside_{each.label}"] = guarded(outside, each)
    if chosen:
        newest = next((each for each in chosen if each.version == (3, 13)), chosen[-1])
        found["agent_two"] = guarded(two, newest)
        found["agent_rate"] = lambda directory, runs, quick: rate(newest, directory, runs, quick)
    return found
