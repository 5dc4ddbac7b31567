/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * parser.h - what options.c (one option at a time) and check.c (the whole line) share.
 */
#ifndef PIKOS_CLI_PARSER_H
#define PIKOS_CLI_PARSER_H

#include "cli/options.h"

#define OPTIONS_MAX_PID (1u << 22) /* PID_MAX_LIMIT of 64-bit kernels */

struct options_parser {
	struct options *options;
	const struct option_info *table;
	uint64_t given; /* a bit per option of the table */
	char **words;	/* neither options nor behind `--` */
	int n_words;
	char *const *rest; /* behind `--`; NULL: there was none */
	int n_rest;
};

/*
 * @brief Note a usage error. @param next what to do next; NULL: --help
 * @return -EINVAL
 */
int parser__usage(struct options_parser *parser, const char *next, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* @brief Replace the second line of the usage error just noted. @return -EINVAL */
int parser__hint(struct options_parser *parser, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* @return whether the option of that long name stood on the line */
bool parser__given(const struct options_parser *parser, const char *name);

/* @return zeroed memory that options__free frees, or NULL */
void *parser__allocate(struct options *options, size_t size);

/* @brief Check the line as a whole and fill what depends on it. @return as options__parse */
int parser__finish(struct options_parser *parser);

#endif /* PIKOS_CLI_PARSER_H */
