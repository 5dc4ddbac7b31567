# SPDX-License-Identifier: BSD-3-Clause
"""Summaries of `memory` against /proc/PID/smaps, and against what a program knows it holds."""

import collections
import csv
import os
import re
import signal

import harness
import interpreters
from harness import Skip, add_test, check, equal, test, wait_for
from test_memory import statm_is_exact
from test_memory_monitor import late

MB = 1 << 20
PAGE = 4096
DEBIAN = "/usr/bin/python3"
SCRIPT = os.path.join(harness.WORKLOADS, "ledger.py")
# Every array is a mapping of its own, whatever was freed before.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "131072"}
NUMBERS = ("mapped", "unmapped", "stillMapped", "faulted", "resident")


def need_numpy():
    if not os.path.exists("/usr/lib/python3/dist-packages/numpy"):
        raise Skip("no python3-numpy")


def marked(comment):
    """The line of the workload with that comment."""
    with open(SCRIPT) as stream:
        found = [number for number, line in enumerate(stream, 1) if f"# {comment}" in line]
    equal(len(found), 1, f"lines of the workload with '# {comment}'")
    return found[0]


class Summary:
    """One of those in a CSV file: rows by (section, scope), in order."""

    def __init__(self, rows):
        self.rows = collections.defaultdict(list)
        for row in rows:
            self.rows[row["section"], row["scope"]].append(row)

    def total(self, name):
        found = [row for row in self.rows["total", ""] if row["function"] == name]
        return found[0] if found else dict.fromkeys(NUMBERS, 0)

    def line(self, number, scope="own"):
        """What the summary says of a line of the workload."""
        found = [row for row in self.rows["line", scope]
                 if row["lineNo"] == number and row["filename"].endswith("/ledger.py")]
        check(len(found) < 2, f"line {number} is there {len(found)} times")
        return found[0] if found else dict.fromkeys(NUMBERS, 0)

    def lines(self):
        return {row["lineNo"] for row in self.rows["line", "inclusive"]
                if row["filename"].endswith("/ledger.py")}

    def sum(self, field):
        """Over all who have an account."""
        return sum(row[field] for row in self.rows["total", ""]
                   if row["function"].startswith("<") or row["function"] == "lines")

    def share(self):
        return 100 * self.total("explained")["resident"] / self.total("growth")["resident"]


