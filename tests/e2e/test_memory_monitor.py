# SPDX-License-Identifier: BSD-3-Clause
"""The monitor `memory` against what a program has done, and against /proc."""

import collections
import mmap
import os
import re
import signal
import subprocess

import interpreters
from harness import SLOW, WORKLOADS, Skip, add_test, check, equal, need_command, test, wait_for
from records import FIELDS, read_csv
from test_memory import kernel_version, need_exact_statm

PAGE = mmap.PAGESIZE
CALLS = {"mmap", "munmap", "mremap", "brk", "madvise"}
FAULTS = {"anon", "file", "shmem", "swap"}
# What the call of a C function may have touched by itself, at the same line: fresh objects.
OWN = 2 * PAGE


def statm(pid):
    with open(f"/proc/{pid}/statm") as stream:
        size, resident = map(int, stream.read().split()[:2])
    return resident * PAGE, size * PAGE


def record(context, workload, *options):
    """Trace a workload of memory_calls.py; return (rows, RSS and VMS before, after)."""
    tracer = context.attach("memory", workload, *options)
    pid = workload.target
    before = statm(pid)
    workload.go()
    workload.ready("done")
    after = statm(pid)
    tracer.signal(signal.SIGINT)
    tracer.wait(0)
    workload.go()
    workload.wait(0)
    equal(tracer.summary()["lost"], 0, "events lost")
    extra = ("tid",) if "+tid" in options else ()
    return read_csv(context.path("records.csv"), "memory", extra), before, after


def has_addresses():
    """Before 6.2 many faults are one change, and an address is that of the 512 KiB around it."""
    return os.uname().machine == "x86_64" and kernel_version() >= (6, 2)


def late():
    """Bytes that the kernel itself credits late: up to 64 faults of a thread before 6.2."""
    return 64 * PAGE if kernel_version() < (6, 2) else 0


def compare_calls(rows, wanted, functions):
    """The calls of these functions are these, in order."""
    got = [(row["type"], row["function"], int(row["address"], 16), row["size"]) for row in rows
           if row["type"] in CALLS and row["function"] in functions]
    equal(got, [tuple(call) for call in wanted], "the calls")


def faulted(rows, function, low, high):
    """Bytes that a function made resident in a range."""
    return sum(row["size"] for row in rows if row["function"] == function and
               row["type"] in FAULTS and row["size"] > 0 and
               (not has_addresses() or row["address"] and
                low <= int(row["address"], 16) < high))


def compare_interpreter(context, interpreter):
    place, _ = interpreter.place(context)
    workload = context.start(interpreter.command(os.path.join(place, "memory_calls.py"), "calls"))
    rows, _, _ = record(context, workload)
    found = workload.peek()
    functions = {function for _, function, _, _ in found["calls"]} | {"fail", "advise_nothing"}
    compare_calls(rows, found["calls"], functions)
    for kind, function, low, high in found["faults"]:
        got = faulted([row for row in rows if row["type"] == kind], function, low, high)
        check(abs(got - (high - low)) <= late(),
              f"bytes of {kind} that {function} made resident", high - low, got)
    wrong = {row["function"]: row["filename"] for row in rows
             if row["function"] in functions and not row["filename"].endswith("memory_calls.py")}
    check(not wrong, f"functions in other files: {wrong}")
    source = {row["function"]: row["line"].strip() for row in rows if row["type"] == "madvise"}
    if not interpreter.suite:
        equal(source, {"drop": "libc.madvise(address, pages * PAGE, MADV_DONTNEED)",
                       "lend": "libc.madvise(address, pages * PAGE, MADV_FREE)"}, "the lines")


