# SPDX-License-Identifier: BSD-3-Clause
"""Targets in odd states and places."""

import os
import re
import shutil
import signal
import subprocess

import harness
from harness import Skip, check, equal, need_command, process_state, semaphores, test, wait_for
from records import cut, events, read_csv, same
from test_oracle import BIG, Chroot, oracle, oracle_sections


def script_of(context, name, body):
    return context.write(name, f"import sys\nsys.path.insert(0, {harness.WORKLOADS!r})\n"
                         f"import stage\n{body}")


@test()
def test_stopped_target(context):
    """A target that is stopped at the attach is traced, and stays stopped."""
    workload = context.workload("drive.py", "plain", "recursion")
    target = workload.ready()
    os.kill(target, signal.SIGSTOP)
    wait_for(lambda: process_state(target) == "T", "the stop")
    tracer = context.trace("functions", "-v", "-o", context.path("a.csv"), "-p", target).attached()
    equal(process_state(target), "T", "the target's state")
    os.kill(target, signal.SIGCONT)
    workload.go()
    workload.wait(0)
    tracer.wait(0)
    same(cut(events(read_csv(context.path("a.csv"), "functions"))),
         oracle_sections(oracle(context, "functions", "recursion"), "recursion")[""])


@test()
def test_pid_namespace(context):
    """A target in a PID namespace of its own: -p and +pid are the tracer's numbers."""
    unshare = need_command("unshare")
    workload = context.start([unshare, "--pid", "--fork", context.python,
                              os.path.join(harness.WORKLOADS, "drive.py"), "plain", "recursion"])
    workload.ready()
    inside = workload.target
    workload.target = None
    found, _ = wait_for(lambda: harness.descendants(workload.pid), "the target")
    target = found[0]
    equal(inside, 1, "the target's pid in its namespace")
    tracer = context.trace("functions", "-v", *BIG, "--fields", "+pid,+tid", "-o",
                           context.path("a.csv"), "-p", target).attached()
    workload.go()
    workload.wait(0)
    tracer.wait(0)
    rows = read_csv(context.path("a.csv"), "functions", ("pid", "tid"))
    equal({(row["pid"], row["tid"]) for row in rows}, {(target, target)}, "pid and tid")
    same(cut(events(rows)),
         oracle_sections(oracle(context, "functions", "recursion"), "recursion")[""])


@test(lines=True)
def test_source_in_mount_namespace(context):
    """Source lines come from the file that the target saw, not from the tracer's, even where the
    target ended, and its mounts with it, before they were read."""
    unshare = need_command("unshare")
    if subprocess.run([unshare, "--mount", "true"], stderr=subprocess.DEVNULL).returncode:
        raise Skip("mounts cannot be made private here: / is no mount point, as in a chroot")
    body = "def f():\n    a = 'TEXT'\n    return a\n\nstage.ready()\nstage.wait_go()\nf()\n"
    script = script_of(context, "dir/script.py", body.replace("TEXT", "outside"))
    other = script_of(context, "other.py", body.replace("TEXT", "inside"))
    workload = context.start([unshare, "--mount", "sh", "-c",
                              f"mount --bind {other} {script} && exec {context.python} {script}"])
    context.record("lines", workload)
    lines = [row["line"] for row in read_csv(context.path("records.csv"), "lines")
             if row["function"] == "f"]
    equal(lines, ["    a = 'inside'", "    return a"], "the lines")


@test()
def test_deleted_interpreter(context):
    """An interpreter whose file was replaced while it runs, as an upgrade does."""
    python = shutil.copy(os.path.realpath(context.python), context.path("python3.11"))
    workload = context.workload("drive.py", "plain", "recursion", python=python,
                                env={"PYTHONHOME": "/usr"})
    target = workload.ready()
    os.unlink(python)
    tracer = context.trace("functions", "-v", "-o", context.path("a.csv"), "-p", target)
    said = tracer.stderr.wait(lambda lines: any(": tracing " in line for line in lines),
                              harness.DEADLINE)
    workload.go()
    workload.wait(0)
    tracer.wait(None)
    if said:
        same(cut(events(read_csv(context.path("a.csv"), "functions"))),
             oracle_sections(oracle(context, "functions", "recursion"), "recursion")[""])
    else:
        check(tracer.process.returncode == 1 and "cannot" in tracer.errors(), "no clear error",
              actual=tracer.errors())


