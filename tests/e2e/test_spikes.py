# SPDX-License-Identifier: BSD-3-Clause
"""A temporary that is gone a moment later, and a cache that nobody empties: which line it was."""

import csv
import re

from harness import check, equal, test
from records import read_csv
from test_plot import MIB, line_of, need, plot, record

NEAR = 0.02 * 2**20  # of a size: pages around it


def spikes_of(said):
    found = re.findall(r"^spike of ([\d.]+) MiB by (.*?) from index (\d+) to index (\d+): "
                       r"(\d+) records", said, re.M)
    return [(float(size) * MIB, who, int(first), int(last), int(length))
            for size, who, first, last, length in found]


def check_spike(context, rows, said, who, size):
    """A spike of an array's size by `who`, and gone again a few records later, inside legacy()."""
    found = [each for each in spikes_of(said) if each[1].startswith(who) and
             abs(each[0] - size) < NEAR + size // 100]
    check(found, f"no spike of {size / MIB:.1f} MiB by {who}", actual=said)
    _, _, first, last, length = found[0]
    equal(last - first, length, "its length in records")
    top = max(row["RSS"] for row in rows[first:last + 1])
    check(abs(top - rows[last]["RSS"] - size) < NEAR + size // 100, "its height in the records",
          size, top - rows[last]["RSS"])
    check(length < 20, "it lasts longer than a moment", actual=length)


def find_spike(context, who, *arguments):
    """function_memory sees inside the line what its ends do not tell."""
    need("/usr/bin/python3", "matplotlib")
    records = record(context, "function_memory", "--focused-on", "legacy", *arguments)
    with open(records) as stream:
        check("<lost>" not in stream.read(), "lost events")
    said, _ = plot(records, "--top", 9)
    check_spike(context, read_csv(records, "function_memory"), said, who,
                context.workloads[0].peek())
    return said


@test()
def test_spike_function_memory(context):
    find_spike(context, "__new__:", "--source", "usdt")


@test()
def test_spike_function_memory_agent(context):
    """With C calls the two that there are at once have names: random()'s, of our line, and the
    copy of it that numpy makes."""
    said = find_spike(context, "copy:", "--source", "agent")
    line = line_of("spike.py", "SPIKE")
    check(re.search(rf"spike .*; or by random:{line} \(spike\.py\)", said),
          "the temporary is not among what may have gone", actual=said)


@test()
def test_spike_memory(context):
    """By its address the memory that is unmapped is known: the temporary is our line's, the copy
    numpy's own, and they end at their own munmap()."""
    need("/usr/bin/python3", "matplotlib")
    records = record(context, "memory", "--fields", "+time")
    size = context.workloads[0].peek()
    rows = read_memory(records)
    ours = {row["index"]: row for row in rows}
    line = line_of("spike.py", "SPIKE")
    for field in "RSS", "VMS":
        said, _ = plot(records, context.path("picture.png"), "--top", 30, "--field", field)
        found = {who: (height, first, last) for height, who, first, last, _ in
                 spikes_of(said) if abs(height - size) < size // 100}
        who = f"legacy:{line} (spike.py)"
        check(who in found, f"no spike by {who}", actual=said)
        _, first, last = found[who]
        equal([ours[first]["type"], ours[last]["type"]], ["mmap", "munmap"], "its ends")
        equal(ours[first]["address"], ours[last]["address"], "its address")
        copy = next(its for its in found if its.startswith("__new__:"))
        check(found[copy][2] > last, "the copy outlives the temporary", actual=said)
        check("; or by" not in said.partition(who)[2].partition("\n")[0], "it is known whose it is")
    said, _ = plot(records, context.path("picture.png"), "--over", "time")
    lasted = re.search(rf"by legacy:{line} .*, ([\d.]+) s", said, re.M)
    equal(f"{(int(ours[last]['time']) - int(ours[first]['time'])) / 1e9:.6f}", lasted[1],
          "how long it lasted, seconds")


def read_memory(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return [{**row, "index": int(row["index"])} for row in csv.DictReader(stream)]


@test()
def test_leak_memory(context):
    """What is kept is named, and that other work cleans up behind itself does not matter."""
    context.record("memory", context.workload("leak.py"), "--summary", "--leaks")
    size = context.workloads[0].peek()
    rows = [row for row in read_memory_summary(context.path("records.csv"))
            if (row["section"], row["scope"]) == ("line", "own")]
    top = rows[0]
    equal((top["function"], int(top["lineNo"])), ("remember", line_of("leak.py", "KEPT")),
          "the line that holds most")
    check(0 <= int(top["stillMapped"]) - size < size // 100, "how much it has mapped", size, top)
    check(abs(int(top["resident"]) - size) < size // 100, "how much is resident", size, top)
    check(not any(row["function"] == "work" and int(row["resident"]) > MIB for row in rows),
          "work that cleans up is not to be blamed", actual=rows)


def read_memory_summary(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
