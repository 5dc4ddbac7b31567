# SPDX-License-Identifier: BSD-3-Clause
"""Programs that make an agent's life hard. Usage: agent_odd.py NAME [ARG...]

Each checks itself: it ends with status 0 only if all that it did came out right. Those that run
until told announce `turning` when under way. They run on CPython 3.9 to 3.15.
"""

import gc
import os
import random
import select
import signal
import sys
import threading
import time
import warnings

import stage


def poll_go():
    """A function that says whether the test has said go."""
    poll = select.poll()
    poll.register(int(os.environ["PIKOS_TEST_GO"]), select.POLLIN)
    return lambda: bool(poll.poll(0))


def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def numbers(stop):
    for number in range(stop):
        yield number


class Thing:
    def __init__(self, value):
        self.value = value

    def raising(self):
        raise KeyError(self.value)


def some_work():
    """Every kind of event; the result is known."""
    assert fibonacci(9) == 34
    assert sum(numbers(20)) == 190 == sum(n for n in numbers(20))
    assert sorted([3, 1, 2], key=lambda n: -n) == [3, 2, 1]
    try:
        Thing(5).raising()
    except KeyError as failure:
        assert failure.args == (5,)
    space = {}
    exec("def made(x):\n    return [x for _ in range(3)]\n", space)
    assert space["made"](1) == [1, 1, 1]
    assert ",".join(map(str, range(5))) == "0,1,2,3,4"


# ------------------------------------------------------------------ to inject into


def busy():
    """Work until told."""
    told = poll_go()
    some_work()
    stage.ready("turning")
    while not told():
        some_work()


def sleeping():
    """Sleep until told, in a system call."""
    stage.ready("turning")
    stage.wait_go()
    some_work()


def napping():
    """Sleep for moments, in which the GIL is free."""
    told = poll_go()
    stage.ready("turning")
    while not told():
        time.sleep(0.0003)
        fibonacci(3)


def threaded():
    """Threads that work, some that come and go."""
    told = poll_go()
    failures = []

    def forever():
        try:
            while not stop:
                some_work()
                time.sleep(0)
        except BaseException as failure:
            failures.append(failure)

    def once():
        try:
            some_work()
        except BaseException as failure:
            failures.append(failure)

    stop = []
    threads = [threading.Thread(target=forever) for _ in range(3)]
    for thread in threads:
        thread.start()
    stage.ready("turning")
    while not told():
        short = [threading.Thread(target=once) for _ in range(3)]
        for thread in short:
            thread.start()
        for thread in short:
            thread.join()
    stop.append(1)
    for thread in threads:
        thread.join()
    assert not failures, failures


def child(status=0):
    some_work()
    os._exit(status)


def forking():
    """Children, one after the other and some at a time; each must end well."""
    told = poll_go()
    stage.ready("turning")
    while not told():
        children = []
        for number in range(3):
            pid = os.fork()
            if not pid:
                child(number)
            children.append(pid)
        some_work()
        for number, pid in enumerate(children):
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == number


def blocked():
    """A main thread that sleeps in C for good, with signals, and a thread that works."""
    told = poll_go()
    stop = []

    def forever():
        while not stop:
            some_work()
            time.sleep(0.0001)

    thread = threading.Thread(target=forever)
    thread.start()
    stage.ready("turning")
    stage.wait_go()
    stop.append(1)
    thread.join()
    del told


# ------------------------------------------------------------------ bad input


def execing(program, *arguments):
    """Become another program when told."""
    stage.ready("turning")
    stage.wait_go()
    os.execv(program, [program, *arguments])


def bomb(count="200"):
    """Short children, all at once; some fork themselves, some end by sys.exit. No warnings: os.fork
    has one for programs with threads, and the agent's must not be the reason."""
    warnings.simplefilter("error")
    stage.ready()
    stage.wait_go()
    children = []
    for number in range(int(count)):
        pid = os.fork()
        if not pid:
            try:
                some_work()
                if number % 5 == 0:
                    grandchild = os.fork()
                    if not grandchild:
                        some_work()
                        os._exit(0)
                    assert os.waitpid(grandchild, 0)[1] == 0
                if number % 2:
                    raise SystemExit(number % 7)
            finally:
                if number % 2 == 0:
                    os._exit(number % 7)
            raise AssertionError
        children.append(pid)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert statuses == [number % 7 for number in range(int(count))], statuses


def step():
    return 1


def many_steps(count):
    for _ in range(count):
        step()


