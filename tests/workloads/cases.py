# SPDX-License-Identifier: BSD-3-Clause
"""Programs whose events are compared with those that the interpreter itself reports.

Each case_* must do exactly the same in every run: no clock, no hash order (the tests set
PYTHONHASHSEED), no file that changes.
"""

import asyncio
import contextlib
import dataclasses
import functools
import sys
import threading


def begin_marker():
    pass


def end_marker():
    pass


def prepare():
    pass


# ------------------------------------------------------------------ classes


class Meta(type):
    def __new__(mcs, name, bases, namespace, **options):
        return super().__new__(mcs, name, bases, namespace)

    def __init__(cls, name, bases, namespace, **options):
        super().__init__(name, bases, namespace)

    def __call__(cls, *args):
        return super().__call__(*args)


class Descriptor:
    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner):
        return self if instance is None else instance.__dict__.get(self.name, 0)

    def __set__(self, instance, value):
        instance.__dict__[self.name] = value


class Plain:
    def __init__(self, value):
        self.value = value

    def bump(self):
        self.value += 1
        return self


class Base(metaclass=Meta):
    field = Descriptor()

    def __init_subclass__(cls, **options):
        super().__init_subclass__()

    def __init__(self, value=1):
        self.field = value

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        return True

    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index >= 3:
            raise IndexError(index)
        return index

    def __getattr__(self, name):
        return name.upper()

    def __call__(self):
        return self.double

    def __eq__(self, other):
        return isinstance(other, Base)

    def __hash__(self):
        return 7

    @property
    def double(self):
        return self.field * 2

    @staticmethod
    def still():
        return 1

    @classmethod
    def make(cls):
        return cls(5)


def new_then_init():
    class Point:
        def __new__(cls, *args):
            return object.__new__(cls)

        def __init__(self, x, y):
            self.x, self.y = x, y

    return Point(1, 2)


def case_classes():
    class Child(Base, option=1):
        def __init__(self, *args):
            super().__init__(*args)

    child = Child(4)
    child()
    len(child), list(child), child.nothing, child == Child(), {child: 1}[child]
    Child.still(), Child.make(), child.double
    with child:
        raise KeyError("swallowed by __exit__")
    new_then_init()

    # Often enough that an interpreter specialises the calls.
    for number in range(200):
        Plain(number).bump().bump()
    sorted((Plain(3), Plain(1), Plain(2)), key=lambda plain: plain.value)
    for _ in range(100):
        Plain.bump(Plain(0))


def case_init_storm():
    """Instances made in one hot place, where the call is specialised, of changing classes."""

    class Other(Plain):
        def __init__(self, value):
            Plain.__init__(self, value)

    class Bare:
        pass

    class Failing:
        def __init__(self, value):
            raise ValueError(value)

    def make(kind, value):
        return kind(value)

    for kind in (Plain, Other, Failing, Plain, Failing, Other):
        for number in range(60):
            try:
                make(kind, number)
            except ValueError:
                pass
    for _ in range(60):
        Bare()


def case_dataclass():
    @dataclasses.dataclass(order=True)
    class Record:
        left: int
        right: list = dataclasses.field(default_factory=list)

        def __post_init__(self):
            self.right = [self.left]

    assert Record(1) < Record(2)
    repr(Record(3))
    dataclasses.asdict(Record(4))
    dataclasses.replace(Record(5), left=6)


# ------------------------------------------------------------------ generators


def counting(stop):
    for number in range(stop):
        yield number
    return stop


def echo():
    received = None
    while True:
        try:
            received = yield received
        except KeyError as failure:
            received = repr(failure)


def stubborn():
    try:
        yield 1
        yield 2
    except GeneratorExit:
        clean_up()
        raise
    finally:
        clean_up()


def clean_up():
    pass


def delegating():
    result = yield from counting(3)
    yield from (number * 2 for number in range(result))
    yield from [7, 8]


def failing_generator():
    yield 1
    raise LookupError("from inside")


def tree(depth):
    if depth:
        yield from tree(depth - 1)
        yield depth
        yield from tree(depth - 1)


