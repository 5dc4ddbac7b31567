# SPDX-License-Identifier: BSD-3-Clause
"""Programs of the standard library's own kinds: what real code does all day.

As in cases.py each case_* does exactly the same in every run. They run on CPython 3.9 to 3.15; syntax that
came later is source text, compiled where the interpreter knows it.
"""

import ast
import asyncio
import collections
import concurrent.futures
import contextlib
import copy
import dataclasses
import difflib
import dis
import enum
import functools
import io
import json
import pickle
import queue
import re
import sqlite3
import string
import sys
import tokenize
import typing
import unittest

import cases


def run_source(text, name):
    """Of its own file name, so that records tell the sources apart."""
    exec(compile(text, f"<{name}>", "exec"), {"__name__": name})


# ------------------------------------------------------------------ sources


def case_sources():
    tree = ast.parse(cases.SOURCE)
    text = ast.unparse(tree)
    list(tokenize.generate_tokens(io.StringIO(text).readline))
    output = io.StringIO()
    dis.dis(compile(tree, "source", "exec"), file=output)
    ast.dump(tree, indent=1)
    for node in ast.walk(tree):
        ast.get_source_segment(cases.SOURCE, node)
    json.loads(json.dumps({"a": [1, 2.5, None], "b": {"ä": True}}, indent=1, sort_keys=True,
                          default=repr))
    with contextlib.suppress(ValueError):
        json.loads('{"a": [1, }')
    "".join(difflib.unified_diff("a b c d".split(), "a c x d".split()))
    "".join(difflib.ndiff(["one\n", "two\n"], ["ore\n", "tree\n"]))
    difflib.get_close_matches("appel", ["ape", "apple", "peach"])
    re.sub(r"(?P<w>\w+)", lambda m: m["w"].title(), "a bc def", flags=re.I)
    re.compile(r"(?<=a)b|[^\d\s]{2,3}?$", re.X).findall("ab xyz")
    string.Template("$a ${b}").safe_substitute(a=1)
    string.Formatter().vformat("{0!r:>4} {x[0]}", (1,), {"x": [2]})


# ------------------------------------------------------------------ classes


class Plain:
    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        return Plain, (self.value,), {"more": 1}

    def __eq__(self, other):
        return self.value == other.value

    def __hash__(self):
        return hash(self.value)

    def __getattr__(self, name):
        raise AttributeError(name)

    def __contains__(self, value):
        return value == self.value

    def __len__(self):
        return 2

    def __getitem__(self, at):
        if at > 1:
            raise IndexError(at)
        return self.value

    def __call__(self, *values):
        return len(values)

    def __format__(self, form):
        return form + str(self.value)

    def __lt__(self, other):
        return self.value < other.value

    def __bool__(self):
        return False


def case_made_classes():
    class Colour(enum.Enum):
        RED = 1
        GREEN = enum.auto()

        @property
        def low(self):
            return self.name.lower()

    class Bits(enum.IntFlag):
        A = 1
        B = 2

    @functools.total_ordering
    @dataclasses.dataclass(frozen=True)
    class Point:
        x: int
        y: typing.List[int] = dataclasses.field(default_factory=list)

        def __lt__(self, other):
            return self.x < other.x

    class Typed(typing.NamedTuple):
        a: int
        b: str = "x"

    class Table(typing.TypedDict, total=False):
        key: int

    T = typing.TypeVar("T")

    class Box(typing.Generic[T]):
        def get(self) -> T:
            return self.__class__

    @typing.runtime_checkable
    class Sized(typing.Protocol):
        def __len__(self) -> int: ...

    class Meta(type):
        def __new__(mcs, name, bases, space, **more):
            return super().__new__(mcs, name, bases, space)

        def __prepare__(name, bases, **more):
            return collections.OrderedDict()

        def __instancecheck__(cls, it):
            return it == 1

        def __call__(cls, *values):
            return super().__call__(*values)

    class Made(metaclass=Meta, more=1):
        __slots__ = ("a",)

        def __init_subclass__(cls, **more):
            super().__init_subclass__()

        def __set_name__(self, owner, name):
            self.a = name

        def __init__(self, *values):
            self.a = values

    class Sub(Made, more=2):
        field = Made(1)

    Colour(2).low, Colour["RED"], list(Colour), Bits.A | Bits.B, Bits(3) & Bits.A, ~Bits.A
    with contextlib.suppress(ValueError):
        Colour(9)
    Point(1) < Point(2), Point(1) >= Point(0), repr(Point(3)), dataclasses.asdict(Point(1, [2]))
    dataclasses.replace(Point(1), x=4), hash(Typed(1)._replace(a=2)), Typed(1)._asdict()
    with contextlib.suppress(dataclasses.FrozenInstanceError):
        Point(1).x = 2
    Table(key=1), Box[int]().get(), isinstance([], Sized), isinstance(1, Sub), isinstance(2, Sub)
    typing.get_type_hints(Point), typing.Optional[int] | None if sys.version_info >= (3, 10) else 0
    pickle.loads(pickle.dumps([Plain(1), {"a": Plain(2)}], 2)), copy.deepcopy([Plain(3)])
    copy.copy(Plain(1)), sorted([Plain(2), Plain(1)]), f"{Plain(1):>3}", Plain(1)(1, 2)
    1 in Plain(1), list(Plain(1)), [*Plain(2)], {Plain(1): 2}[Plain(1)], not Plain(1)
    getattr(Plain(1), "nothing", None), hasattr(Plain(1), "nothing"), max(Plain(1), Plain(2))
    for value in range(60):
        each = Plain(value)
        each in {each}, each(1), f"{each:x}", each < each, value in each, len(each), each[0]


