/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * monitoring.h - a tool of sys.monitoring (3.12): an id that was free, and callbacks that are
 * objects of our own with a vectorcall, so that an event is one C call. The caller holds the GIL
 * and no Python error is set.
 */
#ifndef PIKOS_AGENT_MONITORING_H
#define PIKOS_AGENT_MONITORING_H

#include <stdbool.h>
#include <stddef.h>

#include "overhead.h"
#include "python_api.h"

/* Where an event comes from. */
enum event_scope {
	EVENT_EVERYWHERE,
	EVENT_IMPLIED, /* by another: C_RETURN and C_RAISE come with CALL */
	EVENT_LOCAL,   /* of code objects that are asked for */
};

struct monitoring_event {
	const char *name;		     /* in sys.monitoring.events */
	vectorcall_function function, timed; /* timed: with AGENT_OVERHEAD */
	enum event_scope scope;
	bool is_wanted;
	long number;
	void *callback, *timed_callback;
};

/* The function that a hook has when it is timed, and its entry in a struct monitoring_event. */
#define TIMED_FUNCTION(hook, kind)                                                       \
	static void *hook##_timed(void *self, void *const *args, size_t n, void *names_) \
	{                                                                                \
		struct stopwatch watch;                                                  \
		void *answer;                                                            \
                                                                                         \
		stopwatch__start(&watch);                                                \
		answer = hook(self, args, n, names_);                                    \
		stopwatch__stop(&watch, kind);                                           \
		return answer;                                                           \
	}
#define FUNCTIONS(hook) .function = (hook), .timed = hook##_timed

/* sys.monitoring's; valid from the first monitoring__put_in on, for ever. */
extern void *monitoring_missing, *monitoring_disable;

/* @return 0 or minus an enum agent_refusal */
int monitoring__put_in(struct monitoring_event *events, size_t n);
void monitoring__take_out(struct monitoring_event *events, size_t n);

/* Switch the local events of a code object on or off. @return whether it went well */
bool monitoring__set_local(const struct monitoring_event *events, size_t n, void *code, bool on);
/* What was switched off by DISABLE is on again. May be called in a callback. */
void monitoring__restart(void);

#endif /* PIKOS_AGENT_MONITORING_H */
