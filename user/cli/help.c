// SPDX-License-Identifier: BSD-3-Clause
#include "cli/help.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "pikos.h"

#define COLUMN 30 /* where the words about an option begin */

static const char trace_head[] =
	"Watch what a running CPython program does, from the kernel.\n"
	"\n"
	"Usage:\n"
	"  pikos-trace [MONITOR] [options] -p PID[,PID...]      attach; Ctrl-C ends it\n"
	"  pikos-trace [MONITOR] [options] -- PROGRAM [ARG...]  run PROGRAM, trace it\n"
	"  pikos-trace agent -p PID                             probes for other tracers\n"
	"  pikos-trace --list [-p PID | FILE]                   what a Python offers\n"
	"  pikos-trace --features                               what this kernel offers\n"
	"\n"
	"MONITOR:\n";

static const char trace_tail[] =
	"\n"
	"EXAMPLES:\n"
	"  pikos-trace -p 1234                      # calls and returns of process 1234\n"
	"  pikos-trace -p 1234 --tree               # indented, with elapsed times\n"
	"  pikos-trace lines -p 1234 --focused-on app.py:handle  # lines of one function\n"
	"  pikos-trace function_memory -p 1234 -o memory.csv     # with RSS and VMS\n"
	"  pikos-trace -p 1234 --filter 'type=call' --duration 10s\n"
	"  pikos-trace -p 1234,1235 --recording zmq # live, for any ZeroMQ subscriber\n"
	"  pikos-trace lines -- python3 script.py arg            # from its first line\n"
	"  pikos-trace --list -p 1234               # what can be traced there, and how\n"
	"  pikos-trace -p 1234 --source agent       # any CPython 3.9 - 3.15, and cheaper\n"
	"\n"
	"Exit status: 0, or the program's own; 1 failure; 2 usage; 3 records lost and\n"
	"--strict. Needs root, or the capabilities that 'man pikos-trace' names.\n";

/* To the letter what Pikos printed, for scripts and readers that know it. */
static const char run_head[] =
	"usage: pikos-run [-h] [-o OUTPUT] [--buffered] [--recording {screen,text,csv}]\n"
	"                 [--focused-on FOCUSED_ON]\n"
	"                 {functions,line_memory,lines,function_memory} script\n"
	"\n"
	"Run a Python script and record what it does, from its first line to its last.\n"
	"\n"
	"positional arguments:\n"
	"  {functions,line_memory,lines,function_memory}\n"
	"                              the monitor to use\n"
	"  script                      the script to run; words after it that are none of\n"
	"                              the options below, and all words after '--', are\n"
	"                              its arguments\n"
	"\n"
	"options:\n";

static const char run_tail[] =
	"\n"
	"EXAMPLES:\n"
	"  pikos-run lines script.py\n"
	"  pikos-run line_memory script.py --recording csv --focused-on=mandelbrot\n"
	"  pikos-run functions -o calls.csv script.py input.txt\n"
	"  pikos-run functions script.py -- --help   # --help is the script's\n"
	"\n"
	"PIKOS_PYTHON in the environment names the interpreter; else the python3 of PATH\n"
	"runs the script. 'pikos-trace --help' shows the whole tool.\n";

/* Words of several lines, all in the same column. */
static void put_words(FILE *out, int column, const char *words)
{
	size_t len;

	if (column >= COLUMN) {
		fputc('\n', out);
		column = 0;
	}
	for (;; words += len + 1, column = 0) {
		len = strcspn(words, "\n");
		fprintf(out, "%*s%.*s\n", COLUMN - column, "", (int)len, words);
		if (!words[len])
			return;
	}
}

static void put_options(FILE *out, const struct option_info *info)
{
	int column;

	for (; info->name; info++) {
		if (info->section)
			fprintf(out, "\n%s:\n", info->section);
		column = info->letter ? fprintf(out, "  -%c, --%s", info->letter, info->name)
				      : fprintf(out, "      --%s", info->name);
		if (info->arg)
			column += fprintf(out, " %s", info->arg);
		put_words(out, column, info->help);
	}
}

char *help__text(bool pikos_run)
{
	const struct monitor_info *monitor;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	fputs(pikos_run ? run_head : trace_head, out);
	for (monitor = options__monitors; !pikos_run && monitor->name; monitor++)
		put_words(out, fprintf(out, "  %s", monitor->name), monitor->help);
	put_options(out, pikos_run ? options__run_table : options__trace_table);
	fputs(pikos_run ? run_tail : trace_tail, out);
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}

const char *help__version(bool pikos_run)
{
	return pikos_run ? "pikos-run " PIKOS_VERSION : "pikos-trace " PIKOS_VERSION;
}
