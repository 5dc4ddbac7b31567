# SPDX-License-Identifier: BSD-3-Clause
"""A temporary that is gone a moment later, and the same computation without.

np.matrix copies an array that it is given: for as long as the copying takes there are two. The
spike is not seen before the line nor after it.
"""

import numpy as np

import stage

SHAPE = (2, 2_500_000)  # over 32 MiB malloc always gives memory back at once
BYTES = 8 * SHAPE[0] * SHAPE[1]  # of an array


def legacy():
    b = np.asmatrix(np.random.random(SHAPE).T)
    a = np.matrix(np.random.random(SHAPE))  # SPIKE
    return a * b


def fixed():
    b = np.asmatrix(np.random.random(SHAPE).T)
    a = np.asmatrix(np.random.random(SHAPE))
    return a * b


if __name__ == "__main__":
    legacy()  # the first time faults code in
    stage.ready()
    stage.wait_go()
    legacy()
    fixed()
    stage.result(BYTES)
