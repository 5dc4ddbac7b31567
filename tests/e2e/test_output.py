# SPDX-License-Identifier: BSD-3-Clause
"""What the recorders write: CSV that Python reads back, text as Python formats it."""

import os
import re
import subprocess
import sys
import unicodedata

import harness
from harness import Failure, Lines, check, equal, test
from records import FIELDS, FORMATS, cut, events, parse_csv, parse_text, read_csv, same
from test_oracle import BIG, oracle, oracle_sections

sys.path.insert(0, harness.WORKLOADS)
import cases  # noqa: E402

MONITORS = ["functions", "lines", "function_memory", "line_memory"]


def supported(context):
    lines = "line" in harness.probes_of(context.python)
    return [monitor for monitor in MONITORS if lines or not monitor.startswith("line")]


def recording(context, monitor, name, *arguments, case="recursion"):
    """The bytes of a recording of a case, which does the same each time."""
    workload = context.workload("drive.py", "plain", case)
    context.record(monitor, workload, *BIG, *arguments, output=name)
    with open(context.path(name), "rb") as stream:
        return stream.read()


@test()
def test_csv_headers(context):
    for monitor in supported(context):
        data = recording(context, monitor, "records.csv")
        first = data.split(b"\n")[0]
        equal(first, ",".join(FIELDS[monitor]).encode() + b"\r", f"the header of {monitor}")
        check(b"\n" not in data.replace(b"\r\n", b""), f"a line of {monitor} without CRLF")
        check(len(parse_csv(data, monitor)) > 100, "few records")


@test()
def test_csv_equals_python_writer(context):
    """Quoting is that of Python's csv, byte for byte: only where it must be."""
    import csv
    import io

    data = recording(context, "functions", "records.csv", case="names_hostile")
    rows = parse_csv(data, "functions")
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows([FIELDS["functions"], *([row[field] for field in
                                                          FIELDS["functions"]] for row in rows)])
    equal(data.decode(), stream.getvalue(), "the file")


@test()
def test_csv_delimiter(context):
    for delimiter in (";", "\t", "|"):
        data = recording(context, "functions", "records.csv", "--csv-delimiter", delimiter,
                         case="names_hostile")
        rows = parse_csv(data, "functions", delimiter=delimiter)
        expected = oracle_sections(oracle(context, "functions", "names_hostile"), "names_hostile")
        same(cut(events(rows)), expected[""], f"read back with delimiter {delimiter!r}")


def control_characters(text):
    """Those that a terminal may act upon, line ends aside."""
    return {character for character in text
            if unicodedata.category(character) == "Cc" and character != "\n"}


def check_no_control(data, what):
    text = data.decode("utf-8")
    equal(control_characters(text), set(), f"control characters in {what}")
    return text


def formatted(rows, monitor):
    line = FORMATS[monitor][1]
    return [line.format(*(row[field] for field in FIELDS[monitor])) for row in rows]


@test()
def test_text_formats(context):
    """Text is what str.format makes of the same records (RSS and VMS taken from the text)."""
    for monitor in supported(context):
        for case in ("recursion", "names_non_ascii"):
            rows = parse_csv(recording(context, monitor, "a.csv", case=case), monitor)
            text = recording(context, monitor, "a.log", "--recording", "text", case=case)
            lines, _ = parse_text(text.decode(), monitor)
            equal(len(lines), len(rows), f"{monitor}: lines of text")
            if monitor.endswith("memory"):
                for row, line in zip(rows, lines):
                    cells = line.split(" | ")
                    at = {"function_memory": 3, "line_memory": 3}[monitor]
                    row["RSS"], row["VMS"] = int(cells[at]), int(cells[at + 1])
            for line, wanted in zip(lines, formatted(rows, monitor)):
                equal(line, wanted, f"a line of {monitor}")


@test()
def test_screen_formats(context):
    """screen, the default: the same on stdout, and nothing else there."""
    workload = context.workload("drive.py", "plain", "recursion")
    tracer = context.attach("functions", workload, *BIG, output=None, stdout=subprocess.PIPE)
    output = Lines(tracer.stdout)
    workload.go()
    workload.wait(0)
    tracer.wait(0)
    output.thread.join(harness.DEADLINE)
    rows = parse_csv(recording(context, "functions", "a.csv"), "functions")
    lines, _ = parse_text(output.text(), "functions")
    equal(lines, formatted(rows, "functions"), "the lines on the screen")


