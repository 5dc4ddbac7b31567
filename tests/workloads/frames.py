# SPDX-License-Identifier: BSD-3-Clause
"""Known Python stacks at known moments: each maps memory of a size that no other does.

The finding is {size: stack}, as the interpreter itself tells of that moment.
"""

import ast
import asyncio
import contextlib
import ctypes
import functools
import gc
import mmap
import os
import re
import signal
import sys
import threading
import weakref

import stage
from frames_stack import stack_of

FIRST_SIZE = 3000 * 4096
seen = {}
kept = []
lock = threading.Lock()


def noted(frame):
    """A size that stands for the stack of `frame`, which goes on to map it on the same line."""
    found = stack_of(frame)
    with lock:
        size = FIRST_SIZE + 4096 * len(seen)
        seen[size] = found
    return size


def moment(*_):
    mmap.mmap(-1, noted(sys._getframe())).close()


# ---------------------------------------------------------------- functions


def recursive(depth):
    if depth:
        return recursive(depth - 1)
    return moment()


def case_plain():
    moment()
    recursive(3)


def case_deep():
    recursive(100)
    recursive(126 - len(stack_of(sys._getframe())))  # 128 frames exactly
    recursive(400)


def case_one_line():
    (lambda: mmap.mmap(-1, noted(sys._getframe())).close())()
    [mmap.mmap(-1, noted(sys._getframe())) for _ in range(2)]
    {mmap.mmap(-1, noted(sys._getframe())): each for each in range(2)}
    list(mmap.mmap(-1, noted(sys._getframe())) for _ in range(2))
    exec("import mmap; mmap.mmap(-1, noted(sys._getframe()))")
    eval("mmap.mmap(-1, noted(sys._getframe()))")


def case_comprehensions():
    [moment() for _ in range(2)]
    {moment() for _ in range(2)}
    {each: moment() for each in range(2)}
    tuple(moment() for _ in range(2))
    [[moment() for _ in range(1)] for _ in range(2)]
    [
        each
        for each in range(4)
        if each % 2 or
        moment() is None
    ]


def case_statements():
    moment(
        1,
        2,
    )
    print(
        "",
        moment(),
        end="", file=open(os.devnull, "w")
    )
    value = (1 +
             (moment() or 1) +
             2) + (
        moment() or
        0)
    for _ in range(2):
        moment()
    while True:
        if moment() is None: break
    else:
        moment()
    try:
        moment()
        raise ValueError
    except ValueError:
        moment()
    finally:
        moment()
    with contextlib.suppress(ValueError):
        moment()
    assert moment() is None, value
    return moment()


def case_closures():
    outer = 1

    def inner(depth=3, *rest, **more):
        nonlocal outer
        outer += 1
        return inner(depth - 1, *rest, **more) if depth else moment()

    inner()
    inner(2, 3, more=4)


# ---------------------------------------------------------------- classes


def decorator(argument):
    moment()

    def decorate(function):
        moment()

        @functools.wraps(function)
        def wrapper(*arguments):
            return function(*arguments)
        return wrapper
    return decorate


class Meta(type):
    @classmethod
    def __prepare__(mcs, name, bases):
        moment()
        return {}

    def __new__(mcs, name, bases, namespace):
        moment()
        return super().__new__(mcs, name, bases, namespace)

    def __call__(cls, *arguments):
        moment()
        return super().__call__(*arguments)


