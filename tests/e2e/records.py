# SPDX-License-Identifier: BSD-3-Clause
"""Reading recordings back, and comparing them with what the interpreter itself reports."""

import bisect
import collections
import csv
import sys

from harness import Failure, check, equal

csv.field_size_limit(sys.maxsize)

FIELDS = {
    "functions": "index,type,function,lineNo,filename".split(","),
    "lines": "index,function,lineNo,line,filename".split(","),
    "function_memory": "index,type,function,RSS,VMS,lineNo,filename".split(","),
    "line_memory": "index,function,lineNo,RSS,VMS,line,filename".split(","),
    "memory": "index,type,function,lineNo,address,size,RSS,VMS,line,filename".split(","),
    "memory_native": "index,type,function,lineNo,address,size,RSS,VMS,line,filename,stack,native"
                     .split(","),
}

# Header and line formats of the screen and text recorders, as Python writes them.
FORMATS = {
    "functions": ("{:<8} {:<11} {:<30} {:<5} {}",) * 2,
    "lines": ("{:<12} {:<50} {:<7} {} -- {}",) * 2,
    "function_memory": ("{:<8} | {:<11} | {:<12} | {:<15} | {:<15} | {:>6} | {}",
                        "{:>8} | {:<11} | {:<12} | {:>15} | {:>15} | {:>6} | {}"),
    "line_memory": ("{:^12} | {:^30} | {:^7} | {:^15} | {:^15} | {} {}",
                    "{:<12} | {:<30} | {:<7} | {:>15} | {:>15} | {} {}"),
}

INTEGERS = {"index", "lineNo", "size", "RSS", "VMS", "pid", "tid", "time"}


def read_csv(path, monitor, extra=(), delimiter=","):
    """The rows as dicts, numbers as int; checks the header and the ends of lines."""
    with open(path, "rb") as stream:
        return parse_csv(stream.read(), monitor, extra, delimiter)


def parse_csv(data, monitor, extra=(), delimiter=","):
    fields = [*extra, *FIELDS[monitor]]
    text = data.decode("utf-8")
    header = delimiter.join(fields) + "\r\n"
    if not text.startswith(header):
        raise Failure("the header of the CSV", header, text[:200])
    check(text.endswith("\r\n"), "the CSV's last line is not complete", actual=text[-200:])
    rows = []
    for cells in csv.reader(text.splitlines(keepends=True) if '"' not in text else
                            _keep_line_ends(text), delimiter=delimiter, strict=True):
        if len(cells) != len(fields):
            raise Failure(f"a row of {len(cells)} fields instead of {len(fields)}", fields, cells)
        rows.append(cells)
    return [_typed(dict(zip(fields, cells))) for cells in rows[1:]]


def _keep_line_ends(text):
    """csv wants lines as a file opened with newline="" gives them."""
    import io

    return io.StringIO(text, newline="")


def _typed(row):
    for field in INTEGERS & row.keys():
        if row[field] != "":  # RSS and VMS of lost events
            row[field] = int(row[field])
    return row


def is_lost(row):
    return row.get("type") == "lost" or (row["function"] == "<lost>" and "type" not in row
                                         and not row["filename"])


Event = collections.namedtuple("Event", "kind function line filename")


def events(rows, monitor="functions"):
    """Rows as (type, function, line, file); `type` is `line` for line monitors."""
    kind = "line" if monitor.startswith("line") else None
    return [Event(kind or row["type"], row["function"], row["lineNo"], row["filename"])
            for row in rows]


# The tracer reads this many bytes of a string and marks what it cut.
STRING_MAX = 4095
CUT = "<cut>"


def as_recorded(text):
    data = text.encode()
    return text if len(data) <= STRING_MAX else data[:STRING_MAX].decode(errors="ignore") + CUT


def oracle_events(result):
    return [Event(kind, as_recorded(name), line, as_recorded(filename))
            for _, kind, name, line, filename, _ in result]


def cut(sequence, begin="begin_marker", end="end_marker"):
    """What is between the last event of the begin marker and the first of the end marker."""
    starts = [at for at, event in enumerate(sequence) if event.function == begin]
    ends = [at for at, event in enumerate(sequence) if event.function == end]
    if not starts or not ends:
        raise Failure(f"no {begin} or {end} among {len(sequence)} events", actual=sequence[:10])
    return sequence[starts[-1] + 1:ends[0]]


def brief(value):
    return value[:80] + f"...({len(value)} characters)..." + value[-20:] \
        if isinstance(value, str) and len(value) > 120 else value


def show(sequence, at, around=4):
    lines = [f"{'=>' if number == at else '  '} {number}: {tuple(map(brief, sequence[number]))!r}"
             for number in range(max(0, at - around), min(len(sequence), at + around + 1))]
    return "\n".join(lines) + ("" if at < len(sequence) else f"\n=> {at}: (the end)")


def same(actual, expected, what="the events"):
    """Compare sequences exactly; a failure shows the first difference with its neighbours."""
    if not expected:
        raise Failure(f"{what}: the oracle has none, this would compare nothing")
    if actual == expected:
        return
    at = next((n for n, (a, b) in enumerate(zip(actual, expected)) if a != b),
              min(len(actual), len(expected)))
    raise Failure(f"{what}: differ at {at} ({len(expected)} expected, {len(actual)} recorded)",
                  show(expected, at), show(actual, at))


