// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "errors.h"
#include "log.h"
#include "monitor/record_type.h"
#include "probes/agent/agent.h"
#include "session/internal.h"
#include "keeper/rights.h"
#include "source/usdt.h"

#define MAX_BUFFERS    (64u << 20) /* bytes over all CPUs, unless the user says otherwise */
#define MAX_BUFFER     (8u << 20)
#define AGENT_BUFFER   (32u << 20) /* 100 ms of a busy program's events */
#define MIN_BUFFER     (1u << 20)
#define NEEDED_TO_LOAD "CAP_SYS_ADMIN"

static uint32_t default_buffer_size(bool agent)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	uint32_t size = agent ? AGENT_BUFFER : MAX_BUFFER;

	while (size > MIN_BUFFER && (uint64_t)size * cpus > MAX_BUFFERS)
		size /= 2;
	return size;
}

/* A running process is given no agent unless that is asked for: then libc tells. */
static bool is_libc(const struct options *options)
{
	if (!options__is_allocations(options) || options->source == SOURCE_AGENT)
		return false;
	return options->source == SOURCE_USDT || (!options->argv && options->c_calls != C_CALLS_ON);
}

static void configure(struct session *session)
{
	const struct options *options = session->options;
	struct kernel_config *config = &session->config;

	config->lines = monitor__kind(options->monitor) == MONITOR_LINES;
	config->mappings = monitor__kind(options->monitor) == MONITOR_MEMORY;
	config->libc = is_libc(options);
	config->frames = config->mappings || config->libc;
	config->stacks = options->stacks || session->consumer;
	config->ledger = session->consumer;
	config->native = options->native;
	config->overhead = options->overhead;
	config->n_targets = options->argv ? 1 : options->n_pids;
	/* A summary has no column RSS, but is made of its changes. */
	config->memory = session->output.type.memory || config->mappings;
	config->focus = options->focus;
	config->regions = options->regions;
	config->lossless = options->lossless;
	/* One ring per CPU beats the perf buffer everywhere: no lock is shared, nothing copied. */
	config->transport =
		options->transport == TRANSPORT_PERFBUF ? KERNEL_PERF_BUFFER : KERNEL_RING_BUFFER;
	config->window_script = options->pikos_run ? options->script : NULL;
	config->agent = options->source != SOURCE_USDT && !config->mappings && !config->libc &&
			config->transport == KERNEL_RING_BUFFER;
	config->buffer_size =
		options->buffer_size ? options->buffer_size : default_buffer_size(config->agent);
}

static uint32_t allocation_flags(const struct options *options)
{
	if (!options__is_allocations(options))
		return 0;
	return AGENT_ALLOCATIONS | (options->domains >> DOMAIN_RAW & 1 ? AGENT_RAW : 0) |
	       (options->domains >> DOMAIN_MEM & 1 ? AGENT_MEM : 0) |
	       (options->domains >> DOMAIN_OBJ & 1 ? AGENT_OBJ : 0);
}

/* What an agent is to see, and to send with it. */
static uint32_t agent_flags(const struct session *session)
{
	const struct options *options = session->options;
	const struct pikos_record_type *type = &session->output.type;
	bool times = options->tree || options->n_pids > 1 || session->output.borrowed ||
		     pikos_record_type__field(type, "time") >= 0;
	bool c_calls = !session->config.lines && options->c_calls != C_CALLS_OFF;

	return (session->config.lines ? AGENT_LINES : 0) | (c_calls ? AGENT_C_CALLS : 0) |
	       (options->qualified ? AGENT_QUALIFIED : 0) | (times ? AGENT_TIMES : 0) |
	       (type->memory ? AGENT_VALUES : 0) | (options->focus ? AGENT_FOCUS : 0) |
	       allocation_flags(options) | (options->pikos_run ? AGENT_WINDOW : 0) |
	       (options->overhead ? AGENT_OVERHEAD : 0) | (options->regions ? AGENT_REGIONS : 0);
}

