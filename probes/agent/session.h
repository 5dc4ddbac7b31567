/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * session.h - what one tracer asked for, and how far it has come.
 *
 *   idle -> claimed -> starting -> active -> ending -> idle
 *
 * ending: nothing is recorded any more (the buffer is closed) but the hooks may still be in: they
 * go at the next event or when the helper thread gets the GIL, whichever is first. A new session
 * can begin there and has the same helper. orphaned: a child of a fork, without a helper; its hooks
 * go at its next event.
 */
#ifndef PIKOS_AGENT_SESSION_H
#define PIKOS_AGENT_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "agent.h"

enum session_state {
	SESSION_IDLE,
	SESSION_CLAIMED, /* its config is being copied */
	SESSION_STARTING,
	SESSION_HOOKING, /* a thread sets the hooks, and may let the GIL go meanwhile */
	SESSION_ACTIVE,
	SESSION_ENDING,
	SESSION_ORPHANED,
};

struct session {
	uint32_t state; /* enum session_state; atomic */
	uint32_t flags; /* enum agent_flag */
	uint32_t n_rules;
	uint32_t starts; /* sessions begun so far; atomic: regions are entered without the GIL, too
			  */
	uint64_t hash_seed, module_name_hash, window_file_hash;
	bool resend_was_asked;
	uint32_t ticks_waited; /* in this state, for the program's own threads; atomic */
	bool is_to_catch_up;   /* the next event's thread has something to adopt; atomic */
	bool hooks_are_in;     /* under the GIL */
	bool is_unhooking;     /* the same: a thread is at it, and may let the GIL go meanwhile */
	bool python_is_ending; /* atomic: the GIL is not to be asked for any more */
	bool helper_is_in_python; /* atomic: is about to look at it, or has the GIL */
	uintptr_t helper;	  /* its thread_pointer(); 0: there is none; atomic */
	struct wire_rule rules[WIRE_MAX_RULES];
};

extern struct session session;

/* What each kind of hook can do; all with the GIL held and no Python error set. */
struct hooks {
	int (*install)(void); /* 0 or minus an enum agent_refusal; then nothing is hooked */
	void (*remove)(void);
	/* NULL: not needed. Without the GIL: is there something for `adopt` to do? */
	bool (*look)(void);
	void (*adopt)(void);
	void (*tick)(void); /* NULL: not needed. Without the GIL, once per tick */
};

extern const struct hooks hooks_monitoring, hooks_profile, hooks_trace, hooks_lines,
	hooks_old_probes;

struct code_entry;
/* A code object with ENTRY_LOCAL goes. The caller holds the GIL. */
void hooks_lines__forget(const struct code_entry *entry);

/* Whether the caller is the helper thread. */
bool session__is_helper(void);
/*
 * Around a call of os.fork, with the GIL held: the helper is a thread that Python would warn the
 * program of, so it is not there meanwhile. The first lets other threads have the GIL.
 */
void session__send_helper_away(void);
void session__let_helper_return(void);
/* Take the hooks out if they are in. The caller holds the GIL. */
void session__unhook(void);

#endif /* PIKOS_AGENT_SESSION_H */
