# SPDX-License-Identifier: BSD-3-Clause
"""What a workload of the end-to-end tests says to the test, and waits for.

The test hands over three descriptors by number in the environment: the workload announces itself
on one, waits for a byte on the second and leaves its findings in the file behind the third. Where
they are missing the workload runs alone, without waiting.
"""

import os
import pickle
import signal


def _descriptor(name):
    value = os.environ.get("PIKOS_TEST_" + name)
    return None if value is None else int(value)


def ready(text="ready"):
    """Announce on the pipe: one line, with our pid, which a chroot's shell may have hidden."""
    fd = _descriptor("READY")
    if fd is not None:
        os.write(fd, b"%d %s\n" % (os.getpid(), text.encode()))


def wait_go():
    """Sleep until the test says go; a test that died must not leave us behind for ever."""
    fd = _descriptor("GO")
    if fd is not None and not os.read(fd, 1):
        os._exit(99)


def waker():
    """Return a function that waits until a handler of Python's has run, one that ran since this
    call included: signal.pause() would wait for another signal then."""
    wakes, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    return lambda: os.read(wakes, 1)


def result(findings):
    fd = _descriptor("RESULT")
    if fd is not None:
        with open(fd, "wb", closefd=False) as stream:
            # 4: CPython 3.8 and later read it, whichever interpreter runs the tests.
            pickle.dump(findings, stream, 4)
