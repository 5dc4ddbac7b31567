# SPDX-License-Identifier: BSD-3-Clause
"""Regions: the module for programs, --regions in another terminal, the header for C."""

import os
import shutil
import subprocess

import harness
import interpreters
from harness import ROOT, Skip, check, equal, test
from records import events, read_csv

MODULE = os.path.join(ROOT, "probes", "python")
HEADER = os.path.join(ROOT, "user")
LIBRARY = "libpikos-agent.so"
PLAIN = ("--source", "agent", "--no-c-calls")


def agent(context):
    path = os.path.join(os.path.dirname(context.program), LIBRARY)
    check(os.path.exists(path), f"no {path}: not built")
    return path


def marking(context, **more):
    """The environment of a program that may not start a tracer, but mark its regions."""
    return {"PIKOS_MODULE": MODULE, "PIKOS_TRACE": "/nonexistent", "PIKOS_AGENT": agent(context),
            **more}


def tree(*calls):
    """Nested names, as ("work", "inside", "inside"), as calls and returns."""
    flat = []
    for each in calls:
        name, *inner = (each,) if isinstance(each, str) else each
        flat += [("call", name), *tree(*inner), ("return", name)]
    return flat


FUNCTIONS = tree(
    ("work", "inside", "inside"),
    ("recursive", "inside", ("recursive", "inside")),
    ("raises", "inside"),
    ("numbers", "inside"), ("numbers", "inside"), ("numbers", "inside"),
    ("waits", "inside", "__await__"), ("waits", "__await__", "inside"),
    ("stream", "inside"), ("stream", "inside"), "stream",
    ("method", "inside"), ("static", "inside"), ("made", "inside"))
BLOCKS = tree("inside", "inside", "inside", "inside", "inside", "inside")
THREADS = tree("inside", "inside", "inside")


LOOP = ["        for _ in range(2):", "            number += inside()", "    return 1"]
LINES = ["        number = 1", *LOOP, *LOOP, LOOP[0], "        return number",
         "        number = 3", "        number += 1", "    with monitor:"]


def names(rows):
    return [(event.kind, event.function) for event in events(rows)]


def recorded(context, name="records.csv"):
    return names(read_csv(context.path(name), "functions"))


def same(actual, expected, what):
    """Shorter than two whole lists: from the first difference on."""
    at = next((i for i, pair in enumerate(zip(actual, expected)) if pair[0] != pair[1]),
              min(len(actual), len(expected)))
    check(actual == expected, f"{what}: differs from number {at} on", expected[at:at + 12],
          actual[at:at + 12])


# ------------------------------------------------------------------ marked, another terminal


@test(vm=True)
def test_regions_functions(context):
    """By the interpreter's own probes."""
    workload = context.workload("regions.py", "python", env=marking(context))
    tracer = context.record("functions", workload, "--regions")
    same(recorded(context), FUNCTIONS + BLOCKS + THREADS, "records of regions")
    equal(tracer.summary()["seen"], len(FUNCTIONS + BLOCKS + THREADS), "seen counts regions only")


@test(lines=True)
def test_regions_lines(context):
    workload = context.workload("regions.py", "lines", env=marking(context))
    context.record("lines", workload, "--regions")
    rows = read_csv(context.path("records.csv"), "lines")
    same([row["line"] for row in rows], LINES, "lines of regions")


@test()
def test_regions_attached_inside(context):
    """A thread that is inside when the tracer comes counts from its next entry."""
    workload = context.workload("regions.py", "late", env=marking(context))
    context.record("functions", workload, "--regions")
    same(recorded(context), tree("inside", "inside"), "records")


@test()
def test_regions_twice(context):
    """A region that was entered for one tracer and left after it is no region of the next."""
    script = context.write("twice.py", f"""
import sys
sys.path[:0] = [{MODULE!r}, {harness.WORKLOADS!r}]
import pikos, stage
monitor = pikos.monitor_functions()

def inside(): pass
def outside(): pass

stage.ready()
stage.wait_go()
monitor.enable()
inside()
stage.ready("one")
stage.wait_go()
monitor.disable()
outside()
stage.ready("two")
stage.wait_go()
outside()
with monitor:
    inside()
outside()
""")
    for source in ([], PLAIN):
        workload = context.workload(script, env=marking(context))
        tracer = context.attach("functions", workload, "--regions", *source)
        workload.go()
        workload.ready("one")
        tracer.signal(2)
        tracer.wait()
        same(recorded(context)[:2], tree("inside"), "records of the first")
        workload.go()
        workload.ready("two")
        tracer = context.trace("functions", "-v", "--regions", "-o", context.path("two.csv"),
                               *source, "-p", workload.target).attached()
        workload.go()
        workload.wait()
        tracer.wait()
        same(names(read_csv(context.path("two.csv"), "functions")), tree("inside"),
             "records of the second")


