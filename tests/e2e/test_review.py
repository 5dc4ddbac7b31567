# SPDX-License-Identifier: BSD-3-Clause
"""What can go wrong between the processes: helpers that die, rights that change, odd namespaces."""

import ctypes
import os
import signal
import subprocess
import time

import harness
from harness import Failure, check, equal, process_state, semaphores, test, wait_for
from records import read_csv
from test_oracle import EMBED
from test_safety import mount_tmpfs


def keeper_of(tracer):
    """The pid of the tracer's keeper process."""
    for pid in harness.descendants(tracer.pid):
        with open(f"/proc/{pid}/comm") as stream:
            if stream.read() == "pikos-keeper\n":
                return pid
    raise Failure("there is no keeper process")


@test()
def test_keeper_killed_while_lossless(context):
    """kill -9 of the keeper alone: what --lossless paused is continued for good."""
    for _ in range(3):
        workload = context.workload("busy.py", "forever")
        tracer = context.attach("functions", workload, "--lossless", "--buffer-size", "64K")
        workload.go()
        workload.ready("turning")
        os.kill(keeper_of(tracer), signal.SIGKILL)
        tracer.wait(1)
        check("keeper" in tracer.errors(), "no clear error", actual=tracer.errors())
        workload.go()
        workload.ready("stopped")
        workload.go()
        workload.wait(0)


@test()
def test_keeper_killed_before_exec(context):
    """A program that becomes another one after the keeper's death runs on, untraced."""
    script = context.write("becomes.py", f"""
import os, time
open({context.path("started")!r}, "w").close()
while not os.path.exists({context.path("go")!r}):
    time.sleep(0.01)
os.execv({context.python!r}, ["python", "-c", "print('second')"])
""")
    tracer = context.trace("functions", "-v", "-o", context.path("a.csv"), "--", context.python,
                           script, stdout=subprocess.PIPE)
    output = harness.Lines(tracer.stdout)
    wait_for(lambda: os.path.exists(context.path("started")), "the program")
    os.kill(keeper_of(tracer), signal.SIGKILL)
    check(tracer.stderr.wait(lambda lines: any("keeper" in line for line in lines),
                             harness.DEADLINE), "no word about the keeper's death")
    context.write("go", "")
    tracer.wait(1)
    output.thread.join(harness.DEADLINE)
    equal(output.text(), "second\n", "what the program printed")


GIVES_UP = """
import os
exec(compile("x = 0", {mine!r}, "exec"))
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
for path in {secret!r}, {public!r}:
    exec(compile("x = 0\\ny = 1", path, "exec"))
"""


@test(lines=True)
def test_rights_given_up(context):
    """A program that gave up its rights has no files read with the rights that it had."""
    secret = context.write("secret.txt", "top secret\n", 0o600)
    public = context.write("public.txt", "known to all\n", 0o644)
    mine = context.write("mine.txt", "seen as root\n", 0o600)
    names = {"mine": mine, "secret": secret, "public": public}
    for waits in (True, False):
        script = context.write("drops.py", GIVES_UP.format(**names) + (
            "import time\ntime.sleep(0.3)\n" if waits else ""))
        context.run("lines", "-o", context.path("a.csv"), "--", context.python, script)
        rows = read_csv(context.path("a.csv"), "lines")
        said = {name: [row["line"] for row in rows if row["filename"] == path and
                       row["lineNo"] == 1] for name, path in names.items()}
        equal(said["secret"], ["<compiled string>"], "the line of a file of root")
        if waits:
            equal(said["public"], ["known to all"], "the line of a file of everybody")


@test()
def test_program_not_started(context):
    """An error before the program was let go ends everything at once, in run mode too."""
    made = context.path("made")
    program = ("--", context.python, "-c", f"open({made!r}, 'w')")
    for arguments in (["-o", "/no/such/dir/a.csv"],
                      ["-o", context.path("a.csv"), "--focused-on", "no_such_file.py:f"],
                      ["--recording", "zmq", "--zmq-endpoint", "tcp://256.0.0.1:1"]):
        tracer = context.run("functions", *arguments, *program, status=None,
                             deadline=10 * harness.SLOW)
        check(tracer.process.returncode in (1, 2) and "cannot" in tracer.errors(),
              "no clear error", actual=tracer.log())
        check(not os.path.exists(made), "the program has run")


