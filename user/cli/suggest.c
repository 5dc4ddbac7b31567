// SPDX-License-Identifier: BSD-3-Clause
#include "cli/suggest.h"

#include <stddef.h>
#include <string.h>

#define MAX_WORD 48
#define FAR	 (2 * MAX_WORD)

static int min(int a, int b)
{
	return a < b ? a : b;
}

/* Letters to insert, remove, replace or swap to turn a into b; FAR for words too long. */
static int distance(const char *a, const char *b)
{
	int rows[3][MAX_WORD + 1], *last, *row, *before;
	int a_len = (int)strnlen(a, MAX_WORD + 1), b_len = (int)strnlen(b, MAX_WORD + 1);

	if (a_len > MAX_WORD || b_len > MAX_WORD)
		return FAR;
	for (int j = 0; j <= b_len; j++)
		rows[0][j] = j;
	for (int i = 1; i <= a_len; i++) {
		row = rows[i % 3];
		last = rows[(i + 2) % 3];
		before = rows[(i + 1) % 3];
		row[0] = i;
		for (int j = 1; j <= b_len; j++) {
			row[j] = min(min(row[j - 1], last[j]) + 1,
				     last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = min(row[j], before[j - 2] + 1);
		}
	}
	return rows[a_len % 3][b_len];
}

/* How far a candidate is, or FAR if nobody would mean it. */
static int far(const char *typed, const char *candidate)
{
	size_t len = strlen(typed);
	int d = distance(typed, candidate);

	if (d <= (len < 5 ? 1 : 2))
		return d;
	/* Part of the word, or the word and more: "delimiter", "function". */
	if (len >= 4 && (strstr(candidate, typed) || strstr(typed, candidate)))
		return d;
	return FAR;
}

const char *suggest__nearer(const char *typed, const char *best, const char *candidate)
{
	int d = far(typed, candidate);

	return d < FAR && (!best || d < far(typed, best)) ? candidate : best;
}
