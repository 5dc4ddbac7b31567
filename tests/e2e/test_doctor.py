# SPDX-License-Identifier: BSD-3-Clause
"""--list, the doctor: what it says of every interpreter here is what is."""

import json
import os
import re
import signal

import harness
import interpreters
from harness import Failure, Skip, check, equal, need_command, test, wait_for

PROGRAM = """\
import os, pickle, sys
with open(int(os.environ["PIKOS_TEST_RESULT"]), "wb", closefd=False) as stream:
    jit = getattr(sys, "_jit", None)
    pickle.dump({"version": sys.version_info[:3], "executable": os.path.realpath(sys.executable),
                 "debug": hasattr(sys, "gettotalrefcount"), "jit": bool(jit and jit.is_available()),
                 "free_threaded": not getattr(sys, "_is_gil_enabled", lambda: True)()}, stream, 4)
os.write(int(os.environ["PIKOS_TEST_READY"]), b"%d ready\\n" % os.getpid())
os.read(int(os.environ["PIKOS_TEST_GO"]), 1)
"""


OWN_SOURCES = {"memory": "kernel", "allocations": "libc"}  # what a running process is watched by


def doctor(context, *arguments):
    return json.loads(context.run("--list", "--json", *arguments).output)


def start(context, interpreter, **options):
    workload = context.start(interpreter.command("-c", PROGRAM), **options)
    return workload, workload.ready()


def each_interpreter(context, function):
    names = []
    for interpreter in interpreters.found():
        if interpreter.version < (3, 6):
            continue
        try:
            function(context, interpreter)
        except Failure as failure:
            raise Failure(f"{interpreter.name}: {failure}", failure.expected,
                          failure.actual) from None
        names.append(interpreter.label)
    context.note(" ".join(names))


def compare_build(context, interpreter):
    """The version and build as the interpreter knows them; a file says what a process says."""
    workload, pid = start(context, interpreter)
    truth = workload.peek()
    found, of_file = doctor(context, "-p", pid), doctor(context, interpreter.outside)
    for said in (found, of_file):
        equal(said["version"], ".".join(map(str, truth["version"])), "the version")
        for name in ("debug", "free_threaded"):
            equal(said["build"][name], truth[name], name)
        equal(said["build"]["jit"] != "none", truth["jit"], "whether it has a JIT")
        equal(said["agent"]["can_be_loaded"], interpreter.is_known, "whether the agent can be")
    equal(found["pid"], pid, "the pid")
    equal(os.path.realpath(f"/proc/{pid}/root{truth['executable']}"),
          os.path.realpath(f"/proc/{pid}/exe"), "the executable as the workload has it")
    equal(found["file"].split("/")[-1], of_file["file"].split("/")[-1], "the file")
    equal([(each["usdt"], each["agent"]) for each in found["monitors"]],
          [(each["usdt"], each["agent"]) for each in of_file["monitors"]], "the monitors")
    for each in found["monitors"] + of_file["monitors"]:
        own = OWN_SOURCES.get(each["name"])
        check(not own or not each["usdt"], f"probes for {each['name']}")
        equal(each["auto_attach"], own or ("usdt" if each["usdt"] else None),
              f"what auto takes for {each['name']} with -p")
        equal(each["auto_run"], own if own == "kernel" else "usdt" if each["usdt"] else
              "agent" if each["agent"] else None, f"what auto takes for {each['name']} to run")
    workload.go()
    workload.wait(0)


@test()
def test_doctor_build(context):
    each_interpreter(context, compare_build)


def compare_sources(context, interpreter):
    """Attaching goes as the doctor says."""
    workload, pid = start(context, interpreter)
    monitors = {each["name"]: each for each in doctor(context, "-p", pid)["monitors"]}
    functions, lines = monitors["functions"], monitors["lines"]
    for monitor, source, works in (("functions", "auto", functions["auto_attach"]),
                                   ("functions", "agent", functions["agent"]),
                                   ("lines", "usdt", lines["usdt"])):
        tracer = context.trace(monitor, "--source", source, "-v", "-p", pid)
        if works:
            tracer.attached()
            tracer.signal(signal.SIGINT)
        tracer.wait(0 if works else 1)
        check(works or re.match(f"pikos-trace: cannot trace 'PID {pid}': ", tracer.errors()),
              f"{monitor} with --source {source}: no refusal", actual=tracer.errors())
    workload.go()
    workload.wait(0)


@test()
def test_doctor_sources(context):
    """One interpreter with built-in probes, one without, one that is too old."""
    chosen = {}
    for each in interpreters.found():
        if each.version >= (3, 6) and not each.suite:
            has_probes = bool(harness.probes_of(each.outside))
            chosen[has_probes, each.is_known] = each
    for interpreter in chosen.values():
        compare_sources(context, interpreter)
    context.note(" ".join(each.label for each in chosen.values()))


@test()
def test_doctor_semaphores(context):
    """Who is attached is to be seen."""
    workload = context.workload("drive.py", "plain", "recursion")
    tracer = context.attach("functions", workload)
    raised = {each["name"]: each["raised"] for each in doctor(context, "-p", workload.target)["probes"]
              if each["used"]}
    present = harness.semaphores(workload.target, context.python)
    equal({name: raised[name] for name in present}, present, "the semaphores")
    check(present["function__return"] == 1, "the semaphore of function__return", 1, present)
    workload.go()
    workload.wait(0)
    tracer.wait(0)


@test()
def test_doctor_jit(context):
    """With the JIT on the built-in probes do not fire; the agent does not mind."""
    chroots = [each for each in interpreters.known() if each.version == (3, 15)]
    if not chroots:
        raise Skip("no CPython 3.15 (make pythons)")
    environment = {**os.environ, "PYTHON_JIT": "1"}
    workload, pid = start(context, chroots[0], env=environment)
    found = doctor(context, "-p", pid)
    equal(found["build"]["jit"], "on", "the JIT")
    equal({each["name"]: each["fires"] for each in found["probes"] if each["used"]},
          {"function__entry": False, "function__return": False, "line": False}, "what fires")
    equal({each["name"]: (each["usdt"], each["agent"]) for each in found["monitors"]},
          {"functions": (False, True), "lines": (False, True), "function_memory": (False, True),
           "line_memory": (False, True), "memory": (False, False), "allocations": (False, True)},
          "the monitors")
    workload.go()
    workload.wait(0)


@test()
def test_doctor_other_tracer(context):
    """Another tracer is named, in the doctor's words and in the refusal."""
    interpreter = interpreters.newest()
    workload, pid = start(context, interpreter)
    strace = harness.Process([need_command("strace"), "-o", "/dev/null", "-p", str(pid)], "strace")
    context.workloads.append(strace)
    wait_for(lambda: f"TracerPid:\t{strace.pid}\n" in open(f"/proc/{pid}/status").read(),
             "strace attached")
    reason = f"another tracer is attached to it (strace, PID {strace.pid})"
    agent = doctor(context, "-p", pid)["agent"]
    equal((agent["can_be_loaded"], agent["why_not"]), (False, reason), "the doctor")
    check(agent["adds"], "what the agent would add")
    tracer = context.run("--source", "agent", "-p", pid, status=1)
    equal(tracer.errors().splitlines()[0], f"pikos-trace: cannot trace 'PID {pid}': {reason}",
          "the refusal")
    strace.signal(signal.SIGTERM)
    strace.wait(None)
    workload.go()
    workload.wait(0)