def case_classes():
    class Local(metaclass=Meta):
        moment()

        def __init__(self):
            moment()

        @property
        def attribute(self):
            return moment()

        @staticmethod
        def static():
            moment()

        @classmethod
        def of_class(cls):
            moment()

        def __getattr__(self, name):
            moment()
            raise AttributeError(name)

        def __add__(self, other):
            return moment()

        def __len__(self):
            moment()
            return 0

        def __iter__(self):
            moment()
            return iter(())

        def __enter__(self):
            moment()

        def __exit__(self, *_):
            moment()

        def __del__(self):
            moment()

        def __lt__(self, other):
            moment()
            return True

        class Nested:
            moment()

            @decorator(
                "argument"
            )
            def method(self):
                moment()

    local = Local()
    local.attribute
    local.static()
    Local.of_class()
    getattr(local, "missing", None)
    local + local
    len(local)
    list(local)
    with local:
        moment()
    sorted([local, Local()])
    Local.Nested().method()
    del local
    gc.collect()


class Cycle:
    def __init__(self):
        self.itself = self

    def __del__(self):
        moment()


# ---------------------------------------------------------------- calls from C


def case_callbacks():
    sorted([3, 1, 2], key=moment_key)
    list(map(moment, [1, 2]))
    functools.reduce(lambda left, right: moment(), [1, 2, 3])
    list(filter(moment, [1]))
    re.sub("a", lambda match: moment() or "b", "aa")
    functools.partial(moment, 1)()
    max([1, 2], key=lambda each: moment() or each)
    functools.lru_cache(moment)()
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda value: moment() or value)
    callback(callback(3))
    Cycle()
    gc.collect()
    watched = Cycle.__new__(Cycle)
    reference = weakref.ref(watched, moment)
    del watched
    gc.collect()
    del reference
    old = signal.signal(signal.SIGUSR1, moment)
    signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, old)
    iter(moment, None).__next__ if list(iter(moment, None)) else None


def moment_key(value):
    moment()
    return value


# ---------------------------------------------------------------- generators


def generator(depth):
    moment()
    if depth:
        yield from generator(depth - 1)
    try:
        got = yield moment()
        moment()
        yield got
    except KeyError:
        moment()
        yield
    finally:
        moment()


def case_generators():
    list(generator(3))
    one = generator(0)
    next(one)
    one.send(2)
    one.close()
    one = generator(1)
    next(one)
    one.throw(KeyError)
    del one
    next(generator(0))

    @contextlib.contextmanager
    def context():
        moment()
        yield moment()
        moment()

    with context():
        moment()


async def coroutine(depth):
    moment()
    if depth:
        await coroutine(depth - 1)
    await asyncio.sleep(0)
    moment()


async def ticks():
    for each in range(2):
        moment()
        yield each
        await asyncio.sleep(0)


class Manager:
    async def __aenter__(self):
        moment()

    async def __aexit__(self, *_):
        await asyncio.sleep(0)
        moment()


async def case_of_asyncio():
    async for _ in ticks():
        moment()
    [each async for each in ticks()]
    async with Manager():
        moment()
    await asyncio.gather(coroutine(2), coroutine(1))
    await asyncio.get_running_loop().run_in_executor(None, moment)
    asyncio.get_running_loop().call_soon(moment)
    await asyncio.sleep(0)


def case_asyncio():
    asyncio.run(case_of_asyncio())


# ---------------------------------------------------------------- threads


def case_threads():
    def work(depth):
        for _ in range(20):
            recursive(depth)

    threads = [threading.Thread(target=work, args=(depth,)) for depth in (1, 5, 9)]
    for each in threads:
        each.start()
    recursive(2)
    for each in threads:
        each.join()
    timer = threading.Timer(0, moment)
    timer.start()
    timer.join()


