# SPDX-License-Identifier: BSD-3-Clause
"""The records are the sequence that the interpreter's own tracing reports, case by case."""

import os
import re
import shutil
import subprocess
import tempfile

import harness
from harness import Failure, Skip, add_test, check, equal, test
from records import (Event, by_thread, cut, events, is_lost, oracle_events, read_csv, same,
                     same_lines, same_without_throws)

CASES = """classes init_storm dataclass generators recursion exceptions asyncio exec lambdas
comprehensions genexprs contextmanager lru_cache names_non_ascii names_long names_hostile exec_storm
name_storm deep threads json re text ast argparse email decimal unittest logging""".split()

# Where another kernel could make a difference: every kind of event, id, string and thread once.
VM_CASES = {
    "functions": "classes exceptions names_long name_storm threads".split(),
    "lines": "classes generators".split(),
    "3.15": "generators".split(),
}

# The events of these are in threads of their own, between markers of their own.
THREADED = {"threads": [f"_{number}" for number in range(4)], "deep": ["_deep"]}

# Losing nothing is the subject of other tests; a small VM has less to give.
BIG = ("--buffer-size", "64M" if os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") > 3 << 30
       else "16M")


def oracle(context, mode, case, **options):
    workload = context.workload("drive.py", mode, case, **options)
    workload.ready()
    workload.go()
    return workload.result()


def sections(sequences, case):
    """{marker suffix: events between its markers} of {thread: events}."""
    found = {}
    for suffix in ["", *THREADED.get(case, [])]:
        begin, end = "begin_marker" + suffix, "end_marker" + suffix
        owner = [sequence for sequence in sequences.values()
                 if any(event.function == begin for event in sequence)]
        check(len(owner) == 1, f"{len(owner)} threads ran {begin}")
        found[suffix] = cut(owner[0], begin, end)
    return found


def oracle_sections(result, case):
    threads = {}
    for thread, event in zip(result, oracle_events(result)):
        threads.setdefault(thread[0], []).append(event)
    return sections(threads, case)


def recorded_sections(path, monitor, case):
    threaded = case in THREADED
    rows = read_csv(path, monitor, ("pid", "tid") if threaded else ())
    lost = [row for row in rows if is_lost(row)]
    check(not lost, f"lost events although the buffer is big: {lost[:3]}")
    equal([row["index"] for row in rows], list(range(len(rows))), "the column index")
    threads = by_thread(rows) if threaded else {None: rows}
    return sections({key: events(its, monitor) for key, its in threads.items()}, case)


def compare(context, monitor, case, **options):
    mode = "lines" if monitor.startswith("line") else "functions"
    expected = oracle_sections(oracle(context, mode, case, **options), case)
    fields = ("--fields", "+pid,+tid") if case in THREADED else ()
    workload = context.workload("drive.py", "plain", case, **options)
    tracer = context.record(monitor, workload, *BIG, *fields)
    summary = tracer.summary()
    equal(summary["lost"], 0, "events lost")
    actual = recorded_sections(context.path("records.csv"), monitor, case)
    for suffix, sequence in expected.items():
        if not sequence and suffix == "" and case in THREADED:
            continue
        what = f"{case}{suffix}"
        if mode == "lines":
            same_lines(actual[suffix], sequence, what)
        elif "line" in harness.probes_of(context.python):
            same(actual[suffix], sequence, what)
        else:  # CPython 3.15
            same_without_throws(actual[suffix], sequence, what)
    context.note(f"{sum(map(len, expected.values()))} events")


for _case in CASES:
    add_test(f"oracle_functions_{_case}",
             lambda context, case=_case: compare(context, "functions", case),
             vm=_case in VM_CASES["functions"])
    add_test(f"oracle_lines_{_case}",
             lambda context, case=_case: compare(context, "lines", case),
             vm=_case in VM_CASES["lines"], lines=True)


@test(lines=True)
def test_lines_source_text(context):
    """The column `line` is the source with its indentation, or says that there is none."""
    import linecache

    for case in ("exec", "recursion", "names_non_ascii"):
        workload = context.workload("drive.py", "plain", case)
        context.record("lines", workload, *BIG)
        rows = read_csv(context.path("records.csv"), "lines")
        check(rows, "no records")
        for row in rows:
            text = linecache.getline(row["filename"], row["lineNo"]).rstrip() \
                if row["filename"].startswith("/") else ""
            if not text and row["filename"].startswith("/") and os.path.exists(row["filename"]):
                continue  # past the end or an empty line of a file that is there
            equal(row["line"], text or "<compiled string>",
                  f"the source of {row['filename']}:{row['lineNo']}")


# ------------------------------------------------------------------ the harness itself


@test()
def test_oracle_is_deterministic(context):
    """Two runs under the oracle agree: else comparing with it would prove nothing."""
    for case in ("generators", "asyncio", "unittest", "logging", "threads"):
        for mode in ("functions", "lines"):
            first, second = (oracle_sections(oracle(context, mode, case), case) for _ in range(2))
            check(any(first.values()), f"{case}: the oracle saw nothing")
            for suffix in first:
                if first[suffix]:
                    same(second[suffix], first[suffix], f"{case}{suffix} under {mode}")


