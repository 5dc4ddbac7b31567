// SPDX-License-Identifier: BSD-3-Clause
#include "source/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "errors.h"
#include "probes/agent/agent.h"
#include "probes/inject.h"
#include "process/maps.h"
#include "source/agent_check.h"
#include "source/agent_file.h"
#include "source/agent_probes.h"
#include "source/memory_values.h"
#include "source/uprobe.h"
#include "source/usdt.h"

#define MAX_LIBRARY  (16 << 20) /* bytes */
#define FIRST_BYTES  16		/* of Py_RunMain: it was stopped at its first instruction */
#define BUSY_TRIES   20
#define BUSY_WAIT_MS (AGENT_TICK_MS + 5)

enum probe { PROBE_BATCH, PROBE_RUN, PROBE_RESEND, N_PROBES };

static const char *const probe_names[N_PROBES] = {"batch", "run", "resend"};

struct agent {
	struct agent_order order;
	const struct interpreter_info *info;
	struct inject *inject;
	const char *name; /* how that of its mapping begins */
	int file;	  /* the library, as it is mapped */
	char path[64];
	struct elf_notes *elf;
	__u64 bias;
	const struct usdt_probe *probes[N_PROBES];
	uint64_t entry; /* address of pikos_agent in the target */
	struct bpf_link *batch;
	int run, resend; /* descriptors or -1 */
	int values;	 /* the same, while it starts */
};

/* ------------------------------------------------------------------ words */

static int refuse(struct interpreter_reason *why, int err, const char *text, const char *next_step)
{
	memset(why, 0, sizeof(*why));
	why->problem = INTERPRETER_NO_AGENT;
	snprintf(why->text, sizeof(why->text), "%s", text);
	snprintf(why->next_step, sizeof(why->next_step), "%s", next_step);
	return err;
}

static int explain_attach(struct interpreter_reason *why, int err, const char *what)
{
	char text[128];

	if (err == -EACCES || err == -EPERM)
		return refuse(why, err, "attaching to the agent needs CAP_SYS_ADMIN",
			      "run it as root");
	if (err == -ESRCH)
		return refuse(why, err, "it has ended while the agent was loaded", "");
	snprintf(text, sizeof(text), "attaching to %s of the agent: %s", what, error_words(err));
	return refuse(why, err, text, "");
}

int agent__explain(struct interpreter_reason *why, int refusal)
{
	static const struct {
		enum agent_refusal refusal;
		const char *text, *next_step;
	} words[] = {
		{AGENT_BUSY, "another tracer uses the agent in it", "end the other pikos-trace"},
		{AGENT_NOT_PYTHON, "the agent finds no CPython in it, or its symbols are hidden",
		 "run the program with an interpreter that loads extension modules"},
		{AGENT_UNKNOWN_VERSION, "the agent knows CPython 3.9 to 3.15, not this one", ""},
		{AGENT_FREE_THREADED,
		 "it is a free-threaded build, and the agent counts on the GIL",
		 "run the program with a build that has the GIL"},
		{AGENT_NOT_INITIALIZED, "its Python does not run yet, or no more", "try again"},
		{AGENT_OTHER_CONFIG,
		 "the agent that an earlier pikos-trace has loaded into it is another version",
		 "restart the program"},
		{AGENT_NO_TOOL, "it uses all tool ids of sys.monitoring itself",
		 "end its debugger, coverage or profiler"},
		{AGENT_NO_MEMORY, "it has no memory for the agent", ""},
		{AGENT_NO_ALLOCATOR,
		 "its allocators were replaced too often while they were traced",
		 "restart the program"},
		{AGENT_NO_THREAD, "it cannot start a thread for the agent", ""},
		{AGENT_NO_VALUES, "it cannot map the page with its RSS and VMS",
		 "use a monitor without memory"},
	};
	char text[64];

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (words[i].refusal == (enum agent_refusal)refusal)
			return refuse(why, refusal == AGENT_BUSY ? -EBUSY : -ENOTSUP, words[i].text,
				      words[i].next_step);
	snprintf(text, sizeof(text), "the agent refuses with code %d", refusal);
	return refuse(why, -ENOTSUP, text, "");
}

/* ------------------------------------------------------------------ the library */

static int read_all(int fd, char **bytes, size_t *size)
{
	struct stat st;
	ssize_t got = 0;

	*bytes = NULL;
	*size = 0;
	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > MAX_LIBRARY)
		return -ENOEXEC;
	*bytes = malloc(st.st_size);
	if (!*bytes)
		return -ENOMEM;
	while (*size < (size_t)st.st_size) {
		got = read(fd, *bytes + *size, st.st_size - *size);
		if (got <= 0)
			break;
		*size += got;
	}
	if (*size == (size_t)st.st_size)
		return 0;
	free(*bytes);
	*bytes = NULL;
	return got < 0 ? -errno : -EIO;
}