def case_pickles():
    data = [Plain(1), "x" * 300, {1: (2, 3)}, [None, True, 1.5, b"y"], 1 << 70]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        pickle.loads(pickle.dumps(data, protocol))
    pickle._loads(pickle._dumps(data, 4))
    with contextlib.suppress(Exception):
        pickle.dumps(lambda: 1)
    with contextlib.suppress(Exception):
        pickle.loads(b"cos\nnothing\n.")


def case_dispatch():
    @functools.singledispatch
    def show(it):
        return "object"

    @show.register(int)
    def _(it):
        return "int"

    @show.register
    def _(it: list):
        return [show(each) for each in it]

    class With:
        @functools.singledispatchmethod
        def of(self, it):
            return it

        @of.register(int)
        def _(self, it):
            return -it

        @functools.cached_property
        def once(self):
            return 1

    show(1), show([1, "a", 2.5]), show(None), show.dispatch(bool)
    With().of(1), With().of("a"), With().once
    functools.wraps(show)(lambda: 1)()
    functools.reduce(lambda a, b: a + b, [1, 2, 3])
    part = functools.partial(sorted, key=lambda n: -n)
    part([1, 2])
    for number in range(60):
        show(number), show("a"), part([number])


# ------------------------------------------------------------------ control flow


def numbers(log):
    """Catches, goes on, and cleans up."""
    got = None
    try:
        while True:
            try:
                got = yield got
            except KeyError as error:
                log.append(error)
                got = "caught"
    finally:
        log.append("left")


def delegating(log):
    result = yield from numbers(log)
    return result


def stubborn():
    try:
        yield 1
    except GeneratorExit:
        yield 2


def one_expression():
    return (yield (yield 1))


def case_generator_ways():
    log = []
    for make in (numbers, delegating):
        it = make(log)
        next(it), it.send(1), it.throw(KeyError("a")), it.send(2)
        with contextlib.suppress(ValueError):
            it.throw(ValueError("out"))
        with contextlib.suppress(StopIteration):
            next(it)
        it = make(log)
        with contextlib.suppress(KeyError):
            it.throw(KeyError("before it began"))
        it = make(log)
        it.close()
        it = make(log)
        next(it)
        it.close(), it.close()
        it = make(log)
        next(it)
        del it
    it = stubborn()
    next(it)
    with contextlib.suppress(RuntimeError):
        it.close()
    del it
    it = one_expression()
    next(it), it.send(1), it.close()
    it = numbers(log)
    for number in range(60):
        it.send(None), it.throw(KeyError(number))
    it.close()

    def recursive(n):
        if n:
            yield n
            yield from recursive(n - 1)

    list(recursive(12)), sum(n for n in recursive(5)), [a + b for a in recursive(2) for b in (1, 2)]
    with contextlib.suppress(RuntimeError):
        list(next(iter([])) for _ in (1,))
    bad = recursive(1)

    def itself():
        yield next(me)

    me = itself()
    with contextlib.suppress(ValueError):
        next(me)
    next(bad), list(bad)


