# SPDX-License-Identifier: BSD-3-Clause
"""--focused-on: what it keeps is computed from the oracle's events of the same program."""

import collections
import csv
import os

import harness
import interpreters
from harness import Skip, add_test, check, equal, test
from records import events, focus, oracle_events, read_csv, same, same_lines
from test_oracle import BIG

SHAPES = os.path.join(harness.WORKLOADS, "pkg", "shapes.py")
FOCUSING = os.path.join(harness.WORKLOADS, "focusing.py")


def line_of(text):
    """The line of shapes.py that holds a text, counted from 1."""
    with open(SHAPES) as stream:
        lines = stream.read().splitlines()
    found = [number for number, line in enumerate(lines, 1) if text in line]
    assert found, text
    return found[0]


def wanted(name=None, file=None, first=None, last=None):
    """A predicate over the oracle's (thread, kind, name, line, file, first line)."""

    def predicate(event):
        return (name is None or event[2] == name) and (file is None or event[4] == file) and \
            (first is None or first <= event[5] <= (last or first))

    return predicate


def definition(start, end):
    """Line range in shapes.py from the line with one text to the line with another."""
    return {"file": SHAPES, "first": line_of(start), "last": line_of(end)}


SQUARE = ("class Square", "def decorate(")
CIRCLE = ("class Circle", "class Inner")


def focuses():
    """name -> (--focused-on, the predicates of its parts)."""
    square_area = dict(definition(*SQUARE), name="area")
    return {
        "name": ("collatz", [wanted("collatz")]),
        "name_everywhere": ("area", [wanted("area")]),
        "module_function": ("pkg.shapes.area", [wanted("area", SHAPES, line_of("def area(n)"))]),
        "module_class_method": ("pkg.shapes.Square.area", [wanted(**square_area)]),
        "module_class_in_class": ("pkg.shapes.Circle.Inner.area",
                                  [wanted("area", SHAPES, line_of("class Inner"),
                                          line_of("class Square"))]),
        "class_of_two": ("pkg.shapes.Circle.area",
                         [wanted("area", SHAPES, line_of("class Circle"),
                                 line_of("class Inner"))]),
        "file_function": (SHAPES + ":helper", [wanted("helper", SHAPES)]),
        "file_any_depth": (SHAPES + ":area", [wanted("area", SHAPES)]),
        "file_suffix": ("pkg/shapes.py:area", [wanted("area", SHAPES)]),
        "file_nested": (SHAPES + ":step", [wanted("step", SHAPES)]),
        "file_lambda": (SHAPES + ":<lambda>", [wanted("<lambda>", SHAPES)]),
        "file_line": (f"{SHAPES}:{line_of('return helper(self.n) + helper')}",
                      [wanted(**square_area)]),
        "file_line_of_def": (f"{SHAPES}:{line_of('def collatz')}", [wanted("collatz", SHAPES)]),
        "recursion": (SHAPES + ":collatz", [wanted("collatz", SHAPES)]),
        "generator": (SHAPES + ":numbers", [wanted("numbers", SHAPES)]),
        "exception_leaves": (SHAPES + ":leaves", [wanted("leaves", SHAPES)]),
        "exception_caught": ("outer", [wanted("outer")]),
        "decorated": (SHAPES + ":decorated", [wanted("decorated", SHAPES)]),
        "wrapper": (SHAPES + ":wrapper", [wanted("wrapper", SHAPES)]),
        "several": (f"leaves,{SHAPES}:collatz,pkg.shapes.Square.area",
                    [wanted("leaves"), wanted("collatz", SHAPES), wanted(**square_area)]),
        "nested_focuses": ("outer,leaves,helper",
                           [wanted("outer"), wanted("leaves"), wanted("helper")]),
        "stdlib_method": ("textwrap.TextWrapper.wrap", [wanted("wrap", stdlib("textwrap"),
                                                               *wrap_method())]),
        "stdlib_function": ("textwrap.fill", [wanted("fill", stdlib("textwrap"),
                                                     *module_function())]),
    }


def stdlib(name):
    import sysconfig

    return os.path.join(sysconfig.get_paths()["stdlib"], name + ".py")