static int load_library(struct agent *agent, struct interpreter_reason *why)
{
	char path[4096] = "", text[256];
	int fd = agent_file__open(path, sizeof(path)), err;
	char *bytes = NULL;
	size_t size = 0;

	err = fd < 0 ? fd : read_all(fd, &bytes, &size);
	if (fd >= 0)
		close(fd);
	if (err) {
		snprintf(text, sizeof(text), "the agent's library %.160s cannot be read: %s", path,
			 error_words(err));
		return refuse(why, err, text, "install it, or build it: make");
	}
	err = inject__load(agent->inject, AGENT_NAME, bytes, size, why);
	free(bytes);
	return err;
}

static int find_probes(struct agent *agent)
{
	struct elf_symbol entry = {.name = AGENT_ENTRY};

	for (int i = 0; i < N_PROBES; i++) {
		const struct usdt_probe *probe = elf_notes__next(agent->elf, probe_names[i], NULL);

		if (!probe || !probe->semaphore_offset)
			return -ENOEXEC;
		agent->probes[i] = probe;
	}
	if (agent->probes[PROBE_BATCH]->n_args < 1 ||
	    elf_notes__find_symbols(agent->elf, &entry, 1) != 1)
		return -ENOEXEC;
	agent->entry = entry.addr + agent->bias;
	return 0;
}

/* @return 1: it is mapped and its file is understood; 0: it is not mapped; -errno */
static int find_library(struct agent *agent)
{
	struct mapping map;
	int err = inject__find(agent->info->pid, agent->name, &map);

	/* A program that marks regions has loaded it itself: one interpreter, one agent. */
	if (!err && !strcmp(agent->name, AGENT_NAME))
		err = inject__find(agent->info->pid, AGENT_FILE, &map);
	if (err <= 0)
		return err;
	if (agent->file < 0)
		agent->file = maps__open(agent->info->pid, &map);
	if (agent->file < 0)
		return agent->file;
	snprintf(agent->path, sizeof(agent->path), "/proc/self/fd/%d", agent->file);
	agent->elf = elf_notes__new(agent->file, "pikos");
	if (!agent->elf)
		return -errno;
	err = elf_notes__load_bias(agent->elf, map.start, map.offset, true, &agent->bias);
	if (!err)
		err = find_probes(agent);
	return err ? err : 1;
}

static int have_library(struct agent *agent, struct interpreter_reason *why)
{
	int err = find_library(agent);

	if (!err) {
		err = load_library(agent, why);
		if (err)
			return err;
		err = find_library(agent);
		if (!err) /* loaded and not mapped: it has become another program */
			err = -ESRCH;
	}
	if (err == 1)
		return 0;
	if (err == -ENOEXEC || err == -EBADMSG)
		return refuse(why, err, "what it has loaded as the agent is none of this version",
			      "restart the program");
	return explain_attach(why, err, "the library");
}

/* ------------------------------------------------------------------ semaphores */

/* @return the counter or -errno */
static int semaphore(const struct agent *agent, enum probe probe)
{
	int fd = process__open(agent->info->pid, "mem", O_RDONLY), err = 0;
	__u16 value = 0;

	if (fd < 0)
		return fd;
	if (pread(fd, &value, sizeof(value), agent->probes[probe]->semaphore_addr + agent->bias) !=
	    sizeof(value))
		err = -ESRCH;
	close(fd);
	return err ? err : value;
}

static int raise_run(struct agent *agent, struct interpreter_reason *why)
{
	const struct usdt_probe *probe = agent->probes[PROBE_RUN];
	int value = semaphore(agent, PROBE_RUN);

	if (value > 0)
		return agent__explain(why, AGENT_BUSY);
	if (value == 0)
		agent->run = uprobe__open(agent->path, probe->file_offset, probe->semaphore_offset,
					  agent->info->pid);
	if (value < 0 || agent->run < 0)
		return explain_attach(why, value < 0 ? value : agent->run, "run");
	value = semaphore(agent, PROBE_RUN);
	if (value > 0)
		return 0;
	if (value < 0)
		return explain_attach(why, value, "run");
	return refuse(why, -EIO, "the kernel has not raised the agent's semaphore", "");
}

