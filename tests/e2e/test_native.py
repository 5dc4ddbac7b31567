# SPDX-License-Identifier: BSD-3-Clause
"""memory --native: which C function asked for memory, in whatever file it is."""

import csv
import os
import re
import subprocess

import interpreters
from harness import Skip, add_test, check, equal, test
from test_plot import line_of, need

FRAME = re.compile(r"(?:(?P<symbol>.+)\+)?0x[0-9a-f]+(?: \[(?P<library>.+)\])?")
LIBBCC = "/usr/lib/x86_64-linux-gnu/libbcc.so.0"
SOURCE = """
#include <string.h>
#include <sys/mman.h>
int map_some(unsigned long bytes)
{
	char *area = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED)
		return 1;
	for (unsigned long at = 0; at < bytes; at += 4096)
		area[at] = 1;
	return 0;
}
"""


def need_libbcc():
    if not os.path.exists(LIBBCC):
        raise Skip("no libbcc (libbpfcc)")


def rows_of(path):
    """Rows with .frames, innermost first: (symbol or None, library or None)."""
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row["frames"] = []
        for text in reversed(row["native"].split(";") if row["native"] else []):
            found = FRAME.fullmatch(text)
            check(found, "a C frame", FRAME.pattern, text)
            check(text != "0x0", "a frame where nothing is", actual=row["native"])
            row["frames"].append((found["symbol"], found["library"]))
    return rows


def record(context, workload, *arguments):
    need_libbcc()
    context.record("memory", workload, "--native", *arguments)
    return rows_of(context.path("records.csv"))


def has_frame(row, symbol, library):
    return any(re.search(symbol, its or "") and re.search(library, where or "")
               for its, where in row["frames"])


@test()
def test_native_numpy(context):
    """Which C extension: numpy's generator of random numbers fills the array of our line, and its
    mapping is made by mmap()."""
    need(context.python, "numpy")
    rows = record(context, context.workload("spike.py"))
    line = str(line_of("spike.py", "SPIKE"))
    ours = [row for row in rows if row["lineNo"] == line and row["function"] == "legacy"]
    maps = [row for row in ours if row["type"] == "mmap"]
    check(maps, "no mapping by the line", actual=ours)
    check(all(has_frame(row, "mmap", "libc") for row in maps), "who maps", "mmap [libc...]", maps)
    big = [row for row in ours if row["type"] == "anon" and int(row["size"]) > 1 << 20]
    check(big and all(has_frame(row, "", "mtrand|_mt19937|bit_generator") for row in big),
          "which extension touches", "numpy.random's", big)
    check(all(row["frames"] for row in ours), "a record without C frames", actual=ours)


def build_library(context, directory):
    source = context.write("asks.c", SOURCE)
    library = os.path.join(directory, "libasks.so")
    done = subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, source])
    equal(done.returncode, 0, "gcc's exit status")
    return library


def check_deleted(context, interpreter=None):
    """Names come from the very file that is mapped: no name leads to it any more."""
    if interpreter:
        inside, outside = interpreter.place(context)
        made = interpreter.scratch(context) if interpreter.suite else context.dir
        library = build_library(context, made)
        workload = context.start(interpreter.command(
            os.path.join(inside, "native.py"), interpreter.inside(library)))
    else:
        workload = context.workload("native.py", build_library(context, context.dir))
    rows = record(context, workload)
    check(not os.path.exists(context.path("libasks.so")), "the library was to be deleted")
    ours = [row for row in rows if row["function"] == "ask_library"]
    size = str(workload.peek())
    # libc's mmap() keeps no frame pointer: who calls it is left out, who touches is innermost.
    check(any(row["type"] == "mmap" and row["size"] == size and
              re.search("mmap", row["frames"][0][0] or "") and
              row["frames"][0][1].startswith("libc") for row in ours),
          "who maps", "mmap [libc...]", ours)
    touched = [row for row in ours if row["type"] == "anon" and
               row["frames"][0] == ("map_some", "libasks.so (deleted)")]
    equal(sum(int(row["size"]) for row in touched), int(size), "bytes that it touches")


def add_for(interpreter):
    add_test(f"native_deleted_{interpreter.label}",
             lambda context: check_deleted(context, interpreter))


for each in interpreters.known():
    if each.is_known:
        add_for(each)


@test()
def test_native_without_libbcc(context):
    """An error that names the package, before anything is traced."""
    need_libbcc()
    if subprocess.run(["unshare", "-m", "true"]).returncode:
        raise Skip("no mount namespaces here")
    tracer = context.run("memory", "--native", "--", context.python, "-c", "1", status=1, prefix=(
        "unshare", "-m", "sh", "-c", f"mount --bind /dev/null {LIBBCC} && exec \"$@\"", "sh"))
    check(re.search("cannot name 'C functions': .*libbcc.so.0", tracer.errors()), "the reason",
          actual=tracer.errors())
    check("apt-get install libbpfcc" in tracer.errors(), "what to do", actual=tracer.errors())
    context.run("memory", "--", context.python, "-c", "1", prefix=(
        "unshare", "-m", "sh", "-c", f"mount --bind /dev/null {LIBBCC} && exec \"$@\"", "sh"))
