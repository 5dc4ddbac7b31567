# SPDX-License-Identifier: BSD-3-Clause
"""The agent with times and threads, as other tracers' probes, as auto."""

import json
import os
import time

import interpreters
from harness import Skip, check, equal, test, wait_for
from records import events, parse_csv, read_csv
from test_agent_odd import AGENT, each_of_some, gone, odd, one_line, tasks
from test_oracle import BIG


# ------------------------------------------------------------------ times, threads, limits


TURNS = """
import sys, threading
sys.path.insert(0, %r)
import stage

# Two threads that take turns: each call happens after the other thread's last one.
locks = [threading.Lock(), threading.Lock()]
for lock in locks:
    lock.acquire()

def turn(who, number):
    return number

def turns(who):
    for number in range(200):
        locks[who].acquire()
        turn(who, number)
        locks[1 - who].release()

stage.ready()
stage.wait_go()
threads = [threading.Thread(target=turns, args=(who,)) for who in range(2)]
for thread in threads:
    thread.start()
locks[0].release()
for thread in threads:
    thread.join()
"""


@test()
def test_agent_threads_in_order(context):
    """Events of threads that take turns come out in turns, their times grow."""
    def turns(interpreter):
        place, _ = interpreter.place(context)
        script = os.path.join(interpreter.scratch(context), "turns.py")
        with open(script, "w") as stream:
            stream.write(TURNS % place)
        workload = context.start(interpreter.command(interpreter.inside(script)))
        tracer = context.record("functions", workload, *AGENT, *BIG, "--no-c-calls", "--fields",
                                "+tid,+time")
        equal(tracer.summary()["lost"], 0, "events lost")
        rows = read_csv(context.path("records.csv"), "functions", ("tid", "time"))
        tids = [row["tid"] for row in rows if row["function"] == "turn" and row["type"] == "call"]
        equal(len(tids), 400, "calls of turn()")
        check(all(a == b for a, b in zip(tids, tids[2:])) and tids[0] != tids[1],
              "the threads' calls are not in turns", actual=tids[:20])
        times = [row["time"] for row in rows]
        check(times == sorted(times) and times[0] > 0, "the times do not grow")
        # All of them within the life of the process, in the clock that they are said to be of.
        check(times[-1] < time.monotonic_ns() and times[0] > time.monotonic_ns() - 60 * 10**9,
              "the times are not of CLOCK_MONOTONIC")

    each_of_some(context, turns)


@test()
def test_agent_max_records(context):
    """--max-records and --duration end the tracing; the program runs on, without the agent."""
    def limited(interpreter):
        workload = odd(context, interpreter, "until_told")
        target = workload.ready("turning")
        context.run("functions", *AGENT, "--max-records", "1000", "-o", context.path("m.csv"),
                    "-p", target)
        equal(len(read_csv(context.path("m.csv"), "functions")), 1000, "records")
        context.run("functions", *AGENT, "--duration", "100ms", "-o", context.path("d.csv"), "-p",
                    target)
        check(read_csv(context.path("d.csv"), "functions"), "no records within --duration")
        wait_for(lambda: gone(target, 1), "the end of the agent's thread")
        workload.go()
        workload.wait(0)

    each_of_some(context, limited)