def case_generators():
    unused = counting(9)  # made, never begun
    assert list(counting(4)) == [0, 1, 2, 3]
    talker = echo()
    next(talker)
    talker.send(1)
    talker.throw(KeyError("k"))
    talker.send(2)
    talker.close()
    for way in ("close", "throw", "throw twice"):
        generator = stubborn()
        next(generator)
        if way == "close":
            generator.close()
        else:
            try:
                generator.throw(ValueError(way))
            except ValueError:
                pass
    assert list(delegating())[-1] == 8
    try:
        for _ in failing_generator():
            pass
    except LookupError:
        pass
    fresh = counting(1)
    try:
        fresh.throw(OSError("before its first step"))
    except OSError:
        pass
    counting(2).close()
    assert sum(x for x in counting(50) if x % 2) == 625
    assert len(list(tree(5))) == 31
    first, second = counting(5), counting(5)
    for _ in zip(first, second):
        pass
    del unused
    abandoned = stubborn()
    next(abandoned)
    del abandoned


# ------------------------------------------------------------------ recursion, exceptions


def gcd(a, b):
    return a if b == 0 else gcd(b, a % b)


def fibonacci(n):
    if n < 2:
        return n
    return fibonacci(n - 1) + fibonacci(n - 2)


def is_even(n):
    return n == 0 or is_odd(n - 1)


def is_odd(n):
    return n != 0 and is_even(n - 1)


def ackermann(m, n):
    if m == 0:
        return n + 1
    if n == 0:
        return ackermann(m - 1, 1)
    return ackermann(m - 1, ackermann(m, n - 1))


def case_recursion():
    gcd(1071, 462)
    fibonacci(12)
    is_even(100)
    ackermann(2, 3)


def fall(depth):
    if depth == 0:
        raise RuntimeError("at the bottom")
    try:
        fall(depth - 1)
    finally:
        clean_up()


def translate(depth):
    try:
        fall(depth)
    except RuntimeError as failure:
        raise ValueError("translated") from failure


def bad_argument():
    def wants_two(a, b):
        return a + b

    try:
        wants_two(1)  # fails before the frame runs
    except TypeError:
        pass


def case_exceptions():
    for depth in range(6):
        try:
            fall(depth)
        except RuntimeError:
            pass
        try:
            translate(depth)
        except ValueError:
            pass
    bad_argument()
    try:
        fall(40)
    except RuntimeError as failure:
        failure.with_traceback(None)
    try:
        [fall(n) for n in range(3)]
    except RuntimeError:
        pass
    try:
        max((1, 2), key=lambda n: fall(1))
    except RuntimeError:
        pass
    try:
        exec("raise KeyError")
    except KeyError:
        pass


# ------------------------------------------------------------------ asyncio


async def worker(queue, results):
    while True:
        item = await queue.get()
        if item is None:
            return
        await asyncio.sleep(0)
        results.append(item * 2)


async def ticking(count):
    for number in range(count):
        yield number
        await asyncio.sleep(0)


class AsyncContext:
    async def __aenter__(self):
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *failure):
        await asyncio.sleep(0)
        return True


async def failing():
    await asyncio.sleep(0)
    raise KeyError("awaited")


async def program():
    queue, results = asyncio.Queue(), []
    workers = [asyncio.ensure_future(worker(queue, results)) for _ in range(3)]
    for number in range(8):
        await queue.put(number)
    for _ in workers:
        await queue.put(None)
    await asyncio.gather(*workers)
    async for number in ticking(4):
        pass
    assert [n async for n in ticking(3)] == [0, 1, 2]
    async with AsyncContext():
        raise ValueError("swallowed")
    await asyncio.gather(failing(), failing(), return_exceptions=True)
    forever = asyncio.ensure_future(asyncio.Event().wait())
    await asyncio.sleep(0)
    forever.cancel()
    try:
        await forever
    except asyncio.CancelledError:
        pass
    generator = ticking(9)
    await generator.__anext__()
    await generator.aclose()


def case_asyncio():
    asyncio.run(program())


# ------------------------------------------------------------------ compiled code


def prepare_exec():
    compile("0", "", "exec")


