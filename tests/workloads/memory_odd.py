# SPDX-License-Identifier: BSD-3-Clause
"""Memory that moves between lines, is changed in part, as a huge page, by the file below it, by the
kernel or by another process.

The finding is {function: its pages that are there at the end}, by /proc/self/pagemap: whatever it
calls itself has brought these in, and nothing else. All else there is of the ranges is not counted.
"""

import ctypes
import mmap
import os
import subprocess
import sys

import stage

PAGE = mmap.PAGESIZE
HUGE = 2 << 20
READ, WRITE = 1, 2
SHARED, PRIVATE, FIXED, ANONYMOUS, POPULATE = 1, 2, 0x10, 0x20, 0x8000
MAYMOVE, DONTUNMAP = 1, 4
DONTNEED, FREE, REMOVE, HUGEPAGE, NOHUGEPAGE, COLLAPSE = 4, 8, 9, 14, 15, 25

libc = ctypes.CDLL(None, use_errno=True)
address, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
libc.mmap.restype = libc.mremap.restype = libc.shmat.restype = address
libc.mmap.argtypes = [address, size, number, number, number, ctypes.c_long]
libc.mremap.argtypes = [address, size, size, number, address]
libc.munmap.argtypes = [address, size]
libc.madvise.argtypes = [address, size, number]
libc.memset.argtypes = [address, number, size]
libc.shmat.argtypes = [number, address, number]
libc.pread.argtypes = [number, address, size, ctypes.c_long]

ranges = {}  # function: [(address, pages), ...]


def reserve(pages, flags=PRIVATE | ANONYMOUS, at=None, file=-1, access=READ | WRITE):
    found = libc.mmap(at, pages * PAGE, access, flags, file, 0)
    assert found != ctypes.c_void_p(-1).value, os.strerror(ctypes.get_errno())
    return found


