# SPDX-License-Identifier: BSD-3-Clause
"""pikos-run, and pikos-trace starting its target itself."""

import os
import signal
import subprocess

import harness
from harness import check, equal, need_command, test, wait_for
from records import FIELDS, events, parse_csv, parse_text, read_csv, same
from test_oracle import BIG

SCRIPT = '''
import sys

def gcd(a, b):
    return a if b == 0 else gcd(b, a % b)

class Thing:
    def method(self):
        return [gcd(n, 6) for n in range(3)]

Thing().method()
print("out:", *sys.argv[1:])
print("err:", *sys.argv[1:], file=sys.stderr)
'''

# Runs a script as python3 SCRIPT does, its `<module>` and what it calls under sys.setprofile.
ORACLE = '''
import os, pickle, sys

path, output = sys.argv[1:3]
sys.argv[:] = [path] + sys.argv[3:]
with open(path) as stream:
    code = compile(stream.read(), path, "exec")
events = []

def profile(frame, event, argument):
    if event in ("call", "return"):
        code = frame.f_code
        events.append((event, code.co_name, frame.f_lineno, code.co_filename, code.co_firstlineno))

space = {"__name__": "__main__", "__file__": path, "__builtins__": __builtins__}
sys.path[0] = os.path.dirname(path)
sys.setprofile(profile)
try:
    exec(code, space)
except SystemExit:
    pass
sys.setprofile(None)
with open(output, "wb") as stream:
    pickle.dump(events, stream)
'''


def module_events(context, path, *arguments):
    """From the call of the script's <module> to its return, under the oracle."""
    import pickle

    oracle = context.write("oracle.py", ORACLE)
    subprocess.run([context.python, oracle, path, context.path("events"), *arguments], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   env=context.environment())
    with open(context.path("events"), "rb") as stream:
        found = [event[:4] for event in pickle.load(stream)]
    start = next(at for at, event in enumerate(found)
                 if event[0] == "call" and event[1] == "<module>" and event[3] == path)
    end = max(at for at, event in enumerate(found)
              if event[0] == "return" and event[1] == "<module>" and event[3] == path)
    return found[start:end + 1]


# ------------------------------------------------------------------ pikos-run


@test(vm=True)
def test_pikos_run_equals_oracle(context):
    """From the entry of the script's <module> to its return, both included."""
    script = context.write("script.py", SCRIPT)
    tracer = context.pikos_run("functions", script, "one", "two", "--recording", "csv", "-o",
                               context.path("a.csv"))
    rows = read_csv(context.path("a.csv"), "functions")
    same([tuple(event) for event in events(rows)], module_events(context, script, "one", "two"))
    equal([row["index"] for row in rows], list(range(len(rows))), "the index")
    equal(tracer.output, "out: one two\n", "the script's stdout")
    check("err: one two\n" in tracer.errors(), "the script's stderr", actual=tracer.errors())


@test()
def test_pikos_run_relative_path(context):
    """The script's file is its absolute path in the records."""
    context.write("script.py", SCRIPT)
    context.pikos_run("functions", "script.py", "--recording=csv", "-o", "b.csv", cwd=context.dir)
    rows = read_csv(context.path("b.csv"), "functions")
    equal((rows[0]["type"], rows[0]["function"], rows[0]["filename"]),
          ("call", "<module>", context.path("script.py")), "the first record")
    equal((rows[-1]["type"], rows[-1]["function"], rows[-1]["filename"]),
          ("return", "<module>", context.path("script.py")), "the last record")


@test()
def test_pikos_run_function_memory(context):
    script = context.write("script.py", SCRIPT)
    context.pikos_run("function_memory", "--recording", "csv", "-o", context.path("a.csv"), script)
    rows = read_csv(context.path("a.csv"), "function_memory")
    same([tuple(event) for event in events(rows, "function_memory")],
         module_events(context, script))