def case_exec():
    namespace = {}
    exec("def made(a):\n    def inner():\n        return a\n    return inner()\n", namespace)
    namespace["made"](1)
    eval("made(2)", namespace)
    eval(compile("[made(n) for n in range(3)]", "a file that is not there.py", "eval"), namespace)
    exec(compile("x = 1\n\n\ny = made(4)\n", __file__, "exec"), namespace)
    exec("class C:\n  def m(self): return 1\nC().m()", namespace)
    for number in range(20):
        exec("pass\n" * number)


def case_lambdas():
    add = lambda a, b: a + b  # noqa: E731
    functools.reduce(add, range(10))
    list(map(lambda n: (lambda: n)(), range(5)))
    (lambda f: f(f, 5))(lambda f, n: n and f(f, n - 1))
    sorted(range(9), key=lambda n: -n)


def case_comprehensions():
    def value(n):
        return n

    [value(n) for n in range(4)]
    {value(n) for n in range(4)}
    {n: value(n) for n in range(4)}
    [[value(m * n) for m in range(3)] for n in range(3)]
    [n for n in range(10) if value(n) % 2 if n > 4]


def case_genexprs():
    sum(n for n in range(9))
    any(n > 3 for n in range(9))
    list((a, b) for a in range(3) for b in range(a))
    dict((n, m) for n, m in zip(range(3), (k for k in range(3))))


@contextlib.contextmanager
def managed(fail):
    try:
        yield fail
    except KeyError:
        pass
    finally:
        clean_up()


def case_contextmanager():
    with managed(False):
        clean_up()
    with managed(True):
        raise KeyError
    try:
        with managed(True):
            raise ValueError
    except ValueError:
        pass
    with contextlib.ExitStack() as stack:
        for number in range(4):
            stack.enter_context(managed(number))
        stack.callback(clean_up)
    with contextlib.suppress(KeyError):
        raise KeyError

    @managed(False)
    def decorated():
        pass

    decorated()


@functools.lru_cache(maxsize=8)
def cached(n):
    return n if n < 2 else cached(n - 1) + cached(n - 2)


class Lazy:
    @functools.cached_property
    def value(self):
        return 1

    @functools.singledispatchmethod
    def kind(self, argument):
        return "object"

    @kind.register
    def _(self, argument: int):
        return "int"


def case_lru_cache():
    for number in range(30):
        cached(number % 12)
    cached.cache_clear()
    lazy = Lazy()
    lazy.value, lazy.value, lazy.kind(1), lazy.kind("")
    functools.partial(gcd, 12)(18)


# ------------------------------------------------------------------ names


def größe(länge):
    return länge


def 函数(n):
    return [größe(n) for _ in range(2)]


class Ключ:
    def метод(self):
        return 函数(1)


def case_names_non_ascii():
    Ключ().метод()
    namespace = {}
    source = "def 𝔣𝔬𝔬_é(): return 1\n𝔣𝔬𝔬_é()"
    exec(compile(source, "/tmp/päth/文件 \U0001f600.py", "exec"), namespace)


LONG = {}


def prepare_names_long():
    source = "\n".join(
        f"def {'n' * length}{length}():\n return {length}"
        for length in (60, 127, 128, 255, 256, 300)
    )
    exec(compile(source, "long names", "exec"), LONG)
    source = "def in_long_path():\n    return 1\n"
    for length in (255, 256, 1000, 4095, 4096, 5000):
        name = "/" + "d" * (length - 4) + ".py"
        space = {}
        exec(compile(source, name, "exec"), space)
        LONG[length] = space["in_long_path"]
    code = LONG[5000].__code__.replace(co_name="é" * 300)
    LONG["both"] = type(prepare)(code, {})
    LONG["huge"] = type(prepare)(code.replace(co_name="N" * 3000, co_filename="F" * 4000), {})


def case_names_long():
    for _ in range(3):
        for name, function in LONG.items():
            if name != "__builtins__":
                function()


HOSTILE = [
    'say "hi"', "a,b", "a;b", "line\nbreak", "carriage\rreturn", "both\r\n", "tab\there",
    "\x1b[31mred\x1b[0m", "bell\x07", "\x7fdelete", "c1 \x9b31m", "nel\x85", "back\\slash",
    "\\x1b already", " leading", "trailing ", "", "'", '"', '""', "\n", "=1+1", "{}", "%s%n",
    "\u2028", "\u202eltr", "\ufeff", "<lost>", "lost",
]


