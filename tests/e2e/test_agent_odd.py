# SPDX-License-Identifier: BSD-3-Clause
"""The agent does no harm: injections, programs that end, fork, exec or meddle, and what it leaves.

PIKOS_TEST_INJECTIONS is how many injections each kind of program gets (9); PIKOS_TEST_FULL has all
interpreters take part in tests that else take one of each way of hooking.
"""

import collections
import os
import re
import signal
import subprocess
import sys

import harness
import interpreters
from harness import Failure, Skip, add_test, check, equal, need_command, test, wait_for
from records import events, read_csv
from test_agent_oracle import BIG, oracle, recorded, same, sections

INJECTIONS = int(os.environ.get("PIKOS_TEST_INJECTIONS", "9"))
FULL = bool(os.environ.get("PIKOS_TEST_FULL"))
AGENT = ("--source", "agent")

# One of each way of hooking: setprofile with structs of 3.9, of 3.11; sys.monitoring.
SOME = ((3, 9), (3, 11), (3, 13))


def some():
    known = interpreters.known()
    if FULL:
        return known
    chosen = [interpreters.of_version(*version) for version in SOME
              if any(each.version == version for each in known)]
    if not chosen:
        raise Skip("none of CPython 3.9, 3.11 and 3.13 is here")
    return chosen


def each_of_some(context, function):
    for interpreter in some():
        try:
            function(interpreter)
        except Failure as failure:
            raise Failure(f"{interpreter.name}: {failure}", failure.expected,
                          failure.actual) from None
    context.note(" ".join(each.label for each in some()))


def odd(context, interpreter, *arguments, **options):
    place, _ = interpreter.place(context)
    return context.start(interpreter.command(os.path.join(place, "agent_odd.py"), *arguments),
                         **options)


