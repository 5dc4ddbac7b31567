// SPDX-License-Identifier: BSD-3-Clause
#include "cli/list.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "errors.h"
#include "kernel/features.h"
#include "log.h"
#include "monitor/text.h"
#include "source/interpreter.h"
#include "source/usdt.h"

char *list__features(void)
{
	bool found[N_FEATURES];
	struct utsname kernel;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	uname(&kernel);
	if (features__find(found) || !found[FEATURE_RING_BUFFER])
		log_warn("without the rights to load BPF programs features are not found");
	fprintf(out, "Linux %s\n%-36s %-6s %-6s %s\n", kernel.release, "feature", "since", "found",
		"use");
	for (int i = 0; i < N_FEATURES; i++)
		fprintf(out, "%-36s %-6s %-6s %s%s\n", features__table[i].name,
			features__table[i].since, found[i] ? "yes" : "no",
			features__table[i].required ? "needed: " : "", features__table[i].use);
	fclose(out);
	return text;
}

/* ------------------------------------------------------------------ --list */

static void write_safely(FILE *out, const char *path)
{
	size_t len = strlen(path), width;
	char *clean = malloc(len * TEXT_GROWTH + 1), *escaped = NULL;

	if (clean)
		escaped = malloc((len = text__sanitize(clean, path, len)) * TEXT_GROWTH + 1);
	if (escaped)
		fwrite(escaped, 1, text__escape(escaped, clean, len, &width), out);
	free(clean);
	free(escaped);
}

static void write_probe(FILE *out, const struct usdt_probe *probe)
{
	fprintf(out, "%-28s 0x%-10llx 0x%-10llx %s\n", probe->name, (unsigned long long)probe->addr,
		(unsigned long long)probe->semaphore_addr, probe->args_text);
}

static void write_monitor(FILE *out, const struct interpreter *in, const char *name, bool lines)
{
	struct interpreter_reason why;

	if (interpreter__check(in, usdt__needs(lines, false), &why))
		fprintf(out, "%-28s no: %s\n", name, why.text);
	else
		fprintf(out, "%-28s yes\n", name);
}

static void describe(FILE *out, const struct interpreter *in)
{
	const struct interpreter_info *info = interpreter__info(in);
	char words[64];

	fprintf(out, "%s, %s ", interpreter__describe(in, words, sizeof(words)),
		info->in_library ? "library" : "executable");
	write_safely(out, info->path);
	fprintf(out, "\n\n%-28s %-12s %-12s %s\n", "probe", "address", "semaphore", "arguments");
	for (int i = 0; i < elf_notes__count(info->elf); i++)
		write_probe(out, elf_notes__probe(info->elf, i));
	fprintf(out, "\n%-28s %s\n", "monitor", "source usdt");
	for (int i = 0; options__monitors[i].name; i++)
		write_monitor(out, in, options__monitors[i].name,
			      !strncmp(options__monitors[i].name, "line", strlen("line")));
}

static int open_file(const char *path, struct interpreter **in, struct interpreter_reason *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = interpreter__open_fd(fd, path, in, why);
	close(fd);
	return err;
}

char *list__interpreter(const struct options *options)
{
	const char *file = options->list_file ? options->list_file : "/usr/bin/python3";
	struct interpreter_reason why = {0};
	struct interpreter *in = NULL;
	char name[32], *text = NULL;
	FILE *out = NULL;
	size_t size;
	int err;

	if (options->n_pids) {
		snprintf(name, sizeof(name), "PID %d", options->pids[0]);
		file = name;
		err = interpreter__of_pid(options->pids[0], &in, &why);
	} else {
		err = open_file(file, &in, &why);
	}
	if (!err && interpreter__info(in)->kind == INTERPRETER_NONE) {
		err = -ENOEXEC;
		snprintf(why.text, sizeof(why.text), "it is not a Python");
	}
	if (err) {
		log_cannot("list", file, *why.text ? why.text : error_words(err));
		if (*why.next_step)
			log_hint("%s", why.next_step);
	} else {
		out = open_memstream(&text, &size);
	}
	if (out) {
		describe(out, in);
		fclose(out);
	}
	interpreter__free(in);
	return text;
}