@test()
def test_agent_qualified(context):
    """--qualified: co_qualname from 3.11 on."""
    interpreter = interpreters.of_version(3, 13)
    workload = odd(context, interpreter, "napping")
    target = workload.ready("turning")
    tracer = context.trace("functions", *AGENT, "--qualified", "--no-c-calls", "-v", "--buffered",
                           "-o", context.path("q.csv"), "-p", target).attached()
    workload.go()
    workload.wait(0)
    tracer.wait(0)
    place, _ = interpreter.place(context)
    context.run("functions", *AGENT, "--qualified", "-v", "-o", context.path("r.csv"), "--",
                *interpreter.command(os.path.join(place, "agent_odd.py"), "exiting", "0"))
    outside = interpreter.scratch(context)
    with open(os.path.join(outside, "q.py"), "w") as stream:
        stream.write("class Outer:\n    class Inner:\n        def method(self):\n"
                     "            return [(lambda: n)() for n in (1,)]\n"
                     "Outer.Inner().method()\n")
    script = interpreter.inside(os.path.join(outside, "q.py"))
    context.run("functions", *AGENT, "--qualified", "--no-c-calls", "-o", context.path("s.csv"),
                "--", *interpreter.command(script))
    names = [row["function"] for row in read_csv(context.path("s.csv"), "functions")
             if row["filename"] == script and row["type"] == "call"]
    equal(names, ["<module>", "Outer", "Outer.Inner", "Outer.Inner.method",
                  "Outer.Inner.method.<locals>.<lambda>"], "the names of calls")


@test()
def test_agent_live(context):
    """A record is out soon after its event although its batch is not full: a target that sleeps
    right after some events, with a recorder that flushes."""
    def live(interpreter):
        workload = odd(context, interpreter, "own_tool", "profile", "never")
        context.attach("functions", workload, *AGENT, "--no-c-calls", output="live.csv")
        workload.go()
        workload.ready("set")
        # It waits for us now: whatever comes, the timer brought.
        wait_for(lambda: sum(row["function"] == "step" for row in
                             complete_rows(context.path("live.csv"))) == 100,
                 "the records of 50 calls of step()")
        workload.go()
        workload.ready("removed")
        workload.go()
        workload.wait(0)

    each_of_some(context, live)


def complete_rows(path):
    with open(path, "rb") as stream:
        data = stream.read()
    end = data.rfind(b"\r\n") + 2
    return parse_csv(data[:end], "functions") if end > 2 else []


@test()
def test_agent_lossless(context):
    """A small buffer with --lossless loses nothing; without, what is lost is counted."""
    def small(interpreter):
        place, _ = interpreter.place(context)
        for more in (("--lossless",), ()):
            workload = context.start(interpreter.command(os.path.join(place, "busy.py"), "300000"))
            tracer = context.attach("functions", workload, *AGENT, "--no-c-calls",
                                    "--buffer-size", "64K", *more)
            workload.go()
            workload.ready("done")
            workload.go()
            workload.wait(0)
            tracer.wait(0)
            summary = tracer.summary()
            if more:
                equal(summary["lost"], 0, "events lost with --lossless")
            rows = read_csv(context.path("records.csv"), "functions")
            lost = [row for row in rows if row["type"] == "lost"]
            equal(sum(int(row["lineNo"]) for row in lost), summary["lost"], "rows of lost events")
            at = 0
            for row in rows:
                equal(row["index"], at, "the index")
                at += int(row["lineNo"]) if row["type"] == "lost" else 1
            equal(at, summary["seen"], "events that the rows account for")
            check(summary["seen"] >= 600_000, "events seen", "600000 or more", summary["seen"])
            unknown = {row["function"] for row in rows} - {
                "work", "counted", "main", "<module>", "ready", "wait_go", "_descriptor", "lost"}
            check(len(unknown) < 60, "names that were never called", actual=unknown)

    each_of_some(context, small)


@test()
def test_agent_filters(context):
    """--filter works on the agent's records: by name, by type, by change."""
    interpreter = interpreters.of_version(3, 13)
    workload = odd(context, interpreter, "own_tool", "profile", "never")
    tracer = context.attach("functions", workload, *AGENT, "--filter", "function=step",
                            "--filter", "type=call")
    for text in ("set", "removed"):
        workload.go()
        workload.ready(text)
    workload.go()
    workload.wait(0)
    tracer.wait(0)
    rows = read_csv(context.path("records.csv"), "functions")
    equal({(row["type"], row["function"]) for row in rows}, {("call", "step")}, "what was kept")
    equal(len(rows), 1050, "records kept")
    summary = tracer.summary()
    equal((summary["written"], summary["lost"]), (1050, 0), "written and lost")
    check(summary["filtered"] > 1050, "records filtered", actual=summary)


