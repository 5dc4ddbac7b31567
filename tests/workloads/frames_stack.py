# SPDX-License-Identifier: BSD-3-Clause
"""A stack in the words of the interpreter itself."""


def stack_of(frame):
    """[(file, function, qualified name or None, line), ...], innermost first."""
    found = []
    while frame:
        code = frame.f_code
        found.append((code.co_filename, code.co_name, getattr(code, "co_qualname", None),
                      frame.f_lineno))
        frame = frame.f_back
    return found
