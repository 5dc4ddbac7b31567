# SPDX-License-Identifier: BSD-3-Clause
"""What the agent costs, by interpreter; trials as those of trials.py.

All that is compared within a round is measured in one process, one after the other: bare,
cProfile, traced, bare again; each in slices of which the best counts, since what else the machine
does, on the other thread of the same core too, only ever adds. A slice holds some hundred batches.
Recordings go to memory (/dev/shm) unless a disk is the subject.
"""

import json
import os
import statistics
import subprocess
import tempfile
import time

from measure import Failed, Pikos, Target, spread, wait_until

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


def collect(rounds):
    """[{name: value}] to {name: spread}"""
    return {name: spread([each.get(name) for each in rounds]) for name in rounds[0]}


# ------------------------------------------------------------------ cost of an event


def one_kind(target, path, unit, count, monitor, *arguments):
    """bare, cProfile's and ours, ns per unit, wall and CPU; and what the loader used."""
    target.bare(unit, count)  # the first code to run warms up
    bare = target.bare(unit, count)
    profiled = target.bare({"calls": "cprofile", "ccalls": "cprofile_ccalls"}[unit], count) \
        if unit != "lines" else None
    target.bare(unit, count)  # it is made bare again
    before = target.bare(unit, count)
    with traced(target, path, monitor, *arguments) as tool:
        found = target.bare(unit, count)
        cpu = tool.end() - tool.cpu_attached
        totals = tool.totals()
    events = count if unit == "lines" else 2 * count
    if totals["seen"] < events:
        raise Failed(f"{totals['seen']} events seen of {events}")
    os.unlink(path)
    target.bare(unit, count)
    after = target.bare(unit, count)
    base = [statistics.mean(values) for values in zip(before, after)]
    result = {"bare": base[0], "bare_cpu": base[1], "added": found[0] - base[0],
              "added_cpu": found[1] - base[1], "lost": totals["lost"],
              "loader_ns": cpu / max(1, totals["written"]),
              "events_per_s": 1e9 * events / count / found[0]}
    if profiled:
        its = [value - base_of for value, base_of in zip(profiled, bare)]
        result.update(cprofile=its[0], cprofile_cpu=its[1], ratio=result["added"] / its[0],
                      ratio_cpu=result["added_cpu"] / its[1])
    return {f"{unit}_{name}": value for name, value in result.items()}


@in_memory
def cost(interpreter, path, runs, quick):
    """Functions, functions with C calls, lines to CSV; each beside cProfile where it has such."""
    count = 100_000 if quick else 1_000_000
    rounds = []
    for _ in range(runs):
        with Target(interpreter) as target:
            rounds.append({**one_kind(target, path, "calls", count, "functions", "--no-c-calls"),
                           **one_kind(target, path, "ccalls", count, "functions", "--c-calls"),
                           **one_kind(target, path, "lines", 2 * count, "lines")})
    return collect(rounds)


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


def paired(target, count, while_):
    """Speed while something, over the mean of the bare speeds before and after it; CPU time."""
    target.bare("calls", count)
    before = target.bare("calls", count)[1]
    during = while_()
    target.bare("calls", count)
    after = target.bare("calls", count)[1]
    return during / statistics.mean((before, after))


@in_memory
def outside(interpreter, path, runs, quick):
    """A function outside the focus, over bare: never inside, and after the focus was entered and
    left; `nothing` is the same without a tracer: the noise."""
    count = 200_000 if quick else 4_000_000
    rounds = []
    for _ in range(runs):
        with Target(interpreter) as target:

            def never():
                return target.bare("calls", count)[1]

            def while_focused(entered):
                with traced(target, path, "functions", "--focused-on", "warm") as tool:
                    if entered:
                        target.ask("warm", 10)
                    target.bare("calls", count)
                    speed = target.bare("calls", count)[1]
                    tool.end()
                    if bool(tool.totals()["seen"]) != entered:
                        raise Failed(f"{tool.totals()['seen']} events seen")
                os.unlink(path)
                return speed

            rounds.append({"nothing": paired(target, count, never),
                           "not_entered": paired(target, count, lambda: while_focused(False)),
                           "left": paired(target, count, lambda: while_focused(True))})
    return collect(rounds)