def _ranges():
    import ast

    with open(stdlib("textwrap")) as stream:
        tree = ast.parse(stream.read())
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == "TextWrapper":
            method = next(its for its in node.body if getattr(its, "name", "") == "wrap")
        if isinstance(node, ast.FunctionDef) and node.name == "fill":
            function = node
    return (method.lineno, method.end_lineno), (function.lineno, function.end_lineno)


def wrap_method():
    return _ranges()[0]


def module_function():
    return _ranges()[1]


def oracle(context, mode, *arguments):
    workload = context.workload("focusing.py", mode, *arguments)
    workload.ready()
    workload.go()
    return workload.result()


def compare_functions(context, name):
    spec, predicates = focuses()[name]
    if name.startswith("stdlib") and "/usr/bin/python3.11" != os.path.realpath(context.python):
        raise harness.Skip("the paths are those of /usr/bin/python3.11")
    expected = focus(oracle(context, "functions"), lambda event: any(p(event) for p in predicates))
    workload = context.workload("focusing.py", "plain")
    tracer = context.record("functions", workload, *BIG, "--focused-on", spec)
    rows = read_csv(context.path("records.csv"), "functions")
    same(events(rows), oracle_events(expected), f"focus on {spec}")
    equal([row["index"] for row in rows], list(range(len(rows))), "the index, after focus")
    equal(tracer.summary()["seen"], len(rows), "seen counts what is in focus")


def compare_lines(context, name):
    spec, predicates = focuses()[name]
    if name.startswith("stdlib") and "/usr/bin/python3.11" != os.path.realpath(context.python):
        raise harness.Skip("the paths are those of /usr/bin/python3.11")
    expected = [event for event in oracle(context, "lines")
                if any(predicate(event) for predicate in predicates)]
    workload = context.workload("focusing.py", "plain")
    context.record("lines", workload, *BIG, "--focused-on", spec)
    rows = read_csv(context.path("records.csv"), "lines")
    same_lines(events(rows, "lines"), oracle_events(expected), f"lines in focus of {spec}")


VM_FOCUSES = "module_class_method file_line generator exception_leaves".split()

for _name in """name name_everywhere module_function module_class_method module_class_in_class
class_of_two file_function file_any_depth file_suffix file_nested file_lambda file_line
file_line_of_def recursion generator exception_leaves exception_caught decorated wrapper several
nested_focuses stdlib_method stdlib_function""".split():
    add_test(f"focus_functions_{_name}",
             lambda context, name=_name: compare_functions(context, name),
             vm=_name in VM_FOCUSES)
    if _name != "file_lambda":  # its only line is one that the probe does not see
        add_test(f"focus_lines_{_name}",
                 lambda context, name=_name: compare_lines(context, name),
                 vm=_name in ("file_line", "generator"), lines=True)


@test()
def test_focus_with_memory(context):
    expected = focus(oracle(context, "functions"), wanted("outer"))
    workload = context.workload("focusing.py", "plain")
    context.record("function_memory", workload, "--focused-on", "outer")
    same(events(read_csv(context.path("records.csv"), "function_memory")), oracle_events(expected))


@test(vm=True)
def test_focus_threads(context):
    """Depth is per thread: three threads in and out of focus at once, and ending."""
    result = focus(oracle(context, "functions", "threads"),
                   lambda event: event[2] in ("collatz", "leaves"))
    expected = collections.defaultdict(list)
    for event, plain in zip(result, oracle_events(result)):
        expected[event[0]].append(plain)
    workload = context.workload("focusing.py", "plain", "threads")
    context.record("functions", workload, *BIG, "--focused-on", "collatz,leaves", "--fields",
                   "+tid")
    actual = collections.defaultdict(list)
    rows = read_csv(context.path("records.csv"), "functions", ("tid",))
    for row, event in zip(rows, events(rows)):
        actual[row["tid"]].append(event)
    equal(len(actual), 4, "threads in the recording")
    # A thread's id under the oracle is another number: match by what they did.
    for sequence in expected.values():
        check(sequence in actual.values(), "the events of no thread equal those of the oracle's",
              sequence[:20], [its[:20] for its in actual.values()])


