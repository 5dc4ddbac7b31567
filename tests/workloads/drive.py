# SPDX-License-Identifier: BSD-3-Clause
"""Run one case of cases.py: plainly, to be traced, or under the interpreter's own tracing.

Usage: drive.py {plain,functions,lines} CASE

`functions` and `lines` are the oracle: they record with sys.setprofile and sys.settrace what the
tracer ought to see, and leave it as the workload's result. Everything between the markers is the
same in all modes.
"""

import gc
import sys
import threading

import cases
import stage


def run(case):
    cases.begin_marker()
    case()
    cases.end_marker()


def line_of(frame):
    """What a probe passes for a frame without a line is -1."""
    line = frame.f_lineno
    return -1 if line is None else line


# CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR: frames that are resumed
RESUMABLE = 0x20 | 0x80 | 0x200


def mark_throws(events):
    """From 3.12 on, tell the `call` that is a throw() into a generator from others.

    sys.setprofile calls both a `call`; the interpreter's entry probe fires for one. Our callback
    runs right behind setprofile's own.
    """
    monitoring = getattr(sys, "monitoring", None)
    if not monitoring:
        return

    def mark(code, offset, error):
        thread, kind, *rest = events[-1]
        if kind == "call" and rest[0] == code.co_name:
            events[-1] = (thread, "close" if isinstance(error, GeneratorExit) else "throw", *rest)

    tool = monitoring.OPTIMIZER_ID
    monitoring.use_tool_id(tool, "drive.py")
    monitoring.register_callback(tool, monitoring.events.PY_THROW, mark)
    monitoring.set_events(tool, monitoring.events.PY_THROW)


def function_recorder(events):
    """Events are (thread, kind, name, line, file, first line of the function).

    kind is what sys.setprofile says, but `throw` for the call that is a throw() into a generator
    and `close` where what is thrown is a GeneratorExit, on 3.12 and later.
    """
    append = events.append
    ident = threading.get_native_id
    mark_throws(events)

    def profile(frame, event, argument):
        if event == "call" or event == "return":
            code = frame.f_code
            append((ident(), event, code.co_name, line_of(frame), code.co_filename,
                    code.co_firstlineno))

    return profile


def is_resumed(frame):
    """Whether a generator's frame is called again: 3.11's RESUME says 0 at a function's start."""
    at = frame.f_lasti
    return at >= 0 and (sys.version_info < (3, 11) or frame.f_code.co_code[at + 1] != 0)


def line_recorder(events):
    """Events are (thread, kind, name, line, file, first line of the function).

    kind says where CPython 3.11's line probe may differ from settrace:
    `line`       nowhere;
    `first`      a frame's first line, when it is the line of its definition too (lambdas,
                 comprehensions, class bodies, def f(): pass): the probe stays silent;
    `generator`  a line of a frame that is resumed: the probe may repeat it while there;
    `again`      the same line of such a frame as before: the probe may stay silent;
    `resume`     no event of settrace's: such a frame goes on within a line.
    """
    append = events.append
    ident = threading.get_native_id
    # By id of the frame: a reference would keep its variables alive.
    last = {}  # line of a frame that can be resumed
    entry = {}  # line of a frame that has not reported one yet

    def trace(frame, event, argument):
        if event != "call" and event != "line":
            return trace
        code = frame.f_code
        line = line_of(frame)
        resumable = code.co_flags & RESUMABLE
        if event == "call":
            if resumable and is_resumed(frame):
                kind = "resume"
                line = last.get(id(frame), line)
            else:
                entry[id(frame)] = line
                last.pop(id(frame), None)  # of an earlier frame at this address
                return trace
        else:
            kind = "generator" if resumable else "line"
            if entry.pop(id(frame), None) == line:
                kind = "first"
            elif resumable and last.get(id(frame)) == line:
                kind = "again"
            if resumable:
                last[id(frame)] = line
        append((ident(), kind, code.co_name, line, code.co_filename, code.co_firstlineno))
        return trace

    return trace


def main():
    mode, name = sys.argv[1:]
    case = getattr(cases, "case_" + name)
    # What a collection runs (finalisers, weak references' callbacks) depends on how much was
    # allocated, which the recording itself changes.
    gc.disable()
    getattr(cases, "prepare_" + name, cases.prepare)()
    events = []
    stage.ready()
    stage.wait_go()
    if mode == "functions":
        recorder = function_recorder(events)
        threading.setprofile(recorder)
        cases.start_threads(name)
        sys.setprofile(recorder)
        run(case)
        sys.setprofile(None)
    elif mode == "lines":
        recorder = line_recorder(events)
        threading.settrace(recorder)
        cases.start_threads(name)
        sys.settrace(recorder)
        run(case)
        sys.settrace(None)
    else:
        cases.start_threads(name)
        run(case)
    cases.stop_threads()
    if mode != "plain":
        stage.result(events)


if __name__ == "__main__":
    main()
