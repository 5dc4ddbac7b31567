# SPDX-License-Identifier: BSD-3-Clause
"""Nothing is lost silently; every end leaves target and file in order."""

import ctypes
import mmap
import os
import random
import signal
import subprocess
import time

import harness
from harness import Lines, Skip, add_test, check, equal, process_state, semaphores, test, wait_for
from records import check_complete, is_lost, parse_csv, read_csv

CALLS = 60000 if harness.SLOW < 4 else 15000  # too many for a buffer of 64 KiB either way
SEED = 20240229

# A probe or a semaphore that stays makes a call 7 times as long or more; the machine's own speed may
# change by 2 meanwhile.
LEFT_BEHIND = 4


def slow_trace(context, workload, *arguments, monitor="functions"):
    target = workload.ready()
    tracer = context.trace(monitor, "-v", "--recording", "csv", "-o", "-", *arguments, "-p",
                           target, stdout=subprocess.PIPE)
    return tracer.attached()


def finish(tracer, status=0):
    """Read what it wrote on stdout, which nobody did before, and wait for its end."""
    output = Lines(tracer.stdout)
    tracer.wait(status)
    output.thread.join(harness.DEADLINE)
    return output.text().encode()


def overflow(context, *arguments, status=0, monitor="functions"):
    """A workload whose records nobody reads until it is done; returns rows, summary, tracer."""
    workload = context.workload("busy.py", str(CALLS))
    tracer = slow_trace(context, workload, *arguments, monitor=monitor)
    workload.go()
    workload.ready("done")
    workload.go()
    workload.wait(0)
    data = finish(tracer, status)
    return parse_csv(data, monitor), tracer.summary(), tracer


@test()
def test_complete_random_buffer_sizes(context):
    """seen = written + filtered + lost, and the rows account for every index."""
    chance = random.Random(SEED)
    # What busy.py does after the attach, counted by a run that loses nothing.
    workload = context.workload("busy.py", str(CALLS))
    tracer = context.attach("functions", workload, "--buffer-size", "64M")
    workload.go(2)
    workload.wait(0)
    tracer.wait(0)
    everything = tracer.summary()
    equal(everything["lost"], 0, "lost with a big buffer")
    check(everything["seen"] >= 2 * CALLS, "the run saw too little", 2 * CALLS, everything)
    lossy = 0
    for transport in ("ringbuf", "perfbuf"):
        for _ in range(4):
            size = f"{2 ** chance.randrange(6, 11)}K"
            what = f"--transport {transport} --buffer-size {size} (seed {SEED})"
            rows, summary, _ = overflow(context, "--transport", transport, "--buffer-size", size)
            equal(summary["seen"], everything["seen"], f"seen with {what}")
            check_complete(rows, summary)
            lossy += bool(summary["lost"])
            for row in rows:
                if is_lost(row):
                    check(row["function"] and row["lineNo"] and not row["filename"],
                          "a lost row's fields", "index,lost,REASON,COUNT,", row)
    check(lossy >= 4, f"only {lossy} of 8 runs lost anything: proves nothing")
    context.note(f"{lossy} of 8 runs lost events")


@test(vm=True)
def test_complete_filtered_and_lost(context):
    """With a filter too; lost rows are never filtered."""
    rows, summary, _ = overflow(context, "--buffer-size", "64K", "--filter", "type=call")
    check(summary["lost"] and summary["filtered"] and summary["written"],
          "all three must happen here", actual=summary)
    equal(sum(int(row["lineNo"]) for row in rows if is_lost(row)), summary["lost"],
          "the lost rows' counts")
    equal(sum(not is_lost(row) for row in rows), summary["written"], "the rows")
    indices = [row["index"] for row in rows]
    equal(indices, sorted(set(indices)), "the index column")


@test(lines=True)
def test_complete_slow_end(context):
    """A process without memory is not gone yet, nor are its files."""
    context.record("lines", context.workload("slow_end.py"))
    rows = read_csv(context.path("records.csv"), "lines")
    equal([row["line"] for row in rows][-2:], ["last()", "    os._exit(0)"], "the last lines")


