# SPDX-License-Identifier: BSD-3-Clause
"""What is said of the agent's trials, and the figures that it is to reach.

Of costs the CPU time decides, the agent's own thread included. A figure in ns is judged as it
would be on the machine of the figures (interleave.py), and told as it was, too, beside what an
empty call of Debian's 3.11 took in those moments.
"""

from interleave import MACHINE_CALL_NS


class Figure:
    """One row of the figures to reach. `met` is True, False, or None: not measured."""

    def __init__(self, name, target):
        self.name, self.target = name, target
        self.measured, self.met = "not measured in this run", None

    def found(self, measured, met):
        self.measured, self.met = measured, met

    def as_dict(self):
        return {"name": self.name, "target": self.target, "measured": self.measured,
                "met": self.met}


def ranged(values, digits=2):
    return (f"{values['median']:.{digits}f} ({values['min']:.{digits}f} - "
            f"{values['max']:.{digits}f})")


def of_kind(trials, kind):
    """[(version, result)] of the trials of a kind that were measured, oldest version first."""
    its = [result for name, result in trials.items()
           if name.startswith(f"{kind}_") and "version" in result]
    return sorted(((result["version"], result) for result in its),
                  key=lambda each: int(each[0].split(".")[1]))


def limit_of(version):
    minor = int(version.split(".")[1])
    return 0.6 if minor >= 13 else 0.75 if minor == 12 else 0.8


def per_version(trials, kind, what, target, value_of, word_of, limit):
    """A figure of all versions: `limit` of a version or a number for all."""
    figure = Figure(what, target)
    its = of_kind(trials, kind)
    if its:
        limits = [limit(version) if callable(limit) else limit for version, _ in its]
        figure.found("; ".join(f"{version}: {word_of(result)}" for version, result in its),
                     all(value_of(result) <= its_limit
                         for (_, result), its_limit in zip(its, limits)))
    return figure


def ratio(trials, unit, what, target, limit):
    return per_version(
        trials, "agent_cost", what, target, lambda its: its[unit + "_ratio"]["median"],
        lambda its: ranged(its[unit + "_ratio"]), limit)


def beside_reference(values, reference, raw):
    """Words: scaled, and as it was."""
    return (f"{ranged(values, 0)} ns (as measured {raw['median']:.0f}, an empty call "
            f"{reference['median']:.0f})")


def against_noise(trials, kind, names, what, target, limit):
    """Over bare; the noise is the same measured without a tracer."""
    def words(result):
        return ", ".join(f"{name} {ranged(result[name], 3)}" for name in (*names, "nothing"))

    return per_version(trials, kind, what, target,
                       lambda its: max(its[name]["median"] for name in names), words, limit)


def two_busy(trials):
    figure = Figure("agent: two busy processes at once, CPU time of each", "at most 1.15 x one")
    its = trials.get("agent_two", {})
    if "traced" in its:
        figure.found(f"{ranged(its['traced'])} x; untraced {ranged(its['bare'])} x; lost "
                     f"{its['lost']['max']:.0f} of {its['seen']['max']:.0f} at worst",
                     its["traced"]["median"] <= 1.15)
    return figure


def equality(trials, name, what):
    figure = Figure(what, "100 %")
    its = trials.get(name)
    if its and "passed" in its:
        words = "{passed} interpreters equal, {failed} not, {skipped} missing".format(**its)
        figure.found("; ".join([words, *its["reasons"]]),
                     None if not its["passed"] and not its["failed"] else not its["failed"])
    return figure


def region_words(its):
    words = [f"{name} " + beside_reference(its[name + "_scaled"], its["reference"], its[name])
             for name in ("decorator", "with", "enable")]
    return ", ".join([*words, f"its own empty call {its['call_scaled']['median']:.0f} ns"])