def hostile_functions():
    def simple():
        return 1

    made = []
    for number, name in enumerate(HOSTILE):
        code = simple.__code__.replace(co_name=name, co_filename=f"/srv/{name}/{number}.py")
        made.append(type(simple)(code, {}))
    return made


HOSTILE_FUNCTIONS = []


def prepare_names_hostile():
    HOSTILE_FUNCTIONS.extend(hostile_functions())


def case_names_hostile():
    for function in HOSTILE_FUNCTIONS:
        function()


STORM = 20000


def case_exec_storm():
    """Every code object and its name is freed before the next is made: pointers are reused."""
    compile_, exec_ = compile, exec
    for number in range(STORM):
        source = f"def storm_{number}():\n    return {number}\nstorm_{number}()\n"
        exec_(compile_(source, f"/storm/{number % 97}.py", "exec"), {})


def case_name_storm():
    """One function at a time, renamed: names of equal length at equal addresses."""

    def simple():
        return 1

    make, code = type(simple), simple.__code__
    for number in range(5000):
        make(code.replace(co_name=f"renamed_{number:05}"), {})()


# ------------------------------------------------------------------ deep recursion


def dig(depth):
    if depth:
        return dig(depth - 1)
    return 0


def dig_and_fail(depth):
    if depth:
        dig_and_fail(depth - 1)
    raise KeyError


def deep():
    begin_marker_deep()
    dig(20000)
    try:
        dig_and_fail(5000)
    except KeyError:
        pass
    end_marker_deep()


def begin_marker_deep():
    pass


def end_marker_deep():
    pass


def case_deep():
    """In the thread that start_threads made."""


# ------------------------------------------------------------------ threads

THREADS = 4
_threads = []
_start = []  # locks that threads wait for, and the main thread for them
_done = []


def thread_markers(number):
    namespace = {}
    exec(f"def begin_marker_{number}():\n pass\ndef end_marker_{number}():\n pass\n", namespace)
    return namespace[f"begin_marker_{number}"], namespace[f"end_marker_{number}"]


def thread_work(number):
    begin, end = thread_markers(number)
    _start[number].acquire()
    begin()
    for step in range(300):
        gcd(1071 + number, step + 1)
        fibonacci(5)
        list(counting(number))
    end()
    _done[number].release()


def start_threads(name):
    """Before the markers: how a thread's start and its starter interleave is anybody's guess."""
    if name == "threads":
        for number in range(THREADS):
            for locks in (_start, _done):
                locks.append(threading.Lock())
                locks[-1].acquire()
            _threads.append(threading.Thread(target=thread_work, args=(number,)))
    elif name == "deep":
        sys.setrecursionlimit(30000)
        threading.stack_size(256 * 2**20)
        _threads.append(threading.Thread(target=deep))
    for thread in _threads:
        thread.start()


def stop_threads():
    for thread in _threads:
        thread.join()


def case_threads():
    for lock in _start:
        lock.release()
    fibonacci(10)
    for lock in _done:
        lock.acquire()


# ------------------------------------------------------------------ the standard library


def prepare_json():
    import json.decoder
    import json.encoder
    import json.scanner


def case_json():
    import json

    json.encoder.c_make_encoder = None
    json.encoder.encode_basestring_ascii = json.encoder.py_encode_basestring_ascii
    value = {"list": [1, 2.5, None, True, "text \u20ac \n"], "nested": {"deep": [[[]], {}]}}
    text = json.dumps(value, indent=2, sort_keys=True)
    decoder = json.JSONDecoder(object_hook=lambda found: found)
    decoder.parse_object = json.decoder.JSONObject
    decoder.parse_array = json.decoder.JSONArray
    decoder.parse_string = json.decoder.py_scanstring
    decoder.scan_once = json.scanner.py_make_scanner(decoder)
    assert decoder.decode(text) == value
    try:
        decoder.decode("[1, 2")
    except ValueError:
        pass