@test()
def test_hostile_names_csv(context):
    for monitor in supported(context):
        rows = parse_csv(recording(context, monitor, "a.csv", case="names_hostile"), monitor)
        seen = [row["function"] for row in rows]
        for name in cases.HOSTILE:
            check(name in seen, f"{monitor}: the name {name!r} is not in the CSV",
                  actual=seen[-60:])


def visible(name):
    """A name without what may be escaped, to find its line by."""
    kept = "".join(character if character.isprintable() and character != "\\" else "\n"
                   for character in name)
    return [part for part in kept.split("\n") if part.strip()]


@test()
def test_hostile_names_text(context):
    """No raw control character reaches a text file or a terminal, each record is one line."""
    for monitor in supported(context):
        csv_rows = parse_csv(recording(context, monitor, "a.csv", case="names_hostile"), monitor)
        for recorder in ("text", "screen"):
            for extra in ((), ("--plain",), ("--tree",)):
                if extra == ("--tree",) and monitor.startswith("line"):
                    continue
                workload = context.workload("drive.py", "plain", "names_hostile")
                with open(context.path("a.log"), "wb") as screen:
                    context.record(monitor, workload, *BIG, "--recording", recorder, *extra,
                                   output="a.log" if recorder == "text" else None, stdout=screen)
                with open(context.path("a.log"), "rb") as stream:
                    text = check_no_control(stream.read(), f"{recorder} {monitor} {extra}")
                if extra != ("--tree",):
                    equal(text.count("\n") - 2, len(csv_rows),
                          f"lines of {recorder} {monitor} {extra}")
                for name in cases.HOSTILE:
                    for part in visible(name):
                        check(part in text, f"nothing of the name {name!r} in {recorder}")


@test()
def test_hostile_names_escaped(context):
    """The escape is the one that SPEC 3 names."""
    text = recording(context, "functions", "a.log", "--recording", "text",
                     case="names_hostile").decode()
    check(re.search(r"\\x1b\[31mred\\x1b\[0m|\\e\[31mred\\e\[0m", text),
          "ESC is not written as an escape")
    check(re.search(r"line\\(n|x0a)break", text), "a newline is not written as an escape")


@test()
def test_plain(context):
    """Fields with one space between them, under the same header and rule."""
    for monitor in supported(context):
        rows = parse_csv(recording(context, monitor, "a.csv"), monitor)
        lines = recording(context, monitor, "a.log", "--plain", "--recording", "text") \
            .decode().split("\n")
        header = FORMATS[monitor][0].format(*FIELDS[monitor])
        equal(lines[0], header, f"{monitor}: the header")
        equal(lines[1], "-" * len(header), f"{monitor}: the rule")
        if monitor.endswith("memory"):
            equal(len(lines) - 3, len(rows), f"{monitor}: the lines")
            continue
        equal(lines[2:-1], [" ".join(str(row[field]) for field in FIELDS[monitor])
                            for row in rows], f"{monitor}: the lines")


@test()
def test_suffix_chooses_recorder(context):
    equal(recording(context, "functions", "x.csv")[:12], b"index,type,f", "a.csv without option")
    text = recording(context, "functions", "x.log").decode()
    parse_text(text, "functions")


@test()
def test_default_output_names(context):
    """monitor_records.csv and monitor_records.log, in the working directory."""
    for recorder, name in (("csv", "monitor_records.csv"), ("text", "monitor_records.log")):
        workload = context.workload("drive.py", "plain", "recursion")
        context.record("functions", workload, "--recording", recorder, output=None,
                       cwd=context.dir)
        check(os.path.getsize(context.path(name)) > 1000, f"{name} is not written")


@test()
def test_output_dash_is_stdout(context):
    for recorder in ("csv", "text"):
        workload = context.workload("drive.py", "plain", "recursion")
        target = workload.ready()
        tracer = context.trace("functions", "-v", *BIG, "--recording", recorder, "-o", "-", "-p",
                               target, stdout=subprocess.PIPE).attached()
        output = Lines(tracer.stdout)
        workload.go()
        workload.wait(0)
        tracer.wait(0)
        output.thread.join(harness.DEADLINE)
        if recorder == "csv":
            rows = parse_csv(output.text().encode(), "functions")
            equal(len(rows), tracer.summary()["written"], "rows on stdout")
        else:
            parse_text(output.text(), "functions")