@test()
def test_interrupt_before_start(context):
    """Ctrl-C ends a tracer that waits for its consumer before the program was let go, or before it
    has begun to record one that runs."""
    fifo = context.path("fifo")
    os.mkfifo(fifo)
    target = context.workload("busy.py", "1").ready()
    run, attach = ("--", context.python, "-c", "pass"), ("-p", target)
    to_fifo, to_zmq = ("--recording", "csv", "-o", fifo), ("--recording", "zmq", "--zmq-wait")
    for arguments, children in ((to_fifo + run, 2), (to_zmq + run, 2), (to_fifo + attach, 1),
                                (to_zmq + attach, 1)):
        tracer = context.trace("functions", *arguments)
        wait_for(lambda: len(harness.descendants(tracer.pid)) >= children, "keeper and program")
        wait_for(lambda: process_state(tracer.pid) == "S", "the wait")
        deadline = harness.DEADLINE
        while tracer.running() and deadline > 0:
            os.killpg(tracer.pid, signal.SIGINT)
            try:
                tracer.process.wait(0.1)
            except subprocess.TimeoutExpired:
                deadline -= 0.1
        check(not tracer.running(), "Ctrl-C did not end it", actual=tracer.log())


@test()
def test_full_disk_counts(context):
    """What a full disk did not take is not counted as written."""
    directory = mount_tmpfs(context, b"64k")
    for name, extra in ("a.csv", ()), ("a.csv", ("--buffered",)), ("a.log", ()):
        path = os.path.join(directory, name)
        workload = context.workload("busy.py", "20000")
        target = workload.ready()
        tracer = context.trace("functions", "-v", *extra, "-o", path, "-p", target).attached()
        workload.go(2)
        workload.wait(0)
        tracer.wait(1)
        with open(path, "rb") as stream:
            rows = stream.read().count(b"\n") - (1 if name == "a.csv" else 2)
        os.truncate(path, 0)
        equal(tracer.summary()["written"], rows, "written")
        check(f"({rows} records," in tracer.errors(), "no word of it", actual=tracer.errors())


@test()
def test_tracer_in_pid_namespace(context):
    """A tracer that cannot know the numbers of its targets says so, and nothing runs."""
    unshare = harness.need_command("unshare")
    made = context.path("made")
    tracer = context.run("functions", "-o", context.path("a.csv"), "--", context.python, "-c",
                         f"open({made!r}, 'w')", status=1,
                         prefix=[unshare, "--pid", "--fork", "--mount-proc"])
    check("PID namespace" in tracer.errors(), "no clear error", actual=tracer.errors())
    check(not os.path.exists(made), "the program has run")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stream:
        fields = stream.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@test()
def test_outlived_at_rest(context):
    """After --max-records the tracer waits for its program and does not spin."""
    script = context.write("long.py", f"""
import os
def f():
    pass
while not os.path.exists({context.path("go")!r}):
    for _ in range(1000):
        f()
""")
    tracer = context.trace("functions", "-v", "--max-records", "100000", "--buffer-size", "64K", "-o",
                           context.path("a.csv"), "--", context.python, script)
    path = context.path("a.csv")
    wait_for(lambda: os.path.exists(path) and os.path.getsize(path) > 1000000, "the records")
    program, = (pid for pid in harness.descendants(tracer.pid) if pid != keeper_of(tracer))
    wait_for(lambda: set(semaphores(program, context.python).values()) == {0}, "the detach")
    started, before = time.monotonic(), cpu_seconds(tracer.pid)
    wait_for(lambda: time.monotonic() > started + 1, "a second")
    used = cpu_seconds(tracer.pid) - before
    context.write("go", "")
    tracer.wait(0)
    check(used < 0.1, f"the tracer used {used:.2f} s of CPU in a second")


PTRACE_TRACEME, PTRACE_DETACH = 0, 17


@test(vm=False)
def test_attach_before_libpython_is_loaded(context):
    """A process between its exec and the mapping of its libpython is refused and not stopped."""
    compiler = harness.need_command("gcc")
    library = "/usr/lib/x86_64-linux-gnu/libpython3.11.so"
    if not os.path.exists(library) or not os.path.exists("/usr/include/python3.11/Python.h"):
        raise harness.Skip("no libpython3.11-dev here")
    program = context.path("embed")
    subprocess.run([compiler, "-I/usr/include/python3.11", "-o", program,
                    context.write("embed.c", EMBED), library], check=True)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    pid = os.fork()
    if not pid:
        libc.ptrace(PTRACE_TRACEME, 0, None, None)
        os.execv(program, [program, "-c", "raise SystemExit(5)"])
    try:
        os.waitpid(pid, 0)  # stopped by its exec
        tracer = context.trace("functions", "-v", "-o", context.path("a.csv"), "-p", pid)
        tracer.wait(1)
        check("not loaded" in tracer.errors(), "no clear error", actual=tracer.errors())
        equal(libc.ptrace(PTRACE_DETACH, pid, None, None), 0, "ptrace")
        _, status = os.waitpid(pid, os.WUNTRACED)
        pid = None if os.WIFEXITED(status) else pid
        equal(os.waitstatus_to_exitcode(status) if not pid else "stopped", 5, "how it ended")
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
