/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wire.h - what crosses from the kernel side (bpf/) to the user side (user/), and back.
 *
 * One stream, several sources. Every record starts with a struct wire_head. Its time is taken
 * after its place in the buffer was reserved, so a reader that first reads the clock and then
 * the buffers' ends knows that whatever it does not see yet is younger than that clock.
 *
 * Ids. An event names its code (function, file) by a number. A struct wire_code tells a number's
 * strings, once, with a time before the first event that uses it. Numbers grow and are never
 * used again; when the loader has forgotten old ones it raises wire_control.generation and the
 * kernel makes new ones.
 *
 * Accounting. Each event that passes focus takes the next number of its target (`seq`), whether
 * it is then filtered, lost or written: a gap between two records of a target is exactly what was
 * filtered and lost there. Losses are told apart by struct wire_lost, which stands where they
 * happened, and by the totals in struct wire_target.
 *
 * A source that hands over whole batches from inside an interpreter fits in as it is: its
 * events are struct wire_event in an array behind one head, its codes struct wire_code, its
 * losses counters of the same struct wire_target, its seq the target's.
 */
#ifndef PIKOS_WIRE_H
#define PIKOS_WIRE_H

#if !defined(__BPF__) && !defined(__bpf__)
#include <linux/types.h>
#endif

#include "bpf/probe_arg.h"

#define WIRE_VERSION 1

enum wire_kind {
	WIRE_EVENT = 1,	   /* struct wire_event */
	WIRE_EVENT_MEMORY, /* struct wire_event_memory */
	WIRE_CODE,	   /* struct wire_code */
	WIRE_CODE_LONG,	   /* struct wire_code_long */
	WIRE_LOST,	   /* struct wire_lost */
	WIRE_WAKE,	   /* struct wire_head: look at the targets' counters */
};

/* Of events: wire_head.type. */
enum wire_type {
	WIRE_CALL = 1,
	WIRE_RETURN,
	WIRE_LINE,
};

/* Of losses. */
enum wire_reason {
	WIRE_BUFFER_FULL,
	WIRE_UNREADABLE_STRING,
	WIRE_MAP_FULL,
	WIRE_N_REASONS,
};

struct wire_head {
	__u8 kind;
	__u8 type;
	__u16 target; /* index into the targets map */
	__u32 tid;    /* of the thread, in the initial pid namespace */
	__u64 time;   /* ns of CLOCK_MONOTONIC */
};

struct wire_event {
	struct wire_head head;
	__u32 code;
	__s32 line;
	__u64 seq; /* the target's count of events before this one */
};

struct wire_event_memory {
	struct wire_event event;
	__u64 rss; /* pages */
	__u64 vms; /* pages */
};

#define WIRE_SHORT_NAME 128
#define WIRE_SHORT_FILE 320
#define WIRE_LONG_TEXT	4096

/* Strings end in NUL inside their arrays; a string that did not fit has its cut bit set. */
#define WIRE_NAME_CUT 1
#define WIRE_FILE_CUT 2

struct wire_code {
	struct wire_head head;
	__u32 code;
	__u32 cut;
	char name[WIRE_SHORT_NAME];
	char file[WIRE_SHORT_FILE];
};

struct wire_code_long {
	struct wire_head head;
	__u32 code;
	__u32 cut;
	char name[WIRE_LONG_TEXT];
	char file[WIRE_LONG_TEXT];
};

struct wire_lost {
	struct wire_head head; /* type is an enum wire_reason */
	__u64 count;
};

_Static_assert(sizeof(struct wire_head) == 16, "wire format");
_Static_assert(sizeof(struct wire_event) == 32, "wire format");
_Static_assert(sizeof(struct wire_event_memory) == 48, "wire format");
_Static_assert(sizeof(struct wire_code) == 472, "wire format");
_Static_assert(sizeof(struct wire_code_long) == 8216, "wire format");
_Static_assert(sizeof(struct wire_lost) == 24, "wire format");

/* ------------------------------------------------------------------ maps that both sides touch */

#define WIRE_MAX_TARGETS 1024
#define WIRE_MAX_SITES	 8192
#define WIRE_MAX_CPUS	 1024

