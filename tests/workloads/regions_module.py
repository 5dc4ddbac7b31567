# SPDX-License-Identifier: BSD-3-Clause
"""What probes/python/pikos.py does to the functions that it decorates, with probes that only count.

Run by each interpreter; prints `all passed` at last.
"""

import functools
import inspect
import os
import sys

os.environ.update(PIKOS_AGENT="/nonexistent", PIKOS_TRACE="/nonexistent")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import pikos  # noqa: E402

depth = 0
seen = []  # the depth at each note()


def note(value=None):
    seen.append(depth)
    return value


def count(step):
    def probe():
        global depth
        depth += step

    return probe


def armed(function):
    """Run as a test, with somebody attached."""
    global depth
    pikos._wanted = pikos._semaphore = True
    pikos._enter, pikos._leave = count(1), count(-1)
    depth, seen[:] = 0, []
    function()
    assert depth == 0, f"{function.__name__}: {depth} regions were not left"
    pikos._wanted = pikos._semaphore = False


def raises(error, function, *arguments):
    try:
        function(*arguments)
    except error as caught:
        return caught
    raise AssertionError(f"no {error.__name__}")


def finish(coroutine):
    """Run a coroutine that never waits, or waits for nothing."""
    while True:
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value


monitor = pikos.monitor_functions()


@armed
def functions():
    @monitor
    def work(a, *, b=2):
        """Documented."""
        return note((a, b))

    assert work(1, b=3) == (1, 3) and work(1) == (1, 2)
    assert (work.__name__, work.__doc__) == ("work", "Documented.")
    assert work.__wrapped__.__name__ == "work" and str(inspect.signature(work)) == "(a, *, b=2)"
    assert work.__code__.co_name == "<pikos>" != work.__wrapped__.__code__.co_name
    assert str(raises(TypeError, work)).startswith("functions.<locals>.work()") or \
        sys.version_info < (3, 10)
    note()
    assert seen == [1, 1, 0]

    @monitor
    def fails():
        note()
        raise ValueError(7)

    assert raises(ValueError, fails).args == (7,)

    @pikos.monitor_lines
    def bare():
        return note("bare")

    @pikos.monitor_lines(focus_on="x")(include_decorated=True)
    def nested():
        return bare()

    assert nested() == "bare" and seen == [1, 1, 0, 1, 2]


@armed
def classes():
    class Class:
        @monitor
        def method(self):
            return note(self)

        @monitor
        @staticmethod
        def static(value):
            return note(value)

        @classmethod
        @monitor
        def made(cls):
            return note(cls)

        @property
        @monitor
        def value(self):
            return note(8)

    it = Class()
    assert it.method() is it and it.static(5) == 5 and Class.made() is Class and it.value == 8
    assert seen == [1] * 4
    raises(TypeError, monitor, Class)
    raises(TypeError, monitor, 7)


@armed
def generators():
    @monitor
    def numbers(first):
        got = yield note(first)
        try:
            got = yield note(got)
        except KeyError as error:
            got = yield note(error.args[0])
        return note(got)

    assert inspect.isgeneratorfunction(numbers)
    it = numbers(1)
    assert note(next(it)) == 1 and note(it.send(2)) == 2 and it.throw(KeyError(3)) == 3
    assert raises(StopIteration, it.send, 4).value == 4
    assert seen == [1, 0, 1, 0, 1, 1]

    ended = []

    @monitor
    def closed():
        try:
            yield 1
        finally:
            ended.append(note())

    it = closed()
    next(it)
    it.close()
    assert ended == [None] and seen[-1] == 1
    raises(ZeroDivisionError, next(it_ := (lambda: [closed()])()[0]) and it_.throw,
           ZeroDivisionError())

    @monitor
    def stubborn():
        while True:
            try:
                yield note()
            except GeneratorExit:
                pass

    it = stubborn()
    next(it)
    raises(RuntimeError, it.close)

    @monitor
    def delegates():
        return (yield from numbers(1))

    it = delegates()
    assert [next(it), it.send(5)] == [1, 5] and seen[-2:] == [2, 2]


@armed
def coroutines():
    class Turn:
        def __await__(self):
            return (yield note())

    @monitor
    async def inner(value):
        note()
        await Turn()
        return note(value)

    @monitor
    async def outer():
        try:
            await fails()
        except ValueError:
            note()
        return await inner(3) + await inner(4)

    @monitor
    async def fails():
        raise ValueError

    assert inspect.iscoroutinefunction(inner)
    assert finish(inner(2)) == 2 and seen == [1] * 3
    assert finish(outer()) == 7 and seen[3:] == [1] + [2] * 6, seen
    it = inner(1)
    it.send(None)
    raises(KeyError, it.throw, KeyError())
    inner(1).close()  # never begun

    async def loop():
        import asyncio

        return await asyncio.gather(inner_sleep(1), inner_sleep(2))

    @monitor
    async def inner_sleep(value):
        import asyncio

        await asyncio.sleep(0)
        return note(value)

    import asyncio

    assert asyncio.run(loop()) == [1, 2] and seen[-2:] == [1, 1]


