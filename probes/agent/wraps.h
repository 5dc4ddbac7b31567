/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wraps.h - what must be done just before or after certain builtin functions, while hooks are in:
 * hand over before os._exit and what else ends the program without a word; have no helper thread
 * while os.fork looks for threads that it could warn of; look after threads that
 * _thread started and after sys.setprofile and sys.settrace.
 *
 * A function object keeps its identity, name and flags: only its definition is replaced by a copy
 * whose C function calls the original. The copies stay for ever, a call may be in the middle.
 * Its hash does change while it is wrapped, since Python takes that from the C function's address:
 * a program that looks one of these functions up in a dictionary does not find it meanwhile.
 */
#ifndef PIKOS_AGENT_WRAPS_H
#define PIKOS_AGENT_WRAPS_H

#include <stdbool.h>

/* Before wraps__put_in: who looks after new threads and replaced functions; NULL: nobody. */
void wraps__set_watchers(void (*look_after)(void), bool is_trace);

/* With the GIL held and no Python error set. A function that is not found is left alone. */
void wraps__put_in(void);
void wraps__take_out(void);

#endif /* PIKOS_AGENT_WRAPS_H */
