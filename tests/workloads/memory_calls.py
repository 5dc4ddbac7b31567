# SPDX-License-Identifier: BSD-3-Clause
"""Memory system calls and page faults of sizes that are known, each in a function of its own.

Modes: calls, threads, regions N, spawn. Waits for a byte before it begins and for another before it
ends, so that /proc says what was there in between. The findings are
{"calls": [(type, function, address, size)], "faults": [(type, function, low, high)]}.
"""

import ctypes
import mmap
import os
import subprocess
import sys
import tempfile
import threading

import stage

PAGE = mmap.PAGESIZE
PROT_NONE, PROT_RW = 0, 3
MAP_SHARED, MAP_PRIVATE, MAP_ANONYMOUS = 1, 2, 0x20
MADV_DONTNEED, MADV_FREE, MADV_WILLNEED = 4, 8, 3
MREMAP_MAYMOVE = 1
PR_SET_THP_DISABLE = 41
TMPFS_MAGIC = 0x01021994

libc = ctypes.CDLL(None, use_errno=True)
pointer, size_t, integer = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
libc.mmap.restype = libc.mremap.restype = libc.sbrk.restype = pointer
libc.mmap.argtypes = [pointer, size_t, integer, integer, integer, ctypes.c_long]
libc.munmap.argtypes = [pointer, size_t]
libc.mremap.argtypes = [pointer, size_t, size_t, integer]
libc.madvise.argtypes = [pointer, size_t, integer]
libc.memset.argtypes = [pointer, integer, size_t]
libc.sbrk.argtypes = [ctypes.c_ssize_t]
libc.pthread_create.argtypes = [ctypes.POINTER(ctypes.c_ulong), pointer, pointer, pointer]
libc.pthread_join.argtypes = [ctypes.c_ulong, pointer]

found = {"calls": [], "faults": []}


def note(kind, function, address, size):
    found["calls"].append((kind, function, address, size))


def note_faults(kind, function, low, pages):
    found["faults"].append((kind, function, low, low + pages * PAGE))