@test(lines=True)
def test_pikos_run_lines(context):
    """Lines of the script: of <module> and of what it calls."""
    script = context.write("script.py", "def f():\n    a = 1\n    return a\n\n\nx = f()\nf()\n")
    for monitor in ("lines", "line_memory"):
        context.pikos_run(monitor, script, "--recording", "csv", "-o", context.path("a.csv"))
        found = [(row["function"], row["lineNo"], row["line"])
                 for row in read_csv(context.path("a.csv"), monitor)]
        body = [("f", 2, "    a = 1"), ("f", 3, "    return a")]
        equal(found, [("<module>", 1, "def f():"), ("<module>", 6, "x = f()"), *body,
                      ("<module>", 7, "f()"), *body], f"the records of {monitor}")


@test()
def test_pikos_run_options_anywhere(context):
    """Options before, between and after; what follows the script's arguments is the script's."""
    script = context.write("script.py", "import sys\nprint(sys.argv[1:])\n")
    out = context.path("a.csv")
    for arguments in (["-o", out, "--recording", "csv", "functions", script, "x"],
                      ["functions", "--recording=csv", script, "-o", out, "x"],
                      ["--recording", "csv", "functions", "--output", out, script, "x"]):
        tracer = context.pikos_run(*arguments)
        equal(tracer.output, "['x']\n", f"the script's arguments with {arguments}")
        check(len(read_csv(out, "functions")) >= 2, "no records")
        os.unlink(out)
    tracer = context.pikos_run("functions", "-o", out, "--recording", "csv", script, "--", "-o",
                               "-x")
    check("'-x'" in tracer.output and "'-o'" in tracer.output, "arguments after --",
          "['-o', '-x']", tracer.output)


@test()
def test_pikos_run_screen(context):
    """Without --recording: screen, on stdout, as in the seeds."""
    script = context.write("script.py", "def f():\n    pass\nf()\n")
    tracer = context.pikos_run("functions", script)
    lines, line_format = parse_text(tracer.output, "functions")
    equal([line.rstrip() for line in lines],
          [line_format.format(*row).rstrip() for row in (
              (0, "call", "<module>", lines[0].split()[3], script), (1, "call", "f", 1, script),
              (2, "return", "f", 2, script), (3, "return", "<module>", 3, script))],
          "the records on stdout")


@test()
def test_pikos_run_default_files(context):
    script = context.write("script.py", "pass\n")
    for recording, name in (("text", "monitor_records.log"), ("csv", "monitor_records.csv")):
        context.pikos_run("functions", "--recording", recording, script, cwd=context.dir)
        check(os.path.getsize(context.path(name)) > 10, f"no {name}")
        check(harness.is_mode(context.path(name), 0o600), f"the mode of {name}")


@test()
def test_pikos_run_focused_on(context):
    script = context.write("script.py", SCRIPT)
    context.pikos_run("functions", script, "--recording", "csv", "--focused-on=gcd", "-o",
                      context.path("a.csv"))
    names = {row["function"] for row in read_csv(context.path("a.csv"), "functions")}
    equal(names, {"gcd"}, "functions recorded")
    context.pikos_run("functions", script, "--recording", "csv", "--focused-on", "method", "-o",
                      context.path("a.csv"))
    names = [row["function"] for row in read_csv(context.path("a.csv"), "functions")]
    equal((names[0], names[-1], set(names)), ("method", "method", {"method", "<listcomp>", "gcd"}
                                              if "3.11" in context.python else set(names)),
          "functions recorded")


