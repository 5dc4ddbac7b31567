# SPDX-License-Identifier: BSD-3-Clause
"""--overhead: what it counts against rows and the kernel's own counts, and that rows stay right."""

import collections
import re

import harness
import interpreters
import test_allocations
from harness import Skip, add_test, check, equal, test
from test_oracle import BIG

Took = collections.namedtuple("Took", "count ns")


def table_of(tracer):
    """{(who, what): Took} of what the tracer has printed."""
    lines = tracer.errors().splitlines()
    heads = [at for at, line in enumerate(lines) if line.split() == "count ns ns/each overhead".split()]
    equal(len(heads), 1, "tables of the overhead")
    found = {}
    for line in lines[heads[0] + 1:]:
        row = re.fullmatch(r" *(\d+) +(\d+) +(\d+\.\d)  (\w+):(\w+)", line)
        if row:
            count, ns = int(row[1]), int(row[2])
            check(abs(ns / count - float(row[3])) < 0.06, "ns for each", ns / count, line)
            check((row[4], row[5]) not in found, "a row twice", None, line)
            found[row[4], row[5]] = Took(count, ns)
    return found


def check_table(tracer):
    """What holds whatever the program does. Returns the table."""
    table = table_of(tracer)
    hooks = [took for (who, _), took in table.items() if who == "hook"]
    batch, total = table["agent", "batch"], table["agent", "total"]
    equal(total, Took(sum(hook.count for hook in hooks), sum(hook.ns for hook in hooks) + batch.ns),
          "the total of the agent")
    equal(table["agent", "clock"].count, 1, "clocks")
    # The figures are told in a batch, which they lack, and the end in another.
    handed_over = batch.count + table.get(("agent", "helper"), Took(0, 0)).count  # it may sleep
    kernels = table["bpf", "on_batch"].count
    check(0 <= kernels - handed_over <= 4, "batches by the kernel's count", kernels, handed_over)
    equal(table["loader", "record"].count, tracer.summary()["seen"], "records")
    return table


def check_hooks(table, rows, most=1.02):
    """Every row was made by a hook, and nearly every hook has made a row. The hook that was under
    way when the figures were told is not in them."""
    for what, n in rows.items():
        took = table.get(("hook", what), Took(0, 0))
        check(n - 1 <= took.count <= most * n + 100, f"runs of the hook of {what}", n, took.count)


EVENTS = {1: "call", 2: "return", 1000: "malloc", 1001: "calloc", 1002: "realloc", 1003: "free"}


def allocations(context, interpreter):
    rows, truth = test_allocations.run_program(context, interpreter, ["--overhead"])
    test_allocations.compare(context, rows, truth, rows[0].pid)
    table = check_table(context.tracers[-1])
    check_hooks(table, collections.Counter(EVENTS[row.event] for row in rows
                                           if row.event in EVENTS))


PROGRAM = """
def leaf(n):
    return n

def work():
    for n in range(20000):
        leaf(n)

work()
"""


def functions_and_lines(context, interpreter):
    """Counts of a program whose events are known."""
    program = f"{interpreter.scratch(context)}/work.py"
    with open(program, "w", encoding="utf-8") as stream:
        stream.write(PROGRAM)
    command = interpreter.command(interpreter.inside(program))
    cases = (("functions", (), {"call": 20000, "return": 20000}),
             ("functions", ("--focused-on", "leaf"), {"call": 20000, "return": 20000}),
             ("lines", (), {"line": 60000}),
             ("lines", ("--focused-on", "leaf"), {"line": 20000}))
    for monitor, options, expected in cases:
        tracer = context.run(monitor, "-v", "--overhead", "--source", "agent", "--no-c-calls",
                             *options, *BIG, "-o", context.path("records.csv"), "--", *command)
        equal(tracer.summary()["lost"], 0, "events lost")
        table = check_table(tracer)
        for what, n in expected.items():
            took = table["hook", what].count
            check(took >= n, f"runs of the hook of {what}, {monitor} {options}", n, took)
        if not options:
            check(sum(table["hook", what].count for what in expected) >=
                  tracer.summary()["seen"], "hooks than rows", tracer.summary(), table)


for _each in interpreters.known():
    add_test(f"overhead_allocations_{_each.label}",
             lambda context, each=_each: allocations(context, each))
    add_test(f"overhead_{_each.label}",
             lambda context, each=_each: functions_and_lines(context, each))


# ------------------------------------------------------------------ without an agent

LIMIT = "without an agent only BPF programs are timed"


@test(vm=True)
def test_overhead_of_probes(context):
    """The kernel's count of runs is that of events."""
    if "function__entry" not in harness.probes_of(context.python):
        raise Skip(f"{context.python} has no probes")
    tracer = context.run("functions", "-v", "--overhead", "--source", "usdt", *BIG, "-o",
                         context.path("records.csv"), "--", context.python,
                         context.write("work.py", PROGRAM))
    table, seen = table_of(tracer), tracer.summary()["seen"]
    equal(table["bpf", "on_entry"].count + table["bpf", "on_return"].count, seen, "runs")
    equal(table["loader", "record"].count, seen, "records")
    check(LIMIT in tracer.errors(), "it does not say what it cannot tell")
    check(not [each for each in table if each[0] in ("hook", "agent")], "an agent", None, table)


@test()
def test_overhead_of_libc(context):
    interpreter = interpreters.newest()
    rows, _, _ = test_allocations.attached(context, interpreter, "--overhead", ways=("lists",))
    table = table_of(context.tracers[-1])
    events = collections.Counter(row.event for row in rows)
    check(table["bpf", "on_free"].count >= events[1003] > 0, "runs of on_free", events, table)
    check(table["bpf", "on_allocate"].count >= sum(events[code] for code in (1000, 1001, 1002)) > 0,
          "runs of on_allocate", events, table)
    check(LIMIT in context.tracers[-1].errors(), "it does not say what it cannot tell")


@test()
def test_overhead_of_memory(context):
    tracer = context.run("memory", "-v", "--overhead", "-o", context.path("records.csv"), "--",
                         context.python, "-c", "bytearray(50 << 20)")
    table = table_of(tracer)
    check(any(who == "bpf" for who, _ in table), "no BPF program", None, table)
    equal(table["loader", "record"].count, tracer.summary()["seen"], "records")


@test()
def test_overhead_only_if_asked(context):
    tracer = context.run("functions", "-v", "--source", "agent", "-o", context.path("records.csv"),
                         "--", context.python, "-c", "pass")
    check("ns/each" not in tracer.errors(), "a table that nobody asked for")