def compare_thread_states(context, interpreter):
    """Whoever has made a thread and its state: a row names who maps, or nobody."""
    compiler = need_command("cc")
    place, _ = interpreter.place(context)
    library = os.path.join(interpreter.scratch(context), "thread_states.so")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-nostdlib", "-o", library,
                    os.path.join(WORKLOADS, "thread_states.c")], check=True)
    workload = context.start(interpreter.command(
        os.path.join(place, "thread_states.py"), interpreter.inside(library)))
    rows, _, _ = record(context, workload)
    names = {"map_as_main": {"map_as_main", "<unknown>"},  # it has two states
             "map_with_a_state_of_main": {"map_with_a_state_of_main", "<native>"}}
    for size, function in workload.peek().items():
        got = {row["function"] for row in rows if row["type"] == "mmap" and row["size"] == size}
        check(got and got <= names.get(function, {function}), f"who is named for {function}",
              function, got)
    equal([row["type"] for row in rows if row["function"] == "<outside>"], [],
          "rows of another process")


for each in interpreters.known():
    add_test(f"memory_calls_{each.label}", lambda context, each=each:
             compare_interpreter(context, each))
    add_test(f"memory_thread_states_{each.label}", lambda context, each=each:
             compare_thread_states(context, each))


@test()
def test_memory_nobody_is_outside(context):
    """From the first row to the last: nobody else has mapped what a program maps all the time."""
    program = context.write("maps.py", f"""import mmap, sys
sys.path.insert(0, {WORKLOADS!r})
import stage
def f():
    mmap.mmap(-1, 7 << 12)
stage.ready()
while True:
    f()
""")
    workload = context.start([context.python, program])
    for _ in range(3):
        tracer = context.attach("memory", workload)
        wait_for(lambda: os.stat(context.path("records.csv")).st_size > 10000, "rows")
        tracer.signal(signal.SIGINT)
        tracer.wait(0)
        os.rename(context.path("records.csv"), context.path("last.csv"))
        names = {row["function"] for row in read_csv(context.path("last.csv"), "memory")
                 if row["type"] in CALLS}
        equal(names, {"f"}, "who has mapped")


@test(vm=True)
def test_memory_calls(context):
    compare_interpreter(context, next(each for each in interpreters.known()
                                      if each.outside == os.path.realpath(context.python)))


@test(vm=True)
def test_memory_sum_is_statm(context):
    """All changes together are the change of /proc/PID/statm; RSS and VMS of the last row are it.

    Before 6.2 the kernel itself is up to 64 pages of each thread and type behind.
    """
    need_exact_statm()
    for mode in ("calls", "threads", "spawn"):
        workload = context.workload("memory_calls.py", mode)
        rows, before, after = record(context, workload)
        total = sum(row["size"] for row in rows if row["type"] in FAULTS - {"swap"})
        equal(total, after[0] - before[0], f"the sum of all changes ({mode})")
        equal((rows[-1]["RSS"], rows[-1]["VMS"]), after, f"RSS and VMS at the end ({mode})")


def check_runs(rows, low, high):
    """A range that was touched from its begin to its end: each run has all pages up to the next."""
    begins = [int(row["address"], 16) for row in rows]
    equal(begins[:1], [low], "the first run's address")
    lacking = [(row["address"], end - begin - row["size"])
               for row, begin, end in zip(rows, begins, begins[1:] + [high])
               if row["size"] < end - begin]
    check(not lacking, "runs that lack pages of their range", None, lacking)


@test(vm=True)
def test_memory_threads(context):
    """What threads do at once is theirs; one that runs no Python is <native>."""
    if late():
        raise Skip("before 6.2 a thread's faults are counted 64 at a time: of two threads that do "
                   "so at once it is not known whose is what")
    workload = context.workload("memory_calls.py", "threads")
    rows, _, _ = record(context, workload, "--fields", "+tid")
    tids = collections.defaultdict(set)
    for kind, function, low, high in workload.peek()["faults"]:
        own = [row for row in rows if row["type"] == kind and row["function"] == function and
               row["size"] > 0]
        got = sum(row["size"] for row in own)
        if function == "<native>":  # it has faults in its libraries, too
            text_kind = kind
            check(got >= high - low, f"bytes of {function}", high - low, got)
            continue
        check(0 <= got - (high - low) <= OWN, f"bytes of {function}", high - low, got)
        tids[function] = {row["tid"] for row in own}
        if has_addresses():
            check_runs(own, low, high)
    equal([len(seen) for seen in tids.values()], [1, 1, 1], "threads of each function")
    equal(len(set.union(*tids.values())), 3, "threads")
    tops = {row["tid"] for row in rows if (row["function"], row["type"]) == ("<native>", text_kind)}
    check(tops - set.union(*tids.values()) - {workload.target}, "no thread without Python")


