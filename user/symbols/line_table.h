/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * line_table.h - from an instruction of a code object to its line, by the interpreter's own table.
 *
 * Three formats (enum wire_table_format): co_lnotab of 3.9, co_linetable of 3.10 (PEP 626) and the
 * location table of 3.11 on (PEP 657; columns are skipped). The tables come from the target and may
 * hold anything; any bytes give a line or -1.
 */
#ifndef PIKOS_SYMBOLS_LINE_TABLE_H
#define PIKOS_SYMBOLS_LINE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/wire.h"

/*
 * @param format an enum wire_table_format
 * @param size bytes
 * @param first_line co_firstlineno
 * @param offset of the instruction, in bytes; WIRE_FRAME_NOT_STARTED gives first_line
 * @return the line that PyCode_Addr2Line tells; -1: none
 */
int32_t line_table__line(uint32_t format, const uint8_t *table, size_t size, int32_t first_line,
			 uint32_t offset);

#endif /* PIKOS_SYMBOLS_LINE_TABLE_H */
