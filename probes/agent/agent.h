/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent.h - the library inside the target, as the one that loads it sees it.
 *
 * build/libpikos-agent.so is loaded with dlopen into a CPython 3.9 to 3.15 and does nothing until
 * pikos_agent(AGENT_START) is called. It has these probes (ELF notes of provider `pikos`, nop1,
 * each with a semaphore that the kernel raises while somebody is attached):
 *
 * - batch: hit to hand over a batch; the first argument is the address of a struct wire_batch.
 * - run: never hit; its semaphore says that the tracer wants events. When it falls the agent hands
 *   over what it has, says WIRE_NOTICE_ENDED, takes its hooks out and ends its thread.
 * - resend: never hit; while its semaphore is raised the agent defines every id anew at its next
 *   use. It answers WIRE_NOTICE_RESENT once per rise.
 * - region__enter, region__leave: the calling thread enters and leaves a region; hit by
 *   pikos_agent(AGENT_REGION_ENTER) and pikos_agent(AGENT_REGION_LEAVE).
 *
 * So the kernel ends the tracing in the target when the tracer is gone, however it went: the
 * semaphores fall with the tracer's descriptors, and the agent looks at them at every hand-over
 * and every AGENT_TICK_MS.
 *
 * To attach: dlopen, attach to the three probes, then call pikos_agent(AGENT_START). To attach
 * again the same library is used: it stays in the target, without hooks and without a thread.
 */
#ifndef PIKOS_AGENT_H
#define PIKOS_AGENT_H

#include <linux/types.h>

#include "bpf/wire.h"

#define AGENT_VERSION 3
#define AGENT_TICK_MS 20
/* What its mapping in /proc/PID/maps is called: memfd:pikos-agent, or a file of this name. */
#define AGENT_NAME "pikos-agent"

/* AGENT_VALUES: each event has RSS and VMS, see values.h. AGENT_AT_START: the caller is the main
 * thread, holds the GIL and stands in front of Py_RunMain: hook before returning. AGENT_FOCUS: by
 * rules; for lines those of the focused functions, else all that runs inside of them, per thread.
 * AGENT_WINDOW: only while the <module> of the file window_file_hash runs. AGENT_REGIONS: only what
 * a thread does inside a region of its own, and a focus counts from its next entry there; functions
 * called AGENT_REGION_MARK make regions, neither they nor the C calls of theirs are events.
 * AGENT_OLD_PROBES: no batches, but python:function__entry, function__return and line for other
 * tracers, while their semaphores are raised, for ever. AGENT_ALLOCATIONS: events have details
 * (struct wire_detail), and what the program allocates in the domains of AGENT_RAW, AGENT_MEM and
 * AGENT_OBJ is an event. AGENT_OVERHEAD: hooks and hand-overs are timed (overhead.h). */
enum agent_flag {
	AGENT_LINES = 1 << 0,	  /* lines; else calls and returns */
	AGENT_C_CALLS = 1 << 1,	  /* and those of C functions */
	AGENT_QUALIFIED = 1 << 2, /* names are co_qualname where there is one (3.11) */
	AGENT_TIMES = 1 << 3,	  /* each event has its time */
	AGENT_VALUES = 1 << 4,	  /* each event has RSS and VMS */
	AGENT_AT_START = 1 << 5,
	AGENT_FOCUS = 1 << 6,
	AGENT_WINDOW = 1 << 7,
	AGENT_REGIONS = 1 << 8,
	AGENT_OLD_PROBES = 1 << 9,
	AGENT_ALLOCATIONS = 1 << 10,
	AGENT_RAW = 1 << 11, /* PyMem_RawMalloc, and what the other two take from it */
	AGENT_MEM = 1 << 12, /* PyMem_Malloc */
	AGENT_OBJ = 1 << 13, /* PyObject_Malloc */
	AGENT_OVERHEAD = 1 << 14,
};

/* Copied before pikos_agent returns. */
struct agent_config {
	__u32 size;    /* of the whole, rules included */
	__u32 version; /* AGENT_VERSION */
	__u32 flags;   /* enum agent_flag */
	__u32 n_rules; /* up to WIRE_MAX_RULES; rules follow this struct */
	__u64 hash_seed;
	__u64 module_name_hash; /* of `<module>` */
	__u64 window_file_hash;
	__s32 values; /* AGENT_VALUES: descriptor of the page; open until pikos_agent returns */
	__u32 unused;
	struct wire_rule rules[];
};

/* What pikos_agent returns: 0, or one of these, negative. */
enum agent_refusal {
	AGENT_BUSY = 1,	       /* another tracer uses it */
	AGENT_NOT_PYTHON,      /* no CPython in this process, or its symbols are hidden */
	AGENT_UNKNOWN_VERSION, /* not 3.9 to 3.15 */
	AGENT_FREE_THREADED,   /* a build without the GIL */
	AGENT_NOT_INITIALIZED, /* Python does not run yet or no more */
	AGENT_OTHER_CONFIG,    /* the config is of another version of the agent */
	AGENT_NO_TOOL,	       /* 3.12: all tool ids of sys.monitoring are taken */
	AGENT_NO_MEMORY,
	AGENT_NO_THREAD,    /* its helper thread could not be started */
	AGENT_NO_VALUES,    /* the page with RSS and VMS is not there, or nobody keeps it */
	AGENT_NO_ALLOCATOR, /* its allocators were replaced too often */
};

/* What the one exported function is asked for. */
enum agent_request {
	AGENT_START = 1,    /* argument: struct agent_config */
	AGENT_REGION_ENTER, /* argument: NULL */
	AGENT_REGION_LEAVE,
	AGENT_REGION_SEMAPHORE, /* argument: const unsigned short **, to be set */
};

#define AGENT_REGION_MARK WIRE_REGION_MARK

#define AGENT_ENTRY "pikos_agent"

/*
 * AGENT_START: hook the interpreter as the config says. May be called on any thread at a safe point
 * (ptrace), with or without the GIL; without AGENT_AT_START a helper thread does the work, and
 * WIRE_NOTICE_HOOKED says when it is done.
 *
 * AGENT_REGION_ENTER, _LEAVE: hit the probe of that name with the calling thread (for
 * probes/python/pikos.py, by ctypes). Cheap when nobody is attached; never fail. Regions nest: a
 * thread's depth is counted while AGENT_REGIONS holds, and a leave at depth 0 changes nothing,
 * since the region may have been entered before.
 *
 * AGENT_REGION_SEMAPHORE: where region__enter's semaphore lies, so that a program asks itself, not
 * us, whether anybody wants to know of its regions.
 *
 * @return 0, or minus an enum agent_refusal
 */
__attribute__((visibility("default"))) int pikos_agent(int request, const void *argument);

#endif /* PIKOS_AGENT_H */