def map_odd(pages):
    """A size that is not whole pages."""
    address = libc.mmap(None, pages * PAGE - 123, PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    note("mmap", "map_odd", address, pages * PAGE)
    return address


def map_shared(pages):
    address = libc.mmap(None, pages * PAGE, PROT_RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
    note("mmap", "map_shared", address, pages * PAGE)
    return address


def map_file(descriptor, pages):
    address = libc.mmap(None, pages * PAGE, 1, MAP_PRIVATE, descriptor, 0)
    note("mmap", "map_file", address, pages * PAGE)
    return address


def touch(address, pages):
    libc.memset(address, 1, pages * PAGE)


def touch_shared(address, pages):
    libc.memset(address, 1, pages * PAGE)


def read_into(descriptor, address, pages):
    """The kernel meets the faults, in a system call."""
    view = (ctypes.c_char * (pages * PAGE)).from_address(address)
    os.readv(descriptor, [view])


def drop(address, pages):
    libc.madvise(address, pages * PAGE, MADV_DONTNEED)
    note("madvise", "drop", address, pages * PAGE)


def lend(address, pages):
    libc.madvise(address, pages * PAGE, MADV_FREE)
    note("madvise", "lend", address, pages * PAGE)


def advise_nothing(address, pages):
    """No row: it takes nothing away."""
    libc.madvise(address, pages * PAGE, MADV_WILLNEED)


def grow(address, old, new):
    moved = libc.mremap(address, old * PAGE, new * PAGE, MREMAP_MAYMOVE)
    note("mremap", "grow", moved, new * PAGE)
    return moved


def unmap(address, pages):
    libc.munmap(address, pages * PAGE)
    note("munmap", "unmap", address, pages * PAGE)


def move_break(pages):
    before = libc.sbrk(pages * PAGE)
    note("brk", "move_break", before + pages * PAGE, pages * PAGE)


def fail():
    """No rows: they change nothing."""
    libc.mmap(None, 0, PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    libc.mmap(None, 1 << 46, PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    libc.munmap(1, PAGE)
    libc.mremap(PAGE, PAGE, 2 * PAGE, 0)


def calls(descriptor):
    address = map_odd(301)
    touch(address, 301)
    note_faults("anon", "touch", address, 301)
    advise_nothing(address, 301)
    drop(address, 100)
    lend(address + 100 * PAGE, 50)
    address = grow(address, 301, 777)
    unmap(address, 777)
    address = map_shared(211)
    touch_shared(address, 211)
    note_faults("shmem", "touch_shared", address, 211)
    unmap(address, 211)
    address = map_odd(167)
    read_into(descriptor, address, 64)
    note_faults("anon", "read_into", address, 64)
    unmap(address, 167)
    unmap(map_file(descriptor, 64), 64)
    move_break(33)
    move_break(-33)
    fail()


def touch_one(area, pages):
    libc.memset(area, 1, pages * PAGE)


def touch_two(area, pages):
    libc.memset(area, 1, pages * PAGE)


def touch_three(area, pages):
    libc.memset(area, 1, pages * PAGE)


def file_kind(descriptor):
    """As what the kernel counts pages of the file: a file of tmpfs is shared memory."""
    about = (ctypes.c_long * 32)()
    assert not libc.fstatfs(descriptor, about)
    return "shmem" if about[0] == TMPFS_MAGIC else "file"


def threads(descriptor):
    """At once, each in a function of its own; and one that runs no Python."""
    area = libc.mmap(None, 20000 * PAGE, PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    text = libc.mmap(None, 64 * PAGE, 1, MAP_PRIVATE, descriptor, 0)
    gate = threading.Barrier(3)
    parts = [(touch_one, 3001), (touch_two, 5003), (touch_three, 7019)]
    native = ctypes.c_ulong()

    def run(function, low, pages):
        gate.wait()
        function(low, pages)

    running = []
    low = area
    for function, pages in parts:
        running.append(threading.Thread(target=run, args=(function, low, pages)))
        note_faults("anon", function.__name__, low, pages)
        low += pages * PAGE
    for each in running:
        each.start()
    strlen = ctypes.cast(libc.strlen, pointer)
    libc.pthread_create(ctypes.byref(native), None, strlen, text)
    libc.pthread_join(native, None)
    note_faults(file_kind(descriptor), "<native>", text, 64)
    for each in running:
        each.join()


def regions(count):
    """Neighbours that cannot be joined into one."""
    area = libc.mmap(None, count * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    for number in range(count):
        libc.mmap(area + number * PAGE, PAGE, number % 2, MAP_PRIVATE | MAP_ANONYMOUS | 0x10, -1,
                  0)


def spawn():
    """Children that share the memory until they exec, and one that has a copy."""
    for _ in range(5):
        subprocess.run(["/bin/true"], check=True)
    child = os.fork()
    if not child:
        touch(map_odd(4096), 4096)
        os._exit(0)
    os.waitpid(child, 0)
    address = map_odd(99)
    touch(address, 99)
    note_faults("anon", "touch", address, 99)


def warm(descriptor):
    """What runs for the first time has faults of its own."""
    calls(descriptor)
    found["calls"].clear()
    found["faults"].clear()


def main():
    mode = sys.argv[1]
    # Where the kernel makes huge pages of its own accord one has many neighbours resident, too.
    libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    with tempfile.TemporaryFile() as stream:
        stream.write(b"a" * (64 * PAGE - 1) + b"\0")
        stream.flush()
        warm(stream.fileno())
        stream.seek(0)
        stage.ready()
        stage.wait_go()
        if mode == "regions":
            regions(int(sys.argv[2]))
        elif mode == "spawn":
            spawn()
        else:
            globals()[mode](stream.fileno())
        stage.result(found)
        stage.ready("done")
        stage.wait_go()


if __name__ == "__main__":
    main()
