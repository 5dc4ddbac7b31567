# SPDX-License-Identifier: BSD-3-Clause
"""End at once, with so many pages that the kernel takes some time to have them back."""

import mmap
import os

import stage

MEMORY = 2 << 30  # bytes


def last():
    os._exit(0)


pages = mmap.mmap(-1, MEMORY, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
pages.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, MEMORY, mmap.PAGESIZE):
    pages[at] = 1
stage.ready()
stage.wait_go()
last()
