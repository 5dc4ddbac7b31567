# SPDX-License-Identifier: BSD-3-Clause
"""The processes that take part in a measurement, and what is read of them."""

import json
import os
import re
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.realpath(os.path.join(HERE, "..", ".."))
BUILD = os.path.join(ROOT, "build")
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

import harness  # noqa: E402

PYTHON = "/usr/bin/python3.11"
TRACER = os.environ.get("PIKOS_TRACE") or os.path.join(BUILD, "pikos-trace")
FLOOR = os.path.join(BUILD, "tests", "bench", "floor")
DEADLINE = 120  # seconds, for anything that should take far less


class Failed(Exception):
    """Something could not be measured."""


class Skipped(Exception):
    """Something is not there to be measured."""


def spread(values):
    """{min, median, max, values}; None without values."""
    values = [value for value in values if value is not None]
    if not values:
        return None
    return {"min": min(values), "median": statistics.median(values), "max": max(values),
            "values": values}


def collect(rounds):
    """[{name: value}] to {name: spread}"""
    return {name: spread([each.get(name) for each in rounds]) for name in rounds[0]}


def read_line(stream, what, deadline=DEADLINE):
    """A line of an unbuffered pipe; Failed when it ends or the time is up."""
    line = b""
    end = time.monotonic() + deadline
    while not line.endswith(b"\n"):
        if not select.select([stream], [], [], max(0, end - time.monotonic()))[0]:
            raise Failed(f"{what}: nothing within {deadline} s")
        byte = os.read(stream.fileno(), 1)
        if not byte:
            raise Failed(f"{what}: it ended, having said {line.decode(errors='replace')!r}")
        line += byte
    return line.decode(errors="replace").rstrip("\n")


def wait_until(condition, what, deadline=DEADLINE):
    """Poll half a millisecond apart; @return the seconds it took."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > deadline:
            raise Failed(f"{what}: not within {deadline} s")
        time.sleep(0.0005)
    return time.monotonic() - start


def free_port():
    """Of a pair of ports that nobody listens on."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


