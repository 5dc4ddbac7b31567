# SPDX-License-Identifier: BSD-3-Clause
"""Say in a program's own code what is to be recorded of it. CPython 3.9 to 3.15, one file.

    import pikos

    @pikos.monitor_functions(recorder=pikos.csvfile("calls.csv"))
    def work():
        ...

    with pikos.memory_on_lines(recorder=pikos.textfile("memory.log"), focus_on=[work]):
        work()

Monitors
    monitor_functions    calls, returns and calls of C functions, with all that they call
    monitor_lines        lines
    memory_on_functions  the same as the first, with RSS and VMS at each
    memory_on_lines      the same as the second, with RSS and VMS at each

    Each takes (recorder=screen(), focus_on=None, include_decorated=False, options=()) and returns
    a monitor, which is

    - a decorator of functions, methods, generators, coroutines and asynchronous generators:
      @monitor, or @monitor(include_decorated=True), or @monitor_functions alone;
    - a context manager: `with monitor:`;
    - a switch: monitor.enable(), monitor.disable().

    All of these nest and are counted: a region ends when it was left as often as it was entered.
    A region belongs to a thread: what other threads do meanwhile is not recorded, unless they are
    inside a region of their own. A decorated generator or coroutine is inside while it runs, not
    while it waits.

    focus_on       functions or methods, or words as `pikos-trace --focused-on` takes them. Of a
                   monitor of functions: record what runs inside of them; of lines: their lines.
    include_decorated
                   the decorated functions are focused on, too.
    options        more words for the command line of pikos-trace: ["--fields", "+time"].

Recorders
    screen()             standard output
    textfile(name)       default monitor_records.log
    csvfile(name)        default monitor_records.csv
    zmq(endpoint, ...)   default tcp://127.0.0.1:9001; pattern="push", encoding="msgpack", wait=True

What happens in a region
    The records are made by pikos-trace ($PIKOS_TRACE, else that of PATH).

    1. If another pikos-trace with --regions is attached to the process already, it records.
    2. Else, as root or with the capabilities that it takes, the first region starts a pikos-trace
       on the own process, with --source agent unless the options say otherwise, and waits until
       it records, which takes some tenths of a second. It is
       ended, and what it wrote is complete, when the outermost `with` or enable() is left; for
       decorated functions, which are called again, at the exit of the program or by
       monitor.close(). monitor.totals says then what was seen, written, filtered and lost.
    3. Else the region is only marked, for who attaches later: `pikos-trace --regions -p PID` in
       another terminal. This takes the agent's library, libpikos-agent.so: $PIKOS_AGENT, or
       beside pikos-trace, or in ../lib/pikos from there. It is loaded when the first monitor is
       made, and does nothing by itself.
    4. Without all of this nothing happens.

    In the cases 3 and 4 a region costs less than 200 ns while nobody is attached. Nothing here
    ever raises because tracing is not possible: what went wrong is said once on standard error,
    and state() says which of the cases it is.

    A file is written anew by the first region of a recorder and appended to by later ones; their
    indices start from 0 again. One monitor of a process records at a time: regions of a second
    one count for nothing while the first is inside. Forked children mark regions, but start no
    pikos-trace; nor do other processes for a file that is being written.
"""

import functools
import os
import sys
import threading

__all__ = ["monitor_functions", "monitor_lines", "memory_on_functions", "memory_on_lines",
           "screen", "textfile", "csvfile", "zmq", "state"]

_REGION_ENTER, _REGION_LEAVE, _REGION_SEMAPHORE = 2, 3, 4  # enum agent_request of agent.h
_MARK = "<pikos>"  # WIRE_REGION_MARK of wire.h: functions of this name are no events of a region
_LIBRARY = "libpikos-agent.so"
_WITHIN = 60  # seconds for pikos-trace to start or to end; more only if something hangs

# The whole cost while nobody is attached: that _wanted is false. It is the semaphore of the probe
# region__enter, a ctypes.c_ushort which the kernel raises, or True while we may start a
# pikos-trace.
_wanted = False
_semaphore = False
_enter = _leave = lambda: 0
_lock = threading.RLock()
_tracer = None  # the pikos-trace that we have started
_starting = False
_prepared = False
_said = set()


