/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cell.h - one value as a cell of formatted text, as Python's str.format pads it.
 */
#ifndef PIKOS_RECORDER_CELL_H
#define PIKOS_RECORDER_CELL_H

#include <stddef.h>

#include "pikos.h"

/* @return room that cell__put needs at most for that value */
size_t cell__bound(const struct pikos_cell *cell, const struct pikos_value *value);

/*
 * @brief Write a value, control characters escaped, padded to the cell's width in characters, and
 * the text that follows the cell.
 * @return the end of what was written
 */
char *cell__put(const struct pikos_cell *cell, char *out, const struct pikos_value *value);

#endif /* PIKOS_RECORDER_CELL_H */