@test()
def test_same_pid_twice(context):
    """-p A,A and -p A -p A are mistakes, said so, rather than records that come twice."""
    for given in (["-p", "{0},{0}"], ["-p", "{0}", "-p", "{0}"]):
        pid = os.getpid()
        tracer = context.run("functions", *[word.format(pid) for word in given], status=2)
        check(str(pid) in tracer.errors() and "twice" in tracer.errors(), "no clear error",
              actual=tracer.errors())


@test()
def test_thread_id_as_pid(context):
    """-p with the id of a thread: the process, or a clear error; never silence."""
    workload = context.workload(script_of(context, "thread.py", """
import threading

def work():
    pass

def run():
    stage.ready(f"tid {threading.get_native_id()}")
    stage.wait_go()
    work()

thread = threading.Thread(target=run)
thread.start()
thread.join()
"""))
    wait_for(lambda: workload.announced.text().count("tid"), "the thread")
    tid = int(workload.announced.text().split()[-1])
    workload.target = int(workload.announced.text().split()[0])
    tracer = context.trace("functions", "-v", "-o", context.path("a.csv"), "-p", tid)
    said = tracer.stderr.wait(lambda lines: any(": tracing " in line for line in lines),
                              harness.DEADLINE)
    workload.go()
    workload.wait(0)
    tracer.wait(0 if said else 1)
    if said:
        names = [row["function"] for row in read_csv(context.path("a.csv"), "functions")]
        equal(names.count("work"), 2, "records of work()")
    else:
        check(str(tid) in tracer.errors(), "no clear error", actual=tracer.errors())


@test(vm=True)
def test_one_of_two_ends(context):
    """One target ends, the other is traced on."""
    script = script_of(context, "step.py", """
def step():
    pass

stage.ready()
stage.wait_go()
step()
stage.ready("stepped")
stage.wait_go()
step()
""")
    workloads = [context.workload(script) for _ in range(2)]
    pids = [workload.ready() for workload in workloads]
    tracer = context.trace("functions", "-v", "-o", context.path("a.csv"), "-p",
                           ",".join(map(str, pids))).attached(2)
    workloads[0].go(2)
    workloads[0].wait(0)
    check(tracer.running(), "the tracer ended with the first target")
    workloads[1].go(2)
    workloads[1].wait(0)
    tracer.wait(0)
    rows = read_csv(context.path("a.csv"), "functions", ("pid",))
    for pid in pids:
        equal(sum(row["function"] == "step" and row["pid"] == pid for row in rows), 4,
              f"records of step() in {pid}")


@test(vm=True)
def test_threads_end_in_focus(context):
    """Threads that end, or live on for ever, inside a focused function do not confuse others."""
    workload = context.workload(script_of(context, "ends.py", """
import threading

def helper():
    pass

def wanted(leave):
    helper()
    if leave:
        raise SystemExit
    helper()

def other():
    helper()

def thread(leave):
    try:
        wanted(leave)
    finally:
        other()

stage.ready()
stage.wait_go()
for number in range(100):
    each = threading.Thread(target=thread, args=(number % 2,))
    each.start()
    each.join()
    other()
"""))
    context.record("functions", workload, "--focused-on", "wanted")
    rows = read_csv(context.path("records.csv"), "functions")
    names = [row["function"] for row in rows]
    equal({name: names.count(name) for name in set(names)}, {"wanted": 200, "helper": 300},
          "the records")


