# SPDX-License-Identifier: BSD-3-Clause
"""`pikos-trace agent -p PID`: CPython's own probes where an interpreter lacks them, for bpftrace."""

import json
import os
import re
import shutil
import signal
import subprocess

import harness
import interpreters
from harness import Lines, Skip, check, equal, is_mode, need_command, test, wait_for

# It calls ping() until it is told to go on: that shows that the probes fire.
PROGRAM = """\
import os, select

def ping():
    return 1

def gcd(a, b):
    if b == 0:
        return a
    return gcd(b, a % b)

def until(byte):
    while not select.select([go], [], [], 0.01)[0]:
        ping()
    assert os.read(go, 1) == byte

go = int(os.environ["PIKOS_TEST_GO"])
os.write(int(os.environ["PIKOS_TEST_READY"]), b"%d ready\\n" % os.getpid())
until(b"g")
gcd(12, 18)
gcd(5, 0)
until(b"g")
"""

SCRIPT = """
usdt:%(path)s:python:function__entry /str(arg1) == "ping" || str(arg1) == "gcd"/
{ printf("call %%s %%d %%s\\n", str(arg1), arg2, str(arg0)); }
usdt:%(path)s:python:function__return /str(arg1) == "ping" || str(arg1) == "gcd"/
{ printf("return %%s %%d %%s\\n", str(arg1), arg2, str(arg0)); }
usdt:%(path)s:python:line /str(arg1) == "gcd"/
{ printf("line %%s %%d %%s\\n", str(arg1), arg2, str(arg0)); }
"""


def expected(file):
    """What CPython's own probes tell of gcd(12, 18) and gcd(5, 0)."""
    inner = [("call", 6), ("line", 7), ("line", 8), ("return", 8)]
    for _ in range(3):
        inner = [("call", 6), ("line", 7), ("line", 9), *inner, ("return", 9)]
    return [f"{kind} gcd {line} {file}"
            for kind, line in inner + [("call", 6), ("line", 7), ("line", 8), ("return", 8)]]


def interpreter_without_probes(version):
    for each in interpreters.known():
        if each.version == version and each.label.startswith("pyenv"):
            return each
    raise Skip(f"no CPython {version[0]}.{version[1]} of pyenv, which has no probes")


def start(context, interpreter):
    outside = interpreter.scratch(context)
    os.chmod(outside, 0o755)
    script = os.path.join(outside, "p.py")
    with open(script, "w", encoding="utf-8") as stream:
        stream.write(PROGRAM)
    workload = context.start(interpreter.command(interpreter.inside(script)))
    return workload, workload.ready(), interpreter.inside(script)


def offer(context, pid, *arguments):
    """Run the command; return the file's path, which the end of the test removes."""
    lines = context.run("agent", "-p", pid, *arguments).output.splitlines()
    check(len(lines) == 2, "not two lines", actual=lines)
    path = lines[0]
    check(re.fullmatch(r"(/proc/\d+/root)?/\S+/pikos-agent-[0-9a-f]{16}/\S+\.so", path),
          "not the path of a file", actual=path)
    option = "" if path.startswith("/proc") else f"-p {pid} "
    check(lines[1].startswith(f"bpftrace {option}-e 'usdt:{path}:python:function__entry "),
          "not a line for bpftrace", actual=lines[1])
    # By a descriptor: the way by /proc ends with the process.
    parent, name = os.path.split(os.path.dirname(path))
    inside = os.open(parent, os.O_DIRECTORY)
    context.cleanup(lambda: shutil.rmtree(name, ignore_errors=True, dir_fd=inside))
    return path, lines[1]


def run_bpftrace(context, pid, path):
    which = [] if path.startswith("/proc") else ["-p", str(pid)]
    tracer = harness.Process(
        [need_command("bpftrace"), "-B", "line", *which, "-e", SCRIPT % {"path": path}],
        "bpftrace", stdout=subprocess.PIPE)
    context.workloads.append(tracer)
    return tracer, Lines(tracer.stdout)


def check_beside(context, pid, version):
    """While bpftrace is attached: before 3.12 there is one profile function for both."""
    if version >= (3, 12):
        context.run("--source", "agent", "--max-records", "1", "-p", pid)
    else:
        tracer = context.run("--source", "agent", "-p", pid, status=1)
        check("another tracer uses the old probes in it" in tracer.errors(), "the refusal",
              actual=tracer.errors())


