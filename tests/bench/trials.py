# SPDX-License-Identifier: BSD-3-Clause
"""Measurements that are no comparison of speeds: what happens before, around and after tracing.

A trial is a function of (directory, runs, quick) that returns its figures as a dictionary.
"""

import os
import re
import signal
import subprocess
import time

import agent
import memory
from measure import (PYTHON, ROOT, Failed, Floor, Pikos, Target, harness, read_line, spread,
                     wait_until)

STEADY = 5  # windows in a row that are as fast as bare: then the child is


def functions(directory, *targets, **options):
    path = os.path.join(directory, "records.csv")
    arguments = options.pop("arguments", ())
    return Pikos("functions", *arguments, "-o", path, targets=targets, **options)


def discard(directory):
    os.unlink(os.path.join(directory, "records.csv"))


# ------------------------------------------------------------------ start, length

def attach(directory, runs, quick):
    """ms from the command to its first record, of a target that calls all the time."""
    took = []
    for _ in range(runs):
        read, write = os.pipe()
        with Target() as target, os.fdopen(read, "rb", buffering=0) as stream:
            target.tell("busy")
            with Pikos("functions", "--recording", "csv", "-o", "-", targets=[target], wait=False,
                       stdout=write) as tool:
                os.close(write)
                read_line(stream, "the header")
                read_line(stream, "the first record")
                took.append((time.monotonic() - tool.started) * 1000)
            target.tell("")
            target.answer()
    return {"first_record_ms": spread(took)}


def whole_run(directory, command, count):
    with Target() as target, functions(directory, target) as tool:
        target.ask(command, count)
        tool.look()
        tool.end()
    discard(directory)
    return {**tool.totals(), **tool.memory(),
            "losses": re.findall(r"lost (\d+ records: .*)", tool.errors.text())}


def long_run(directory, runs, quick):
    """20 000 000 records: the loader's memory must not grow with them."""
    return whole_run(directory, "calls", 500_000 if quick else 10_000_000)


def storm(directory, runs, quick):
    """200 000 functions, each called once, among calls of one: nor with the names."""
    return whole_run(directory, "storm", 20_000 if quick else 200_000)


# ------------------------------------------------------------------ two at once

def two_with(tool_of, count):
    with Target() as one, Target() as two, tool_of(one, two) as tool:
        for target in (one, two):
            target.tell("calls", count)
        answers = [target.answer()[0] for target in (one, two)]
        tool.end()
        wall, cpu = (sum(column) / len(answers) / count / 2 for column in zip(*answers))
        found = {"event_ns": wall, "event_cpu_ns": cpu}
        if isinstance(tool, Pikos):
            found["lost"] = tool.totals()["lost"]
        return found


def two_busy(directory, runs, quick):
    """ns per event of each of two busy processes traced by one tracer, by transport."""
    count = 50_000 if quick else 500_000
    ways = {"floor": lambda *targets: Floor("functions", *targets)}
    for transport in ("ringbuf", "perfbuf"):
        ways[transport] = lambda *targets, way=transport: functions(
            directory, *targets, arguments=("--transport", way))
    found = {way: [] for way in ways}
    for _ in range(runs):
        for way, tool_of in ways.items():
            found[way].append(two_with(tool_of, count))
    discard(directory)
    return {way: {key: spread([run[key] for run in runs_of]) for key in runs_of[0]}
            for way, runs_of in found.items()}


# ------------------------------------------------------------------ children

def recovered(windows, bare):
    """ms after the fork from which the child's calls are as fast as bare; None: never."""
    fast = [speed < 2 * bare for _, speed in windows]  # until then it is 7 x
    for number in range(len(windows) - STEADY):
        if all(fast[number:number + STEADY]):
            return windows[number][0]
    return None


