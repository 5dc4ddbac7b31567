# SPDX-License-Identifier: BSD-3-Clause
"""RSS and VMS that the agent reads on a page of the kernel's: exact, everywhere, and gone after."""

import os
import pickle
import signal

import interpreters
from harness import Failure, check, equal, test, wait_for
from records import read_csv
from test_agent_odd import AGENT, each_of_some, odd
from test_memory import kernel_version, need_exact_statm
from test_oracle import BIG

PAGE = os.sysconf("SC_PAGESIZE")
COLD = 30  # rounds of a phase in which code is run for the first time
# A change of each thread of the workload: it counts a moment before it is to be read on the page.
UNDER_WAY = 3 * PAGE * (1 if kernel_version() >= (6, 2) else 64)


def exact(rows, truth, interpreter):
    """Every record of marker() against statm right before and after it."""
    equal(len(rows), sum(map(len, truth.values())), "records of marker()")
    rows = iter(rows)
    for phase, pairs in truth.items():
        steady = 0
        for number, (before, after) in enumerate(pairs):
            row = next(rows)
            slack = UNDER_WAY if phase == "beside" else 0
            for at, field in enumerate(("RSS", "VMS")):
                low, high = sorted((before[at], after[at]))
                check(low - slack <= row[field] <= high,
                      f"{interpreter}: {field} of {phase} {number}", (low, high), row[field])
            steady += before == after and number >= COLD
        moved = len({before[0] for before, _ in pairs})
        check(moved > 30, f"{phase}: RSS did not move: proves nothing", actual=moved)
        if phase == "quiet":
            check(steady > 0.8 * (len(pairs) - COLD), "before and after differ: proves little",
                  actual=steady)


def markers(rows, kind="call"):
    return [row for row in rows if row["function"] == "marker" and row.get("type", kind) == kind]


def compare(context, interpreter, monitor, *arguments):
    place, _ = interpreter.place(context)
    workload = context.start(interpreter.command(os.path.join(place, "memory_exact.py")))
    tracer = context.record(monitor, workload, *AGENT, *BIG, *arguments)
    equal(tracer.summary()["lost"], 0, "events lost")
    rows = read_csv(context.path("records.csv"), monitor)
    exact(markers(rows), workload.peek(), interpreter.name)
    if monitor == "function_memory":
        exact(markers(rows, "return"), workload.peek(), interpreter.name)


@test()
def test_agent_memory_exact(context):
    """Calls and returns, with threads, on every interpreter."""
    need_exact_statm()
    for interpreter in interpreters.known():
        try:
            compare(context, interpreter, "function_memory", "--no-c-calls")
        except Failure as failure:
            raise Failure(f"{interpreter.name}: {failure}", failure.expected,
                          failure.actual) from None
    context.note(" ".join(each.label for each in interpreters.known()))


@test()
def test_agent_memory_exact_lines(context):
    need_exact_statm()
    each_of_some(context, lambda its: compare(context, its, "line_memory"))


@test()
def test_agent_memory_exact_focused(context):
    """The page is looked at when an event is recorded, not in between."""
    need_exact_statm()
    each_of_some(context, lambda its: compare(context, its, "function_memory", "--focused-on",
                                              "marker"))


@test(vm=True)
def test_agent_memory_exact_run(context):
    """Run mode, and a program that has become another one: the page is that of its memory."""
    need_exact_statm()
    interpreter = interpreters.newest()
    place, _ = interpreter.place(context)
    workload = os.path.join(place, "memory_exact.py")
    result = context.path("result")
    with open(result, "wb+") as stream:
        context.run("function_memory", *AGENT, *BIG, "--recording", "csv", "-o",
                    context.path("records.csv"), "--", interpreter.path, workload, "again",
                    env=dict(os.environ, PIKOS_TEST_RESULT=str(stream.fileno())),
                    pass_fds=(stream.fileno(),))
        stream.seek(0)
        truth = pickle.load(stream)
    exact(markers(read_csv(context.path("records.csv"), "function_memory")), truth,
          interpreter.name)


@test()
def test_agent_memory_several(context):
    """Two processes have two pages."""
    need_exact_statm()
    interpreter = interpreters.newest()
    place, _ = interpreter.place(context)
    command = interpreter.command(os.path.join(place, "memory_exact.py"))
    workloads = [context.start(command) for _ in range(2)]
    tracer = context.trace("function_memory", "-v", *AGENT, *BIG, "-o", context.path("records.csv"),
                           "-p", ",".join(str(each.ready()) for each in workloads))
    tracer.attached(2)
    for workload in workloads:
        workload.go()
    for workload in workloads:
        workload.wait(0)
    tracer.wait(0)
    rows = read_csv(context.path("records.csv"), "function_memory", ("pid",))
    for workload in workloads:
        exact(markers([row for row in rows if row["pid"] == workload.pid]), workload.peek(),
              interpreter.name)


STORM = """
import mmap, sys
sys.path.insert(0, %r)
import stage

def touch(area, at):
    area[at] = 1

stage.ready()
stage.wait_go()
for _ in range(20):
    area = mmap.mmap(-1, 5000 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area.madvise(15)
    for at in range(0, len(area), mmap.PAGESIZE):
        touch(area, at)
    area.close()
"""


@test()
def test_agent_memory_storm(context):
    """A fault for each call, as fast as it goes: nothing is lost, and each call has its page."""
    need_exact_statm()

    def storm(interpreter):
        place, _ = interpreter.place(context)
        script = os.path.join(interpreter.scratch(context), "storm.py")
        with open(script, "w") as stream:
            stream.write(STORM % place)
        workload = context.start(interpreter.command(interpreter.inside(script)))
        tracer = context.record("function_memory", workload, *AGENT, *BIG, "--no-c-calls")
        equal(tracer.summary()["lost"], 0, "events lost")
        rows = [row for row in read_csv(context.path("records.csv"), "function_memory")
                if row["function"] == "touch"]
        equal(len(rows), 2 * 20 * 5000, "events of touch()")
        grown = [after["RSS"] - before["RSS"] for before, after in zip(rows[::2], rows[1::2])]
        check(grown.count(PAGE) > 0.99 * len(grown), "calls that grew by one page",
              actual=grown.count(PAGE))
        check(min(grown) >= 0, "RSS fell while a page was touched", actual=min(grown))

    each_of_some(context, storm)


def has_page(pid):
    with open(f"/proc/{pid}/maps") as maps:
        return "bpf-map" in maps.read()


def left_no_page(context, interpreter, sig):
    workload = odd(context, interpreter, "busy")
    target = workload.ready("turning")
    tracer = context.trace("function_memory", "-v", *AGENT, "--recording", "csv", "-o",
                           context.path("d.csv"), "-p", target)
    tracer.attached()
    check(has_page(target), "the page is not mapped")
    tracer.signal(sig)
    tracer.wait(None)
    wait_for(lambda: not has_page(target), "the page's end")
    workload.signal(signal.SIGKILL)
    workload.wait(-signal.SIGKILL)


@test()
def test_agent_memory_leaves_no_page(context):
    each_of_some(context, lambda its: left_no_page(context, its, signal.SIGINT))


@test()
def test_agent_memory_leaves_no_page_after_kill(context):
    each_of_some(context, lambda its: left_no_page(context, its, signal.SIGKILL))