def trace(context, workload, pid, path, file, version):
    tracer, output = run_bpftrace(context, pid, path)
    seen = output.wait(lambda lines: any(f"return ping 4 {file}" in line for line in lines),
                       harness.DEADLINE)
    check(seen, "bpftrace does not see ping()", actual=output.text() + tracer.errors())
    check_beside(context, pid, version)
    workload.go()
    last = len(expected(file))
    output.wait(lambda lines: sum(" gcd " in line for line in lines) >= last, harness.DEADLINE)
    tracer.signal(signal.SIGINT)
    tracer.wait()
    output.thread.join(harness.DEADLINE)
    check("Lost" not in output.text() + tracer.errors(), "bpftrace lost events")
    equal([line for line in output.text().splitlines() if " gcd " in line], expected(file),
          "what bpftrace saw of gcd()")


def check_bpftrace(context, interpreter):
    need_command("bpftrace")
    workload, pid, file = start(context, interpreter)
    path, line = offer(context, pid)
    equal(offer(context, pid), (path, line), "a second call")
    equal(sorted(harness.probes_of(path)), ["function__entry", "function__return", "line"],
          "the probes of the file")
    trace(context, workload, pid, path, file, interpreter.version)
    workload.go()
    workload.wait(0)


@test()
def test_old_probes_3_13(context):
    """On an interpreter of 3.13, where no build has them."""
    check_bpftrace(context, interpreter_without_probes((3, 13)))


@test()
def test_old_probes_3_9(context):
    check_bpftrace(context, interpreter_without_probes((3, 9)))


@test()
def test_old_probes_chroot(context):
    """In another root the path leads there by way of /proc."""
    chroots = [each for each in interpreters.known() if each.suite == "trixie"]
    if not chroots:
        raise Skip("no chroot of Debian trixie (make pythons)")
    check_bpftrace(context, chroots[0])


@test()
def test_agent_command(context):
    """The file, its rights, what a second call does, and the doctor before and after."""
    interpreter = interpreters.newest()
    workload, pid, _ = start(context, interpreter)
    before = json.loads(context.run("--list", "--json", "-p", pid).output)["agent"]
    equal((before["can_be_loaded"], before["is_loaded"]), (True, False), "the agent before")
    path, _ = offer(context, pid)
    directory = os.path.dirname(path)
    check(is_mode(directory, 0o755) and is_mode(path, 0o644), "the modes of the file",
          "0755, 0644", (oct(os.stat(directory).st_mode), oct(os.stat(path).st_mode)))
    equal((os.stat(directory).st_uid, os.stat(path).st_uid), (0, 0), "whose the file is")
    equal(os.listdir(directory), [os.path.basename(path)], "what else is there")
    bias = harness.load_bias(pid, path)
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for probe in harness.probes_of(path).values():
            memory.seek(probe.semaphore + bias)
            equal(memory.read(2), b"\0\0", f"the semaphore of {probe.name}, nobody attached")
    workload.go(2)
    workload.wait(0)


@test(alone=True)  # others make files there
def test_agent_command_refused(context):
    """One line that says why, and no file is left."""
    old = [each for each in interpreters.found() if each.version == (3, 8)]
    sleeper = context.start(["/bin/sleep", "1000"])
    wait_for(lambda: os.readlink(f"/proc/{sleeper.pid}/exe").endswith("sleep"), "the exec")
    refused = [(sleeper.pid, "it is not a Python program")]
    if old:
        _, pid, _ = start(context, old[0])
        refused.append((pid, "not one that the agent knows"))
    files = set(os.listdir("/tmp"))
    for pid, reason in refused:
        tracer = context.run("agent", "-p", pid, status=1)
        first = tracer.errors().splitlines()[0]
        check(first.startswith(f"pikos-trace: cannot load the agent into 'PID {pid}': ") and
              reason in first, "the refusal", reason, tracer.errors())
        equal(tracer.output, "", "stdout")
    check(not [name for name in set(os.listdir("/tmp")) - files if name.startswith("pikos-agent-")],
          "a file is left", actual=set(os.listdir("/tmp")) - files)
