# SPDX-License-Identifier: BSD-3-Clause
"""SPEC 7, a test for each sentence; and bad input: one clear line, the right exit status."""

import ctypes
import os
import re
import shutil
import signal
import subprocess

import harness
from harness import Skip, check, equal, need_command, test, wait_for
from records import parse_csv, read_csv
from test_oracle import BIG

NOBODY = 65534

SHADOW = """
import os, sys
sys.path.insert(0, %(workloads)r)
import stage

def simple():
    return 1

def claim(path, lines=50):
    source = "def claimed():\\n" + "    x = 1\\n" * lines
    space = {}
    exec(compile(source, path, "exec"), space)
    return space["claimed"]

functions = [claim(path) for path in sys.argv[1:]]
assert os.getuid() == 65534, os.getuid()
stage.ready()
stage.wait_go()
for function in functions:
    function()
"""


@test(vm=True, lines=True)
def test_shadow_is_not_read(context):
    """A program of nobody whose code claims to come from root's files gets none of their lines."""
    secret = context.write("secret.txt", "root's secret line\n" * 60, mode=0o600)
    link = context.path("link.py")
    os.symlink(secret, link)
    world = context.write("world.txt", "for everybody\n" * 60)
    unreadable = context.path("dir")
    os.mkdir(unreadable, 0o700)
    hidden = context.write("dir/hidden.py", "hidden line\n" * 60)
    group = context.write("group.txt", "only for root's group\n" * 60, mode=0o640)
    script = context.write("shadow.py", SHADOW % {"workloads": harness.WORKLOADS})
    paths = ["/etc/shadow", secret, link, hidden, group, f"/proc/{os.getpid()}/environ",
             "/proc/self/root" + secret, "../" * 20 + secret, world]
    for monitor in ("lines", "line_memory"):
        workload = context.workload(script, *paths, user=NOBODY, group=NOBODY, extra_groups=[],
                                    cwd="/")
        context.record(monitor, workload, *BIG)
        rows = [row for row in read_csv(context.path("records.csv"), monitor)
                if row["function"] == "claimed"]
        for path in paths[:-1]:
            mine = [row["line"] for row in rows if row["filename"] == path]
            check(len(mine) == 50, f"{len(mine)} records of {path} instead of 50")
            equal(set(mine), {"<compiled string>"}, f"{monitor}: the lines of {path}")
        equal({row["line"] for row in rows if row["filename"] == world}, {"for everybody"},
              "the lines of a file that nobody may read")


@test(lines=True)
def test_source_is_no_fifo_or_device(context):
    """A file that would block or never end is no source."""
    fifo = context.path("fifo.py")
    os.mkfifo(fifo, 0o666)
    script = context.write("shadow.py", SHADOW % {"workloads": harness.WORKLOADS})
    paths = [fifo, "/dev/zero", "/dev/full", "/dev/random", "/proc/kmsg", "/dev/tty", context.dir,
             "", "/", "\x01", "relative.py"]
    workload = context.workload(script, *paths, user=NOBODY, group=NOBODY, extra_groups=[])
    context.record("lines", workload, *BIG)
    rows = [row for row in read_csv(context.path("records.csv"), "lines")
            if row["function"] == "claimed"]
    equal({row["line"] for row in rows}, {"<compiled string>"}, "the lines")


@test(lines=True)
def test_source_of_own_user_is_read(context):
    """What the target's user may read is read with its rights: a file of mode 0600 of nobody."""
    script = context.write("mine.py", "import sys\nsys.path.insert(0, %r)\nimport stage\n"
                           "stage.ready()\nstage.wait_go()\nx = 1\ny = 2\n" % harness.WORKLOADS,
                           mode=0o600)
    os.chown(script, NOBODY, NOBODY)
    workload = context.workload(script, user=NOBODY, group=NOBODY, extra_groups=[])
    context.record("lines", workload)
    lines = [row["line"] for row in read_csv(context.path("records.csv"), "lines")
             if row["filename"] == script]
    equal(lines, ["x = 1", "y = 2"], "the lines of the script")


