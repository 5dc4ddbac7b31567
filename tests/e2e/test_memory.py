# SPDX-License-Identifier: BSD-3-Clause
"""RSS and VMS of the records against /proc/self/statm, read just before by the workload."""

import os
import re

from harness import Skip, check, equal, test
from records import FIELDS, cut, events, is_lost, read_csv, same, same_lines
from test_oracle import BIG, oracle, oracle_sections

COLD = 20  # as in workloads/memory.py
NEAR = 64 * 1024


def kernel_version():
    """(6, 12, 57); Debian's release is not its version, which is in /proc/version."""
    with open("/proc/version") as stream:
        text = stream.read()
    # The compiler's release is there, too, in parentheses: the kernel's is followed by its date.
    found = re.search(r"Debian (\d+)\.(\d+)\.(\d+)\S* \(", text) or \
        re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", os.uname().release)
    return tuple(int(part or 0) for part in found.groups())


def statm_is_exact():
    version = kernel_version()
    return version < (6, 2) or version >= (6, 16) or (6, 12, 39) <= version < (6, 13) or \
        (6, 15, 7) <= version < (6, 16)


def need_exact_statm():
    if not statm_is_exact():
        raise Skip("statm of kernel %d.%d.%d does not add every CPU's part (it does before 6.2, "
                   "in 6.12.39, in 6.15.7 and since 6.16)" % kernel_version())


def compare(context, monitor, *arguments):
    need_exact_statm()
    workload = context.workload("memory.py")
    context.record(monitor, workload, *BIG, *arguments)
    truth = workload.peek()
    rows = read_csv(context.path("records.csv"), monitor)
    check(not any(map(is_lost, rows)), "lost events")
    if monitor == "function_memory":
        rows = [row for row in rows if row["type"] == "call"]
    rows = [row for row in rows if row["function"] == "marker"]
    equal(len(rows), len(truth), "records of marker()")
    worst = 0
    for number, (row, (rss, vms)) in enumerate(zip(rows, truth)):
        if number < COLD:
            continue
        worst = max(worst, abs(row["RSS"] - rss))
        check(abs(row["RSS"] - rss) <= NEAR, f"RSS of round {number} is {row['RSS'] - rss} off",
              rss, row["RSS"])
        equal(row["VMS"], vms, f"VMS of round {number}")
    moved = {rss for rss, _ in truth[COLD:]}
    check(max(moved) - min(moved) > 16 * NEAR, "the workload's RSS did not move: proves nothing")
    context.note(f"RSS at most {worst} bytes off")


@test(vm=True)
def test_memory_function_memory(context):
    compare(context, "function_memory")


@test(vm=True, lines=True)
def test_memory_line_memory(context):
    compare(context, "line_memory")


@test(vm=True, lines=True)
def test_memory_line_memory_focused(context):
    """The focus of the demo: only the wanted function's lines, with their memory."""
    compare(context, "line_memory", "--focused-on", "marker")


@test()
def test_memory_events_equal_oracle(context):
    """The memory monitors record the same events as those without memory."""
    workload = context.workload("drive.py", "plain", "generators")
    context.record("function_memory", workload, *BIG)
    rows = read_csv(context.path("records.csv"), "function_memory")
    equal(list(rows[0]), FIELDS["function_memory"], "the fields")
    same(cut(events(rows, "function_memory")),
         oracle_sections(oracle(context, "functions", "generators"), "generators")[""])
    check(all(row["RSS"] > 1 << 20 and row["VMS"] > row["RSS"] for row in rows),
          "an RSS below 1 MiB or above VMS")


@test(lines=True)
def test_memory_lines_equal_oracle(context):
    workload = context.workload("drive.py", "plain", "recursion")
    context.record("line_memory", workload, *BIG)
    rows = read_csv(context.path("records.csv"), "line_memory")
    same_lines(cut(events(rows, "line_memory")),
               oracle_sections(oracle(context, "lines", "recursion"), "recursion")[""])