@test()
def test_pikos_run_exit_status(context):
    for code, status in (("sys.exit(7)", 7), ("sys.exit('words')", 1), ("raise KeyError", 1),
                         ("os._exit(9)", 9), ("os.kill(os.getpid(), 15)", 143),
                         ("os.kill(os.getpid(), 9)", 137), ("sys.exit()", 0)):
        script = context.write("script.py", f"import os, sys\ndef f(): {code}\nf()\n")
        context.pikos_run("functions", script, "--recording", "csv", "-o", context.path("a.csv"),
                          status=status)
        rows = read_csv(context.path("a.csv"), "functions")
        check(any(row["function"] == "f" for row in rows), f"no record of f() that does {code}")
        if "exit(7)" in code or "raise" in code:
            equal((rows[-1]["type"], rows[-1]["function"]), ("return", "<module>"),
                  f"the last record with {code}")


@test()
def test_pikos_run_syntax_error(context):
    """Its own message and status; no records."""
    script = context.write("script.py", "def f(:\n    pass\n")
    tracer = context.pikos_run("functions", script, "--recording", "csv", "-o",
                               context.path("a.csv"), status=1)
    check("SyntaxError" in tracer.errors() and "script.py" in tracer.errors(),
          "not Python's message", actual=tracer.errors())
    if os.path.exists(context.path("a.csv")):
        equal(read_csv(context.path("a.csv"), "functions"), [], "the records")


@test()
def test_pikos_run_no_script(context):
    tracer = context.pikos_run("functions", context.path("missing.py"), status=None)
    check(tracer.process.returncode in (1, 2, 127) and "missing.py" in tracer.errors() and
          len(tracer.errors().splitlines()) <= 2, "no clear error",
          "a line that names missing.py", f"{tracer.process.returncode}: {tracer.errors()}")


@test()
def test_pikos_run_usage(context):
    for arguments in ([], ["functions"], ["no_monitor", "x.py"],
                      ["functions", "--recording", "zmq_no", "x.py"], ["--no-such-option"]):
        tracer = context.pikos_run(*arguments, status=2)
        check(tracer.errors() and not tracer.output, f"{arguments}: no error on stderr")
    tracer = context.pikos_run("-h")
    check("focused-on" in tracer.output and "script" in tracer.output, "-h", actual=tracer.output)
    check("pikos-run" in tracer.output, "-h does not speak of pikos-run", actual=tracer.output)


@test()
def test_pikos_run_threads(context):
    """All threads between the entry of <module> and its return."""
    script = context.write("script.py", """
import threading

def work():
    pass

threads = [threading.Thread(target=work) for _ in range(5)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
""")
    context.pikos_run("functions", script, "--recording", "csv", "-o", context.path("a.csv"))
    rows = read_csv(context.path("a.csv"), "functions")
    equal(sum(row["function"] == "work" for row in rows), 10, "records of work()")
    equal((rows[0]["function"], rows[-1]["function"]), ("<module>", "<module>"), "first and last")


@test()
def test_pikos_run_wrong_python(context):
    """python3 without probes, and too old for the agent, first in PATH: the error names
    PIKOS_PYTHON."""
    other = "/root/.pyenv/versions/3.8.18/bin"
    if not os.path.isdir(other):
        raise harness.Skip("no CPython 3.8 without probes here")
    environment = {**context.environment(), "PATH": other + ":" + os.environ["PATH"]}
    del environment["PIKOS_PYTHON"]
    script = context.write("script.py", "pass\n")
    tracer = context.pikos_run("functions", script, status=1, env=environment)
    check("PIKOS_PYTHON" in tracer.errors(), "PIKOS_PYTHON is not named", actual=tracer.errors())


# ------------------------------------------------------------------ pikos-trace -- PROGRAM


def check_ran(context, command, script, name="a.csv", status=0, **options):
    """Run a command under the tracer; its records must hold the script's functions."""
    tracer = context.run("functions", "-v", *BIG, "-o", context.path(name), "--", *command,
                         status=status, **options)
    rows = read_csv(context.path(name), "functions")
    mine = [event for event in events(rows) if event.filename == script]
    same([tuple(event) for event in mine],
         [event for event in module_events(context, script) if event[3] == script],
         f"the script's events of {' '.join(command)}")
    return tracer, rows


