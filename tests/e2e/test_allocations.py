# SPDX-License-Identifier: BSD-3-Clause
"""The monitor `allocations` against hooks of PyMem_SetAllocator in the same process."""

import collections
import csv
import os
import pickle
import signal
import subprocess
import time

import harness
import interpreters
from harness import Failure, Skip, add_test, check, equal, test, wait_for
from test_oracle import BIG

HEADER = "time value1 value2 event name mod lineno from_name from_mod from_line pid tid depth"
Row = collections.namedtuple("Row", HEADER)
NUMBERS = set("time value1 value2 event lineno from_line pid tid depth".split())
BEGIN, END, CHILDS = 1234567, 7654321, 987000  # as in workloads/allocating.py
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


def sizes_of_freed(rows):
    """{id of a row: its size} by the rows of all threads: one may free what another allocated,
    which the oracle, who has one thread's, does not know."""
    memory = [row for row in rows if row.event >= 1000]
    entries = [(row.event, row.value1, max(row.value2, 0)) for row in memory]
    return {id(row): size for row, (event, size) in zip(memory, sized(entries))
            if event in (FREE, REALLOC_FREE)}


def between_marks(rows, tid):
    own = [row for row in rows if row.tid == tid]
    at = [n for n, row in enumerate(own) if (row.event, row.value2) == (MALLOC, BEGIN)]
    end = [n for n, row in enumerate(own) if (row.event, row.value2) == (MALLOC, END)]
    check(len(at) == len(end) == 1, f"{len(at)} beginnings and {len(end)} ends")
    return own[at[0]:end[0] + 1]


def check_one_process(rows):
    """Nothing of the children that it forked."""
    equal({row.pid for row in rows}, {rows[0].pid}, "processes")
    childs = [row for row in rows
              if row.event >= 1000 and CHILDS <= abs(row.value2) < CHILDS + 1000]
    equal(childs, [], "rows of forked children")


def without_trial(truth):
    """The agent tries, in the program's thread if one comes by, whether those in front of it hand
    on to it: with a block of one byte, given back at once."""
    for at, ((first, block, size), (second, given, _)) in enumerate(zip(truth, truth[1:])):
        if (first, size, second, given) == (MALLOC, 1, FREE, block):
            return truth[:at] + truth[at + 2:]
    return truth


def compare(context, rows, truth, tid):
    check_one_process(rows)
    freed = sizes_of_freed(rows)
    rows = between_marks(rows, tid)
    ours = [(row.event, row.value1, row.value2) for row in rows if row.event >= 1000]
    if len(truth) > len(ours):
        truth = without_trial(truth)
    equal(len(ours), len(truth), "the number of allocations")
    for n, (mine, its) in enumerate(zip(ours, truth)):
        if mine[:2] != its[:2]:
            raise Failure(f"allocation {n} is another", truth[n - 3:n + 3], ours[n - 3:n + 3])
    expected = collections.Counter(sized(truth))
    actual = collections.Counter(sized([(event, address, max(size, 0))
                                        for event, address, size in ours]))
    equal(actual, expected, "the allocations by event and size")
    for event, _, size in ours:
        check(event < FREE or size <= 0, "a freed block has a size above 0", None, size)
    for row in rows:
        if freed.get(id(row)):
            equal(row.value2, freed[id(row)], f"the size of event {row.event}")
    for row in rows:
        check(row.name and row.name != "<unknown>", "an allocation of nobody", None, row)
    context.note(f"{len(ours)} allocations")


def run_program(context, interpreter, options=(), env=None, ways=()):
    """Rows of a program that we ran, and what the oracle saw in it."""
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
    with open(result, "rb") as stream:
        truth = pickle.load(stream)
    rows = rows_of(output)
    equal(len(rows), tracer.summary()["written"], "rows")
    return rows, truth


def run_and_compare(context, interpreter, env=None):
    rows, truth = run_program(context, interpreter, env=env)
    compare(context, rows, truth, rows[0].pid)


