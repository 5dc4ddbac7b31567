/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * suggest.h - "did you mean": which of the known words a mistyped one is near to.
 */
#ifndef PIKOS_CLI_SUGGEST_H
#define PIKOS_CLI_SUGGEST_H

/*
 * @brief Compare two candidates for a mistyped word.
 *
 *	const char *near = NULL;
 *	for (...every known word...)
 *		near = suggest__nearer(typed, near, known);
 *
 * @param best the nearest so far, or NULL
 * @return candidate if it is near enough to be meant and nearer than best, else best
 */
const char *suggest__nearer(const char *typed, const char *best, const char *candidate);

#endif /* PIKOS_CLI_SUGGEST_H */