def case_short_threads():
    """States of threads come and go while each looks for its own."""
    def work():
        for _ in range(60):
            each = threading.Thread(target=recursive, args=(1,))
            each.start()
            each.join()

    workers = [threading.Thread(target=work) for _ in range(6)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()


# ---------------------------------------------------------------- interpreters

SUBINTERPRETER = """
import mmap, os
from frames_stack import stack_of
import sys

def inner(size):
    os.write({fd}, repr(stack_of(sys._getframe())).encode()); mmap.mmap(-1, size).close()

[inner({size}) for _ in [1]]
"""


def case_subinterpreters():
    try:
        import _interpreters as module
        run_in = module.exec
    except ImportError:
        import _xxsubinterpreters as module
        run_in = module.run_string
    made = [module.create() for _ in range(2)]
    moment()
    for each in (*made, *made):
        read, write = os.pipe()
        moment()
        with lock:
            size = FIRST_SIZE + 4096 * len(seen)
            run_in(each, f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})")
            run_in(each, SUBINTERPRETER.format(fd=write, size=size))
            seen[size] = ast.literal_eval(os.read(read, 65536).decode())
        os.close(read)
        os.close(write)
        moment()
    for each in made:
        module.destroy(each)
    moment()


# ---------------------------------------------------------------- names and texts


def run(text, name, **more):
    exec(compile(text, name, "exec"), {"moment": moment, **more})


def case_names():
    run("def größe():\n return moment()\ngröße()", "straße.py")
    run("def 大小():\n return moment()\n大小()", "目录/文件.py")
    run("def \U00020000\U00020001():\n return moment()\n\U00020000\U00020001()",
        "\U0001f40d\U0001f40d.py")
    run("class Größe:\n def größe(self):\n  return moment()\nGröße().größe()", "<ein Text>")
    run("moment()", "line\nfeed, \"quoted\".py")
    run("moment()", "")
    run("moment()", "/not/utf-8/\udcff\udc80.py")
    long = "n" * 200
    run(f"def {long}():\n moment()\n{long}()", "/" + "directory/" * 60 + "module.py")
    long = "größe" * 60
    run(f"def {long}():\n moment()\n{long}()", "ü" * 400)
    long = "大" * 500
    run(f"class {long}:\n def {long}(self):\n  moment()\n{long}().{long}()", "x" * 4095)


def case_long_code():
    run("def f(x):\n" + "\n" * 300 + " moment()\n" + "\n" * 1000 + " moment()\nf(1)", "gaps.py")
    run("\n" * 70000 + "def f(x):\n" + "\n" * 40000 + " return moment()\nf(1)", "far.py")
    run("def f(x):\n" + " x = x + 1\n" * 3000 + " moment()\n" + " x = x + 1\n" * 3000 +
        " moment()\nf(1)", "long.py")
    run("def f(x):\n if x:\n  y = [" + "x, " * 2000 + "\n  moment()]\n moment()\nf(1)", "wide.py")
    run("x = 1\nfor i in [1]:\n" + "".join(f"  x = x{' + x' * (i % 9)}\n" for i in range(900)) +
        "  moment()\n", "table.py")
    run("(\n" * 30 + "moment()" + "\n)" * 30, "nested.py")
    run("def f():\n for x in (\n   1,\n   2):\n  y = (x +\n\n\n   1); moment(); z = [\n"
        "   x,\n\n   moment(\n   )]\nf()", "back.py")


def case_reused():
    """Code objects that die at once: others take their places."""
    for number in range(400):
        run("\n" * (number % 7) + f"def f{number % 3}():\n moment()\nf{number % 3}()",
            f"<generated {number % 11}>")
    for number in range(100):
        run("x = 1\n" * (number % 5) + "def f():\n moment()\nf()", "<the same>")


def case_imports(directory):
    for number in range(3):
        with open(os.path.join(directory, f"imported_{number}.py"), "w") as stream:
            stream.write("import frames_moment\n\n\nclass Imported:\n    frames_moment.moment()\n")
    sys.modules["frames_moment"] = sys.modules[__name__]
    sys.path.insert(0, directory)
    for number in range(3):
        __import__(f"imported_{number}")


CASES = [value for name, value in sorted(globals().items())
         if name.startswith("case_") and name not in ("case_imports", "case_of_asyncio")]


def main():
    stage.ready()
    stage.wait_go()
    for case in CASES:
        case()
    case_imports(sys.argv[1])
    stage.result(seen)


main()