def run_beside_tracemalloc(context, interpreter):
    """That allocates for what the agent allocates, too, which is no event, and its first blocks
    with what was there when it was imported, behind the oracle: the rest is the same."""
    rows, truth = run_program(context, interpreter, ways=("lists", "tracemalloc", "dicts"))
    own = collections.Counter((row.event, row.value1)
                              for row in between_marks(rows, rows[0].pid) if row.event >= 1000)
    seen = collections.Counter((event, address) for event, address, _ in truth)
    missing, more = (seen - own).total(), (own - seen).total()
    check(missing <= 0.02 * len(truth) and more <= 10, "others than the oracle's",
          seen - own, own - seen)
    context.note(f"{seen.total()} allocations, {missing} for the agent's")


def attached(context, interpreter, *options, ways=(), env=None):
    """Rows of a process that was running, what the oracle saw there, and its main thread."""
    place, _ = interpreter.place(context)
    workload = context.start(interpreter.command(
        os.path.join(place, "allocating.py"), build_oracle(context, interpreter), *ways),
        env=env)
    tracer = context.record("allocations", workload, *BIG, *options)
    equal(tracer.summary()["lost"], 0, "events lost")
    rows = rows_of(context.path("records.csv"))
    equal(len(rows), tracer.summary()["written"], "rows")
    equal([row.event for row in rows if row.event in (0, 100, 101)], [100, 101],
          "beginning and end")
    return rows, workload.peek(), workload.target


def attach_and_compare(context, interpreter, env=None):
    compare(context, *attached(context, interpreter, "--source", "agent", env=env))


def libc_tells(context, interpreter):
    """What Python has from libc is among what libc gives, in that order."""
    rows, truth, tid = attached(context, interpreter)
    own = iter([(row.event, row.value1, max(row.value2, 0)) for row in rows if row.tid == tid])
    check(truth, "the oracle saw nothing")
    check_one_process(rows)
    for at, (event, address, size) in enumerate(truth):
        if event in (MALLOC, REALLOC):
            size = size or 1  # Python asks libc for no empty blocks
        if event != CALLOC and (event, address, size) not in own:  # takes what is before it, too
            raise Failure(f"allocation {at} of {len(truth)} is not there", truth[at - 2:at + 3])
    named = [row for row in rows if row.tid == tid and row.event >= 1000]
    unknown = [row for row in named if row.name.startswith("<unknown")]
    check(len(unknown) * 100 <= len(named), "more than 1 % of nobody", len(named), unknown[:3])
    context.note(f"{len(named)} allocations, {len(truth)} of them Python's raw ones")


def register():
    for each in interpreters.known():
        add_test(f"allocations_{each.label}",
                 lambda context, each=each: run_and_compare(context, each))
        add_test(f"allocations_attached_{each.label}",
                 lambda context, each=each: attach_and_compare(context, each))
        add_test(f"allocations_libc_{each.label}",
                 lambda context, each=each: libc_tells(context, each))
        add_test(f"allocations_debug_{each.label}",
                 lambda context, each=each: run_and_compare(
                     context, each, env={"PYTHONMALLOC": "debug"}))
        add_test(f"allocations_tracemalloc_{each.label}",
                 lambda context, each=each: run_beside_tracemalloc(context, each))


register()


# ------------------------------------------------------------------ in and out


def allocator(workload, number):
    """Have it allocate; returns which malloc it has then."""
    if number:
        workload.go()
    line = f" {number} "
    workload.announced.wait(lambda lines: any(line in each for each in lines), harness.DEADLINE)
    found = [each.split()[2] for each in workload.announced.lines if line in each]
    check(found, f"the workload did not answer {number}")
    return found[0]


