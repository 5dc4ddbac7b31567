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
 * Batches. The agent inside an interpreter (probes/agent/) hands over an array of struct wire_slot
 * behind one head. Slots are in the interpreter's own order, all threads of the process in one
 * sequence: an event, who the next ones belong to (a thread), their RSS and VMS, or what an id
 * stands for. Ids of slots are the process's own; one id never stands for two codes, or a
 * definition that is lost with its batch would leave the id with another's name. Events carry no
 * numbers, the batch says how many it holds; the losses of earlier batches are in the batch's head,
 * since they lie in front of its first event.
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
	WIRE_BATCH,	   /* struct wire_batch */
	WIRE_MEMORY,	   /* struct wire_memory */
	WIRE_FRAME_CODE,   /* struct wire_frame_code */
	WIRE_LINE_TABLE,   /* struct wire_line_table */
	WIRE_ALLOCATION,   /* struct wire_allocation */
};

/* Of events: wire_head.type. */
enum wire_type {
	WIRE_CALL = 1,
	WIRE_RETURN,
	WIRE_LINE,
	WIRE_C_CALL,
	WIRE_C_RETURN,
	WIRE_C_EXCEPTION,
	WIRE_N_TYPES,
};

/* Of losses. */
enum wire_reason {
	WIRE_BUFFER_FULL,
	WIRE_UNREADABLE_STRING,
	WIRE_MAP_FULL,
	WIRE_UNREADABLE_BATCH, /* of the agent: not where it said, or not what it said */
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

/* ------------------------------------------------------------------ memory */

/* Of WIRE_MEMORY: wire_head.type. The last four are changes of what is resident. */
enum wire_memory_type {
	WIRE_MMAP = 1,
	WIRE_MUNMAP,
	WIRE_MREMAP,
	WIRE_BRK,
	WIRE_MADVISE,
	WIRE_ANON,
	WIRE_FILE,
	WIRE_SHMEM,
	WIRE_SWAP,
	WIRE_MEMORY_N_TYPES,
};

/* A frame of a Python stack, innermost first. */
struct wire_frame {
	__u32 code;   /* id, of a struct wire_frame_code; 0: the frame could not be read */
	__u32 offset; /* of its instruction, bytes from the first; WIRE_FRAME_NOT_STARTED */
};

#define WIRE_FRAME_NOT_STARTED ((__u32)-1)
#define WIRE_MAX_FRAMES	       128
#define WIRE_MAX_NATIVE	       127

/* wire_memory.flags. Frames that were read stand whatever is set: they are right. */
#define WIRE_STACK_CUT	      1	 /* it is deeper than WIRE_MAX_FRAMES, or was not to be followed */
#define WIRE_STACK_UNREADABLE 2	 /* the next frame could not be read, or is no frame */
#define WIRE_STACK_LOOP	      4	 /* a frame came twice */
#define WIRE_STACK_NATIVE     8	 /* the thread runs no Python, or none is known of it */
#define WIRE_STACK_UNKNOWN    16 /* an interpreter without a table of offsets */
#define WIRE_STACK_OUTSIDE    32 /* done by another process or by the kernel itself */
#define WIRE_FINALIZING	      64 /* the interpreter is ending itself: no flag of the stack */

/*
 * n_frames struct wire_frame follow, then n_native addresses (u64, innermost first). The buffer's
 * record may be longer than they are.
 */
struct wire_memory {
	struct wire_head head; /* time: of the call's end, of the last of the faults */
	__u64 seq;	       /* not used: threads that run at once would share numbers */
	__u64 first_time;      /* of the call's begin, of the first of n_faults */
	__u64 address;	   /* mmap, mremap: the result; brk: the new end; faults: the lowest one,
			    * 0: not known */
	__u64 size;	   /* bytes: as asked for, mremap: the new size; brk: 0; faults: to behind
			    * the highest one */
	__u64 old_address; /* mremap; brk: the end before */
	__u64 old_size;	   /* mremap */
	__s64 change;	   /* faults: pages by which the type has grown; else 0 */
	__u64 rss, vms;	   /* pages, after it */
	__u32 prot;	   /* mmap; madvise: its advice */
	__u32 map_flags;   /* mmap, mremap */
	__u32 n_faults;
	__u32 flags; /* WIRE_STACK_* */
	__u16 n_frames, n_native;
	__u32 unused;
};

/*
 * A str as the interpreter has it: characters of 1, 2 or 4 bytes each. Those of one byte are
 * Latin-1, which for ASCII is UTF-8 too.
 */
struct wire_text {
	__u32 bytes; /* that were sent */
	__u8 kind;   /* bytes of a character: 1, 2, 4; 0: it could not be read, or there is none */
	__u8 cut;    /* it goes on */
	__u16 unused;
};

/* wire_head.type of WIRE_FRAME_CODE and WIRE_LINE_TABLE: which of two sizes the record has. */
enum wire_size { WIRE_SHORT, WIRE_LONG };

/* How a table of lines is written. */
enum wire_table_format {
	WIRE_LNOTAB = 1, /* 3.9: co_lnotab */
	WIRE_LINETABLE,	 /* 3.10: co_linetable of PEP 626 */
	WIRE_LOCATIONS,	 /* 3.11 on: co_linetable of PEP 657 */
};

#define WIRE_MAX_LINE_TABLE 65536 /* bytes; of a longer one nothing is sent */
#define WIRE_SHORT_TABLE    512
#define WIRE_LONG_TABLE	    4096
#define WIRE_SHORT_QUALNAME 192

/*
 * What a code object's id stands for; its table of lines follows in struct wire_line_table. The
 * bytes of name, qualname and file stand behind it, each
 * from a fixed place.
 */
struct wire_frame_code {
	struct wire_head head; /* type: enum wire_size */
	__u32 code;
	__s32 first_line;
	__u32 table_format; /* enum wire_table_format */
	__u32 table_bytes;  /* of the whole; it may be absent if it could not be read */
	struct wire_text name, qualname, file;
};

struct wire_frame_code_short {
	struct wire_frame_code code;
	__u8 name[WIRE_SHORT_NAME], qualname[WIRE_SHORT_QUALNAME], file[WIRE_SHORT_FILE];
};

struct wire_frame_code_long {
	struct wire_frame_code code;
	__u8 name[WIRE_LONG_TEXT], qualname[WIRE_LONG_TEXT], file[WIRE_LONG_TEXT];
};

/*
 * A piece of a table of lines. `bytes` of it follow; the record has room for WIRE_SHORT_TABLE or
 * WIRE_LONG_TABLE.
 */
struct wire_line_table {
	struct wire_head head; /* type: enum wire_size */
	__u32 code;
	__u32 total;  /* bytes of the whole table, up to WIRE_MAX_LINE_TABLE */
	__u32 offset; /* of this piece */
	__u32 bytes;
};

_Static_assert(sizeof(struct wire_text) == 8, "wire format");
_Static_assert(sizeof(struct wire_frame_code) == 56, "wire format");
_Static_assert(sizeof(struct wire_frame_code_short) == 696, "wire format");
_Static_assert(sizeof(struct wire_frame_code_long) == 12344, "wire format");
_Static_assert(sizeof(struct wire_line_table) == 32, "wire format");
_Static_assert(sizeof(struct wire_frame) == 8, "wire format");
_Static_assert(sizeof(struct wire_memory) == 112, "wire format");

/* ------------------------------------------------------------------ batches of the agent */

/* What a slot is: an enum wire_type, or one of these. */
enum wire_slot_type {
	WIRE_SLOT_NOTHING = 0,	/* to be skipped */
	WIRE_SLOT_DETAILED = 7, /* an event, and the two slots behind it are its wire_detail */
	WIRE_SLOT_THREAD =
		8, /* code: tid of the events that follow, as the target's namespace has it */
	WIRE_SLOT_DEFINE, /* code: id; line: how many slots with a struct wire_definition follow */
	WIRE_SLOT_FORGET, /* code: an id that no later slot uses: its code object is gone */
	WIRE_SLOT_NOTICE, /* code: enum wire_notice; line: its number */
	WIRE_SLOT_VALUES, /* of the events that follow; line: 1, the next is a struct wire_values */
	WIRE_SLOT_OVERHEAD, /* code: enum wire_overhead_kind; line: 1, the next is a struct
			     * wire_overhead */
};

/* What the agent has to say besides events. */
enum wire_notice {
	WIRE_NOTICE_HOOKED = 1,	  /* events are seen from here on */
	WIRE_NOTICE_ENDED,	  /* none will follow; the hooks are out or go as soon as they can;
				   * line: 0, or why none were put in, an enum agent_refusal */
	WIRE_NOTICE_RESENT,	  /* ids are defined anew from here on, as was asked */
	WIRE_NOTICE_REPLACED,	  /* the program set a profiler or tracer of its own: events may be
				   * missing before this; ours runs again, and theirs */
	WIRE_NOTICE_INTERPRETERS, /* line: subinterpreters that are not seen */
	WIRE_NOTICE_ALLOCATOR,	  /* the program set an allocator of its own: allocations may be
				   * missing before this */
	WIRE_NOTICE_LATE_THREAD,  /* a thread that C code made was found running: its first are
				     missing */
};

/*
 * 16 bytes. line is -1 or more: 28 bits. time is in the agent's clock (wire_batch.clock), 0 where
 * the session does not ask for times.
 */
struct wire_slot {
	__u64 time;
	__u32 code;
	__u32 line_type; /* line * 16 + type */
};

#define WIRE_SLOT_LINE_MAX ((1 << 27) - 1)

static inline __u32 wire_slot_pack(__s32 line, __u32 type)
{
	return (__u32)line << 4 | type;
}

static inline __u32 wire_slot_type(const struct wire_slot *slot)
{
	return slot->line_type & 15;
}

static inline __s32 wire_slot_line(const struct wire_slot *slot)
{
	return (__s32)slot->line_type >> 4;
}

/* In the slots behind WIRE_SLOT_DEFINE: this, then the two strings without NULs, then zeros. */
struct wire_definition {
	__u16 name_len, file_len; /* up to WIRE_LONG_TEXT - 1 */
	__u32 cut;		  /* WIRE_NAME_CUT, WIRE_FILE_CUT */
};

/*
 * RSS and VMS of a process, in pages. Behind WIRE_SLOT_VALUES; and on the page that the kernel side
 * keeps right and an agent reads (memory_values.bpf.c): vms is 0 there until it does.
 */
struct wire_values {
	__u64 rss, vms;
};

/* wire_detail.type: an enum wire_type, or one of these. */
enum wire_allocation_type {
	WIRE_MALLOC = 8,
	WIRE_CALLOC,
	WIRE_REALLOC,
	WIRE_FREE,
	WIRE_REALLOC_FREE, /* what a realloc gives back, in front of it */
	WIRE_ALLOCATION_N_TYPES,
};

/* What the agent's time goes to: the hook of an enum wire_type or wire_allocation_type, or... */
enum wire_overhead_kind {
	WIRE_OVERHEAD_OTHER = 0,		       /* a hook that makes no event */
	WIRE_OVERHEAD_BATCH = WIRE_ALLOCATION_N_TYPES, /* a hand-over, until the kernel is done */
	WIRE_OVERHEAD_HELPER, /* its thread, of which the count is that of its hand-overs */
	WIRE_OVERHEAD_CLOCK,  /* one look at the clock, which is in none of the others */
	WIRE_N_OVERHEADS,
};

/* Behind WIRE_SLOT_OVERHEAD: since the agent was started. */
struct wire_overhead {
	__u64 count;
	__u64 ns;
};

/*
 * What the monitor `allocations` has of an event besides its slot: who called the function that the
 * slot names, how deep in calls it is, and what was allocated.
 */
struct wire_detail {
	__u32 type;
	__u32 caller;	   /* id, or an enum wire_no_code */
	__s32 caller_line; /* that it is at */
	__s32 depth;	   /* calls that the thread is in, counted since it was first seen */
	__u64 address;	   /* allocations: of the block; 0: there was no memory */
	__u64 size;	   /* allocations: bytes; 0 for what is freed */
};

/* The same without an agent; n_frames struct wire_frame follow. */
struct wire_allocation {
	struct wire_head head; /* type as in wire_detail */
	__u64 address, size;
	__u32 code; /* of the function and its line, should the frames not tell; 0: neither */
	__s32 line;
	__s32 depth;
	__u16 n_frames; /* the function's own, its caller's */
	__u16 flags;	/* WIRE_STACK_* */
};

_Static_assert(sizeof(struct wire_allocation) == 48, "wire format");

/* Which function of libc, in a cookie. */
enum wire_libc_call {
	WIRE_LIBC_MALLOC,
	WIRE_LIBC_CALLOC,
	WIRE_LIBC_REALLOC,
	WIRE_LIBC_ALIGNED, /* memalign, aligned_alloc */
	WIRE_LIBC_POSIX_MEMALIGN,
	WIRE_LIBC_FREE,
};

#define WIRE_DETAILED_SLOTS 3 /* that such an event takes */

/* Ids of no code object; those of code are between 1 and the first of these. */
enum wire_no_code {
	WIRE_NO_CODE = 0,		 /* the thread runs no Python; of a caller: there is none */
	WIRE_UNKNOWN_CODE = 0xfffffff0u, /* it runs Python, which cannot be told */
};

#define WIRE_BATCH_SLOTS     512  /* what is handed over when that many are there */
#define WIRE_BATCH_MAX_SLOTS 1088 /* with a definition behind them */

/* wire_batch.flags, between the loader's stations: the kernel hands over whole batches with none.
 */
#define WIRE_BATCH_TIMES 1 /* times of events are ns of CLOCK_MONOTONIC already */
#define WIRE_BATCH_MORE	 2 /* the slots from n_slots on follow with another call */

/*
 * What the agent passes at its probe, and how it comes out of the buffer: the kernel fills what is
 * marked K, and the slots follow. The buffer's record may be longer than n_slots says.
 */
struct wire_batch {
	struct wire_head head; /* K; time: of the hand-over, after the place was reserved */
	__u64 slots;	       /* address of the first, in the target; K: index of the first, 0 */
	__u64 clock;	       /* the agent's clock at the hand-over... */
	__u64 time;	       /* ...and ns of CLOCK_MONOTONIC at the same moment */
	__u64 before;	       /* events in the batches before, since the agent was started */
	__u32 n_slots;
	__u32 n_events;		   /* of the slots */
	__u32 tid;		   /* of the first events */
	__u32 flags;		   /* none of the agent's yet; K: WIRE_BATCH_* */
	struct wire_values values; /* of the first events, if the monitor asks for them */
	__u32 lost[4]; /* K: by enum wire_reason: events of this target lost since its last batch */
};

_Static_assert(sizeof(struct wire_slot) == 16, "wire format");
_Static_assert(sizeof(struct wire_definition) == 8, "wire format");
_Static_assert(sizeof(struct wire_values) == sizeof(struct wire_slot), "wire format");
_Static_assert(sizeof(struct wire_detail) == 32, "wire format");
_Static_assert(sizeof(struct wire_overhead) == sizeof(struct wire_slot), "wire format");
_Static_assert((int)WIRE_N_TYPES == (int)WIRE_SLOT_DETAILED, "types of slots");
_Static_assert(sizeof(struct wire_batch) == 96, "wire format");
_Static_assert(WIRE_N_REASONS <= 4, "wire_batch.lost");

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
};