@test()
def test_focus_relative_to_target(context):
    """A relative file:func is found from the target's working directory in run mode too."""
    script_of(context, "job.py", "def wanted():\n    pass\nwanted()\n")
    context.run("functions", "--focused-on", "job.py:wanted", "-o", "a.csv", "--",
                context.python, "job.py", cwd=context.dir)
    names = [row["function"] for row in read_csv(context.path("a.csv"), "functions")]
    equal(names, ["wanted", "wanted"], "the records")


@test()
def test_subprocesses_of_target(context):
    """The target runs other programs, Pythons too: they are not recorded and end well."""
    workload = context.workload(script_of(context, "runs.py", """
import subprocess

def step():
    pass

stage.ready()
stage.wait_go()
for number in range(5):
    assert subprocess.run(["true"]).returncode == 0
    code = "def step(): pass\\nfor _ in range(1000): step()\\nprint(6)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).stdout == b"6\\n"
    step()
"""))
    context.record("functions", workload, "--fields", "+pid")
    rows = read_csv(context.path("records.csv"), "functions", ("pid",))
    equal({row["pid"] for row in rows}, {workload.target}, "the pids")
    equal(sum(row["function"] == "step" for row in rows), 10, "records of step()")


@test(vm=True)
def test_lossless_run_mode(context):
    """--lossless with a program of our own: nothing lost, its status returned."""
    script = context.write("busy.py", "def f():\n    pass\nfor _ in range(50000): f()\n"
                           "import sys; sys.exit(12)\n")
    tracer = context.trace("functions", "-v", "--lossless", "--buffer-size", "64K", "--recording",
                           "csv", "-o", "-", "--", context.python, script,
                           stdout=subprocess.PIPE)
    children, _ = wait_for(lambda: [pid for pid in harness.descendants(tracer.pid)
                                    if process_state(pid) == "T" and comm(pid) != comm(tracer.pid)
                                    and semaphores_or_none(pid, context.python)],
                           "the program's pause")
    check(children, "no child")
    output = harness.Lines(tracer.stdout)
    tracer.wait(12)
    output.thread.join(harness.DEADLINE)
    equal(tracer.summary()["lost"], 0, "lost")
    equal(output.text().count(",call,f,"), 50000, "calls of f()")


def comm(pid):
    with open(f"/proc/{pid}/comm") as stream:
        return stream.read()


def semaphores_or_none(pid, python):
    try:
        return any(semaphores(pid, python).values())
    except (OSError, ValueError):
        return False


@test()
def test_many_attaches_at_once(context):
    """Eight tracers on eight processes: no interference."""
    workloads = [context.workload("drive.py", "plain", "recursion") for _ in range(8)]
    pids = [workload.ready() for workload in workloads]
    tracers = [context.trace("functions", "-v", "-o", context.path(f"{pid}.csv"), "-p", pid)
               for pid in pids]
    for tracer in tracers:
        tracer.attached()
    for workload in workloads:
        workload.go()
    expected = oracle_sections(oracle(context, "functions", "recursion"), "recursion")[""]
    for workload, tracer, pid in zip(workloads, tracers, pids):
        workload.wait(0)
        tracer.wait(0)
        same(cut(events(read_csv(context.path(f"{pid}.csv"), "functions"))), expected, str(pid))


@test()
def test_lines_and_functions_at_once(context):
    """A tracer of lines and one of functions on one process: the semaphore trick and the real
    line probe do not disturb each other, whoever comes or goes first."""
    if "line" not in harness.probes_of(context.python):
        raise harness.Skip("no line probe")
    for order in (("functions", "lines"), ("lines", "functions")):
        workload = context.workload("drive.py", "plain", "recursion")
        target = workload.ready()
        tracers = [context.trace(monitor, "-v", *BIG, "-o", context.path(monitor + ".csv"), "-p",
                                 target).attached() for monitor in order]
        workload.go()
        workload.wait(0)
        for tracer in tracers:
            tracer.wait(0)
        for monitor in order:
            expected = oracle_sections(oracle(context, monitor, "recursion"), "recursion")[""]
            same(cut(events(read_csv(context.path(monitor + ".csv"), monitor), monitor)),
                 [event._replace(kind="line") for event in expected] if monitor == "lines"
                 else expected, f"{monitor}, attached {' then '.join(order)}")