@test(vm=True)
def test_memory_children(context):
    """Children that share the memory until they exec change its sums; one with a copy does not."""
    workload = context.workload("memory_calls.py", "spawn")
    rows, _, _ = record(context, workload)
    found = workload.peek()
    compare_calls(rows, found["calls"], {"map_odd"})
    (_, function, low, high), = found["faults"]
    got = sum(row["size"] for row in rows if row["function"] == function and row["type"] == "anon")
    check(abs(got - (high - low)) <= late(), "bytes that the parent has touched", high - low, got)


@test()
def test_memory_many_regions(context):
    """A row for each of 60 000 mappings, through the smallest buffer: none is lost unless said."""
    with open("/proc/sys/vm/max_map_count") as stream:
        count = min(60000, int(stream.read()) - 2000)
    workload = context.workload("memory_calls.py", "regions", str(count))
    rows, _, _ = record(context, workload, "--lossless", "--buffer-size", "512K")
    equal(sum(row["type"] == "mmap" and row["function"] == "regions" for row in rows), count + 1,
          "mappings")


@test()
def test_memory_losses(context):
    """What does not fit is counted, and --strict says so; the tracer is stopped meanwhile."""
    workload = context.workload("memory_calls.py", "regions", "20000")
    tracer = context.attach("memory", workload, "--strict", "--buffer-size", "64K")
    tracer.signal(signal.SIGSTOP)
    workload.go()
    workload.ready("done")
    tracer.signal(signal.SIGCONT)
    tracer.signal(signal.SIGINT)
    tracer.wait(3)
    totals = tracer.summary()
    check(totals["lost"] > 1000, "too few events were lost: proves nothing", actual=totals)
    rows = read_csv(context.path("records.csv"), "memory")
    lost = sum(row["lineNo"] for row in rows if row["type"] == "lost")
    equal(lost, totals["lost"], "what rows of losses say")
    equal(len([row for row in rows if row["type"] != "lost"]), totals["written"], "rows")
    equal([row["index"] for row in rows if row["type"] != "lost"][-1] < totals["seen"], True,
          "the last index is that of an event")


@test(vm=True)
def test_memory_run_mode(context):
    """From the interpreter's first instruction on, through execs; the program's status is ours."""
    script = context.write("grow.py", "import sys\nx = bytearray(5 << 20)\nsys.exit(7)\n")
    context.run("memory", "-v", "-o", context.path("records.csv"), "--", "/bin/sh", "-c",
                f"exec env {context.python} {script}", status=7)
    rows = read_csv(context.path("records.csv"), "memory")
    equal((rows[0]["function"], rows[0]["lineNo"], rows[0]["filename"]),
          ("<native>", -1, "<native>"), "the first row is before any Python")
    grown = [row for row in rows if row["filename"] == script and row["lineNo"] == 2]
    equal(sum(row["size"] for row in grown if row["type"] == "mmap") >= 5 << 20, True, "mapped")
    resident = sum(row["size"] for row in grown if row["type"] == "anon")
    check(resident >= (5 << 20) - late(), "resident", 5 << 20, resident)
    equal({row["line"] for row in grown}, {"x = bytearray(5 << 20)"}, "the source")


@test(vm=True)
def test_memory_killed_target(context):
    """It dies in the middle: what was seen is written, all of it."""
    script = context.write("forever.py", "import sys\nsys.path.insert(0, sys.argv[1])\n"
                                         "import stage\nstage.ready()\nwhile True:\n"
                                         "    x = bytearray(1 << 20)\n    del x\n")
    workload = context.start([context.python, script, WORKLOADS])
    tracer = context.attach("memory", workload, "--fields", "+pid,+time")
    os.kill(workload.target, signal.SIGKILL)
    tracer.wait(0)
    workload.wait(-signal.SIGKILL)
    totals = tracer.summary()
    if SLOW == 1:  # an emulated machine is busy enough to preempt a program twice, which is counted
        equal(totals["lost"], 0, "lost")
    rows = [row for row in read_csv(context.path("records.csv"), "memory", ("pid", "time"))
            if row["type"] != "lost"]
    equal(len(rows), totals["written"], "rows")
    equal({row["pid"] for row in rows} <= {workload.target}, True, "pids")
    times = [row["time"] for row in rows]
    equal(times, sorted(times), "the order of times")


