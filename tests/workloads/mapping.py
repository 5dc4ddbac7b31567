# SPDX-License-Identifier: BSD-3-Clause
"""Maps and unmaps in all ways that a Python program has: whole, in part, larger, by malloc(), in
threads; and waits before it ends, for the test to look at it."""

import mmap
import threading

import stage

PAGE = mmap.PAGESIZE
kept = []


def map_some():
    for pages in range(1, 40):
        area = mmap.mmap(-1, pages * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        area[::PAGE] = bytes(pages)
        if pages % 3:
            area.close()
        else:
            kept.append(area)


def resize_some():
    for area in kept[::2]:
        area.resize(len(area) + 50 * PAGE)


def ask_malloc():
    for size in range(10, 24):
        kept.append(b"x" * (1 << size))
    for at in range(0, len(kept), 3):
        kept[at] = b"y" * (300 << 10)


def main():
    map_some()
    resize_some()
    threads = [threading.Thread(target=ask_malloc) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    del kept[5:20]


if __name__ == "__main__":
    stage.ready()
    stage.wait_go()
    main()
    stage.ready("done")
    stage.wait_go()
    mapped = sum(range(1, 40)) * PAGE
    # At least.
    stage.result({"mapped": mapped, "unmapped": sum(i for i in range(1, 40) if i % 3) * PAGE})