static void choose_sources(struct session *session)
{
	const struct options *options = session->options;
	bool is_auto = options->source == SOURCE_AUTO;
	bool prefer_agent = is_auto && options->c_calls == C_CALLS_ON;
	bool may_agent = session->config.agent;

	session->sources = (struct source_policy){
		.kernel = session->config.mappings,
		.libc = session->config.libc,
		.probes = options->source != SOURCE_AGENT && !options__is_allocations(options),
		.agent = may_agent && (!is_auto || options->argv || prefer_agent),
		.prefer_agent = prefer_agent,
		.name_agent = may_agent && is_auto,
		.needed = usdt__needs(session->config.lines, options->pikos_run),
	};
}

static bool has_capability(int capability)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{0}, {0}};

	if (syscall(SYS_capget, &header, data))
		return true; /* not known: do not blame it */
	return data[capability / 32].effective >> (capability % 32) & 1;
}

static void explain_load(int err, const struct kernel_error *error)
{
	if ((err == -EPERM || err == -EACCES) && !has_capability(CAP_SYS_ADMIN)) {
		log_cannot("load", "the BPF programs", NEEDED_TO_LOAD " is missing");
		log_hint("run it as root: sudo pikos-trace ...");
		return;
	}
	if (err == -ENOENT || err == -ENOSYS || err == -ESRCH) {
		log_cannot("load", "the BPF programs",
			   *error->text ? error->text : error_words(err));
		log_hint("%s", *error->hint ? error->hint : "see pikos-trace --features");
		return;
	}
	if (err == -E2BIG && *error->text) {
		log_cannot("load", "the BPF programs", "this kernel's verifier gives up on them");
		log_hint("a newer kernel takes them, or a monitor that asks for less");
		return;
	}
	log_cannot("load", "the BPF programs", error_words(err));
	if (*error->text)
		log_hint("%s", error->text);
}

static int load(struct session *session)
{
	const struct keeper_config keeper = {
		.lines = session->config.lines,
		.regions = session->config.regions,
		.script_end = session->config.lines && session->options->pikos_run,
		.sources = session->sources,
		.agent_flags = agent_flags(session),
		.descriptors = session->descriptors,
		.n_descriptors = session->n_descriptors,
	};
	struct kernel_error error = {0};
	bool found[N_FEATURES];
	int err = features__find(found);

	if (err && has_capability(CAP_SYS_ADMIN)) {
		log_cannot("read", "/sys/kernel/btf/vmlinux", error_words(err));
		log_hint("the kernel needs BTF (CONFIG_DEBUG_INFO_BTF, Linux 5.2): see --features");
		return err;
	}
	/* Features cannot be tried without it: find out by loading. */
	if (!has_capability(CAP_SYS_ADMIN))
		for (int i = 0; i < N_FEATURES; i++)
			found[i] = found[i] || features__table[i].required;
	session->kernel = kernel__new(&session->config, found, &error);
	if (!session->kernel) {
		err = -errno;
		explain_load(err, &error);
		return err;
	}
	session->wire = kernel__targets(session->kernel);
	session->keeper = keeper__start(session->kernel, &keeper);
	if (session->keeper)
		return 0;
	err = -errno;
	log_cannot("start", "the keeper process", error_words(err));
	return err;
}

static int find_mapping(void *ctx, uint32_t target, uint64_t address,
			struct native_mapping *mapping)
{
	struct session *session = ctx;
	struct keeper_mapping found;
	int err = keeper__mapping(session->keeper, target, address, &found);

	if (err)
		return err;
	*mapping = (struct native_mapping){
		.start = found.start,
		.end = found.end,
		.offset = found.offset,
		.fd = found.fd,
		.is_gap = found.is_gap,
	};
	memcpy(mapping->name, found.name, sizeof(mapping->name));
	return 0;
}

/* After the keeper, which would hold the helper's socket open; while we have the rights. */
static int start_native(struct session *session)
{
	char why[200];
	int err;

	if (!session->options->native)
		return 0;
	session->native = native__start(why, sizeof(why));
	if (session->native) {
		native__set_source(session->native, find_mapping, session);
		return 0;
	}
	err = -errno;
	log_cannot("name", "C functions", *why ? why : error_words(err));
	if (err == -ENOENT)
		log_hint("--native needs libbcc: apt-get install libbpfcc");
	return err;
}