def _marked(function):
    code = function.__code__
    # Up to 3.10 a function that says it is nested (CO_NESTED) is not called on the fast path.
    changes = {"co_name": _MARK, "co_flags": code.co_flags & ~0x10}
    if hasattr(code, "co_qualname"):
        changes["co_qualname"] = _MARK
    function.__code__ = code.replace(**changes)
    return function


# ------------------------------------------------------------------ what there is


def _find_trace():
    named = os.environ.get("PIKOS_TRACE")
    if named:
        return os.path.abspath(named) if os.access(named, os.X_OK) else None
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(directory or ".", "pikos-trace")
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return os.path.abspath(path)
    return None


def _library_names():
    named = os.environ.get("PIKOS_AGENT")
    if named:
        yield named
        return
    trace = _find_trace()
    if trace:
        directory = os.path.dirname(os.path.realpath(trace))
        yield os.path.join(directory, _LIBRARY)
        yield os.path.join(directory, "..", "lib", "pikos", _LIBRARY)
    here = os.path.dirname(os.path.realpath(__file__))
    yield os.path.join(here, "..", "..", "lib", "pikos", _LIBRARY)  # from share/pikos
    yield os.path.join("/usr/local/lib/pikos", _LIBRARY)
    yield os.path.join("/usr/lib/pikos", _LIBRARY)


def _load_agent():
    """The agent's one function: of the library that is loaded already, else load it."""
    import ctypes

    def entry(library):
        function = library.pikos_agent
        function.argtypes, function.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_int
        return function

    try:
        return entry(ctypes.PyDLL(None))  # pikos-trace has loaded it for all to see
    except AttributeError:
        pass
    for name in _library_names():
        if os.path.isfile(name):
            return entry(ctypes.PyDLL(os.path.realpath(name), mode=ctypes.RTLD_GLOBAL))
    return None


def _watch_semaphore():
    global _semaphore, _enter, _leave
    try:
        import ctypes

        agent = _load_agent()
        address = ctypes.c_void_p()
        if not agent or agent(_REGION_SEMAPHORE, ctypes.byref(address)) or not address.value:
            return
        _enter = functools.partial(agent, _REGION_ENTER, None)
        _leave = functools.partial(agent, _REGION_LEAVE, None)
        _semaphore = ctypes.c_ushort.from_address(address.value)
    except (ImportError, OSError, AttributeError) as error:
        _say(f"cannot load {_LIBRARY}: {error}")


def _capabilities(which):
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(which + ":"):
                return int(line.split()[1], 16)
    return 0


def _may_drive():
    """Whether it is worth a try; whoever runs pikos-trace has the last word."""
    trace = _find_trace()
    if not trace or _semaphore is False:
        return False
    try:
        admin = 1 << 21  # CAP_SYS_ADMIN
        if os.geteuid() == 0 and _capabilities("CapEff") & admin:
            return True
        return bool(_capabilities("CapAmb") & admin or os.stat(trace).st_mode & 0o4000
                    or "security.capability" in os.listxattr(trace))
    except OSError:
        return False


def _prepare():
    """Once, when the first monitor is made."""
    global _prepared, _wanted
    with _lock:
        if _prepared:
            return
        _prepared = True
        if not sys.platform.startswith("linux"):
            return
        _watch_semaphore()
        _wanted = True if _may_drive() else _semaphore
        os.register_at_fork(after_in_child=_forget)


@_marked
def _forget():
    """In a forked child: the pikos-trace and its files are the parent's."""
    global _tracer, _wanted, _lock, _starting
    _lock = threading.RLock()
    _starting = False
    if _tracer:
        _tracer.disown()
    _tracer = None
    _wanted = _semaphore


@_marked
def _say(text):
    """Once per text. No call of a Python function, since it may be inside of a region."""
    if text in _said:
        return
    _said.add(text)
    try:
        sys.stderr.write(f"pikos: {text}\n")
    except (AttributeError, OSError, ValueError):
        pass  # there is none, or it is closed


