# SPDX-License-Identifier: BSD-3-Clause
"""The Python stacks of memory's records are those that the interpreter itself tells of."""

import csv
import glob
import os
import re
import subprocess

import harness
import interpreters
from harness import Failure, Skip, add_test, check, equal, need_command, test
from test_memory import kernel_version
from test_oracle import BIG

FIELDS = "index,type,function,lineNo,address,size,RSS,VMS,line,filename,stack".split(",")
MAX_FRAMES = 128


def mapped(path):
    """{size: rows} of the mmap rows of a recording with --stacks."""
    found = {}
    with open(path, encoding="utf-8", newline="") as stream:
        rows = csv.reader(stream, strict=True)
        equal(next(rows, None), FIELDS, "the CSV's header")
        for cells in rows:
            row = dict(zip(FIELDS, cells))
            check(row["type"] != "lost", f"lost events although the buffer is big: {row}")
            if row["type"] == "mmap":
                found.setdefault(int(row["size"]), []).append(row)
    return found


def written(text):
    """Bytes of a file's name that are no UTF-8 are written as escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def word(frame, qualified=False):
    file, name, qualname, line = frame
    return (written(file), written(qualname if qualified and qualname else name),
            -1 if line is None else line)


def folded(frames, qualified=False):
    words = [":".join(map(str, word(frame, qualified))) for frame in frames[:MAX_FRAMES]]
    if len(frames) > MAX_FRAMES:
        words.append("<cut>")
    return ";".join(reversed(words))


def compare(rows, seen, qualified=False):
    """Each moment has one row, with its stack and its innermost frame."""
    wrong = []
    for size, frames in seen.items():
        expected = folded(frames, qualified)
        stacks = [row["stack"] for row in rows.get(size, [])]
        if stacks != [expected]:
            wrong.append((expected, stacks))
            continue
        row = rows[size][0]
        equal((row["filename"], row["function"], int(row["lineNo"])),
              word(frames[0], qualified), "the row's own frame")
    if wrong:
        raise Failure(f"{len(wrong)} of {len(seen)} stacks differ", *wrong[0])


def record(context, interpreter, script, *options):
    """Run a workload under memory --stacks; return (rows, findings)."""
    place, _ = interpreter.place(context)
    workload = context.start(interpreter.command(
        os.path.join(place, script), interpreter.inside(interpreter.scratch(context))))
    tracer = context.record("memory", workload, "--stacks", *options, *BIG)
    equal(tracer.summary()["lost"], 0, "events lost")
    return mapped(context.path("records.csv")), workload.peek()


def compare_stacks(context, interpreter, *options):
    rows, seen = record(context, interpreter, "frames.py", *options)
    check(len(seen) > 700, f"only {len(seen)} moments: proves nothing")
    compare(rows, seen, "--qualified" in options)
    context.note(f"{len(seen)} stacks, {sum(map(len, seen.values()))} frames")


def compare_lies(context, interpreter):
    rows, findings = record(context, interpreter, "frames_hostile.py")
    check(len(findings) > 40, f"only {len(findings)} lies: proves nothing")
    for what, size, frames, mark in findings:
        stacks = [row["stack"] for row in rows.get(size, [])]
        equal(len(stacks), 1, f"rows of '{what}'")
        right = folded(frames)
        expected = f"{mark};{right}" if mark else right
        if mark == "<loop>":  # what comes again may be there again
            check(stacks[0].startswith("<loop>;") and stacks[0].endswith(right),
                  f"the stack of '{what}'", expected, stacks[0])
        else:
            equal(stacks[0], expected, f"the stack of '{what}'")
    context.note(f"{len(findings)} lies")


def skip(_, reason):
    raise Skip(reason)


def register():
    for each in interpreters.known():
        add_test(f"frames_{each.label}",
                 lambda context, each=each: compare_stacks(context, each))
        add_test(f"frames_hostile_{each.label}",
                 lambda context, each=each: compare_lies(context, each))
    for label, reason in interpreters.missing().items():
        add_test(f"frames_{label}", lambda context, reason=reason: skip(context, reason))


register()


@test()
def test_frames_qualified(context):
    compare_stacks(context, interpreters.of_version(3, 11), "--qualified")


@test()
def test_frames_refuses_wrong_stacks(context):
    """A frame too many, one too few, another line, file or function each fail the comparison."""
    frames = [("f.py", "inner", "inner", 3), ("f.py", "outer", "outer", 7)]
    seen = {4096: frames}

    def rows_of(stack):
        file, function, line = word(stack[0])
        return {4096: [{"stack": folded(stack), "filename": file, "function": function,
                        "lineNo": line}]}

    compare(rows_of(frames), seen)
    wrongs = [frames[:1], frames + frames[1:], frames[::-1],
              [("f.py", "inner", "inner", 4), frames[1]], [("g.py", *frames[0][1:]), frames[1]],
              [("f.py", "other", "other", 3), frames[1]]]
    for wrong in [{}, *map(rows_of, wrongs)]:
        try:
            compare(wrong, seen)
        except Failure:
            continue
        raise Failure("a wrong stack was taken", seen, wrong)


@test()
def test_frames_offsets_are_those_of_the_headers(context):
    """The committed table is what scripts/frame-offsets makes of the headers that are here."""
    script = os.path.join(harness.ROOT, "scripts", "frame-offsets")
    done = subprocess.run([script, "--check"], capture_output=True, text=True)
    if not done.stdout:
        raise Skip("no headers of a CPython from 3.9 to 3.12")
    equal(done.returncode, 0, f"exit status of frame-offsets --check ({done.stdout})")
    context.note(f"{len(done.stdout.splitlines())} versions")


@test()
def test_frames_long_table(context):
    """Of a table of lines longer than 64 KiB no line is told, and how often is said."""
    script = context.write("long.py", "import mmap\ndef f(x):\n" + " x = (x, x, x, x)\n" * 9000 +
                           " mmap.mmap(-1, 12345 * 4096)\nf(1)\n")
    tracer = context.run("memory", "-v", "--stacks", "-o", context.path("records.csv"), "--",
                         context.python, script)
    rows = mapped(context.path("records.csv"))[12345 * 4096]
    equal([row["stack"] for row in rows], [f"{script}:<module>:9004;{script}:f:-1"], "the stack")
    check("frames have no line" in tracer.errors(), "nobody says that lines are missing")


@test()
def test_frames_without_a_table(context):
    """Of an interpreter whose structures are not known the events are recorded all the same."""
    library = [each for each in interpreters.known() if each.version == (3, 13) and not each.suite]
    if not library:
        raise Skip("no CPython 3.13 outside of chroots")
    python = library[0].outside
    home = os.path.dirname(os.path.dirname(python))
    found = glob.glob(home + "/lib/libpython3.13.so.*") or [python]
    with open(found[0], "rb") as stream:
        image = stream.read()
    check(image.count(b"xdebugpy") >= 1, "its _Py_DebugOffsets have no cookie")
    forged = context.path(os.path.basename(found[0]))
    with open(forged, "wb") as stream:
        stream.write(image.replace(b"xdebugpy", b"xdebugpz"))
    os.chmod(forged, 0o755)
    command = [forged] if found[0] == python else [python]
    tracer = context.run(
        "memory", "-v", "--stacks", "-o", context.path("records.csv"), "--", *command, "-c",
        "import mmap; mmap.mmap(-1, 12345 * 4096)",
        env=context.environment(LD_LIBRARY_PATH=context.dir, PYTHONHOME=home))
    rows = mapped(context.path("records.csv"))[12345 * 4096]
    equal([(row["function"], row["lineNo"], row["filename"], row["stack"]) for row in rows],
          [("<unknown>", "-1", "<unknown>", "<unknown>")], "the row")
    equal(tracer.errors().count("CPython 3.13 has _Py_DebugOffsets that cannot be read"), 1,
          "times that the reason is named")
    equal(tracer.summary()["lost"], 0, "events lost")


@test()
def test_frames_stripped(context):
    """Neither symbols nor section headers: what the dynamic linker needs is enough."""
    need_command("strip")
    stripped = context.path("python3")
    subprocess.run(["strip", "--strip-all", "-o", stripped, context.python], check=True)
    with open(stripped, "r+b") as stream:
        stream.seek(0x28)
        stream.write(bytes(8))  # e_shoff
        stream.seek(0x3a)
        stream.write(bytes(6))  # e_shentsize, e_shnum, e_shstrndx
    context.run("memory", "--stacks", "-o", context.path("records.csv"), "--", stripped, "-c",
                "import mmap\n\nmmap.mmap(-1, 12345 * 4096)",
                env=context.environment(PYTHONHOME="/usr"))
    rows = mapped(context.path("records.csv"))[12345 * 4096]
    equal([row["stack"] for row in rows], ["<string>:<module>:3"], "the stack")


def stacks_of_line_3(context, *command, **environment):
    """Run a script under memory --stacks; the stacks of what its line 3 maps."""
    script = context.write("f.py", "def f():\n    return [\n        bytearray(1 << 26)]\nf()\n")
    tracer = context.run("memory", "-v", "--stacks", "--filter", "type=mmap", "-o",
                         context.path("records.csv"), "--", *command, script,
                         env=context.environment(**environment))
    with open(context.path("records.csv"), encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if int(row["size"]) >> 26]
    check("not walked" not in tracer.errors(), "its frames were not walked")
    equal([row["stack"] for row in rows], [f"{script}:<module>:4;{script}:f:3"], "the stacks")


EMBEDDING = """
#include <Python.h>
int main(int argc, char *argv[])
{
	FILE *script = argc > 1 ? fopen(argv[1], "r") : NULL;

	Py_Initialize();
	return script ? PyRun_SimpleFile(script, argv[1]) : 1;
}
"""


def archives():
    """(home, version, archive of the objects) of each CPython that has one, .PyRuntime is in it."""
    for path in sorted(glob.glob("/usr/lib/python3.*/config-*/libpython3.*-pic.a") +
                       glob.glob(interpreters.PYENV + "/*/lib/python3.*/config-*/libpython3.*.a")):
        version = re.search(r"/(python3\.(\d+))/", path)
        if int(version[2]) >= 10:
            yield path[:path.index("/lib/")], version[1], path


@test()
def test_frames_linked_into_a_program(context):
    """A program that Python is linked into, that exports nothing, has no probes and no symbols."""
    compiler, objcopy = need_command("cc"), need_command("objcopy")
    source, program = context.write("embedding.c", EMBEDDING), context.path("embedding")
    tried = []
    for home, version, archive in archives():
        subprocess.run([compiler, f"-I{home}/include/{version}", "-o", program, source, archive,
                        "-lexpat", "-lz", "-lm"], check=True)
        subprocess.run([objcopy, "--strip-all", "--remove-section=.note.stapsdt", program],
                       check=True)
        stacks_of_line_3(context, program, PYTHONHOME=home)
        tried.append(version)
    if not tried:
        raise Skip("no archive of CPython's objects (libpython3.11-dev)")
    context.note(", ".join(tried))


def as_written(name):
    """Names survive but for what is no UTF-8: a surrogate, or a byte that one stands for."""
    return name.encode("utf-8", "surrogateescape" if "\udcff" in name else "surrogatepass").decode(
        "utf-8", "backslashreplace")


@test()
def test_frames_hostile_names(context):
    """CSV gives every name back; people's recordings have a line for each row, and no controls."""
    workload = context.workload("hostile_names.py")
    tracer = context.record("memory", workload, "--stacks", *BIG)
    equal(tracer.summary()["lost"], 0, "events lost")
    rows, seen = mapped(context.path("records.csv")), workload.peek()
    check(len(seen) > 500, "hardly a name: proves nothing")
    wrong = {}
    for size, names in seen.items():
        function, file = map(as_written, names)
        folded = "{}:{}:2".format(*(each.replace(";", "\\x3b") for each in (file, function)))
        got = [(row["function"], row["filename"], row["stack"].rpartition(";")[2])
               for row in rows.get(size, [])]
        if got != [(function, file, folded)]:
            wrong[names] = got
    check(not wrong, f"{len(wrong)} of {len(seen)} names", None, wrong)
    for options in ((), ("--plain",), ("--summary", "--top", "0")):
        workload = context.workload("hostile_names.py")
        tracer = context.record("memory", workload, *options, *BIG, output="records.txt")
        with open(context.path("records.txt"), "rb") as stream:
            text = stream.read().decode()
        equal({c for c in text if ord(c) < 32 or 127 <= ord(c) < 160 or c == "\u202e"}, {"\n"},
              f"controls, with {options}")
        if "--summary" not in options:
            equal(text.count("\n"), 2 + tracer.summary()["written"], "lines")


@test(vm=True)
def test_frames_are_all_known(context):
    """From the first instruction on: what a stack needs has come before it, on every CPU."""
    tracer = context.run("memory", "-v", "--stacks", "-o", context.path("records.csv"), *BIG, "--",
                         context.python, "-c", "import asyncio, decimal, json, unittest")
    with open(context.path("records.csv"), encoding="utf-8", newline="") as stream:
        stacks = [row["stack"] for row in csv.DictReader(stream)]
    # Before 6.2 a thread's faults are counted 64 at a time.
    check(sum(";" in stack for stack in stacks) > (100 if kernel_version() < (6, 2) else 300),
          "hardly a stack: proves nothing")
    equal([stack for stack in stacks if "<un" in stack], [], "stacks that are not known")
    check("could not be read" not in tracer.errors(), "frames could not be read")
    context.note(f"{len(stacks)} stacks")
