# SPDX-License-Identifier: BSD-3-Clause
"""More programs for the agent: C calls of every kind, and programs of the standard library.

As in cases.py each case_* does exactly the same in every run. They run on CPython 3.9 to 3.15.
"""

import contextlib
import contextvars
import functools
import io
import itertools
import operator
import os
import runpy
import shutil
import sys
import types
import weakref

import cases

SCRATCH = None  # a directory of the test, the same in each run; set by agent_drive.py


# ------------------------------------------------------------------ C calls


def identity(value):
    return value


def fails(*_):
    raise LookupError("from Python, through C")


class Number(int):
    def __add__(self, other):
        return int.__add__(self, other)

    def __repr__(self):
        return super().__repr__()


class Holder(list):
    append_it = list.append
    size = len  # a builtin does not bind
    bound = staticmethod(len)

    def __init__(self, *values):
        super().__init__(values)

    def __del__(self):
        identity(1)


def swallow(*exceptions):
    return contextlib.suppress(*exceptions or (Exception,))


def case_c_builtins():
    len([1]), abs(-1), max(1, 2), max([1, 2], key=identity), min((3, 1), key=lambda n: -n)
    sorted([3, 1, 2], key=identity, reverse=True), sum([1, 2]), divmod(7, 2), pow(2, 3, 5)
    isinstance(1, int), issubclass(bool, int), getattr(cases, "gcd"), hasattr(cases, "nothing")
    setattr(types.SimpleNamespace(), "x", 1), callable(len), hash("a"), id(None), repr([1])
    ord("a"), chr(97), hex(255), oct(8), bin(5), ascii("é"), format(3.14159, ".2f"), round(2.567, 1)
    any([0, 1]), all([1, 0]), iter([1]), next(iter([1])), next(iter([]), None), vars(), dir(object())
    len(*[[1, 2]]), print("x", end="", file=io.StringIO(), flush=True)
    list(map(abs, [-1, 2])), list(map(identity, [1])), list(filter(identity, [0, 1]))
    list(zip([1], [2])), list(enumerate("ab")), dict(a=1), tuple([1]), set([1]), frozenset([2])
    compile("1", "c", "eval"), eval("len('x')"), exec("y = abs(-3)"), globals(), locals()


def case_c_methods():
    text, values, table = "a,b;c", [3, 1, 2], {"a": 1}
    text.split(","), text.upper().lower(), ",".join(["x", "y"]), "{}-{x}".format(1, x=2)
    text.encode().decode("ascii"), text.replace("a", "b", 1), text.startswith(("a", "b"))
    values.append(4), values.sort(key=identity), values.pop(), values.extend(x for x in [1])
    values.index(1), values.insert(0, 9), values.reverse(), values.copy(), values.clear()
    table.get("a"), table.setdefault("b", 2), table.update(c=3), table.items(), table.pop("a")
    dict.fromkeys("ab"), int.from_bytes(b"\1", "big"), (5).to_bytes(2, "big"), str.maketrans("a", "b")
    list.append(values, 1), str.upper("x"), dict.get(table, "b"), list.sort([2, 1], key=identity)
    Holder(1, 2).append(3), Holder.append_it(Holder(), 1), Holder().append_it(2), Holder().size
    Holder.bound([1]), Holder.size([1, 2])
    push = values.append
    for number in range(80):  # often enough to be specialised
        push(number), values.append(number), len(values), text.split(","), abs(number)
        isinstance(number, int), text.startswith("a"), table.get("b"), list.append(values, 1)
    cell = (1).__add__, "x".__len__, [].__iter__
    [each() for each in cell[1:]], cell[0](2), object.__repr__(1), int.__add__(1, 2)
    type.__call__(int, "5"), type.mro(int), int.__new__(int, 3), object().__hash__()


def case_c_slots():
    """Slot wrappers, types and other callables that sys.setprofile keeps silent about."""
    int("3"), str(5), float("1.5"), bytes(3), bytearray(b"x"), list("ab"), object(), type(1)
    Number(3) + Number(4), repr(Number(5)), Number.__add__(Number(1), 2), complex(1, 2)
    functools.partial(len, [1])(), functools.partial(identity, 1)(), functools.partial(int, "7")()
    functools.partial(functools.partial(max, 1), 2)(), operator.itemgetter(0)([1])
    operator.attrgetter("real")(1), operator.methodcaller("upper")("x"), operator.add(1, 2)
    types.MethodType(len, [1, 2])(), types.MethodType(identity, 3)(), types.MethodType(int, "4")()
    with swallow():
        classmethod(len).__get__([1])()
    staticmethod(len).__get__(None, int)([1])
    functools.reduce(operator.add, [1, 2, 3]), functools.cmp_to_key(lambda a, b: a - b)(1)
    sorted([2, 1], key=functools.cmp_to_key(lambda a, b: a - b))
    list(itertools.starmap(pow, [(1, 2)])), list(itertools.accumulate([1, 2], identity and operator.mul))
    list(itertools.takewhile(identity, [1, 0])), list(itertools.groupby("aab", key=identity))
    next(itertools.count()), list(itertools.chain.from_iterable([[1], [2]]))
    super(Holder, Holder(1)).append(2), weakref.ref(Holder())(), types.SimpleNamespace(a=1)
    property(identity).fget(1), slice(1, 2).indices(5), range(3).count(1), memoryview(b"a").tolist()
    for number in range(80):
        int("3"), str(number), Number(number), object(), functools.partial(len, ())()