def tasks(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except (FileNotFoundError, ProcessLookupError):
        return 0


def libraries(pid):
    """How many copies of the agent a process has mapped (by their executable parts)."""
    with open(f"/proc/{pid}/maps") as stream:
        return sum("pikos-agent" in line and " r-xp " in line for line in stream)


def one_line(tracer, *words):
    """Its only complaint is one line of the form of SPEC 8 (and a hint), with these words."""
    text = tracer.errors()
    found = re.findall(r"^pikos-trace: cannot \w+ .*: .*$", text, re.M)
    equal(len(found), 1, f"lines of the form `cannot VERB 'OBJECT': REASON` in {text!r}")
    for word in words:
        check(word in text, f"'{word}' is not named", actual=text)


# ------------------------------------------------------------------ injections


def inject(context, interpreter, kind, count):
    """`count` tracers, one after the other, on one process, which must not notice."""
    workload = odd(context, interpreter, kind)
    target = workload.ready("turning")
    seen = 0
    for number in range(count):
        monitor = "lines" if number % 3 == 2 else "functions"
        tracer = context.trace(monitor, *AGENT, "-v", "--buffered", "-o", context.path("i.csv"),
                               "-p", target)
        tracer.attached()
        tracer.signal(signal.SIGINT)
        tracer.wait(0)
        seen += tracer.summary()["seen"]
        check(workload.running(), f"the target died in injection {number + 1}")
        context.tracers.remove(tracer)
    check(libraries(target) <= 1, f"{libraries(target)} copies of the agent are in the target")
    workload.go()
    workload.wait(0)
    return seen


def inject_all(context, kind):
    total = 0
    chosen = some()
    for interpreter in chosen:
        seen = inject(context, interpreter, kind, max(1, INJECTIONS // len(chosen)))
        check(seen or kind in ("sleeping", "blocked"), f"{interpreter.name}: nothing was seen")
        total += max(1, INJECTIONS // len(chosen))
    context.note(f"{total} injections")


for _kind in ("busy", "sleeping", "napping", "threaded", "forking", "blocked", "churn"):
    add_test(f"agent_inject_{_kind}", lambda context, kind=_kind: inject_all(context, kind))


@test()
def test_agent_target_dies_meanwhile(context):
    """A target killed while it is attached to, at several moments: one line or a plain end."""
    def moments(interpreter):
        for number in range(6):
            workload = odd(context, interpreter, "busy" if number % 2 else "sleeping")
            target = workload.ready("turning")
            tracer = context.trace("functions", *AGENT, "-v", "-o", context.path("d.csv"), "-p",
                                   target)
            conditions = (
                lambda: is_traced(target), lambda: libraries(target), lambda: tasks(target) > 1)
            wait_for(lambda: conditions[number % 3]() or is_over(tracer), "an injection")
            workload.signal(signal.SIGKILL)
            status = tracer.wait(None)
            check(status in (0, 1), f"exit status {status}", actual=tracer.errors())
            if status == 1:
                one_line(tracer)
            workload.wait(-signal.SIGKILL)

    each_of_some(context, moments)


def is_traced(pid):
    try:
        with open(f"/proc/{pid}/status") as stream:
            return re.search(r"^TracerPid:\t[1-9]", stream.read(), re.M)
    except (FileNotFoundError, ProcessLookupError):
        return True


def is_over(tracer):
    """Whether the moment has passed: the tracer is attached, or gone."""
    return ": tracing " in tracer.errors() or not tracer.running()


@test()
def test_agent_target_execs_meanwhile(context):
    """A target that becomes another program while it is attached to; that one must run well."""
    def moments(interpreter):
        for number in range(4):
            workload = odd(context, interpreter, "execing", interpreter.path, "-c",
                           "import sys; sys.exit(sum(range(10)))")
            target = workload.ready("turning")
            tracer = context.trace("functions", *AGENT, "-v", "-o", context.path("d.csv"), "-p",
                                   target)
            conditions = (lambda: is_traced(target), lambda: libraries(target))
            wait_for(lambda: conditions[number % 2]() or is_over(tracer), "an injection")
            workload.go()
            workload.wait(45)
            status = tracer.wait(None)
            check(status in (0, 1), f"exit status {status}", actual=tracer.errors())
            if status == 1:
                one_line(tracer)

    each_of_some(context, moments)


# ------------------------------------------------------------------ children


@test()
def test_agent_fork_bomb(context):
    """200 short children of a traced program, some with their own: all end as they should."""
    def bomb(interpreter):
        workload = odd(context, interpreter, "bomb")
        tracer = context.record("functions", workload, *AGENT, *BIG)
        equal(tracer.summary()["lost"], 0, "events lost")
        names = collections.Counter(
            event[:2] for event in events(read_csv(context.path("records.csv"), "functions")))
        equal(names["call", "bomb"], 0, "calls of the function that it was attached in")
        equal(names["return", "bomb"], 1, "returns of it: the children's are not the target's")
        equal(names["c_call", "fork"], 200, "forks of the target")

    each_of_some(context, bomb)


# ------------------------------------------------------------------ programs that meddle


def own_tool(context, interpreter, kind, when):
    """Its own profiler or tracer and ours both see what is called once both are there."""
    monitor = "functions" if kind == "profile" else "lines"
    workload = odd(context, interpreter, "own_tool", kind, when)
    options = ("--no-c-calls",) if kind == "profile" else ()
    tracer = context.attach(monitor, workload, *AGENT, *BIG, *options)
    workload.go()
    workload.ready("set")
    replaced = kind == "trace" or interpreter.version < (3, 12)
    if replaced and when == "after":
        check(tracer.stderr.wait(lambda lines: any(
            re.search("profiler|tracer", line) and "own" in line for line in lines),
            harness.DEADLINE), "it does not say that the program set its own",
            actual=tracer.errors())
    workload.go()
    workload.ready("removed")
    workload.go()  # removing theirs must leave ours: what follows is recorded
    workload.wait(0)
    tracer.wait(0)
    equal(workload.peek(), 1000, "calls of step() that the program's own tool saw")
    rows = read_csv(context.path("records.csv"), monitor)
    steps = sum(row["function"] == "step" and row.get("type", "call") == "call" for row in rows)
    check(steps >= 1000, "our records of step() lack some", "at least 1000", steps)
    check(any(row["function"] == "after" for row in rows),
          "nothing was recorded after the program removed its own")


@test()
def test_agent_beside_own_profiler(context):
    def both(interpreter):
        for when in ("before", "after"):
            own_tool(context, interpreter, "profile", when)

    each_of_some(context, both)


@test()
def test_agent_beside_own_tracer(context):
    def both(interpreter):
        for when in ("before", "after"):
            own_tool(context, interpreter, "trace", when)

    each_of_some(context, both)


@test()
def test_agent_late_free(context):
    """Code that is freed under no tracer, under another one, and at the interpreter's end."""
    def parts(interpreter):
        workload = odd(context, interpreter, "late")
        expected = [200, 200, 100, 50]
        for part in range(4):
            target = workload.ready(f"part{part}")
            tracer = None
            if part != 1:  # part 1 frees under none
                tracer = context.trace("functions", "-v", *AGENT, "-o", context.path("p.csv"),
                                       "-p", target).attached()
            workload.go()
            workload.ready(f"part{part + 1}" if part < 3 else "over")
            if tracer:
                tracer.signal(signal.SIGINT)
                tracer.wait(0)
                names = [event.function for event in
                         events(read_csv(context.path("p.csv"), "functions"))
                         if event.kind == "call" and event.function.startswith("late_")]
                equal(len(names), expected[part], f"late functions in part {part}")
                equal(len(set(names)), expected[part], f"their names in part {part}")
        workload.go()
        workload.wait(0)

    each_of_some(context, parts)


@test()
def test_agent_deep_recursion(context):
    """A recursion limit of 100 000, used."""
    def deep(interpreter):
        for monitor in ("functions", "lines"):
            workload = odd(context, interpreter, "deep")
            tracer = context.record(monitor, workload, *AGENT, *BIG)
            equal(tracer.summary()["lost"], 0, "events lost")
            wanted = b",call,dig," if monitor == "functions" else b",dig,"
            with open(context.path("records.csv"), "rb") as stream:
                calls = sum(wanted in line for line in stream)
            equal(calls, 90001, f"calls or lines of dig() with {monitor}")

    each_of_some(context, deep)


@test()
def test_agent_signal_handler(context):
    """Python's signal handlers run in the middle of everything; each is seen."""
    def signals(interpreter):
        workload = odd(context, interpreter, "signals")
        tracer = context.record("functions", workload, *AGENT, *BIG)
        equal(tracer.summary()["lost"], 0, "events lost")
        with open(context.path("records.csv"), "rb") as stream:
            text = stream.read()
        equal((text.count(b",call,handle,"), text.count(b",return,handle,")),
              (workload.peek(),) * 2, "calls and returns of the handler")

    each_of_some(context, signals)


@test()
def test_agent_subinterpreters(context):
    """Subinterpreters are not seen: said, once attached, and harmless."""
    def both(interpreter):
        workload = odd(context, interpreter, "interpreters_too")
        tracer = context.attach("functions", workload, *AGENT, *BIG)
        workload.go()
        workload.ready("more")
        workload.go()
        workload.wait(0)
        tracer.wait(0)
        check("subinterpreter" in tracer.errors(), "not said that subinterpreters are not seen",
              actual=tracer.errors())

    each_of_some(context, both)


STACKS = """
import sys
sys.path.insert(0, %(workloads)r)
import stage
%(imports)s

def leaf(n):
    return n

def run():
%(run)s

def begin_marker_case_stacks(): pass
def end_marker_case_stacks(): pass

events = {None: []}
def profile(frame, event, argument):
    code = frame.f_code
    name = code.co_name if event in ("call", "return") else argument.__name__
    events[None].append((event, name, frame.f_lineno, code.co_filename))

run()  # what it loads at first is not the subject
stage.ready()
stage.wait_go()
if sys.argv[1] == "oracle":
    sys.setprofile(profile)
begin_marker_case_stacks()
run()
end_marker_case_stacks()
if sys.argv[1] == "oracle":
    sys.setprofile(None)
    stage.result(events)
"""

GREENLETS = """
    def worker(n):
        for i in range(3):
            leaf(i)
            others[(n + 1) % 3].switch() if not others[(n + 1) % 3].dead else leaf(9)
    others = [greenlet.greenlet(lambda n=n: worker(n)) for n in range(3)]
    for each in others:
        if not each.dead:
            each.switch()
    def failing():
        leaf(1)
        main.switch()
        raise KeyError
    main = greenlet.getcurrent()
    bad = greenlet.greenlet(failing)
    bad.switch()
    try:
        bad.switch()
    except KeyError:
        leaf(2)
    killed = greenlet.greenlet(lambda: main.switch(leaf(3)))
    killed.switch()
    killed.throw()
"""

GEVENT = """
    def worker(n):
        for i in range(4):
            leaf(i)
            gevent.sleep(0)
        return n
    jobs = [gevent.spawn(worker, n) for n in range(5)]
    gevent.joinall(jobs)
    assert [job.value for job in jobs] == list(range(5))
    queue = gevent.queue.Queue(1)
    def produce():
        for n in range(5):
            queue.put(n)
        queue.put(None)
    gevent.spawn(produce)
    while queue.get() is not None:
        leaf(7)
"""


def stacks(context, imports, run, sequence):
    """Programs that switch C stacks. Compared with setprofile where that tells all."""
    interpreter = interpreters.of_version(3, 11)
    python = next((each for each in interpreters.known() if each.path == "/usr/bin/python3.11"),
                  interpreter)
    module = imports.split()[1].split(".")[0]
    if subprocess.run([python.path, "-c", imports], stderr=subprocess.DEVNULL).returncode:
        raise Skip(f"{python.path} has no {module} (scripts/install-deps test)")
    script = context.write("stacks.py", STACKS % {
        "workloads": harness.WORKLOADS, "imports": imports, "run": run})
    workload = context.start([python.path, script, "oracle"])
    workload.ready()
    workload.go()
    told = workload.result()
    for monitor in ("functions", "lines"):
        workload = context.start([python.path, script, "plain"])
        tracer = context.record(monitor, workload, *AGENT, *BIG, "--fields", "+pid,+tid")
        equal(tracer.summary()["lost"], 0, "events lost")
        found = recorded(context.path("records.csv"), monitor)
        if monitor == "functions" and sequence:
            same([tuple(event) for event in sections(found)["case_stacks"]],
                 [event for event in told[None]][
                     next(at for at, e in enumerate(told[None])
                          if e[:2] == ("return", "begin_marker_case_stacks")) + 1:
                     next(at for at, e in enumerate(told[None])
                          if e[:2] == ("call", "end_marker_case_stacks"))], module)
        check(any(event.function == "leaf" for event in sections(found)["case_stacks"]),
              "leaf() was not recorded")


@test()
def test_agent_greenlet(context):
    stacks(context, "import greenlet", GREENLETS, True)


@test()
def test_agent_gevent(context):
    stacks(context, "import gevent, gevent.queue", GEVENT, True)


# ------------------------------------------------------------------ ends


@test()
def test_agent_os_exit(context):
    """os._exit ends the process at once; what came before is recorded all the same."""
    def leave(interpreter):
        place, _ = interpreter.place(context)
        command = interpreter.command(os.path.join(place, "agent_odd.py"), "exiting", "7")
        workload = context.start(command)
        tracer = context.attach("functions", workload, *AGENT)
        workload.go()
        workload.wait(7)
        tracer.wait(0)
        steps = [row["type"] for row in read_csv(context.path("records.csv"), "functions")
                 if row["function"] == "step"]
        equal(len(steps), 200, "events of step() before os._exit")
        tracer = context.run("functions", "-v", *AGENT, "-o", context.path("r.csv"), "--",
                             *command, status=7)
        steps = [row["type"] for row in read_csv(context.path("r.csv"), "functions")
                 if row["function"] == "step"]
        equal(len(steps), 200, "events of step() before os._exit in run mode")

    each_of_some(context, leave)


@test()
def test_agent_daemon_threads(context):
    """A program that ends while daemon threads work, again and again."""
    def daemons(interpreter):
        for _ in range(3):
            workload = odd(context, interpreter, "daemons")
            tracer = context.record("functions", workload, *AGENT, *BIG)
            check(tracer.summary()["seen"], "nothing was seen")
        place, _ = interpreter.place(context)
        context.run("functions", "-v", *AGENT, *BIG, "-o", context.path("r.csv"), "--",
                    *interpreter.command(os.path.join(place, "agent_odd.py"), "daemons"))

    each_of_some(context, daemons)


@test()
def test_agent_at_exit(context):
    """What runs at the interpreter's end is recorded: atexit, finalisers of modules."""
    def leave(interpreter):
        workload = odd(context, interpreter, "at_exit")
        context.record("functions", workload, *AGENT)
        names = collections.Counter(
            event[:2] for event in events(read_csv(context.path("records.csv"), "functions")))
        check(names["call", "step"] >= 10, "calls in atexit's function", "10 or more",
              names["call", "step"])

    each_of_some(context, leave)


def gone(target, before):
    return tasks(target) == before


def left_nothing(context, interpreter, how):
    """After the tracer's end no thread, and no tool where Python shows it; a second attach uses
    the same library and records."""
    workload = odd(context, interpreter, "until_told")
    target = workload.ready("turning")
    before = tasks(target)
    for round_ in range(3):
        tracer = context.trace("functions", *AGENT, "-v", "--buffered", "-o",
                               context.path("k.csv"), "-p", target).attached()
        wait_for(lambda: os.path.getsize(context.path("k.csv")) > 100_000, "records")
        tracer.signal(how)
        tracer.wait(0 if how == signal.SIGINT else -how)
        wait_for(lambda: gone(target, before), "the end of the agent's thread")
        equal(libraries(target), 1, f"copies of the agent after attach {round_ + 1}")
        if how == signal.SIGINT:
            names = {row["function"] for row in read_csv(context.path("k.csv"), "functions")}
            check("step" in names, "step() was not recorded", actual=names)
        os.unlink(context.path("k.csv"))
    workload.go()
    workload.wait(0)


@test()
def test_agent_leaves_nothing_after_detach(context):
    each_of_some(context, lambda its: left_nothing(context, its, signal.SIGINT))


@test()
def test_agent_leaves_nothing_after_kill(context):
    each_of_some(context, lambda its: left_nothing(context, its, signal.SIGKILL))


@test()
def test_agent_tool_ids(context):
    """3.12 on: under a tracer one free tool id is used, not PROFILER_ID; after it none is."""
    for interpreter in interpreters.known():
        if interpreter.version < (3, 12) or (not FULL and interpreter.suite == "trixie"):
            continue
        workload = odd(context, interpreter, "tools")
        tracer = context.attach("functions", workload, *AGENT)
        workload.go()
        target = workload.ready("first")
        found, threads = workload.peek()
        check(len(found) == 1 and 2 not in found, f"{interpreter.name}: tools in use",
              "one that is not PROFILER_ID", found)
        equal(threads, 1, f"{interpreter.name}: threads that Python knows of")
        tracer.signal(signal.SIGINT)
        tracer.wait(0)
        wait_for(lambda: gone(target, 1), "the end of the agent's thread")
        workload.result_file.truncate(0)
        workload.result_file.seek(0)
        workload.go()
        workload.ready("second")
        equal(workload.peek(), ({}, 1), f"{interpreter.name}: tools in use after detaching")
        workload.go()
        workload.wait(0)


# ------------------------------------------------------------------ what is refused


@test()
def test_agent_refuses_other_versions(context):
    """Interpreters that it is not for: one line with the version, and they run on."""
    others = [each for each in interpreters.found() if not each.is_known]
    if not others:
        raise Skip("every interpreter here is one of 3.9 to 3.15")
    for interpreter in others:
        process = subprocess.Popen([interpreter.path, "-c", "import sys; print('x'); "
                                    "sys.stdout.flush(); sys.stdin.readline()"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            process.stdout.readline()
            tracer = context.run("functions", *AGENT, "-o", context.path("r.csv"), "-p",
                                 process.pid, status=1)
            one_line(tracer, ".".join(map(str, interpreter.version)))
            equal(tasks(process.pid), 1, "threads of the refused target")
        finally:
            process.communicate(b"\n")
        equal(process.returncode, 0, f"the exit status of {interpreter.name}")
    context.note(" ".join(each.label for each in others))


@test()
def test_agent_refuses_no_python(context):
    """A program that is no Python, a process that is gone."""
    process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    try:
        one_line(context.run("functions", *AGENT, "-o", context.path("r.csv"), "-p", process.pid,
                             status=1))
    finally:
        process.communicate()
    equal(process.returncode, 0, "the exit status of cat")
    one_line(context.run("functions", *AGENT, "-o", context.path("r.csv"), "-p", process.pid,
                         status=1))


@test()
def test_agent_refuses_without_tool_id(context):
    """3.12 on: all tool ids taken is one line, and harmless."""
    interpreter = interpreters.of_version(3, 13)
    workload = odd(context, interpreter, "no_tool")
    target = workload.ready("turning")
    tracer = context.run("functions", *AGENT, "-o", context.path("r.csv"), "-p", target, status=1)
    one_line(tracer, "sys.monitoring")
    wait_for(lambda: gone(target, 1), "the end of the agent's thread")
    workload.go()
    workload.wait(0)


@test()
def test_agent_refuses_pypy(context):
    path = need_command("pypy3")
    process = subprocess.Popen([path, "-c", "print('x', flush=True); input()"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        one_line(context.run("functions", *AGENT, "-o", context.path("r.csv"), "-p", process.pid,
                             status=1), "PyPy")
    finally:
        process.communicate(b"\n")


@test()
def test_agent_refuses_second_tracer(context):
    """Another tracer on the same process: ours, and a debugger's ptrace."""
    interpreter = interpreters.newest()
    workload = odd(context, interpreter, "until_told")
    target = workload.ready("turning")
    first = context.trace("functions", *AGENT, "-v", "--buffered", "-o", context.path("1.csv"),
                          "-p", target).attached()
    one_line(context.run("functions", *AGENT, "-o", context.path("2.csv"), "-p", target, status=1))
    first.signal(signal.SIGINT)
    first.wait(0)
    context.run("functions", *AGENT, "--duration", "50ms", "-o", context.path("3.csv"), "-p",
                target)
    workload.go()
    workload.wait(0)


# ------------------------------------------------------------------ run mode


SHOW = """
import os, sys, threading
environment = {name: value for name, value in os.environ.items() if name not in ("_", "SHLVL")}
print(sys.argv, sys.orig_argv if hasattr(sys, "orig_argv") else None, sys.flags, sys.path,
      sorted(environment.items()), threading.active_count(), sorted(os.listdir("/proc/self/fd")),
      open("/proc/self/cmdline").read(), __name__, sep="\\n")
def f():
    return 1
f()
"""


def run_mode(context, interpreter):
    """However it is started: hooked before the first line of __main__, and nothing changed."""
    scratch = interpreter.scratch(context)
    inside = interpreter.inside(scratch)
    script = os.path.join(scratch, "show.py")
    with open(script, "w") as stream:
        stream.write(SHOW)
    path = os.path.join(inside, "show.py")
    python = [interpreter.path]
    ways = {
        "script": [*python, path, "a", "b"], "-I": [*python, "-I", path], "-c": [*python, "-c", SHOW],
        "-S -E": [*python, "-S", "-E", path], "-B -u -X": [*python, "-B", "-u", "-X", "utf8", path],
        "exec": ["/bin/sh", "-c", 'exec "$0" "$@"', *python, path, "x"],
        "env": ["/usr/bin/env", "LATER=1", *python, path],
        "-m": [*python, "-m", "show", "m"],
    }
    for name, words in ways.items():
        command = words if not interpreter.suite else [
            os.path.join(harness.ROOT, "scripts", "pythons"), "--run", interpreter.suite, *words]
        # PYTHONPATH for -m; a chroot starts in its root.
        environment = {**context.environment(), "PYTHONPATH": inside}
        plain = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True,
                               stdin=subprocess.DEVNULL, cwd=scratch)
        tracer = context.run("functions", *AGENT, "-v", "-o", context.path("r.csv"), "--",
                             *command, env=environment, cwd=scratch)
        equal(tracer.output, plain.stdout.decode(), f"what the program finds, with {name}")
        found = events(read_csv(context.path("r.csv"), "functions"))
        file = "<string>" if name == "-c" else path
        its = [event[:2] for event in found if event.filename == file
               and event.function in ("<module>", "f")]
        wanted = [("call", "<module>"), ("call", "f"), ("return", "f"), ("return", "<module>")]
        if name == "-c":  # the library, too, compiles a <string> here and there
            its, wanted = [event for event in its if event[1] == "f"], wanted[1:3]
        equal(its, wanted, f"the script's own records, with {name}")


@test()
def test_agent_run_mode_ways(context):
    each_of_some(context, lambda its: run_mode(context, its))


@test()
def test_agent_run_mode_venv(context):
    """A virtual environment's python is a link to another."""
    interpreter = interpreters.of_version(3, 13)
    if interpreter.suite:
        raise Skip("no CPython 3.13 outside of chroots")
    subprocess.run([interpreter.path, "-m", "venv", "--without-pip", context.path("venv")],
                   check=True)
    script = context.write("v.py", "import sys\ndef f(): return sys.prefix\nprint(f())\n")
    tracer = context.run("functions", "-v", "-o", context.path("r.csv"), "--",
                         context.path("venv/bin/python"), script)  # auto takes the agent
    equal(tracer.output, context.path("venv") + "\n", "sys.prefix")
    names = [event[:2] for event in events(read_csv(context.path("r.csv"), "functions"))
             if event.filename == script and not event.kind.startswith("c_")]
    equal(names, [("call", "<module>"), ("call", "f"), ("return", "f"), ("return", "<module>")],
          "the script's records")


# ------------------------------------------------------------------ focus, several targets


def focused(events_, names):
    """What a focus on functions keeps: all that runs while inside one, per thread."""
    depth, kept = 0, []
    for event in events_:
        its = event.function in names and event.kind in ("call", "return")
        if its and event.kind == "call":
            depth += 1
        if depth:
            kept.append(event)
        if its and event.kind == "return" and depth:
            depth -= 1
    return kept


FOCUS = ("fibonacci", "translate", "tree", "bump", "identity")
FOCUS_CASES = "recursion exceptions generators classes threads c_builtins exec".split()


def compare_focus(context, interpreter, mode):
    """--focused-on against the oracle, filtered: functions with all they call, or lines."""
    place, _ = interpreter.place(context)
    scratch = interpreter.scratch(context)
    expected = oracle(context, interpreter, mode, place, scratch, FOCUS_CASES)
    if mode == "lines":
        expected = {thread: [event for event in its if event.function in FOCUS]
                    for thread, its in expected.items()}
    else:
        expected = {thread: focused(its, FOCUS) for thread, its in expected.items()}
    workload = context.start(interpreter.command(
        os.path.join(place, "agent_drive.py"), "plain", interpreter.inside(scratch), *FOCUS_CASES))
    tracer = context.record(mode, workload, *AGENT, *BIG, "--fields", "+pid,+tid",
                            "--focused-on", ",".join(FOCUS))
    equal(tracer.summary()["lost"], 0, "events lost")
    actual = recorded(context.path("records.csv"), mode)
    sides = [sorted((its for its in threads.values() if its), key=lambda its: (len(its), its))
             for threads in (actual, expected)]
    equal([len(its) for its in sides[0]], [len(its) for its in sides[1]],
          "events of each thread")
    for found, wanted in zip(*sides):
        same(found, wanted, f"{mode} in focus")


for _mode in ("functions", "lines"):
    add_test(f"agent_focus_{_mode}", lambda context, mode=_mode: each_of_some(
        context, lambda its: compare_focus(context, its, mode)))


@test()
def test_agent_two_targets(context):
    """Two processes of two interpreters at once: in time order, each complete."""
    chosen = some()[-2:]
    workloads = [odd(context, each, "own_tool", "profile", "never") for each in chosen]
    targets = [workload.ready() for workload in workloads]
    tracer = context.trace("functions", "-v", *AGENT, *BIG, "--fields", "+pid,+time", "-o",
                           context.path("two.csv"), "-p", ",".join(map(str, targets)))
    tracer.attached(len(targets))
    for step in ("set", "removed", None):
        for workload in workloads:
            workload.go()
        if step:
            for workload in workloads:
                workload.ready(step)
    for workload in workloads:
        workload.wait(0)
    tracer.wait(0)
    equal(tracer.summary()["lost"], 0, "events lost")
    rows = read_csv(context.path("two.csv"), "functions", ("pid", "time"))
    times = [row["time"] for row in rows]
    equal(times, sorted(times), "the order of the records' times")
    for target in set(targets):
        steps = sum(row["pid"] == target and row["function"] == "step" for row in rows)
        equal(steps, 2 * 1050, f"events of step() of process {target}")
    equal({row["pid"] for row in rows}, set(targets), "the processes recorded")


if __name__ == "__main__":
    sys.exit("run by tests/e2e/run")
