/* SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only) */
/*
 * What the kernel side knows: knobs that the loader sets before loading (0 is off), and maps.
 * Everything is weak: every unit includes it, the linker keeps one of each.
 */
#ifndef PIKOS_STATE_BPF_H
#define PIKOS_STATE_BPF_H

#include "bpf/wire.h"

__weak const volatile bool emit_memory = false;	 /* RSS and VMS with every event */
__weak const volatile bool emit_to_perf = false; /* events through the perf buffer */
__weak const volatile bool emit_details = false; /* events are struct wire_allocation */
__weak const volatile __u32 filter_focus = FOCUS_OFF;
__weak const volatile bool filter_window = false;  /* only while a script's <module> runs */
__weak const volatile bool filter_regions = false; /* only inside regions: regions.bpf.c */
__weak const volatile __u64 region_name_hash = 0;  /* of WIRE_REGION_MARK */
__weak const volatile __u64 module_name_hash = 0;  /* of `<module>` */
__weak const volatile __u64 window_file_hash = 0;
__weak const volatile __u32 filter_types = 0; /* bit per enum wire_type that is kept */
__weak const volatile __u32 filter_names = 0; /* enum filter_mode of filter_strings */
__weak const volatile __u32 filter_files = 0; /* the same for file names */
__weak const volatile __u64 hash_seed = 0;
__weak const volatile __u32 max_unread = 0;	   /* bytes in a buffer that wake the loader */
__weak const volatile __u32 max_unread_paused = 0; /* bytes that pause the target; --lossless */

/* Written by the loader while programs run. */
struct {
	__u32 generation; /* ids of older generations are made anew */
	__u32 next_code;  /* ids handed out */
	__u32 n_rules;
	__u32 keeper_tgid; /* who continues what --lossless paused */
	__u32 no_pauses;   /* the loader has gone: --lossless is over */
} control __weak;

struct code_key {
	__u64 name, file; /* hashes in code_ids, addresses in code_addresses */
	__u64 tgid;	  /* 0 in code_ids */
};

enum code_focus { CODE_OUTSIDE, CODE_FOCUSED, CODE_BY_RANGE };

struct code_info {
	__u64 name_hash, file_hash;
	__u32 id;
	__u32 generation;
	__u8 focus;    /* enum code_focus */
	__u8 filtered; /* by filter_names, filter_files */
	__u16 unused;
	__u32 rules; /* CODE_BY_RANGE: bit per rule whose ranges decide */
};

struct ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
};

/* One ring buffer per CPU: a single one has one lock for all. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct ring);
} rings __weak SEC(".maps");

/* Wakes the keeper, whatever the loader is doing: a target has forked. What it holds is its tgid.
 */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} alerts __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} perf_buffers __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WIRE_MAX_TARGETS);
	__type(key, __u32);
	__type(value, struct wire_target);
} targets __weak SEC(".maps");

/* Target's index by its tgid, for tracepoints. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WIRE_MAX_TARGETS);
	__type(key, __u32);
	__type(value, __u32);
} tgids __weak SEC(".maps");

/*
 * Target's index by the address of its mm. An address is used again when its process has ended; an
 * mm that was left by an exec may live on with a child of vfork.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64 + 2 * WIRE_MAX_TARGETS);
	__type(key, __u64);
	__type(value, __u32);
} mms __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WIRE_MAX_SITES);
	__type(key, __u32);
	__type(value, struct wire_site);
} sites __weak SEC(".maps");

/* Before cookies: the site by the address of its breakpoint. */
struct site_key {
	__u64 ip;
	__u64 tgid;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WIRE_MAX_SITES);
	__type(key, struct site_key);
	__type(value, __u32);
} site_addresses __weak SEC(".maps");

/* By the pointers that the interpreter passes: right while the code they belong to lives. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct code_key);
	__type(value, struct code_info);
} code_addresses __weak SEC(".maps");

/* By what the strings say: right for ever. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct code_key);
	__type(value, struct code_info);
} code_ids __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WIRE_MAX_RULES);
	__type(key, __u32);
	__type(value, struct wire_rule);
} rules __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WIRE_MAX_FILTER_STRINGS);
	__type(key, struct wire_filter_key);
	__type(value, __u8);
} filter_strings __weak SEC(".maps");

/* Ids that were handed out lately: see claim_id. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u8);
} id_claims __weak SEC(".maps");

/* Focused functions on a thread's stack, by tid; a thread outside has no entry. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, __u32);
} focus_depths __weak SEC(".maps");

/* Calls that a thread is in, by tid: emit_details. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, __s32);
} call_depths __weak SEC(".maps");

/* Regions that a thread is in, by tid; a thread outside has no entry. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, __u32);
} region_depths __weak SEC(".maps");

/* Generators that run and whose entry was counted in focus_depths: WIRE_SITE_GENERATORS. */
struct frame_key {
	__u64 frame;
	__u64 tgid;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct frame_key);
	__type(value, __u32);
} focused_generators __weak SEC(".maps");

/* Where a target's interpreter keeps its frames, by the target's index. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WIRE_MAX_TARGETS);
	__type(key, __u32);
	__type(value, struct wire_layout);
} frame_layouts __weak SEC(".maps");

/* What a thread is to its interpreter, by tid: thread_state.bpf.h. */
struct thread_state {
	__u64 state;	   /* address of its PyThreadState */
	__u64 interpreter; /* the newest when that was found, if it was the only one; else 0 */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct thread_state);
} thread_states __weak SEC(".maps");

/* Counted up after each change there: what was looked up before is then to be looked up anew. */
__weak __u64 thread_state_changes;

/* Code objects that were sent: frames.bpf.h. */
struct frame_code_key {
	__u64 address;
	__u32 tgid;
	__u32 execs; /* of the target: another program can have another code at the same place */
};

struct frame_code_info {
	__u64 identity;
	__u32 id;
	__u32 generation;
	__u32 table_sent;
	__u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct frame_code_key);
	__type(value, struct frame_code_info);
} frame_codes __weak SEC(".maps");

/* A str of the target. */
struct frame_text {
	__u64 data;
	__u64 bytes;
	__u32 kind; /* of wire_text; 0: none, or it could not be read */
	__u32 unused;
};

struct code_texts {
	struct frame_text name, qualname, file;
	__s32 first_line;
	__u32 table_bytes;
};

/* What a walk found: on no stack, since it is too large, and per thread, since it may be preempted.
 */
struct thread_stack {
	__u32 n_frames;
	__u32 flags; /* WIRE_STACK_* */
	struct wire_frame frames[WIRE_MAX_FRAMES];
	/* Of the walk: */
	__u32 max;
	__u32 unused;
	__u64 next, landmark; /* addresses of frames */
	__u64 hash;	      /* memory_runs.bpf.h */
	__u8 frame[WIRE_LAYOUT_FRAME_BYTES], code[WIRE_LAYOUT_CODE_BYTES];
	__u64 piece[16]; /* of what is hashed */
	struct code_texts texts;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32); /* tid; deleted when the thread ends: process.bpf.c */
	__type(value, struct thread_stack);
} thread_stacks __weak SEC(".maps");

__weak const __u8 no_stack[sizeof(struct thread_stack)] = {};

#endif /* PIKOS_STATE_BPF_H */