def case_c_exceptions():
    with swallow():
        int.from_bytes(1)
    with swallow():
        [].pop()
    with swallow():
        len(3)
    with swallow():
        len()
    with swallow():
        len(1, 2)
    with swallow():
        list.append(1, 2)  # does not bind: no C call
    with swallow():
        list.append()
    with swallow():
        "x".join([1])
    with swallow():
        next(iter([]))
    with swallow():
        getattr(1, "nothing")
    with swallow():
        sorted([1, "a"])
    with swallow():
        max([1], key=fails)
    with swallow():
        list(map(fails, [1]))
    with swallow():
        exec("raise KeyError")
    with swallow():
        sys.exit(3) if False else compile("(", "c", "eval")
    with swallow():
        (lambda: [].index(1))()
    with swallow():
        functools.partial(len, 1)()
    with swallow():
        types.MethodType(len, 1)()
    with swallow():
        (None).nothing()
    for _ in range(80):
        try:
            [].pop()
        except IndexError:
            pass
        try:
            int("x")
        except ValueError:
            pass


def case_c_generators():
    """send, throw and close are method descriptors; what they resume are calls."""
    talker = cases.echo()
    next(talker)
    talker.send(1), talker.throw(KeyError("k")), talker.send(2), talker.close()
    generator = cases.stubborn()
    generator.__next__()
    with swallow():
        generator.throw(ValueError("v"))
    list(cases.counting(3)), sum(cases.counting(3)), tuple(cases.tree(3)), max(cases.counting(4))
    "".join(str(n) for n in range(3)), sorted(cases.counting(3), key=identity)
    dict((n, n) for n in range(2)), [*cases.delegating()], any(n for n in cases.counting(3))
    coroutine = cases.failing()
    with swallow(BaseException):
        coroutine.send(None)
        coroutine.send(None)
    first, *rest = cases.counting(4)
    for a, b in zip(cases.counting(2), map(identity, cases.counting(2))):
        pass
    next(cases.counting(0), None), iter(cases.counting(1)), list(iter(lambda: 1, 1))


def case_c_contexts():
    variable = contextvars.ContextVar("variable")
    context = contextvars.copy_context()
    context.run(identity, 1), context.run(len, [1])
    with swallow():
        context.run(fails)
    variable.set(1), variable.get()
    with io.StringIO() as stream, cases.managed(False):
        stream.write("x")
    weakref.finalize(Holder, identity, 1)()
    target = cases.Plain(1)
    link = weakref.ref(target, identity)
    del target
    link()
    functools.lru_cache(maxsize=2)(identity)(5)
    functools.wraps(identity)(fails)
    functools.singledispatch(identity)(3)
    cached = functools.lru_cache()(len)
    cached("x"), cached("x"), cached.cache_info(), cached.cache_clear()


def case_classes_of_c():
    """Instances of types that C and Python make, subclasses of both, metaclasses."""
    made = type("Made", (object,), {"__init__": lambda self, *a: None, "m": len})
    made(1), made(1).m
    class Error(Exception):
        def __init__(self, *values):
            super().__init__(*values)

        def __str__(self):
            return super().__str__()

    str(Error("x")), Error("y").with_traceback(None), repr(Error())
    class Table(dict):
        def __missing__(self, key):
            return identity(key)

        def __getitem__(self, key):
            return super().__getitem__(key)

    Table()[3], Table(a=1).get("a"), {**Table(b=2)}, Table().setdefault("c", 1)
    class Text(str):
        __slots__ = ()

        def __new__(cls, value):
            return str.__new__(cls, value)

        def __eq__(self, other):
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    Text("a") == Text("b"), {Text("c"): 1}[Text("c")], Text("d").upper(), Text("e") in ["e"]
    class Iterated:
        def __iter__(self):
            return iter([1, 2])

        def __len__(self):
            return 2

        def __contains__(self, value):
            return True

        def __bool__(self):
            return True

        def __index__(self):
            return 1

        def __format__(self, spec):
            return "f"

        def __getattribute__(self, name):
            return object.__getattribute__(self, name)

    it = Iterated()
    list(it), len(it), 3 in it, bool(it), [1, 2][it], f"{it:x}", format(it), it.__len__()
    isinstance(it, Iterated), hex(it), range(it), reversed([1]), sorted(it, key=lambda n: -n)
    import collections
    Point = collections.namedtuple("Point", "x y")
    Point(1, 2)._replace(x=3)._asdict(), Point._make([1, 2]).x
    collections.OrderedDict(a=1).move_to_end("a"), collections.Counter("aab").most_common(1)
    collections.defaultdict(list)["k"].append(1), collections.deque([1], 3).rotate(1)
    for _ in range(60):
        Point(1, 2), Error("x"), Text("y"), made(1)


