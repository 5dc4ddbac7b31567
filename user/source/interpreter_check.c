// SPDX-License-Identifier: BSD-3-Clause
#include "source/interpreter_internal.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>

#if defined(__x86_64__)
#define OWN_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define OWN_MACHINE EM_AARCH64
#else
#error "registers of this architecture are not described yet"
#endif

/* Every probe has these: the file, the function, the line. */
#define PROBE_ARGS 3

static void copy_printable(char *to, size_t size, const char *from)
{
	size_t i;

	for (i = 0; i + 1 < size && from[i]; i++)
		to[i] = from[i] < 0x20 || from[i] > 0x7e ? '?' : from[i];
	to[i] = '\0';
}

const char *interpreter__describe(const struct interpreter *in, char *buf, size_t size)
{
	static const char *const builds[] = {"", " (JIT)", " (free-threaded)",
					     " (free-threaded, JIT)"};
	const struct interpreter_info *info = &in->info;
	char micro[16] = "", needed[64];

	switch (info->kind) {
	case INTERPRETER_NONE:
		snprintf(buf, size, "not a Python");
		break;
	case INTERPRETER_PYPY:
		snprintf(buf, size, "PyPy");
		break;
	case INTERPRETER_LINKED:
		copy_printable(needed, sizeof(needed), elf_notes__header(in->elf)->needed[0]);
		snprintf(buf, size, "a program that uses %s", needed);
		break;
	case INTERPRETER_CPYTHON:
		if (info->micro >= 0)
			snprintf(micro, sizeof(micro), ".%d", info->micro);
		if (info->major == 0)
			snprintf(buf, size, "a CPython of unknown version");
		else
			snprintf(buf, size, "CPython %d.%d%s%s", info->major, info->minor, micro,
				 builds[(info->jit != INTERPRETER_JIT_NONE) +
					2 * info->free_threaded]);
		break;
	}
	return buf;
}

/* "CPython 3.11.2", without what is special about the build */
static const char *version_text(const struct interpreter_info *info, char *buf, size_t size)
{
	if (info->major == 0)
		snprintf(buf, size, "this CPython");
	else if (info->micro < 0)
		snprintf(buf, size, "CPython %d.%d", info->major, info->minor);
	else
		snprintf(buf, size, "CPython %d.%d.%d", info->major, info->minor, info->micro);
	return buf;
}

/* Problems that are not about one probe. */
static int check_kind(const struct interpreter *in, struct interpreter_reason *why)
{
	const struct interpreter_info *info = &in->info;
	char text[64];

	if (info->kind == INTERPRETER_NONE) {
		interpreter_set_reason(why, INTERPRETER_NOT_PYTHON);
		SET_TEXT(why, "it is not a Python program");
	} else if (info->kind == INTERPRETER_PYPY) {
		interpreter_set_reason(why, INTERPRETER_IS_PYPY);
		SET_TEXT(why, "it is PyPy, which has no probes");
		SET_NEXT(why, "use CPython: Debian's, Ubuntu's or Fedora's python3");
	} else if (info->kind == INTERPRETER_LINKED) {
		interpreter_set_reason(why, INTERPRETER_IS_LINKED);
		copy_printable(text, sizeof(text), elf_notes__header(in->elf)->needed[0]);
		SET_TEXT(why, "its interpreter is %s, which is not loaded", text);
		SET_NEXT(why, "run it, or name that library");
	} else if (elf_notes__header(in->elf)->machine != OWN_MACHINE) {
		interpreter_set_reason(why, INTERPRETER_OTHER_ARCH);
		SET_TEXT(why, "it is for another processor (ELF machine %d) than this one (%d)",
			 elf_notes__header(in->elf)->machine, OWN_MACHINE);
	} else if (!info->version) {
		interpreter_set_reason(why, INTERPRETER_UNKNOWN_VERSION);
		if (info->major == 0)
			SET_TEXT(why, "its version of CPython is not to be found in the file");
		else
			SET_TEXT(why, "%s is not known to this tracer (3.6 to 3.15 are)",
				 version_text(info, text, sizeof(text)));
	} else if (info->jit == INTERPRETER_JIT_ON) {
		interpreter_set_reason(why, INTERPRETER_IS_JIT);
		SET_TEXT(why, "%s runs its JIT compiler, whose code fires no probes",
			 version_text(info, text, sizeof(text)));
		SET_NEXT(why, "start it with PYTHON_JIT=0 in its environment");
	} else {
		return 0;
	}
	return -ENOTSUP;
}

static bool version_has(int minor, enum cpython_probe probe)
{
	const struct cpython_version *version = cpython__find(3, minor);

	return version && (version->probes & probe);
}

static void explain_no_such_probe(const struct interpreter_info *info, enum cpython_probe probe,
				  struct interpreter_reason *why)
{
	int first = info->minor, last = info->minor;
	char text[64];

