# SPDX-License-Identifier: BSD-3-Clause
"""Allocate in all ways, between two marks, under the hooks of allocation_oracle.c.

    allocating.py ORACLE.so [WAY...]

The result is the list of (event, address, size) that the oracle saw, in order.
"""

import ctypes
import gc
import json
import os
import re
import sys
import threading
import time
import tracemalloc

import stage

BEGIN, END = 1234567, 7654321


class Entry(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("event", "address", "size")]


def way_bytes():
    blocks = [bytes(n) for n in range(0, 5000, 7)]
    del blocks[::2]
    return b"".join(blocks)


def way_lists():
    grown = []
    for n in range(5000):
        grown.append(n)
    del grown[100:]
    return sorted(grown, key=lambda n: -n)


def way_dicts():
    table = {str(n): [n] for n in range(3000)}
    for n in range(0, 3000, 3):
        del table[str(n)]
    return {**table, **{n: n for n in range(2000)}}


def way_texts():
    return json.loads(json.dumps({"x" * n: ["é" * n, n] for n in range(0, 900, 11)}))


def way_patterns():
    return [re.compile("(a|b)*c{%d}" % n).match("abab" * n) for n in range(2, 40)]


def numbers(n):
    for i in range(n):
        yield bytearray(i)


def way_generators():
    return sum(len(each) for each in numbers(1500))


def fail(n):
    block = bytearray(700 + n)
    if n:
        fail(n - 1)
    raise ValueError(block)


def way_exceptions():
    for n in range(30):
        try:
            fail(n)
        except ValueError:
            pass


def way_classes():
    made = [type("Made%d" % n, (dict,), {"method": lambda self: self}) for n in range(30)]
    objects = [cls().method() for cls in made]
    del made, objects
    gc.collect()


def way_threads():
    """Others allocate meanwhile: the oracle looks at this one."""
    done = threading.Event()

    def allocate():
        while not done.is_set():
            len(bytearray(5000))

    threads = [threading.Thread(target=allocate) for _ in range(3)]
    for thread in threads:
        thread.start()
    way_lists()
    way_dicts()
    done.set()
    for thread in threads:
        thread.join()


def way_unhandled():
    """Ends the thread, not the program."""
    hook, threading.excepthook = threading.excepthook, lambda arguments: None
    thread = threading.Thread(target=fail, args=(20,))
    thread.start()
    thread.join()
    threading.excepthook = hook


def way_tracemalloc():
    """Puts allocators in front of those that are there, and takes them out again."""
    tracemalloc.start()
    way_lists()
    tracemalloc.stop()
    way_bytes()


CHILDS = 987000  # sizes that only forked children ask for


def way_forks():
    """A child gives back blocks of before and has others, which are its own affair."""
    blocks = [bytearray(3000 + n) for n in range(50)]
    for _ in range(3):
        pid = os.fork()
        if not pid:
            del blocks[::2]
            blocks += [bytearray(CHILDS + n) for n in range(50)]
            os._exit(0)
        if os.waitpid(pid, 0)[1]:
            raise RuntimeError("the child failed")
        blocks += [bytearray(4000 + n) for n in range(50)]
    del blocks[::2]


def way_without_gil():
    """ctypes.CDLL lets the GIL go around a call."""
    library = ctypes.CDLL(None)
    library.PyMem_RawMalloc.restype = ctypes.c_void_p
    blocks = [library.PyMem_RawMalloc(ctypes.c_size_t(2000 + n)) for n in range(40)]
    for block in blocks:
        library.PyMem_RawFree(ctypes.c_void_p(block))


# tracemalloc allocates for what the tracer allocates, which is none of the program's.
WAYS = [name[4:] for name in globals() if name.startswith("way_") and name != "way_tracemalloc"]


def run(ways):
    for way in ways:
        globals()["way_" + way]()


def main():
    oracle = ctypes.CDLL(sys.argv[1])
    ways = sys.argv[2:] or WAYS
    get, put, malloc, free = (
        ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p) for name in (
            "PyMem_GetAllocator", "PyMem_SetAllocator", "PyMem_RawMalloc", "PyMem_RawFree"))
    begin, end = oracle.oracle_begin, oracle.oracle_end
    stage.ready()
    stage.wait_go()
    begin(get, put, malloc, free, ctypes.c_size_t(BEGIN))
    run(ways)
    end(malloc, free, ctypes.c_size_t(END))
    count = ctypes.c_int64.in_dll(oracle, "oracle_count").value
    entries = (Entry * (1 << 20)).in_dll(oracle, "oracle_entries")
    stage.result([(each.event, each.address, each.size) for each in entries[:count]])
    time.sleep(0)


if __name__ == "__main__":
    main()
