# SPDX-License-Identifier: BSD-3-Clause
"""--filter against the same filter in Python, over the unfiltered recording."""

import harness
from harness import add_test, check, equal, test
from records import read_csv, same
from test_oracle import BIG


def one_of(field, *values):
    return lambda row, before: str(row[field]) in values


def none_of(field, *values):
    return lambda row, before: str(row[field]) not in values


def change(field):
    return lambda row, before: before is None or row[field] != before[field]


CASES = "/cases.py"
FILTERS = {
    "on_value": (["type=call"], [one_of("type", "call")]),
    "on_values": (["function=gcd,is_odd"], [one_of("function", "gcd", "is_odd")]),
    "not_on_value": (["type!=return"], [none_of("type", "return")]),
    "not_on_values": (["function!=fibonacci,ackermann"],
                      [none_of("function", "fibonacci", "ackermann")]),
    "number": (["lineNo=281,284,286"], [one_of("lineNo", "281", "284", "286")]),
    "change": (["change(function)"], [change("function")]),
    "change_number": (["change(lineNo)"], [change("lineNo")]),
    "several": (["type=call", "function!=ackermann"],
                [one_of("type", "call"), none_of("function", "ackermann")]),
    "change_after_value": (["type=call", "change(function)"],
                           [one_of("type", "call"), change("function")]),
    "value_after_change": (["change(function)", "type=return"],
                           [change("function"), one_of("type", "return")]),
    "two_changes": (["change(type)", "change(function)"], [change("type"), change("function")]),
    "file": (["filename!=" + harness.WORKLOADS + CASES],
             [none_of("filename", harness.WORKLOADS + CASES)]),
    "nothing_left": (["function=no_such_function"], [one_of("function", "no_such_function")]),
}


def apply(rows, filters):
    """In order; a later filter does not see what an earlier one dropped."""
    before = [None] * len(filters)
    kept = []
    for row in rows:
        for number, keeps in enumerate(filters):
            keep = keeps(row, before[number])
            before[number] = row
            if not keep:
                break
        else:
            kept.append(row)
    return kept


def unfiltered(context, monitor, case="recursion"):
    workload = context.workload("drive.py", "plain", case)
    context.record(monitor, workload, *BIG, output="all.csv")
    return read_csv(context.path("all.csv"), monitor)


def compare(context, monitor, expressions, filters):
    rows = unfiltered(context, monitor)
    workload = context.workload("drive.py", "plain", "recursion")
    options = [part for expression in expressions for part in ("--filter", expression)]
    tracer = context.record(monitor, workload, *BIG, *options)
    actual = read_csv(context.path("records.csv"), monitor)
    expected = apply(rows, filters)
    same([tuple(row.values()) for row in actual] + ["end"],
         [tuple(row.values()) for row in expected] + ["end"], f"filtered by {expressions}")
    equal(tracer.summary(), {"seen": len(rows), "written": len(expected), "lost": 0,
                             "filtered": len(rows) - len(expected)}, "the summary")
    check(len(expected) < len(rows), "the filter dropped nothing: proves nothing")


VM_FILTERS = "on_values change".split()  # in the kernel, and not

for _name, (_expressions, _filters) in FILTERS.items():
    add_test(f"filter_{_name}", lambda context, expressions=_expressions, filters=_filters:
             compare(context, "functions", expressions, filters),
             vm=_name in VM_FILTERS)


@test(lines=True)
def test_filter_lines(context):
    compare(context, "lines", ["function=gcd", "change(lineNo)"],
            [one_of("function", "gcd"), change("lineNo")])


@test(lines=True)
def test_filter_source_text(context):
    text = "        return n + 1"  # a value cannot hold a comma
    compare(context, "lines", ["line=" + text], [one_of("line", text)])


@test(vm=True)
def test_filter_with_focus(context):
    """Index counts what is in focus; the filter comes after."""
    workload = context.workload("drive.py", "plain", "recursion")
    tracer = context.record("functions", workload, "--focused-on", "gcd", "--filter", "type=return")
    rows = read_csv(context.path("records.csv"), "functions")
    check(len(rows) > 2, "few records")
    # All calls first, then all returns: gcd recurses in its last expression.
    equal([row["index"] for row in rows], list(range(len(rows), 2 * len(rows))), "the index")
    equal(tracer.summary()["filtered"], len(rows), "filtered")


@test(vm=True)
def test_filter_memory(context):
    """change(RSS) keeps what differs from the record before."""
    workload = context.workload("memory.py")
    tracer = context.record("function_memory", workload, "--filter", "change(RSS)")
    rows = read_csv(context.path("records.csv"), "function_memory")
    for before, after in zip(rows, rows[1:]):
        check(before["RSS"] != after["RSS"], "two records of one RSS", actual=(before, after))
    summary = tracer.summary()
    check(summary["filtered"] > 0 and len(rows) > 20, "the filter did nothing", actual=summary)


@test()
def test_filter_names_with_special_characters(context):
    """A value may hold any character but the comma."""
    rows = unfiltered(context, "functions", "names_hostile")
    for name in ('say "hi"', "tab\there", "{}", " leading", "'", "=1+1", "\x1b[31mred\x1b[0m"):
        workload = context.workload("drive.py", "plain", "names_hostile")
        context.record("functions", workload, "--filter", "function=" + name)
        same([row["index"] for row in read_csv(context.path("records.csv"), "functions")],
             [row["index"] for row in rows if row["function"] == name], f"function={name!r}")


@test()
def test_filter_extra_field(context):
    """Extra columns can be filtered too."""
    workload = context.workload("drive.py", "plain", "recursion")
    target = workload.ready()
    context.record("functions", workload, "--fields", "+pid", "--filter", f"pid={target}")
    check(len(read_csv(context.path("records.csv"), "functions", ("pid",))) > 100, "few records")
    workload = context.workload("drive.py", "plain", "recursion")
    context.record("functions", workload, "--fields", "+pid", "--filter", "pid=1")
    equal(read_csv(context.path("records.csv"), "functions", ("pid",)), [], "records of pid 1")
