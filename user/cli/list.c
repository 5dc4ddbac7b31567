// SPDX-License-Identifier: BSD-3-Clause
#include "cli/list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "cli/doctor.h"
#include "kernel/features.h"
#include "log.h"
#include "monitor/text.h"

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

static void write_build(FILE *out, const struct doctor *doctor)
{
	static const char *const jits[] = {
		[INTERPRETER_JIT_NONE] = "no JIT",
		[INTERPRETER_JIT_OFF] = "JIT switched off (PYTHON_JIT=0)",
		[INTERPRETER_JIT_DORMANT] = "JIT built in, not seen in use",
		[INTERPRETER_JIT_ON] = "JIT on",
	};
	const struct interpreter_info *info = interpreter__info(doctor->in);

	fprintf(out, "%-16s %s, %s, %s, %s\n", "build",
		info->in_library ? "shared library"
		: doctor->is_pie ? "executable, PIE"
				 : "executable, not PIE",
		info->free_threaded ? "free-threaded" : "with the GIL", jits[info->jit],
		doctor->is_debug ? "debug" : "release");
}

static void write_head(FILE *out, const struct doctor *doctor)
{
	const struct interpreter_info *info = interpreter__info(doctor->in);
	char words[64];

	fputs(interpreter__describe(doctor->in, words, sizeof(words)), out);
	if (info->pid)
		fprintf(out, ", PID %d", info->pid);
	fprintf(out, "\n%-16s ", "file");
	write_safely(out, info->path);
	if (*doctor->executable) {
		fprintf(out, "\n%-16s ", "executable");
		write_safely(out, doctor->executable);
		fputs(doctor->is_pie ? " (PIE)" : " (not PIE)", out);
	}
	fputc('\n', out);
	if (info->kind == INTERPRETER_CPYTHON)
		write_build(out, doctor);
}

static void write_probe(FILE *out, const struct doctor_probe *probe)
{
	char raised[16] = "-", where[24] = "-";

	if (probe->raised >= 0)
		snprintf(raised, sizeof(raised), "%d", probe->raised);
	if (probe->first)
		snprintf(where, sizeof(where), "0x%llx", (unsigned long long)probe->first->addr);
	fprintf(out, "%-26s %-10s %-9s %s%s%s\n", probe->name, where, raised,
		!probe->is_ours ? "not used"
		: probe->fires	? "yes"
				: "no",
		*probe->why ? ": " : "", probe->why);
}

static void write_monitors(FILE *out, const struct doctor *doctor)
{
	const bool running = interpreter__info(doctor->in)->pid != 0;

	fprintf(out, "\n%-26s %-10s %-9s %s\n", "monitor", "built-in", "agent",
		running ? "--source auto, -p PID" : "--source auto, run with --");
	for (int i = 0; i < doctor->n_monitors; i++) {
		const struct doctor_monitor *monitor = &doctor->monitors[i];
		const char *source = doctor__auto(monitor, running);

		fprintf(out, "%-26s %-10s %-9s %s\n", monitor->name, monitor->usdt ? "yes" : "no",
			monitor->agent ? "yes" : "no",
			!source		  ? monitor->agent ? "none: say --source agent" : "none"
			: monitor->kernel ? "the kernel"
			: !strcmp(source, "usdt") ? "the built-in probes"
			: !strcmp(source, "libc") ? "libc's functions"
						  : "the agent");
	}
}

static void write_agent(FILE *out, const struct doctor *doctor)
{
	if (doctor->is_loaded)
		fputs("\nThe agent is loaded", out);
	else
		fputs(doctor->can_load ? "\nThe agent can be loaded"
				       : "\nThe agent cannot be loaded",
		      out);
	if (!doctor->can_load) {
		fprintf(out, ": %s\n", doctor->why_not_load.text);
		if (*doctor->why_not_load.next_step)
			fprintf(out, "  (%s)\n", doctor->why_not_load.next_step);
		if (doctor->n_adds)
			fputs("It would add\n", out);
	} else {
		fputs(": --source agent. It adds\n", out);
	}
	for (int i = 0; i < doctor->n_adds; i++)
		fprintf(out, "  %s\n", doctor->adds[i].words);
}

char *doctor__table(const struct doctor *doctor)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	write_head(out, doctor);
	fprintf(out, "\n%-26s %-10s %-9s %s\n", "built-in probe", "address", "semaphore", "fires");
	for (int i = 0; i < doctor->n_probes; i++)
		write_probe(out, &doctor->probes[i]);
	write_monitors(out, doctor);
	write_agent(out, doctor);
	fclose(out);
	return text;
}

char *list__interpreter(const struct options *options)
{
	struct doctor *doctor = doctor__new(options);
	char *text = NULL;

	if (doctor)
		text = options->json ? doctor__json(doctor) : doctor__table(doctor);
	doctor__free(doctor);
	return text;
}
