/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * actions.h - do what the command line asks for: trace, or print something and be done.
 */
#ifndef PIKOS_CLI_ACTIONS_H
#define PIKOS_CLI_ACTIONS_H

#include "cli/options.h"

/* @return exit status */
int actions__run(const struct options *options);

#endif /* PIKOS_CLI_ACTIONS_H */
