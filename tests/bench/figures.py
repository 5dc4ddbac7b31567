# SPDX-License-Identifier: BSD-3-Clause
"""What is said of the results: the table of subjects, the table of figures to reach."""

import agent_figures
import memory_figures
from agent_figures import Figure, ranged

MIB = 1 << 20


def runs_of(subjects, name):
    result = subjects.get(name)
    return result["spread"] if result and result["runs"] else {}


def over_floor(subjects, name, what, limit):
    figure = Figure(what, f"at most {limit} x")
    values = runs_of(subjects, name)
    if values.get("over_floor"):
        figure.found(f"{ranged(values['over_floor'])} x; CPU {ranged(values['over_floor_cpu'])} x",
                     values["over_floor"]["median"] <= limit)
    return figure


def loader_cpu(subjects):
    figure = Figure("loader CPU per record, CSV", "at most 300 ns")
    values = runs_of(subjects, "functions_csv").get("loader_ns_per_record")
    if values:
        figure.found(f"{ranged(values, 0)} ns", values["median"] <= 300)
    return figure


def lost(subjects):
    figure = Figure("lost, one busy process, default buffer, CSV on disk", "0 of 2 000 000")
    values = runs_of(subjects, "functions_csv")
    if values:
        least = int(values["seen"]["min"])
        figure.found(f"{int(values['lost']['max'])} of {least} at worst, "
                     f"{len(values['lost']['values'])} runs",
                     values["lost"]["max"] == 0 if least >= 2_000_000 else None)
    return figure


def equality(trials, name, what, target="100 %"):
    figure = Figure(what, target)
    result = trials.get(name)
    if not result or "passed" not in result:
        return figure
    measured = "{passed} programs equal, {failed} not, {skipped} skipped".format(**result)
    if result["worst_bytes"] is not None:
        measured = f"at most {result['worst_bytes']} bytes off, VMS equal; " + measured
    if result["reasons"]:
        measured += ": " + result["reasons"][0]
    figure.found(measured, None if not result["passed"] and not result["failed"] else
                 not result["failed"])
    return figure


def most(trials, name, key, what, target, limit):
    figure = Figure(what, target)
    values = trials.get(name, {}).get(key)
    if values:
        figure.found(f"{ranged(values, 1)} ms", values["max"] <= limit)
    return figure


def peak_memory(subjects, trials):
    figure = Figure("loader's peak memory beyond the buffer, any length of run", "at most 64 MiB")
    found = {name: trials[name]["beyond_buffers"] for name in ("long_run", "storm")
             if "beyond_buffers" in trials.get(name, {})}
    for name in subjects:
        values = runs_of(subjects, name).get("beyond_buffers")
        if values:
            found[name] = values["max"]
    if found:
        worst = max(found, key=found.get)
        words = [f"{found[name] / MIB:.1f} MiB in {name}" for name in
                 dict.fromkeys((worst, "long_run", "storm")) if name in found]
        figure.found(", ".join(words), found[worst] <= 64 * MIB)
    return figure


def afterwards(trials):
    figure = Figure("bare speed of the target after detach or kill -9", "100 % (within noise)")
    ratios = trials.get("speed_after", {}).get("over_before")
    if ratios:
        noise = max(1.05, ratios["nothing"]["max"])
        figure.found("time over before: " + ", ".join(
            f"{way} {ranged(values)}" for way, values in ratios.items()),
            all(ratios[way]["median"] <= noise for way in ("detach", "kill")))
    return figure


def elsewhere():
    figure = Figure("end-to-end tests on 5.10, 6.1, 6.12, 6.18 and sid's kernel",
                    "all pass, or skipped for a reason in FACTS.md")
    figure.measured = "by vmtests/run and tests/e2e/run, not here"
    return figure