@test(lines=True)
def test_source_changes_and_is_huge(context):
    """A huge file, one with endless lines or bytes that are no UTF-8: bounded, no crash."""
    with open(context.path("huge.py"), "wb") as stream:
        stream.truncate(1 << 34)  # sparse
    with open(context.path("binary.py"), "wb") as stream:
        stream.write(b"first \xff\xfe\x00 line\n" + b"x" * 5_000_000 + b"\n\x1b[31m third\n" * 60)
    os.chmod(context.path("huge.py"), 0o644)
    os.chmod(context.path("binary.py"), 0o644)
    script = context.write("shadow.py", SHADOW % {"workloads": harness.WORKLOADS})
    workload = context.workload(script, context.path("huge.py"), context.path("binary.py"),
                                user=NOBODY, group=NOBODY, extra_groups=[])
    target = workload.ready()
    tracer = context.trace("lines", "-v", "-o", context.path("a.csv"), "-p", target).attached()
    workload.go()
    workload.wait(0)
    tracer.wait(0)
    rows = read_csv(context.path("a.csv"), "lines")
    equal(sum(row["function"] == "claimed" for row in rows), 100, "records of claimed()")


# ------------------------------------------------------------------ output files


def simple_run(context, *arguments, status=0, **options):
    workload = context.workload("drive.py", "plain", "recursion")
    target = workload.ready()
    tracer = context.run("functions", *arguments, "--max-records", "5", "-p", target,
                         status=status, **options) if status else None
    if tracer is None:
        tracer = context.trace("functions", "-v", *arguments, "-p", target, **options).attached()
        workload.go()
        workload.wait(0)
        tracer.wait(0)
    return tracer


@test()
def test_output_no_symlink(context):
    """A link where the output should be is refused, dangling or not; its target is untouched."""
    precious = context.write("precious", "as it was\n")
    for link, target in (("link.csv", precious), ("dangling.csv", context.path("new"))):
        os.symlink(target, context.path(link))
        for recording in ("csv", "text"):
            tracer = simple_run(context, "--recording", recording, "-o", context.path(link),
                                status=1)
            check(link in tracer.errors() and tracer.errors().startswith("pikos-trace: cannot "),
                  "no clear error", actual=tracer.errors())
    with open(precious) as stream:
        equal(stream.read(), "as it was\n", "the link's target")
    check(not os.path.exists(context.path("new")), "the dangling link's target was made")


@test()
def test_output_modes(context):
    """0600 where it is made, whatever the umask; kept where it exists; truncated."""
    before = os.umask(0)
    try:
        simple_run(context, "-o", context.path("new.csv"))
        simple_run(context, "-o", context.path("new.log"))
    finally:
        os.umask(before)
    check(harness.is_mode(context.path("new.csv"), 0o600), "the mode of a new file")
    check(harness.is_mode(context.path("new.log"), 0o600), "the mode of a new file")
    there = context.write("there.csv", "x" * 10_000_000, mode=0o644)
    simple_run(context, "-o", there)
    check(harness.is_mode(there, 0o644), "the mode of a file that was there changed")
    check(os.path.getsize(there) < 9_000_000, "the old contents are still there")
    read_csv(there, "functions")


@test()
def test_output_errors(context):
    for path, word in (("/no/such/directory/a.csv", "No such"), (context.dir, "directory")):
        tracer = simple_run(context, "-o", path, "--recording", "csv", status=1)
        check(tracer.errors().startswith("pikos-trace: cannot ") and path in tracer.errors() and
              word in tracer.errors(), "no clear error", actual=tracer.errors())


def mount_tmpfs(context, size):
    libc = ctypes.CDLL(None, use_errno=True)
    directory = context.path("small")
    os.mkdir(directory)
    if libc.mount(b"tmpfs", directory.encode(), b"tmpfs", 0, b"size=" + size):
        raise Skip(f"cannot mount a tmpfs: {os.strerror(ctypes.get_errno())}")
    context.cleanup(lambda: libc.umount2(directory.encode(), 2))
    return directory


