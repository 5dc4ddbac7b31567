# SPDX-License-Identifier: BSD-3-Clause
"""Read /proc/self/statm right before a traced event, again and again while memory moves.

The result is the list of (RSS, VMS) in bytes, one for each call of marker().
"""

import gc
import mmap
import os
import threading

import stage

PAGE = mmap.PAGESIZE
ROUNDS = 60


def marker():
    pass


def helper_thread(gate, stop):
    """Touches memory on another CPU's counter, then stays out of the way."""
    kept = [bytearray(1 << 20) for _ in range(8)]
    gate.release()
    stop.acquire()
    del kept


def main():
    gc.disable()
    fd = os.open("/proc/self/statm", os.O_RDONLY)
    gates = [threading.Lock() for _ in range(2)]
    for gate in gates:
        gate.acquire()
    thread = threading.Thread(target=helper_thread, args=gates, daemon=True)
    thread.start()
    gates[0].acquire()
    found = []
    kept = []
    read, mark = os.pread, marker

    def measure():
        text = read(fd, 100, 0)
        mark()
        return text

    stage.ready()
    stage.wait_go()
    for step in range(ROUNDS):
        # An own mapping each: RSS and VMS move by amounts that no other part hides.
        if step % 5 == 4:
            kept.pop().close()
        else:
            area = mmap.mmap(-1, PAGE * 200 * (1 + step % 7))
            area[0:PAGE * (50 + step)] = bytes(PAGE * (50 + step))
            kept.append(area)
        text = measure()
        size, resident = text.split()[:2]
        found.append((int(resident) * PAGE, int(size) * PAGE))
    stage.result(found)
    gates[1].release()


if __name__ == "__main__":
    main()
