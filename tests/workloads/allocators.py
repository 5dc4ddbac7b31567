# SPDX-License-Identifier: BSD-3-Clause
"""Tell, each time that a byte comes, which malloc Python's raw domain has; allocate around it.

    allocators.py [tracemalloc]

The first byte after `tracemalloc` was given starts that, in front of what is there.
"""

import ctypes
import sys
import tracemalloc

import stage


class Allocator(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("ctx", "malloc", "calloc", "realloc", "free")]


def current():
    found = Allocator()
    ctypes.pythonapi.PyMem_GetAllocator(0, ctypes.byref(found))
    return found.malloc


def allocate(size):
    return [None] * (size // 8)  # a list's items are that many bytes in every version


def main():
    number = 0
    stage.ready("ready")
    stage.ready(f"0 {current():x}")
    while True:
        stage.wait_go()
        if number == 0 and sys.argv[1:] == ["tracemalloc"]:
            tracemalloc.start()
        number += 1
        for _ in range(50):
            allocate(100000 + 8 * number)
        stage.ready(f"{number} {current():x}")


if __name__ == "__main__":
    main()