def state():
    """One line on what regions do in this process now."""
    _prepare()
    if _tracer:
        return f"recording by {_tracer.command[0]}"
    if _semaphore:
        return "recorded by a pikos-trace that is attached"
    if _wanted is True:
        return f"will be recorded by {_find_trace()}"
    if _semaphore is False:
        return f"nothing: no {_LIBRARY} was found"
    return f"marked, for `pikos-trace --regions -p {os.getpid()}`"


# ------------------------------------------------------------------ recorders


class _Recorder:
    """How records are written: the part of pikos-trace's command line that says so."""

    def __init__(self, recording, path=None, words=(), header_lines=0):
        self.recording = recording
        self.path = path if path in (None, "-") else os.path.abspath(path)
        self.words = list(words)
        self.header_lines = header_lines
        self.used = False

    def start(self):
        """Return (words, descriptor of the file or None, its size if it is to be appended to)."""
        words = ["--recording", self.recording, *self.words]
        if self.path is None:
            return words, None, 0
        if self.path == "-" or (os.path.exists(self.path) and not os.path.isfile(self.path)):
            return [*words, "-o", self.path], None, 0
        fd = self._own()
        size = os.fstat(fd).st_size if self.used else 0
        self.used = True
        return [*words, "-o", f"/dev/fd/{fd}" if size else self.path], fd, size

    def _own(self):
        """Open the file for us alone: a process that multiprocessing has started runs the same
        code, and would empty it."""
        import fcntl

        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self.path, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            raise OSError(f"another process writes '{self.path}'") from error
        return fd

    def join(self, fd, size):
        """What was appended starts with a header like the file's: take it out."""
        header = b"".join(os.pread(fd, 1 << 16, 0).splitlines(True)[:self.header_lines])
        if os.pread(fd, len(header), size) != header:
            return
        with open(self.path, "r+b") as stream:
            at, chunk = size, b"?"
            while chunk:
                stream.seek(at + len(header))
                chunk = stream.read(1 << 20)
                stream.seek(at)
                at += stream.write(chunk)
            stream.truncate(at)


def screen():
    """Records on standard output."""
    return _Recorder("screen")


def textfile(filename=None):
    """Records as lines of a text file, by default monitor_records.log."""
    return _Recorder("text", filename or "monitor_records.log", header_lines=2)


def csvfile(filename=None):
    """Records as CSV, by default in monitor_records.csv."""
    return _Recorder("csv", filename or "monitor_records.csv", header_lines=1)


def zmq(endpoint=None, pattern=None, encoding=None, wait=False):
    """Records over ZeroMQ: endpoint tcp://127.0.0.1:9001, pattern "pub" or "push", encoding
    "json" or "msgpack"; wait for a consumer's handshake before the first record."""
    words = []
    for option, value in (("endpoint", endpoint), ("pattern", pattern), ("encoding", encoding)):
        if value:
            words += [f"--zmq-{option}", value]
    return _Recorder("zmq", words=words + (["--zmq-wait"] if wait else []))


# ------------------------------------------------------------------ pikos-trace on ourselves


