# SPDX-License-Identifier: BSD-3-Clause
"""What the agent records is the sequence of sys.setprofile and sys.settrace, on every CPython.

One process of each interpreter runs many cases under the oracle, another runs them under the
agent. With PIKOS_TEST_FULL each case of each interpreter is a test of its own, too.
"""

import csv
import os
import sys

import interpreters
from harness import Failure, Skip, add_test, check, equal, test
from records import FIELDS, Event, as_recorded, same
from test_oracle import BIG, CASES

AGENT_CASES = """c_builtins c_methods c_slots c_exceptions c_generators c_contexts classes_of_c
late_free one_line many_lines programs""".split()
LIBRARY_CASES = """sources made_classes pickles dispatch generator_ways context_managers new_syntax tasks
sqlite test_runner futures""".split()
ALL_CASES = AGENT_CASES + LIBRARY_CASES + CASES
BRIEF_CASES = "c_methods generators one_line".split()

MODES = {
    "functions": ("functions", "functions", ("--c-calls",)),
    "no_c_calls": ("functions", "functions", ("--no-c-calls",)),
    "lines": ("lines", "lines", ()),
}


def oracle(context, interpreter, mode, place, scratch, cases):
    """{thread: events} as the interpreter itself tells them."""
    workload = context.start(interpreter.command(
        os.path.join(place, "agent_drive.py"), mode, interpreter.inside(scratch), *cases))
    workload.ready()
    workload.go()
    return {thread: [Event(kind, as_recorded(name), line, as_recorded(file))
                     for kind, name, line, file in events]
            for thread, events in workload.result().items()}


def without_c_calls(threads):
    return {thread: [event for event in events if not event.kind.startswith("c_")]
            for thread, events in threads.items()}


def sections(threads):
    """{marker suffix: events between its markers} of {thread: events}."""
    begin, end = "begin_marker_", "end_marker_"
    found = {}
    for events in threads.values():
        start = name = None
        for at, event in enumerate(events):
            if event.function.startswith(begin):
                start, name = at + 1, event.function[len(begin):]
            elif name is not None and event.function == end + name:
                check(name not in found, f"{begin}{name} ran twice")
                found[name] = events[start:at]
                name = None
        check(name is None, f"no {end}{name}")
    return found


def recorded(path, monitor):
    """{tid: events} of a CSV with +pid,+tid; checks header, index and that nothing is lost."""
    kind = "line" if monitor == "lines" else None
    threads = {}
    at = 0
    with open(path, encoding="utf-8", newline="") as stream:
        rows = csv.reader(stream, strict=True)
        equal(next(rows, None), ["pid", "tid", *FIELDS[monitor]], "the CSV's header")
        for row in rows:
            if row[2] != str(at):
                raise Failure(f"row {at} has another index", at, row)
            at += 1
            if kind:
                event = Event(kind, row[3], int(row[4]), row[6])
            else:
                event = Event(row[3], row[4], int(row[5]), row[6])
                check(event.kind != "lost", f"lost events although the buffer is big: {row}")
            threads.setdefault(row[1], []).append(event)
    check(at, "no records")
    return threads


def compare_sections(context, actual, expected, what):
    equal(sorted(actual), sorted(expected), "the cases recorded")
    failures = []
    for name in expected:
        if not expected[name] and name == "case_deep":
            continue  # all is in its thread
        try:
            same(actual[name], expected[name], f"{name} under {what}")
        except Failure as failure:
            failures.append((name, failure))
    if failures:
        first = failures[0][1]
        raise Failure(f"{first} ({len(failures)} of {len(expected)} cases differ: "
                      f"{' '.join(name for name, _ in failures)})",
                      first.expected, first.actual)
    context.note(f"{sum(map(len, expected.values()))} events")


def tracer_options(mode):
    monitor, oracle_mode, options = MODES[mode]
    return monitor, oracle_mode, (*options, "--source", "agent", *BIG, "--fields", "+pid,+tid")


def compare_attached(context, interpreter, mode, cases):
    """With C calls and without are compared with one run of the oracle: it takes longest."""
    place, _ = interpreter.place(context)
    scratch = interpreter.scratch(context)
    expected = oracle(context, interpreter, MODES[mode][1], place, scratch, cases)
    trace_cases(context, interpreter, mode, place, scratch, cases, expected)
    if mode == "functions":
        trace_cases(context, interpreter, "no_c_calls", place, scratch, cases,
                    without_c_calls(expected))


