/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * keeper.h - the process that holds the rights and the probes.
 *
 * The tracer is two processes. The loader reads records, which a target can influence, and keeps
 * no capability. The keeper, its child, identifies interpreters, attaches and detaches, makes
 * readers, sweeps forked children and continues what --lossless or an exec has stopped. It lives
 * on a socket: when the loader is gone, however it went, the keeper continues every target,
 * detaches (the probes are its descriptors) and ends. When the keeper is gone the kernel has
 * closed its descriptors, and the loader finds the socket closed.
 */
#ifndef PIKOS_KEEPER_KEEPER_H
#define PIKOS_KEEPER_KEEPER_H

#include <stdbool.h>
#include <sys/types.h>

#include "kernel/kernel.h"
#include "source/choice.h"
#include "source/interpreter.h"

struct keeper_config {
	bool lines;
	bool regions;	 /* only what happens inside regions counts: their probes, too */
	bool script_end; /* lines of a script's <module>: its return is watched */
	struct source_policy sources;
	uint32_t agent_flags; /* enum agent_flag */
	/* The caller's own descriptors, which the keeper is not to hold; see keeper__descriptors.
	 */
	const int *descriptors;
	int n_descriptors;
};

enum keeper_result {
	KEEPER_ATTACHED,
	KEEPER_NOT_PYTHON, /* nothing attached; a later exec may bring one */
	KEEPER_WILL_STOP,  /* it will stop a little later: attach again then */
};

struct keeper_attached {
	enum keeper_result result;
	char description[64]; /* "CPython 3.11.2" */
	int reader_fd;	      /* socket of a reader (process/reader.h) for the target, or -1 */
	bool agent;	      /* by our agent in it */
	uint32_t stopped_us;  /* for how long loading has stopped it at most */
	bool no_frames;	      /* memory: its frames cannot be walked, ->why tells why */
	struct interpreter_reason why; /* after an error */
};

/* Runs of programs that the kernel left out. */
struct keeper_missed {
	uint64_t events; /* are lost */
	uint64_t values; /* changes of RSS and VMS, of any process, that agents saw late */
};

/* What the kernel's programs took. */
struct keeper_costs {
	int n;
	struct kernel_cost programs[KERNEL_MAX_COSTS];
};

/* Executable memory of a target: a mapping, or the gap between two, which has no name. */
struct keeper_mapping {
	uint64_t start, end;
	uint64_t offset; /* of start, in the file, bytes */
	int fd;		 /* the mapped file for reading, the caller's; -1: it has none */
	char name[256];	 /* the file's without directories, or "[vdso]"; as the kernel writes it */
	bool is_gap;
};

struct keeper;

/*
 * @brief Start the keeper. Call before anything is opened that the keeper should not hold.
 * @param kernel loaded; the keeper uses its own copy from here on
 */
struct keeper *keeper__start(struct kernel *kernel, const struct keeper_config *config);
/* @brief End the keeper and wait for it. Everything is detached then. NULL is fine. */
void keeper__free(struct keeper *keeper);
/* @return the socket: readable (closed) when the keeper has died */
int keeper__fd(const struct keeper *keeper);

/* @brief Tell of a program before it runs: whatever happens, the keeper can continue it. */
int keeper__know(struct keeper *keeper, uint32_t target, pid_t pid);
/*
 * @brief Identify what runs in a process and attach to it, for the first time or after an exec.
 * @return 0 with ->result; -EPIPE: the keeper has died; else -errno with ->why
 */
int keeper__attach(struct keeper *keeper, uint32_t target, pid_t pid,
		   struct keeper_attached *attached);
/*
 * @brief Have a reader with the rights that an attached target has now, or had when it ended.
 * @param fd set to the socket of a new reader, which takes the old one's place; -1: the old is
 * right
 * @return 0; -EACCES: whose rights they are is not known; -EPIPE: the keeper has died; -errno
 */
int keeper__reader(struct keeper *keeper, uint32_t target, int *fd);
/*
 * @brief Find what is mapped at an address of a target, deleted files and those of another mount
 * namespace included: the very file that was mapped, whatever has its name now.
 * @return 0; -ESRCH: the target has ended; -EPIPE: the keeper has died; -errno
 */
int keeper__mapping(struct keeper *keeper, uint32_t target, uint64_t address,
		    struct keeper_mapping *mapping);
/* @brief Have an agent define its ids anew. @param on false: it has done so */
int keeper__resend(struct keeper *keeper, uint32_t target, bool on);
/* @brief Have all agents hand over what they hold and take their hooks out. Waits for none. */
int keeper__stop_agents(struct keeper *keeper);
/*
 * @brief Open a target's list of mappings, /proc/PID/maps.
 * @param fd set to it, to be read and closed by the caller; -1: -errno was returned
 */
int keeper__maps(struct keeper *keeper, uint32_t target, int *fd);
/* @brief Detach one target. Waits until no program runs for it. */
int keeper__detach(struct keeper *keeper, uint32_t target);
int keeper__detach_all(struct keeper *keeper, struct keeper_missed *missed);
/* @brief What programs took so far. @return 0; -EPIPE: the keeper has died */
int keeper__costs(struct keeper *keeper, struct keeper_costs *costs);
/* @brief Continue a stopped target. Does not wait. */
int keeper__continue(struct keeper *keeper, uint32_t target);

#endif /* PIKOS_KEEPER_KEEPER_H */