@test()
def test_regions_focus(context):
    """A focus counts inside of the region, and ends with it."""
    script = context.write("focus.py", f"""
import sys
sys.path[:0] = [{MODULE!r}, {harness.WORKLOADS!r}]
import pikos, stage
monitor = pikos.monitor_functions()

def leaf(): pass

def chosen():
    leaf()

def opens():
    leaf()
    monitor.enable()
    chosen()
    leaf()

def chosen_open():
    monitor.disable()
    leaf()

@monitor
def work():
    leaf()
    chosen()
    leaf()

stage.ready()
stage.wait_go()
chosen()
work()
opens()
chosen_open()
monitor.enable()
leaf()
monitor.disable()
work()
""")
    expected = tree(("chosen", "leaf"), ("chosen", "leaf")) + [("call", "chosen_open")] + \
        tree(("chosen", "leaf"))
    for source in ([], PLAIN):
        workload = context.workload(script, env=marking(context))
        context.record("functions", workload, "--regions", "--focused-on", "chosen,chosen_open",
                       *source)
        same(recorded(context), expected, f"records {source}")


@test()
def test_regions_fork(context):
    for source in ([], PLAIN):
        workload = context.workload("regions.py", "fork", env=marking(context))
        context.record("functions", workload, "--regions", "--filter", "function=inside,outside",
                       *source)
        same(recorded(context), tree("inside"), f"records {source}")


@test()
def test_regions_run_mode(context):
    """The library is loaded long after the tracer came."""
    script = context.write("run.py", f"""
import sys
sys.path.insert(0, {MODULE!r})
import pikos

def inside(): return sorted([2, 1], key=lambda x: x)
def outside(): pass

outside()
pikos.monitor_functions()(inside)()
outside()
""")
    environment = context.environment(**marking(context))
    inside = tree(("inside", "<lambda>", "<lambda>"))
    calls = [inside[0], ("c_call", "sorted"), *inside[1:-1], ("c_return", "sorted"), inside[-1]]
    for source, expected in (["usdt", inside], ["agent", calls]):
        context.run("functions", "--regions", "-v", "--source", source, "-o",
                    context.path("records.csv"), "--", context.python, script, env=environment)
        same(recorded(context), expected, f"records of {source}")


@test()
def test_regions_of_nobody(context):
    """Neither in the program nor in a library of ours."""
    workload = context.workload("busy.py", "1")
    pid = workload.ready()
    tracer = context.run("functions", "--regions", "-p", pid, status=1,
                         env=context.environment(PIKOS_AGENT="/nonexistent"))
    check("it marks no regions" in tracer.errors(), "not refused so", actual=tracer.errors())
    workload.go()


# ------------------------------------------------------------------ the agent


def of_interpreter(context, its):
    place, outside = its.place(context)
    files = context.dir
    if its.suite:
        files = outside
        for name in (agent(context), os.path.join(MODULE, "pikos.py")):
            shutil.copy(name, outside)
    else:
        shutil.copy(agent(context), files)
        shutil.copy(os.path.join(MODULE, "pikos.py"), files)
    here = its.inside(files)
    for mode, monitor in (("python", "functions"), ("lines", "lines")):
        workload = context.start(
            its.command(os.path.join(place, "regions.py"), mode),
            env={"PIKOS_MODULE": here, "PIKOS_TRACE": "/nonexistent",
                 "PIKOS_AGENT": os.path.join(here, LIBRARY)})
        context.record(monitor, workload, "--regions", "--source", "agent",
                       *(["--no-c-calls"] if monitor == "functions" else []))
        if monitor == "functions":
            same(recorded(context), FUNCTIONS + BLOCKS + THREADS, f"records of {its.name}")
        else:
            rows = read_csv(context.path("records.csv"), "lines")
            # The end of a `with` is a line of its own since 3.10.
            same([row["line"] for row in rows],
                 LINES[:-1] if its.version < (3, 10) else LINES, f"lines of {its.name}")


for _its in interpreters.known():
    harness.add_test(f"regions_agent_{_its.label}",
                     lambda context, its=_its: of_interpreter(context, its))


# ------------------------------------------------------------------ C


