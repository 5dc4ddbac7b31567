# SPDX-License-Identifier: BSD-3-Clause
"""The monitor `allocations` against hooks of PyMem_SetAllocator in the same process."""

import collections
import csv
import os
import subprocess

import harness
import interpreters
from harness import Failure, Skip, add_test, check, equal
from test_oracle import BIG

HEADER = "time value1 value2 event name mod lineno from_name from_mod from_line pid tid depth"
Row = collections.namedtuple("Row", HEADER)
NUMBERS = set("time value1 value2 event lineno from_line pid tid depth".split())
BEGIN, END = 1234567, 7654321  # as in workloads/allocating.py
MALLOC, CALLOC, REALLOC, FREE, REALLOC_FREE = range(1000, 1005)


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as stream:
        comment = stream.readline()
        check(comment.startswith("# pikos-trace allocations") and comment.endswith("\r\n"),
              "no comment above the header", "# pikos-trace allocations...", comment)
        rows = csv.reader(stream, strict=True)
        equal(next(rows), HEADER.split(), "the header")
        return [Row(*(int(cell) if name in NUMBERS else cell
                      for name, cell in zip(Row._fields, row))) for row in rows]


def build_oracle(context, interpreter):
    """The oracle's library; returns its path as the interpreter sees it."""
    compiler = harness.need_command("cc")
    path = os.path.join(interpreter.scratch(context), "oracle.so")
    source = os.path.join(harness.WORKLOADS, "allocation_oracle.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-nostdlib", "-o", path, source],
                   check=True)
    return interpreter.inside(path)


def sized(entries):
    """(event, size) as the original tells them: minus the size of what is freed, if known."""
    known, found = {}, []
    for event, address, size in entries:
        if event in (FREE, REALLOC_FREE):
            size = -known.pop(address, 0)
        else:
            known[address] = size
        found.append((event, size))
    return found


def between_marks(rows, tid):
    own = [row for row in rows if row.tid == tid]
    at = [n for n, row in enumerate(own) if (row.event, row.value2) == (MALLOC, BEGIN)]
    end = [n for n, row in enumerate(own) if (row.event, row.value2) == (MALLOC, END)]
    check(len(at) == len(end) == 1, f"{len(at)} beginnings and {len(end)} ends")
    return own[at[0]:end[0] + 1]


def compare(context, rows, truth, tid):
    rows = between_marks(rows, tid)
    ours = [(row.event, row.value1, row.value2) for row in rows if row.event >= 1000]
    equal(len(ours), len(truth), "the number of allocations")
    for n, (mine, its) in enumerate(zip(ours, truth)):
        if mine[:2] != its[:2]:
            raise Failure(f"allocation {n} is another", truth[n - 3:n + 3], ours[n - 3:n + 3])
    # Sizes of what was allocated before the mark are known to us alone.
    begun = {address for _, address, size in truth if size}
    expected = collections.Counter(sized(truth))
    actual = collections.Counter(sized([(event, address, max(size, 0))
                                        for event, address, size in ours]))
    equal(actual, expected, "the allocations by event and size")
    for (event, address, size), (_, truly) in zip(ours, sized(truth)):
        if truly or address not in begun:
            check(event < FREE or size <= 0, "a freed block has a size above 0", truly, size)
        if truly:
            equal(size, truly, f"the size of event {event}")
    for row in rows:
        check(row.name and row.name != "<unknown>", "an allocation of nobody", None, row)
    context.note(f"{len(ours)} allocations")


def run_and_compare(context, interpreter, options=(), env=None, ways=()):
    place, _ = interpreter.place(context)
    oracle = build_oracle(context, interpreter)
    output, result = context.path("records.csv"), context.path("result")
    with open(result, "wb") as stream:
        tracer = context.run(
            "allocations", "-v", "-o", output, *BIG, *options, "--", *interpreter.command(
                os.path.join(place, "allocating.py"), oracle, *ways),
            pass_fds=(stream.fileno(),),
            env=context.environment(PIKOS_TEST_RESULT=str(stream.fileno()), **(env or {})))
    equal(tracer.summary()["lost"], 0, "events lost")
    import pickle
    with open(result, "rb") as stream:
        truth = pickle.load(stream)
    rows = rows_of(output)
    equal(len(rows), tracer.summary()["written"], "rows")
    compare(context, rows, truth, rows[0].pid)


def register():
    for each in interpreters.known():
        add_test(f"allocations_{each.label}",
                 lambda context, each=each: run_and_compare(context, each))


register()
