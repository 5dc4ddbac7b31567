# SPDX-License-Identifier: BSD-3-Clause
"""The registry of tests, and the processes that a test starts: workloads and tracers.

Nothing here sleeps to let something happen: a workload announces itself and waits for a byte, the
tracer announces that it is attached, and whatever is waited for has a deadline.
"""

import collections
import contextlib
import fnmatch
import os
import pickle
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
WORKLOADS = os.path.join(ROOT, "tests", "workloads")
SLOW = float(os.environ.get("PIKOS_TEST_SLOW", "1"))
# Seconds. For anything that should take far less: a machine that is 16 times slower gets 4 times
# as long, else the first hang would take all the time that it has.
DEADLINE = 30 * max(1, SLOW) ** 0.5
LIMIT = 60 + DEADLINE  # for a whole test


class Failure(Exception):
    def __init__(self, reason, expected=None, actual=None):
        super().__init__(reason)
        self.expected, self.actual = expected, actual


class Skip(Exception):
    pass


# ------------------------------------------------------------------ registry

Test = collections.namedtuple("Test", "name function vm lines alone")
TESTS = []


def add_test(name, function, *, vm=False, lines=False, alone=False):
    """Register a test.

    vm: one of those that other kernels are tested with, where all would take hours; it takes a
    second or two here. lines: needs the line probe. alone: measures time, runs beside no other.
    """
    TESTS.append(Test(name, function, vm, lines, alone))


def test(**marks):
    """Register `test_x` as `x`, with the marks of add_test()."""

    def register(function):
        add_test(re.sub("^test_", "", function.__name__), function, **marks)
        return function

    return register


def choose(patterns, in_vm):
    names = [each.name for each in TESTS]
    assert len(set(names)) == len(names), "two tests of one name"
    return [each for each in TESTS if (each.vm or not in_vm) and (not patterns or any(
        pattern in each.name or fnmatch.fnmatch(each.name, pattern) for pattern in patterns))]


OUTCOMES = ("passed", "failed", "skipped")  # a test's process ends with the number of one


def run_one(test_to_run, python):
    """Run a test in this process and print its outcome; return the number of that."""
    context = Context(test_to_run.name, python)
    started = time.monotonic()
    try:
        if test_to_run.lines and "line" not in probes_of(python):
            raise Skip(f"{python} has no line probe")
        with context, time_limit():
            test_to_run.function(context)
            context.check_quiet()
    except Skip as reason:
        outcome = "skipped"
        print(f"skip {test_to_run.name}: {reason}")
    except BaseException as failure:
        outcome = "failed"
        report(test_to_run.name, failure, context)
    else:
        outcome = "passed"
        notes = "".join(f" ({note})" for note in context.notes)
        print(f"ok {test_to_run.name}{notes}")
    if os.environ.get("PIKOS_TEST_TIMES"):
        print(f"  took {time.monotonic() - started:.1f} s")
    return OUTCOMES.index(outcome)


@contextlib.contextmanager
def time_limit():
    """Whatever hangs in it fails, by an exception from where it hangs."""

    def give_up(*_):
        raise Failure(f"the test did not end within {LIMIT:g} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(int(LIMIT))
    try:
        yield
    finally:
        signal.alarm(0)


def start_one(test_to_run, python):
    """Run a test in a process of its own; return its pid and the file that it prints into."""
    output = tempfile.TemporaryFile()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid, output
    try:
        os.dup2(output.fileno(), 1)
        outcome = run_one(test_to_run, python)
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        outcome = len(OUTCOMES)
    os._exit(outcome)


def finish_one(test_to_run, output, status):
    """Show what a test printed that has ended; return its outcome."""
    output.seek(0)
    sys.stdout.write(output.read().decode("utf-8", "backslashreplace"))
    output.close()
    code = os.waitstatus_to_exitcode(status)
    if not 0 <= code < len(OUTCOMES):
        print(f"not ok {test_to_run.name}: its process ended with status {code}")
        code = OUTCOMES.index("failed")
    sys.stdout.flush()
    return OUTCOMES[code]


def run_all(tests, python, jobs):
    """Run tests, `jobs` at a time; then those that run alone. Returns the exit status."""
    probes_of(python)  # once, not in each process
    counts = collections.Counter()
    for alone in (False, True):
        waiting = [each for each in tests if each.alone == alone]
        running = {}
        while waiting or running:
            while waiting and len(running) < (1 if alone else jobs):
                chosen = waiting.pop(0)
                pid, output = start_one(chosen, python)
                running[pid] = chosen, output
            pid, status = os.wait()
            counts[finish_one(*running.pop(pid), status)] += 1
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] else 0