def names_under_loss(context, monitor, case, transport, size, late):
    """Each record that was not lost is that of its index: never another's name, file or line."""
    workload = context.workload("drive.py", "plain", case)
    context.record(monitor, workload, "--buffer-size", "64M", output="all.csv")
    truth = read_csv(context.path("all.csv"), monitor)
    check(not any(map(is_lost, truth)), "the reference lost events")
    workload = context.workload("drive.py", "plain", case)
    tracer = slow_trace(context, workload, "--buffer-size", size, "--transport", transport,
                        monitor=monitor)
    output = None if late else Lines(tracer.stdout)
    workload.go()
    workload.wait(0)
    if late:
        output = Lines(tracer.stdout)
    tracer.wait(0)
    output.thread.join(harness.DEADLINE)
    rows = parse_csv(output.text().encode(), monitor)
    check_complete(rows, tracer.summary())
    equal(tracer.summary()["seen"], len(truth), "seen")
    wrong = [(row, truth[row["index"]]) for row in rows
             if not is_lost(row) and row != truth[row["index"]]]
    context.note(f"{tracer.summary()['lost']} of {len(truth)} lost")
    check(not wrong, f"{len(wrong)} records tell of another function, the first",
          wrong and wrong[0][1], wrong and wrong[0][0])


for _monitor in ("functions", "lines"):
    for _case in ("name_storm", "exec_storm", "generators"):
        for _transport in ("ringbuf", "perfbuf"):
            for _late in (False, True):
                add_test(f"names_under_loss_{_monitor}_{_case}_{_transport}" + "_late" * _late,
                         lambda context, monitor=_monitor, case=_case, transport=_transport,
                         late=_late: names_under_loss(context, monitor, case, transport, "64K",
                                                      late),
                         vm=_case == "name_storm" and _late and
                         (_transport == "ringbuf") == (_monitor == "functions"),
                         lines=_monitor == "lines")


@test()
def test_complete_odd_sizes(context):
    """Sizes that are no power of two are rounded, or refused by a clear line."""
    for size in ("100K", "1", "65537", "3M"):
        workload = context.workload("drive.py", "plain", "recursion")
        target = workload.ready()
        tracer = context.trace("functions", "-v", "--buffer-size", size, "-o",
                               context.path("a.csv"), "-p", target)
        said = tracer.stderr.wait(lambda lines: any(": tracing " in line for line in lines),
                                  harness.DEADLINE)
        workload.go()
        workload.wait(0)
        if said:
            tracer.wait(0)
            check_complete(read_csv(context.path("a.csv"), "functions"), tracer.summary())
        else:
            tracer.wait(2)
            check(size in tracer.errors(), f"the size {size} is not named", actual=tracer.errors())


@test()
def test_complete_memory_monitor(context):
    rows, summary, _ = overflow(context, "--buffer-size", "64K", monitor="function_memory")
    check(summary["lost"], "nothing was lost: proves nothing", actual=summary)
    check_complete(rows, summary)
    for row in rows:
        if is_lost(row):
            equal((row["RSS"], row["VMS"]), ("", ""), "RSS and VMS of a lost row")


@test(vm=True, lines=True)
def test_complete_lines(context):
    rows, summary, _ = overflow(context, "--buffer-size", "64K", monitor="lines")
    check(summary["lost"], "nothing was lost: proves nothing", actual=summary)
    check_complete(rows, summary)
    lost = next(row for row in rows if is_lost(row))
    check(lost["function"] == "<lost>" and lost["line"] and not lost["filename"], "a lost row",
          "index,<lost>,COUNT,REASON,", lost)


@test()
def test_strict(context):
    """--strict: 3 when something was lost, in run mode too; 0 when not."""
    _, summary, tracer = overflow(context, "--buffer-size", "64K", "--strict", status=3)
    check(summary["lost"], "nothing was lost")
    check("lost" in tracer.errors().rpartition("seen=")[0], "the loss is not reported on stderr",
          actual=tracer.errors())
    workload = context.workload("drive.py", "plain", "recursion")
    context.record("functions", workload, "--strict", "--buffer-size", "64M")


@test()
def test_loss_is_reported(context):
    """Once, on stderr, with its reason and number, without -v as well."""
    workload = context.workload("busy.py", str(CALLS))
    target = workload.ready()
    tracer = context.trace("functions", "--recording", "csv", "-o", "-", "--buffer-size", "64K",
                           "-p", target, stdout=subprocess.PIPE)
    wait_for(lambda: semaphores(target, context.python)["function__entry"], "the attach")
    workload.go(2)
    workload.wait(0)
    rows = parse_csv(finish(tracer), "functions")
    lost = sum(int(row["lineNo"]) for row in rows if is_lost(row))
    check(lost, "nothing was lost: proves nothing")
    check(str(lost) in tracer.errors() and "lost" in tracer.errors(),
          "the number of lost events is not on stderr", lost, tracer.errors())
    check("seen=" not in tracer.errors(), "the summary is printed without -v")