/* Run of a script: only what happens while its <module> runs. */
enum wire_window {
	WIRE_WINDOW_NONE,
	WIRE_WINDOW_WAITING,
	WIRE_WINDOW_OPEN,
};

/* One traced process; a page-mapped array, so that the loader reads counters without a call. */
struct wire_target {
	__u32 tgid;			  /* 0: not in use */
	__u32 window;			  /* enum wire_window */
	__u64 seen;			  /* events after focus */
	__u64 filtered;			  /* of them, dropped by a filter in the kernel */
	__u64 lost[WIRE_N_REASONS];	  /* of them, lost */
	__u64 unreported[WIRE_N_REASONS]; /* of the lost, not yet in the stream */
	__u32 any_unreported;
	__u32 window_depth;
	__u32 stops;	    /* how often --lossless has stopped it */
	__u32 continued;    /* of them, how many the loader has answered */
	__u32 user_stopped; /* someone else stopped it and has not continued it */
	__u32 exec_stop;    /* stop it at each exec until the loader has looked */
	__u32 execs;	    /* it has become another program so many times */
	__u32 exited;	    /* a thread has: then whose rights the last one had */
	__u32 exit_uid, exit_gid;
	__u8 pad[16];
};

_Static_assert(sizeof(struct wire_target) == 128, "one or two cache lines");

/* Where a program finds its arguments; indexed by the link's cookie. */
struct wire_site {
	__u32 target;
	__u32 flags; /* WIRE_SITE_* */
	struct probe_arg file, name, line;
	/* WIRE_SITE_GENERATORS: where the frame that is being entered is found, see python.bpf.c */
	__u64 runtime; /* address of _PyRuntime in the target */
	__u32 interpreters_head, interpreter_next, interpreter_threads_head;
	__u32 thread_next, thread_id, thread_frame;
	__u32 frame_owner, frame_executable;
	__u32 code_name, code_flags, code_first_line;
	__u32 unused;
};

/* 3.15: the entry that makes a generator is no call; a return of `__init__` in file `__init__`
 * is none either. */
#define WIRE_SITE_GENERATORS 1

_Static_assert(sizeof(struct wire_site) == 112, "wire format");

#define WIRE_MAX_RULES	32
#define WIRE_MAX_FILES	24
#define WIRE_MAX_RANGES 8

#define WIRE_MAX_FILTER_STRINGS 1024 /* over all fields */

/* One focused definition. Strings are compared by wire_hash. */
struct wire_rule {
	__u64 name_hash;
	__u32 n_files;	/* 0: any file */
	__u32 n_ranges; /* 0: any line */
	struct {
		__u64 hash;
		__u32 len;
		__u32 is_suffix; /* matches at the end, behind a '/', too */
	} files[WIRE_MAX_FILES];
	struct {
		__s32 first, last;
	} ranges[WIRE_MAX_RANGES];
};

/* Values of knobs that the loader sets before loading. */
enum filter_mode { FILTER_OFF, FILTER_KEEP, FILTER_DROP };
enum focus_mode { FOCUS_OFF, FOCUS_INSIDE, FOCUS_LINES };

/* Strings that a filter names, for `field=V1,V2` decided in the kernel. */
enum wire_filter_field { WIRE_FILTER_FUNCTION, WIRE_FILTER_FILENAME };

struct wire_filter_key {
	__u64 hash;
	__u64 field; /* enum wire_filter_field */
};

/*
 * The hash of a string, over its bytes without the NUL; the same on both sides (test_kernel.c).
 * 64-bit words, the last one filled with zeros, then the length. The seed is the session's, so a
 * target cannot prepare collisions.
 */
#define WIRE_HASH_MULTIPLIER 0x9e3779b97f4a7c15ULL

static inline __u64 wire_hash_word(__u64 hash, __u64 word)
{
	hash = (hash ^ word) * WIRE_HASH_MULTIPLIER;
	return hash ^ (hash >> 29);
}

static inline __u64 wire_hash_end(__u64 hash, __u64 len)
{
	hash = (hash ^ len) * WIRE_HASH_MULTIPLIER;
	return hash ^ (hash >> 32);
}

#endif /* PIKOS_WIRE_H */