@test()
def test_run_python(context):
    """From the interpreter's first instruction; stdout is the program's own."""
    script = context.write("script.py", SCRIPT)
    tracer, rows = check_ran(context, [context.python, script], script)
    equal(tracer.output, "out:\n", "the program's stdout")
    check(rows[0]["filename"].startswith("<frozen"), "the first record is not of the start-up",
          actual=rows[0])
    check(sum(row["filename"].startswith("<frozen importlib") for row in rows) > 100,
          "few records of the start-up")
    _, again = check_ran(context, [context.python, script], script, "again.csv")
    same(events(again), events(rows), "a second run")


@test()
def test_run_lines(context):
    if "line" not in harness.probes_of(context.python):
        raise harness.Skip("no line probe")
    script = context.write("script.py", "a = 1\nb = 2\n")
    context.run("lines", *BIG, "-o", context.path("a.csv"), "--", context.python, script)
    rows = [row for row in read_csv(context.path("a.csv"), "lines") if row["filename"] == script]
    equal([row["line"] for row in rows], ["a = 1", "b = 2"], "the script's lines")


@test(vm=True)
def test_run_exec_chains(context):
    """PROGRAM may become a CPython by any number of execs in its pid."""
    script = context.write("script.py", SCRIPT)
    for command in (["env", "SOME=thing", context.python, script],
                    ["sh", "-c", f"exec {context.python} {script}"],
                    ["sh", "-c", f"exec env sh -c 'exec {context.python} {script}'"]):
        need_command(command[0])
        check_ran(context, command, script)


@test()
def test_run_nice_and_setpriv(context):
    script = context.write("script.py", SCRIPT)
    for command in (["nice", "-n", "5", context.python, script],
                    ["setpriv", "--no-new-privs", context.python, script],
                    ["setpriv", "--reuid=65534", "--clear-groups", context.python, script]):
        need_command(command[0])
        check_ran(context, command, script)


@test()
def test_run_shebang(context):
    script = context.write("script", f"#!{context.python}\n" + SCRIPT, mode=0o755)
    tracer = context.run("functions", *BIG, "-o", context.path("a.csv"), "--", script, "argument")
    equal(tracer.output, "out: argument\n", "the program's stdout")
    rows = read_csv(context.path("a.csv"), "functions")
    check(sum(row["filename"] == script for row in rows) > 10, "few records of the script")


@test()
def test_run_venv(context):
    """A venv's python is a link to the interpreter."""
    made = subprocess.run([context.python, "-m", "venv", "--without-pip", context.path("venv")],
                          capture_output=True)
    if made.returncode:
        raise harness.Skip("no venv module here")
    script = context.write("script.py", SCRIPT)
    check_ran(context, [context.path("venv/bin/python3"), script], script)
    check_ran(context, ["python3", script], script,
              env=context.environment(PATH=context.path("venv/bin") + ":" + os.environ["PATH"]))


@test()
def test_run_python_in_another_pid(context):
    """Without --follow it is not traced; one line says so, the status is the program's."""
    script = context.write("script.py", "pass\n")
    for status in (0, 3):
        tracer = context.run("functions", "-o", context.path("a.csv"), "--", "sh", "-c",
                             f"{context.python} {script}; exit {status}", status=status)
        said = [line for line in tracer.errors().splitlines() if "CPython" in line]
        check(len(said) == 1, "one line that no CPython came", actual=tracer.errors())
    tracer = context.run("functions", "-o", context.path("a.csv"), "--", "sh", "-c", "exit 4",
                         status=4)
    check("CPython" in tracer.errors(), "no line that no CPython came", actual=tracer.errors())


@test()
def test_run_not_found(context):
    tracer = context.run("functions", "--", "/no/such/program", status=127)
    check(tracer.errors().startswith("pikos-trace: cannot ") and
          "'/no/such/program'" in tracer.errors() and len(tracer.errors().splitlines()) <= 2,
          "no clear error", actual=tracer.errors())
    tracer = context.run("functions", "--", "no-such-program-anywhere", status=127)
    check("no-such-program-anywhere" in tracer.errors(), "no clear error", actual=tracer.errors())