@armed
def async_generators():
    ended = []

    @monitor
    async def stream(n):
        try:
            for number in range(n):
                got = yield note(number)
                if got:
                    note(got)
        except KeyError:
            yield note("caught")
        finally:
            ended.append(note())

    assert inspect.isasyncgenfunction(stream)

    async def main():
        assert [note(number) async for number in stream(3)] == [0, 1, 2]
        assert seen == [1, 0] * 3 + [1], seen
        it = stream(9)
        assert await it.asend(None) == 0 and await it.asend("x") == 1
        assert await it.athrow(KeyError()) == "caught"
        await it.aclose()
        it = stream(2)
        await it.asend(None)
        await it.aclose()
        assert len(ended) == 3
        it = stream(2)
        await it.asend(None)
        try:
            await it.athrow(OSError("y"))
        except OSError as error:
            return error.args

    assert finish(main()) == ("y",) and len(ended) == 4


@armed
def blocks():
    with monitor as same:
        assert note(same) is monitor
        with monitor:
            note()
    with monitor:
        raises(KeyError, {}.__getitem__, note())
    monitor.enable()
    monitor.enable()
    note()
    monitor.disable()
    note()
    monitor.disable()
    note()
    try:
        with monitor:
            raise OSError
    except OSError:
        note()
    assert seen == [1, 2, 1, 2, 1, 0, 0], seen


@armed
def two_monitors():
    other = pikos.memory_on_lines()
    with monitor, other:
        note()
    other.close()
    assert seen == [2]


def idle():
    """Nobody is attached."""
    fresh = pikos.monitor_functions()
    pikos._enter = pikos._leave = None  # calling them fails

    @fresh
    def work():
        return 3

    with fresh:
        assert work() == 3

    def fails():
        with fresh:
            raise KeyError("passes")

    assert raises(KeyError, fails).args == ("passes",)
    fresh.enable()
    fresh.disable()
    fresh.disable()
    fresh.close()

    @fresh
    def numbers():
        yield 1

    pikos._enter = pikos._leave = count(0)
    assert list(numbers()) == [1]
    assert pikos.state().startswith("nothing"), pikos.state()


def arrives_meanwhile():
    """Somebody attaches, and goes, while a block is open: leaving what was not entered is fine."""
    calls = []
    pikos._enter, pikos._leave = lambda: calls.append("enter"), lambda: calls.append("leave")
    fresh = pikos.monitor_functions()
    with fresh:
        pikos._wanted = pikos._semaphore = True
        with fresh:
            calls.append("inside")
    assert calls == ["enter", "inside", "leave", "leave"], calls
    with fresh:
        pikos._wanted = pikos._semaphore = False
    assert calls[4:] == ["enter"]


def focus_words():
    here = os.path.abspath(__file__)

    @functools.lru_cache
    def cached():
        pass

    def plain():
        pass

    decorated = monitor(plain)
    class Class:
        def method(self):
            pass

    line = plain.__code__.co_firstlineno
    word = pikos._focus_word
    assert word(cached) == f"{here}:{cached.__wrapped__.__code__.co_firstlineno}"
    assert word(plain) == word(decorated) == f"{here}:{line}"
    assert word(functools.partial(plain)) == word(plain)
    assert word(Class().method) == word(Class.method)
    assert word(lambda: 0) == f"{here}:<lambda>" and word("a.b") == "a.b"
    for wrong in (len, 7, Class, None):
        raises(TypeError, word, wrong)
    made = {}
    exec("def made(): pass", made)
    assert word(made["made"]) == "made"
    raises(TypeError, pikos.monitor_lines, None, [len])
    raises(TypeError, pikos.monitor_lines, "x.csv")
    every = pikos.monitor_lines(focus_on=["x"], include_decorated=True)
    every(plain)
    assert every.words == ["x", word(plain)]


def recorders():
    assert pikos.screen().start() == (["--recording", "screen"], None, 0)
    assert pikos.zmq("tcp://127.0.0.1:7", pattern="push", wait=True).start()[0] == \
        "--recording zmq --zmq-endpoint tcp://127.0.0.1:7 --zmq-pattern push --zmq-wait".split()
    name = os.path.abspath("joined.csv")
    recorder = pikos.csvfile("joined.csv")
    try:
        words, fd, size = recorder.start()
        assert (words, size) == (["--recording", "csv", "-o", name], 0)
        assert "another process writes" in str(raises(OSError, pikos.csvfile(name).start))
        os.close(fd)
        with open(name, "wb") as stream:
            stream.write(b"a,b\r\n1,2\r\n")
        for row in (b"3,4\r\n", b"x" * (3 << 20), b""):
            words, fd, size = recorder.start()
            assert words[-1] == f"/dev/fd/{fd}" and size == os.path.getsize(name)
            os.write(fd, b"a,b\r\n" + row)
            recorder.join(fd, size)
            os.close(fd)
        with open(name, "rb") as stream:
            assert stream.read() == b"a,b\r\n1,2\r\n3,4\r\n" + b"x" * (3 << 20)
        os.unlink(name)  # then it is begun anew
        words, fd, size = recorder.start()
        assert words[-1] == name and not size
        os.close(fd)
        os.unlink(name)
        os.symlink("elsewhere", name)
        raises(OSError, recorder.start)
    finally:
        os.unlink(name)
    assert pikos.textfile("/dev/null").start() == (
        ["--recording", "text", "-o", "/dev/null"], None, 0)


os.chdir(os.path.dirname(os.path.abspath(__file__)))
for each in (idle, arrives_meanwhile, focus_words, recorders):
    each()
print("all passed")
