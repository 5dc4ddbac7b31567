# SPDX-License-Identifier: BSD-3-Clause
"""Functions and classes for the tests of --focused-on; focusing.py runs them."""


def helper(n):
    return n + 1


def area(n):
    return helper(n) * 2


def collatz(n):
    if n == 1:
        return helper(0)
    return collatz(n // 2 if n % 2 == 0 else 3 * n + 1)


def numbers(stop):
    for n in range(stop):
        yield helper(n)


def leaves():
    helper(1)
    raise LookupError("leaves the focus")


def outer():
    try:
        leaves()
    except LookupError:
        helper(2)
    helper(3)


class Circle:
    def __init__(self, n):
        self.n = n

    def area(self):
        return helper(self.n)

    class Inner:
        def area(self):
            return helper(-1)


class Square:
    def __init__(self, n):
        self.n = n

    def area(self):
        return helper(self.n) + helper(self.n)

    def grow(self):
        def step():
            return helper(self.n)

        return step() + step()


def decorate(function):
    def wrapper(*args):
        return function(*args)

    return wrapper


@decorate
@decorate
def decorated(n):
    return helper(n)


key = lambda n: helper(n)  # noqa: E731
