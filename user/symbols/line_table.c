// SPDX-License-Identifier: BSD-3-Clause
#include "symbols/line_table.h"

#define CODE_UNIT 2 /* bytes of an instruction */
#define NO_LINE	  -1

/* Lines are summed up as unsigned: hostile deltas wrap around. */
static int32_t line_of(uint32_t sum)
{
	return (int32_t)sum < 0 ? NO_LINE : (int32_t)sum;
}

/* Pairs: how many bytes on, how many lines. A pair's line holds from its address on. */
static int32_t lnotab_line(const uint8_t *table, size_t size, uint32_t line, uint32_t offset)
{
	uint64_t address = 0;

	for (size_t i = 0; i + 1 < size; i += 2) {
		address += table[i];
		if (address > offset)
			break;
		line += (uint32_t)(int8_t)table[i + 1];
	}
	return line_of(line);
}

/* Pairs: how many bytes it covers, how many lines on; -128 lines: these have none. */
static int32_t linetable_line(const uint8_t *table, size_t size, uint32_t line, uint32_t offset)
{
	uint64_t end = 0;

	for (size_t i = 0; i + 1 < size; i += 2) {
		int8_t delta = (int8_t)table[i + 1];

		end += table[i];
		if (delta != -128)
			line += (uint32_t)delta;
		if (offset < end)
			return delta == -128 ? NO_LINE : line_of(line);
	}
	return NO_LINE;
}

/* The first byte of an entry: 1, its kind in 4 bits, in 3 how many code units it covers, less 1. */
#define ENTRY_START	  0x80
#define ENTRY_KIND(byte)  ((byte) >> 3 & 15)
#define ENTRY_UNITS(byte) (((byte)&7) + 1)

enum entry_kind { ENTRY_ONE_LINE = 10, ENTRY_NO_COLUMNS = 13, ENTRY_LONG = 14, ENTRY_NONE = 15 };

/* 6 bits a byte, the lowest first; the number's lowest bit is its sign. */
static uint32_t signed_varint(const uint8_t *at, const uint8_t *end)
{
	uint32_t value = 0;

	for (int shift = 0; at < end && shift < 32; shift += 6, at++) {
		value |= (uint32_t)(*at & 63) << shift;
		if (!(*at & 64))
			break;
	}
	return value & 1 ? -(value >> 1) : value >> 1;
}

static uint32_t entry_delta(const uint8_t *entry, const uint8_t *end)
{
	int kind = ENTRY_KIND(*entry);

	if (kind == ENTRY_NO_COLUMNS || kind == ENTRY_LONG)
		return signed_varint(entry + 1, end);
	if (kind >= ENTRY_ONE_LINE && kind < ENTRY_NO_COLUMNS)
		return (uint32_t)(kind - ENTRY_ONE_LINE);
	return 0;
}

static int32_t location_line(const uint8_t *table, size_t size, uint32_t line, uint32_t offset)
{
	const uint8_t *at = table, *end = table + size;
	uint64_t covered = 0;

	while (at < end) {
		line += entry_delta(at, end);
		covered += (uint64_t)ENTRY_UNITS(*at) * CODE_UNIT;
		if (offset < covered)
			return ENTRY_KIND(*at) == ENTRY_NONE ? NO_LINE : line_of(line);
		do
			at++;
		while (at < end && !(*at & ENTRY_START));
	}
	return NO_LINE;
}

int32_t line_table__line(uint32_t format, const uint8_t *table, size_t size, int32_t first_line,
			 uint32_t offset)
{
	uint32_t line = (uint32_t)first_line;

	if (offset == WIRE_FRAME_NOT_STARTED)
		return line_of(line);
	switch (format) {
	case WIRE_LNOTAB:
		return lnotab_line(table, size, line, offset);
	case WIRE_LINETABLE:
		return linetable_line(table, size, line, offset);
	case WIRE_LOCATIONS:
		return location_line(table, size, line, offset);
	default:
		return NO_LINE;
	}
}
