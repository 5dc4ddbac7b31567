# SPDX-License-Identifier: BSD-3-Clause
"""Threads of C's that run Python, with states of their own and with states that others have made.

usage: thread_states.py LIBRARY, of thread_states.c. The finding is {size: what runs it}: each
function maps memory of a size that no other does, `TIMES` times. "<native>" is C without Python.
"""

import ctypes
import mmap
import sys
import threading

import stage

TIMES = 20
PAGE = mmap.PAGESIZE
NATIVE = 6000 * PAGE
library = ctypes.PyDLL(sys.argv[1])
started, ended = threading.Semaphore(0), threading.Event()
turns = threading.Barrier(3)


def map_as_main():
    mmap.mmap(-1, 6001 * PAGE).close()


def map_as_thread_of_c():
    mmap.mmap(-1, 6002 * PAGE).close()


def map_with_a_state_of_main():
    mmap.mmap(-1, 6003 * PAGE).close()


def take_turns(function):
    def run():
        started.release()
        for _ in range(TIMES):
            turns.wait()
            function()
        ended.wait()

    return run


callables = [ctypes.py_object(take_turns(each))
             for each in (map_as_thread_of_c, map_with_a_state_of_main)]
start = library.start
start.argtypes = [ctypes.c_int, ctypes.py_object, ctypes.c_int, ctypes.c_size_t]
for i, each in enumerate(callables):
    start(i, each, i, NATIVE)
    started.acquire()
stage.ready()
stage.wait_go()
for _ in range(TIMES):
    turns.wait()
    map_as_main()
ended.set()
for i in range(len(callables)):
    library.join(i)
stage.result({6001 * PAGE: "map_as_main", 6002 * PAGE: "map_as_thread_of_c",
              6003 * PAGE: "map_with_a_state_of_main", NATIVE: "<native>"})
stage.ready("done")
stage.wait_go()