@test(vm=True)
def test_memory_exec_ends(context):
    """An attached process that becomes another program is traced no more."""
    script = context.write("become.py", "import os, sys\nsys.path.insert(0, sys.argv[1])\n"
                                        "import stage\nstage.ready()\nstage.wait_go()\n"
                                        "x = bytearray(3 << 20)\n"
                                        "os.execv('/bin/sh', ['sh', '-c', 'exit 0'])\n")
    workload = context.start([context.python, script, WORKLOADS])
    tracer = context.attach("memory", workload)
    workload.go()
    workload.wait(0)
    tracer.wait(0)
    check("runs another program now" in tracer.errors(), "it is not said", actual=tracer.errors())
    rows = read_csv(context.path("records.csv"), "memory")
    equal(sum(row["size"] for row in rows if row["lineNo"] == 6 and row["type"] == "anon")
          >= 3 << 20, True, "resident before the exec")
    check(not any(row["type"] == "anon" and row["size"] < -(3 << 20) for row in rows),
          "what the exec frees is recorded")


@test(vm=True)
def test_memory_filters_and_limits(context):
    workload = context.workload("memory_calls.py", "calls")
    rows, _, _ = record(context, workload, "--filter", "type=munmap,mremap", "--filter",
                        "function!=grow", "--fields", "+tid")
    equal({(row["type"], row["function"]) for row in rows}, {("munmap", "unmap")}, "rows")
    workload = context.workload("memory_calls.py", "calls")
    tracer = context.attach("memory", workload, "--max-records", "3")
    workload.go()
    tracer.wait(0)
    equal(tracer.summary()["written"], 3, "--max-records")
    equal(len(read_csv(context.path("records.csv"), "memory")), 3, "rows")


@test()
def test_memory_native(context):
    """--native: the C function that asked is on top of the column."""
    workload = context.workload("memory_calls.py", "calls")
    tracer = context.attach("memory", workload, "--native", "--stacks")
    workload.go()
    workload.ready("done")
    tracer.signal(signal.SIGINT)
    tracer.wait(0)
    rows = read_csv(context.path("records.csv"), "memory_native")
    tops = {row["native"].split(";")[-1].split("+")[0] for row in rows
            if row["function"] == "unmap" and row["type"] == "munmap"}
    check(tops and all(re.fullmatch("(_*GI_)?_*munmap", top) for top in tops),
          "the C function on top", "munmap", tops)
    stacks = {row["stack"].rsplit(";", 1)[-1].rsplit(":", 1)[0].rsplit("/", 1)[-1] for row in rows
              if row["function"] == "unmap"}
    equal(stacks, {"memory_calls.py:unmap"}, "the innermost frame of the stack")


@test()
def test_memory_refusals(context):
    for options, words in (
            (("--focused-on", "f"), "cannot use '--focused-on': the monitor is memory"),
            (("--regions",), "cannot use '--regions': the monitor is memory"),
            (("--source", "agent"), "cannot use '--source': the monitor is memory"),
            (("--transport", "perfbuf"), "cannot use '--transport perfbuf'"),
            (("--tree",), "cannot use '--tree': the monitor is memory"),
            (("--c-calls",), "cannot use '--c-calls'")):
        tracer = context.run("memory", *options, "-p", str(os.getpid()), status=2)
        check(words in tracer.errors(), f"'{words}' is not said", actual=tracer.errors())
    tracer = context.run("functions", "--stacks", "-p", str(os.getpid()), status=2)
    check("it goes with memory" in tracer.errors(), "--stacks of functions", tracer.errors())
    sleeper = context.start(["/bin/sleep", "1000"])
    tracer = context.run("memory", "-p", str(sleeper.pid), status=1)
    check("it is not a Python" in tracer.errors(), "what is no Python", actual=tracer.errors())
