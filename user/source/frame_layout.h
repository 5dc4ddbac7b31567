/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * frame_layout.h - where an interpreter keeps its threads, frames and code objects.
 *
 * From 3.13 on it tells itself: _Py_DebugOffsets, at the start of _PyRuntime, for tools like this
 * one. For versions before there is a table, frame_offsets.h. Either way _PyRuntime must be found:
 * every CPython that is not linked into another program exports it, and from 3.10 on it is a
 * section of its own, .PyRuntime.
 */
#ifndef PIKOS_SOURCE_FRAME_LAYOUT_H
#define PIKOS_SOURCE_FRAME_LAYOUT_H

#include "bpf/wire.h"
#include "source/interpreter.h"

/*
 * @brief What the kernel needs to find the frames of a process.
 * @param info of a process, its file mapped
 * @param why in words what is missing: "CPython 3.16 has no table of frame offsets"; may be NULL
 * @return 0; -ENODATA: no layout, `layout` is zeroed: WIRE_STACK_UNKNOWN
 */
int frame_layout__of(const struct interpreter_info *info, struct wire_layout *layout,
		     struct interpreter_reason *why);

#endif /* PIKOS_SOURCE_FRAME_LAYOUT_H */
