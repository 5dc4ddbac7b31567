# SPDX-License-Identifier: BSD-3-Clause
"""Calls a C library that is gone from the disk, which maps and touches memory.

Usage: native.py LIBRARY; it is deleted once it is loaded. Its function map_some(bytes) is called.
"""

import ctypes
import os
import sys

import stage

BYTES = 8 << 20

library = ctypes.CDLL(sys.argv[1])
os.unlink(sys.argv[1])


def ask_library():
    return library.map_some(ctypes.c_size_t(BYTES))


if __name__ == "__main__":
    stage.ready()
    stage.wait_go()
    ask_library()
    stage.result(BYTES)
