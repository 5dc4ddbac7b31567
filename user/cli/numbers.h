/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * numbers.h - numbers from the command line: one strict parser with a range.
 *
 * No sign, no white space, no other base, nothing behind the number but its unit.
 */
#ifndef PIKOS_CLI_NUMBERS_H
#define PIKOS_CLI_NUMBERS_H

#include <stdint.h>

enum number_unit {
	NUMBER_COUNT, /* 1000 */
	NUMBER_SIZE,  /* bytes: 4096, 64K, 8M, 1G (binary, k and m and g too) */
	NUMBER_TIME,  /* ns: 10s, 500ms, 1.5s, 5m, 2h; a bare number is seconds */
};

/*
 * @brief Read a number: number__parse("1500ms", NUMBER_TIME, 1, UINT64_MAX, &ns) gives 1500000000.
 * @param value set only on success
 * @return 0; -EINVAL: not such a number; -ERANGE: one, but not in min..max (or beyond 64 bits)
 */
int number__parse(const char *text, enum number_unit unit, uint64_t min, uint64_t max,
		  uint64_t *value);

/* @return what the unit looks like, for messages: "a size (65536, 64K, 8M, 1G)" */
const char *number__form(enum number_unit unit);

#endif /* PIKOS_CLI_NUMBERS_H */