@test()
def test_oracle_refuses_wrong_recordings(context):
    """A missing, an extra, a swapped and a renamed event each fail the comparison."""
    result = oracle(context, "functions", "generators")
    right = oracle_sections(result, "generators")[""]
    same(list(right), right)
    middle = len(right) // 2
    wrongs = {
        "missing": right[:middle] + right[middle + 1:],
        "extra": right[:middle] + [right[middle]] + right[middle:],
        "renamed": [*right[:-1], right[-1]._replace(function="x")],
        "line": [right[0]._replace(line=right[0].line + 1), *right[1:]],
        "truncated": right[:-1],
        "empty": [],
    }
    at = next(n for n in range(len(right) - 1) if right[n] != right[n + 1])
    wrongs["swapped"] = right[:at] + [right[at + 1], right[at]] + right[at + 2:]
    lines = oracle_sections(oracle(context, "lines", "generators"), "generators")[""]
    plain = [event._replace(kind="line") for event in lines if event.kind != "resume"]
    same_lines(plain, lines)
    line_wrongs = {"missing": plain[:9] + plain[10:], "truncated": plain[:-1], "empty": [],
                   "extra": plain + [Event("line", "f", 1, "f")]}
    exact = oracle_sections(oracle(context, "lines", "classes"), "classes")[""]
    exact_plain = [event._replace(kind="line") for event in exact]
    without = [event for event, wanted in zip(exact_plain, exact) if wanted.kind != "first"]
    same_lines(exact_plain, exact)
    same_lines(without, exact)
    check(len(without) < len(exact), "no first line that the probe does not see")
    at = next(n for n, event in enumerate(exact) if event.kind == "first")
    exact_wrongs = {"first line missing": exact_plain[:at] + exact_plain[at + 1:],
                    "line missing": without[:9] + without[10:], "truncated": without[:-1]}
    for compare_with, sequence, cases in ((same, right, wrongs), (same_lines, lines, line_wrongs),
                                          (same_lines, exact, exact_wrongs)):
        for name, wrong in cases.items():
            try:
                compare_with(wrong, sequence)
            except Failure:
                continue
            raise Failure(f"{compare_with.__name__} took a recording with one {name}")


# ------------------------------------------------------------------ other interpreters


class Chroot:
    """A chroot of scripts/pythons with our workloads copied into it."""

    def __init__(self, context, suite="sid", version="3.15"):
        self.suite = suite
        self.root = os.path.join(harness.ROOT, "build", "pythons", suite)
        ready = os.path.join(self.root, ".ready")
        if not os.path.exists(ready):
            raise Skip(f"no chroot of {suite} (scripts/pythons {suite})")
        with open(ready) as stream:
            pythons = [line.strip() for line in stream if line.strip().endswith(version)]
        if not pythons:
            raise Skip(f"no CPython {version} in the chroot of {suite}")
        self.python = "/" + pythons[0]
        self.outside = os.path.join(self.root, pythons[0])
        self.dir = tempfile.mkdtemp(prefix="pikos-e2e-", dir=os.path.join(self.root, "tmp"))
        context.cleanup(lambda: shutil.rmtree(self.dir, ignore_errors=True))
        os.chmod(self.dir, 0o755)
        for name in os.listdir(harness.WORKLOADS):
            if name.endswith(".py"):
                shutil.copy(os.path.join(harness.WORKLOADS, name), self.dir)
        self.inside = os.path.join("/tmp", os.path.basename(self.dir))

    def command(self, script, *arguments):
        return [os.path.join(harness.ROOT, "scripts", "pythons"), "--run", self.suite, self.python,
                f"{self.inside}/{script}", *arguments]


def compare_in_chroot(context, case):
    chroot = Chroot(context)
    workload = context.start(chroot.command("drive.py", "functions", case))
    workload.ready()
    workload.go()
    expected = oracle_sections(workload.result(), case)
    fields = ("--fields", "+pid,+tid") if case in THREADED else ()
    workload = context.start(chroot.command("drive.py", "plain", case))
    tracer = context.record("functions", workload, *BIG, *fields)
    equal(tracer.summary()["lost"], 0, "events lost")
    actual = recorded_sections(context.path("records.csv"), "functions", case)
    totals = [0, 0, 0]
    for suffix, sequence in expected.items():
        if sequence or suffix or case not in THREADED:
            found = same_without_throws(actual[suffix], sequence, f"{case}{suffix} on 3.15")
            totals = [a + b for a, b in zip(totals, found)]
    context.note(f"{sum(map(len, expected.values()))} events")
    if any(totals):
        context.note("its own probes: %d entries without a line, %d throws and %d closes without "
                     "an entry" % tuple(totals))


for _case in CASES:
    add_test(f"oracle_3_15_functions_{_case}",
             lambda context, case=_case: compare_in_chroot(context, case),
             vm=_case in VM_CASES["3.15"])


