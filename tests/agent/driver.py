# SPDX-License-Identifier: BSD-3-Clause
"""The agent in this very process, with a file in the kernel's place (sink.c).

with Session(flags) as session: ...; then session.events, .notices and .batches.
"""

import ctypes
import os
import struct
import tempfile
import time

(LINES, C_CALLS, QUALIFIED, TIMES, VALUES, AT_START, FOCUS, WINDOW,
 REGIONS, OLD_PROBES) = (1 << bit for bit in range(10))
OVERHEAD = 1 << 14
START, REGION_ENTER, REGION_LEAVE = 1, 2, 3
HOOKED, ENDED, RESENT, REPLACED = 1, 2, 3, 4
BUSY, UNKNOWN_VERSION, NO_VALUES = -1, -3, -10

KINDS = {1: "call", 2: "return", 3: "line", 4: "c_call", 5: "c_return", 6: "c_exception"}
THREAD, DEFINE, FORGET, NOTICE, SAID, TOOK = 8, 9, 10, 11, 12, 13
BATCH, HELPER = 13, 14  # of what took time, beside the kinds of events
HEAD = struct.Struct("<BBHIQQQQQIIIIQQ4I")  # struct wire_batch
SLOT = struct.Struct("<QIi")
SEED = 12345
DEADLINE = 20

library = ctypes.PyDLL(os.environ["AGENT"])
library.pikos_agent.argtypes = [ctypes.c_int, ctypes.c_void_p]
sink = ctypes.c_int.in_dll(library, "agent_test_fd")


def wire_hash(text):
    """bpf/wire.h's."""
    mask, value, data = (1 << 64) - 1, SEED, text.encode()
    for at in range(0, len(data), 8):
        value = (value ^ int.from_bytes(data[at:at + 8], "little")) * 0x9E3779B97F4A7C15 & mask
        value ^= value >> 29
    value = (value ^ len(data)) * 0x9E3779B97F4A7C15 & mask
    return value ^ value >> 32


def rule(name, suffixes=(), ranges=()):
    """A struct wire_rule."""
    files = b"".join(struct.pack("<QII", wire_hash(each), len(each), 1) for each in suffixes)
    lines = b"".join(struct.pack("<ii", *each) for each in ranges)
    return (struct.pack("<QII", wire_hash(name), len(suffixes), len(ranges)) +
            files.ljust(24 * 16, b"\0") + lines.ljust(8 * 8, b"\0"))


def start(flags, rules=(), window="", values=-1):
    body = b"".join(rules)
    config = struct.pack("<IIIIQQQiI", 48 + len(body), 3, flags, len(rules), SEED,
                         wire_hash("<module>"), wire_hash(window), values, 0) + body
    library.agent_test_set(1, 0)
    return library.pikos_agent(START, config)


def wait_for(condition, what):
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"no {what}")
        time.sleep(0.001)


def parse(data):
    """(events, notices, number of batches, overhead by kind): all that is complete."""
    names, events, notices, batches, overhead, at = {}, [], [], 0, {}, 0
    values = (0, 0)
    while at + HEAD.size <= len(data):
        head = HEAD.unpack_from(data, at)
        n, n_events, tid = head[9:12]
        slots = data[at + HEAD.size:at + HEAD.size + n * SLOT.size]
        if len(slots) < n * SLOT.size:
            break
        at += HEAD.size + len(slots)
        batches += 1
        assert head[13:15] == values, "a batch's RSS and VMS of its first events"
        before, i = len(events), 0
        while i < n:
            when, code, packed = SLOT.unpack_from(slots, i * SLOT.size)
            kind, line = packed & 15, packed >> 4
            i += 1
            if kind in KINDS:
                events.append((KINDS[kind], *names[code], line, tid, when, values))
            elif kind == THREAD:
                tid = code
            elif kind == DEFINE:
                raw = slots[i * SLOT.size:(i + line) * SLOT.size]
                name, file = struct.unpack_from("<HH", raw)
                names[code] = raw[8:8 + name].decode(), raw[8 + name:8 + name + file].decode()
                i += line
            elif kind == FORGET:
                del names[code]
            elif kind == SAID:
                values = struct.unpack_from("<QQ", slots, i * SLOT.size)
                i += line
            elif kind == TOOK:
                overhead[code] = struct.unpack_from("<QQ", slots, i * SLOT.size)
                i += line
            elif kind == NOTICE:
                if code == HOOKED:  # the loader forgets, too: it may be another program's agent
                    names.clear()
                notices.append(code)
        assert len(events) - before == n_events, "a batch's count of its events"
        assert head[8] == before, "the count of the events before a batch"
    return events, notices, batches, overhead


class Session:
    def __init__(self, flags=0, rules=(), window="", path=None, values=-1):
        self.flags, self.rules, self.window = flags, rules, window
        self.path, self.values = path, values

    def read(self):
        with open(self.path, "rb") as stream:
            (self.events, self.notices, self.batches,
             self.overhead) = parse(stream.read())
        return self.notices

    def __enter__(self):
        if not self.path:
            sink.value, self.path = tempfile.mkstemp(prefix="agent-")
        else:
            sink.value = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        result = start(self.flags, self.rules, self.window, self.values)
        assert result == 0, f"start: {result}"
        wait_for(lambda: HOOKED in self.read(), "hooks")
        return self

    def __exit__(self, *_):
        library.agent_test_set(0, 0)
        wait_for(lambda: self.read()[-1:] == [ENDED], "end")
        os.close(sink.value)
        sink.value = -1
        os.unlink(self.path)

    def of(self, *names):
        """(kind, name) of the events of these names."""
        return [event[:2] for event in self.events if event[1] in names]