@test(vm=True)
def test_focus_before_attach(context):
    """A function entered before attaching counts from its next entry."""
    script = context.write("before.py", """
import sys
sys.path.insert(0, %r)
import stage

def helper():
    pass

def wanted(wait):
    if wait:
        stage.ready()
        stage.wait_go()
    helper()
    if wait:
        wanted(False)
    helper()

wanted(True)
""" % harness.WORKLOADS)
    workload = context.workload(script)
    context.record("functions", workload, "--focused-on", "wanted")
    names = [(event.kind, event.function)
             for event in events(read_csv(context.path("records.csv"), "functions"))]
    helper = [("call", "helper"), ("return", "helper")]
    equal(names, [("call", "wanted"), *helper, *helper, ("return", "wanted")], "the records")


@test(vm=True, lines=True)
def test_focus_lines_before_attach(context):
    """A lines focus covers functions entered before at once."""
    script = context.write("before.py", """
import sys
sys.path.insert(0, %r)
import stage

def wanted():
    stage.ready()
    stage.wait_go()
    one = 1
    two = 2
    return one + two

wanted()
""" % harness.WORKLOADS)
    workload = context.workload(script)
    context.record("lines", workload, "--focused-on", "wanted")
    equal([row["line"].strip() for row in read_csv(context.path("records.csv"), "lines")],
          ["one = 1", "two = 2", "return one + two"], "the lines")


@test()
def test_focus_renames(context):
    """In a storm of freed and remade functions the focus finds the one wanted, and no other."""
    workload = context.workload("drive.py", "plain", "exec_storm")
    context.record("functions", workload, *BIG, "--focused-on", "storm_7,storm_12345,storm_19999")
    names = [(event.kind, event.function)
             for event in events(read_csv(context.path("records.csv"), "functions"))]
    equal(names, [(kind, f"storm_{number}") for number in (7, 12345, 19999)
                  for kind in ("call", "return")], "the records")


NOTHING = {
    "no_such_file": ("/no/such/file.py:f", "/no/such/file.py"),
    "no_function_in_file": (SHAPES + ":not_there", "not_there"),
    "no_function_at_line": (f"{SHAPES}:999999", "999999"),
    "no_method_in_module": ("pkg.shapes.Square.not_there", "not_there"),
    "no_class_in_module": ("pkg.shapes.Triangle.area", "Triangle"),
    "no_module": ("no_such_module.area", "no_such_module"),
    "empty": ("", ""),
    "empty_part": ("area,,", ""),
}


def check_nothing(context, spec, named):
    for monitor in ("functions",):
        workload = context.workload("focusing.py", "plain")
        target = workload.ready()
        tracer = context.run(monitor, "--focused-on", spec, "-o", context.path("x.csv"), "-p",
                             target, status=None)
        status = tracer.process.returncode
        check(status in (1, 2), f"a focus that matches nothing ends with {status}")
        text = tracer.errors()
        check(text.startswith("pikos-trace: ") and named in text and len(text.splitlines()) <= 2,
              "no clear error", f"one line with {named!r}", text)
        check(not os.path.exists(context.path("x.csv")), "it made the output file all the same")
        workload.go()
        workload.wait(0)


for _name, (_spec, _named) in NOTHING.items():
    add_test(f"focus_nothing_{_name}", lambda context, spec=_spec, named=_named:
             check_nothing(context, spec, named))


@test()
def test_focus_other_pythons(context):
    """Modules are looked for where the program's own interpreter has them, not the system's."""
    script = context.write("dump.py", "import json\njson.dumps([1])\n")
    others = [each for each in interpreters.known() if each.label.startswith("pyenv")]
    if not others:
        raise Skip("no CPython of pyenv")
    for interpreter in (others[0], others[-1]):
        started = context.write("started", f"#!{interpreter.path}\n" + open(script).read(), 0o755)
        for command in ([interpreter.path, script], ["env", "X=1", interpreter.path, script],
                        [started]):
            output = context.path("records.csv")
            context.run("--focused-on", "json.dumps", "--no-c-calls", "-o", output, "--", *command)
            with open(output, encoding="utf-8", newline="") as stream:
                files = {row["filename"] for row in csv.DictReader(stream)
                         if row["function"] == "dumps"}
            prefix = os.path.dirname(os.path.dirname(interpreter.path))
            check(files and all(name.startswith(prefix + "/lib/") for name in files),
                  f"{command}: where dumps was found", prefix, files)
    context.note(" ".join(each.label for each in (others[0], others[-1])))