def median(values):
    return sorted(values)[len(values) // 2]


def forked_child(directory, runs, quick):
    """ms until an untraced child of a traced process runs at bare speed."""
    took, first, last = [], [], []
    for _ in range(runs):
        with Target() as target:
            bare = median([speed for _, speed in target.ask("fork", 100)])
            with functions(directory, target) as tool:
                target.ask("calls", 10_000)
                windows = target.ask("fork", 400)
                tool.end()
        ms = recovered(windows, bare)
        if ms is None:
            raise Failed(f"the child stays at {windows[-1][1]:.0f} ns a call, bare is {bare:.0f}")
        took.append(ms)
        first.append(windows[0][1] / bare)
        last.append(median([speed for at, speed in windows if at > 100]) / bare)
    discard(directory)
    return {"bare_after_ms": spread(took), "first_window_over_bare": spread(first),
            "after_100_ms_over_bare": spread(last)}


# ------------------------------------------------------------------ the end

def leave(directory, target, number):
    """Trace a busy target for a while, then leave it; ms until its semaphores are 0."""
    with functions(directory, target) as tool:
        target.tell("busy")
        wait_until(lambda: os.path.getsize(os.path.join(directory, "records.csv")) > 1 << 20,
                   "a megabyte of records")
        start = time.monotonic()
        tool.process.send_signal(number)
        wait_until(lambda: not any(target.semaphores().values()), "the semaphores back at 0")
        took = (time.monotonic() - start) * 1000
        tool.wait()
    target.tell("")
    target.answer()
    return took


def speed_after(directory, runs, quick):
    """Bare speed afterwards over bare speed before; `nothing` was never traced: the noise."""
    count = 200_000 if quick else 2_000_000
    ways = {"nothing": None, "detach": signal.SIGINT, "kill": signal.SIGKILL}
    ratios, took = {way: [] for way in ways}, {way: [] for way in ways}
    for _ in range(runs):
        for way, number in ways.items():
            with Target() as target:
                target.bare("calls", count)  # the first code to run warms up
                before = target.bare("calls", count)[1]
                if number is None:
                    target.ask("calls", count)
                else:
                    took[way].append(leave(directory, target, number))
                ratios[way].append(target.bare("calls", count)[1] / before)
    discard(directory)
    return {"over_before": {way: spread(values) for way, values in ratios.items()},
            "semaphores_ms": {way: spread(values) for way, values in took.items() if values}}


def killed_while_paused(directory, runs, quick):
    """ms until a target runs that --lossless has paused, after kill -9 of the tracer."""
    took = []
    for _ in range(runs):
        read, write = os.pipe()  # that nobody reads
        with Target() as target, Pikos("functions", "--lossless", "--buffer-size", "64K",
                                       "--recording", "csv", "-o", "-", targets=[target],
                                       stdout=write) as tool:
            os.close(write)
            target.tell("busy")
            wait_until(lambda: harness.process_state(target.pid) == "T", "the target's pause")
            start = time.monotonic()
            tool.process.kill()
            wait_until(lambda: harness.process_state(target.pid) != "T", "the target's run")
            took.append((time.monotonic() - start) * 1000)
            os.close(read)
            tool.wait()
            target.tell("")
            target.answer()
    return {"running_ms": spread(took)}


# ------------------------------------------------------------------ equality

def end_to_end(pattern):
    """A trial that is the end-to-end tests of a name: how many passed."""

    def run(directory, runs, quick):
        patterns = [pattern + "_recursion"] if quick and "oracle" in pattern else [pattern]
        command = [PYTHON, os.path.join(ROOT, "tests", "e2e", "run"), "--python", PYTHON]
        for each in patterns:
            command += ["-k", each]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout
        found = re.search(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", output, re.M)
        if not found:
            raise Failed(f"{' '.join(command)}: no summary")
        reasons = re.findall(r"^(?:skip|not ok) (.*)$", output, re.M)
        worst = re.findall(r"RSS at most (\d+) bytes off", output)
        return {"passed": int(found[1]), "failed": int(found[2]), "skipped": int(found[3]),
                "reasons": reasons, "worst_bytes": max(map(int, worst), default=None)}

    return run


TRIALS = {
    "attach": attach,
    "two_busy": two_busy,
    "forked_child": forked_child,
    "speed_after": speed_after,
    "killed_while_paused": killed_while_paused,
    "long_run": long_run,
    "storm": storm,
    "oracle_functions": end_to_end("oracle_functions"),
    "oracle_3_15": end_to_end("oracle_3_15_functions"),
    "oracle_lines": end_to_end("oracle_lines"),
    "statm": end_to_end("memory_*_memory"),
    **agent.all_trials(),
    **memory.all_trials(end_to_end),
    "agent_oracle_functions": end_to_end("agent_functions_"),
    "agent_oracle_lines": end_to_end("agent_lines_"),
}


def choose(patterns):
    return [name for name in TRIALS if not patterns or any(part in name for part in patterns)]


def run_trials(names, runs, quick, directory, say):
    results = {}
    for name in names:
        say(name)
        started = time.monotonic()
        try:
            results[name] = TRIALS[name](directory, runs, quick)
        except Failed as reason:
            results[name] = {"reason": f"failed: {reason}", "failed_to_run": True}
        say(f"{name} took {time.monotonic() - started:.0f} s")
    return results