def trace_cases(context, interpreter, mode, place, scratch, cases, expected):
    monitor, _, options = tracer_options(mode)
    workload = context.start(interpreter.command(
        os.path.join(place, "agent_drive.py"), "plain", interpreter.inside(scratch), *cases))
    tracer = context.record(monitor, workload, *options)
    equal(tracer.summary()["lost"], 0, "events lost")
    compare_sections(context, sections(recorded(context.path("records.csv"), monitor)),
                     sections(expected), f"{interpreter.name}, {mode}")


RUN_CASES = [*BRIEF_CASES, "exec", "exceptions", "threads"]


def compare_run(context, interpreter, mode, cases=RUN_CASES):
    """Run mode: hooked before __main__, so the markers are nothing special."""
    monitor, oracle_mode, options = tracer_options(mode)
    place, _ = interpreter.place(context)
    scratch = interpreter.scratch(context)
    expected = oracle(context, interpreter, oracle_mode, place, scratch, cases)
    output = context.path("run.csv")
    tracer = context.run(monitor, "-v", "-o", output, *options, "--", *interpreter.command(
        os.path.join(place, "agent_drive.py"), "plain", interpreter.inside(scratch), *cases))
    equal(tracer.summary()["lost"], 0, "events lost")
    threads = recorded(output, monitor)
    check(any(event.function == "<module>" and event.filename.endswith("agent_drive.py")
              for events in threads.values() for event in events),
          "the script's <module> was not recorded")
    compare_sections(context, sections(threads), sections(expected),
                     f"{interpreter.name}, {mode}, run mode")


def skip(context, reason):
    raise Skip(reason)


def register():
    known = interpreters.known()
    newest = {each.version: each for each in known}  # one of each version in run mode
    for each in known:
        for mode in ("functions", "lines"):
            add_test(f"agent_{mode}_{each.label}",
                     lambda context, each=each, mode=mode:
                     compare_attached(context, each, mode, ALL_CASES))
            if os.environ.get("PIKOS_TEST_FULL"):
                for case in ALL_CASES:
                    add_test(f"agent_{mode}_{each.label}_only_{case}",
                             lambda context, each=each, mode=mode, case=case:
                             compare_attached(context, each, mode, [case]))
                add_test(f"agent_run_{mode}_{each.label}_all",
                         lambda context, each=each, mode=mode:
                         compare_run(context, each, mode, ALL_CASES))
        if newest[each.version] is each:
            for mode in ("functions", "lines"):
                add_test(f"agent_run_{mode}_{each.label}",
                         lambda context, each=each, mode=mode: compare_run(context, each, mode))
    # Other kernels are slow: a few cases on their only interpreter, by attaching to it.
    for mode in ("functions", "lines") if known else ():
        add_test(f"agent_brief_{mode}",
                 lambda context, mode=mode: compare_attached(context, known[0], mode, BRIEF_CASES),
                 vm=True)
    for label, reason in interpreters.missing().items():
        add_test(f"agent_functions_{label}",
                 lambda context, reason=reason: skip(context, reason))


register()


# ------------------------------------------------------------------ the tests themselves


@test()
def test_agent_oracle_is_deterministic(context):
    """Two runs under the oracle agree, C calls included, on the newest interpreter."""
    interpreter = interpreters.newest()
    place, _ = interpreter.place(context)
    scratch = interpreter.scratch(context)
    for mode in ("functions", "lines"):
        first, second = (sections(oracle(context, interpreter, mode, place, scratch, ALL_CASES))
                         for _ in range(2))
        compare_sections(context, second, first, f"{mode} twice")


@test()
def test_agent_oracle_refuses_wrong_recordings(context):
    """A missing, an extra, a swapped and a renamed event each fail the comparison."""
    interpreter = interpreters.newest()
    place, _ = interpreter.place(context)
    threads = oracle(context, interpreter, "functions", place, interpreter.scratch(context),
                     ["c_methods"])
    right = sections(threads)
    compare_sections(context, right, right, "itself")
    events = right["case_c_methods"]
    check({"call", "return", "c_call", "c_return"} <= {event.kind for event in events},
          "kinds of events are missing")
    at = next(n for n in range(len(events) - 1) if events[n] != events[n + 1])
    wrongs = {
        "missing": events[:at] + events[at + 1:], "truncated": events[:-1], "empty": [],
        "extra": events[:at] + [events[at]] + events[at:],
        "swapped": events[:at] + [events[at + 1], events[at]] + events[at + 2:],
        "renamed": [*events[:-1], events[-1]._replace(function="x")],
    }
    for name, wrong in wrongs.items():
        try:
            compare_sections(context, {"case_c_methods": wrong}, right, name)
        except Failure:
            continue
        raise Failure(f"a recording with one {name} was taken")


if __name__ == "__main__":
    sys.exit("run by tests/e2e/run")
