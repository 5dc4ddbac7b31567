# SPDX-License-Identifier: BSD-3-Clause
"""A cache that nobody empties, among work that cleans up behind itself."""

import stage

BLOCK = 1 << 20
ROUNDS = 32

cache = []


def work():
    block = bytearray(BLOCK)
    block[::4096] = bytes(BLOCK // 4096)
    return len(block)


def remember():
    block = bytearray(BLOCK)
    block[::4096] = bytes(BLOCK // 4096)
    cache.append(block)


def main():
    for _ in range(ROUNDS):
        work()
        remember()


if __name__ == "__main__":
    stage.ready()
    stage.wait_go()
    main()
    stage.result(BLOCK * ROUNDS)
