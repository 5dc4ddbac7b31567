# SPDX-License-Identifier: BSD-3-Clause
"""What an end-to-end test cannot reach: the agent's own states, in one interpreter, in seconds.

Usage: AGENT=build/tests/libpikos-agent-test.so PYTHON tests/agent/selftest.py
"""

import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import warnings

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from driver import (AT_START, BATCH, BUSY, C_CALLS, FOCUS, HELPER, HOOKED, KINDS, LINES,  # noqa: E402
                    NO_VALUES, OLD_PROBES, OVERHEAD, QUALIFIED, REGION_ENTER, REGION_LEAVE,
                    REGIONS, REPLACED, RESENT, TIMES, UNKNOWN_VERSION, VALUES, WINDOW, Session,
                    library, rule, sink, start, wait_for)

HERE = os.path.basename(__file__)
KIND_CODES = {name: code for code, name in KINDS.items()}
HAS_MONITORING = sys.version_info >= (3, 12)
BOTH = (0, LINES)


def leaf():
    return divmod(3, 2)


def outer():
    leaf()
    leaf()
    return 2


def other():
    return leaf()


class Holder:
    def method(self):
        return 1


OUTER = [("call", "outer"), *[("call", "leaf"), ("return", "leaf")] * 2, ("return", "outer")]


def count(session, name, kind="call"):
    return session.of(name).count((kind, name))


class Page:
    """A file in the place of the kernel's page."""

    def __init__(self):
        file = tempfile.TemporaryFile(prefix="agent-page-")
        self.file, self.fd = file, file.fileno()
        self.set(1, 1)

    def __del__(self):
        self.file.close()

    def set(self, rss, vms):
        os.pwrite(self.fd, struct.pack("<QQ", rss, vms).ljust(4096, b"\0"), 0)

    @staticmethod
    def is_mapped():
        with open("/proc/self/maps") as maps:
            return "agent-page-" in maps.read()