def prepare_re():
    import re

    re.compile("warm")
    re.purge()


def case_re():
    import re

    for pattern in (r"(?P<year>\d{4})-(\d\d?)|[a-z&^]+?", r"(?i:straße|\bfoo(?=bar)(?<!x)){2,3}",
                    r"(a|b|cd)*\1?[^\W\d_]$", r"(?x) # comment" "\n" r" [\u4e00-\u9fff] {1,5}"):
        found = re.compile(pattern)
        found.search("foobar 2024-12-31 straße")
        re.sub(pattern, lambda match: match.group().upper(), "2024-01-02 abcd")
    try:
        re.compile("(unclosed")
    except re.error:
        pass


def prepare_text():
    import difflib
    import pprint
    import shlex
    import string
    import textwrap


def case_text():
    import difflib
    import pprint
    import shlex
    import string
    import textwrap

    words = "the quick brown fox jumps over the lazy dog and runs away " * 4
    textwrap.fill(words, 33, initial_indent="* ", subsequent_indent="  ")
    textwrap.dedent("   a\n     b\n")
    textwrap.shorten(words, 40)
    before = ["one", "two", "three", "four", "five"]
    after = ["one", "2", "three", "five", "six"]
    list(difflib.unified_diff(before, after))
    list(difflib.ndiff(before, after))
    difflib.get_close_matches("appel", ["ape", "apple", "peach"])
    shlex.split("a 'b c' \"d\\\"e\" f\\ g # h", comments=True)
    pprint.pformat({"key": list(range(40)), "other": {"x": ("y",) * 20}})
    string.Template("$who likes ${what}, $$5").substitute(who="tim", what="kung pao")
    string.Formatter().format("{0:>{1}} {name!r}", "a", 5, name="n")


def prepare_ast():
    import ast
    import dis
    import inspect
    import tokenize


SOURCE = '''
import os

class Thing(object, metaclass=type):
    """Documentation."""
    value: int = 1 + 2 * 3

    @property
    def attribute(self, *args, key=None, **kw):
        with open("x") as f, g() as (a, b):
            try:
                return [x for x in f if x] or {1: 2, **kw} or f"{self!r:>{key}}"
            except (KeyError, ValueError) as e:
                raise e from None
            finally:
                del a, b
        lambda: (yield)
        while not self < 1 <= 2:
            continue
'''


def case_ast():
    import ast
    import dis
    import inspect
    import io
    import tokenize

    tree_ = ast.parse(SOURCE)
    assert ast.dump(ast.parse(ast.unparse(tree_))) == ast.dump(tree_)
    [type(node) for node in ast.walk(tree_)]
    ast.literal_eval("{'a': [1, -2, (3,)], 'b': {4}}")
    list(tokenize.generate_tokens(io.StringIO(SOURCE).readline))
    dis.dis(compile(SOURCE, "source", "exec"), file=io.StringIO())
    inspect.signature(Base.__init__)
    inspect.getdoc(Base)


def prepare_argparse():
    import argparse


def case_argparse():
    import argparse
    import contextlib
    import io

    parser = argparse.ArgumentParser(prog="tool", description="does " * 30)
    parser.add_argument("-v", "--verbose", action="count", default=0)
    parser.add_argument("--level", type=int, choices=range(4), help="how %(default)s")
    commands = parser.add_subparsers(dest="command")
    add = commands.add_parser("add", aliases=["a"])
    add.add_argument("names", nargs="+")
    parser.parse_args(["-vv", "--level", "3", "add", "x", "y"])
    parser.format_help()
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
        parser.parse_args(["--level", "9"])


def prepare_email():
    import configparser
    import csv
    import email.mime.multipart
    import email.mime.text
    import email.policy
    import html.parser
    import urllib.parse

    # Importing lazily inside the case would run importlib's own, cached, code.
    case_email()