@test()
def test_quiet(context):
    """-q: nothing on stderr when all is well."""
    tracer = context.run("functions", "-q", "-o", context.path("a.csv"), "--", context.python,
                         os.path.join(harness.WORKLOADS, "drive.py"), "plain", "recursion")
    equal(tracer.errors(), "", "stderr")


# ------------------------------------------------------------------ lossless


@test(vm=True)
def test_lossless(context):
    """The smallest buffer and a reader that comes late: nothing lost, the target goes on."""
    workload = context.workload("busy.py", str(CALLS))
    tracer = slow_trace(context, workload, "--lossless", "--buffer-size", "64K")
    workload.go()
    wait_for(lambda: process_state(workload.target) == "T", "the target's pause")
    output = Lines(tracer.stdout)
    workload.ready("done")
    workload.go()
    workload.wait(0)
    tracer.wait(0)
    output.thread.join(harness.DEADLINE)
    summary = tracer.summary()
    equal(summary["lost"], 0, "lost")
    rows = parse_csv(output.text().encode(), "functions")
    check_complete(rows, summary)
    equal(sum(row["function"] == "work" for row in rows), 2 * CALLS, "records of work()")
    said = tracer.errors()
    check("parent" in said and "sleep" in said,
          "no warning that a parent sees the stops and that sleeping calls may return early",
          actual=said)


@test()
def test_lossless_perfbuf(context):
    """Lossless too, or refused with what to do; never lossy in silence."""
    workload = context.workload("busy.py", str(CALLS))
    target = workload.ready()
    tracer = context.trace("functions", "-v", "--lossless", "--transport", "perfbuf", "--recording",
                           "csv", "-o", "-", "--buffer-size", "64K", "-p", target,
                           stdout=subprocess.PIPE)
    said = tracer.stderr.wait(lambda lines: any(": tracing " in line for line in lines),
                              harness.DEADLINE)
    output = Lines(tracer.stdout)
    workload.go(2)
    workload.wait(0)
    if not said:
        tracer.wait(2)
        check("--lossless" in tracer.errors() and "perfbuf" in tracer.errors(), "no clear error",
              actual=tracer.errors())
        return
    tracer.wait(0)
    output.thread.join(harness.DEADLINE)
    equal(tracer.summary()["lost"], 0, "lost")


@test()
def test_lossless_with_children(context):
    """Forked children of a target that is paused again and again all come to their end."""
    script = context.write("forks.py", """
import os, sys
sys.path.insert(0, %r)
import stage

def work():
    pass

stage.ready()
stage.wait_go()
children = []
for number in range(20):
    for _ in range(2000):
        work()
    child = os.fork()
    if child == 0:
        for _ in range(2000):
            work()
        os._exit(0)
    children.append(child)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
""" % harness.WORKLOADS)
    workload = context.workload(script)
    tracer = slow_trace(context, workload, "--lossless", "--buffer-size", "64K")
    workload.go()
    wait_for(lambda: process_state(workload.target) == "T", "the target's pause")
    output = Lines(tracer.stdout)
    workload.wait(0)
    tracer.wait(0)
    output.thread.join(harness.DEADLINE)
    equal(tracer.summary()["lost"], 0, "lost")
    rows = parse_csv(output.text().encode(), "functions")
    equal(sum(row["function"] == "work" for row in rows), 80000, "the parent's records of work()")


@test()
def test_strict_run_mode(context):
    """--strict wins over the program's status, which is returned without it."""
    script = context.write("exits.py", f"def f():\n    pass\nfor _ in range({CALLS}): f()\n"
                           "import os; os.write(int(os.environ['DONE']), b'x'); os._exit(5)\n")
    for extra, status in (((), 5), (("--strict",), 3)):
        read, write = os.pipe()
        tracer = context.trace("functions", "-v", *extra, "--buffer-size", "64K", "--recording",
                               "csv", "-o", "-", "--", context.python, script,
                               stdout=subprocess.PIPE, pass_fds=(write,),
                               env=context.environment(DONE=str(write)))
        os.close(write)
        equal(os.read(read, 1), b"x", "the program's word that it is done")
        os.close(read)
        rows = parse_csv(finish(tracer, status), "functions")
        check(tracer.summary()["lost"], "nothing was lost: proves nothing")
        check_complete(rows, tracer.summary())