@test()
def test_regions_c(context):
    """A library with the header, in a process without the agent and with it."""
    compiler = harness.need_command("cc")
    source = context.write("regions.c", """
#include "pikos_regions.h"
void enter(void) { pikos_region_enter(); }
void leave(void) { pikos_region_leave(); }
""")
    library = context.path("regions.so")
    subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC",
                    "-I", HEADER, "-o", library, source], check=True)
    for command in (["cc", "-std=c99", "-pedantic"], ["clang", "-Weverything"], ["c++", "-xc++"]):
        if shutil.which(command[0]):
            subprocess.run([*command, "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
                            *(["-Wno-language-extension-token", "-Wno-unused-macros",
                               "-Wno-missing-prototypes"] if command[0] == "clang" else []),
                            "-I", HEADER, source], check=True)
    for source in ([], PLAIN):
        workload = context.workload("regions.py", "C", library, env={"PIKOS_AGENT": "/nonexistent"})
        context.record("functions", workload, "--regions", "--filter", "function=inside,outside",
                       *source)
        same(recorded(context), tree("inside", "inside", "inside"), f"records {source}")


# ------------------------------------------------------------------ the module's own tracer


def run_script(context, text, python=None, status=0, **environment):
    """Run a program that may start a tracer; return what it wrote."""
    script = context.write("script.py", f"import sys\nsys.path.insert(0, {MODULE!r})\n" + text)
    done = subprocess.run(
        [python or context.python, script], cwd=context.dir, timeout=harness.DEADLINE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PIKOS_TRACE": context.program, "PYTHONDONTWRITEBYTECODE": "1",
             **environment})
    equal(done.returncode, status, f"exit status; it said: {done.stderr}")
    return done


DRIVES = """
import os, pikos

def inside(): return len("x")
def outside(): pass

def rows(name):
    with open(name) as stream:
        return sum(1 for _ in stream) - 1

block = pikos.monitor_functions(recorder=pikos.csvfile("block.csv"))
work = pikos.monitor_functions(recorder=pikos.csvfile("work.csv"))

@work
def decorated():
    inside()

assert pikos.state().startswith("will be recorded"), pikos.state()
outside()
with block:
    inside()
    with block:
        inside()
    inside()
outside()
assert rows("block.csv") == 12, rows("block.csv")
assert block.totals == {"seen": 12, "written": 12, "filtered": 0, "lost": 0}, block.totals
decorated()
outside()
decorated()
assert pikos.state().startswith("recording by"), pikos.state()
with block:
    inside()
    decorated()  # the second one inside of the first is none
assert rows("block.csv") == 22, rows("block.csv")
decorated()
"""


@test()
def test_regions_drive(context):
    """As root, in the order of the module's documentation; complete after each block and exit."""
    its = interpreters.newest()
    done = run_script(context, DRIVES, its.path)
    equal(done.stderr, "pikos: a second monitor records nothing while the first is inside of a "
          "region\n", "standard error")
    call = [("call", "inside"), ("c_call", "len"), ("c_return", "len"), ("return", "inside")]
    rows = read_csv(context.path("block.csv"), "functions")
    inner = [("call", "decorated"), *call, ("return", "decorated")]
    same(names(rows), call * 4 + inner, "records of the blocks")
    equal([row["index"] for row in rows], [*range(12), *range(10)], "indices of two runs")
    rows = read_csv(context.path("work.csv"), "functions")
    same(names(rows), inner * 3, "records of the decorated")
    equal([row["index"] for row in rows], [*range(12), *range(6)], "indices of two runs")
    check(harness.is_mode(context.path("work.csv"), 0o600), "not the mode of output files")


@test()
def test_regions_drive_all(context):
    """Each monitor, recorder and focus that pikos-trace is asked for."""
    done = run_script(context, """
import pikos

def gcd(a, b):
    return gcd(b, a % b) if b else a

def noise(): pass

def work():
    noise()
    gcd(4, 2)
    noise()

for make, recorder in [(pikos.monitor_functions, pikos.textfile("functions.log")),
                       (pikos.monitor_lines, pikos.csvfile("lines.csv")),
                       (pikos.memory_on_functions, pikos.csvfile("function_memory.csv")),
                       (pikos.memory_on_lines, pikos.textfile("line_memory.log"))]:
    with make(recorder=recorder, focus_on=[gcd], options=["--no-c-calls"]
              if "functions" in make.__name__ else []):
        work()

print("before", end=" ")
@pikos.monitor_functions(recorder=pikos.screen(), focus_on=[noise], include_decorated=True,
                         options=["--no-c-calls", "--plain"])
def decorated():
    noise()
decorated()
""")
    equal(done.stderr, "", "standard error")
    equal(done.stdout.splitlines()[0].split()[:2], ["before", "index"], "standard output")
    gcd = tree(("gcd", "gcd"))
    with open(context.path("functions.log")) as stream:
        same([tuple(line.split()[1:3]) for line in stream][2:], gcd, "text")
    rows = read_csv(context.path("function_memory.csv"), "function_memory")
    same(names(rows), gcd, "functions with memory")
    check(all(row["RSS"] > 0 for row in rows), "no RSS")
    for name in ("lines.csv", "line_memory.log"):
        with open(context.path(name)) as stream:
            equal(sum("return gcd(b, a % b)" in line for line in stream), 2, f"lines in {name}")