@test()
def test_full_disk(context):
    """One line that says how much was written; status 1; what was written stays readable."""
    directory = mount_tmpfs(context, b"64k")
    workload = context.workload("busy.py", "20000")
    target = workload.ready()
    path = os.path.join(directory, "a.csv")
    tracer = context.trace("functions", "-v", "-o", path, "-p", target).attached()
    workload.go(2)
    workload.wait(0)
    tracer.wait(1)
    errors = [line for line in tracer.errors().splitlines() if "cannot" in line]
    check(len(errors) == 1 and "No space" in errors[0] and re.search(r"\d+", errors[0]),
          "no clear error", "cannot write 'a.csv': No space left on device, N records written",
          tracer.errors())
    with open(path, "rb") as stream:
        data = stream.read()
    check(data.startswith(b"index,"), "the file's header is missing")
    parse_csv(data[:data.rindex(b"\r\n") + 2], "functions")
    equal(tracer.process.returncode, 1, "the exit status")


@test()
def test_full_disk_run_mode(context):
    """The program runs to its end when the disk is full; the failure wins over status 0."""
    directory = mount_tmpfs(context, b"64k")
    script = context.write("script.py", "def f():\n    pass\nfor _ in range(20000): f()\n"
                           "print('ran to its end')\n")
    tracer = context.run("functions", "-o", os.path.join(directory, "a.csv"), "--",
                         context.python, script, status=1)
    equal(tracer.output, "ran to its end\n", "the program's output")
    check("No space" in tracer.errors(), "no clear error", actual=tracer.errors())


@test()
def test_closed_pipe(context):
    """`| head`: the tracer ends, the target runs on."""
    for recording in ("screen", "csv"):
        workload = context.workload("busy.py", "forever")
        target = workload.ready()
        tracer = context.trace("functions", "-v", "--recording", recording, "-o", "-", "-p",
                               target, stdout=subprocess.PIPE).attached()
        workload.go()
        tracer.stdout.readline()
        tracer.stdout.close()
        tracer.wait(None)
        check(tracer.process.returncode in (0, 1), "how it ended", "0 or 1, no signal",
              tracer.process.returncode)
        check(len([line for line in tracer.errors().splitlines() if "cannot" in line]) <= 1,
              "more than a line", actual=tracer.errors())
        equal(set(harness.semaphores(target, context.python).values()), {0},
              "the target's semaphores")
        workload.go()
        workload.ready("stopped")
        workload.go()
        workload.wait(0)


# ------------------------------------------------------------------ rights


def capabilities(pid):
    with open(f"/proc/{pid}/status") as status:
        return {line[:6]: int(line.split()[1], 16) for line in status if line.startswith("Cap")}


def held(pid):
    caps = capabilities(pid)
    return caps["CapEff"] | caps["CapPrm"]


CAP_KILL = 1 << 5


@test(vm=True)
def test_capabilities_dropped(context):
    """The loader keeps none that it no longer uses; --lossless may keep the right to signal."""
    for extra, allowed in (((), 0), (("--lossless",), CAP_KILL)):
        workload = context.workload("drive.py", "plain", "recursion")
        tracer = context.attach("functions", workload, *extra)
        caps, _ = wait_for(lambda: not held(tracer.pid) & ~allowed and capabilities(tracer.pid),
                           f"the loader down to {allowed:#x} with {extra}")
        helpers = {pid: hex(capabilities(pid)["CapEff"])
                   for pid in harness.descendants(tracer.pid)}
        full = [pid for pid, value in helpers.items() if bin(int(value, 16)).count("1") > 12]
        check(not full, "a helper keeps more than tracing and signalling need", actual=helpers)
        context.note(f"loader {caps['CapEff']:x}, helpers {sorted(helpers.values())}")
        workload.go()
        workload.wait(0)
        tracer.wait(0)


