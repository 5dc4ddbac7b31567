/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kernel.h - the BPF object: its knobs before loading, its maps afterwards.
 *
 * After kernel__load what is said to the kernel goes through mapped memory only, so the loader
 * can give its rights away.
 */
#ifndef PIKOS_KERNEL_KERNEL_H
#define PIKOS_KERNEL_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "bpf/wire.h"
#include "kernel/features.h"

struct bpf_program;

enum kernel_transport { KERNEL_RING_BUFFER, KERNEL_PERF_BUFFER };

/* Strings that a filter keeps or drops; texts are compared as bytes. */
struct kernel_list {
	const char **texts; /* NULL: no such filter */
	int n;
	bool drop; /* drop the listed, else keep only them */
};

struct kernel_config {
	bool lines;   /* line events; else calls and returns */
	bool memory;  /* RSS and VMS */
	bool focus;   /* rules will be set */
	bool regions; /* only what threads do inside their regions */
	bool lossless;
	bool agent;    /* batches of an agent may come */
	bool libc;     /* what libc gives and takes; functions have details */
	bool frames;   /* programs that walk Python frames run */
	bool mappings; /* memory system calls and resident pages, in place of functions and lines */
	bool ledger;   /* mappings: fit to be added up; by range and by thread */
	bool stacks;   /* mappings: with whole stacks of Python frames */
	bool native;   /* mappings: with C frames */
	bool overhead; /* have the kernel time its programs */
	uint32_t n_targets;
	enum kernel_transport transport;
	uint32_t buffer_size;	   /* bytes per CPU, a power of two */
	const char *window_script; /* file name of the script whose <module> is the window */
	uint32_t types;		   /* bit per enum wire_type to keep; 0: all */
	struct kernel_list functions, files;
};

enum kernel_program {
	KERNEL_ON_ENTRY,
	KERNEL_ON_RETURN,
	KERNEL_ON_LINE,
	KERNEL_ON_RETURN_OF_SCRIPT,
	KERNEL_ON_NOTHING,	/* only raises a semaphore */
	KERNEL_ON_REGION_ENTER, /* kernel_config.regions */
	KERNEL_ON_REGION_LEAVE,
	KERNEL_ON_BATCH,     /* of an agent: kernel_config.agent */
	KERNEL_ON_ALLOCATE,  /* kernel_config.libc: into a function of libc... */
	KERNEL_ON_ALLOCATED, /* ...and out of it */
	KERNEL_ON_FREE,
	KERNEL_ON_START, /* stops the process: its libraries are mapped now */
	N_KERNEL_PROGRAMS,
};

/* Words for what kernel__new could not do, and what to do next. */
struct kernel_error {
	char text[512]; /* "load the BPF programs" */
	char hint[512];
};

struct kernel;

/* @brief Load the programs and their maps. Attaches nothing. @return NULL and errno */
struct kernel *kernel__new(const struct kernel_config *config, const bool found[N_FEATURES],
			   struct kernel_error *error);
void kernel__free(struct kernel *kernel);

int kernel__n_cpus(const struct kernel *kernel);
/* @return the ring buffer maps, one per CPU; owned by the kernel */
const int *kernel__ring_fds(const struct kernel *kernel);
uint32_t kernel__ring_size(const struct kernel *kernel);
/* @return the perf event array, or -1 when events take the ring buffers */
int kernel__perf_fd(const struct kernel *kernel);
uint32_t kernel__perf_size(const struct kernel *kernel);

/* @return the ring buffer that says when a target has forked */
int kernel__alerts_fd(const struct kernel *kernel);

struct bpf_program *kernel__program(const struct kernel *kernel, enum kernel_program program);
/* @brief Attach the tracepoints of processes. @return 0 or -errno; they go with the object */
int kernel__attach_processes(struct kernel *kernel);

/* Counters of all targets, WIRE_MAX_TARGETS of them; shared with the kernel and the keeper. */
struct wire_target *kernel__targets(const struct kernel *kernel);

/* ------------------------------------------------------------------ kernel_config.mappings */

struct kernel_memory {	 /* of a process when its events began */
	uint64_t time;	 /* ns of CLOCK_MONOTONIC */
	uint64_t rss[4]; /* pages: file, anon, swap, shmem (the kernel's order) */
	uint64_t vms;	 /* pages */
	uint64_t brk;	 /* address of the heap's end */
};