def prepare_classes_of_c():
    import collections  # noqa: F401


def case_late_free():
    """Code objects whose free function runs late: kept by a frame, a cycle, a weak reference."""
    kept = []
    for number in range(300):
        space = {}
        exec(f"def f{number}():\n try:\n  raise KeyError\n except KeyError as e:\n  return e", space)
        kept.append(space[f"f{number}"]())  # the traceback keeps frame and code
        if number % 3 == 0:
            del kept[:-2]
        if number % 7 == 0:
            cycle = [space]
            cycle.append(cycle)
    kept.clear()


def case_one_line():
    """Lines: jumps back to the same line, one-line functions, several statements on a line."""
    total = 0
    for n in range(5): total += n  # noqa: E701
    while total > 5: total -= 3  # noqa: E701
    def one(): return 1  # noqa: E306,E704
    a = 1; b = 2; one()  # noqa: E702
    [one() for _ in range(3)]; {n: n for n in range(2)}  # noqa: E702
    if a: b = one()  # noqa: E701
    for n in range(3):
        if n == 1: continue  # noqa: E701
        try: one(); raise KeyError  # noqa: E701,E702
        except KeyError: pass  # noqa: E701
        finally: a = b  # noqa: E701
    x = (one(),
         one(),
         [one()
          for _ in range(2)])
    assert x, \
        "never"
    with cases.managed(False) as m, \
            cases.managed(True): raise KeyError  # noqa: E701
    (lambda: one())(); (lambda: (
        one()))()  # noqa: E702
    while True:
        a += 1
        if a > 5:
            break
    else:
        b = 1
    for _ in ():
        pass
    else:
        del m
    return total


def multi_line_call(
        first,
        second=identity(
            2)):
    return (first +
            second)


@functools.lru_cache(
    maxsize=None)
def decorated_over_lines(
        value):
    return identity(
        value
    )


def case_many_lines():
    multi_line_call(
        1,
        second=identity(
            2))
    decorated_over_lines(1)
    decorated_over_lines(
        2)
    class Body(
            object):
        a = 1
        b = [n
             for n in range(2)]

        @property
        @identity
        def c(self):
            return (
                self.a)

    Body().c
    try:
        identity(
            1 /
            0)
    except (KeyError,
            ZeroDivisionError) as e:
        identity(e)
    with swallow():
        multi_line_call(
            fails(
                1))
    exec("a = 1\n\n\nb = (a +\n  1)\nfor x in range(2):\n  a\n\n")
    if sys.version_info >= (3, 10):
        exec("match [1, 2]:\n  case [a, b] if a > b:\n    pass\n  case [a,\n    2]:\n    a\n  case _:\n    0")


# ------------------------------------------------------------------ programs of the library


def program(module, *arguments, text=""):
    """Run `python -m module`, its output kept away."""
    argv, stdin, here = sys.argv, sys.stdin, os.getcwd()
    sys.argv, sys.stdin = [module, *arguments], io.StringIO(text)
    os.chdir(SCRATCH)
    try:
        output = io.TextIOWrapper(io.BytesIO())
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit:
        pass
    finally:
        sys.argv, sys.stdin = argv, stdin
        os.chdir(here)


def write(name, text):
    with open(os.path.join(SCRATCH, name), "w", encoding="utf-8") as stream:
        stream.write(text)
    os.utime(os.path.join(SCRATCH, name), (1600000000, 1600000000))


TEST = """
import unittest

class Small(unittest.TestCase):
    def test_right(self):
        self.assertEqual(1 + 1, 2)

    def test_wrong(self):
        self.assertEqual("a\\nb", "a\\nc")
"""


def prepare_programs():
    shutil.rmtree(SCRATCH)  # what an earlier run made
    os.makedirs(os.path.join(SCRATCH, "compiled", "__pycache__"))
    write("data.json", '{"b": [1, 2.5, null, {"x": "\\u00e4"}], "a": true}')
    write("small.py", cases.SOURCE)
    write("test_small.py", TEST)
    write("one.txt", "a\nb\nc\n" * 5)
    write("two.txt", "a\nx\nc\n" * 5)
    write("compiled/mod.py", "def f(x):\n    return [x for _ in range(3)]\n")


def case_programs():
    program("json.tool", "--sort-keys", "data.json")
    program("tabnanny", "-v", "small.py")
    program("ast", "small.py")
    program("tokenize", "small.py")
    program("dis", "small.py")
    program("zipfile", "-c", "made.zip", "small.py", "one.txt")
    program("zipfile", "-l", "made.zip")
    program("compileall", "-f", "-q", "compiled")
    program("unittest", "test_small")
    program("calendar", "2024")
    program("base64", "-e", "one.txt")
    program("argparse")
    program("symtable", text="a = 1")
    program("textwrap")
    if sys.version_info >= (3, 11):
        # A doctest, which calls sys.settrace: before 3.11 the oracle does not survive that.
        program("pickletools")