@test()
def test_lossless_threads(context):
    """Several threads fill the buffer at once, the whole process is paused."""
    script = context.write("threads.py", """
import sys, threading
sys.path.insert(0, %r)
import stage

def work():
    pass

def many():
    for _ in range(10000):
        work()

stage.ready()
stage.wait_go()
threads = [threading.Thread(target=many) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
""" % harness.WORKLOADS)
    workload = context.workload(script)
    tracer = slow_trace(context, workload, "--lossless", "--buffer-size", "64K")
    workload.go()
    wait_for(lambda: process_state(workload.target) == "T", "the target's pause")
    output = Lines(tracer.stdout)
    workload.wait(0)
    tracer.wait(0)
    output.thread.join(harness.DEADLINE)
    equal(tracer.summary()["lost"], 0, "lost")
    rows = parse_csv(output.text().encode(), "functions")
    equal(sum(row["function"] == "work" for row in rows), 80000, "records of work()")


def kill_while_paused(context, number):
    workload = context.workload("busy.py", "forever")
    tracer = slow_trace(context, workload, "--lossless", "--buffer-size", "64K")
    workload.go()
    wait_for(lambda: process_state(workload.target) == "T", "the target's pause")
    started = time.monotonic()
    tracer.process.send_signal(number)
    _, took = wait_for(lambda: process_state(workload.target) in ("R", "S"),
                       "the target running again")
    took = time.monotonic() - started
    tracer.end()
    return workload, took


@test(vm=True, alone=True)
def test_lossless_killed_while_paused(context):
    """kill -9 of the tracer while the target is paused: it runs again (how soon: make bench)."""
    worst = 0.0
    for _ in range(5):
        workload, took = kill_while_paused(context, signal.SIGKILL)
        worst = max(worst, took)
        # And not only for an instant.
        workload.ready("turning")
        workload.go()
        workload.ready("stopped")
        wait_for(lambda: set(semaphores(workload.target, context.python).values()) == {0},
                 "its semaphores back at 0")
        workload.go()
        workload.wait(0)
    context.note(f"{worst * 1000:.0f} ms at worst")


@test()
def test_lossless_group_killed_while_paused(context):
    """A shell that kills the tracer's whole group must not take the keeper first."""
    workload = context.workload("busy.py", "forever")
    tracer = slow_trace(context, workload, "--lossless", "--buffer-size", "64K")
    workload.go()
    wait_for(lambda: process_state(workload.target) == "T", "the target's pause")
    os.killpg(tracer.pid, signal.SIGKILL)
    wait_for(lambda: process_state(workload.target) in ("R", "S"), "the target running again")


@test(vm=True)
def test_lossless_no_tracer_left(context):
    """After kill -9 the keeper goes too."""
    workload = context.workload("busy.py", "forever")
    tracer = slow_trace(context, workload, "--lossless", "--buffer-size", "64K")
    helpers = harness.descendants(tracer.pid)
    check(helpers, "there is no keeper process")
    tracer.process.kill()
    tracer.process.wait()
    for helper in helpers:
        wait_for(lambda: process_state(helper) in (None, "Z"), f"the end of helper {helper}")
    workload.go(3)
    workload.wait(0)


@test(alone=True)
def test_lossless_user_stop_stays(context):
    """A target that its user stopped stays stopped, however the tracer ends."""
    for number in (signal.SIGINT, signal.SIGKILL, signal.SIGTERM):
        workload = context.workload("busy.py", "forever")
        target = workload.ready()
        tracer = context.trace("functions", "-v", "--lossless", "--buffer-size", "64K", "-o",
                               context.path("a.csv"), "-p", target).attached()
        workload.go()
        workload.ready("turning")
        helpers = harness.descendants(tracer.pid)
        stop_for_good(target)
        tracer.process.send_signal(number)
        tracer.process.wait(harness.DEADLINE)
        for helper in helpers:
            wait_for(lambda: process_state(helper) in (None, "Z"), f"the end of helper {helper}")
        equal(process_state(target), "T", f"the target's state after {number!r}")
        os.kill(target, signal.SIGCONT)
        workload.go()
        workload.ready("stopped")
        workload.go()
        workload.wait(0)