def in_and_out(context, interpreter):
    """The hooks go with the tracer, however it ends, and come again."""
    place, _ = interpreter.place(context)
    workload = context.start(interpreter.command(os.path.join(place, "allocators.py")))
    bare, number = allocator(workload, 0), 0
    for how in (signal.SIGINT, signal.SIGKILL, signal.SIGINT):
        tracer = context.attach("allocations", workload, "--source", "agent",
                                output=f"{number}.csv")
        number += 1
        check(allocator(workload, number) != bare, "no hook is in")
        tracer.signal(how)
        tracer.wait(0 if how == signal.SIGINT else -how)
        began = time.monotonic()

        def is_bare():
            nonlocal number
            number += 1
            return allocator(workload, number) == bare

        if how == signal.SIGINT:
            check(is_bare(), "a hook stays behind")
            rows = rows_of(context.path(f"{number - 2}.csv"))
            size = 100000 + 8 * (number - 1)
            found = [row for row in rows if (row.event, row.value2) == (MALLOC, size)]
            check(len(found) == 50 and all(row.name == "allocate" for row in found),
                  "50 allocations by allocate()", None, rows[-20:])
        else:
            wait_for(is_bare, "bare after kill -9")
            context.note(f"bare {time.monotonic() - began:.3f} s after kill -9")
    workload.signal(signal.SIGKILL)


def behind_another(context, interpreter):
    """Somebody is in front of us when we go: we stay, hand on, and are used again; the second
    time by other hooks."""
    place, _ = interpreter.place(context)
    workload = context.start(interpreter.command(
        os.path.join(place, "allocators.py"), "tracemalloc"))
    allocator(workload, 0)
    for number, options in ((1, ()), (2, ("--overhead",)), (3, ())):
        tracer = context.attach("allocations", workload, "--source", "agent", *options,
                                output=f"{number}.csv")
        allocator(workload, number)
        tracer.signal(signal.SIGINT)
        tracer.wait(0)
        found = [row for row in rows_of(context.path(f"{number}.csv"))
                 if (row.event, row.value2) == (MALLOC, 100000 + 8 * number)]
        equal(len(found), 50, f"allocations of session {number}")
    allocator(workload, 4)
    workload.signal(signal.SIGKILL)


def while_tracemalloc_stops(context, interpreter):
    """What the agent's thread allocates must never wait there for the GIL."""
    place, _ = interpreter.place(context)
    command = interpreter.command(os.path.join(place, "tracemalloc_stops.py"))
    tracer = context.run("allocations", "-v", "-o", context.path("records.csv"), "--", *command)
    check(tracer.summary()["written"] > 0, "no rows")
    workload = context.start(command)
    for monitor in ("allocations", "functions", "allocations"):
        tracer = context.attach(monitor, workload, "--source", "agent")
        tracer.signal(signal.SIGINT)
        tracer.wait(0)
    workload.go()
    workload.wait(0)


for _each in interpreters.known():
    add_test(f"allocations_while_tracemalloc_stops_{_each.label}",
             lambda context, each=_each: while_tracemalloc_stops(context, each))
    add_test(f"allocations_in_and_out_{_each.label}",
             lambda context, each=_each: in_and_out(context, each))
    add_test(f"allocations_behind_another_{_each.label}",
             lambda context, each=_each: behind_another(context, each))


# ------------------------------------------------------------------ fork and exec


BECOMES = """
import os, sys
blocks = [[None] * (80 + n) for n in range(2000)]
if len(sys.argv) == 1:
    # What stays allocated lies where the next program has blocks, too.
    os.execv(sys.executable, [sys.executable, __file__, "again"])
del blocks[::2]
"""


BLOCKS = {8 * (80 + n) for n in range(2000)}


def run_becoming(context, interpreter, *options):
    """Rows of a program that becomes another."""
    program, output = f"{interpreter.scratch(context)}/becomes.py", context.path("records.csv")
    with open(program, "w", encoding="utf-8") as stream:
        stream.write(BECOMES)
    tracer = context.run("allocations", "-v", "-o", output, *BIG, *options, "--",
                         *interpreter.command(interpreter.inside(program)),
                         prefix=(harness.need_command("setarch"), "-R"))  # no random addresses
    equal(tracer.summary()["lost"], 0, "events lost")
    rows = rows_of(output)
    equal(len(rows), tracer.summary()["written"], "rows")
    equal([row.event for row in rows if row.event in (0, 100, 101)], [100, 101],
          "beginning and end")
    check_one_process(rows)
    return rows


