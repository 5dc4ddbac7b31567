/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CPython's own probes by version: which there are when it was built --with-dtrace, what is special
 * about them, and how the str objects are laid out whose characters they hand over.
 */
#ifndef PIKOS_CPYTHON_H
#define PIKOS_CPYTHON_H

#include <stdbool.h>
#include <linux/types.h>

/* Probes, as bits. */
enum cpython_probe {
	CPYTHON_FUNCTION_ENTRY = 1 << 0,
	CPYTHON_FUNCTION_RETURN = 1 << 1,
	CPYTHON_LINE = 1 << 2,
};

/*
 * A compact ASCII str, the only kind whose cached UTF-8 is its own character data: a co_name or
 * co_filename that is not ASCII has its UTF-8 in a block of its own, in front of which there are
 * foreign bytes. So a state that fits is a hint, never a proof, until the characters are seen to be
 * ASCII and as many as length says.
 *
 * Offsets are relative to the first character, which is what the probes pass. A field is 8 bytes
 * but for state, of which the first 4 matter.
 */
struct cpython_str {
	__s16 length_offset;
	__s16 hash_offset; /* -1 while not computed; salted per process, equal for equal text */
	__s16 state_offset;
	__u16 header_size;	  /* of the object in front of the characters */
	__u32 compact_ascii_mask; /* (state & mask) == value: kind 1, compact, ascii */
	__u32 compact_ascii_value;
};

struct cpython_version {
	__u16 major;
	__u16 first_minor, last_minor; /* the range this row describes */
	unsigned int probes;	       /* enum cpython_probe: with --with-dtrace there are */
	/* 3.11: function__entry fires only while the semaphore of `line` is non-zero. */
	bool entry_needs_line_semaphore;
	/* The first micro release on which that semaphore may be raised (CPython issue 98894). */
	__u8 line_semaphore_first_micro;
	/* 3.15: making a generator or coroutine fires an entry that no return ever matches. */
	bool drop_generator_creation_entry;
	/* 3.15: a specialised class call fires a return (`__init__` in `__init__`, line -1) too
	 * many. */
	bool drop_fake_init_return;
	/* 3.13: _PyRuntime starts with _Py_DebugOffsets. */
	bool has_debug_offsets;
	/* 3.11: the exported Py_Version is the version as PY_VERSION_HEX. */
	bool has_py_version;
	/*
	 * 3.13: co_name and co_filename are interned by whatever makes a code object, so their
	 * hashes are set. Before, a name's mostly is and a file's mostly is not (3.12: no
	 * `<module>` and nothing made by code.replace, 3.9 to 3.12: no imported file).
	 */
	bool has_hashes;
	struct cpython_str str; /* of builds with the GIL: see cpython__str */
};

/** @return the row for a version, NULL if it is not one that the tracer knows */
const struct cpython_version *cpython__find(int major, int minor);

/** @return the probe's name in the ELF notes, "function__entry"; NULL if not exactly one bit */
const char *cpython__probe_name(enum cpython_probe probe);

/**
 * The layout of a str; NULL for a free-threaded build, whose objects have another header that
 * nobody has measured yet: read the characters instead.
 */
const struct cpython_str *cpython__str(const struct cpython_version *version, bool free_threaded);

/**
 * Whether the semaphore of `line` may be raised in this release.
 *
 * 3.11.0 and 3.11.1 crash or misbehave with the line probe enabled (CPython issue 98894).
 */
bool cpython__line_semaphore_is_safe(int major, int minor, int micro);

#endif /* PIKOS_CPYTHON_H */