@test()
def test_regions_drive_nothing(context):
    """Where a tracer cannot run the program does, and one line says why."""
    text = """
import pikos
@pikos.monitor_functions
def work(number):
    return number
assert [work(i) for i in range(3)] == [0, 1, 2]
with pikos.monitor_lines():
    pass
print(pikos.state())
"""
    done = run_script(context, text, PIKOS_TRACE="/bin/false")
    equal(done.stdout.split(":")[0].split(",")[0], "nothing", "state without a library")
    equal(done.stderr, "", "standard error without a library")
    done = run_script(context, text, PIKOS_TRACE="/bin/false", PIKOS_AGENT=agent(context))
    equal(done.stdout.split(",")[0], "marked", "state after a tracer that failed")
    gone = context.write("gone", "#!/bin/false\n", 0o755)
    done = run_script(context, "import os\n" + text.replace(
        "assert", f"os.unlink({gone!r})\nassert", 1), PIKOS_TRACE=gone, PIKOS_AGENT=agent(context))
    equal(done.stderr, "pikos: cannot record: pikos-trace is gone\n", "without pikos-trace")
    wrong = run_script(context, text.replace("monitor_functions",
                                             "monitor_functions(options=['--bad'])"),
                       PIKOS_AGENT=agent(context))
    equal(wrong.stderr.splitlines()[0][:len("pikos: pikos-trace: ")], "pikos: pikos-trace: ",
          "what is said of a refusal")


@test()
def test_regions_drive_processes(context):
    """Processes that multiprocessing starts run the same code, and leave the file alone."""
    text = """
import multiprocessing, pikos

@pikos.monitor_functions(recorder=pikos.csvfile("calls.csv"), options=["--no-c-calls"])
def inside(number):
    return number

def other(number):
    return inside(number)

if __name__ == "__main__":
    inside(1)
    for method in "spawn", "fork":
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.map(other, [2]) == [2]
    inside(3)
"""
    done = run_script(context, text)
    equal(done.stderr, f"pikos: cannot record: another process writes "
          f"'{context.path('calls.csv')}'\n", "standard error")
    same(recorded(context, "calls.csv"), tree("inside", "inside"), "records of the first process")


@test()
def test_regions_drive_ended(context):
    """A pikos-trace that ends before its region does, as it was told to or by a kill -9."""
    done = run_script(context, """
import os, pikos

def inside(): pass

def recorder(name):
    return pikos.monitor_functions(recorder=pikos.csvfile(name),
                                   options=["--max-records", "2", "--no-c-calls"])

two = recorder("two.csv")
two_decorates = two(inside)
two_decorates()
pikos._tracer.process.wait()
for _ in range(3):
    two_decorates()
assert two.totals["written"] == 2, two.totals
killed = recorder("killed.csv")
with killed:
    pikos._tracer.process.kill()
    pikos._tracer.process.wait()
    inside()
assert killed.totals is None
with recorder("after.csv") as after:
    inside()
assert after.totals["written"] == 2, after.totals
""")
    equal(done.stderr, "", "standard error")
    for name in ("two.csv", "after.csv"):
        same(names(read_csv(context.path(name), "functions")), tree("inside"), name)


@test()
def test_regions_module(context):
    """What the wrappers do to functions, under every interpreter, without a tracer."""
    known = interpreters.known()
    if not known:
        raise Skip("no CPython 3.9 or later")
    for its in known:
        place = its.scratch(context)
        for name in (os.path.join(MODULE, "pikos.py"),
                     os.path.join(harness.WORKLOADS, "regions_module.py")):
            shutil.copy(name, place)
        done = subprocess.run(its.command(its.inside(os.path.join(place, "regions_module.py"))),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=harness.DEADLINE)
        equal((done.returncode, done.stdout.splitlines()[-1:]), (0, ["all passed"]),
              f"{its.name}:\n{done.stdout}")
    context.note(f"{len(known)} interpreters")
