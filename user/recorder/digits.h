/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * digits.h - integers as decimal text. printf takes longer for one number than a whole CSV row
 * may take, so the recorders write their own.
 */
#ifndef PIKOS_RECORDER_DIGITS_H
#define PIKOS_RECORDER_DIGITS_H

#include <stdint.h>
#include <string.h>

#define DIGITS_MAX 20 /* "-9223372036854775808", "18446744073709551615" */

/* digits__unsigned, for the rest of a long number: not worth inlining. */
char *digits__unsigned_long(char *out, uint64_t n);
extern const char digits__pairs[200]; /* "00010203..99" */

/* Four digits at out. */
static inline void digits__four(char *out, uint32_t n)
{
	memcpy(out, digits__pairs + 2 * (n / 100), 2);
	memcpy(out + 2, digits__pairs + 2 * (n % 100), 2);
}

/* n below 10000 without leading zeros; four bytes are written, whatever the end is. */
static inline char *digits__short(char *out, uint32_t n)
{
	int zeros = (n < 1000) + (n < 100) + (n < 10);
	char four[8] = "";

	digits__four(four, n);
	memcpy(out, four + zeros, 4);
	return out + 4 - zeros;
}

/*
 * @brief Write n at out, which has room for DIGITS_MAX. Four digits at a time: the steps of a
 * chain of divisions wait for each other.
 * @return the end of what was written
 */
static inline char *digits__unsigned(char *out, uint64_t n)
{
	if (n < 10000)
		return digits__short(out, n);
	if (n < 100000000)
		out = digits__short(out, n / 10000);
	else
		out = digits__unsigned_long(out, n / 10000);
	digits__four(out, n % 10000);
	return out + 4;
}

static inline char *digits__signed(char *out, int64_t n)
{
	if (n >= 0)
		return digits__unsigned(out, n);
	*out++ = '-';
	return digits__unsigned(out, -(uint64_t)n);
}

#endif /* PIKOS_RECORDER_DIGITS_H */