def stop_for_good(target):
    """As its user: until it is stopped and the tracer, which may have paused it, let it go on."""
    deadline = time.monotonic() + harness.DEADLINE
    while time.monotonic() < deadline:
        os.kill(target, signal.SIGSTOP)
        wait_for(lambda: process_state(target) == "T", "the stop")
        # The tracer continues its own pauses within a moment: one that lasts is the user's.
        until = time.monotonic() + 0.3 * harness.SLOW
        while process_state(target) == "T":
            if time.monotonic() > until:
                return
            time.sleep(0.001)
    raise harness.Failure("the target cannot be stopped by its user")


# ------------------------------------------------------------------ ends


@test(vm=True)
def test_signals_end_cleanly(context):
    """Detach, drain, finalize; the file is whole, the target untouched."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        workload = context.workload("busy.py", "forever")
        target = workload.ready()
        tracer = context.trace("functions", "-v", "-o", context.path("a.csv"), "--buffer-size",
                               "64M", "-p", target).attached()
        workload.go()
        workload.ready("turning")
        tracer.signal(number)
        tracer.wait(0)
        rows = read_csv(context.path("a.csv"), "functions")
        check_complete(rows, tracer.summary())
        check(len(rows) > 1000, f"few records before {number!r}")
        equal(set(semaphores(target, context.python).values()), {0}, "the target's semaphores")
        workload.go()
        workload.ready("stopped")
        workload.go()
        workload.wait(0)


@test()
def test_repeated_interrupts(context):
    """An impatient user's second and third Ctrl-C do not break the file."""
    workload = context.workload("busy.py", "forever")
    target = workload.ready()
    tracer = context.trace("functions", "-v", "-o", context.path("a.csv"), "-p", target).attached()
    workload.go()
    workload.ready("turning")
    for _ in range(3):
        tracer.signal(signal.SIGINT)
    tracer.wait(None)
    check(tracer.process.returncode in (0, 1, -2, 130), "how it ended",
          actual=tracer.process.returncode)
    if tracer.process.returncode == 0:
        read_csv(context.path("a.csv"), "functions")
    wait_for(lambda: set(semaphores(target, context.python).values()) == {0}, "the detaching")


@test()
def test_target_exit_ends(context):
    for how in ("exit", "kill"):
        workload = context.workload("busy.py", "forever")
        target = workload.ready()
        tracer = context.trace("functions", "-v", "--buffer-size", "64M", "-o",
                               context.path("a.csv"), "-p", target).attached()
        workload.go()
        workload.ready("turning")
        if how == "kill":
            os.kill(target, signal.SIGKILL)
        else:
            workload.go(2)
        tracer.wait(0)
        check_complete(read_csv(context.path("a.csv"), "functions"), tracer.summary())


EXEC = """
import os, sys
sys.path.insert(0, %r)
import stage

def before():
    pass

if len(sys.argv) > 1:
    stage.ready("executed")
    stage.wait_go()
    before()
    stage.ready("still fine")
    stage.wait_go()
    sys.exit(0)
stage.ready()
stage.wait_go()
before()
os.execv(%s)
"""


@test(vm=True)
def test_target_exec_python(context):
    """The target becomes another program, a Python at that: what was before is recorded."""
    script = context.write("exec.py", EXEC % (
        harness.WORKLOADS, "sys.executable, [sys.executable, __file__, 'again']"))
    workload = context.workload(script)
    tracer = context.attach("functions", workload)
    workload.go()
    workload.ready("executed")
    workload.go()
    workload.ready("still fine")
    workload.go()
    workload.wait(0)
    tracer.wait(0)
    tracer.summary()
    rows = read_csv(context.path("records.csv"), "functions")
    names = [(row["type"], row["function"]) for row in rows]
    check(("call", "before") in names and ("return", "before") in names, "before() is missing")