OPEN_STREAMS = """
import os
for number in range(3):
    try:
        os.fstat(number)
    except OSError:
        continue
    os._exit(9)
"""


@test()
def test_closed_streams(context):
    """Who starts us may have closed them all: what we open does not stand in their place, and the
    program has none of it."""
    for closed, arguments, status in (
            ("<&- >&- 2>&-", ("-o", context.path("records.csv"), "--", context.python, "-c",
                              OPEN_STREAMS), 0),
            (">&-", ("-o", "-", "--recording", "csv", "--", context.python, "-c", "pass"), 1)):
        context.run("memory", *arguments, status=status,
                    prefix=("sh", "-c", f'exec "$@" {closed}', "sh"))
    with open(context.path("records.csv"), newline="") as stream:
        header, *rows = stream.read().splitlines()
    equal(header.split(",")[:3], ["index", "type", "function"], "the header")
    check(len(rows) > 100, "few records", "more than 100", len(rows))


TIMED = """
import sys
import time
sys.path.insert(0, %r)
import stage

def timed():
    pass

clock = time.clock_gettime_ns
stage.ready()
stage.wait_go()
around = []
for number in range(50):
    before = clock(time.CLOCK_MONOTONIC)
    timed()
    around.append((before, clock(time.CLOCK_MONOTONIC)))
stage.result(around)
""" % harness.WORKLOADS


@test()
def test_fields(context):
    """pid and tid of the caller; time between what the workload read before and after."""
    workload = context.workload(context.write("timed.py", TIMED))
    context.record("functions", workload, "--fields", "+pid,+tid,+time")
    rows = read_csv(context.path("records.csv"), "functions", ("pid", "tid", "time"))
    check(all(row["pid"] == workload.target and row["tid"] == workload.target for row in rows),
          "a pid or tid that is not the workload's", workload.target, rows[0])
    times = [row["time"] for row in rows]
    equal(times, sorted(times), "the times, which may not decrease")
    calls = [row for row in rows if row["function"] == "timed"]
    around = [pair for pair in workload.peek() for _ in range(2)]
    equal(len(calls), len(around), "records of timed()")
    for row, (before, after) in zip(calls, around):
        check(before <= row["time"] <= after, "a record's time is not when it happened",
              (before, after), row["time"])


@test()
def test_fields_subsets(context):
    for chosen in (("pid",), ("time",), ("tid", "pid")):
        workload = context.workload("drive.py", "plain", "recursion")
        context.record("functions", workload, "--fields", ",".join("+" + name for name in chosen))
        with open(context.path("records.csv")) as stream:
            header = stream.readline().rstrip().split(",")
        equal(sorted(header[:len(chosen)]), sorted(chosen), "the leading columns")
        equal(header[len(chosen):], FIELDS["functions"], "the other columns")


@test()
def test_fields_text(context):
    """Extra columns lead in text too; the rest of the line is as ever."""
    workload = context.workload("drive.py", "plain", "recursion")
    context.record("functions", workload, "--fields", "+pid", output="a.log")
    with open(context.path("a.log")) as stream:
        lines = stream.read().splitlines()
    plain = recording(context, "functions", "b.log").decode().splitlines()
    check(lines[0].startswith("pid") and lines[0].endswith(plain[0]), "the header", plain[0],
          lines[0])
    equal(lines[1], "-" * len(lines[0]), "the rule")
    for line, without in zip(lines[2:], plain[2:]):
        check(line.split()[0] == str(workload.target) and line.endswith(without),
              "a line with pid", f"{workload.target} ... {without}", line)


@test()
def test_tree(context):
    """--tree indents a callee deeper than its caller and prints a time at each return."""
    script = context.write("tree.py", """
import sys
sys.path.insert(0, %r)
import stage

def leaf():
    pass

def branch():
    leaf()
    leaf()

def root():
    branch()

stage.ready()
stage.wait_go()
root()
""" % harness.WORKLOADS)
    for monitor in ("functions", "function_memory"):
        workload = context.workload(script)
        context.record(monitor, workload, "--tree", "--focused-on", "root", output="a.log")
        with open(context.path("a.log")) as stream:
            lines = stream.read().splitlines()

        def column(name):
            return [line.index(name) for line in lines if re.search(rf"\b{name}\b", line)
                    and name != "branch" or "branch" in line and name == "branch"]

        roots, branches, leaves = (column(name) for name in ("root", "branch", "leaf"))
        check(roots and branches and leaves, "a function is missing", actual="\n".join(lines))
        check(roots[0] < branches[0] < leaves[0], "callees are not indented deeper",
              actual="\n".join(lines))
        equal(set(leaves), {leaves[0]}, f"{monitor}: columns of the leaves")
        returns = [line for line in lines if "<-" in line]
        equal(len(returns), 4, f"{monitor}: returns")
        for line in returns:
            check(re.search(r"\d+\.\d+", line.split("<-")[0]), "a return without a time",
                  actual=line)
    refused = context.run("lines", "--tree", "-p", 1, status=2)
    check("--tree" in refused.errors() or "tree" in refused.errors(),
          "--tree with lines is not refused by name", actual=refused.errors())


