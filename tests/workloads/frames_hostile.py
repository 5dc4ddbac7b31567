# SPDX-License-Identifier: BSD-3-Clause
"""A real interpreter whose frames lie: a pointer in one of its own frames is changed for the time
of a system call that maps memory. The finding is [(what, size, frames that are right, mark), ...],
frames as frames.py has them, innermost first.
"""

import ctypes
import gc
import sys

import stage
from frames_stack import stack_of

LEGACY = sys.version_info < (3, 11)  # frames are objects, linked by f_back
PREVIOUS = 24 if LEGACY else 48 if sys.version_info < (3, 12) else 8
CODE = 32 if sys.version_info < (3, 12) else 0
FIRST_SIZE = 3000 * 4096
WILD = {"one": 1, "low": 8, "unmapped": 0xdeadbeef000, "last page": 0x7ffffffff000,
        "hole": 1 << 47, "not canonical": 1 << 60, "kernel": 0xffffffff81000000,
        "direct map": 0xffff888000000000, "minus": (1 << 64) - 8}

libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int,
                      ctypes.c_long]
findings = []


def address_of(frame):
    return id(frame) if LEGACY else ctypes.c_uint64.from_address(id(frame) + 24).value


def lie(what, depth, offset, value, right, mark):
    """Map while the word at `offset` of the frame `depth` calls up is `value`, or the address of
    the frame that a negative one says. The first `right` frames are to be seen all the same."""
    size = FIRST_SIZE + 4096 * len(findings)
    if value < 0:
        value = address_of(sys._getframe(-value - 1))
    word = ctypes.c_uint64.from_address(address_of(sys._getframe(depth)) + offset)
    truth = word.value
    here = sys._getframe()
    word.value = value
    libc.mmap(None, size, 0, 0x22, -1, 0); line = here.f_lineno  # noqa: E702
    word.value = truth
    frames = stack_of(here)[:right]
    frames[0] = (*frames[0][:3], line)
    findings.append((what, size, frames, mark))


def deep(depth, function, *arguments):
    if depth:
        return deep(depth - 1, function, *arguments)
    return function(*arguments)


def main():
    stage.ready()
    stage.wait_go()
    gc.disable()
    for name, value in WILD.items():
        lie(f"previous: {name}", 0, PREVIOUS, value, 1, "<unreadable>")
        deep(3, lie, f"previous of a caller: {name}", 2, PREVIOUS, value, 3, "<unreadable>")
        deep(3, lie, f"code: {name}", 2, CODE, value, 2, "<unreadable>")
    for what in (b"bytes" * 100, [], "text", sys, lie, None):
        lie(f"previous: a {type(what).__name__}", 0, PREVIOUS, id(what), 1, "<unreadable>")
        deep(3, lie, f"code: a {type(what).__name__}", 2, CODE, id(what), 2, "<unreadable>")
    for length in (1, 2, 3, 7, 16, 33, 60):
        for into in (1, length):
            deep(70, lie, f"loop of {length}, into {into}", length - 1, PREVIOUS, -into, length,
                 "<loop>")
    deep(300, lie, "a loop too long to be seen", 200, PREVIOUS, -1, 128, "<cut>")
    lie("the end", 0, PREVIOUS, 0, 1, "")
    stage.result(findings)


main()