def issue_table(trials):
    return [
        ratio(trials, "calls", "agent: functions (no C calls) to CSV, added time per call over "
              "cProfile's", "at most 0.6 on 3.13-3.15, 0.75 on 3.12, 0.8 on 3.9-3.11", limit_of),
        ratio(trials, "ccalls", "agent: functions with C calls, on C calls, the same",
              "at most 1.0", 1.0),
        per_version(trials, "agent_cost", "agent: lines to CSV, added time per line, scaled to "
                    f"{MACHINE_CALL_NS} ns per empty call", "at most 60 ns",
                    lambda its: its["lines_scaled"]["median"],
                    lambda its: beside_reference(its["lines_scaled"], its["lines_reference"],
                                                 its["lines_added"]), 60),
        against_noise(trials, "agent_outside", ("not_entered", "left"),
                      "agent: a function outside the focus, 3.12+, over bare", "within 3 %", 1.03),
        against_noise(trials, "agent_loaded", ("loaded",),
                      "agent: loaded, no tracer attached, over bare", "within 1 %", 1.01),
        equality(trials, "agent_oracle_functions",
                 "agent: records equal to the oracle, functions with C calls"),
        equality(trials, "agent_oracle_lines", "agent: records equal to the oracle, lines"),
        per_version(trials, "agent_lost", "agent: loader CPU per record, CSV", "at most 45 ns",
                    lambda its: its["loader_ns"], lambda its: f"{its['loader_ns']:.0f} ns", 45),
        per_version(trials, "agent_lost", "agent: lost with the default buffer, CSV in memory",
                    "0 of 10 000 000", lambda its: its["lost"],
                    lambda its: f"{its['lost']} of {its['seen']} at "
                                f"{its['events_per_s'] / 1e6:.1f} M/s", 0),
        two_busy(trials),
        per_version(trials, "agent_gone", "agent: hooks gone after kill -9 of the tracer", "200 ms",
                    lambda its: max(its["thread_ms"]["max"], its["bare_ms"]["max"]),
                    lambda its: f"thread {ranged(its['thread_ms'], 0)} ms, bare speed "
                                f"{ranged(its['bare_ms'], 0)} ms", 200),
        per_version(trials, "agent_regions", "a region of pikos.py while nobody is attached, scaled to "
                    f"{MACHINE_CALL_NS} ns per empty call", "under 200 ns",
                    lambda its: max(its[name + "_scaled"]["median"]
                                    for name in ("decorator", "with", "enable")),
                    region_words, 200),
    ]


def cost_lines(name, result):
    lines = []
    for unit, what in (("calls", "call"), ("ccalls", "C call"), ("lines", "line")):
        its = {key[len(unit) + 1:]: value for key, value in result.items()
               if key.startswith(unit + "_")}
        words = (f"bare {its['bare']['median']:.0f}, adds {ranged(its['added'], 0)}, beside an "
                 f"empty call of 3.11 of {its['reference']['median']:.0f}")
        if "cprofile" in its:
            words += f", cProfile adds {ranged(its['cprofile'], 0)}"
        lines.append(f"{name}: ns of CPU per {what}: {words}; loader "
                     f"{its['loader_ns']['median']:.0f} ns a record, lost {its['lost']['max']:.0f}")
    return lines


def rate_lines(tries):
    words = [f"{each['events_per_s'] / 1e6:.1f} M/s ({each['bytes_per_s'] / 1e6:.0f} MB/s) lost "
             f"{each['lost']} of {each['seen']}" for each in tries]
    last = tries[-1]
    ends = (f"loss begins above {last['events_per_s'] / 1e6:.1f} M events/s"
            if not last["lost"] and len(tries) > 1 else
            "no loss at the target's full speed" if not last["lost"] else "it loses at each rate")
    return [f"agent, CSV on the disk of build/: {ends}: " + ", ".join(words)]


def trial_lines(name, result):
    if name.startswith("agent_cost_"):
        return cost_lines(f"{result['version']} ({name[len('agent_cost_'):]})", result)
    return rate_lines(result["tries"]) if "tries" in result else []
