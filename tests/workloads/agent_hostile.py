# SPDX-License-Identifier: BSD-3-Clause
"""Programs that find out what a careless agent does to them. Usage: agent_hostile.py NAME

Each does its part between the test's go and its end, and keeps a result for the test.
"""

import builtins
import ctypes
import os
import resource
import signal
import sys
import threading

import stage


def leaf(number):
    return number


def imports():
    """Does somebody import by the program's own function?"""
    names = []
    own = builtins.__import__

    def importing(name, *arguments, **options):
        names.append(name)
        return own(name, *arguments, **options)

    builtins.__import__ = importing
    stage.ready()
    stage.wait_go()
    builtins.__import__ = own
    stage.result("atexit" in names)


def no_memory():
    """20 000 calls of a function that is new to the agent, when malloc has nothing left."""
    malloc = ctypes.CDLL(None).malloc
    malloc.argtypes, malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    stage.ready()
    stage.wait_go()
    with open("/proc/self/statm") as stream:
        size = int(stream.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
    for piece in (1 << 20, 1 << 16, 1 << 12, 1 << 10, 512, 256, 128, 96, 64, 48, 32, 16):
        while malloc(piece):
            pass
    for number in range(20000):
        leaf(number)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def forks():
    """Two threads that fork in C at once, without the GIL; their children only end."""
    libc = ctypes.CDLL(None)
    stage.ready()
    stage.wait_go()

    def forking():
        for _ in range(300):
            child = libc.fork()
            if not child:
                os._exit(0)
            os.kill(child, signal.SIGKILL)  # the GIL may be another's for ever there
            os.waitpid(child, 0)

    threads = [threading.Thread(target=forking) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    leaf(1)


def runs():
    """Runs on until told, and says how often a signal has come to it."""
    signals = []
    signal.signal(signal.SIGUSR1, lambda *_: signals.append(1))
    done = threading.Event()
    threading.Thread(target=lambda: (stage.wait_go(), done.set())).start()
    stage.ready()
    while not done.is_set():
        leaf(1)
    os.kill(os.getpid(), signal.SIGUSR1)
    for _ in range(1000):
        leaf(1)
    stage.result((len(signals), os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK))


globals()[sys.argv[1]]()