static bool interrupted(void *ctx)
{
	(void)ctx;
	return session_signal;
}

static int connect_stations(struct session *session)
{
	const struct monitor_config monitor = {
		.type = &session->output.type,
		.filters = session->output.filters,
		.recorder = session->output.recorder,
		.symbols = session->symbols = symbols__new(),
		.qualified = session->options->qualified,
		.max_records = session->options->max_records,
		.consumer = session->consumer,
		.native = session->native,
	};
	const struct kernel *kernel = session->kernel;
	int err;

	session->monitor = session->symbols ? monitor__new(&monitor) : NULL;
	if (!session->monitor)
		return -ENOMEM;
	session->transport = transport__new(kernel__ring_fds(kernel), kernel__n_cpus(kernel),
					    kernel__ring_size(kernel), kernel__perf_fd(kernel),
					    kernel__perf_size(kernel));
	if (!session->transport) {
		err = -errno;
		log_cannot("map", "the buffers", error_words(err));
		return err;
	}
	err = session->config.agent && session->n_targets > 1
		      ? transport__merge_batches(session->transport)
		      : 0;
	if (err)
		return err;
	if (session->config.mappings)
		transport__set_lag(session->transport, TRANSPORT_RUN_LAG_NS);
	return transport__add_to_epoll(session->transport, session->epoll);
}

/*
 * The loader needs none from here on, but to continue a target should the keeper be killed. A file
 * is opened with them, as root would; ZeroMQ starts threads, which must not have them.
 */
static int drop_rights(struct session *session)
{
	bool is_file = session->options->recording != RECORDING_ZMQ;
	int err = is_file ? output__open(&session->output, session->options) : 0;

	if (err)
		return err;
	err = keeper__drop_rights(session->options->lossless ? UINT64_C(1) << CAP_KILL : 0);
	if (err)
		log_cannot("drop", "capabilities", error_words(err));
	else if (!is_file)
		err = output__open(&session->output, session->options);
	return err;
}

#define INITIAL_PID_NAMESPACE 0xeffffffcu /* PROC_PID_INIT_INO of the kernel, since 3.8 */

/* The kernel side knows processes by their numbers in the initial PID namespace. */
static int check_pid_namespace(void)
{
	struct stat st;

	if (stat("/proc/self/ns/pid", &st) || st.st_ino == INITIAL_PID_NAMESPACE)
		return 0;
	log_cannot("trace", "processes", "the tracer is in a PID namespace of its own");
	log_hint("run it on the host, or in a container that shares its PIDs (docker run "
		 "--pid=host)");
	return -ENOTSUP;
}

static int make_summaries(struct session *session)
{
	if (!session->options->summary)
		return 0;
	session->summaries = summaries__new(session);
	if (!session->summaries)
		return -errno;
	session->consumer = summaries__consumer(session->summaries);
	return 0;
}

int session__prepare(struct session *session)
{
	int err = output__choose(&session->output, session->options, &session->config);

	session->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (err || session->epoll < 0)
		return err ? err : -errno;
	err = make_summaries(session);
	if (err)
		return err;
	configure(session);
	choose_sources(session);
	err = check_pid_namespace();
	if (!err)
		err = load(session);
	if (!err)
		err = start_native(session);
	if (!err)
		err = targets__open(session);
	if (!err)
		err = output__make_recorder(&session->output, session->options,
					    session->targets[0].pid, interrupted);
	if (!err)
		err = connect_stations(session);
	if (!err) {
		err = kernel__attach_processes(session->kernel);
		if (err)
			log_cannot("attach to", "the tracepoints of processes", error_words(err));
	}
	if (!err && session->config.mappings) {
		err = kernel__attach_mappings(session->kernel);
		if (err)
			log_cannot("attach to", "the tracepoints of memory", error_words(err));
	}
	if (!err)
		err = drop_rights(session);
	if (!err && session->summaries)
		err = summaries__prepare(session->summaries);
	if (!err)
		err = targets__attach_all(session);
	return err;
}