@test(vm=True)
def test_capability_named(context):
    """Without the rights it tries, and names the capability that the failing call lacks."""
    setpriv = need_command("setpriv")
    reachable = shutil.copy(context.program, context.path("pikos-trace"))
    os.chmod(reachable, 0o755)
    workload = context.workload("drive.py", "plain", "recursion", user=NOBODY, group=NOBODY,
                                extra_groups=[])
    target = workload.ready()
    os.mkdir(context.path("out"))
    os.chmod(context.path("out"), 0o777)
    tracer = context.run("functions", "-o", context.path("out/a.csv"), "-p", target, status=1,
                         program=reachable, prefix=[setpriv, "--reuid=65534", "--regid=65534",
                                                    "--clear-groups"])
    one_line(tracer, "cannot", "CAP_")
    workload.go()
    workload.wait(0)


@test(vm=True)
def test_capability_named_without_sys_admin(context):
    """Root without CAP_SYS_ADMIN on a kernel that asks for it: named."""
    setpriv = need_command("setpriv")
    workload = context.workload("drive.py", "plain", "recursion")
    target = workload.ready()
    tracer = context.run("functions", "-o", context.path("a.csv"), "--max-records", "1",
                         "--duration", "100ms", "-p", target, prefix=[
                             setpriv, "--bounding-set=-sys_admin", "--inh-caps=-all"], status=None)
    if tracer.process.returncode == 0:
        raise Skip("this kernel does not ask for CAP_SYS_ADMIN")
    equal(tracer.process.returncode, 1, "the exit status")
    check("CAP_SYS_ADMIN" in tracer.errors(), "CAP_SYS_ADMIN is not named",
          actual=tracer.errors())


@test(vm=True)
def test_pid_of_another_user(context):
    """Root traces another user's process."""
    workload = context.workload("drive.py", "plain", "recursion", user=NOBODY, group=NOBODY,
                                extra_groups=[])
    context.record("functions", workload)
    check(len(read_csv(context.path("records.csv"), "functions")) > 100, "few records")


# ------------------------------------------------------------------ bad input


def one_line(tracer, *words):
    """Its errors: one line `pikos-trace: cannot VERB 'OBJECT': REASON`, maybe one with advice."""
    text = tracer.errors()
    lines = text.splitlines()
    check(1 <= len(lines) <= 2 and lines[0].startswith("pikos-trace: "), "no clear error", words,
          text)
    for word in words:
        check(word.lower() in text.lower(), f"the error does not say {word!r}", words, text)
    equal(getattr(tracer, "output", ""), "", "stdout")


def no_pid():
    with open("/proc/sys/kernel/pid_max") as stream:
        maximum = int(stream.read())
    return next(pid for pid in range(maximum - 1, 1, -1) if not os.path.exists(f"/proc/{pid}"))


@test()
def test_bad_no_such_pid(context):
    pid = no_pid()
    one_line(context.run("functions", "-p", pid, status=1), "cannot", str(pid), "No such process")


@test()
def test_bad_pid_syntax(context):
    for text in ("abc", "-5", "0", "1,,2", "99999999999999", "12x", ""):
        tracer = context.run("functions", "-p", text, status=2)
        check(tracer.errors().startswith("pikos-trace: "), f"-p {text!r}", actual=tracer.errors())


@test()
def test_bad_not_a_python(context):
    sleeper = subprocess.Popen(["sleep", "1000"])
    context.cleanup(lambda: (sleeper.kill(), sleeper.wait()))
    wait_for(lambda: b"sleep" in open(f"/proc/{sleeper.pid}/cmdline", "rb").read(), "sleep")
    one_line(context.run("functions", "-p", sleeper.pid, status=1), "cannot", str(sleeper.pid),
             "CPython")


@test()
def test_bad_kernel_thread(context):
    try:
        with open("/proc/2/comm") as stream:
            name = stream.read().strip()
    except FileNotFoundError:
        name = None
    if name != "kthreadd":
        raise Skip("no kernel thread in sight")
    one_line(context.run("functions", "-p", 2, status=1), "cannot", "2")