def shorten(text, limit=3000):
    text = text if isinstance(text, str) else repr(text)
    return text if len(text) <= limit else text[:limit] + f"... ({len(text)} characters)"


def indent(text):
    return "\n".join("    " + line for line in shorten(text).splitlines()) or "    (nothing)"


def report(name, failure, context):
    reason = str(failure) if isinstance(failure, Failure) else \
        f"{type(failure).__name__}: {failure}"
    lines = reason.strip().splitlines() or ["?"]
    print(f"not ok {name}: {shorten(lines[0], 500)}")
    for line in lines[1:]:
        print(f"    {line}")
    if isinstance(failure, Failure) and (failure.expected, failure.actual) != (None, None):
        print("  expected:", indent(failure.expected), sep="\n")
        print("  actual:", indent(failure.actual), sep="\n")
    frames = [frame for frame in traceback.extract_tb(failure.__traceback__)
              if os.path.basename(frame.filename) != "harness.py"]
    for frame in frames[-3:]:
        print(f"  at {os.path.basename(frame.filename)}:{frame.lineno}: {frame.line}")
    for tracer in context.tracers[-3:]:
        print("  the tracer's log:", indent(tracer.log()), sep="\n")
    for workload in context.workloads:
        if workload.errors():
            print("  the workload's errors:", indent(workload.errors()), sep="\n")


# ------------------------------------------------------------------ checks


def equal(actual, expected, what):
    if actual != expected:
        raise Failure(f"{what}: not as expected", expected, actual)


def check(condition, reason, expected=None, actual=None):
    if not condition:
        raise Failure(reason, expected, actual)


def wait_for(condition, what, deadline=None):
    """Poll, a millisecond apart, until condition() is true; return that and the seconds."""
    started = time.monotonic()
    deadline = DEADLINE if deadline is None else deadline
    while True:
        found = condition()
        took = time.monotonic() - started
        if found:
            return found, took
        if took > deadline:
            raise Failure(f"{what}: not within {deadline:g} s")
        time.sleep(0.001)


def need_command(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise Skip(f"no '{name}' here")
    return path


# ------------------------------------------------------------------ ELF, just enough


Probe = collections.namedtuple("Probe", "name location semaphore")
_probes = {}


def probes_of(path):
    """{name: Probe} of the provider `python`, addresses as linked. Empty if it has none."""
    real = os.path.realpath(path)
    if real not in _probes:
        with open(path, "rb") as stream:  # /proc/PID/root/... may lead where `real` is no path
            _probes[real] = _parse_notes(stream.read())
    return _probes[real]


def _parse_notes(image):
    found = {}
    if image[:5] != b"\x7fELF\x02":
        return found
    word = lambda at, size: int.from_bytes(image[at:at + size], "little")  # noqa: E731
    table, size, count = word(40, 8), word(58, 2), word(60, 2)
    names = word(table + size * word(62, 2) + 24, 8)
    sections = {}
    for number in range(count):
        header = table + size * number
        start = names + word(header, 4)
        name = image[start:image.index(b"\0", start)].decode()
        sections[name] = (word(header + 16, 8), word(header + 24, 8), word(header + 32, 8))
    if ".note.stapsdt" not in sections:
        return found
    base = sections[".stapsdt.base"][0] if ".stapsdt.base" in sections else None
    _, at, length = sections[".note.stapsdt"]
    end = at + length
    while at < end:
        name_size, size = word(at, 4), word(at + 4, 4)
        body = at + 12 + (name_size + 3) // 4 * 4
        location, linked_base, semaphore = (word(body + 8 * n, 8) for n in range(3))
        provider, name = image[body + 24:body + size].split(b"\0")[:2]
        slide = base - linked_base if base is not None else 0
        if provider == b"python":
            found[name.decode()] = Probe(name.decode(), location + slide,
                                         semaphore + slide if semaphore else 0)
        at = body + (size + 3) // 4 * 4
    return found


def load_bias(pid, path):
    """What to add to an address as linked: 0 for an executable that is not PIE."""
    with open(path, "rb") as stream:
        kind = stream.read(20)[16:18]
    if kind == b"\x02\x00":
        return 0
    name = os.path.realpath(path)
    with open(f"/proc/{pid}/maps") as maps:
        starts = [int(line.split("-")[0], 16) for line in maps if line.rstrip().endswith(name)]
    return min(starts)


def semaphores(pid, path):
    """{probe: count} of the entry, return and line semaphores in the memory of a process."""
    bias = load_bias(pid, path)
    counts = {}
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for name in ("function__entry", "function__return", "line"):
            probe = probes_of(path).get(name)
            if probe:
                memory.seek(probe.semaphore + bias)
                counts[name] = int.from_bytes(memory.read(2), "little")
    return counts


def process_state(pid):
    """The letter of /proc/PID/stat; None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def descendants(pid):
    """Pids of the children of a process, theirs and so on."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stream:
                    parents[int(entry)] = int(stream.read().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                pass
    found = []
    todo = [pid]
    while todo:
        parent = todo.pop()
        children = [child for child, its in parents.items() if its == parent]
        found += children
        todo += children
    return found


# ------------------------------------------------------------------ processes


class Lines:
    """What a process writes on a pipe, read by a thread so that it never blocks."""

    def __init__(self, stream):
        self.stream = stream
        self.lines = []
        self.closed = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in iter(self.stream.readline, b""):
            with self.changed:
                self.lines.append(line.decode("utf-8", "backslashreplace"))
                self.changed.notify_all()
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def text(self):
        with self.changed:
            return "".join(self.lines)

    def wait(self, condition, deadline):
        """Wait until condition(lines) is true; False when the stream ended or time is up."""
        with self.changed:
            self.changed.wait_for(lambda: condition(self.lines) or self.closed, deadline)
            return bool(condition(self.lines))


class Process:
    """A child with its standard error kept. Its group is its own, to signal it like a terminal."""

    def __init__(self, command, name, **options):
        self.command, self.name = command, name
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.DEVNULL)
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True,
                                        **options)
        self.pid = self.process.pid
        self.stdout = self.process.stdout
        self.stderr = Lines(self.process.stderr)

    def errors(self):
        return self.stderr.text()

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, status=0, deadline=None):
        """Wait for the end; check the exit status (negative: the signal) unless it is None."""
        deadline = DEADLINE if deadline is None else deadline
        try:
            actual = self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end within {deadline:g} s") from None
        self.stderr.thread.join(DEADLINE)
        if status is not None and actual != status:
            raise Failure(f"{self.name}: exit status {actual} instead of {status}", status, actual)
        return actual

    def running(self):
        return self.process.poll() is None

    def end(self):
        if self.running():
            self.process.kill()
            self.process.wait()