static int attach_batch(struct agent *agent, struct interpreter_reason *why)
{
	const struct usdt_probe *probe = agent->probes[PROBE_BATCH];
	struct kernel *kernel = agent->order.kernel;
	__u32 index = agent->order.target * USDT_SITES_PER_TARGET;
	struct wire_site site = {.target = agent->order.target, .file = probe->args[0]};
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .ref_ctr_offset = probe->semaphore_offset,
		    .bpf_cookie = kernel__has_cookies(kernel) ? index : 0);
	int err = kernel__set_site(kernel, index, &site);

	if (!err && !kernel__has_cookies(kernel))
		err = kernel__set_site_address(kernel, agent->info->pid, probe->addr + agent->bias,
					       index);
	if (err)
		return explain_attach(why, err, "batch");
	agent->batch = bpf_program__attach_uprobe_opts(kernel__program(kernel, KERNEL_ON_BATCH),
						       agent->info->pid, agent->path,
						       probe->file_offset, &opts);
	return agent->batch ? 0 : explain_attach(why, -errno, "batch");
}

/* ------------------------------------------------------------------ start */

static struct agent_config *make_config(const struct agent_order *order)
{
	struct kernel_hashes hashes = kernel__hashes(order->kernel);
	const struct wire_rule *rules;
	int n = kernel__rules(order->kernel, &rules);
	size_t size = sizeof(struct agent_config) + n * sizeof(*rules);
	struct agent_config *config = calloc(1, size);

	if (!config)
		return NULL;
	config->size = size;
	config->version = AGENT_VERSION;
	config->flags = order->flags | (order->at_start ? AGENT_AT_START : 0);
	config->n_rules = n;
	config->hash_seed = hashes.seed;
	config->module_name_hash = hashes.module_name;
	config->window_file_hash = hashes.window_file;
	if (n)
		memcpy(config->rules, rules, n * sizeof(*rules));
	return config;
}

/*
 * An earlier tracer's end is noticed there within AGENT_TICK_MS: until then the agent is busy, and
 * as long as `run` is raised by us it would not notice.
 */
static int wait_until_idle(struct agent *agent, struct interpreter_reason *why)
{
	struct pollfd end = {.events = POLLIN};
	int ended;

	close(agent->run);
	agent->run = -1;
	end.fd = syscall(SYS_pidfd_open, agent->info->pid, 0);
	if (end.fd < 0)
		return explain_attach(why, -ESRCH, "run");
	ended = poll(&end, 1, BUSY_WAIT_MS);
	close(end.fd);
	return ended > 0 ? explain_attach(why, -ESRCH, "run") : raise_run(agent, why);
}