@test()
def test_run_cannot_run(context):
    plain = context.write("plain.txt", "text\n")
    tracer = context.run("functions", "--", plain, status=126)
    check("plain.txt" in tracer.errors() and len(tracer.errors().splitlines()) <= 2,
          "no clear error", actual=tracer.errors())
    context.run("functions", "--", context.dir, status=126)


@test()
def test_run_statuses(context):
    """The program's own status; 128 + signal for one that a signal killed."""
    for code, status in (("sys.exit(5)", 5), ("os.kill(os.getpid(), 9)", 137),
                         ("os.kill(os.getpid(), 11)", 139), ("1/0", 1), ("os._exit(255)", 255)):
        context.run("functions", "-o", context.path("a.csv"), "--", context.python, "-c",
                    f"import os, sys\n{code}", status=status)


@test()
def test_run_keeps_streams(context):
    """stdin, stdout and stderr are the program's; other descriptors come through."""
    read, write = os.pipe()
    code = "import os, sys; os.write(int(sys.argv[1]), sys.stdin.buffer.read()); print('out')"
    with open(context.write("input", "typed"), "rb") as stdin:
        tracer = context.run("functions", "-o", context.path("a.csv"), "--", context.python, "-c",
                             code, str(write), stdin=stdin, pass_fds=(write,))
    os.close(write)
    equal((os.read(read, 100), tracer.output), (b"typed", "out\n"), "what came through")
    os.close(read)


SIGNALLED = """
import signal, sys
sys.path.insert(0, %r)
import stage

def handler(number, frame):
    stage.ready("got%%d" %% number)
    sys.exit(number)

for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, handler)
pause = stage.waker()
stage.ready()
while True:
    pause()
""" % harness.WORKLOADS


def run_workload(context, *arguments, script=None, options=()):
    """The tracer runs a workload: returns the Workload whose process is the tracer."""
    command = [context.program, "functions", "-v", "-o", context.path("a.csv"), *options, "--",
               context.python, script or context.write("signalled.py", SIGNALLED), *arguments]
    return context.start(command)


@test(vm=True)
def test_run_signals_passed_on(context):
    for number in (signal.SIGTERM, signal.SIGHUP):
        workload = run_workload(context)
        workload.ready()
        workload.signal(number)
        workload.ready(f"got{int(number)}")
        workload.wait(int(number))
        check(read_csv(context.path("a.csv"), "functions"), "no records")


@test()
def test_run_signal_kills_program(context):
    """Without a handler it dies of it: 128 + 15."""
    script = context.write("plain.py", SIGNALLED.replace("signal.signal(number, handler)", "pass"))
    workload = run_workload(context, script=script)
    workload.ready()
    workload.signal(signal.SIGTERM)
    workload.wait(128 + 15)


@test()
def test_run_terminal_interrupt(context):
    """Ctrl-C goes to the whole group: the program decides, the tracer waits for it."""
    script = context.write("interrupted.py", """
import sys
sys.path.insert(0, %r)
import stage

def cleaning():
    stage.wait_go()

try:
    pause = stage.waker()
    stage.ready()
    while True:
        pause()
except KeyboardInterrupt:
    stage.ready("interrupted")
    cleaning()
    sys.exit(21)
""" % harness.WORKLOADS)
    workload = run_workload(context, script=script)
    workload.ready()
    os.killpg(workload.pid, signal.SIGINT)
    workload.ready("interrupted")
    check(workload.running(), "the tracer did not wait")
    workload.go()
    workload.wait(21)
    rows = read_csv(context.path("a.csv"), "functions")
    check(any(row["function"] == "cleaning" for row in rows), "tracing ended with the interrupt")


