/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * help.h - the text of --help: one line, usage, options, examples. Driven by the tables of
 * options.h; actions.c prints it.
 */
#ifndef PIKOS_CLI_HELP_H
#define PIKOS_CLI_HELP_H

#include <stdbool.h>

/*
 * @brief The help of pikos-trace, or of pikos-run.
 * @return a string of many lines that the caller frees, or NULL (errno)
 */
char *help__text(bool pikos_run);

/* @return the one line of -V, without a newline; static */
const char *help__version(bool pikos_run);

#endif /* PIKOS_CLI_HELP_H */