_Static_assert(sizeof(struct wire_target) == 128, "one or two cache lines");

/* Where a program finds its arguments; indexed by the link's cookie. */
struct wire_site {
	__u32 target;
	__u32 flags; /* WIRE_SITE_* */
	struct probe_arg file, name, line;
};

/* 3.15: the entry that makes a generator is no call; a return of `__init__` in file `__init__`
 * is none either. The target's struct wire_layout tells where frames are. */
#define WIRE_SITE_GENERATORS 1

_Static_assert(sizeof(struct wire_site) == 56, "wire format");

/*
 * Where an interpreter keeps its frames; indexed by the target. Offsets are in bytes, the fields'
 * names are those of CPython's structs or close to them.
 */
struct wire_layout {
	__u64 runtime;	 /* address of _PyRuntime in the target; 0: no layout */
	__u64 code_type; /* address of PyCode_Type; 0: not known, what is a code cannot be checked
			  */
	__u32 flags;	 /* WIRE_LAYOUT_* */
	__u32 table_format; /* enum wire_table_format */
	/* _PyRuntimeState, PyInterpreterState, PyThreadState, _PyCFrame */
	__u32 interpreters_head, interpreter_next, interpreter_threads_head;
	__u32 runtime_finalizing; /* 0: not known */
	__u32 thread_next, thread_id, thread_frame, cframe_frame;
	/* PyFrameObject, _PyInterpreterFrame */
	__u32 frame_previous, frame_code, frame_instruction, frame_owner;
	/* PyCodeObject */
	__u32 code_flags, code_first_line, code_file, code_name, code_qualname, code_table;
	__u32 code_first_traceable, code_version, code_instructions;
	__u32 frame_bytes, code_bytes; /* how far these are read, multiples of 8 */
	/* PyASCIIObject, PyCompactUnicodeObject: their sizes, behind which characters stand */
	__u32 ascii_size, compact_size;
	__u32 unused;
};