@test()
def test_target_exec_other(context):
    """The target becomes a program that is no Python."""
    script = context.write("exec.py", EXEC % (
        harness.WORKLOADS, "'/bin/sh', ['sh', '-c', 'exit 0']"))
    workload = context.workload(script)
    tracer = context.attach("functions", workload)
    workload.go()
    workload.wait(0)
    tracer.wait(0)
    rows = read_csv(context.path("records.csv"), "functions")
    check(any(row["function"] == "before" for row in rows), "before() is missing")


@test(vm=True, alone=True)
def test_kill_9(context):
    """The target runs on at full speed, semaphores 0, the file is readable to the last flush."""
    for extra in ((), ("--buffered",), ("--lossless",)):
        workload = context.workload("busy.py", "forever")
        target = workload.ready()
        path = context.path("a.csv")
        tracer = context.trace("functions", "-v", "--buffer-size", "8M", "-o", path, *extra, "-p",
                               target).attached()
        workload.go()
        workload.ready("turning")
        if extra != ("--buffered",):
            wait_for(lambda: os.path.getsize(path) > 100000, "records in the file")
        tracer.process.kill()
        tracer.process.wait()
        wait_for(lambda: set(semaphores(target, context.python).values()) == {0},
                 "semaphores back at 0")
        workload.go()
        workload.ready("stopped")
        workload.go()
        before, after = workload.result()
        context.note(f"{before:.0f} ns a call before, {after:.0f} after")
        check(after < LEFT_BEHIND * before, f"the target is slower after kill -9 {extra}", before, after)
        with open(path, "rb") as stream:
            data = stream.read()
        if not data:
            check(extra == ("--buffered",), "the file is empty")
            continue
        whole = data[:data.rindex(b"\r\n") + 2]
        if extra != ("--buffered",) and len(data) % mmap.PAGESIZE:
            # A kill ends the write() under way at a page's end.
            equal(len(data) - len(whole), 0, "bytes of an incomplete line at the end")
        for number, row in enumerate(row for row in parse_csv(whole, "functions")
                                     if not is_lost(row)):
            if number == 0:
                equal(row["index"], 0, "the first index")


@test(vm=True, alone=True)
def test_speed_after_detach(context):
    workload = context.workload("busy.py", "forever")
    target = workload.ready()
    tracer = context.trace("functions", "-v", "-o", context.path("a.csv"), "-p", target).attached()
    workload.go()
    workload.ready("turning")
    tracer.signal(signal.SIGINT)
    tracer.wait(0)
    workload.go()
    workload.ready("stopped")
    workload.go()
    before, after = workload.result()
    context.note(f"{before:.0f} ns a call before, {after:.0f} after")
    check(after < LEFT_BEHIND * before, "the target is slower after detaching", before, after)


NEXT_ID = {"prog": 11, "map": 12, "link": 31}  # commands of bpf(2), BPF_*_GET_NEXT_ID
BPF_SYSCALL = {"x86_64": 321, "aarch64": 280}


def bpf_objects():
    """ids of all programs, maps and links of the kernel: {(kind, id)}."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = BPF_SYSCALL.get(os.uname().machine)
    if number is None:
        raise Skip("the number of bpf(2) is not known here")
    found = set()
    for kind, command in NEXT_ID.items():
        attributes = (ctypes.c_uint32 * 4)()
        while libc.syscall(number, command, attributes, ctypes.sizeof(attributes)) == 0:
            attributes[0] = attributes[1]
            found.add((kind, attributes[1]))
    return found


def held_objects(pid):
    """Those that a process holds, by its descriptors."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fdinfo"):
        try:
            with open(f"/proc/{pid}/fdinfo/{name}") as stream:
                lines = stream.readlines()
        except FileNotFoundError:
            continue  # closed meanwhile
        for line in lines:
            kind, _, number = line.partition("_id:")
            if kind in NEXT_ID:
                found.add((kind, int(number)))
    return found


@test(vm=True)
def test_nothing_left_behind(context):
    """No program, map or link of ours after the end, whether clean or by kill -9."""
    for number in (signal.SIGINT, signal.SIGKILL):
        workload = context.workload("busy.py", "forever")
        target = workload.ready()
        tracer = context.trace("functions", "-v", "-o", context.path("a.csv"), "-p",
                               target).attached()
        helpers = harness.descendants(tracer.pid)
        held = set().union(*map(held_objects, [tracer.pid, *helpers]))
        check(held and held <= bpf_objects(), "what the tracer holds is not seen: proves nothing",
              actual=held)
        tracer.process.send_signal(number)
        tracer.process.wait(harness.DEADLINE)
        for helper in helpers:
            wait_for(lambda: process_state(helper) in (None, "Z"), "the end of its helpers")
        wait_for(lambda: not held & bpf_objects(), f"all of {held} gone after {number!r}")
        workload.go(3)
        workload.wait(0)


