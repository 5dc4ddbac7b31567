/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which Python a file or a process is, and whether it can be traced by its own probes.
 *
 * A process's interpreter is its executable, or a libpython that is mapped into it. Both are opened
 * through /proc/PID, so the file is the mapped one in a chroot or a container too, and after it
 * was deleted or replaced on disk.
 */
#ifndef PIKOS_INTERPRETER_H
#define PIKOS_INTERPRETER_H

#include <stdbool.h>
#include <sys/types.h>
#include <linux/types.h>

#include "probes/cpython.h"
#include "source/elf_notes.h"

enum interpreter_kind {
	INTERPRETER_NONE,    /* not a Python at all */
	INTERPRETER_CPYTHON, /* holds the interpreter's code: this is the file to attach to */
	INTERPRETER_LINKED,  /* asks for a libpython (header->needed), which holds the code */
	INTERPRETER_PYPY,
};

/*
 * Code that CPython's JIT compiler made fires no probes: measured on 3.15.2, where the events of a
 * hot function end when it gets compiled. Debian's 3.14 and 3.15 have the compiler built in and
 * off, PYTHON_JIT=1 in the environment puts it on; other builds may have it on.
 */
enum interpreter_jit {
	INTERPRETER_JIT_NONE,	 /* not built in */
	INTERPRETER_JIT_OFF,	 /* built in; this process was started with PYTHON_JIT=0 */
	INTERPRETER_JIT_DORMANT, /* built in, no sign of it in use; ask again when tracing ends */
	INTERPRETER_JIT_ON, /* the process was started with PYTHON_JIT=1 or has compiled code */
};

/* Why something cannot be traced, for callers that decide by it. */
enum interpreter_problem {
	INTERPRETER_FINE,
	INTERPRETER_GONE,	/* the process has ended */
	INTERPRETER_FORBIDDEN,	/* reading it is not permitted */
	INTERPRETER_UNREADABLE, /* another error, in words */
	INTERPRETER_NOT_ELF,	/* a script, a text, a 32-bit program */
	INTERPRETER_OTHER_ARCH, /* for another processor than this one */
	INTERPRETER_NOT_PYTHON,
	INTERPRETER_IS_PYPY,
	INTERPRETER_IS_LINKED,	     /* its libpython is not known yet: ask again when it runs */
	INTERPRETER_UNKNOWN_VERSION, /* a CPython older or newer than the table, or unreadable */
	INTERPRETER_BUILT_WITHOUT,   /* its version has the probes, this build does not */
	INTERPRETER_NO_SUCH_PROBE,   /* its version does not have them, however it was built */
	INTERPRETER_LINE_UNSAFE,     /* 3.11.0, 3.11.1 */
	INTERPRETER_IS_JIT,	     /* the JIT's code fires no probes */
	INTERPRETER_BAD_PROBE,	     /* a note whose arguments or semaphore cannot be used */
	INTERPRETER_NO_AGENT,	     /* our agent cannot be loaded into it */
};

/*
 * The two lines of an error: "cannot trace 'PID 12': REASON", then NEXT_STEP. Both are sentences
 * without a full stop, of printable ASCII; next_step may be "".
 */
struct interpreter_reason {
	enum interpreter_problem problem;
	char text[256]; /* "CPython 3.13.0 has no function__entry probe (3.12 to 3.14 have none)" */
	char next_step[256]; /* "use Debian's python3 or an interpreter built --with-dtrace" */
};

struct interpreter_info {
	enum interpreter_kind kind;
	int major, minor; /* 0, 0: unknown */
	int micro;	  /* -1: unknown */
	bool free_threaded;
	enum interpreter_jit jit;
	bool in_library;		       /* the file is a libpython, not the executable */
	const struct cpython_version *version; /* NULL: not in the table */
	int fd; /* of the file, read only, the object's; attach to /proc/self/fd/N */
	dev_t dev;
	ino_t ino; /* of that file */
	/*
	 * The name the target has for it: for messages only, it may be a lie, name nothing, or end
	 * in " (deleted)". Bytes as they are: escape when printing.
	 */
	char path[4096];
	pid_t pid;	      /* 0: not of a process */
	bool has_bias;	      /* load_bias is valid: the file is mapped */
	__u64 load_bias;      /* add to usdt_probe.semaphore_addr to read it in /proc/PID/mem */
	__u64 runtime_addr;   /* of _PyRuntime, as linked; 0: unknown */
	__u64 code_type_addr; /* of PyCode_Type, as linked; 0: unknown */
	const struct elf_notes *elf; /* the file's headers and python probes; the object's */
};

struct interpreter;

/**
 * Identifies a file.
 *
 * @param fd         open for reading; duplicated, so it stays the caller's
 * @param path_hint  the file's name, for messages and for a version that the file does not tell;
 *                   may be NULL
 * @param out        the object, to be given to interpreter__free; set for every ELF file, Python
 *                   or not (info->kind says which), NULL after an error
 * @param why        the reason in words after an error; may be NULL
 * @return 0, or -ENOEXEC (no ELF file of 64 bits), -errno
 */
int interpreter__open_fd(int fd, const char *path_hint, struct interpreter **out,
			 struct interpreter_reason *why);

/**
 * Identifies what runs in a process: its executable, else a libpython mapped into it.
 *
 * @param out  as above; for a process without a Python, its executable with kind NONE, or LINKED
 *             if the loader has not mapped the libpython yet
 * @return 0, or -ESRCH (no such process), -EACCES (not permitted), -errno; why is set
 */
int interpreter__of_pid(pid_t pid, struct interpreter **out, struct interpreter_reason *why);

/**
 * What can be seen of the JIT in the process now. To be asked again when tracing ends: a dormant
 * one that woke up has kept events from the probes.
 *
 * @return as info->jit; the same as before if the process is gone
 */
enum interpreter_jit interpreter__jit_now(const struct interpreter *in);

void interpreter__free(struct interpreter *in);

/** @return what was found, owned by the object */
const struct interpreter_info *interpreter__info(const struct interpreter *in);

/**
 * Whether probes of the interpreter's own can be used.
 *
 * @param needed  bits of enum cpython_probe
 * @param why     which problem, and the two lines of an error; may be NULL
 * @return 0, or -ENOTSUP with why set
 *
 * Where version->entry_needs_line_semaphore, CPYTHON_FUNCTION_ENTRY is only fine if `line` has a
 * semaphore that may be raised in this release.
 */
int interpreter__check(const struct interpreter *in, unsigned int needed,
		       struct interpreter_reason *why);

/**
 * The interpreter in words: "CPython 3.11.2", "CPython 3.14.0 (free-threaded, JIT)", "PyPy".
 *
 * @return buf
 */
const char *interpreter__describe(const struct interpreter *in, char *buf, size_t size);

#endif /* PIKOS_INTERPRETER_H */