	while (cpython__find(3, first - 1) && !version_has(first - 1, probe))
		first--;
	while (cpython__find(3, last + 1) && !version_has(last + 1, probe))
		last++;
	interpreter_set_reason(why, INTERPRETER_NO_SUCH_PROBE);
	SET_TEXT(why, "%s has no %s probe (3.%d to 3.%d have none)",
		 version_text(info, text, sizeof(text)), cpython__probe_name(probe), first, last);
	if (version_has(last + 1, probe))
		SET_NEXT(why,
			 "use CPython 3.6 to 3.%d or 3.%d on, built --with-dtrace as Debian's is",
			 first - 1, last + 1);
	else
		SET_NEXT(why, "use CPython 3.6 to 3.%d, built --with-dtrace as Debian's is",
			 first - 1);
}

static void explain_missing(const struct interpreter *in, enum cpython_probe probe,
			    struct interpreter_reason *why)
{
	char text[64];

	version_text(&in->info, text, sizeof(text));
	interpreter_set_reason(why, INTERPRETER_BUILT_WITHOUT);
	if (!elf_notes__header(in->elf)->has_sections)
		SET_TEXT(why, "%s was stripped of its section headers, so its probes are not found",
			 text);
	else if (elf_notes__count(in->elf) == 0)
		SET_TEXT(why, "%s was built without probes", text);
	else
		SET_TEXT(why, "%s was built without the %s probe", text,
			 cpython__probe_name(probe));
	SET_NEXT(why, "use Debian's, Ubuntu's or Fedora's python3, or one built --with-dtrace");
}

/* Whether all sites of a probe can be attached to and their arguments read. */
static int check_sites(const struct interpreter *in, enum cpython_probe probe,
		       struct interpreter_reason *why)
{
	const char *name = cpython__probe_name(probe);
	const struct usdt_probe *site = elf_notes__next(in->elf, name, NULL);

	if (!site) {
		explain_missing(in, probe, why);
		return -ENOTSUP;
	}
	for (; site; site = elf_notes__next(in->elf, name, site)) {
		if (site->n_args == PROBE_ARGS && (!site->semaphore_addr || site->semaphore_offset))
			continue;
		interpreter_set_reason(why, INTERPRETER_BAD_PROBE);
		if (site->n_args == PROBE_ARGS)
			SET_TEXT(why, "the semaphore of its %s probe is not in its data", name);
		else
			SET_TEXT(why, "the arguments of its %s probe cannot be read: '%s'", name,
				 site->args_text);
		return -ENOTSUP;
	}
	return 0;
}

static int check_line_is_safe(const struct interpreter_info *info, struct interpreter_reason *why)
{
	char text[64];

	if (cpython__line_semaphore_is_safe(info->major, info->minor, info->micro))
		return 0;
	interpreter_set_reason(why, INTERPRETER_LINE_UNSAFE);
	SET_TEXT(why, "%s may crash when its line probe is enabled (CPython issue 98894)",
		 version_text(info, text, sizeof(text)));
	SET_NEXT(why, "use CPython 3.11.2 or newer");
	return -ENOTSUP;
}

/* 3.11: function__entry waits for the semaphore of `line`. */
static int check_line_semaphore(const struct interpreter *in, struct interpreter_reason *why)
{
	int err;

	err = check_line_is_safe(&in->info, why);
	if (!err)
		err = check_sites(in, CPYTHON_LINE, why);
	if (err)
		return err;
	if (!elf_notes__next(in->elf, "line", NULL)->semaphore_addr) {
		interpreter_set_reason(why, INTERPRETER_BAD_PROBE);
		SET_TEXT(why, "its line probe has no semaphore, on which function__entry waits");
		return -ENOTSUP;
	}
	return 0;
}

static int check_probe(const struct interpreter *in, enum cpython_probe probe,
		       struct interpreter_reason *why)
{
	const struct cpython_version *version = in->info.version;
	int err;

	if (!(version->probes & probe)) {
		explain_no_such_probe(&in->info, probe, why);
		return -ENOTSUP;
	}
	err = check_sites(in, probe, why);
	if (!err && probe == CPYTHON_LINE)
		err = check_line_is_safe(&in->info, why);
	if (!err && probe == CPYTHON_FUNCTION_ENTRY && version->entry_needs_line_semaphore)
		err = check_line_semaphore(in, why);
	return err;
}

int interpreter__check(const struct interpreter *in, unsigned int needed,
		       struct interpreter_reason *why)
{
	unsigned int probe;
	int err;

	interpreter_set_reason(why, INTERPRETER_FINE);
	err = check_kind(in, why);
	for (probe = 1; !err && probe <= CPYTHON_LINE; probe <<= 1)
		if (needed & probe)
			err = check_probe(in, (enum cpython_probe)probe, why);
	return err;
}