CHURN = f"""
import mmap, sys, threading
sys.path.insert(0, {harness.WORKLOADS!r})
import stage

def churn():
    mapped = mmap.mmap(-1, 8 << 12)
    mapped[::4096] = bytes(8)
    return bytearray(1 << 20)

def churn_on():
    while not asked:
        churn()

asked = []
thread = threading.Thread(target=churn_on)
thread.start()
stage.ready()
stage.wait_go()
asked.append(1)
thread.join()
"""


def leave_nothing_behind(context, *words):
    """After kill -9 in the middle of events: no program, map, link, helper or thread of ours; the
    target goes on to its own end, and can be traced again."""
    workload = context.start([context.python, context.write("churn.py", CHURN)])
    target = workload.ready()
    threads = len(os.listdir(f"/proc/{target}/task"))
    for _ in range(2):
        tracer = context.trace(*words, "-v", "-o", context.path("a.csv"), "-p", target).attached()
        if "--summary" not in words:
            wait_for(lambda: os.stat(context.path("a.csv")).st_size > 10000, "rows")
        helpers = harness.descendants(tracer.pid)
        held = set().union(*map(held_objects, [tracer.pid, *helpers]))
        check(held and held <= bpf_objects(), "what the tracer holds is not seen: proves nothing",
              actual=held)
        tracer.process.kill()
        tracer.process.wait(harness.DEADLINE)
        for helper in helpers:
            wait_for(lambda: process_state(helper) in (None, "Z"), "the end of its helpers")
        wait_for(lambda: not held & bpf_objects(), f"all of {held} gone")
        wait_for(lambda: len(os.listdir(f"/proc/{target}/task")) == threads, "our thread's end")
        os.unlink(context.path("a.csv"))
    context.run(*words, "-o", context.path("a.csv"), "-p", target, "--duration", "200ms")
    workload.go()
    workload.wait(0)


for each in (("memory",), ("memory", "--stacks"), ("memory", "--summary", "--interval", "100ms"),
             ("function_memory", "--source", "agent"), ("line_memory", "--source", "agent"),
             ("allocations",), ("allocations", "--source", "agent")):
    harness.add_test("killed_" + "_".join(each).replace("-", "").replace("__", "_"),
                     lambda context, each=each: leave_nothing_behind(context, *each))


@test()
def test_peak_memory(context):
    """The loader's memory does not grow with the run: 64 MiB beyond the buffer."""
    workload = context.workload("busy.py", "400000")
    target = workload.ready()
    tracer = context.trace("functions", "-v", "-o", context.path("a.csv"), "--buffer-size", "1M",
                           "-p", target).attached()
    workload.go()
    workload.ready("done")
    peak = peak_memory(tracer.pid)
    workload.go()
    workload.wait(0)
    tracer.wait(0)
    context.note(f"{peak >> 20} MiB")
    check(peak < (64 << 20) + (2 << 20), "peak memory", "66 MiB", f"{peak / 2**20:.1f} MiB")


@test()
def test_peak_memory_storm(context):
    """Nor with the number of functions."""
    script = context.write("names.py", """
import sys
sys.path.insert(0, %r)
import stage

def simple():
    pass

make, code = type(simple), simple.__code__
stage.ready()
stage.wait_go()
for number in range(200000):
    make(code.replace(co_name="a name that is new each time %%d" %% number), {})()
stage.ready("done")
stage.wait_go()
""" % harness.WORKLOADS)
    workload = context.workload(script)
    target = workload.ready()
    tracer = context.trace("functions", "-v", "-o", context.path("a.csv"), "--buffer-size", "1M",
                           "--lossless", "-p", target).attached()
    workload.go()
    workload.ready("done")
    peak = peak_memory(tracer.pid)
    workload.go()
    workload.wait(0)
    tracer.wait(0)
    context.note(f"{peak >> 20} MiB")
    check(peak < (64 << 20) + (2 << 20), "peak memory", "66 MiB", f"{peak / 2**20:.1f} MiB")


def peak_memory(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) << 10