@in_memory
def loaded(interpreter, path, runs, quick):
    """With the library in, but no tracer, over bare in the same process before."""
    count = 200_000 if quick else 4_000_000
    rounds = []
    for _ in range(runs):
        found = {}
        for name in ("nothing", "loaded"):
            with Target(interpreter) as target:
                target.bare("calls", count)
                before = target.bare("calls", count)[1]
                if name == "loaded":
                    with traced(target, path, "functions") as tool:
                        target.ask("warm", 100)
                        tool.end()
                    wait_until(lambda: tasks(target.pid) == 1, "the end of the agent's thread")
                    os.unlink(path)
                target.bare("calls", count)
                found[name] = target.bare("calls", count)[1] / before
        rounds.append(found)
    return collect(rounds)


def tasks(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


# ------------------------------------------------------------------ kill -9


@in_memory
def gone(interpreter, path, runs, quick):
    """ms from kill -9 of the tracer until its thread is gone, and until calls are as fast as
    bare."""
    rounds = []
    for _ in range(runs):
        with Target(interpreter) as target:
            target.ask("calls", 100_000)
            bare = statistics.median(speed for _, speed in target.ask("watch", 100))
            with traced(target, path, "functions", "--no-c-calls") as tool:
                target.tell("watch", 1000)
                wait_until(lambda: os.path.getsize(path) > 1 << 20, "a megabyte of records")
                tool.process.kill()
                start = time.monotonic_ns()
                wait_until(lambda: tasks(target.pid) == 1, "the end of the agent's thread", 20)
                thread = (time.monotonic_ns() - start) / 1e6
                tool.wait()
            windows = [each for each in target.answer() if each[0] > start]
            os.unlink(path)
        rounds.append({"thread_ms": thread, "bare_ms": bare_again(windows, bare, start)})
    return collect(rounds)


def bare_again(windows, bare, start):
    fast = [speed < 1.5 * bare for _, speed in windows]  # traced it is 3 x
    for number in range(len(windows) - STEADY):
        if all(fast[number:number + STEADY]):
            return (windows[number][0] - start) / 1e6
    raise Failed(f"the target stays at {windows[-1][1]:.0f} ns a call, bare is {bare:.0f}")


# ------------------------------------------------------------------ two at once, slow disks


@in_memory
def two(interpreter, path, runs, quick):
    """CPU time per call of each of two traced at once, over one traced alone; and the same bare,
    which is what the machine itself costs two."""
    count = 100_000 if quick else 3_000_000

    def cpu_of(*targets):
        for target in targets:
            target.tell("calls", count)
        return [target.answer()[0][1] / count for target in targets]

    rounds = []
    for _ in range(runs):
        with Target(interpreter) as one, Target(interpreter) as other:
            cpu_of(one, other)
            bare = cpu_of(one)[0]
            bare_two = statistics.mean(cpu_of(one, other))
            with traced(one, path, "functions", "--no-c-calls") as tool:
                alone = cpu_of(one)[0]
                tool.end()
            os.unlink(path)
            with Pikos("functions", "--source", "agent", "--no-c-calls", "-o", path,
                       targets=[one, other]) as tool:
                both = statistics.mean(cpu_of(one, other))
                tool.end()
                totals = tool.totals()
            os.unlink(path)
        rounds.append({"traced": both / alone, "bare": bare_two / bare, "lost": totals["lost"],
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


def regions(interpreter, runs, quick):
    """ns of a region of pikos.py while nobody is attached: decorated, `with`, enable()."""
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "idle_regions.py")
    library = os.path.join(harness.ROOT, "build", "libpikos-agent.so")
    rounds = []
    for _ in range(runs):
        done = subprocess.run(interpreter.command(program, library), stdout=subprocess.PIPE,
                              check=True)
        found = json.loads(done.stdout)
        if found.pop("state") != "marked":
            raise Failed("the agent's library was not loaded")
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