@test()
def test_bad_zombie(context):
    """A process that has ended but was not waited for."""
    dead = subprocess.Popen(["true"])
    context.cleanup(dead.wait)
    wait_for(lambda: harness.process_state(dead.pid) == "Z", "the zombie")
    one_line(context.run("functions", "-p", dead.pid, status=1), "cannot", str(dead.pid))


@test()
def test_bad_pid_ends_while_attaching(context):
    """Killed at many moments of the attach: a clear line or a recording, never a crash."""
    for number in range(12):
        workload = context.workload("drive.py", "plain", "recursion")
        target = workload.ready()
        tracer = context.trace("functions", "-v", "-o", context.path("a.csv"), "-p", target)
        if number:
            wait_for(lambda: cpu_ticks(tracer.pid) >= number - 1 or not tracer.running(),
                     "the tracer's progress")
        os.kill(target, signal.SIGKILL)
        workload.wait(None)
        tracer.wait(None)
        status = tracer.process.returncode
        check(status in (0, 1), f"moment {number}: how it ended", "0 or 1", status)
        if status == 1:
            text = tracer.errors()
            check("pikos-trace: cannot " in text and str(target) in text, "no clear error",
                  actual=text)


def cpu_ticks(pid):
    try:
        with open(f"/proc/{pid}/stat") as stream:
            fields = stream.read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    except OSError:
        return 1 << 30


@test()
def test_bad_python_without_probes(context):
    """Refused by version and probe, with what to do."""
    found = 0
    for version in ("3.12.1", "3.13.0", "3.11.7", "3.8.18"):
        python = f"/root/.pyenv/versions/{version}/bin/python{version.rpartition('.')[0]}"
        if not os.path.exists(python):
            continue
        found += 1
        workload = context.workload("drive.py", "plain", "lambdas", python=python)
        tracer = context.run("functions", "-p", workload.ready(), status=1)
        check("function__entry" in tracer.errors() or "probe" in tracer.errors(),
              f"{version}: no word of probes", actual=tracer.errors())
        check(version.rpartition(".")[0] in tracer.errors(), f"{version} is not named",
              actual=tracer.errors())
        check(len(tracer.errors().splitlines()) == 2, "what to do next is missing",
              actual=tracer.errors())
        # In run mode the agent takes their place, if the version is one that it knows.
        sources = ["usdt"] if version != "3.8.18" else ["usdt", "auto", "agent"]
        for source in sources:
            tracer = context.run("functions", "--source", source, "--", python, "-c",
                                 "print('ran')", status=None)
            check(tracer.process.returncode == 1 and "ran" not in tracer.output,
                  f"run mode, {source}: it ran untraced, or with another status",
                  actual=(tracer.process.returncode, tracer.output, tracer.errors()))
    if not found:
        raise Skip("no CPython without probes here")


@test()
def test_bad_usage(context):
    """Status 2, the wrong word named, nothing on stdout."""
    pid = str(os.getpid())
    for arguments, word in (
            (["no_monitor", "-p", pid], "no_monitor"),
            (["functions", "--fields", "+nonsense", "-p", pid], "nonsense"),
            (["functions", "--filter", "nofield=1", "-p", pid], "nofield"),
            (["functions", "--filter", "change(nofield)", "-p", pid], "nofield"),
            (["functions", "--filter", "garbage", "-p", pid], "garbage"),
            (["lines", "--filter", "type=call", "-p", pid], "type"),
            (["functions", "--recording", "tape", "-p", pid], "tape"),
            (["functions", "--transport", "pigeon", "-p", pid], "pigeon"),
            (["functions", "--source", "psychic", "-p", pid], "psychic"),
            (["functions", "--buffer-size", "lots", "-p", pid], "lots"),
            (["functions", "--buffer-size", "-1", "-p", pid], "-1"),
            (["functions", "--duration", "soon", "-p", pid], "soon"),
            (["functions", "--duration", "-1", "-p", pid], "-1"),
            (["functions", "--max-records", "many", "-p", pid], "many"),
            (["functions", "--max-records", "-3", "-p", pid], "-3"),
            (["functions", "--csv-delimiter", "long", "-p", pid], "long"),
            (["functions", "--no-such-option", "-p", pid], "no-such-option"),
            (["functions", "--zmq-pattern", "smoke", "--recording", "zmq", "-p", pid], "smoke"),
            (["functions", "--zmq-encoding", "xml", "--recording", "zmq", "-p", pid], "xml"),
            (["functions"], ""), ([], ""), (["functions", "--"], ""),
            (["functions", "-p", pid, "--", "true"], "")):
        tracer = context.run(*arguments, status=2)
        check(tracer.errors().startswith("pikos-trace: ") or not word and tracer.errors(),
              f"{arguments}: no error", actual=tracer.errors())
        check(word in tracer.errors(), f"{arguments}: {word!r} is not named",
              actual=tracer.errors())
        equal(tracer.output, "", f"{arguments}: stdout")