#define WIRE_LAYOUT_CFRAME    1	 /* thread_frame is a pointer to a _PyCFrame: 3.11, 3.12 */
#define WIRE_LAYOUT_LASTI     2	 /* frame_instruction is an int: 3.9, 3.10 */
#define WIRE_LAYOUT_CODE_UNIT 4	 /* ... that counts units of 2 bytes: 3.10 */
#define WIRE_LAYOUT_OWNER     8	 /* frames have an owner, codes a _co_firsttraceable: 3.11 on */
#define WIRE_LAYOUT_QUALNAME  16 /* code_qualname is there: 3.11 on */
#define WIRE_LAYOUT_VERSION   32 /* code_version is there, another for each code: 3.12 on */

_Static_assert(sizeof(struct wire_layout) == 128, "wire format");

#define WIRE_LAYOUT_FRAME_BYTES 128 /* frame_bytes at most */
#define WIRE_LAYOUT_CODE_BYTES	256 /* code_bytes at most */

#define WIRE_N_COUNTERS 4 /* of resident pages: file, anon, swap, shmem (the kernel's order) */

/* The memory of one target: what was seen of the kernel's numbers, see rss.bpf.h. */
struct wire_memory_state {
	__u64 mm; /* 0: not watched */
	__u64 ready;
	__u64 torn_down; /* the mm whose last user has gone: its address may be used again */
	__u64 tgid;	 /* whose memory it is: others may share it, or change it from outside */
	__u64 counts[WIRE_N_COUNTERS]; /* addresses of the common counts... */
	__u64 parts[WIRE_N_COUNTERS];  /* ...and of the parts, as percpu addresses */
	__s64 seen[WIRE_N_COUNTERS];   /* of the common counts */
	__s64 total[WIRE_N_COUNTERS];  /* pages: what all that was seen makes */
	__u64 brk;		       /* the heap's end */
	/* When the watching began, for the loader. */
	__u64 start_time;
	__s64 start[WIRE_N_COUNTERS]; /* pages */
	__u64 start_vms;	      /* pages */
	__u64 start_brk;
};

_Static_assert(sizeof(struct wire_memory_state) == 224, "wire format");

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

/*
 * co_name of the functions of probes/python/pikos.py that enter and leave regions: with --regions
 * they are no events, though a part of them runs inside.
 */
#define WIRE_REGION_MARK "<pikos>"

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