def read(path):
    """{(fromMs, toMs): Summary} in order; what is still being written is left out."""
    with open(path, newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = {}
    for row in rows:
        for field in (*NUMBERS, "fromMs", "toMs", "lineNo"):
            row[field] = int(row[field])
        for field in NUMBERS:
            equal(row[field] % PAGE, 0, f"a part of a page in {field} of {row}")
        found.setdefault((row["fromMs"], row["toMs"]), []).append(row)
    return {moment: Summary(its) for moment, its in found.items()}


def last(context):
    return list(read(context.path("records.csv")).values())[-1]


def smaps(pid):
    """({address: size} of the mappings, size of the stack, RSS by the page tables)"""
    sizes, stack, rss = {}, 0, 0
    with open(f"/proc/{pid}/smaps") as stream:
        for line in stream:
            head = re.match(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+\s*(.*)", line)
            if head:
                start, end = (int(word, 16) for word in head.groups()[:2])
                if head[3] != "[vsyscall]":
                    sizes[start] = end - start
                stack = end - start if head[3] == "[stack]" else stack
            elif line.startswith("Rss:"):
                rss += int(line.split()[1]) * 1024
    return sizes, stack, rss


# ------------------------------------------------------------------ against smaps


def step_through(workload, count):
    for number in range(count):
        workload.ready(f"step {number}")
        workload.go()
    workload.ready("done")


def knows_addresses(context):
    """Whether the kernel tells where faults are; else what was touched last is taken to go first."""
    features = context.run("--features", program=context.program).output
    return all(re.search(rf"^{re.escape(name)} +[\d.]+ +yes", features, re.M)
               for name in ("exceptions:page_fault_*", "bpf_task_pt_regs"))


def check_lines(context, summary):
    """What each line did is known, in MB: mapped and still mapped; touched and still resident."""
    for comment, mapped, kept in [("holes:", 64, 57), ("fixed:", 16, 12), ("over:", 4, 4),
                                  ("moves:", 8, 8), ("grows:", 16, 4), ("again:", 8, 8)]:
        row = summary.line(marked(comment), "inclusive")
        equal([row["mapped"] // MB, row["stillMapped"] // MB], [mapped, kept],
              f"MB mapped and still mapped by the line '{comment}'")
    if late() or not knows_addresses(context):
        return
    for comment, faulted, resident in [("touches the holes", 8, 5), ("touches the fixed", 16, 12),
                                       ("touches what moves", 8, 8)]:
        row = summary.line(marked(comment))
        equal([row["faulted"], row["resident"]], [faulted * MB, resident * MB],
              f"bytes faulted and resident of the line that {comment}")


def check_against_smaps(summary, before, after):
    """before: None, if the program was not there yet"""
    sizes, stack, rss = after
    if before:
        equal(summary.total("<start>")["mapped"], sum(before[0].values()), "bytes of the start")
        equal(summary.total("stack growth")["mapped"], stack - before[1], "growth of the stack")
    equal(summary.total("kernel")["stillMapped"], sum(sizes.values()), "VMS")
    equal(summary.sum("stillMapped") + summary.total("stack growth")["mapped"],
          sum(sizes.values()), "bytes mapped by all")
    for name in {row["function"] for row in summary.rows["total", ""]}:
        row = summary.total(name)
        equal(row["mapped"] - row["unmapped"], row["stillMapped"], f"still mapped of {name}")
    accounts = summary.sum("resident") + summary.total("reclaimed")["resident"]
    equal(accounts, summary.total("kernel")["resident"], "RSS by the accounts and by the events")
    check(abs(accounts - rss) <= 3 * late(), "RSS by the accounts", rss, accounts)



STEPS = ["holes", "fixed", "moves", "brk", "threads", "nested", "lists"]


def attach_and_compare(context, interpreter):
    place, _ = interpreter.place(context)
    steps = STEPS + ["numpy"] * (interpreter.path == DEBIAN)
    workload = context.start(interpreter.command(place + "/ledger.py", *steps), env=MALLOC)
    pid = workload.ready("step 0")
    before = smaps(pid)
    tracer = context.trace("memory", "--summary", "-v", "-o", context.path("records.csv"), "-p",
                           pid).attached()
    step_through(workload, len(steps))
    after = smaps(pid)
    os.kill(pid, signal.SIGKILL)  # what ends by itself touches pages
    workload.wait(-signal.SIGKILL)
    tracer.wait()
    equal(tracer.summary()["lost"], 0, "lost events")
    summary = last(context)
    check(after[1] > before[1], "the stack did not grow: proves nothing")
    check_against_smaps(summary, before, after)
    check_lines(context, summary)
    return summary


def compare_version(context, interpreter):
    summary = attach_and_compare(context, interpreter)
    check(summary.share() >= 95, f"only {summary.share():.1f} % explained")
    context.note(f"{summary.share():.1f} % explained")


def register():
    for each in interpreters.known():
        add_test(f"ledger_{each.label}",
                 lambda context, each=each: compare_version(context, each))


register()


@test()
def test_ledger_attach(context):
    attach_and_compare(context, interpreters.of_version(3, 11))


def run_and_compare(context, steps, announced, **env):
    workload = harness.Workload(
        context, [context.program, "memory", "--summary", "-v", "-o", context.path("records.csv"),
                  "--", DEBIAN, SCRIPT, *steps], env={**context.environment(), **MALLOC, **env})
    context.workloads.append(workload)
    for text in announced:
        workload.ready(text)
        workload.go()
    workload.ready("done")
    after = smaps(workload.target)
    os.kill(workload.target, signal.SIGKILL)  # what ends by itself touches pages
    workload.wait(128 + signal.SIGKILL)
    summary = last(context)
    check_against_smaps(summary, None, after)
    return summary, workload.errors()


@test()
def test_ledger_run(context):
    """From the first instruction on: the start is what the exec mapped."""
    summary, said = run_and_compare(context, STEPS, [f"step {i}" for i in range(len(STEPS))])
    check_lines(context, summary)
    check(summary.total("<startup>")["mapped"] > 0, "no startup")
    check(summary.share() >= 95, f"only {summary.share():.1f} % explained")
    check("lines explain" in said, "the share is not said", None, said)
    context.note(f"{summary.share():.1f} % explained")


@test()
def test_ledger_exec(context):
    """The summary goes on with the new program; of the old one nothing is left."""
    summary, _ = run_and_compare(context, ["exec_again"], ["step 0"] * 2, LEDGER_EXEC="1")
    row = summary.line(marked("before the exec"))
    equal([row["mapped"] // (20 * MB), row["stillMapped"] // (20 * MB)], [2, 1],
          "times 20 MB mapped and held")


@test()
def test_ledger_fork(context):
    summary, _ = run_and_compare(context, ["forks"], ["step 0"])
    equal(summary.line(marked("of the child"))["mapped"], 0, "bytes that the child mapped")


@test()
def test_ledger_two_processes(context):
    """Each has a summary of its own."""
    workloads = [context.workload("ledger.py", "holes", python=DEBIAN),
                 context.workload("ledger.py", "moves", python=DEBIAN)]
    pids = [workload.ready("step 0") for workload in workloads]
    tracer = context.trace("memory", "--summary", "-v", "-o", context.path("records.csv"), "-p",
                           ",".join(map(str, pids))).attached(2)
    for workload in workloads:
        step_through(workload, 1)
        workload.go()
        workload.wait()
    tracer.wait()
    with open(context.path("records.csv"), newline="") as stream:
        rows = [row for row in csv.DictReader(stream)
                if (row["section"], row["scope"]) == ("line", "inclusive")]
    for pid, comment in zip(pids, ("holes:", "moves:")):
        its = {int(row["lineNo"]) for row in rows if int(row["pid"]) == pid}
        check(marked(comment) in its, f"'{comment}' is not in the summary of its process")
        check(len(its & {marked("holes:"), marked("moves:")}) == 1, "it has the other's lines")


# ------------------------------------------------------------------ shares


@test()
def test_ledger_share_pure(context):
    share(context, ["lists"])


@test()
def test_ledger_share_numpy(context):
    need_numpy()
    share(context, ["numpy", "temporary", "load_5"])


def share(context, steps):
    workload = context.workload("ledger.py", *steps, python=DEBIAN)
    pid = workload.ready("step 0")
    tracer = context.trace("memory", "--summary", "-v", "-o", context.path("records.csv"), "-p",
                           pid).attached()
    before = smaps(pid)[2]
    step_through(workload, len(steps))
    grown = smaps(pid)[2] - before
    workload.go()
    workload.wait()
    tracer.wait()
    summary = last(context)
    check(grown > 8 * MB, f"RSS has grown by {grown} bytes only")
    # smaps is the judge: of what it says, lines explain so much.
    explained = 100 * summary.total("explained")["resident"] / grown
    check(95 <= explained <= 105, f"lines explain {explained:.1f} % of what smaps says")
    context.note(f"{explained:.1f} %")


# ------------------------------------------------------------------ leaks, moments


def check_arrays(row, count, what):
    """Each array is a mapping: its bytes, and a page for malloc's header, all touched. Other things
    that its line has made (pymalloc's arenas) are small."""
    size = count * (4 * MB + PAGE)
    check(0 <= row["stillMapped"] - size <= 2 * MB, what, size, row["stillMapped"])
    check(-late() <= row["resident"] - size <= 2 * MB, what + ", resident", size, row["resident"])


@test()
def test_ledger_leaks(context):
    """The example of a leak: a function that keeps what it loads. Not what the end gives back, nor
    what was temporary."""
    need_numpy()
    workload = context.workload("ledger.py", "leaks", "leave", python=DEBIAN, env=MALLOC)
    pid = workload.ready("step 0")
    tracer = context.trace("memory", "--leaks", "-v", "-o", context.path("records.csv"), "-p",
                           pid).attached()
    step_through(workload, 1)
    workload.go()
    workload.wait()
    tracer.wait()
    summary = last(context)
    check_arrays(summary.line(marked("leak:"), "inclusive"), 8, "held by the leak")
    held = summary.line(marked("temporary:"), "inclusive")
    check(held["stillMapped"] < MB, "a temporary is called a leak", 0, held["stillMapped"])
    first = [row for row in summary.rows["stack", "own"]][0]
    check(re.search(r"ledger\.py:leaks:\d+;\S*ledger\.py:load:%d;" % marked("leak:"),
                    first["stack"]), "the leak is not the first stack", None, first["stack"])
    for rows in summary.rows.values():
        for row in rows:
            check(row["section"] in ("total", "inexact") or row["stillMapped"] > 0 or
                  row["resident"] > 0, "it is not held", None, row)


def ask(context, tracer, count):
    """Have the tracer write a summary; return it once it is all there."""
    said = lambda: tracer.errors().count("lines explain") + \
        tracer.errors().count("has not grown") == count  # noqa: E731
    tracer.signal(signal.SIGUSR1)
    wait_for(said, f"summary {count}")
    return list(read(context.path("records.csv")).values())[-1]


@test()
def test_ledger_between_two_moments(context):
    """SIGUSR1 has what has grown since the summary before."""
    need_numpy()
    workload = context.workload("ledger.py", "load_2", "load_5", python=DEBIAN, env=MALLOC)
    pid = workload.ready("step 0")
    tracer = context.trace("memory", "--summary", "-v", "-o", context.path("records.csv"), "-p",
                           pid).attached()
    workload.go()
    workload.ready("step 1")
    first = ask(context, tracer, 1).line(marked("leak:"), "inclusive")
    equal(first["stillMapped"] // (4 * MB), 2, "arrays of the first summary")
    workload.go()
    workload.ready("done")
    second = ask(context, tracer, 2)
    equal(second.line(marked("leak:"), "inclusive")["stillMapped"] // (4 * MB), 5,
          "arrays of the second summary")
    temporary = second.line(marked("temporary:"), "inclusive")
    check(temporary["unmapped"] >= 9 * 4 * MB, "the temporaries", None, temporary)
    workload.go()
    workload.wait()
    tracer.wait()
    check_arrays(last(context).line(marked("leak:"), "inclusive"), 7, "the whole")


@test()
def test_ledger_interval(context):
    workload = context.workload("ledger.py", "lists", python=DEBIAN)
    pid = workload.ready("step 0")
    tracer = context.trace("memory", "--summary", "--interval", "100ms", "-v", "-o",
                           context.path("records.csv"), "-p", pid).attached()
    workload.go()
    workload.ready("done")
    wait_for(lambda: tracer.errors().count("PID") > 4, "some summaries")
    workload.go()
    workload.wait()
    tracer.wait()
    moments = list(read(context.path("records.csv")))
    for before, after in zip(moments[:-1], moments[1:-1]):
        equal(after[0], before[1], "the begin of a summary is the end of the one before")
    equal(moments[-1][0], 0, "the last is from the beginning")


@test()
def test_ledger_of_the_moment(context):
    """While a program grows, its books and the kernel's word are of the same moment. One that has
    ended has a summary of its end, and no more but the last."""
    if late():
        raise Skip("the kernel counts RSS at once from 6.2 on")
    workloads = [context.workload("ledger.py", "swells", python=DEBIAN),
                 context.workload("ledger.py", "holes", python=DEBIAN)]
    pids = [workload.ready("step 0") for workload in workloads]
    tracer = context.trace("memory", "--summary", "--interval", "150ms", "-v", "-o",
                           context.path("records.csv"), "-p",
                           ",".join(map(str, pids))).attached(2)
    for workload in reversed(workloads):
        workload.go()
    workloads[1].ready("done")
    workloads[1].go()
    workloads[1].wait()
    workloads[0].ready("done")
    workloads[0].go()
    workloads[0].wait()
    tracer.wait()
    count = {}
    with open(context.path("records.csv"), newline="") as stream:
        for row in csv.DictReader(stream):
            if row["section"] == "total":
                moment = int(row["pid"]), int(row["fromMs"]), int(row["toMs"])
                count.setdefault(moment, {})[row["function"]] = row
    growing = [rows for (pid, start, _), rows in count.items() if pid == pids[0] and start]
    check(len(growing) > 3, "too few summaries", "more than 3", len(growing))
    for rows in growing:
        equal(int(rows["stack growth"]["mapped"]), 0, "bytes mapped without a call")
        accounts = [int(row["resident"]) for name, row in rows.items()
                    if name[0] == "<" or name in ("lines", "reclaimed")]
        equal(sum(accounts), int(rows["kernel"]["resident"]), "growth by the books")
    told = tracer.errors().count(f"PID {pids[0]}:") - tracer.errors().count(f"PID {pids[1]}:")
    check(told > 3, "the one that has ended has summaries", "fewer", tracer.errors())


@test()
def test_ledger_on_screen(context):
    """The top of each part, as text."""
    tracer = context.run("memory", "--summary", "--top", 3, "--", DEBIAN, SCRIPT, "lists", "leave")
    lines = tracer.output.splitlines()
    check(lines[0].split()[:4] == ["fromMs", "toMs", "section", "scope"], "no header", None, lines[0])
    for section, scope in (("line", "own"), ("line", "inclusive"), ("function", "own")):
        found = [line for line in lines if line.split()[2:4] == [section, scope]]
        equal(len(found), 3, f"rows of {section} {scope}")


# ------------------------------------------------------------------ odd memory


def compare_odd(context, python):
    """Moved, mapped over, dropped in part, huge, shared, copied, brought in by the kernel or by
    another process: who has touched what is still there, by the kernel's own map of the pages."""
    if not knows_addresses(context) or late():
        raise Skip("the kernel tells where faults are, and counts at once, from 6.2 on, on x86")
    workload = context.workload("memory_odd.py", python=python)
    tracer = context.attach("memory", workload, "--summary", "--buffer-size", "16M")
    workload.go()
    workload.ready("done")
    with open(f"/proc/{workload.target}/statm") as stream:
        vms, rss = (int(word) * PAGE for word in stream.read().split()[:2])
    tracer.signal(signal.SIGINT)
    tracer.wait(0)
    workload.go()
    equal(tracer.summary()["lost"], 0, "events lost")
    summary = last(context)
    got = {row["function"]: row["resident"] for row in summary.rows["function", "inclusive"]}
    expected = {function: pages * PAGE for function, pages in workload.peek().items()}
    equal({function: got.get(function, 0) for function in expected}, expected,
          "resident bytes by who touched them")
    check(summary.total("<outside>")["resident"] >= 64 * PAGE, "nobody outside has written")
    equal(summary.total("kernel")["stillMapped"], vms, "VMS")
    if statm_is_exact():
        equal(summary.total("kernel")["resident"], rss, "RSS")
    context.note(f"{len(expected)} functions")


@test()
def test_ledger_odd_memory(context):
    compare_odd(context, DEBIAN)


# ------------------------------------------------------------------ bad input


@test()
def test_ledger_says_what_was_lost(context):
    workload = context.workload("ledger.py", "storm", python=DEBIAN)
    pid = workload.ready("step 0")
    tracer = context.trace("memory", "--summary", "--strict", "--buffer-size", "64K", "-v", "-o",
                           context.path("records.csv"), "-p", pid).attached()
    step_through(workload, 1)
    workload.go()
    workload.wait()
    tracer.wait(3)
    lost = tracer.summary()["lost"]
    check(lost > 0, "nothing was lost: proves nothing")
    rows = last(context).rows["lost", ""]
    equal([row["lineNo"] for row in rows], [lost], "events lost, by the summary")
    totals = [row["function"] for row in last(context).rows["total", ""]]
    check("stack growth or lost" in totals and "stack growth" not in totals,
          "what was lost is said to be the stack's growth", None, totals)
    check(f"{lost} events were lost" in tracer.errors(), "not said", None, tracer.errors())


MILLION = 1000000
MILLION_REGIONS = f"""
import ctypes, mmap, sys
sys.path.insert(0, {harness.WORKLOADS!r})
import stage

libc = ctypes.PyDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
size = {MILLION} << 12
start = libc.mmap(None, size, 3, 0x22, -1, 0)
for page in range(start, start + size, 8192):
    libc.mprotect(page, 4096, 1)
stage.ready()
stage.wait_go()
libc.munmap(start, size // 2)
stage.ready("done")
stage.wait_go()
"""


@test()
def test_ledger_million_regions(context):
    """They are there when it begins."""
    limit = "/proc/sys/vm/max_map_count"
    with open(limit) as stream:
        before = stream.read()
    if not os.access(limit, os.W_OK):
        raise Skip(f"{limit} cannot be raised")

    def set_limit(value):
        with open(limit, "w") as stream:
            stream.write(value)

    context.cleanup(lambda: set_limit(before))
    set_limit(str(2 * MILLION))
    workload = context.start([DEBIAN, context.write("million.py", MILLION_REGIONS)])
    tracer = context.attach("memory", workload, "--summary")
    with open(f"/proc/{workload.target}/maps") as stream:
        check(sum(1 for _ in stream) > MILLION, "hardly a mapping: proves nothing")
    workload.go()
    workload.ready("done")
    with open(f"/proc/{workload.target}/statm") as stream:
        vms = int(stream.read().split()[0]) * PAGE
    tracer.signal(signal.SIGINT)
    tracer.wait(0)
    workload.go()
    workload.wait(0)
    start = last(context).total("<start>")
    equal(start["unmapped"], MILLION // 2 * PAGE, "bytes of the start that were unmapped")
    equal(last(context).total("kernel")["stillMapped"], vms, "VMS")
    equal(last(context).total("stack growth")["mapped"], 0, "bytes that nobody has mapped")
    check("inexact" not in tracer.errors(), "something was too much", None, tracer.errors())


@test()
def test_ledger_many_regions(context):
    """As many as the kernel allows by default; test_ledger.c has a million."""
    workload = context.workload("ledger.py", "regions", python=DEBIAN)
    pid = workload.ready("step 0")
    tracer = context.trace("memory", "--summary", "-v", "--buffer-size", "64M", "-o",
                           context.path("records.csv"), "-p", pid).attached()
    step_through(workload, 1)
    after = smaps(pid)
    check(len(after[0]) > 40000, f"only {len(after[0])} mappings")
    workload.go()
    workload.wait()
    tracer.wait()
    equal(tracer.summary()["lost"], 0, "lost events")
    summary = last(context)
    equal(summary.line(marked("regions"))["stillMapped"], 25000 * PAGE, "the regions")
    equal(summary.total("kernel")["stillMapped"], sum(after[0].values()), "VMS")