def own_tool(kind, when):
    """Its own sys.setprofile or sys.settrace, set before or after it is attached to.

    Leaves how many calls of step() it saw in the part after `settled`.
    """
    seen = []

    def tool(frame, event, argument):
        if event == "call" and frame.f_code.co_name == "step":
            seen.append(1)
        return tool

    install = getattr(sys, "set" + kind)
    if when == "before":
        install(tool)
    stage.ready()
    stage.wait_go()
    if when == "after":
        install(tool)
    many_steps(50)
    stage.ready("set")
    stage.wait_go()
    del seen[:]
    many_steps(1000)
    found = len(seen)
    install(None)
    stage.ready("removed")
    stage.wait_go()
    for _ in range(700):
        after()
    assert getattr(sys, "get" + kind)() is None
    stage.result(found)


def after():
    pass


def late(count="200"):
    """Code made under one tracer is freed under none and under another."""
    kept = []
    for number in range(int(count)):
        space = {}
        exec(f"def late_{number}():\n    return {number}\n", space)
        kept.append(space[f"late_{number}"])
    for part in range(4):
        stage.ready(f"part{part}")
        stage.wait_go()
        for function in kept:
            function()
        if part in (1, 2):
            del kept[::2]
            gc.collect()
    stage.ready("over")
    stage.wait_go()
    kept.clear()
    sys.kept = [compile("1", "kept until the end", "eval") for _ in range(10)]


def dig(depth):
    return dig(depth - 1) + 1 if depth else 0


def deep(depth="90000"):
    sys.setrecursionlimit(100000)
    depth = int(depth)
    found = []
    # C stack: 3.9 and 3.10 use half a KiB a level; more for a tracer's part.
    threading.stack_size(1 << 30)
    thread = threading.Thread(target=lambda: found.append(dig(depth)))
    stage.ready()
    stage.wait_go()
    thread.start()
    thread.join()
    assert found == [depth], found


def handle(number, frame):
    handle.calls.append(number)
    assert fibonacci(4) == 3


handle.calls = []  # += would lose what a handler within a handler adds


def signals():
    """A signal handler in Python, every 300 us, in the middle of everything."""
    stage.ready()
    stage.wait_go()
    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    while len(handle.calls) < 200:
        some_work()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    stage.result(len(handle.calls))


def exiting(status="7"):
    stage.ready()
    stage.wait_go()
    many_steps(100)
    os._exit(int(status))


def daemons(seconds="0.02"):
    """Ends while daemon threads run."""
    def forever():
        while True:
            some_work()

    stage.ready()
    stage.wait_go()
    for _ in range(4):
        threading.Thread(target=forever, daemon=True).start()
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        some_work()


def at_exit():
    """Functions that run while the interpreter ends."""
    import atexit

    class Last:
        def __del__(self):
            step()

    sys.last_one = Last()
    stage.ready()
    stage.wait_go()
    atexit.register(many_steps, 10)


def tools():
    """sys.monitoring's tool ids in use and their events, asked for when told. 3.12 on."""
    import threading as threads

    stage.ready()
    for part in ("first", "second"):
        stage.wait_go()
        found = {tool: (sys.monitoring.get_tool(tool), sys.monitoring.get_events(tool))
                 for tool in range(6) if sys.monitoring.get_tool(tool)}
        stage.result((found, threads.active_count()))
        stage.ready(part)
    stage.wait_go()


def no_tool():
    """All tool ids of sys.monitoring are taken."""
    for tool in range(6):
        sys.monitoring.use_tool_id(tool, "mine")
    sleeping()


def interpreters_too():
    """Subinterpreters that work before and while it is attached to."""
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    run = getattr(interpreters, "exec", None) or interpreters.run_string
    first = interpreters.create()
    run(first, "def f(): pass\nf()")
    stage.ready()
    stage.wait_go()
    second = interpreters.create()
    for each in (first, second) * 20:
        run(each, "def f(): return 1\nassert sum(f() for _ in range(5)) == 5")
    many_steps(10)
    for each in (first, second):
        interpreters.destroy(each)
    stage.ready("more")
    stage.wait_go()
    many_steps(10)


def until_told():
    """Turn, in the way of workloads/busy.py; result: how often step() was called after `turning`
    in all."""
    told = poll_go()
    count = 0
    stage.ready("turning")
    while not told():
        many_steps(1000)
        count += 1000
    stage.wait_go()
    stage.result(count)


def churn():
    """Code made and freed, threads started and ended, while tracers come and go."""
    told = poll_go()
    generator = random.Random(3)
    stage.ready("turning")
    while not told():
        kept = []
        for number in range(generator.randrange(40)):
            space = {}
            exec(f"def churn_{number}(x):\n    return x\n", space)
            kept.append(space[f"churn_{number}"])
            kept[generator.randrange(len(kept))](1)
        thread = threading.Thread(target=many_steps, args=(20,))
        thread.start()
        thread.join()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
