# SPDX-License-Identifier: BSD-3-Clause
"""The ledger of `memory --summary` against /proc/PID/smaps, read while the process waits."""

import csv
import re

import interpreters
from harness import add_test, check, equal

OWNERS = {"<start>", "<startup>", "<native>", "<outside>", "<unknown>", "<other>", "lines",
          "stack growth"}


def sizes(pid):
    """Bytes that are mapped by smaps. The kernel does not count its own page [vsyscall]."""
    total = 0
    with open(f"/proc/{pid}/smaps") as smaps:
        for line in smaps:
            if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
                counts = "[vsyscall]" not in line
            elif line.startswith("Size:") and counts:
                total += int(line.split()[1]) << 10
    return total


def totals(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return {row["function"]: {name: int(row[name]) for name in
                                  ("mapped", "unmapped", "stillMapped")}
                for row in csv.DictReader(stream) if row["section"] == "total"}


def check_equal(context, interpreter):
    inside, _ = interpreter.place(context)
    workload = context.start(interpreter.command(f"{inside}/mapping.py"))
    pid = workload.ready()
    before = sizes(pid)
    tracer = context.attach("memory", workload, "--summary", output="summary.csv")
    workload.go()
    workload.ready("done")
    after = sizes(pid)
    tracer.signal(2)
    tracer.wait(0)
    workload.go()
    moved = workload.result()
    rows = totals(context.path("summary.csv"))
    owners = [its for name, its in rows.items() if name in OWNERS]
    equal(rows["<start>"]["mapped"], before, "bytes mapped when it began")
    equal(sum(its["mapped"] - its["unmapped"] for its in owners), after, "bytes mapped at the end")
    equal(sum(its["stillMapped"] for its in owners), after, "bytes still mapped")
    check(rows["lines"]["mapped"] >= moved["mapped"] and
          rows["lines"]["unmapped"] >= moved["unmapped"], "it did not see what the lines did",
          moved, rows)


for each in interpreters.known():
    if each.is_known:
        add_test(f"smaps_{each.label}",
                 lambda context, interpreter=each: check_equal(context, interpreter))