class Target:
    """A process of target.py; of another interpreter than PYTHON, one of interpreters.py; of
    another program with arguments, one that takes commands as target.py does."""

    def __init__(self, interpreter=None, program=os.path.join(HERE, "target.py"), *arguments):
        self.made = None
        command = [PYTHON, program, *arguments]
        if interpreter:
            if interpreter.suite:
                self.made = tempfile.mkdtemp(prefix="pikos-bench-",
                                             dir=os.path.join(interpreter.root, "tmp"))
                program = interpreter.inside(shutil.copy(program, self.made))
            command = interpreter.command(program, *arguments)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"})
        self.pid = self.process.pid  # each step of the command is an exec
        if interpreter:
            self.ask("warm", 1)

    def tell(self, *command):
        self.process.stdin.write(" ".join(map(str, command)).encode() + b"\n")

    def answer(self, deadline=DEADLINE):
        return json.loads(read_line(self.process.stdout, "the target", deadline))

    def ask(self, *command, deadline=DEADLINE):
        self.tell(*command)
        return self.answer(deadline)

    def measure(self, command, count, *more):
        """(wall ns, CPU ns) per unit."""
        found = self.ask(command, count, *more)
        return tuple(sum(column) / count for column in zip(*found))

    def bare(self, command, count, slices=20):
        """(wall ns, CPU ns) per unit, of the best slice: noise only ever adds."""
        found = self.ask(command, count, slices)
        return tuple(min(column) * slices / count for column in zip(*found))

    def semaphores(self):
        return harness.semaphores(self.pid, PYTHON)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.process.stdin.close()
        try:
            self.process.wait(0.5 if any(failure) else DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        if self.made:
            shutil.rmtree(self.made, ignore_errors=True)


class Tool:
    """A tracer beside the target. `ready` is what it says on standard error when it is attached."""

    def __init__(self, command, ready, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                 on_stdout=False):
        self.command = [str(word) for word in command]
        self.name = os.path.basename(self.command[0])
        self.rusage = None
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            self.command, stdin=stdin, bufsize=0, start_new_session=True,
            stdout=subprocess.PIPE if on_stdout else stdout, stderr=subprocess.PIPE)
        self.pid = self.process.pid
        self.errors = harness.Lines(self.process.stderr)
        self.output = harness.Lines(self.process.stdout) if on_stdout else None
        said = self.output or self.errors
        if ready and not said.wait(lambda lines: any(ready in line for line in lines), DEADLINE):
            self.kill()
            self.errors.thread.join(5)
            raise Failed(f"{self.name} did not attach: {self.last_words()}")
        self.attached = time.monotonic()

    def last_words(self):
        lines = [line.strip() for line in self.errors.text().splitlines() if line.strip()]
        return lines[-1] if lines else "no word"

    def family(self):
        return [self.pid] + harness.descendants(self.pid)

    def cpu(self):
        """ns of CPU that the tool and its helpers have used so far."""
        total = 0
        for pid in self.family():
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/schedstat") as stream:
                        total += int(stream.read().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                pass
        return total

    def wait(self, deadline=DEADLINE):
        """Wait for its end; @return ns of CPU of all its life, helpers that it waited for too."""
        end = time.monotonic() + deadline
        while True:
            pid, status, rusage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > end:
                self.kill()
                raise Failed(f"{self.name} did not end within {deadline} s")
            time.sleep(0.001)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.errors.thread.join(DEADLINE)
        if self.output:
            self.output.thread.join(DEADLINE)
        return round((rusage.ru_utime + rusage.ru_stime) * 1e9)

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.wait()

    def kill(self):
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.kill()


class Floor(Tool):
    def __init__(self, what, *targets):
        super().__init__([FLOOR, FLOOR + ".bpf.o", what, *(each.pid for each in targets)],
                         "attached", stdin=subprocess.PIPE, on_stdout=True)

    def end(self, number=None):
        self.process.stdin.close()
        return self.wait()


def status_field(pid, name):
    """Bytes of a `kB` field of /proc/PID/status; 0 when the process is gone."""
    try:
        with open(f"/proc/{pid}/status") as stream:
            for line in stream:
                if line.startswith(name + ":"):
                    return int(line.split()[1]) << 10
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def buffer_memory(pid):
    """Resident bytes of mapped buffers; a ring buffer's data is mapped twice and counted twice."""
    total, inside = 0, False
    with open(f"/proc/{pid}/smaps") as stream:
        for line in stream:
            if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
                inside = "bpf-map" in line or "bpf_map" in line or "[perf_event]" in line
            elif inside and line.startswith("Rss:"):
                total += int(line.split()[1]) << 10
    return total


class Pikos(Tool):
    """pikos-trace, its peak memory watched while it lives."""

    def __init__(self, monitor, *arguments, targets, wait=True, **options):
        pids = ",".join(str(each.pid) for each in targets)
        super().__init__([TRACER, monitor, "-v", *arguments, "-p", pids],
                         ": tracing " if wait else None, **options)
        if len(targets) > 1 and wait:
            self.errors.wait(lambda lines: sum(": tracing " in line for line in lines) ==
                             len(targets), DEADLINE)
        self.peak = self.keeper_peak = 0
        self.buffers = buffer_memory(self.pid) if wait else 0
        self.over = threading.Event()
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()
        self.cpu_attached = self.cpu()

    def _watch(self):
        helpers = harness.descendants(self.pid)
        while not self.over.wait(0.05):
            self.peak = max(self.peak, status_field(self.pid, "VmHWM"))
            for pid in helpers:
                self.keeper_peak = max(self.keeper_peak, status_field(pid, "VmHWM"))

    def look(self):
        """To be called while it lives and all its buffers have been in use."""
        self.buffers = max(self.buffers, buffer_memory(self.pid))

    def wait(self, deadline=DEADLINE):
        cpu = super().wait(deadline)
        self.over.set()
        self.watcher.join()
        return cpu

    def totals(self):
        """{seen, written, filtered, lost} of its last line."""
        found = re.search(r"seen=(\d+) written=(\d+) filtered=(\d+) lost=(\d+)", self.last_words())
        if not found:
            raise Failed(f"{self.name} ended without its totals: {self.last_words()}")
        return dict(zip(("seen", "written", "filtered", "lost"), map(int, found.groups())))

    def memory(self):
        return {"peak": self.peak, "buffers": self.buffers,
                "beyond_buffers": max(0, self.peak - self.buffers),
                "keeper_peak": self.keeper_peak}

    def __exit__(self, *failure):
        super().__exit__(*failure)
        self.over.set()