def reserve_huge(pages):
    """Aligned, with the advice to use huge pages: whether there are is the kernel's affair."""
    aligned = -(-reserve(pages + HUGE // PAGE) // HUGE) * HUGE
    libc.madvise(aligned, pages * PAGE, HUGEPAGE)
    return aligned


def file_of(pages):
    file = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600)
    os.pwrite(file, b"x" * (pages * PAGE), 0)
    return file


def touch(at, pages):
    libc.memset(at, 1, pages * PAGE)


def read(at, pages):
    for page in range(pages):
        ctypes.c_char.from_address(at + page * PAGE).value


# ------------------------------------------------------------------ who touches what


def is_moved(at):
    touch(at, 300)


def grows(at):
    touch(at, 600)


def case_move():
    at = reserve(300)
    reserve(10, PRIVATE | ANONYMOUS | FIXED, at + 300 * PAGE)  # no room to grow there
    is_moved(at)
    moved = libc.mremap(at, 300 * PAGE, 900 * PAGE, MAYMOVE, None)
    grows(moved + 300 * PAGE)
    ranges["is_moved"], ranges["grows"] = [(moved, 300)], [(moved + 300 * PAGE, 600)]


def is_mapped_over(at):
    touch(at, 500)


def maps_over(at):
    reserve(100, PRIVATE | ANONYMOUS | FIXED, at)
    touch(at, 50)


def case_fixed():
    at = reserve(500)
    is_mapped_over(at)
    maps_over(at + 200 * PAGE)
    ranges["is_mapped_over"] = [(at, 200), (at + 300 * PAGE, 200)]
    ranges["maps_over"] = [(at + 200 * PAGE, 100)]


def is_dropped_in_part(at):
    touch(at, 400)


def touches_again(at):
    touch(at, 10)


def case_part():
    at = reserve(400)
    is_dropped_in_part(at)
    libc.madvise(at + 100 * PAGE, 50 * PAGE, DONTNEED)
    touches_again(at + 120 * PAGE)
    ranges["is_dropped_in_part"] = [(at, 100), (at + 150 * PAGE, 250)]
    ranges["touches_again"] = [(at + 100 * PAGE, 50)]


def shares(at):
    touch(at, 333)


def case_shared():
    at = reserve(333, SHARED | ANONYMOUS)
    shares(at)
    ranges["shares"] = [(at, 333)]


def removes(at):
    touch(at, 90)
    libc.madvise(at, 45 * PAGE, REMOVE)


def case_remove():
    at = reserve(90, SHARED | ANONYMOUS)
    removes(at)
    ranges["removes"] = [(at, 90)]


def attaches(at):
    touch(at, 222)


def case_system_v():
    number = libc.shmget(0, 222 * PAGE, 0o1600)
    at = libc.shmat(number, None, 0)
    libc.shmctl(number, 0, None)
    attaches(at)
    ranges["attaches"] = [(at, 222)]


def reads_file(at):
    read(at, 150)


def copies_file(at):
    touch(at, 80)


def case_copy_on_write():
    at = reserve(150, PRIVATE, file=file_of(150))
    reads_file(at)
    copies_file(at)
    ranges["copies_file"], ranges["reads_file"] = [(at, 80)], [(at + 80 * PAGE, 70)]


def touches_huge(at):
    touch(at, 1024)


def case_huge():
    at = reserve_huge(1024)
    touches_huge(at)
    ranges["touches_huge"] = [(at, 1024)]


def has_a_hole(at):
    touch(at, 1536)
    libc.madvise(at, 1536 * PAGE, NOHUGEPAGE)  # else khugepaged may fill the hole some day
    libc.madvise(at + 300 * PAGE, 100 * PAGE, DONTNEED)


def case_huge_split():
    at = reserve_huge(1536)
    has_a_hole(at)
    ranges["has_a_hole"] = [(at, 1536)]


def is_paged_out(at):
    touch(at, 256)


def case_other_process_advises():
    at = reserve(256)
    is_paged_out(at)
    run(f"""import ctypes, struct
libc = ctypes.CDLL(None)
pidfd = libc.syscall(434, {os.getpid()}, 0)
libc.syscall(440, pidfd, struct.pack("QQ", {at}, 64 << 12), 1, 21, 0)
""")  # process_madvise(MADV_PAGEOUT): nothing happens without swap
    ranges["is_paged_out"] = [(at, 256)]


def case_other_process_writes():
    at = reserve(64)
    run(f"with open('/proc/{os.getpid()}/mem', 'r+b') as memory:\n"
        f"    memory.seek({at})\n    memory.write(b'z' * (64 << 12))\n")


def reads_zeros(at):
    read(at, 100)


def writes_over_zeros(at):
    touch(at, 100)


def case_zero_page():
    at = reserve(100)
    reads_zeros(at)
    writes_over_zeros(at)
    ranges["writes_over_zeros"] = [(at, 100)]


def populates():
    return reserve(700, PRIVATE | ANONYMOUS | POPULATE)


def case_populate():
    ranges["populates"] = [(populates(), 700)]


def has_the_kernel_write(at, file):
    libc.pread(file, at, 300 * PAGE, 0)


def case_kernel():
    at = reserve(300)
    has_the_kernel_write(at, file_of(300))
    ranges["has_the_kernel_write"] = [(at, 300)]


def is_emptied(at):
    touch(at, 60)


def fills_again(at):
    touch(at, 60)


def case_moved_away_from():
    at = reserve(60)
    is_emptied(at)
    moved = libc.mremap(at, 60 * PAGE, 60 * PAGE, MAYMOVE | DONTUNMAP, None)
    if moved == ctypes.c_void_p(-1).value:
        return  # before 5.7
    fills_again(at)
    ranges["is_emptied"], ranges["fills_again"] = [(moved, 60)], [(at, 60)]


def may_be_freed(at):
    touch(at, 90)
    libc.madvise(at, 90 * PAGE, FREE)


def case_free():
    at = reserve(90)
    may_be_freed(at)
    ranges["may_be_freed"] = [(at, 90)]


def run(code):
    subprocess.run([sys.executable, "-c", code], check=True)


def present(at, pages):
    file = os.open("/proc/self/pagemap", os.O_RDONLY)
    entries = os.pread(file, 8 * pages, at // PAGE * 8)
    os.close(file)
    return sum(entries[8 * i + 7] >> 7 for i in range(pages))


stage.ready()
stage.wait_go()
for name, case in sorted(globals().items()):
    if name.startswith("case_"):
        case()
stage.result({function: sum(present(*each) for each in places)
              for function, places in ranges.items()})
stage.ready("done")
stage.wait_go()
os._exit(0)