# ------------------------------------------------------------------ auto


@test()
def test_agent_auto(context):
    """auto: built-in probes where they give all, the agent in run mode, else a refusal that names
    it for -p; C calls make it take the agent only where they are asked for."""
    lacking = interpreters.of_version(3, 13)
    place, _ = lacking.place(context)
    command = lacking.command(os.path.join(place, "agent_odd.py"), "exiting", "0")
    context.run("functions", "-v", "-o", context.path("a.csv"), "--", *command)
    kinds = {row["type"] for row in read_csv(context.path("a.csv"), "functions")}
    check("c_call" in kinds, "run mode did not take the agent", actual=kinds)
    workload = odd(context, lacking, "sleeping")
    target = workload.ready("turning")
    tracer = context.run("functions", "-o", context.path("b.csv"), "-p", target, status=1)
    one_line(tracer, "--source agent")
    equal(tasks(target), 1, "threads of the refused target")
    workload.go()
    workload.wait(0)
    probes = next((each for each in interpreters.known() if each.label == "system_3_11"), None)
    if not probes:
        raise Skip("no /usr/bin/python3.11 with probes")
    for more, wanted in (((), False), (("--c-calls",), True), (("--no-c-calls",), False)):
        script = context.write("s.py", "def f():\n    return len('x')\nf()\n")
        context.run("functions", "-v", *more, "-o", context.path("c.csv"), "--", probes.path, script)
        kinds = {row["type"] for row in read_csv(context.path("c.csv"), "functions")}
        equal("c_call" in kinds, wanted, f"whether C calls are there with {more}")


@test()
def test_agent_pikos_run(context):
    """pikos-run on an interpreter without probes: from <module>'s entry to its return."""
    for interpreter in interpreters.known():
        if interpreter.suite or (interpreter.version == (3, 11) and "system" in interpreter.label):
            continue
        script = context.write("script.py", "import sys\ndef gcd(a, b):\n"
                               "    return a if b == 0 else gcd(b, a % b)\n"
                               "class Thing:\n    def method(self):\n"
                               "        return list(map(gcd, [4], [2]))\n"
                               "Thing().method()\nsys.exit(3)\n")
        environment = context.environment(PIKOS_PYTHON=interpreter.path)
        context.pikos_run("functions", script, "--recording", "csv", "-o", context.path("a.csv"),
                          env=environment, status=3)
        rows = events(read_csv(context.path("a.csv"), "functions"))
        its = [event[:2] for event in rows if not event.kind.startswith("c_")]
        equal(its, [("call", "<module>"), ("call", "Thing"), ("return", "Thing"),
                    ("call", "method"), ("call", "gcd"), ("call", "gcd"), ("return", "gcd"),
                    ("return", "gcd"), ("return", "method"), ("return", "<module>")],
              f"the records on {interpreter.name}")
        context.pikos_run("lines", script, "--recording", "csv", "-o", context.path("b.csv"),
                          env=environment, status=3)
        rows = read_csv(context.path("b.csv"), "lines")
        equal([row["lineNo"] for row in rows], [1, 2, 4, 4, 5, 7, 6, 3, 3, 8],
              f"the lines on {interpreter.name}")


# ------------------------------------------------------------------ the doctor


@test()
def test_agent_doctor(context):
    """--list -p tells version, probes and what the agent adds; --json the same."""
    interpreter = interpreters.of_version(3, 13)
    workload = odd(context, interpreter, "sleeping")
    target = workload.ready("turning")
    told = context.run("--list", "-p", target).output
    check("3.13" in told and "agent" in told, "no version, or no word of the agent", actual=told)
    found = json.loads(context.run("--list", "--json", "-p", target).output)
    check("3.13" in json.dumps(found), "no version in the JSON", actual=found)
    equal(tasks(target), 1, "threads of the target")
    workload.go()
    workload.wait(0)
