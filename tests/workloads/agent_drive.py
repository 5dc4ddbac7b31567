# SPDX-License-Identifier: BSD-3-Clause
"""Run cases one after the other: plainly, to be traced, or under the interpreter's own tracing.

Usage: agent_drive.py {plain,functions,lines} SCRATCH CASE...

Each case runs between begin_marker_case_CASE and end_marker_case_CASE. `functions` and `lines` are the
oracle: sys.setprofile with C calls, sys.settrace. Its events are left as the workload's result:
{thread: [(kind, function, line, file)]}, all of the process. SCRATCH is a directory that the cases
may write to.
"""

import gc
import os
import sys
import threading

import agent_cases
import cases
import library_cases
import stage

cases.STORM = 400  # many cases share a second


def run(case, begin, end):
    begin()
    case()
    end()


def markers(name):
    space = {}
    for marker in ("begin", "end"):
        exec(f"def {marker}_marker_case_{name}(): pass", space)
    return space[f"begin_marker_case_{name}"], space[f"end_marker_case_{name}"]


def function_recorder(events):
    ident = threading.get_native_id

    def profile(frame, event, argument):
        code = frame.f_code
        name = code.co_name if event == "call" or event == "return" else argument.__name__
        line = frame.f_lineno
        events.setdefault(ident(), []).append(
            (event, name, -1 if line is None else line, code.co_filename))

    return profile


def line_recorder(events):
    ident = threading.get_native_id

    def trace(frame, event, argument):
        if event == "line":
            code = frame.f_code
            line = frame.f_lineno
            events.setdefault(ident(), []).append(
                (event, code.co_name, -1 if line is None else line, code.co_filename))
        return trace

    return trace


def in_c(recorder, set_name, first_set):
    """Before 3.11 sys.setprofile and sys.settrace copy a frame's variables into a dictionary at
    each event, which keeps objects alive that the program has let go of. What they are made of,
    PyEval_SetProfile and PyEval_SetTrace, does not. Returns (for new threads, for this one)."""
    import ctypes

    kinds = ("call", "exception", "line", "return", "c_call", "c_exception", "c_return")
    made_for_trace = "Trace" in set_name

    def callback(_, frame, kind, argument):
        if kind >= 4:
            recorder(frame, kinds[kind], ctypes.cast(argument, ctypes.py_object).value)
        else:
            recorder(frame, kinds[kind], None)
        return 0

    kept = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.py_object, ctypes.c_int,
                             ctypes.c_void_p)(callback)
    function = getattr(ctypes.pythonapi, set_name)
    function.restype = None
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    address = ctypes.cast(kept, ctypes.c_void_p)

    def here(its):
        function(address if its else None, None)

    def in_thread(frame, event, argument):
        """Python's own hook of a new thread: at its first event ours takes over."""
        here(True)
        if event != "call" or not made_for_trace:
            recorder(frame, event, argument)

    def in_new_threads(its):
        first_set(in_thread if its else None)

    in_new_threads.kept = kept
    return in_new_threads, here


def find(name):
    """(case, what prepares it)"""
    module = next(each for each in (agent_cases, library_cases, cases)
                  if hasattr(each, "case_" + name))
    return (getattr(module, "case_" + name),
            getattr(module, "prepare_" + name, cases.prepare))


def run_case(name, function, set_tracing, recorder):
    """Set: threading.setprofile and sys.setprofile, or their likes, or None."""
    begin, end = markers(name)
    if set_tracing:
        set_tracing[0](recorder)
    cases.start_threads(name)
    if set_tracing:
        set_tracing[1](recorder)
    run(function, begin, end)
    if set_tracing:
        set_tracing[1](None)
        set_tracing[0](None)
    cases.stop_threads()
    for each in (cases._threads, cases._start, cases._done):
        each.clear()
    threading.stack_size(0)


def main():
    mode, scratch, *names = sys.argv[1:]
    agent_cases.SCRATCH = os.path.abspath(scratch)
    gc.disable()  # when it runs depends on how much was allocated, by the recording, too
    chosen = [(name, *find(name)) for name in names]
    limit = sys.getrecursionlimit()
    for _, _, prepare in chosen:
        prepare()
    events = {}
    recorder = tracing = None
    if mode == "functions":
        recorder, tracing = function_recorder(events), (threading.setprofile, sys.setprofile)
    elif mode == "lines":
        recorder, tracing = line_recorder(events), (threading.settrace, sys.settrace)
    if recorder and sys.version_info < (3, 11):
        tracing = in_c(recorder, "PyEval_SetProfile" if mode == "functions" else "PyEval_SetTrace",
                       tracing[0])
    stage.ready()
    stage.wait_go()
    for name, function, _ in chosen:
        run_case(name, function, tracing, recorder)
        sys.setrecursionlimit(limit)
    if mode != "plain":
        stage.result(events)


if __name__ == "__main__":
    main()