@test()
def test_bad_monitors_not_built(context):
    """What is not built yet is unknown, and absent from --help."""
    text = context.run("--help").output
    for word in ("profile", "line_profile"):
        context.run(word, "-p", os.getpid(), status=2)
    for word in ("line_profile", "--follow", "convert", "--all"):
        check(word not in text, f"--help speaks of {word}", actual=text)


# ------------------------------------------------------------------ what tells about itself


@test()
def test_help_and_version(context):
    text = context.run("-h").output
    equal(context.run("--help").output, text, "--help")
    for word in ("functions", "line_memory", "--focused-on", "--filter", "--lossless", "-p",
                 "--recording", "--fields", "--strict", "--tree", "--zmq-endpoint", "--list",
                 "--features", "--duration", "--max-records", "--buffer-size", "--transport"):
        check(word in text, f"--help without {word}")
    check(max(map(len, text.splitlines())) <= 100, "a line of --help is longer than 100")
    check(re.fullmatch(r"pikos-trace \d+\.\d+\.\d+\n", context.run("-V").output), "-V",
          actual=context.run("-V").output)


@test(vm=True)
def test_list(context):
    """--list of a file, a process and by itself: the probes and what they are good for."""
    outputs = [context.run("--list", context.python).output]
    workload = context.workload("drive.py", "plain", "recursion")
    outputs.append(context.run("--list", "-p", workload.ready()).output)
    for output in outputs:
        for probe in harness.probes_of(context.python):
            check(re.search(rf"\b{probe}\b", output), f"--list without {probe}", actual=output)
    context.run("--list")
    workload.go()
    workload.wait(0)


@test()
def test_list_bad(context):
    for arguments in (["/no/such/file"], ["/etc/passwd"], ["/bin/sh"], ["-p", str(no_pid())]):
        tracer = context.run("--list", *arguments, status=1)
        one_line(tracer, "cannot")


@test(vm=True)
def test_features(context):
    """Found or not, with the release since when."""
    text = context.run("--features").output
    for word in ("ring buffer", "5.8", "4.20"):
        check(word in text, f"--features without {word!r}", actual=text)
    check(len(text.splitlines()) >= 8, "few features", actual=text)


@test()
def test_forged_notes(context):
    """Interpreters with damaged ELF notes: refused or listed, never a crash."""
    import random

    chance = random.Random(1)
    with open(os.path.realpath(context.python), "rb") as stream:
        image = stream.read()
    notes = image.index(b"stapsdt\0")
    for number in range(40):
        damaged = bytearray(image)
        if number < 30:
            for _ in range(1 + number % 8):
                damaged[notes - 12 + chance.randrange(1200)] = chance.randrange(256)
        elif number < 36:
            for _ in range(4):
                damaged[chance.randrange(64)] = chance.randrange(256)
        else:
            damaged = damaged[:chance.randrange(len(damaged))]
        path = context.path("forged")
        with open(path, "wb") as stream:
            stream.write(damaged)
        tracer = context.run("--list", path, status=None)
        check(tracer.process.returncode in (0, 1), f"damage {number}: how it ended", "0 or 1",
              tracer.process.returncode)
        if tracer.process.returncode:
            check(tracer.errors().startswith("pikos-trace: cannot "), "no clear error",
                  actual=tracer.errors())
