# SPDX-License-Identifier: BSD-3-Clause
"""scripts/plot: pictures of real recordings, the lines it marks and the spikes it finds."""

import os
import re
import subprocess
import xml.etree.ElementTree as xml

from harness import ROOT, WORKLOADS, Skip, check, equal, test
from records import read_csv
from test_oracle import BIG

PLOT = os.path.join(ROOT, "scripts", "plot")
MIB = 1 << 20
SVG = "{http://www.w3.org/2000/svg}"


def need(python, *modules):
    done = subprocess.run([python, "-c", "import " + ", ".join(modules)], stderr=subprocess.PIPE)
    if done.returncode:
        raise Skip(f"{python} has no {' or no '.join(modules)}")


def line_of(workload, mark):
    with open(os.path.join(WORKLOADS, workload)) as stream:
        return next(number for number, line in enumerate(stream, 1)
                    if re.search(mark, line))


def plot(*arguments, status=0, data=None):
    done = subprocess.run([PLOT, *map(str, arguments)], input=data, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    equal(done.returncode, status, f"exit status of plot: {done.stderr.decode()}")
    return done.stdout.decode(), done.stderr.decode()


def curve_of(picture, name):
    """The points of the curve in an SVG, in its own units."""
    root = xml.parse(picture).getroot()
    group = next(each for each in root.iter(SVG + "g") if each.get("id") == name)
    path = group.find(SVG + "path").get("d")
    return [tuple(map(float, pair)) for pair in re.findall(r"[ML] (\S+) (\S+)", path)], root


def texts(root):
    return ["".join(each.itertext()) for each in root.iter(SVG + "text")]


def record(context, monitor, *arguments, workload="spike.py", **options):
    need(context.python, "numpy")
    context.record(monitor, context.workload(workload), *BIG, *arguments, **options)
    return context.path("records.csv")


@test(lines=True)
def test_plot_svg(context):
    """Each record is a point of the curve, at its height; lines are told by function and number."""
    need("/usr/bin/python3", "matplotlib")
    records = record(context, "line_memory", "--focused-on", "legacy,fixed")
    rows = read_csv(records, "line_memory")
    picture = context.path("picture.svg")
    said, _ = plot(records, picture)
    points, root = curve_of(picture, "RSS")
    # Steps: each record but the first adds two points, of which one may lie in a straight line.
    equal(len(points), 2 * len(rows) - 1, "points of the curve")
    heights = [point[1] for point in points[::2]]
    highest = max(range(len(rows)), key=lambda i: rows[i]["RSS"])
    equal(heights.index(min(heights)), highest, "the record at the top of the picture")
    ratio = [(heights[0] - each) / (rows[i]["RSS"] - rows[0]["RSS"])
             for i, each in enumerate(heights) if abs(rows[i]["RSS"] - rows[0]["RSS"]) > MIB]
    check(max(ratio) < 1.001 * min(ratio), "heights are in proportion to RSS", actual=ratio)
    spike = f"legacy:{line_of('spike.py', 'SPIKE')} (spike.py)"
    marked = [text for text in texts(root) if re.fullmatch(r"\+[\d.]+ MiB " + re.escape(spike),
                                                           text)]
    check(marked, "the line that grew is not marked", spike, texts(root))
    check({"index", "RSS (MiB)"} <= set(texts(root)), "the axes' names", actual=texts(root))
    check(spike in said, "the line is not told", spike, said)


@test(lines=True)
def test_plot_time(context):
    need("/usr/bin/python3", "matplotlib")
    records = record(context, "line_memory", "--focused-on", "legacy,fixed", "--fields", "+time")
    rows = read_csv(records, "line_memory", ["time"])
    picture = context.path("picture.svg")
    plot(records, picture, "--over", "time", "--field", "VMS", "--top", 0)
    points, root = curve_of(picture, "VMS")
    at = [point[0] for point in points[::2]]
    middle = (rows[3]["time"] - rows[0]["time"]) / (rows[-1]["time"] - rows[0]["time"])
    drawn = (at[3] - at[0]) / (at[-1] - at[0])
    check(abs(drawn - middle) < 0.001, "where a record lies in time", middle, drawn)
    check("seconds" in texts(root), "the axis' name", actual=texts(root))


@test()
def test_plot_names(context):
    """PNG by its suffix, and the name that a picture has by itself; standard input."""
    need("/usr/bin/python3", "matplotlib")
    records = record(context, "function_memory", "--focused-on", "legacy")
    plot(records)
    with open(context.path("records.png"), "rb") as stream:
        equal(stream.read(8), b"\x89PNG\r\n\x1a\n", "the first bytes of the picture")
    with open(records, "rb") as stream:
        plot("-", context.path("stdin.svg"), data=stream.read())
    equal(len(curve_of(context.path("stdin.svg"), "RSS")[0]),
          2 * len(read_csv(records, "function_memory")) - 1, "points of the curve")


HEADER = "index,function,lineNo,RSS,VMS,line,filename\r\n"


@test()
def test_plot_long(context):
    """Of many records no peak is missing and no gap, though not each is a point."""
    need("/usr/bin/python3", "matplotlib")
    rows = [f"{i},work,{i % 7},{50 * MIB + i % 3 * 4096},0,x,/a.py\r\n" for i in range(60000)]
    rows[41234] = f"41234,spike,9,{500 * MIB},0,x,/a.py\r\n"
    rows[51234] = "51234,<lost>,77,,,buffer full,\r\n"
    path = context.write("long.csv", HEADER + "".join(rows))
    picture = context.path("long.svg")
    said, _ = plot(path, picture)
    points, root = curve_of(picture, "RSS")
    check(4096 < len(points) < 10 * 4096, "how many points are drawn", actual=len(points))
    lowest, highest = max(y for _, y in points), min(y for _, y in points)
    middle = [point for point in points if point[1] < (lowest + highest) / 2]
    check(middle, "the peak is not in the picture")
    lost = [each for each in root.iter(SVG + "g") if each.get("id") == "lost"]
    equal(len(lost), 1, "dotted lines where records were lost")
    check(re.search(r"spike of 450\.0 MiB by work:3 \(a\.py\) from index 41234 to index 41235: "
                    "1 records", said), "the spike", actual=said)


@test()
def test_plot_errors(context):
    picture = context.path("picture.png")
    for text, reason in (
            ("", "it is empty"),
            (HEADER, "no records"),
            ("index,type,function,lineNo,filename\r\n0,call,f,1,a\r\n", "no column RSS"),
            (HEADER + "0,f,1,x,2,x,a\r\n1,f,1,1,2,x,a\r\n", "record 1 is none"),
            (HEADER + "0,<lost>,3,,,buffer full,\r\n", "no records")):
        path = context.write("bad.csv", text)
        _, errors = plot(path, picture, status=1)
        equal(errors, f"plot: cannot read '{path}': {reason}" + errors.partition(reason)[2],
              f"the error of {text!r}")
        equal(errors.count("\n"), 1, "lines of the error")
    path = context.write("good.csv", HEADER + "0,f,1,1,2,x,a\r\n1,f,1,1")
    need("/usr/bin/python3", "matplotlib")
    equal(plot(path, picture)[1], "plot: the last record is cut off\n", "of a cut recording")
    check("time" in plot(path, picture, "--over", "time", status=1)[1], "a time is missed")
    plot(path, "picture.gif", status=2)
    check("No such file" in plot(context.path("none.csv"), status=1)[1], "a file is missed")