/* @brief Attach what sees memory of all targets. @return 0 or -errno; they go with the object */
int kernel__attach_mappings(struct kernel *kernel);
/* @brief Watch a process from now on; after an exec, its new memory. Needs rights.
 * @return 0; -ESRCH: it has none */
int kernel__adopt(struct kernel *kernel, uint32_t index, pid_t tgid);
/* @brief Watch it no more. Nothing adopted is fine. */
void kernel__release(struct kernel *kernel, uint32_t index);
/* @return what was there when kernel__adopt found it */
struct kernel_memory kernel__memory(const struct kernel *kernel, uint32_t index);
/* @brief Have everything that waits in the kernel told. Needs rights. */
void kernel__flush_mappings(struct kernel *kernel);

/* @brief Name a process to the tracepoints. Needs the rights to change maps. */
int kernel__add_target(struct kernel *kernel, uint32_t index, pid_t tgid);
/* @brief Where the target's interpreter keeps its frames; all zero: not known. @return 0 or -errno
 */
int kernel__set_layout(struct kernel *kernel, uint32_t target, const struct wire_layout *layout);
int kernel__set_site(struct kernel *kernel, uint32_t index, const struct wire_site *site);
/* @brief Name a site by the address of its breakpoint: for kernels without cookies. */
int kernel__set_site_address(struct kernel *kernel, pid_t tgid, uint64_t address, uint32_t index);
/* @return whether the programs of libc are for uprobe_multi.h, else for perf events */
bool kernel__has_uprobe_multi(const struct kernel *kernel);
bool kernel__has_cookies(const struct kernel *kernel);

/* @brief Replace the focus rules. @return 0; -E2BIG */
int kernel__set_rules(struct kernel *kernel, const struct wire_rule *rules, int n);
/* @return how many there are; shared memory, so another process of ours sees them, too */
int kernel__rules(const struct kernel *kernel, const struct wire_rule **rules);

struct kernel_hashes {
	uint64_t seed, module_name, window_file;
};

/* @return what an agent needs to decide by the same hashes */
struct kernel_hashes kernel__hashes(const struct kernel *kernel);
/* @brief The hash by which the kernel knows a string. */
uint64_t kernel__hash(const struct kernel *kernel, const char *text, size_t len);

/* Programs of memory_values.bpf.c: kernel_config.memory with .agent. */
enum kernel_memory_program {
	KERNEL_ON_RSS_STAT,
	KERNEL_ON_MMAP_UNLOCKED, /* one of these is loaded, or twice */
	KERNEL_ON_MMAP_UNLOCKED_AGAIN,
	KERNEL_ON_SYS_EXIT,
	KERNEL_ON_SYS_EXIT_AGAIN,
	N_KERNEL_MEMORY_PROGRAMS,
};

struct bpf_program *kernel__memory_program(const struct kernel *kernel,
					   enum kernel_memory_program program);
/* @return a map of maps by target: the page that its agent reads */
int kernel__memory_pages(const struct kernel *kernel);
/* @brief Have the memory that a target maps something into be known as its own. @param tgid 0: none
 */
void kernel__adopt_memory(const struct kernel *kernel, pid_t tgid);

/* @brief Have every id made anew. @return the last id of the old kind */
uint32_t kernel__next_generation(struct kernel *kernel);
/* @brief Say who continues what was paused. */
void kernel__set_keeper(struct kernel *kernel, pid_t tgid);
/* @brief Pause nobody any more: there is no loader to empty the buffers. */
void kernel__end_pauses(struct kernel *kernel);
/* What the kernel says that a program of ours took since it was loaded. */
struct kernel_cost {
	char name[32];
	uint64_t count, ns;
};

#define KERNEL_MAX_COSTS 64

/* @return whether the kernel times programs: kernel_config.overhead, and it could */
bool kernel__is_timed(const struct kernel *kernel);
/* @brief Those that have run. Needs rights. @return how many */
int kernel__costs(const struct kernel *kernel, struct kernel_cost costs[KERNEL_MAX_COSTS]);
/* @brief How many times a program did not run though its probe was hit. Needs rights. */
uint64_t kernel__missed(const struct kernel *kernel);
uint64_t kernel__missed_by(const struct bpf_program *program);

#endif /* PIKOS_KERNEL_KERNEL_H */
