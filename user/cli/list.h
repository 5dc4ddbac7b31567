/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * list.h - the tables of --list and --features.
 */
#ifndef PIKOS_CLI_LIST_H
#define PIKOS_CLI_LIST_H

#include "cli/options.h"

/* @return the table of kernel features, freed by the caller; NULL (logged) */
char *list__features(void);
/* @return what an interpreter offers, freed by the caller; NULL (logged) */
char *list__interpreter(const struct options *options);

#endif /* PIKOS_CLI_LIST_H */