LATER = """
import select, os, sys
sys.path.insert(0, %r)
import stage

def step():
    pass

go = int(os.environ["PIKOS_TEST_GO"])
stage.ready()
poll = select.poll()
poll.register(go, select.POLLIN)
while not poll.poll(1):
    step()
sys.exit(17)
""" % harness.WORKLOADS


def untraced(workload, python):
    return lambda: set(harness.semaphores(workload.target, python).values()) == {0}


@test(vm=True, alone=True)
def test_run_duration(context):
    """--duration ends the tracing; the program runs on and its status is returned."""
    workload = run_workload(context, script=context.write("later.py", LATER),
                            options=["--duration", f"{500 * max(1, harness.SLOW):.0f}ms"])
    workload.ready()
    wait_for(untraced(workload, context.python), "the end of tracing")
    check(workload.running(), "the tracer did not wait for the program")
    check(harness.process_state(workload.target) in "RS", "the program does not run on")
    workload.go()
    workload.wait(17)
    check(len(read_csv(context.path("a.csv"), "functions")) > 10, "few records")


@test()
def test_run_max_records(context):
    workload = run_workload(context, script=context.write("later.py", LATER),
                            options=["--max-records", "100"])
    workload.ready()
    wait_for(untraced(workload, context.python), "the end of tracing")
    workload.go()
    workload.wait(17)
    equal(len(read_csv(context.path("a.csv"), "functions")), 100, "the records")


@test()
def test_attach_max_records(context):
    """Attached, --max-records ends the tracer; the target runs on."""
    workload = context.workload(context.write("later.py", LATER))
    target = workload.ready()
    context.run("functions", "-o", context.path("a.csv"), "--max-records", "10", "-p", target)
    equal(len(read_csv(context.path("a.csv"), "functions")), 10, "the records")
    check(workload.running(), "the target ended")
    equal(set(harness.semaphores(target, context.python).values()), {0}, "its semaphores")
    workload.go()
    workload.wait(17)


@test(alone=True)
def test_attach_duration(context):
    workload = context.workload(context.write("later.py", LATER))
    target = workload.ready()
    for text, seconds in (("300ms", 0.3), ("1", 1.0), ("0.5s", 0.5)):
        started = harness.time.monotonic()
        context.run("functions", "-o", context.path("a.csv"), "--duration", text, "-p", target)
        took = harness.time.monotonic() - started
        check(seconds <= took <= seconds + 5 * harness.SLOW, f"--duration {text} took {took:.1f} s")
        check(read_csv(context.path("a.csv"), "functions"), "no records")
    workload.go()
    workload.wait(17)


@test()
def test_run_program_writes_to_stdout_only(context):
    """With -o the tracer writes nothing on stdout; FIELDS header is in the file only."""
    tracer = context.run("functions", "-o", context.path("a.csv"), "--", context.python, "-c",
                         "print('x' * 10)")
    equal(tracer.output, "x" * 10 + "\n", "stdout")
    check(FIELDS["functions"][0] in open(context.path("a.csv")).read()[:20], "the file's header")


@test()
def test_run_screen_mixed(context):
    """Without -o the records go to stdout, after or between what the program prints."""
    tracer = context.run("functions", "--recording", "csv", "-o", "-", "--", context.python, "-c",
                         "pass")
    parse_csv(tracer.output.encode(), "functions")


@test()
def test_run_many_short(context):
    """Programs that end at once: nothing is lost between exec and exit."""
    script = context.write("short.py", "import os\n\ndef f():\n    os._exit(6)\n\nf()\n")
    for number in range(10):
        context.run("functions", *BIG, "-o", context.path("a.csv"), "--", context.python, "-S",
                    script, status=6)
        rows = [tuple(event)[:2] for event in events(read_csv(context.path("a.csv"), "functions"))
                if event.filename == script]
        equal(rows, [("call", "<module>"), ("call", "f")], f"records of run {number}")