@test()
def test_buffered(context):
    """--buffered writes the same."""
    same(parse_csv(recording(context, "functions", "a.csv", "--buffered"), "functions"),
         parse_csv(recording(context, "functions", "b.csv"), "functions"), "the records")


@test(vm=True)
def test_transports(context):
    """Ring and perf buffer give the same records."""
    expected = oracle_sections(oracle(context, "functions", "generators"), "generators")[""]
    for transport in ("ringbuf", "perfbuf", "auto"):
        rows = parse_csv(recording(context, "functions", "a.csv", "--transport", transport,
                                   case="generators"), "functions")
        same(cut(events(rows)), expected, f"--transport {transport}")


@test()
def test_transports_storm(context):
    """Where pointers are reused, too, and with memory in each record."""
    expected = oracle_sections(oracle(context, "functions", "name_storm"), "name_storm")[""]
    rows = parse_csv(recording(context, "function_memory", "a.csv", "--transport", "perfbuf",
                               case="name_storm"), "function_memory")
    same(cut(events(rows, "function_memory")), expected, "perfbuf")


# Lengths of the names in the test below, by their letter
ENDLESS = {"x": 10_000_000, "y": 10_000_000, "é": 3_000_000, "z": 70_000, "w": 65_536,
           "v": 1_000_000}


@test()
def test_endless_strings(context):
    """A name of ten million characters arrives whole or marked as cut; nothing breaks."""
    script = context.write("endless.py", """
import sys
sys.path.insert(0, %r)
import stage

def simple():
    pass

make = type(simple)
code = simple.__code__
endless = [make(code.replace(co_name=name, co_filename=file), {}) for name, file in (
    ("x" * 10_000_000, "short"), ("short", "y" * 10_000_000), ("é" * 3_000_000, "z" * 70_000),
    ("w" * 65_536, "v" * 1_000_000))]

def after():
    pass

stage.ready()
stage.wait_go()
for _ in range(3):
    for function in endless:
        function()
after()
""" % harness.WORKLOADS)
    for monitor in supported(context):
        workload = context.workload(script)
        tracer = context.record(monitor, workload, *BIG)
        summary = tracer.summary()
        rows = read_csv(context.path("records.csv"), monitor)
        check(any(row["function"] == "after" for row in rows), f"{monitor}: after() is missing")
        for row in rows:
            for field in ("function", "filename"):
                text = row[field]
                if len(text) > 60_000:
                    whole = ENDLESS[text[0]]
                    rest = text.lstrip(text[0])
                    check(len(text) == whole or rest,
                          f"{monitor}: {len(text)} of {whole} characters and not marked as cut",
                          actual=text[:20] + "..." + text[-20:])
        found = sum(row["function"][:1] in ("x", "é", "w") and len(row["function"]) > 100
                    for row in rows)
        check(found or summary["lost"], f"{monitor}: no record with an endless name, none lost")


@test()
def test_surrogate_names(context):
    """A name that has no UTF-8: the probe passes no string. Counted, recorded or lost."""
    script = context.write("surrogates.py", """
import sys
sys.path.insert(0, %r)
import stage

def simple():
    pass

bad = type(simple)(simple.__code__.replace(co_name="bad\\udc80name"), {})

def after():
    pass

stage.ready()
stage.wait_go()
for _ in range(3):
    try:
        bad()
    except Exception:
        pass  # CPython leaves the encoder's error behind when the probe is on
after()
""" % harness.WORKLOADS)
    workload = context.workload(script)
    tracer = context.attach("functions", workload)
    workload.go()
    workload.wait(None)  # see above: the interpreter itself may stumble
    tracer.wait(0)
    tracer.summary()
    rows = read_csv(context.path("records.csv"), "functions")
    check(rows, "no records")