def becomes_another(context, interpreter):
    """The sizes of one program's blocks are not those of the next, which has its addresses."""
    rows = run_becoming(context, interpreter)
    execs = [n for n, row in enumerate(rows) if (row.event, row.name) == (3, "execv")]
    equal(len(execs), 1, "calls of execv")
    before, after = rows[:execs[0]], rows[execs[0]:]
    for part in before, after:
        freed = sizes_of_freed(part)
        for row in part:
            if row.event in (FREE, REALLOC_FREE):
                equal(row.value2, freed[id(row)], f"the size of {row}")
        check(BLOCKS <= {row.value2 for row in part if row.event == MALLOC}, "blocks are missing")
    left = {row.value1 for row in before if row.event in (MALLOC, CALLOC, REALLOC)}
    unknown = [row for row in after if row.event == FREE and not row.value2]
    shared = sum(row.value1 in left for row in unknown)
    context.note(f"{shared} of {len(unknown)} blocks of unknown size lie where others did")


def becomes_another_beside_libc(context, interpreter):
    """The same as libc tells it: all blocks of both, and the sizes of those given back."""
    rows = run_becoming(context, interpreter, "--source", "usdt")
    made = collections.Counter(row.value2 for row in rows if row.event == MALLOC)
    check(all(made[size] >= 2 for size in BLOCKS), "blocks are missing")
    last = max(n for n, row in enumerate(rows) if (row.event, row.value2) == (MALLOC, max(BLOCKS)))
    freed = collections.Counter(-row.value2 for row in rows[last:] if row.event == FREE)
    check(all(freed[8 * (80 + n)] for n in range(2000)), "sizes of what is given back")


for _each in interpreters.known():
    add_test(f"allocations_through_exec_{_each.label}",
             lambda context, each=_each: becomes_another(context, each))
    add_test(f"allocations_through_exec_libc_{_each.label}",
             lambda context, each=_each: becomes_another_beside_libc(context, each))


@test()
def test_allocations_beside_functions(context):
    """Two tracers have probes in one interpreter's file, and one of them at its entry point."""
    workload = context.workload("busy.py", "forever")
    other = context.attach("functions", workload, output="functions.csv")
    same = next(each for each in interpreters.known() if each.path == context.python)
    becomes_another_beside_libc(context, same)
    other.signal(signal.SIGINT)
    other.wait(0)


# ------------------------------------------------------------------ what is done with them


HASHES = """
names = {}
exec(compile("def f(n): return bytearray(n)", "odd#file, \\"quoted\\".py", "exec"), names)
for _ in range(3):
    names["f"](200000)
"""


@test()
def test_allocations_in_pandas(context):
    """read_csv makes the original's data frame, though a name has a hash in it."""
    if subprocess.run(["/usr/bin/python3", "-c", "import pandas"], check=False,
                      stderr=subprocess.DEVNULL).returncode:
        raise Skip("no python3-pandas (scripts/install-deps)")
    program, output = context.write("hashes.py", HASHES), context.path("records.csv")
    tracer = context.run("allocations", "-v", "-o", output, "--", context.python, program)
    reader = f"""
import pandas
for engine in "c", "python":
    frame = pandas.read_csv({output!r}, comment="#", engine=engine)
    assert list(frame.columns) == {HEADER.split()!r}, frame.columns
    for name in {sorted(NUMBERS)!r}:
        assert frame[name].dtype == "int64", (name, frame[name].dtype)
    assert frame.event.iloc[0] == 100 and frame.event.iloc[-1] == 101
    assert frame.time.is_monotonic_increasing
    odd = frame[(frame.event == 1000) & (frame.value2 == 200001)]
    assert len(odd) == 3, odd
    assert set(odd["mod"]) == {{'odd\\\\x23file, "quoted".py'}}, set(odd["mod"])
    assert set(odd.from_name) == {{"<module>"}} and set(odd.name) == {{"f"}}, odd
print(len(frame))
"""
    done = subprocess.run(["/usr/bin/python3", "-c", reader], capture_output=True, text=True,
                          check=False)
    equal((done.returncode, done.stderr), (0, ""), "pandas")
    equal(int(done.stdout), tracer.summary()["written"], "rows of the frame")


