/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * doctor.h - what --list finds out about an interpreter: its build, its probes, and which source
 * serves which monitor. list.c shows it as a table, list_json.c as JSON.
 *
 * Nothing is attached, stopped or changed to find it out.
 */
#ifndef PIKOS_CLI_DOCTOR_H
#define PIKOS_CLI_DOCTOR_H

#include "cli/options.h"
#include "monitor/record_type.h"
#include "source/interpreter.h"

#define DOCTOR_MAX_PROBES 32
#define DOCTOR_MAX_ADDS	  8

struct doctor_probe {
	const char *name;
	const struct usdt_probe *first; /* of its sites; NULL: this interpreter does not have it */
	int n_sites;
	bool is_ours;  /* one that our monitors take */
	bool fires;    /* for is_ours */
	char why[256]; /* is_ours: why it does not fire, or what it takes; or "" */
	int raised;    /* its semaphore in the process now; -1: unknown */
};

struct doctor_monitor {
	const char *name;
	enum monitor_kind kind;
	bool usdt;   /* the built-in probes serve it */
	bool agent;  /* the agent would */
	bool kernel; /* neither is needed: the kernel sees it all */
	bool libc;   /* a running process's is told by libc */
};

/* What the agent would give that the built-in probes here do not. */
struct doctor_add {
	const char *name; /* for programs: "c_calls" */
	const char *words;
};

struct doctor {
	struct interpreter *in; /* owned, and all that it holds */
	char executable[4096];	/* that loaded the library in->info.path; "" if that is itself */
	bool is_pie;		/* the executable, if known; else false */
	bool is_debug;		/* built with Py_DEBUG */
	struct doctor_probe probes[DOCTOR_MAX_PROBES];
	int n_probes;
	struct doctor_monitor *monitors; /* as options__monitors; owned */
	int n_monitors;
	bool can_load; /* the agent */
	bool is_loaded;
	struct interpreter_reason why_not_load;
	struct doctor_add adds[DOCTOR_MAX_ADDS];
	int n_adds;
};

/*
 * @brief Examine what --list is asked for: a process, a file, or the python3 of PATH.
 * @return to be given to doctor__free; NULL: said through log.h
 */
struct doctor *doctor__new(const struct options *options);
/* NULL is fine. */
void doctor__free(struct doctor *doctor);

/* @return "usdt", "agent", or NULL: what --source auto takes for a process (-p) or a program */
const char *doctor__auto(const struct doctor_monitor *monitor, bool attach);

/* @return the doctor's findings as text, or as JSON with a newline; freed by the caller, or NULL */
char *doctor__table(const struct doctor *doctor);
char *doctor__json(const struct doctor *doctor);

#endif /* PIKOS_CLI_DOCTOR_H */
