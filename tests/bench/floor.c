// SPDX-License-Identifier: BSD-3-Clause
/*
 * Attaches empty BPF programs where pikos-trace attaches its own, with the same semaphores, until
 * its standard input ends.
 *
 * Usage: floor OBJECT {functions,lines,semaphore,faults} PID...
 *
 * `faults` counts the changes of resident pages of all processes, and needs no PID to be Python's.
 * `semaphore` raises no more than 3.11's semaphore of `line`, without which the probe of function
 * entries stays silent: for other tracers, which do not know that.
 * Says "attached" on standard output once everything is in place.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "source/elf_notes.h"
#include "source/interpreter.h"

struct floor {
	struct bpf_object *bpf;
	const struct interpreter_info *info;
	pid_t pid;
};

static int attach_at(const struct floor *at, const char *program, __u64 offset, __u64 semaphore)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .ref_ctr_offset = semaphore);
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", at->info->fd);
	/* The link lives as long as the process. */
	if (!bpf_program__attach_uprobe_opts(bpf_object__find_program_by_name(at->bpf, program),
					     at->pid, path, offset, &opts))
		return -errno;
	return 0;
}

static int attach_probe(const struct floor *at, enum cpython_probe bit, const char *program)
{
	const char *name = cpython__probe_name(bit);
	const struct usdt_probe *probe = NULL;
	int err = 0;

	while (!err && (probe = elf_notes__next(at->info->elf, name, probe)))
		err = attach_at(at, program, probe->file_offset, probe->semaphore_offset);
	return err;
}

static int raise_line_semaphore(const struct floor *at)
{
	const struct elf_header *header = elf_notes__header(at->info->elf);
	const struct usdt_probe *line =
		elf_notes__next(at->info->elf, cpython__probe_name(CPYTHON_LINE), NULL);
	const struct elf_place *place = header->entry.addr ? &header->entry : &header->init;

	if (!at->info->version->entry_needs_line_semaphore)
		return 0;
	if (!line || !place->addr)
		return -ENOENT;
	return attach_at(at, "on_nothing", place->file_offset, line->semaphore_offset);
}

static int attach(const struct floor *at, const char *what)
{
	int err;

	if (!strcmp(what, "lines"))
		return attach_probe(at, CPYTHON_LINE, "on_line");
	if (!strcmp(what, "semaphore"))
		return raise_line_semaphore(at);
	err = attach_probe(at, CPYTHON_FUNCTION_RETURN, "on_return");
	if (!err)
		err = attach_probe(at, CPYTHON_FUNCTION_ENTRY, "on_entry");
	return err ? err : raise_line_semaphore(at);
}

static int add(struct bpf_object *bpf, const char *what, const char *pid)
{
	const unsigned int needed = !strcmp(what, "lines")
					    ? CPYTHON_LINE
					    : CPYTHON_FUNCTION_ENTRY | CPYTHON_FUNCTION_RETURN;
	struct floor at = {.bpf = bpf, .pid = atoi(pid)};
	struct interpreter_reason why = {0};
	struct interpreter *in = NULL;
	int err = interpreter__of_pid(at.pid, &in, &why);

	if (!err)
		err = interpreter__check(in, needed, &why);
	if (!err) {
		at.info = interpreter__info(in);
		err = attach(&at, what);
	}
	if (err)
		fprintf(stderr, "floor: cannot attach to PID %s: %s\n", pid,
			*why.text ? why.text : strerror(-err));
	return err;
}

static int count_faults(struct bpf_object *bpf)
{
	if (bpf_program__attach(bpf_object__find_program_by_name(bpf, "on_rss_stat")))
		return 0;
	fprintf(stderr, "floor: cannot attach to kmem:rss_stat: %s\n", strerror(errno));
	return -errno;
}

int main(int argc, char **argv)
{
	struct bpf_object *bpf;
	char byte;
	int err = 0;

	if (argc < 4) {
		fprintf(stderr, "usage: floor OBJECT {functions,lines,semaphore,faults} PID...\n");
		return 2;
	}
	bpf = bpf_object__open_file(argv[1], NULL);
	if (!bpf || bpf_object__load(bpf)) {
		fprintf(stderr, "floor: cannot load '%s': %s\n", argv[1], strerror(errno));
		return 1;
	}
	if (!strcmp(argv[2], "faults"))
		err = count_faults(bpf);
	else
		for (int i = 3; i < argc && !err; i++)
			err = add(bpf, argv[2], argv[i]);
	if (err)
		return 1;
	puts("attached");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	return 0;
}