@test(vm=True)
def test_reattach_after_other_tracer_dies(context):
    """kill -9 of one tracer does not put out the semaphores of another."""
    workload = context.workload("drive.py", "plain", "recursion")
    target = workload.ready()
    first = context.trace("functions", "-v", "-o", context.path("a.csv"), "-p", target).attached()
    second = context.trace("functions", "-v", "-o", context.path("b.csv"), "-p", target).attached()
    helpers = harness.descendants(first.pid)
    first.process.kill()
    first.process.wait()
    for helper in helpers:
        wait_for(lambda: process_state(helper) in (None, "Z"), "the end of its helpers")
    workload.go()
    workload.wait(0)
    second.wait(0)
    same(cut(events(read_csv(context.path("b.csv"), "functions"))),
         oracle_sections(oracle(context, "functions", "recursion"), "recursion")[""])


@test(vm=True)
def test_focus_3_15_generators(context):
    """On 3.15 a throw() has a return without an entry: the depth of a focus must not drift."""
    chroot = Chroot(context)
    body = """
import sys
sys.path.insert(0, %r)
import stage

def helper(n):
    pass

def generator():
    while True:
        try:
            yield 1
        except KeyError:
            helper(1)

class Thing:
    def __init__(self):
        helper(2)

def wanted():
    one = generator()
    next(one)
    for _ in range(5):
        one.throw(KeyError)
    one.close()
    unused = [generator() for _ in range(5)]
    for _ in range(100):
        Thing()
    helper(3)

def other():
    helper(4)

stage.ready()
stage.wait_go()
for _ in range(20):
    wanted()
    other()
""" % chroot.inside
    with open(os.path.join(chroot.dir, "generators.py"), "w") as stream:
        stream.write(body)
    for spec in ("wanted", "wanted,generator", "generator,wanted,Thing.__init__,helper"):
        workload = context.start(chroot.command("generators.py"))
        target = workload.ready()
        spec = spec.replace("Thing.__init__", chroot.inside + "/generators.py:__init__")
        tracer = context.trace("functions", "-v", *BIG, "--focused-on", spec, "-o",
                               context.path("a.csv"), "-p", target).attached()
        workload.go()
        workload.wait(0)
        tracer.wait(0)
        rows = read_csv(context.path("a.csv"), "functions")
        calls = [row["function"] for row in rows if row["type"] == "call"]
        helpers = 20 * (5 + 100 + 1) + (20 if "helper" in spec else 0)
        equal(calls.count("helper"), helpers, f"calls of helper() with focus on {spec}")
        equal(calls.count("wanted"), 20, "calls of wanted()")
        equal(calls.count("other"), 0, "calls of other()")


@test()
def test_long_run_mode_arguments(context):
    """Options of the program are the program's, with and without --."""
    tracer = context.run("functions", "-o", context.path("a.csv"), "--", context.python, "-c",
                         "import sys; print(sys.argv[1:])", "-p", "1", "--lossless", "-o", "x")
    equal(tracer.output, "['-p', '1', '--lossless', '-o', 'x']\n", "the program's arguments")


@test()
def test_error_lines_form(context):
    """Errors are `pikos-trace: cannot VERB 'OBJECT': REASON`, on stderr."""
    for arguments in (["functions", "-p", "2147483647"], ["functions", "--", "/no/such"],
                      ["--list", "/no/such"],
                      ["functions", "-o", "/no/such/dir/x.csv", "-p", str(os.getpid())]):
        tracer = context.run(*arguments, status=None)
        first = tracer.errors().splitlines()[0]
        check(re.fullmatch(r"pikos-trace: cannot \w+ '.*': .+", first), "the form of SPEC 8",
              "pikos-trace: cannot VERB 'OBJECT': REASON", first)
