// SPDX-License-Identifier: BSD-3-Clause
#include "cli/numbers.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define NSEC_PER_MSEC UINT64_C(1000000)
#define NSEC_PER_SEC  UINT64_C(1000000000)

/* strtoull is not used: it takes signs, white space and other bases. */
static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* @return what the suffix multiplies by, in bytes, ns or ones; 0: no such suffix of this unit */
static uint64_t suffix_scale(const char *suffix, enum number_unit unit)
{
	static const struct {
		enum number_unit unit;
		const char *suffix;
		uint64_t scale;
	} suffixes[] = {
		{NUMBER_COUNT, "", 1},
		{NUMBER_SIZE, "", 1},
		{NUMBER_SIZE, "K", UINT64_C(1) << 10},
		{NUMBER_SIZE, "k", UINT64_C(1) << 10},
		{NUMBER_SIZE, "M", UINT64_C(1) << 20},
		{NUMBER_SIZE, "m", UINT64_C(1) << 20},
		{NUMBER_SIZE, "G", UINT64_C(1) << 30},
		{NUMBER_SIZE, "g", UINT64_C(1) << 30},
		{NUMBER_TIME, "", NSEC_PER_SEC},
		{NUMBER_TIME, "ms", NSEC_PER_MSEC},
		{NUMBER_TIME, "s", NSEC_PER_SEC},
		{NUMBER_TIME, "m", 60 * NSEC_PER_SEC},
		{NUMBER_TIME, "h", 3600 * NSEC_PER_SEC},
	};

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
		if (suffixes[i].unit == unit && !strcmp(suffixes[i].suffix, suffix))
			return suffixes[i].scale;
	return 0;
}

/* Digits of a fraction finer than one of the unit (a tenth of a ns) are dropped. */
static uint64_t fraction_of(const char *digits, uint64_t scale)
{
	uint64_t sum = 0;

	for (; is_digit(*digits); digits++) {
		sum += (uint64_t)(*digits - '0') * scale / 10;
		scale /= 10;
	}
	return sum;
}

int number__parse(const char *text, enum number_unit unit, uint64_t min, uint64_t max,
		  uint64_t *value)
{
	const char *p = text, *fraction = NULL;
	bool overflow = false;
	uint64_t whole = 0, scale;

	if (!is_digit(*p))
		return -EINVAL;
	for (; is_digit(*p); p++)
		overflow |= __builtin_mul_overflow(whole, 10, &whole) ||
			    __builtin_add_overflow(whole, (uint64_t)(*p - '0'), &whole);
	if (*p == '.' && unit == NUMBER_TIME && is_digit(p[1])) {
		fraction = ++p;
		while (is_digit(*p))
			p++;
	}
	scale = suffix_scale(p, unit);
	if (!scale)
		return -EINVAL;
	overflow |= __builtin_mul_overflow(whole, scale, &whole);
	if (fraction)
		overflow |= __builtin_add_overflow(whole, fraction_of(fraction, scale), &whole);
	if (overflow || whole < min || whole > max)
		return -ERANGE;
	*value = whole;
	return 0;
}

const char *number__form(enum number_unit unit)
{
	switch (unit) {
	case NUMBER_SIZE:
		return "a size (65536, 64K, 8M, 1G)";
	case NUMBER_TIME:
		return "a time (10s, 500ms, 1.5s, 5m, 2h; a bare number is seconds)";
	case NUMBER_COUNT:
		break;
	}
	return "a whole number";
}
