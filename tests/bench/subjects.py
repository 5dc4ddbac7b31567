# SPDX-License-Identifier: BSD-3-Clause
"""What the same program is measured under, in rounds: A B C, A B C, so that ratios pair up.

A subject is run once a round, each time on a fresh target, whose bare speed is measured first.
"""

import os
import re
import shutil
import subprocess
import time

from measure import (HERE, PYTHON, Failed, Floor, Pikos, Skipped, Target, Tool, free_port,
                     read_line, spread)

PROBE = f"usdt:{PYTHON}:python:function__"
BARE = 400_000  # units
PAUSE_NS = 100_000_000


class Subject:
    """`unit` is what target.py is asked for: calls (two events each) or lines (one)."""

    def __init__(self, name, what, unit="calls", count=1_000_000, quick=50_000):
        self.name, self.what, self.unit = name, what, unit
        self.count, self.quick = count, quick
        self.floor = None  # name of the subject that it is compared with

    def events(self, count):
        return 2 * count if self.unit == "calls" else count

    def run(self, directory, quick):
        count = self.quick if quick else self.count
        with Target() as target:
            bare = target.bare(self.unit, BARE // (10 if quick else 1))
            found = self.measure(target, count, directory)
        wall, cpu = found.pop("unit")
        events = self.events(1)
        return {"unit_ns": wall, "unit_cpu_ns": cpu, "bare_ns": bare[0], "bare_cpu_ns": bare[1],
                "event_ns": wall / events, "event_cpu_ns": cpu / events, "units": count,
                "over_bare": wall / bare[0], "over_bare_cpu": cpu / bare[1], **found}

    def measure(self, target, count, directory):
        """{unit: (wall ns, CPU ns) per unit, ...} under the subject."""
        return {"unit": target.measure(self.unit, count)}


class InterpreterSubject(Subject):
    """A profiler inside the target: cProfile, sys.setprofile."""

    def __init__(self, name, what, command):
        super().__init__(name, what, count=300_000, quick=20_000)
        self.command = command

    def measure(self, target, count, directory):
        return {"unit": target.measure(self.command, count)}


class FloorSubject(Subject):
    def measure(self, target, count, directory):
        monitor = "lines" if self.unit == "lines" else "functions"
        with Floor(monitor, target) as tool:
            unit = target.measure(self.unit, count)
            tool.end()
        return {"unit": unit}


class PikosSubject(Subject):
    """pikos-trace with a monitor and a recorder."""

    def __init__(self, monitor, recorder, transport="ringbuf"):
        unit = "lines" if monitor.startswith("line") else "calls"
        suffix = "" if transport == "ringbuf" else "_" + transport
        super().__init__(f"{monitor}_{recorder}{suffix}",
                         f"pikos-trace {monitor}, {recorder}, {transport}", unit,
                         count=1_000_000 if unit == "calls" else 2_000_000, quick=50_000)
        self.monitor, self.recorder, self.transport = monitor, recorder, transport
        self.floor = "floor_lines" if unit == "lines" else "floor_functions"

    def measure(self, target, count, directory):
        path = os.path.join(directory, "records." + self.recorder)
        arguments = ["--transport", self.transport, "--recording", self.recorder]
        if self.recorder == "zmq":
            return self.measure_zmq(target, count, arguments)
        if self.recorder != "screen":
            arguments += ["-o", path]
        with Pikos(self.monitor, *arguments, targets=[target]) as tool:
            found = self.watch(tool, target, count)
        if self.recorder != "screen":
            found["bytes"] = os.path.getsize(path)
            os.unlink(path)
        return found

    def measure_zmq(self, target, count, arguments):
        port = free_port()
        arguments += ["--zmq-endpoint", f"tcp://127.0.0.1:{port}", "--zmq-wait"]
        subscriber = subprocess.Popen([PYTHON, os.path.join(HERE, "subscriber.py"), str(port)],
                                      stdout=subprocess.PIPE, bufsize=0)
        try:
            if read_line(subscriber.stdout, "the subscriber") != "ready":
                raise Failed("the subscriber did not start")
            with Pikos(self.monitor, *arguments, targets=[target]) as tool:
                found = self.watch(tool, target, count)
            found["received"] = int(read_line(subscriber.stdout, "the subscriber"))
        except Failed:
            if subscriber.poll():
                raise Skipped("no pyzmq for the subscriber") from None
            raise
        finally:
            subscriber.kill()
            subscriber.wait()
        return found

    def watch(self, tool, target, count):
        unit = target.measure(self.unit, count)
        tool.look()
        cpu = tool.end() - tool.cpu_attached
        totals = tool.totals()
        if totals["seen"] < self.events(count):
            raise Failed(f"{totals['seen']} events seen of {self.events(count)}")
        return {"unit": unit, "seen": totals["seen"], "lost": totals["lost"],
                "written": totals["written"],
                "records_per_s": totals["written"] / (unit[0] * count / 1e9),
                "loader_ns_per_record": cpu / max(1, totals["written"]),
                "loader_start_ms": tool.cpu_attached / 1e6, **tool.memory()}


class ForeignSubject(Subject):
    """A tracer that prints each event. 3.11 gives it entries while `floor` raises the semaphore."""

    def __init__(self, name, what, command):
        super().__init__(name, what, count=20_000, quick=2_000)
        self.command = command
        self.floor = "floor_functions"

    def find(self):
        path = shutil.which(self.command[0], path=os.environ.get("PATH", "") + ":/usr/sbin")
        if not path:
            raise Skipped(f"no '{self.command[0]}' here (scripts/install-deps bench)")
        return path

    def attach(self, target, output):
        """Attached is what prints both of a call's events; what it says before, and when the
        semaphores are raised, tells nothing. The output is a file: it never has to wait for it."""
        path = self.find()
        words = [word.replace("PID", str(target.pid)) for word in self.command[1:]]
        tool = Tool([path, *words], None, stdout=output)
        while not self.printed(output.name, "->", "warm") or \
                not self.printed(output.name, "<-", "warm"):
            if not tool.errors.thread.is_alive():
                tool.wait()
                raise Skipped(f"it does not run here: {tool.last_words()}")
            target.ask("warm", 100)
            tool.errors.thread.join(0.01)
        return tool

    @staticmethod
    def settle(tool):
        """Wait until it uses less than 2 % of a CPU: what it prints now, it lost."""
        before = -PAUSE_NS
        while (now := tool.cpu()) - before > PAUSE_NS // 50:
            before = now
            time.sleep(PAUSE_NS / 1e9)

    @staticmethod
    def printed(path, way, name):
        """How many lines tell of a function: "-> name file 1" or "-> file.name"."""
        with open(path, errors="replace") as stream:
            return sum(bool(re.search(rf"{way} (.*\.)?{name}( |$)", line)) for line in stream)

    def measure(self, target, count, directory):
        path = os.path.join(directory, "foreign")
        with open(path, "wb") as output, Floor("semaphore", target) as semaphore:
            tool = self.attach(target, output)
            with tool:
                unit = target.measure(self.unit, count)
                self.settle(tool)
                tool.end()
            semaphore.end()
        printed = self.printed(path, "(->|<-)", "work")
        os.unlink(path)
        return {"unit": unit, "written": printed, "lost": 2 * count - printed}


def bpftrace_command():
    script = " ".join(
        f'{PROBE}{probe} {{ printf("{way} %s %s %d\\n", str(arg1), str(arg0), arg2); }}'
        for probe, way in (("entry", "->"), ("return", "<-")))
    return ["bpftrace", "-p", "PID", "-e", script]


def all_subjects():
    floors = [FloorSubject("floor_functions", "empty programs on entry and return"),
              FloorSubject("floor_lines", "empty program on line", "lines", 2_000_000)]
    ours = [PikosSubject("functions", "csv"), PikosSubject("function_memory", "csv"),
            PikosSubject("functions", "csv", "perfbuf"), PikosSubject("functions", "text"),
            PikosSubject("functions", "screen"), PikosSubject("functions", "zmq")]
    lines = [PikosSubject("lines", "csv"), PikosSubject("line_memory", "csv")]
    return [Subject("bare", "nothing", count=4_000_000, quick=400_000),
            Subject("bare_lines", "nothing", "lines", 20_000_000, 2_000_000),
            floors[0], *ours, floors[1], *lines,
            InterpreterSubject("cprofile", "cProfile", "cprofile"),
            InterpreterSubject("setprofile", "sys.setprofile, a callback that appends",
                               "setprofile"),
            ForeignSubject("bpftrace", "bpftrace, prints each event", bpftrace_command()),
            ForeignSubject("uflow", "bcc's uflow, prints each event",
                           ["uflow", "-l", "python", "PID"])]


def choose(patterns):
    """Those whose name contains a pattern, and what they are compared with."""
    subjects = all_subjects()
    if not patterns:
        return subjects
    chosen = {each.name for each in subjects if any(part in each.name for part in patterns)}
    chosen |= {each.floor for each in subjects if each.name in chosen and each.floor}
    return [each for each in subjects if each.name in chosen]


def run_rounds(subjects, runs, quick, directory, say):
    """{name: {what, unit, runs, reason}}; a reason says why there are no (more) runs."""
    results = {each.name: {"what": each.what, "unit": each.unit, "floor": each.floor, "runs": []}
               for each in subjects}
    for number in range(runs):
        for each in subjects:
            result = results[each.name]
            if "reason" in result:
                continue
            say(f"round {number + 1} of {runs}: {each.name}")
            try:
                result["runs"].append(each.run(directory, quick))
            except Skipped as reason:
                result["reason"] = f"skipped: {reason}"
            except Failed as reason:
                result["reason"], result["failed"] = f"failed: {reason}", True
    for result in results.values():
        compare(result, results.get(result["floor"]))
    return results


def compare(result, floor):
    """Ratios to the floor, pair by pair within a round; then the spread of everything."""
    for own, its in zip(result["runs"], floor["runs"] if floor else ()):
        own["over_floor"] = own["unit_ns"] / its["unit_ns"]
        own["over_floor_cpu"] = own["unit_cpu_ns"] / its["unit_cpu_ns"]
    keys = {key for run in result["runs"] for key in run}
    result["spread"] = {key: spread([run.get(key) for run in result["runs"]])
                        for key in sorted(keys)}