class _Tracer:
    """A pikos-trace that records this process, from when `attached`."""

    def __init__(self, monitor):
        import subprocess

        trace = _find_trace()
        if not trace:
            raise OSError("pikos-trace is gone")
        words, self.fd, self.size = monitor.recorder.start()
        self.monitor, self.words, self.text = monitor, monitor.words, b""
        self.command = [trace, monitor.kind, "--regions", "-v", *words]
        for each in self.words:
            self.command += ["--focused-on", each]
        if not any(word.startswith("--source") for word in monitor.options):
            self.command += ["--source", "agent"]  # every version, and C calls as Pikos has them
        self.command += [*monitor.options, "-p", str(os.getpid())]
        if monitor.recorder.recording == "screen" and sys.stdout:
            sys.stdout.flush()
        _permit(-1)  # PR_SET_PTRACER_ANY: until it has a number
        # Its own session: Ctrl-C is for the program, which may go on.
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
            pass_fds=(self.fd,) if self.size else (), start_new_session=True)
        _permit(self.process.pid)
        # With a handshake it starts when a consumer comes.
        within = float("inf") if "--zmq-wait" in words else _WITHIN
        try:
            self.attached = self._read(b": tracing PID", within)
        except BaseException:  # Ctrl-C
            self.end()
            raise

    def _read(self, wanted, within):
        """Read what it says until a line has `wanted`, at most to its end; whether one has."""
        import select
        import time

        deadline = time.monotonic() + within
        fd = self.process.stderr.fileno()
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        while not (wanted and any(wanted in line for line in self.text.split(b"\n")[:-1])):
            left = min(max(0, deadline - time.monotonic()), 1000)
            if not poll.poll(left * 1000):
                if left:
                    continue
                return False
            got = os.read(fd, 1 << 16)
            if not got:
                return not wanted
            self.text += got
        return True

    def alive(self):
        return self.process.poll() is None

    def end(self):
        """Have it stop; when this returns what it wrote is complete."""
        import signal
        import subprocess

        if self.alive():
            self.process.send_signal(signal.SIGINT)
        self._read(None, _WITHIN)
        try:
            self.process.wait(_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.returncode < 0:
            _await_keeper()
        self.process.stderr.close()
        _permit(0)
        if self.fd is not None:
            if self.size:
                self.monitor.recorder.join(self.fd, self.size)
            os.close(self.fd)
        for line in self.text.decode(errors="backslashreplace").splitlines():
            if line.startswith("seen="):
                pairs = (word.split("=") for word in line.split())
                self.monitor.totals = {key: int(value) for key, value in pairs}
            elif ": tracing PID" not in line and "has stopped PID" not in line:
                _say(line)

    def disown(self):
        self.process.returncode = 0  # not our child: nothing to wait for
        self.process.stderr.close()
        if self.fd is not None:
            os.close(self.fd)


def _await_keeper():
    """A pikos-trace that was killed leaves a process that detaches: until then it looks as if
    somebody else were attached, who may be."""
    import time

    deadline = time.monotonic() + 2
    while _semaphore and time.monotonic() < deadline:
        time.sleep(0.005)


def _permit(pid):
    """Let a process trace us where Yama wants to be asked."""
    import ctypes

    try:
        with open("/proc/sys/kernel/yama/ptrace_scope") as scope:
            if scope.read().strip() != "1":
                return
    except OSError:
        return  # no Yama
    pr_set_ptracer = 0x59616d61
    ctypes.CDLL(None).prctl(pr_set_ptracer, ctypes.c_ulong(pid % (1 << 64)), 0, 0, 0)


def _start(monitor):
    global _tracer, _wanted
    import atexit

    atexit.unregister(_end_tracer)
    atexit.register(_end_tracer)  # last registered, first called
    try:
        tracer = _Tracer(monitor)
    except (OSError, ValueError) as error:  # ValueError: NUL in a word
        _say(f"cannot record: {error}")
        monitor.is_over = True
        return
    if tracer.attached:
        _tracer = tracer
        return
    tracer.end()  # and say why
    monitor.is_over = True
    if tracer.process.returncode != 2:  # no usage error: others would be refused, too
        _wanted = _semaphore


def _end_tracer():
    global _tracer
    with _lock:
        tracer, _tracer = _tracer, None
        if tracer:
            tracer.end()


@_marked
def _is_ours(monitor):
    """At the outermost entry of a monitor: is there something to be done for its records? To find
    out that there is not must not be seen, since a region of somebody else may be open, and is to
    be quick. A semaphore that is down says that our pikos-trace has ended."""
    if not _tracer:
        return not _semaphore and not monitor.is_over
    if _tracer.monitor is monitor:
        return not _semaphore or _tracer.words is not monitor.words
    if not _tracer.monitor.open:
        return True
    _say("a second monitor records nothing while the first is inside of a region")
    return False


def _drive(monitor):
    """Have the records of a monitor made, whose region is the only one that is open."""
    if _tracer:
        if not _semaphore or not _tracer.alive():  # --max-records, --duration, or killed
            _tracer.monitor.is_over = True
        _end_tracer()
    if not _semaphore and not monitor.is_over:  # else somebody else's
        _start(monitor)


@_marked
def _begin(monitor):
    global _starting
    if monitor.idle:
        for end in monitor.idle:
            end.__setstate__((monitor.leave, (), {}, None))
        monitor.idle = None
    if _wanted is not _semaphore:
        with _lock:
            monitor.open += 1
            if monitor.open == 1 and not _starting and _is_ours(monitor):
                _starting = True
                try:
                    _drive(monitor)
                finally:
                    _starting = False
    if _semaphore and (_tracer is None or _tracer.monitor is monitor):
        _enter()


@_marked
def _finish(monitor, is_over):
    if _semaphore and (_tracer is None or _tracer.monitor is monitor):
        _leave()
    if _wanted is not _semaphore:
        with _lock:
            monitor.open = max(0, monitor.open - 1)
            if is_over and not monitor.open and _tracer and _tracer.monitor is monitor:
                _end_tracer()


# ------------------------------------------------------------------ monitors


# The cheapest that takes any arguments, keeps none and returns something false: {}.
_NOTHING = type.__prepare__


class Monitor:
    """See the functions that make one. Not for subclassing.

    While nobody is attached a region is one Python call: leaving it is as good as nothing, until
    an entry has found that it is wanted. `with` looks for both ends before it enters, so what it
    finds is an object that is told then what to do. Each monitor has a class of its own: its ends
    are called without looking for the monitor first.
    """

    def __new__(cls, *_):
        return super().__new__(type("Monitor", (cls,), {}))

    def __init__(self, kind, recorder, focus_on, include_decorated, options):
        if recorder is not None and not isinstance(recorder, _Recorder):
            raise TypeError("recorder= takes screen(), textfile(), csvfile() or zmq()")
        if isinstance(focus_on, str) or callable(focus_on):
            focus_on = [focus_on]
        self.kind = kind
        self.recorder = recorder or screen()
        self.include_decorated = include_decorated
        self.options = [str(word) for word in options]
        self.decorates = False
        self.open = 0  # regions of all threads, while we may start a pikos-trace
        self.is_over = False  # its pikos-trace was refused, or has ended by itself
        self.totals = None
        self.words = [_focus_word(each) for each in focus_on or ()]  # of --focused-on
        self.enable, self.leave, self.idle = _ends(self)
        self.disable = self.idle[0]
        type(self).__enter__ = staticmethod(self.enable)
        # A partial is no method before 3.14.
        type(self).__exit__ = \
            staticmethod(self.idle[1]) if hasattr(self.idle[1], "__get__") else self.idle[1]
        _prepare()

    def close(self):
        """End the pikos-trace that was started for it. A later region starts another."""
        with _lock:
            if _tracer and _tracer.monitor is self:
                _end_tracer()

    def __call__(self, function=None, *, include_decorated=None):
        if include_decorated is None:
            include_decorated = self.include_decorated
        if function is None:
            return functools.partial(self, include_decorated=include_decorated)
        return self._decorate(function, include_decorated)

    attach = __call__  # as Pikos has it

    def _decorate(self, function, include_decorated):
        if isinstance(function, (staticmethod, classmethod)):
            return type(function)(self._decorate(function.__func__, include_decorated))
        if isinstance(function, type) or not callable(function):
            raise TypeError(f"cannot monitor {function!r}: it is no function")
        if include_decorated:
            self.words = [*self.words, _focus_word(function)]
        self.decorates = True
        flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
        if flags & 0x200:  # CO_ASYNC_GENERATOR
            wrapper = _wrap_async_generator(self, function)
        elif flags & 0x80:  # CO_COROUTINE
            wrapper = _wrap_coroutine(self, function)
        elif flags & 0x20:  # CO_GENERATOR
            wrapper = _wrap_generator(self, function)
        else:
            wrapper = _wrap_function(self, function)
        return functools.update_wrapper(wrapper, function)


def _ends(monitor):
    """What enters a region of the monitor, what leaves it, and what leaves it while nobody is
    attached: of enable() and of `with`. A default is found faster than a variable of a closure,
    up to 3.10."""

    @_marked
    def enter(monitor=monitor):
        if _wanted:
            _begin(monitor)
        return monitor

    @_marked
    def leave(*_):
        _finish(monitor, not monitor.decorates)

    return enter, leave, (functools.partial({}.clear), functools.partial(_NOTHING))


def _wrap_function(monitor, function):
    @_marked
    def wrapper(*args, **kwargs):
        if not _wanted:
            return function(*args, **kwargs)
        _begin(monitor)
        try:
            return function(*args, **kwargs)
        finally:
            _finish(monitor, False)

    return wrapper


def _wrap_generator(monitor, function):
    @_marked
    def wrapper(*args, **kwargs):
        return (yield from _steps(monitor, function(*args, **kwargs)))

    return wrapper


def _wrap_coroutine(monitor, function):
    @_marked
    async def wrapper(*args, **kwargs):
        return await _Awaited(monitor, function(*args, **kwargs))

    return wrapper


def _wrap_async_generator(monitor, function):
    @_marked
    async def wrapper(*args, **kwargs):
        generator = function(*args, **kwargs)
        step = generator.asend(None)
        while True:
            try:
                item = await _Awaited(monitor, step)
            except StopAsyncIteration:
                return
            try:
                step = generator.asend((yield item))
            except GeneratorExit:
                await _Awaited(monitor, generator.aclose())
                raise
            except BaseException as error:
                step = generator.athrow(error)

    return wrapper


class _Awaited:
    """An awaitable whose every step is a region."""

    def __init__(self, monitor, awaitable):
        self.monitor, self.awaitable = monitor, awaitable

    @_marked
    def __await__(self):
        awaitable = self.awaitable
        if not hasattr(awaitable, "send"):
            awaitable = awaitable.__await__()
        return _steps(self.monitor, awaitable)


@_marked
def _steps(monitor, inner):
    """`yield from inner`, inside of a region while it runs; as PEP 380 spells it out."""
    step, argument = inner.send, None
    while True:
        _begin(monitor)
        try:
            item = step(argument)
        except StopIteration as stop:
            return stop.value
        finally:
            _finish(monitor, False)
        try:
            step, argument = inner.send, (yield item)
        except GeneratorExit:
            _begin(monitor)
            try:
                inner.close()
            finally:
                _finish(monitor, False)
            raise
        except BaseException as error:
            step, argument = inner.throw, error


def _focus_word(function):
    """The word of --focused-on for a function: where it is defined, else its name."""
    if isinstance(function, str):
        return function
    function = getattr(function, "__func__", function)
    function = getattr(function, "func", function)  # functools.partial
    code = getattr(function, "__code__", None)
    if not code and hasattr(function, "__wrapped__"):  # functools.lru_cache and the like
        return _focus_word(function.__wrapped__)
    if code and code.co_name == _MARK:  # decorated by us
        return _focus_word(function.__wrapped__)
    if not code:
        raise TypeError(f"cannot focus on {function!r}: it is no Python function")
    path = os.path.abspath(code.co_filename)
    if "," in path or not os.path.isfile(path):
        return code.co_name
    if code.co_name.startswith("<"):
        return f"{path}:{code.co_name}"
    return f"{path}:{code.co_firstlineno}"


def _make(kind, recorder, focus_on, include_decorated, options):
    if callable(recorder) and not isinstance(recorder, _Recorder):
        return Monitor(kind, None, focus_on, include_decorated, options)(recorder)
    return Monitor(kind, recorder, focus_on, include_decorated, options)


def monitor_functions(recorder=None, focus_on=None, include_decorated=False, options=()):
    """A monitor of calls and returns. See the module."""
    return _make("functions", recorder, focus_on, include_decorated, options)


def monitor_lines(recorder=None, focus_on=None, include_decorated=False, options=()):
    """A monitor of lines. See the module."""
    return _make("lines", recorder, focus_on, include_decorated, options)


def memory_on_functions(recorder=None, focus_on=None, include_decorated=False, options=()):
    """A monitor of calls and returns, with RSS and VMS. See the module."""
    return _make("function_memory", recorder, focus_on, include_decorated, options)


def memory_on_lines(recorder=None, focus_on=None, include_decorated=False, options=()):
    """A monitor of lines, with RSS and VMS. See the module."""
    return _make("line_memory", recorder, focus_on, include_decorated, options)
