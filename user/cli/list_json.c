// SPDX-License-Identifier: BSD-3-Clause
/* The doctor's findings for programs: one object, its keys never leave, more may come. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/doctor.h"
#include "monitor/text.h"
#include "recorder/encoder.h"

/* Bytes of the target's, or null where there are none. */
static void put_path(struct encoder *e, const char *key, const char *path)
{
	struct pikos_text *text = *path ? text__new(path, strlen(path)) : NULL;

	encoder__key(e, key);
	if (text)
		e->format->text(e, text);
	else
		e->format->nil(e);
	free(text);
}

static void put_address(struct encoder *e, const char *key, __u64 address)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)address);
	encoder__pair_optional(e, key, address ? text : NULL);
}

static void put_natural_or_null(struct encoder *e, const char *key, long n)
{
	if (n >= 0) {
		encoder__pair_natural(e, key, n);
		return;
	}
	encoder__key(e, key);
	e->format->nil(e);
}

static void put_head(struct encoder *e, const struct doctor *doctor)
{
	static const char *const kinds[] = {
		[INTERPRETER_NONE] = "none",
		[INTERPRETER_CPYTHON] = "CPython",
		[INTERPRETER_LINKED] = "linked",
		[INTERPRETER_PYPY] = "PyPy",
	};
	const struct interpreter_info *info = interpreter__info(doctor->in);
	char version[32] = "";

	if (info->major && info->micro >= 0)
		snprintf(version, sizeof(version), "%d.%d.%d", info->major, info->minor,
			 info->micro);
	else if (info->major)
		snprintf(version, sizeof(version), "%d.%d", info->major, info->minor);
	put_natural_or_null(e, "pid", info->pid ? info->pid : -1);
	encoder__pair_string(e, "implementation", kinds[info->kind]);
	encoder__pair_optional(e, "version", *version ? version : NULL);
	put_path(e, "file", info->path);
	put_path(e, "executable",
		 *doctor->executable ? doctor->executable
		 : info->in_library  ? ""
				     : info->path);
}

static void put_build(struct encoder *e, const struct doctor *doctor)
{
	static const char *const jits[] = {
		[INTERPRETER_JIT_NONE] = "none",
		[INTERPRETER_JIT_OFF] = "off",
		[INTERPRETER_JIT_DORMANT] = "dormant",
		[INTERPRETER_JIT_ON] = "on",
	};
	const struct interpreter_info *info = interpreter__info(doctor->in);

	encoder__key(e, "build");
	encoder__map(e, 5);
	encoder__pair_boolean(e, "libpython", info->in_library);
	encoder__pair_boolean(e, "pie", doctor->is_pie);
	encoder__pair_boolean(e, "free_threaded", info->free_threaded);
	encoder__pair_string(e, "jit", jits[info->jit]);
	encoder__pair_boolean(e, "debug", doctor->is_debug);
	encoder__end_map(e);
}

static void put_probe(struct encoder *e, const struct doctor_probe *probe)
{
	encoder__map(e, 8);
	encoder__pair_string(e, "name", probe->name);
	encoder__pair_boolean(e, "present", probe->first);
	encoder__pair_natural(e, "sites", probe->n_sites);
	encoder__pair_boolean(e, "used", probe->is_ours);
	encoder__key(e, "fires");
	if (probe->is_ours)
		e->format->boolean(e, probe->fires);
	else
		e->format->nil(e);
	encoder__pair_optional(e, "note", *probe->why ? probe->why : NULL);
	put_address(e, "semaphore", probe->first ? probe->first->semaphore_addr : 0);
	put_natural_or_null(e, "raised", probe->raised);
	encoder__end_map(e);
}

static void put_monitor(struct encoder *e, const struct doctor_monitor *monitor)
{
	encoder__map(e, 5);
	encoder__pair_string(e, "name", monitor->name);
	encoder__pair_boolean(e, "usdt", monitor->usdt);
	encoder__pair_boolean(e, "agent", monitor->agent);
	encoder__pair_optional(e, "auto_attach", doctor__auto(monitor, true));
	encoder__pair_optional(e, "auto_run", doctor__auto(monitor, false));
	encoder__end_map(e);
}

static void put_agent(struct encoder *e, const struct doctor *doctor)
{
	const struct interpreter_reason *why = &doctor->why_not_load;

	encoder__key(e, "agent");
	encoder__map(e, 5);
	encoder__pair_boolean(e, "can_be_loaded", doctor->can_load);
	encoder__pair_boolean(e, "is_loaded", doctor->is_loaded);
	encoder__pair_optional(e, "why_not", doctor->can_load ? NULL : why->text);
	encoder__pair_optional(e, "next_step",
			       !doctor->can_load && *why->next_step ? why->next_step : NULL);
	encoder__key(e, "adds");
	encoder__array(e, doctor->n_adds);
	for (int i = 0; i < doctor->n_adds; i++)
		encoder__string(e, doctor->adds[i].name);
	encoder__end_array(e);
	encoder__end_map(e);
}

char *doctor__json(const struct doctor *doctor)
{
	struct encoder e;

	encoder__init(&e, PIKOS_JSON);
	encoder__map(&e, 9);
	put_head(&e, doctor);
	put_build(&e, doctor);
	encoder__key(&e, "probes");
	encoder__array(&e, doctor->n_probes);
	for (int i = 0; i < doctor->n_probes; i++)
		put_probe(&e, &doctor->probes[i]);
	encoder__end_array(&e);
	encoder__key(&e, "monitors");
	encoder__array(&e, doctor->n_monitors);
	for (int i = 0; i < doctor->n_monitors; i++)
		put_monitor(&e, &doctor->monitors[i]);
	encoder__end_array(&e);
	put_agent(&e, doctor);
	encoder__end_map(&e);
	encoder__append(&e, "\n", 2); /* with its NUL */
	if (!e.err)
		return e.data; /* the caller's now */
	encoder__free(&e);
	return NULL;
}