def case_context_managers():
    @contextlib.contextmanager
    def around(log):
        log.append("in")
        try:
            yield log
        except LookupError:
            log.append("swallowed")
        finally:
            log.append("out")

    class Other(contextlib.ContextDecorator):
        def __enter__(self):
            return self

        def __exit__(self, *what):
            return what[0] is KeyError

    @Other()
    def decorated(fail):
        if fail:
            raise KeyError(fail)
        return 1

    with around([]) as log, Other():
        log.append(1)
    with around([]):
        raise LookupError
    with contextlib.suppress(TypeError), around([]):
        raise TypeError
    decorated(0), decorated(1)
    with contextlib.ExitStack() as stack:
        stack.enter_context(around([]))
        stack.callback(lambda: None)
        stack.push(Other())
        raise KeyError
    with contextlib.closing(io.StringIO()) as closed, contextlib.nullcontext(1):
        closed.write("x")
    around([])(decorated)(0)
    for number in range(40):
        with around([]):
            if number % 3 == 0:
                continue
            if number == 35:
                break
            number += 1
        try:
            if number % 5:
                raise ValueError(number)
        except ValueError:
            continue
        finally:
            number -= 1
    else:
        log.append(0)
    for _ in range(3): log.append(1)
    while log: log.pop()
    lambda: (yield)


def case_new_syntax():
    """match, except*, type parameters, f-strings in f-strings, where they are known."""
    if sys.version_info >= (3, 10):
        run_source(MATCH, "match")
    if sys.version_info >= (3, 11):
        run_source(GROUPS, "groups")
    if sys.version_info >= (3, 12):
        run_source(TYPES, "types")
    if sys.version_info >= (3, 14):
        run_source(NEWEST, "newest")


MATCH = '''
class Point:
    __match_args__ = ("x", "y")
    def __init__(self, x, y):
        self.x, self.y = x, y
    def __eq__(self, other):
        return False

def what(it):
    match it:
        case 0 | 1:
            return "small"
        case int() if it > 100:
            return "large"
        case [first, *rest]:
            return first, what(rest)
        case {"a": Point(x=0, y=y), **more}:
            return y
        case Point(x, y) if (z := x + y):
            return z
        case str() as text:
            return text.upper()
        case None:
            pass
        case _:
            return "?"

for each in (0, 1, 500, [], [1, 2], {"a": Point(0, 1)}, Point(2, 3), Point(0, 0), "a", None, 2.5):
    what(each)
for number in range(60):
    what(number), what(Point(number, 1)), what([number])
'''

GROUPS = '''
def fail(*errors):
    raise ExceptionGroup("some", [*errors, ExceptionGroup("inner", [KeyError(1)])])

def handle(*errors):
    try:
        try:
            fail(*errors)
        except* ValueError as group:
            group.add_note("seen")
            len(group.exceptions)
        except* (TypeError, OSError):
            raise RuntimeError
        finally:
            len(errors)
    except* KeyError:
        pass
    except* RuntimeError:
        pass
    else:
        return 0

handle(), handle(ValueError(1)), handle(TypeError(1), ValueError(2)), handle(OSError(1))
try:
    raise ValueError
except* ValueError:
    pass
ExceptionGroup("x", [ValueError(1), TypeError(2)]).split(lambda error: isinstance(error, ValueError))
class Mine(ExceptionGroup):
    def derive(self, errors):
        return Mine("mine", errors)
Mine("a", [ValueError(1), KeyError(2)]).subgroup(KeyError)
'''

TYPES = '''
type Pair[T] = tuple[T, T]
Pair.__value__, Pair[int]
def first[T: (int, str)](it: list[T]) -> T:
    return it[0]
class Box[T]:
    def __init__(self, it: T) -> None:
        self.it = it
    class Inner[U]:
        pass
first([1]), Box[int](1), Box.Inner[str](), first.__type_params__[0].__constraints__
f"{f'{len([1])!r:>{2 + 2}}'}{first([1])}"
[x for x in range(3)], {x: [y for y in (x,)] for x in (1, 2)}, {x for x in "ab"}
class Body:
    both = [x for x in (1, 2)]
    def __buffer__(self, flags):
        return memoryview(b"ab")
bytes(Body())
'''

NEWEST = '''
def annotated(a: undefined, b: len([1])) -> str:
    try:
        return a
    except ValueError, TypeError:
        pass
annotated.__annotate__, annotated(1, 2)
import annotationlib
annotationlib.get_annotations(annotated, format=annotationlib.Format.FORWARDREF)
class With:
    x: annotated(1, 2)
With.__annotations__
name = "a"
t"{name!r:>3} {annotated(1, 2)}".interpolations
'''


# ------------------------------------------------------------------ tasks and threads


