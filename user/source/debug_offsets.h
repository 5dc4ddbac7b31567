/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * debug_offsets.h - where a frame's owner is found in 3.15: _Py_DebugOffsets, which the
 * interpreter keeps at the start of _PyRuntime for tools like this one.
 */
#ifndef PIKOS_SOURCE_DEBUG_OFFSETS_H
#define PIKOS_SOURCE_DEBUG_OFFSETS_H

#include "bpf/wire.h"
#include "source/interpreter.h"

/*
 * @brief Fill the site's fields for WIRE_SITE_GENERATORS.
 * @return 0; -ENODATA: no _PyRuntime symbol, or what it holds is not 3.15's table
 */
int debug_offsets__fill(const struct interpreter_info *info, struct wire_site *site);

#endif /* PIKOS_SOURCE_DEBUG_OFFSETS_H */