@test()
def test_3_15_lines_refused(context):
    """No line probe: refused by the probe's name and the version, before the target notices."""
    chroot = Chroot(context)
    for monitor in ("lines", "line_memory"):
        workload = context.start(chroot.command("drive.py", "plain", "recursion"))
        target = workload.ready()
        tracer = context.run(monitor, "-v", "-o", context.path("refused.csv"), "-p", target,
                             status=1)
        text = tracer.errors()
        check(re.search(r"pikos-trace: cannot .*", text), "no line of the form of SPEC 8",
              actual=text)
        check("line" in text and "3.15" in text, "probe and version are not named", actual=text)
        workload.go()
        workload.wait(0)


@test()
def test_3_14_refused(context):
    """3.12 to 3.14 have no function probes even where built with dtrace."""
    chroot = Chroot(context, version="3.14")
    workload = context.start(chroot.command("drive.py", "plain", "recursion"))
    target = workload.ready()
    tracer = context.run("functions", "-o", context.path("refused.csv"), "-p", target, status=1)
    check("function__entry" in tracer.errors() and "3.14" in tracer.errors(),
          "probe and version are not named", actual=tracer.errors())
    workload.go()
    workload.wait(0)


@test(vm=True)
def test_focus_in_chroot(context):
    """A focus on a file is resolved inside the target's root."""
    chroot = Chroot(context)
    workload = context.start(chroot.command("drive.py", "plain", "recursion"))
    context.record("functions", workload, *BIG, "--focused-on",
                   f"{chroot.inside}/cases.py:gcd")
    rows = read_csv(context.path("records.csv"), "functions")
    equal({row["function"] for row in rows}, {"gcd"}, "the functions recorded")
    equal({row["filename"] for row in rows}, {f"{chroot.inside}/cases.py"}, "the files recorded")


EMBED = r"""
#include <Python.h>

int main(int argc, char **argv)
{
	return Py_BytesMain(argc, argv);
}
"""


@test()
def test_oracle_embedded(context):
    """A C program linked with libpython: the probes are in the shared library."""
    compiler = harness.need_command("gcc")
    version = re.search(r"3\.\d+", os.path.basename(os.path.realpath(context.python)))
    version = version.group() if version else "3.11"
    library = f"/usr/lib/x86_64-linux-gnu/libpython{version}.so"
    include = f"/usr/include/python{version}"
    if not os.path.exists(library) or not os.path.exists(include + "/Python.h"):
        raise Skip(f"no libpython{version}-dev here")
    if "function__entry" not in harness.probes_of(library):
        raise Skip(f"{library} has no probes")
    source = context.write("embed.c", EMBED)
    program = context.path("embed")
    subprocess.run([compiler, "-I" + include, "-o", program, source, library], check=True)
    for case in ("generators", "recursion"):
        expected = oracle_sections(oracle(context, "functions", case, python=program), case)[""]
        workload = context.workload("drive.py", "plain", case, python=program)
        context.record("functions", workload, *BIG)
        same(recorded_sections(context.path("records.csv"), "functions", case)[""], expected,
             f"{case}, embedded")
    workload = context.workload("drive.py", "plain", "recursion", python=program)
    context.record("lines", workload, *BIG)
    expected = oracle_sections(oracle(context, "lines", "recursion", python=program), "recursion")
    same(recorded_sections(context.path("records.csv"), "lines", "recursion")[""],
         [event._replace(kind="line") for event in expected[""]], "lines, embedded")


@test(vm=True)
def test_attach_in_the_middle(context):
    """Functions entered before attaching give their returns."""
    script = context.write("middle.py", """
import sys
sys.path.insert(0, %r)
import stage

def inner():
    stage.ready()
    stage.wait_go()

def outer():
    inner()

outer()
""" % harness.WORKLOADS)
    workload = context.workload(script)
    context.record("functions", workload)
    rows = [event[:2] for event in events(read_csv(context.path("records.csv"), "functions"))]
    equal(rows[:4], [("return", "wait_go"), ("return", "inner"), ("return", "outer"),
                     ("return", "<module>")], "the first records")


@test()
def test_repeated_attach(context):
    """Attaching again and again to one process records the same function each time."""
    script = context.write("again.py", """
import sys
sys.path.insert(0, %r)
import stage

def step():
    pass

for number in range(6):
    stage.ready("step%%d" %% number)
    stage.wait_go()
    step()
""" % harness.WORKLOADS)
    workload = context.workload(script)
    for number in range(6):
        target = workload.ready(f"step{number}")
        tracer = context.trace("functions", "-v", "-o", context.path("a.csv"), "-p", target)
        tracer.attached()
        workload.go()
        if number < 5:
            workload.ready(f"step{number + 1}")
            tracer.signal(harness.signal.SIGINT)
        tracer.wait(0)
        rows = read_csv(context.path("a.csv"), "functions")
        equal([row["type"] for row in rows if row["function"] == "step"], ["call", "return"],
              f"the calls of step() at attach number {number}")
    workload.wait(0)