class Workload(Process):
    """A program of tests/workloads that uses stage.py."""

    def __init__(self, context, command, env=None, pass_fds=(), **options):
        ready_read, ready_write = os.pipe()
        go_read, go_write = os.pipe()
        self.result_file = tempfile.TemporaryFile(dir=context.dir)
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1",
                       "PIKOS_TEST_READY": str(ready_write), "PIKOS_TEST_GO": str(go_read),
                       "PIKOS_TEST_RESULT": str(self.result_file.fileno()), **(env or {})}
        environment.pop("PYTHONPATH", None)
        super().__init__(command, "the workload", env=environment, pass_fds=(
                             ready_write, go_read, self.result_file.fileno(), *pass_fds), **options)
        os.close(ready_write)
        os.close(go_read)
        self.go_fd = go_write
        self.announced = Lines(os.fdopen(ready_read, "rb"))
        self.target = None  # its pid as it says itself

    def ready(self, text="ready"):
        """Wait until it announced `text`; return the pid of who did."""
        wanted = re.compile(rf"(\d+) {re.escape(text)}\n")
        if not self.announced.wait(lambda lines: any(map(wanted.fullmatch, lines)), DEADLINE):
            self.process.poll()
            raise Failure(f"the workload did not announce '{text}' "
                          f"(exit status {self.process.returncode})")
        found = [match for match in map(wanted.fullmatch, self.announced.lines) if match]
        pid = int(found[-1].group(1))
        self.target = self.target or pid
        return pid

    def go(self, times=1):
        os.write(self.go_fd, b"g" * times)

    def result(self, deadline=None):
        self.wait(0, deadline)
        return self.peek()

    def peek(self):
        self.result_file.seek(0)
        return pickle.load(self.result_file)

    def end(self):
        if self.target and self.target != self.pid and self.running():
            try:
                os.kill(self.target, signal.SIGKILL)
            except ProcessLookupError:
                pass
        super().end()
        os.close(self.go_fd)
        self.result_file.close()