async def ticker(count):
    for number in range(count):
        yield number
        await asyncio.sleep(0)


async def worker(name, todo, done):
    while True:
        it = await todo.get()
        async with asyncio.Lock():
            if it is None:
                return name
            done.append(it)


async def coroutine_main():
    done, todo = [], asyncio.Queue()
    workers = [asyncio.ensure_future(worker(name, todo, done)) for name in "ab"]
    async for number in ticker(5):
        await todo.put(number)
    [await todo.put(None) for _ in workers]
    await asyncio.gather(*workers)
    with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), 0)
    task = asyncio.ensure_future(asyncio.sleep(100))
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    numbers = [x + y async for x in ticker(2) async for y in ticker(2)]
    agen = ticker(3)
    await agen.__anext__()
    with contextlib.suppress(KeyError):
        await agen.athrow(KeyError)
    await agen.aclose()
    left = ticker(3)
    await left.asend(None)
    del left
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.sleep, 0)
    if sys.version_info >= (3, 11):
        space = {}
        exec(compile(TASK_GROUP, "<task_group>", "exec"), space)
        await space["run"](ticker)
    return numbers


TASK_GROUP = '''
import asyncio
async def fails(after):
    for _ in range(after):
        await asyncio.sleep(0)
    raise KeyError(after)
async def run(ticker):
    async with asyncio.TaskGroup() as group:
        first = group.create_task(asyncio.sleep(0, "x"))
        group.create_task(asyncio.sleep(0))
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails(1))  # a group is a set: in which order it cancels two is chance
            group.create_task(asyncio.sleep(50))
    except* KeyError as failed:
        len(failed.exceptions)
    return first.result()
'''


def case_tasks():
    asyncio.run(coroutine_main())

    class Awaitable:
        def __await__(self):
            return (yield 1)

    async def waits():
        return await Awaitable()

    it = waits()
    it.send(None)
    with contextlib.suppress(StopIteration):
        it.send(3)
    it = waits()
    it.send(None)
    with contextlib.suppress(KeyError):
        it.throw(KeyError)
    it = waits()
    it.close()


def case_sqlite():
    base = sqlite3.connect(":memory:")
    base.create_function("twice", 1, lambda n: n * 2)

    class Sum:
        def __init__(self):
            self.sum = 0

        def step(self, value):
            self.sum += value

        def finalize(self):
            return self.sum

    base.create_aggregate("add_up", 1, Sum)
    base.create_collation("backwards", lambda a, b: (a < b) - (a > b))
    base.row_factory = lambda cursor, row: dict(zip([d[0] for d in cursor.description], row))
    with base:
        base.execute("create table t (a integer, b text)")
        base.executemany("insert into t values (?, ?)", ((n, str(n)) for n in range(20)))
    list(base.execute("select twice(a) as c, b from t order by b collate backwards"))
    base.execute("select add_up(a) from t").fetchone()
    base.set_trace_callback(lambda text: None)
    with contextlib.suppress(sqlite3.Error), base:
        base.execute("select nothing")
    base.set_authorizer(lambda *what: sqlite3.SQLITE_OK)
    base.execute("select a from t where a > ?", (15,)).fetchall()
    base.close()


def case_test_runner():
    class Tests(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            cls.log = []

        def setUp(self):
            self.addCleanup(self.log.append, 1)

        def test_ok(self):
            for number in range(2):
                with self.subTest(number=number):
                    self.assertIn(number, [0])

        def test_raises(self):
            with self.assertRaisesRegex(ValueError, "a"):
                raise ValueError("abc")

        @unittest.skip("no")
        def test_skipped(self):
            pass

        @unittest.expectedFailure
        def test_error(self):
            self.assertEqual({"a": [1]}, {"a": [2]})

    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Tests)
    unittest.TextTestRunner(stream=io.StringIO(), verbosity=2).run(suite)


def pooled(number):
    return [cases.gcd(number, 12) for _ in range(3)]


def case_futures():
    """Without a pool: in which order its threads take the jobs is chance."""
    todo = queue.Queue()
    for number in range(5):
        todo.put(number)
    while not todo.empty():
        todo.get_nowait(), todo.task_done()
    future = concurrent.futures.Future()
    future.add_done_callback(lambda its: its.result())
    future.set_running_or_notify_cancel()
    future.set_result(pooled(3))
    future.result()
    failed = concurrent.futures.Future()
    failed.set_exception(KeyError(1))
    with contextlib.suppress(KeyError):
        failed.result()