def issue_table(subjects, trials):
    return [
        over_floor(subjects, "functions_csv", "functions to CSV over the floor, target's time",
                   1.35),
        over_floor(subjects, "function_memory_csv", "function_memory to CSV over the floor", 1.5),
        loader_cpu(subjects),
        lost(subjects),
        equality(trials, "oracle_functions", "records equal to the oracle, functions, 3.11"),
        equality(trials, "oracle_3_15", "the same on 3.15 (in a chroot), generators included",
                 "100 %, or the exact reason"),
        equality(trials, "oracle_lines",
                 "records equal to the oracle, lines, code without generators"),
        equality(trials, "statm",
                 "RSS against /proc/self/statm read just before, in code that has run once",
                 "within 64 KiB, VMS equal"),
        most(trials, "forked_child", "bare_after_ms",
             "a forked child that is not traced", "bare speed within 100 ms", 100),
        most(trials, "killed_while_paused", "running_ms",
             "killed with -9 while --lossless has paused the target",
             "running again within 100 ms", 100),
        peak_memory(subjects, trials),
        most(trials, "attach", "first_record_ms", "attach to first record", "at most 1 s", 1000),
        afterwards(trials),
        elsewhere(),
        *agent_figures.issue_table(trials),
        *memory_figures.issue_table(trials),
    ]


# ------------------------------------------------------------------ tables

COLUMNS = (  # key of a run, heading, digits, divisor
    ("unit_ns", "ns/call", 0, 1), ("unit_cpu_ns", "CPU ns", 0, 1), ("event_ns", "ns/event", 0, 1),
    ("over_bare", "x bare", 1, 1), ("over_floor", "x floor", 2, 1),
    ("over_floor_cpu", "CPU x", 2, 1), ("records_per_s", "k rec/s", 0, 1000),
    ("loader_ns_per_record", "loader ns", 0, 1), ("beyond_buffers", "MiB", 1, MIB),
    ("lost", "lost", 0, 1))


def cell(values, digits, divisor):
    return f"{values['median'] / divisor:.{digits}f}" if values else "-"


def subject_table(subjects):
    """Lines; medians, with the spread of the target's time."""
    rows = [["", *(heading for _, heading, _, _ in COLUMNS), "ns/call min - max"]]
    notes = []
    for name, result in subjects.items():
        values = result["spread"]
        if "reason" in result:
            notes.append(f"{name}: {result['reason']}")
        if not values:
            continue
        row = [name + (" (per line)" if result["unit"] == "lines" else "")]
        row += [cell(values.get(key), digits, divisor) for key, _, digits, divisor in COLUMNS]
        row.append(f"{values['unit_ns']['min']:.0f} - {values['unit_ns']['max']:.0f}")
        rows.append(row)
    return align(rows) + notes


def align(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join([row[0].ljust(widths[0])] +
                      [word.rjust(width) for word, width in zip(row[1:], widths[1:])]).rstrip()
            for row in rows]


def trial_lines(trials):
    lines = []
    for name, result in trials.items():
        if "reason" in result:
            lines.append(f"{name}: {result['reason']}")
        elif name.startswith("agent_"):
            lines += agent_figures.trial_lines(name, result)
        elif name == "two_busy":
            lines.append("two busy processes, ns per event: " + ", ".join(
                f"{way} {ranged(values['event_ns'], 0)}" +
                (f" lost {int(values['lost']['max'])}" if "lost" in values else "")
                for way, values in result.items()))
        elif name == "forked_child":
            lines.append("forked child over bare: first window "
                         f"{ranged(result['first_window_over_bare'], 1)} x, from 100 ms on "
                         f"{ranged(result['after_100_ms_over_bare'])} x")
        elif name == "speed_after":
            lines.append("semaphores back at 0: " + ", ".join(
                f"{way} {ranged(values, 1)} ms" for way, values in
                result["semaphores_ms"].items()))
        elif "seen" in result:
            lines.append("{}: seen={seen} lost={lost}, peak {:.1f} MiB, of it buffers {:.1f} MiB; "
                         "keeper {:.1f} MiB".format(
                             name, *(result[key] / MIB for key in
                                     ("peak", "buffers", "keeper_peak")),
                             **{key: result[key] for key in ("seen", "lost")}))
            lines += [f"{name}: lost {reason}" for reason in result["losses"]]
    return lines


def figure_lines(figures):
    lines = []
    for figure in figures:
        verdict = {True: "met", False: "NOT MET", None: "-"}[figure.met]
        lines += [f"{verdict:8}{figure.name}: {figure.target}", f"{'':8}{figure.measured}"]
    return lines