def same_without_throws(actual, expected, what="the events"):
    """Compare functions on CPython 3.15, whose probes differ from setprofile in three ways.

    An entry's line is -1 where code comes before RESUME (cells, free variables). A throw() into a
    generator is no entry; its return is one. A close() that no handler can see does not run the
    generator, under setprofile it does: no entry, no return. Returns (unknown lines, throws
    missing, closes missing).
    """
    if not expected:
        raise Failure(f"{what}: the oracle has none, this would compare nothing")
    at = unknown = throws = closes = 0
    number = 0
    while at < len(expected):
        wanted = expected[at]
        event = actual[number] if number < len(actual) else None
        plain = wanted._replace(kind="call") if wanted.kind in ("throw", "close") else wanted
        if event == plain:
            number += 1
        elif event == plain._replace(line=-1) and wanted.kind == "call":
            unknown += 1
            number += 1
        elif wanted.kind == "throw":
            throws += 1
        elif wanted.kind == "close":
            closes += 1
            following = expected[at + 1] if at + 1 < len(expected) else None
            # Its return right behind: nothing of the generator ran.
            if following and following[:2] == ("return", wanted.function) and event != following:
                at += 1
        else:
            raise Failure(f"{what}: differ at {number} ({len(expected)} expected, {len(actual)} "
                          "recorded)", show(expected, at), show(actual, number))
        at += 1
    if number != len(actual):
        raise Failure(f"{what}: too many records", "the end", show(actual, number))
    return unknown, throws, closes


def same_lines(actual, expected, what="the lines"):
    """Compare lines with settrace's, allowing the known differences of the line probe.

    The kinds of expected are those of workloads/drive.py. In code without generators the recording
    is all lines, or all but the `first` ones; nothing between. In generators a set of positions in
    expected stands for all ways to match what was recorded.
    """
    if not any(event.kind in ("line", "generator") for event in expected):
        raise Failure(f"{what}: the oracle has none, this would compare nothing")
    kinds = [event.kind for event in expected]
    plain = [event._replace(kind="line") for event in expected]
    if not {"generator", "again", "resume"} & set(kinds):
        if actual != plain:
            same(actual, [event for event, kind in zip(plain, kinds) if kind != "first"],
                 what + ", known differences aside")
        return
    optional = [kind in ("first", "again", "resume") for kind in kinds]
    in_generator = collections.defaultdict(list)  # (function, file): where it is in expected
    for at, event in enumerate(expected):
        if event.kind in ("generator", "again", "resume"):
            in_generator[event.function, event.filename].append(at)

    def skip_optional(positions):
        reached = set()
        for at in positions:
            reached.add(at)
            while at < len(plain) and optional[at]:
                at += 1
                reached.add(at)
        return reached

    def repeats(at, event):
        """Whether the generator was last seen on this very line."""
        where = in_generator.get((event.function, event.filename), ())
        before = bisect.bisect_left(where, at)
        # Several generators of one function may be under way: one of the last few is this one.
        return any(plain[number] == event for number in where[max(0, before - 8):before])

    positions = skip_optional({0})
    for number, event in enumerate(actual):
        following = skip_optional({at + 1 for at in positions
                                   if at < len(plain) and plain[at] == event})
        following |= {at for at in positions if repeats(at, event)}
        if not following:
            furthest = max(positions)
            raise Failure(f"{what}: differ at {number} ({len(expected)} expected, optional ones "
                          f"included, {len(actual)} recorded)",
                          show(expected, furthest), show(actual, number))
        positions = following
    if len(plain) not in positions:
        raise Failure(f"{what}: end too early", show(expected, max(positions)), len(actual))


def focus(result, wanted):
    """What a function focus keeps of the oracle's events: all while inside a wanted function.

    wanted(event) sees the oracle's tuples (thread, type, name, line, file, first line).
    """
    depths = collections.Counter()
    kept = []
    for event in result:
        thread, kind = event[:2]
        focused = wanted(event)
        if focused and kind == "call":
            depths[thread] += 1
        if depths[thread]:
            kept.append(event)
        if focused and kind == "return" and depths[thread]:
            depths[thread] -= 1
    return kept


def by_thread(rows):
    """{(pid, tid): rows}, in the order of rows."""
    found = collections.defaultdict(list)
    for row in rows:
        found[row.get("pid"), row.get("tid")].append(row)
    return found


def check_complete(rows, summary):
    """Index of each row against the counts: every gap is a lost row's. Nothing filtered."""
    lost = 0
    at = 0
    for number, row in enumerate(rows):
        if row["index"] != at:
            raise Failure("the index of a row does not continue those before it", at,
                          "\n".join(repr(its) for its in rows[max(0, number - 4):number + 4]))
        if is_lost(row):
            count = int(row["lineNo"])
            check(count > 0, "a row of lost events that counts none")
            lost += count
            at += count
        else:
            at += 1
    equal(at, summary["seen"], "events that the rows account for")
    equal(lost, summary["lost"], "the lost events of the rows")
    equal(sum(not is_lost(row) for row in rows), summary["written"], "rows written")


def parse_text(text, monitor):
    """Text records as tuples of strings, after checking header, rule and formats of each line."""
    header_format, line_format = FORMATS[monitor]
    header = header_format.format(*FIELDS[monitor])
    lines = text.split("\n")
    equal(lines[0], header, "the header")
    equal(lines[1], "-" * len(header), "the line below the header")
    equal(lines[-1], "", "the end of the text")
    return lines[2:-1], line_format