class Agent(unittest.TestCase):
    def entered(self, session, flags):
        """Runs of outer()."""
        return count(session, "outer", "line") / 3 if flags & LINES else count(session, "outer")

    def test_helper_hooks_and_goes(self):
        with Session() as session:
            outer()
        self.assertEqual(session.of("outer", "leaf"), OUTER)
        wait_for(lambda: len(os.listdir("/proc/self/task")) == threading.active_count(),
                 "end of the helper")
        if HAS_MONITORING:
            self.assertEqual([sys.monitoring.get_tool(i) for i in range(6)], [None] * 6)
        self.assertIsNone(sys.getprofile())
        self.assertIsNone(sys.gettrace())

    def test_c_calls(self):
        with Session(C_CALLS | AT_START) as session:
            outer()
        self.assertEqual(session.of("divmod"), [("c_call", "divmod"), ("c_return", "divmod")] * 2)

    def test_overhead(self):
        """Other hooks, the same events; those of the next session are not timed."""
        for flags in (0, LINES, C_CALLS):
            started = time.monotonic()
            with Session(flags | OVERHEAD | AT_START) as session:
                for _ in range(700):
                    outer()
            took = (time.monotonic() - started) * 1e9
            counts = {kind: 0 for kind in KINDS}
            for event in session.events:
                counts[KIND_CODES[event[0]]] += 1
            for kind, counted in counts.items():
                runs = session.overhead.get(kind, (0, 0))[0]  # without that which ends the session
                self.assertGreaterEqual(runs + 1, counted, KINDS[kind])
            self.assertGreaterEqual(sum(counts.values()), 6 * 700)
            own = sum(ns for kind, (_, ns) in session.overhead.items() if kind != HELPER)
            self.assertTrue(0 < own < took, (own, took))
            self.assertGreater(session.overhead[BATCH][0], 0)
            with Session(flags | AT_START) as session:
                outer()
            self.assertEqual(session.overhead, {})

    def test_focus(self):
        for flags in (0, C_CALLS):
            with Session(FOCUS | AT_START | flags, [rule("outer", [HERE])]) as session:
                for _ in range(50):
                    other()
                outer(), other(), outer()
            self.assertEqual(session.of("outer", "leaf", "other"), OUTER * 2)

    def test_focus_of_lines(self):
        first = outer.__code__.co_firstlineno
        with Session(FOCUS | LINES | AT_START, [rule("outer", [HERE])]) as session:
            other(), outer(), other(), outer()
        self.assertEqual([event[3] for event in session.events],
                         [first + 1, first + 2, first + 3] * 2)

    def test_focus_that_runs(self):
        """Its name is found when the hooks are put in, and counts behind that."""
        def within():
            with Session(FOCUS | LINES | AT_START, [rule("within", [HERE])]) as session:
                leaf()
            return session

        session = within()
        self.assertIn(within.__code__.co_firstlineno + 2, [event[3] for event in session.events])

    @unittest.skipUnless(HAS_MONITORING, "has no local events")
    def test_focus_of_lines_named_anew(self):
        """Names that are sent again do not set local events again: they would outlive the code."""
        calls, own = [], sys.monitoring.set_local_events

        def set_local_events(tool, code, events):
            if code.co_name == "passing":
                calls.append(events != 0)
            own(tool, code, events)

        sys.monitoring.set_local_events = set_local_events
        try:
            with Session(FOCUS | LINES | AT_START, [rule("passing")]) as session:
                space = {}
                exec("def passing(): pass\npassing()", space)
                library.agent_test_set(1, 1)
                wait_for(lambda: space["passing"]() or RESENT in session.read(), "answer")
                library.agent_test_set(1, 0)
                space["passing"]()
                del space["passing"]
        finally:
            sys.monitoring.set_local_events = own
        self.assertEqual(calls, [True])

    def test_focus_elsewhere(self):
        line = outer.__code__.co_firstlineno
        for rules in ([rule("outer", ["no.py"])], [rule("outer", [], [(line + 1, line + 9)])]):
            with Session(FOCUS | AT_START, rules) as session:
                outer()
            self.assertEqual(session.events, [])

    def test_window(self):
        code = compile("def inner():\n  return 1\ninner()\n", "/a/script.py", "exec")
        with Session(WINDOW | AT_START, window="/a/script.py") as session:
            outer(), exec(code, {}), outer()
        self.assertEqual([event[:2] for event in session.events],
                         [("call", "<module>"), ("call", "inner"), ("return", "inner"),
                          ("return", "<module>")])

    def test_regions(self):
        with Session(REGIONS | AT_START) as session:
            outer()
            library.pikos_agent(REGION_ENTER, None)
            outer()
            library.pikos_agent(REGION_LEAVE, None)
            outer()
        self.assertEqual(session.of("outer", "leaf"), OUTER)

    def test_names_times(self):
        with Session(QUALIFIED | TIMES | AT_START) as session:
            Holder().method()
        qualified = "Holder.method" if sys.version_info >= (3, 11) else "method"
        self.assertEqual(count(session, qualified), 1)
        times = [event[5] for event in session.events]
        self.assertTrue(times[0] and times == sorted(times), times)

    def test_values(self):
        """Each event has what the page says then; a batch's head what was said before it."""
        wanted = [(1, 1), (1, 1), (2, 1), (2, 1 << 40), ((1 << 40) + 1, 7), *[(5, 6)] * 900,
                  (5, 6), *((i, 6) for i in range(700))]
        for flags, kind in ((0, "call"), (C_CALLS, "call"), (LINES, "line"), (TIMES, "call")):
            page = Page()
            with Session(VALUES | AT_START | flags, values=page.fd) as session:
                for rss, vms in wanted:
                    page.set(rss, vms)
                    leaf()
            self.assertEqual([event[6] for event in session.events if event[:2] == (kind, "leaf")],
                             wanted)
            self.assertFalse(page.is_mapped(), "the page is still mapped")

    def test_values_late(self):
        """Hooked by the helper, and again with another page while the session before ends."""
        for rss in (3, 4):
            page = Page()
            page.set(rss, 9)
            with Session(VALUES, values=page.fd) as session:
                leaf()
            self.assertIn((rss, 9), [event[6] for event in session.events if event[1] == "leaf"])
            wait_for(lambda: not Page.is_mapped(), "end of the mapping")

    def test_hooked_once(self):
        """While hooks are set or taken out the GIL is let go; whoever has it then does neither."""
        changes = ("sys.setprofile", "sys.settrace", "sys.monitoring.register_callback")
        is_slow = True

        def slow(event, _):
            if is_slow and event in changes:
                time.sleep(0.05)

        sys.addaudithook(slow)
        for flags in (*BOTH, *BOTH):
            page = Page()
            page.set(3, 9)
            with Session(VALUES | flags, values=page.fd) as session:
                leaf()
            self.assertEqual(session.notices.count(HOOKED), 1)
            self.assertIn((3, 9), [event[6] for event in session.events if event[1] == "leaf"])
        is_slow = False

    def test_no_values(self):
        """A page that nobody keeps, or that is none, refuses; the next session has its own."""
        page = Page()
        page.set(0, 0)
        self.assertEqual(start(VALUES | AT_START, values=page.fd), NO_VALUES)
        self.assertEqual(start(VALUES | AT_START, values=-1), NO_VALUES)
        self.assertFalse(page.is_mapped())
        with Session(AT_START) as session:
            outer()
        self.assertEqual(session.of("outer", "leaf"), OUTER)

    def test_values_and_fork(self):
        """The child looks at no page of its parent's."""
        page = Page()
        with Session(VALUES | AT_START, values=page.fd) as session:
            pid = os.fork()
            if not pid:
                outer()
                os._exit(page.is_mapped())
            self.assertEqual(os.waitpid(pid, 0)[1], 0)
            page.set(77, 88)
            outer()
        self.assertEqual(session.events[-2][6], (77, 88))

    def test_resend(self):
        with Session(AT_START) as session:
            for _ in range(2):
                outer()
                library.agent_test_set(1, 1)
                wait_for(lambda: outer() and session.read().count(RESENT) == _ + 1, "answer")
                library.agent_test_set(1, 0)
                wait_for(lambda: outer() and library.agent_test_resend_is_known(), "end of it")
        self.assertEqual(session.notices.count(RESENT), 2)

    def test_threads(self):
        for flags in BOTH:
            with Session(flags | AT_START) as session:
                threads = [threading.Thread(target=outer) for _ in range(8)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            self.assertEqual(self.entered(session, flags), 8)
            tids = {event[4] for event in session.events if event[1] == "outer"}
            self.assertEqual(len(tids), 8)

    def test_own_function(self):
        """The program's own profiler and tracer run beside ours, before and after us."""
        def own(frame, event, _):
            seen.append((event, frame.f_code.co_name))
            return own

        for flags, put, get in ((0, sys.setprofile, sys.getprofile),
                                (LINES, sys.settrace, sys.gettrace)):
            seen = []
            with Session(flags | AT_START) as session:
                outer()
                put(own)
                outer()
                self.assertIs(get(), own)
                put(None)
                self.assertIsNone(get())
                outer()
            self.assertEqual(seen.count(("call", "outer")), 1)
            self.assertEqual(self.entered(session, flags), 3)
            if flags or not HAS_MONITORING:
                self.assertIn(REPLACED, session.notices)
            put(own)
            with Session(flags) as session:
                outer()
            self.assertIs(get(), own)
            put(None)
            self.assertEqual(self.entered(session, flags), 1)

    def test_own_function_that_raises(self):
        def bad(*_):
            raise ZeroDivisionError

        for flags, put, get in ((0, sys.setprofile, sys.getprofile),
                                (LINES, sys.settrace, sys.gettrace)):
            with Session(flags | AT_START) as session:
                with self.assertRaises(ZeroDivisionError):
                    put(bad), outer()
                put(None)
                outer()
            self.assertIsNone(get())
            self.assertGreaterEqual(self.entered(session, flags), 1)

    def test_fork(self):
        for flags in BOTH:
            with Session(flags | AT_START) as session:
                outer()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    child = os.fork()
                if not child:
                    for _ in range(2000):
                        outer()
                    sink.value = os.open(os.devnull, os.O_WRONLY)  # what follows is its own session
                    os._exit(start(flags) != 0)
                self.assertEqual(os.waitpid(child, 0)[1], 0)
                outer()
            self.assertEqual(self.entered(session, flags), 2)

    def test_busy(self):
        with Session(AT_START):
            self.assertEqual(start(AT_START), BUSY)

    def test_codes_come_and_go(self):
        with Session(C_CALLS | AT_START) as session:
            for number in range(500):
                space = {}
                exec(f"def made_{number}(): return len([])\nmade_{number}()", space)
                del space
        made = [event[1] for event in session.events if event[1].startswith("made_")]
        self.assertEqual(made, [f"made_{n}" for n in range(500) for _ in range(2)])

    def test_ends_of_the_program(self):
        path = f"/tmp/agent-end-{os.getpid()}"
        for end, status in (("os._exit(0)", 0), ("pass", 0), ("sys.exit(3)", 3),
                            ("os.execv('/bin/true', ['true'])", 0),
                            ("os.kill(os.getpid(), 9)", -9)):
            program = (f"import os, sys; sys.path.insert(0, {sys.path[0]!r})\n"
                       f"from driver import *\ndef leaf(): pass\n"
                       f"Session(AT_START, path={path!r}).__enter__()\nleaf()\n{end}\n")
            done = subprocess.run([sys.executable, "-c", program], check=False)
            self.assertEqual(done.returncode, status, end)
            session = Session(path=path)
            session.read()
            os.unlink(path)
            self.assertEqual(session.of("leaf"), [("call", "leaf"), ("return", "leaf")], end)

    def test_z_old_probes(self):
        """Without somebody at them they are nothing. Last: they stay."""
        self.assertEqual(start(AT_START | OLD_PROBES), 0)
        self.assertIsNone(sys.getprofile())
        self.assertIsNone(sys.gettrace())


class TooOld(unittest.TestCase):
    def test_refusal(self):
        self.assertEqual(start(AT_START), UNKNOWN_VERSION)


if __name__ == "__main__":
    unittest.main(defaultTest="Agent" if sys.version_info >= (3, 9) else "TooOld")
