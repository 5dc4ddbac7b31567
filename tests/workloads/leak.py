# SPDX-License-Identifier: BSD-3-Clause
"""A cache that nobody empties, among work that cleans up behind itself.

Blocks are larger than any that malloc() keeps for later: else the cache would get those that the
work has dropped, and touch no memory that was not resident.
"""

import stage

BLOCK = 33 << 20
ROUNDS = 4

cache = []


def work():
    return len(b"x" * BLOCK)


def remember():
    cache.append(b"x" * BLOCK)  # KEPT


def main(times):
    # What is constant is not computed by the compiler: it is too large.
    for _ in range(times):
        work()
        remember()


if __name__ == "__main__":
    main(1)  # the first time faults code in
    stage.ready()
    stage.wait_go()
    main(ROUNDS)
    stage.result(BLOCK * ROUNDS)