@test()
def test_allocations_columns(context):
    """Callers, lines and depths of a known program."""
    program = context.write("known.py", "\n".join([
        "def inner(n):", "    block = bytearray(n)", "    return len(block)", "",
        "def outer():", "    inner(300000)", "    return inner(", "        400000)", "", "outer()"]))
    output = context.path("records.csv")
    context.run("allocations", "-o", output, "--", context.python, program)
    rows = [row for row in rows_of(output) if row.mod == program or row.from_mod == program]
    found = [(row.event, row.value2, row.name, row.lineno, row.from_name, row.from_line, row.depth)
             for row in rows]
    base = next(row.depth for row in rows if row.name == "<module>")
    expected = []
    for size, line in ((300001, 6), (400001, 7)):
        expected += [(1, 0, "inner", 1, "outer", line, base + 2),
                     (1000, size, "inner", 2, "outer", line, base + 2),
                     (3, 0, "len", 3, "inner", 3, base + 2), (4, 0, "len", 3, "inner", 3, base + 2),
                     (1003, -size, "inner", 3, "outer", line, base + 2),
                     (2, 0, "inner", 3, "outer", line, base + 2)]
    chosen = [row for row in found if row[4] in ("outer", "inner")]
    # The block goes after the return on some versions; where it does belongs to them.
    order = [row for row in chosen if row[0] != 1003]
    equal(order, [row for row in expected if row[0] != 1003], "the rows of inner()")
    freed = [row.value2 for row in rows if row.event == 1003]
    check({-300001, -400001} <= set(freed), "both blocks are freed", None, freed)


@test()
def test_allocations_limits(context):
    """--max-records, --filter and --fields as with any monitor."""
    program = context.write("many.py", "for n in range(2000):\n    bytearray(5000 + n)\n")
    output = context.path("records.csv")
    tracer = context.run("allocations", "-v", "--max-records", "20", "-o", output, "--",
                         context.python, program)
    equal((len(rows_of(output)), tracer.summary()["written"]), (20, 20), "rows")
    tracer = context.run("allocations", "-v", "--filter", "event=1000", "-o", output,
                         "--fields", "+tid", *BIG, "--", context.python, program)
    rows = rows_of(output)
    equal({row.event for row in rows}, {MALLOC}, "events")
    equal(len(rows), tracer.summary()["written"], "rows")
    check(tracer.summary()["filtered"], "nothing was filtered")


@test()
def test_allocations_of_threads_without_python(context):
    """A thread that C code starts allocates; it is nobody's."""
    compiler = harness.need_command("cc")
    source = context.write("native.c", """
#include <pthread.h>
#include <stddef.h>
static void *(*take)(size_t);
static void (*give)(void *);
static void *work(void *unused)
{
	for (int i = 0; i < 100; i++)
		give(take(3000 + i));
	return unused;
}
void run(void *(*take_)(size_t), void (*give_)(void *))
{
	pthread_t threads[4];
	take = take_, give = give_;
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, work, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}
""")
    library, output = context.path("native.so"), context.path("records.csv")
    subprocess.run([compiler, "-shared", "-fPIC", "-pthread", "-o", library, source], check=True)
    program = context.write("native.py", f"""
import ctypes
take, give = (ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p)
              for name in ("PyMem_RawMalloc", "PyMem_RawFree"))
ctypes.CDLL({library!r}).run(take, give)
""")
    tracer = context.run("allocations", "-v", "-o", output, *BIG, "--", context.python, program)
    equal(tracer.summary()["lost"], 0, "events lost")
    rows = [row for row in rows_of(output) if row.tid != row.pid and row.event >= 1000]
    equal(collections.Counter((row.event, row.name) for row in rows),
          {(MALLOC, "<native>"): 400, (FREE, "<native>"): 400}, "rows of the threads")
    equal(collections.Counter(row.value2 for row in rows if row.event == MALLOC),
          {3000 + n: 4 for n in range(100)}, "sizes")
    check(all(row.value2 < 0 for row in rows if row.event == FREE), "a size is not known")
