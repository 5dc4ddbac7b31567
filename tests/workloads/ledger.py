# SPDX-License-Identifier: BSD-3-Clause
"""Programs that map, touch and leak memory, for the summaries of `memory`.

ledger.py STEPS...: each step is a function below; before each it announces itself and waits. After
the last it announces "done", waits, and ends at once ("leave" as the last argument: as usual). Lines
that the test looks for are marked by comments.
"""

import ctypes
import mmap
import os
import sys
import threading
import time

import stage

MB = 1 << 20
KEPT = []

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.mremap.restype = libc.sbrk.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int,
                      ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
libc.sbrk.argtypes = [ctypes.c_long]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE
ANONYMOUS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
MAP_FIXED = 0x10
MREMAP_MAYMOVE, MREMAP_DONTUNMAP = 1, 4
PR_SET_THP_DISABLE = 41


def anonymous(size, address=None, flags=0):
    found = libc.mmap(address, size, READ_WRITE, ANONYMOUS | flags, -1, 0)
    assert found not in (None, ctypes.c_void_p(-1).value)
    return found


def remap(address, old, new, flags=MREMAP_MAYMOVE):
    found = libc.mremap(address, old, new, flags)
    assert found != ctypes.c_void_p(-1).value
    return found


def holes():
    base = anonymous(64 * MB)  # holes: 64 MB
    libc.memset(base, 1, 8 * MB)  # touches the holes
    assert not libc.munmap(base + 2 * MB, 3 * MB)  # of which 3 go
    assert not libc.munmap(base + 60 * MB, 4 * MB)  # and 4
    KEPT.append(base)


def swells():
    """Without a pause that a summary could fall into."""
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        base = anonymous(MB // 4)  # swells: over and over
        libc.memset(base, 1, MB // 4)  # touches what swells
        time.sleep(0.001)


def fixed():
    base = anonymous(16 * MB)  # fixed: 16 MB
    libc.memset(base, 1, 16 * MB)  # touches the fixed
    anonymous(4 * MB, base + 4 * MB, MAP_FIXED)  # over: 4 MB of them
    KEPT.append(base)


def moves():
    base = anonymous(8 * MB)  # moves: 8 MB
    libc.memset(base, 1, 8 * MB)  # touches what moves
    base = remap(base, 8 * MB, 24 * MB)  # grows: 16 MB more
    base = remap(base, 24 * MB, 12 * MB)  # shrinks: 12 MB less
    # Another mapping right behind it makes it move.
    anonymous(MB, base + 12 * MB, MAP_FIXED)  # behind
    base = remap(base, 12 * MB, 20 * MB)  # again: 8 MB more
    KEPT.append(base)


def brk():
    before = libc.sbrk(0)
    libc.sbrk(5 * MB)  # brk: 5 MB
    libc.memset(before, 1, 5 * MB)
    libc.sbrk(-2 * MB)


def churn():
    for _ in range(300):
        base = anonymous(2 * MB)
        libc.memset(base, 1, 2 * MB)
        libc.munmap(base, 2 * MB)


def threads():
    """All at once map and unmap the same places: what one unmaps another is given."""
    running = [threading.Thread(target=churn) for _ in range(4)]
    for each in running:
        each.start()
    for each in running:
        each.join()


def nested():
    """C recursion: the stack grows without a system call."""
    deep = []
    for _ in range(4000):
        deep = [deep]
    sys.setrecursionlimit(100000)
    try:
        repr(deep)
    except RecursionError:
        pass  # deep enough: 3.12 counts C frames by itself


def lists():
    KEPT.append([object() for _ in range(400000)])  # lists


def numpy():
    import numpy as np
    KEPT.append(np.ones(6 * MB))


def load(count):
    import numpy as np
    for _ in range(count):
        KEPT.append(np.ones(MB // 2))  # leak: 4 MiB


def temporary():
    import numpy as np
    for _ in range(10):
        np.ones(MB // 2).sum()  # temporary: 4 MiB


def leaks():
    load(8)
    temporary()


def load_2():
    load(2)


def load_5():
    load(5)
    temporary()


def storm():
    """More events than a small buffer holds."""
    for _ in range(30000):
        libc.munmap(libc.mmap(None, 4096, READ_WRITE, ANONYMOUS, -1, 0), 4096)


def regions():
    """Neighbours that the kernel cannot join: every second one is read-only."""
    base = anonymous(50000 * 4096)
    for number in range(0, 50000, 2):
        at = base + number * 4096
        libc.mmap(at, 4096, mmap.PROT_READ, ANONYMOUS | MAP_FIXED, -1, 0)  # regions


def exec_again():
    """Become another program, which does the rest; what was held is gone."""
    KEPT.append(bytearray(20 * MB))  # before the exec
    if os.environ.pop("LEDGER_EXEC", None):
        os.execv(sys.executable, [sys.executable, *sys.argv])


def forks():
    """What a child does is not its parent's."""
    child = os.fork()
    if not child:
        KEPT.append(bytearray(50 * MB))  # of the child
        os._exit(0)
    os.waitpid(child, 0)


def main():
    # Where the kernel makes huge pages of its own accord one has many neighbours resident, too.
    libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    steps = [each for each in sys.argv[1:] if each != "leave"]
    for number, step in enumerate(steps):
        stage.ready(f"step {number}")
        stage.wait_go()
        globals()[step]()
    stage.ready("done")
    stage.wait_go()
    if "leave" not in sys.argv:
        os._exit(0)


main()