def case_email():
    import configparser
    import csv
    import email
    import email.mime.multipart
    import email.mime.text
    import email.policy
    import html.parser
    import io
    import urllib.parse

    message = email.mime.multipart.MIMEMultipart(boundary="====")
    message["Subject"] = "Grüße an alle " * 8
    message["From"] = "A <a@example.org>, \"B, C\" <b@example.org>"
    message.attach(email.mime.text.MIMEText("héllo\n" * 5, "plain", "utf-8"))
    text = message.as_string()
    parsed = email.message_from_string(text, policy=email.policy.default)
    parsed["From"].addresses, parsed.get_body().get_content()

    rows = list(csv.DictReader(io.StringIO("a,b\n1,\"x,y\"\n2,z\n")))
    csv.Sniffer().sniff("a;b;c\n1;2;3\n4;5;6\n")
    csv.DictWriter(io.StringIO(), ["a", "b"]).writerows(rows)
    config = configparser.ConfigParser()
    config.read_string("[one]\nkey = value\nother = %(key)s 2\n[two]\nlist =\n  a\n  b\n")
    config.get("one", "other"), config.write(io.StringIO())
    urllib.parse.urlsplit("http://user@host:80/path;x?query=1#frag")
    urllib.parse.urlencode({"a": "ü b", "c": ["d", "e"]}, doseq=True)
    reader = html.parser.HTMLParser()
    reader.feed("<p class='x'>text &amp; <br/> <!-- no --> <script>1<2</script>")
    reader.close()


def prepare_decimal():
    import _pydecimal
    import fractions
    import statistics


def case_decimal():
    import _pydecimal
    import fractions
    import statistics

    with _pydecimal.localcontext() as context:
        context.prec = 30
        number = _pydecimal.Decimal("1.25")
        (number / 7).sqrt(), number.ln(), number ** 3, number.quantize(_pydecimal.Decimal("0.1"))
        format(number * 10**9, ",.3f"), round(number, 1), hash(number)
        try:
            number / 0
        except _pydecimal.DivisionByZero:
            pass
    sum((fractions.Fraction(1, n) for n in range(1, 20)), fractions.Fraction())
    fractions.Fraction("3.14159").limit_denominator(100)
    statistics.mean([1, 2, 3.5]), statistics.median([3, 1, 2]), statistics.stdev([1, 2, 4])


def prepare_unittest():
    import unittest

    case_unittest()


def case_unittest():
    import io
    import unittest

    class Some(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            pass

        def setUp(self):
            self.addCleanup(clean_up)

        def test_passes(self):
            self.assertEqual([1, 2], [1, 2])

        def test_fails(self):
            self.assertEqual({"a": 1}, {"a": 2})

        def test_raises(self):
            with self.assertRaises(KeyError):
                {}["x"]

        def test_sub(self):
            for number in range(3):
                with self.subTest(number=number):
                    self.assertTrue(number)

        @unittest.skip("not today")
        def test_skipped(self):
            pass

        @unittest.expectedFailure
        def test_expected(self):
            self.fail()

    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Some)
    unittest.TextTestRunner(stream=io.StringIO()).run(suite)


def prepare_logging():
    import copy
    import enum
    import logging.handlers
    import pickle
    import traceback

    case_logging()


def case_logging():
    import copy
    import enum
    import heapq
    import io
    import logging
    import logging.handlers
    import pickle
    import random
    import traceback

    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger("pikos.test")
    logger.propagate = False
    logger.handlers = [handler, logging.handlers.MemoryHandler(3, target=handler)]
    logger.setLevel(logging.INFO)
    logger.debug("no")
    for number in range(4):
        logger.info("%d of %s", number, "four")
    try:
        fall(3)
    except RuntimeError:
        logger.exception("oops")
        traceback.format_exc()
    logger.handlers = []

    class Colour(enum.Enum):
        RED = 1
        GREEN = enum.auto()

    class Bits(enum.Flag):
        A, B, C = 1, 2, 4

    Colour(1), Colour["GREEN"], repr(Bits.A | Bits.C), list(Colour)
    copy.deepcopy({"a": [Plain(1), {2}], "b": (3, [4])})
    stream = io.BytesIO()
    pickle._Pickler(stream, 4).dump([{"a": (1, 2)}, Plain(3), "x" * 300])
    pickle._Unpickler(io.BytesIO(stream.getvalue())).load()
    random.Random(5).shuffle(list(range(50)))
    list(heapq.merge([1, 4], [2, 3], key=lambda n: n))
