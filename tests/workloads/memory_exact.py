# SPDX-License-Identifier: BSD-3-Clause
"""Read /proc/self/statm right before and right after a traced event, while memory moves.

The result is {phase: [((RSS, VMS) before, (RSS, VMS) after), ...]} in bytes, one pair for each call
of marker(). What is the same before and after was the same at the event.

    quiet   nothing moves but between two pairs
    beside  other threads touch fresh pages all the time, without the GIL: RSS only grows

With `again` it first becomes another program: itself.
"""

import gc
import mmap
import os
import sys
import threading

import stage

PAGE = mmap.PAGESIZE
QUIET_ROUNDS = 300
MOST_ROUNDS = 3000
THREADS = 3
AREA = 8000 * PAGE


def marker():
    pass


def fill(area, zeros, done):
    """One system call: who asks for the GIL in between waits too long for it."""
    os.preadv(zeros, [area], 0)
    done.append(True)


def new_area(size):
    area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area.madvise(15)  # MADV_NOHUGEPAGE
    return area


def move(step, kept):
    """Memory moves by amounts that differ, up and down, by mappings, the heap and touching."""
    what = step % 6
    if what == 0:
        kept["area"] = new_area(PAGE * (60 + step))
    elif what in (1, 2):
        kept["area"][PAGE * 20 * (what - 1):PAGE * 20 * what] = bytes(PAGE * 20)
    elif what == 3:
        kept["heap"] = [bytearray(1000 + step) for _ in range(100 + step)]
    elif what == 4:
        kept.pop("area").close()
    elif what == 5:
        del kept["heap"]


def measure(moves, done):
    fd = os.open("/proc/self/statm", os.O_RDONLY)
    read, mark, found, kept = os.pread, marker, [], {}
    for step in range(QUIET_ROUNDS if moves else MOST_ROUNDS):
        if moves:
            move(step, kept)
        elif len(done) == THREADS:
            break
        before = read(fd, 100, 0)
        mark()
        after = read(fd, 100, 0)
        found.append((before, after))
    os.close(fd)
    return [tuple((int(text.split()[1]) * PAGE, int(text.split()[0]) * PAGE) for text in pair)
            for pair in found]


def beside():
    zeros = os.open("/dev/zero", os.O_RDONLY)
    done = []
    areas = [new_area(AREA) for _ in range(THREADS)]
    threads = [threading.Thread(target=fill, args=(area, zeros, done)) for area in areas]
    for thread in threads:
        thread.start()
    found = measure(False, done)
    for thread in threads:
        thread.join()
    return found


def main():
    if "again" in sys.argv:
        os.execv(sys.executable, [sys.executable, __file__])
    gc.disable()
    stage.ready()
    stage.wait_go()
    stage.result({"quiet": measure(True, None), "beside": beside()})


if __name__ == "__main__":
    main()
