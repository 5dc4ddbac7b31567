# SPDX-License-Identifier: BSD-3-Clause
"""Start and stop tracemalloc over and over, until told to go on, or alone 300 times.

Until 3.12.8 and 3.13.1 that crashes a program of which another thread wants memory without the GIL.
"""

import threading
import tracemalloc

import stage


def main():
    done = threading.Event()
    rounds = 0

    def wait():
        stage.wait_go()
        done.set()

    stage.ready()
    threading.Thread(target=wait, daemon=True).start()
    while rounds < 300 or not done.is_set():
        tracemalloc.start()
        blocks = [bytearray(3000) for _ in range(50)]
        tracemalloc.stop()
        del blocks
        rounds += 1


if __name__ == "__main__":
    main()
