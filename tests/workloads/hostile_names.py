# SPDX-License-Identifier: BSD-3-Clause
"""Functions and files of every name that could break a recording: each maps memory of a size that
no other does.

The finding is {size: (function, file)}.
"""

import mmap

import stage

NAMES = ["a\nb", 'q"uote', "com,ma", "semi;colon", "tab\tx", "nul\0l", "cr\rlf\r\n", "\x1b[2Jred",
         "\x9b2J", "\u202eleft", "\u00e9", "\udcff", "\ud800", "\U0001d11e", "y" * 300, "#hash",
         "", "  lead", "=cmd|' /C calc'!A0", "-", "<lost>", "lost", "a;b.py:f:1"]
SOURCE = "def f(size):\n    mmap.mmap(-1, size).close()\n"
PAGE = mmap.PAGESIZE
seen = {}
functions = {}
for name in NAMES:
    for file in NAMES:
        exec(compile(SOURCE, "source", "exec"))
        size = (20000 + len(seen)) * PAGE
        f.__code__ = f.__code__.replace(co_name=name, co_filename=file)  # noqa: F821
        functions[size] = f  # noqa: F821
        seen[size] = name, file
stage.ready()
stage.wait_go()
for size, function in functions.items():
    function(size)
stage.result(seen)
