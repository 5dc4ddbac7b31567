#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the seed corpus of fuzz_elf_notes: small ELF files with every part that the reader looks at.

usage: seed_elf_notes.py DIRECTORY
"""
import pathlib
import struct
import sys

TEXT = 0x400000  # the file's first 0x400 bytes
DATA = 0x601400  # its next 0x400


def note(name, args, site=TEXT + 0x320, base=TEXT + 0x310, semaphore=DATA + 0x3F0):
    desc = struct.pack("<3Q", site, base, semaphore)
    desc += b"python\0" + name + b"\0" + args + b"\0"
    padded = desc + b"\0" * (-len(desc) % 4)
    return struct.pack("<3I", 8, len(desc), 3) + b"stapsdt\0" + padded


NOTES = (
    note(b"function__entry", b"8@%rbp 8@%r12 -4@%eax")
    + note(b"function__return", b"8@%rbp 8@%r12 -4@112(%rsp)", site=TEXT + 0x330)
    + note(b"line", b"8@(%rax,%rbx,8) 8@$7 8@symbol(%rip)", site=TEXT + 0x340)
    + note(b"line", b"", site=TEXT + 0x350, semaphore=0)
)


def seed(machine=62, sections=True, e_type=2, notes=NOTES, base=TEXT + 0x310):
    image = bytearray(0x800)

    def put(offset, data):
        image[offset : offset + len(data)] = data

    phdrs = [
        (1, 5, 0, TEXT, TEXT, 0x400, 0x400, 0x400),
        (1, 6, 0x400, DATA, DATA, 0x400, 0x800, 0x400),
        (2, 6, 0x400, DATA, DATA, 0x90, 0x90, 8),
        (4, 4, 0x800, 0, 0, len(notes), len(notes), 4),
        (3, 4, 0x300, TEXT + 0x300, TEXT + 0x300, 8, 8, 1),
    ]
    for i, (p_type, flags, *rest) in enumerate(phdrs):
        put(64 + 56 * i, struct.pack("<2I6Q", p_type, flags, *rest))
    put(0x300, b"/lib/ld\0")
    strings = b"\0libpython3.11.so.1.0\0libpython3.11.so\0_PyRuntime\0Py_Version\0"
    dynamic = [(5, DATA + 0x100), (10, len(strings)), (6, DATA + 0x90), (12, TEXT + 0x380)]
    dynamic += [(13, TEXT + 0x388), (1, 1), (14, 22), (0x6FFFFFFB, 0x08000000), (0, 0)]
    for i, pair in enumerate(dynamic):
        put(0x400 + 16 * i, struct.pack("<2Q", *pair))
    for i, (name, value) in enumerate([(39, DATA + 0x3E0), (50, DATA + 0x3E8)]):
        put(0x490 + 24 * (i + 1), struct.pack("<IBBHQQ", name, 17, 0, 1, value, 8))
    put(0x500, strings)
    names = b"\0.note.stapsdt\0.stapsdt.base\0.dynsym\0.dynstr\0.shstrtab\0"
    tail = notes + names
    at_names, at_sections = 0x800 + len(notes), 0x800 + len(tail) + -len(tail) % 8
    shdrs = [
        (0, 0, 0, 0, 0, 0, 0),
        (1, 7, 0, 0, 0x800, len(notes), 0),
        (15, 1, 0, base, 0x310, 1, 0),
        (29, 11, 2, DATA + 0x90, 0x490, 72, 4),
        (37, 3, 2, DATA + 0x100, 0x500, len(strings), 0),
        (45, 3, 0, 0, at_names, len(names), 0),
    ]
    table = b"".join(struct.pack("<2I4Q2I2Q", *shdr, 0, 4, 0) for shdr in shdrs)
    ident = b"\x7fELF\x02\x01\x01" + b"\0" * 9
    counts = (64, 56, len(phdrs), 64, len(shdrs), 5) if sections else (64, 56, len(phdrs), 64, 0, 0)
    offset = at_sections if sections else 0
    put(0, ident + struct.pack("<2HI3QI6H", e_type, machine, 1, TEXT + 0x380, 64, offset, 0, *counts))
    image += tail + b"\0" * (-len(tail) % 8)
    return bytes(image + table) if sections else bytes(image)


SEEDS = {
    "exec": seed(),
    "dyn": seed(e_type=3),
    "prelinked": seed(base=TEXT + 0x320),
    "without-sections": seed(sections=False),
    "without-notes": seed(notes=b""),
    "arm64": seed(machine=183, notes=note(b"line", b"8@x0 8@[sp, 76] -4@w3")),
    "unterminated": seed(notes=NOTES[:-8] + b"A" * 8),
}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    directory = pathlib.Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, image in SEEDS.items():
        (directory / name).write_bytes(image)


main()