static int start(struct agent *agent, struct interpreter_reason *why)
{
	struct agent_config *config = make_config(&agent->order);
	struct inject_call call = {.function = agent->entry,
				   .request = AGENT_START,
				   .data = config,
				   .size = config ? config->size : 0,
				   .at_start = agent->order.at_start,
				   .gives = agent->values >= 0,
				   .given = agent->values,
				   .given_at = offsetof(struct agent_config, values)};
	int result = 0, err = config ? 0 : -ENOMEM;

	for (int i = 0; !err && i < BUSY_TRIES; i++) {
		err = inject__call(agent->inject, &call, &result, why);
		if (err || result != -AGENT_BUSY || i == BUSY_TRIES - 1)
			break;
		err = wait_until_idle(agent, why);
	}
	free(config);
	if (err || !result)
		return err;
	return agent__explain(why, -result);
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int open_values(struct agent *agent, struct interpreter_reason *why)
{
	if (!(agent->order.flags & AGENT_VALUES))
		return 0;
	agent->values =
		memory_values__open(agent->order.values, agent->order.target, agent->info->pid);
	return agent->values < 0 ? explain_attach(why, agent->values, "RSS and VMS") : 0;
}

/* Before sys.monitoring there is one profile function, and each of two agents would put its own. */
static int check_old_probes(const struct interpreter_info *info, struct interpreter_reason *why)
{
	if (info->minor >= 12 || !agent_probes__are_used(info->pid))
		return 0;
	return refuse(why, -EBUSY,
		      "another tracer uses the old probes in it, and before CPython 3.12 only one "
		      "of both sees events",
		      "end that one first: bpftrace, or what else uses old-probes.so");
}

struct agent *agent__attach(const struct agent_order *order, const struct interpreter *in,
			    struct interpreter_reason *why)
{
	struct agent *agent = calloc(1, sizeof(*agent));
	struct wire_target *target;
	int err = 0;

	memset(why, 0, sizeof(*why));
	if (!agent)
		return NULL;
	agent->order = *order;
	agent->info = interpreter__info(in);
	agent->name = AGENT_NAME;
	agent->file = agent->run = agent->resend = agent->values = -1;
	agent->inject = inject__new(in, why);
	if (!agent->inject)
		err = -errno;
	if (!err)
		err = check_old_probes(agent->info, why);
	if (!err)
		err = have_library(agent, why);
	if (!err)
		err = raise_run(agent, why);
	if (!err)
		err = attach_batch(agent, why);
	if (!err)
		err = open_values(agent, why);
	if (!err) {
		target = &kernel__targets(order->kernel)[order->target];
		__atomic_store_n(&target->tgid, agent->info->pid, __ATOMIC_RELEASE);
		err = start(agent, why);
	}
	memory_values__opened(agent->order.values, agent->values);
	if (!err)
		return agent;
	agent__free(agent);
	errno = -err;
	return NULL;
}

/* ------------------------------------------------------------------ afterwards */

void agent__stop(struct agent *agent)
{
	close_one(&agent->run);
	close_one(&agent->resend);
}

void agent__free(struct agent *agent)
{
	if (!agent)
		return;
	agent__stop(agent);
	bpf_link__destroy(agent->batch);
	memory_values__close(agent->order.values, agent->order.target);
	elf_notes__free(agent->elf);
	close_one(&agent->file);
	inject__free(agent->inject);
	free(agent);
}

int agent__resend(struct agent *agent, bool on)
{
	const struct usdt_probe *probe = agent->probes[PROBE_RESEND];

	close_one(&agent->resend);
	if (!on)
		return 0;
	agent->resend = uprobe__open(agent->path, probe->file_offset, probe->semaphore_offset,
				     agent->info->pid);
	return agent->resend < 0 ? agent->resend : 0;
}

uint64_t agent__stopped_ns(const struct agent *agent)
{
	return inject__stopped_ns(agent->inject);
}

int agent__sweep(const struct agent *agent)
{
	int err = 0;

	for (int i = 0; i < N_PROBES; i++) {
		const struct usdt_probe *probe = agent->probes[i];
		int failed =
			uprobe__sweep(agent->path, probe->file_offset, probe->semaphore_offset);

		err = failed ? failed : err;
	}
	return err;
}

/* ------------------------------------------------------------------ run mode */

static int find_main(const struct interpreter_info *info, __u64 *address, __u64 *offset)
{
	struct elf_symbol symbol = {.name = "Py_RunMain"};

	if (elf_notes__find_symbols(info->elf, &symbol, 1) != 1)
		return -ENOENT;
	*address = symbol.addr + info->load_bias;
	return elf_notes__file_offset(info->elf, symbol.addr, FIRST_BYTES, offset);
}

struct bpf_link *agent__stop_at_main(struct kernel *kernel, const struct interpreter *in, pid_t pid)
{
	const struct interpreter_info *info = interpreter__info(in);
	__u64 address, offset;
	char path[64];
	int err = find_main(info, &address, &offset);

	if (err) {
		errno = -err;
		return NULL;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", info->fd);
	return bpf_program__attach_uprobe_opts(kernel__program(kernel, KERNEL_ON_START), pid, path,
					       offset, NULL);
}

bool agent__is_at_main(const struct interpreter *in)
{
	const struct interpreter_info *info = interpreter__info(in);
	__u64 address, offset;

	return info->has_bias && !find_main(info, &address, &offset) &&
	       process__is_at(info->pid, address, FIRST_BYTES);
}

/* ------------------------------------------------------------------ for other tracers */

int agent__offer(const struct interpreter *in, const char *path, struct interpreter_reason *why)
{
	const struct agent_config config = {
		.size = sizeof(config), .version = AGENT_VERSION, .flags = AGENT_OLD_PROBES};
	struct inject_call call = {.request = AGENT_START, .data = &config, .size = sizeof(config)};
	const char *slash = strrchr(path, '/');
	/* Another copy may be in memory: one cannot do both, since what is offered is for ever. */
	struct agent agent = {.info = interpreter__info(in),
			      .name = slash ? slash + 1 : path,
			      .file = -1,
			      .run = -1,
			      .resend = -1,
			      .values = -1};
	int err, result = 0;

	memset(why, 0, sizeof(*why));
	agent.inject = inject__new(in, why);
	if (!agent.inject)
		return -errno;
	snprintf(agent.path, sizeof(agent.path), "root%s", path);
	err = inject__load_file(agent.inject, path, why);
	/* By its name: to open what is mapped takes more rights than loading it did. */
	if (!err)
		agent.file = process__open(agent.info->pid, agent.path, O_RDONLY);
	if (!err && find_library(&agent) != 1)
		err = refuse(why, -ENOEXEC, "it has loaded the file and does not map it", "");
	if (!err) {
		call.function = agent.entry;
		err = inject__call(agent.inject, &call, &result, why);
	}
	if (!err && result)
		err = agent__explain(why, -result);
	elf_notes__free(agent.elf);
	close_one(&agent.file);
	inject__free(agent.inject);
	return err;
}