class Tracer(Process):
    def log(self):
        return f"$ {' '.join(map(str, self.command))}\n{self.errors()}" \
               f"(exit status {self.process.poll()})"

    def attached(self, count=1):
        """Wait until it said that every probe is in place, for `count` processes."""
        said = lambda lines: sum(": tracing " in line for line in lines) >= count  # noqa: E731
        if not self.stderr.wait(said, DEADLINE):
            raise Failure("the tracer did not say that it is tracing")
        return self

    def summary(self):
        """{seen, written, filtered, lost} from its last line, after its end; checks the sum."""
        found = [re.search(r"seen=(\d+) written=(\d+) filtered=(\d+) lost=(\d+)", line)
                 for line in self.errors().splitlines()]
        hits = [match for match in found if match]
        check(len(hits) == 1, f"{len(hits)} lines with seen=... instead of one")
        check(found[-1], "the line seen=... is not the last one")
        counts = dict(zip(("seen", "written", "filtered", "lost"), map(int, hits[0].groups())))
        equal(counts["written"] + counts["filtered"] + counts["lost"], counts["seen"],
              f"written + filtered + lost of {counts}")
        return counts


class Context:
    """What a test is given: its directory, and ways to start processes that end with it."""

    def __init__(self, name, python):
        self.name, self.python = name, python
        self.tracers, self.workloads, self.notes = [], [], []
        self._cleanups = []
        self.dir = None

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="pikos-e2e-")
        os.chmod(self.dir, 0o755)  # programs of other users look into it
        return self

    def __exit__(self, *failure):
        for process in self.tracers + self.workloads:
            process.end()
        for cleanup in reversed(self._cleanups):
            cleanup()
        shutil.rmtree(self.dir, ignore_errors=True)

    def cleanup(self, function):
        self._cleanups.append(function)

    def note(self, text):
        """Something measured, printed behind `ok NAME`."""
        self.notes.append(text)

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text, mode=0o644):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(path, mode)
        return path

    def environment(self, **extra):
        """For programs that the tracer itself starts."""
        return {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1",
                "PIKOS_PYTHON": self.python, **extra}

    @property
    def program(self):
        path = os.environ.get("PIKOS_TRACE", os.path.join(ROOT, "build", "pikos-trace"))
        if not os.access(path, os.X_OK):
            raise Failure(f"cannot run '{path}': not built")
        return os.path.realpath(path)

    def workload(self, script, *arguments, python=None, **options):
        """Start a workload; script is a name in tests/workloads or a path."""
        path = script if os.path.isabs(script) else os.path.join(WORKLOADS, script)
        return self.start([python or self.python, path, *arguments], **options)

    def start(self, command, **options):
        workload = Workload(self, command, **options)
        self.workloads.append(workload)
        return workload

    def trace(self, *arguments, program=None, prefix=(), **options):
        """Start the tracer with -v and these arguments."""
        program = program or self.program
        options.setdefault("env", self.environment())
        tracer = Tracer([*prefix, program, *map(str, arguments)], os.path.basename(program),
                        **options)
        self.tracers.append(tracer)
        return tracer

    def run(self, *arguments, status=0, deadline=None, **options):
        """Run the tracer to its end; return it with what it wrote on stdout as .output."""
        options.setdefault("stdout", subprocess.PIPE)
        tracer = self.trace(*arguments, **options)
        reader = None
        if tracer.stdout:
            reader = Lines(tracer.stdout)
        tracer.wait(status, deadline)
        if reader:
            reader.thread.join(DEADLINE)
            tracer.output = reader.text()
        return tracer

    def pikos_run(self, *arguments, **options):
        program = os.path.join(os.path.dirname(self.program), "pikos-run")
        return self.run(*arguments, program=program, **options)

    def attach(self, monitor, workload, *arguments, output="records.csv", **options):
        """Attach to a workload that waits; return the tracer once it is attached."""
        target = workload.ready()
        more = () if output is None else ("-o", self.path(output))
        tracer = self.trace(monitor, "-v", *more, *arguments, "-p", target, **options)
        return tracer.attached()

    def record(self, monitor, workload, *arguments, status=0, deadline=None, **options):
        """Attach, let the workload go, wait for both ends; return the tracer."""
        tracer = self.attach(monitor, workload, *arguments, **options)
        workload.go()
        workload.wait(0, deadline)
        tracer.wait(status, deadline)
        return tracer

    def check_quiet(self):
        """Whatever a test does, no tracer may have died of a bug of its own."""
        for tracer in self.tracers:
            code = tracer.process.poll()
            if code is not None and -code in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS,
                                              signal.SIGFPE, signal.SIGILL):
                raise Failure(f"the tracer crashed: signal {-code}")
            if "Sanitizer" in tracer.errors():
                raise Failure("a sanitizer complained")


def is_mode(path, mode):
    return stat.S_IMODE(os.stat(path).st_mode) == mode
