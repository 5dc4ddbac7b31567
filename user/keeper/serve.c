// SPDX-License-Identifier: BSD-3-Clause
/* The keeper's side. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "errors.h"
#include "keeper/protocol.h"
#include "keeper/rights.h"
#include "probes/agent/agent.h"
#include "process/identity.h"
#include "process/maps.h"
#include "process/packet.h"
#include "process/reader.h"
#include "source/agent.h"
#include "source/agent_file.h"
#include "source/choice.h"
#include "source/memory_values.h"
#include "source/frame_layout.h"
#include "source/libc.h"
#include "source/regions.h"
#include "source/usdt.h"

#define CAP(name) (UINT64_C(1) << CAP_##name)

/*
 * uprobes and map files (SYS_ADMIN, or BPF and PERFMON on kernels before July 2025), the memory and
 * files of others and loading the agent (SYS_PTRACE), readers (SYS_CHROOT, SETUID, SETGID,
 * DAC_READ_SEARCH), continuing (KILL); that a program need not wait for a CPU while it is stopped
 * (SYS_NICE).
 */
#define KEEPER_RIGHTS                                                                   \
	(CAP(SYS_ADMIN) | CAP(BPF) | CAP(PERFMON) | CAP(SYS_PTRACE) | CAP(SYS_CHROOT) | \
	 CAP(SETUID) | CAP(SETGID) | CAP(DAC_READ_SEARCH) | CAP(KILL) | CAP(SYS_NICE))

struct kept { /* one target */
	pid_t pid;
	int pidfd;
	struct interpreter *interpreter;
	struct usdt *usdt;
	struct agent *agent;
	struct libc *libc;
	struct regions *regions;
	struct bpf_link *start;	   /* stops it at its first instruction, or at Py_RunMain */
	struct identity *reads_as; /* whose rights the last reader has */
};

struct server {
	struct kernel *kernel;
	struct wire_target *targets;
	struct keeper_config config;
	struct kept kept[WIRE_MAX_TARGETS];
	uint32_t n_kept;
	/* Taking a probe away waits 100 ms for the kernel: sweeps have a thread of their own, so
	 * that continuing a target need not wait for one. */
	pthread_t sweeper;
	pthread_mutex_t attachments;  /* kept[].usdt, agent, regions; values */
	struct memory_values *values; /* from the first agent on that is asked for them */
	struct ring_buffer *alerts;
	uint64_t missed_values;
};

/* ------------------------------------------------------------------ continue */

static void continue_one(struct server *server, uint32_t index)
{
	struct wire_target *target = &server->targets[index];
	struct kept *kept = &server->kept[index];

	if (kept->pidfd < 0 || __atomic_load_n(&target->user_stopped, __ATOMIC_ACQUIRE))
		return;
	syscall(SYS_pidfd_send_signal, kept->pidfd, SIGCONT, NULL, 0);
}

/* The loader is gone: nothing may stay stopped because of us. */
static void continue_all(struct server *server)
{
	kernel__end_pauses(server->kernel);
	for (uint32_t i = 0; i < server->n_kept; i++) {
		struct wire_target *target = &server->targets[i];

		if (target->exec_stop ||
		    __atomic_load_n(&target->stops, __ATOMIC_ACQUIRE) != target->continued)
			continue_one(server, i);
		target->exec_stop = 0;
	}
}

/* ------------------------------------------------------------------ attach, detach */

static void *destroy_link(void *link)
{
	bpf_link__destroy(link);
	return NULL;
}

/* A probe that will not be hit again: the program that it has stopped need not wait for its end. */
static void retire(struct bpf_link *link)
{
	pthread_t thread;

	if (!link)
		return;
	if (pthread_create(&thread, NULL, destroy_link, link))
		bpf_link__destroy(link);
	else
		pthread_detach(thread);
}

static void detach(struct server *server, uint32_t index)
{
	struct kept *kept = &server->kept[index];

	server->targets[index].tgid = 0;
	kernel__release(server->kernel, index);
	usdt__free(kept->usdt);
	agent__free(kept->agent);
	libc__free(kept->libc);
	regions__free(kept->regions);
	retire(kept->start);
	interpreter__free(kept->interpreter);
	kept->usdt = NULL;
	kept->agent = NULL;
	kept->libc = NULL;
	kept->regions = NULL;
	kept->start = NULL;
	kept->interpreter = NULL;
}

/* @param id taken over; NULL is fine @return the reader's socket or -1 */
static int make_reader(struct kept *kept, struct identity *id)
{
	struct reader *reader = id ? reader__new(id, NULL) : NULL;

	identity__free(kept->reads_as);
	kept->reads_as = id;
	return reader ? reader__detach(reader) : -1;
}

static bool same_file(int a, int b)
{
	struct stat x, y;

	return !fstat(a, &x) && !fstat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static bool same_rights(const struct identity *a, const struct identity *b)
{
	return a->uid == b->uid && a->gid == b->gid && a->reads_all == b->reads_all &&
	       a->n_groups == b->n_groups &&
	       (!a->n_groups || !memcmp(a->groups, b->groups, a->n_groups * sizeof(*a->groups))) &&
	       a->same_root == b->same_root && same_file(a->root_fd, b->root_fd);
}

static bool has_ended(const struct kept *kept)
{
	struct pollfd end = {.fd = kept->pidfd, .events = POLLIN};

	return poll(&end, 1, 0) != 0;
}

/*
 * Whether a process that has no memory any more had its reader's rights until then. It may take the
 * kernel seconds to have all of that back; afterwards it is known by what was seen last.
 */
static bool ended_with_rights(const struct kept *kept, const struct wire_target *target)
{
	bool is_zombie = process__state(kept->pid) == 'Z';
	unsigned int uid, gid;
	int err = identity__ids_of_pid(kept->pid, &uid, &gid);

	if (has_ended(kept)) { /* then that was perhaps of who has its number now */
		err = target->exited ? 0 : -ESRCH;
		uid = target->exit_uid;
		gid = target->exit_gid;
	} else if (is_zombie) {
		return false; /* it lives on without its main thread */
	}
	return !err && uid == kept->reads_as->uid && gid == kept->reads_as->gid;
}

/*
 * A program that gave up rights since its reader was made must not have files read with them. What
 * runs another program, perhaps one that is set-user-ID, has named nothing yet.
 */
static int renew_reader(struct server *server, uint32_t index, int *fd)
{
	const struct wire_target *target = &server->targets[index];
	struct kept *kept = &server->kept[index];
	struct identity *id;

	if (index >= server->n_kept || !kept->reads_as)
		return -EACCES;
	id = identity__of_pid(kept->pid);
	if (id ? has_ended(kept) : errno == ESRCH) {
		identity__free(id); /* of who has its number now */
		return ended_with_rights(kept, target) ? 0 : -EACCES;
	}
	if (!id)
		return -EACCES;
	if (!same_file(id->exe_fd, kept->reads_as->exe_fd)) {
		identity__free(id);
		return -EACCES;
	}
	if (same_rights(id, kept->reads_as)) {
		identity__free(id);
		return 0;
	}
	*fd = make_reader(kept, id);
	return *fd < 0 ? -EACCES : 0;
}

/* After the agent, whose library has them. */
static int attach_regions(struct server *server, uint32_t index, struct interpreter_reason *why)
{
	struct kept *kept = &server->kept[index];
	int err = 0, library;

	if (!server->config.regions)
		return 0;
	library = agent_file__open(NULL, 0); /* missing: then what is mapped must do */
	kept->regions =
		regions__attach(kept->agent ? NULL : server->kernel, kept->pid, library, why);
	if (!kept->regions)
		err = -errno;
	if (library >= 0)
		close(library);
	return err;
}

static int attach_usdt(struct server *server, uint32_t index, struct interpreter_reason *why)
{
	struct kept *kept = &server->kept[index];
	struct usdt_request request = {
		.kernel = server->kernel,
		.target = index,
		.pid = kept->pid,
		.lines = server->config.lines,
		.script_end = server->config.script_end,
	};

	kept->usdt = usdt__attach(&request, kept->interpreter, why);
	return kept->usdt ? 0 : -errno;
}

static int watch_memory(struct server *server, struct interpreter_reason *why)
{
	int err;

	if (!(server->config.agent_flags & AGENT_VALUES) || server->values)
		return 0;
	server->values = memory_values__new(server->kernel);
	if (server->values)
		return 0;
	err = -errno;
	why->problem = INTERPRETER_NO_AGENT;
	snprintf(why->text, sizeof(why->text), "watching RSS and VMS for the agent: %s",
		 error_words(err));
	snprintf(why->next_step, sizeof(why->next_step),
		 "use --source usdt, or a monitor without memory");
	return err;
}

/* @param start what stops the program once more; NULL: errno says why there is none */
static int will_stop(struct kept *kept, struct bpf_link *start, struct keeper_attached *attached)
{
	int err = start ? 0 : -errno;

	attached->result = KEEPER_WILL_STOP;
	kept->start = start;
	if (err)
		snprintf(attached->why.text, sizeof(attached->why.text),
			 "stopping it where its interpreter begins: %s", error_words(err));
	return err;
}

/* Where its libraries are mapped and nothing has run of them. */
static int stop_at_start(struct server *server, uint32_t index, struct keeper_attached *attached)
{
	struct kept *kept = &server->kept[index];

	return will_stop(kept, usdt__stop_at_start(server->kernel, kept->interpreter, kept->pid),
			 attached);
}

/* A program of ours gets it where its interpreter is ready, and stops there once more. */
static int attach_agent(struct server *server, uint32_t index, struct keeper_attached *attached)
{
	struct kept *kept = &server->kept[index];
	int err = watch_memory(server, &attached->why);
	const struct agent_order order = {
		.kernel = server->kernel,
		.target = index,
		.flags = server->config.agent_flags,
		.at_start = server->targets[index].exec_stop,
		.values = server->values,
	};

	if (err)
		return err;
	attached->agent = true;
	if (order.at_start && !agent__is_at_main(kept->interpreter))
		return will_stop(kept,
				 agent__stop_at_main(server->kernel, kept->interpreter, kept->pid),
				 attached);
	kept->agent = agent__attach(&order, kept->interpreter, &attached->why);
	if (!kept->agent)
		return -errno;
	attached->stopped_us = agent__stopped_ns(kept->agent) / 1000;
	return 0;
}

static int attach_memory(struct server *server, uint32_t index, struct keeper_attached *attached)
{
	const struct kept *kept = &server->kept[index];
	struct wire_layout layout;
	int err;

	err = frame_layout__of(interpreter__info(kept->interpreter), &layout, &attached->why);
	attached->no_frames = err;
	kernel__flush_mappings(server->kernel); /* of the program before an exec */
	err = kernel__set_layout(server->kernel, index, &layout);
	if (!err)
		err = kernel__adopt(server->kernel, index, kept->pid);
	if (err == -ESRCH)
		snprintf(attached->why.text, sizeof(attached->why.text), "no such process");
	return err;
}

/* Functions only if the interpreter has the probes: without them what is allocated is a record. */
static int attach_libc(struct server *server, uint32_t index, struct keeper_attached *attached)
{
	struct kept *kept = &server->kept[index];
	struct wire_layout layout;
	int err;

	/* A program of ours that has not got its libc yet. */
	if (server->targets[index].exec_stop && usdt__is_loading(kept->interpreter))
		return stop_at_start(server, index, attached);
	frame_layout__of(interpreter__info(kept->interpreter), &layout, NULL);
	err = kernel__set_layout(server->kernel, index, &layout);
	if (!err && !interpreter__check(kept->interpreter, usdt__needs(false, false), NULL))
		err = attach_usdt(server, index, &attached->why);
	if (err)
		return err;
	kept->libc = libc__attach(server->kernel, index, kept->pid, &attached->why);
	return kept->libc ? 0 : -errno;
}

static int attach_python(struct server *server, uint32_t index, struct keeper_attached *attached)
{
	struct kept *kept = &server->kept[index];
	int err,
		source = source__choose(&server->config.sources, kept->interpreter, &attached->why);

	if (source < 0)
		return source;
	attached->result = KEEPER_ATTACHED;
	if (source == SOURCE_IS_AGENT)
		err = attach_agent(server, index, attached);
	else if (source == SOURCE_IS_KERNEL)
		err = attach_memory(server, index, attached);
	else if (source == SOURCE_IS_LIBC)
		err = attach_libc(server, index, attached);
	else
		err = attach_usdt(server, index, &attached->why);
	if (err || attached->result == KEEPER_WILL_STOP)
		return err;
	err = attach_regions(server, index, &attached->why);
	if (err)
		return err;
	attached->reader_fd = make_reader(kept, identity__of_pid(kept->pid));
	__atomic_store_n(&server->targets[index].tgid, kept->pid, __ATOMIC_RELEASE);
	return 0;
}

static int refuse_unloaded(struct interpreter_reason *why)
{
	why->problem = INTERPRETER_IS_LINKED;
	snprintf(why->text, sizeof(why->text), "its libpython is not loaded yet");
	snprintf(why->next_step, sizeof(why->next_step), "it has just started: try again");
	return -EAGAIN;
}

static int attach(struct server *server, uint32_t index, struct keeper_attached *attached)
{
	struct kept *kept = &server->kept[index];
	int err = interpreter__of_pid(kept->pid, &kept->interpreter, &attached->why);

	if (err)
		return err;
	interpreter__describe(kept->interpreter, attached->description,
			      sizeof(attached->description));
	switch (interpreter__info(kept->interpreter)->kind) {
	case INTERPRETER_LINKED:
		/* Only a program of ours may be stopped, and stands before its first instruction.
		 */
		if (!server->targets[index].exec_stop)
			return refuse_unloaded(&attached->why);
		return stop_at_start(server, index, attached);
	case INTERPRETER_NONE:
		attached->result = KEEPER_NOT_PYTHON;
		return 0;
	default:
		return attach_python(server, index, attached);
	}
}

static int first_sight(struct server *server, uint32_t index, pid_t pid,
		       struct keeper_attached *attached)
{
	struct kept *kept = &server->kept[index];
	int err;

	while (server->n_kept <= index)
		server->kept[server->n_kept++].pidfd = -1;
	if (kept->pidfd >= 0)
		return 0;
	kept->pid = pid;
	kept->pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (kept->pidfd >= 0)
		return 0;
	err = -errno;
	attached->why.problem = INTERPRETER_GONE;
	snprintf(attached->why.text, sizeof(attached->why.text), "no such process");
	return err;
}

static void handle_attach(struct server *server, const struct keeper_request *request,
			  struct keeper_reply *reply)
{
	reply->attached.reader_fd = -1;
	reply->err = first_sight(server, request->target, request->pid, &reply->attached);
	if (reply->err)
		return;
	detach(server, request->target);
	reply->err = attach(server, request->target, &reply->attached);
	if (reply->err)
		detach(server, request->target);
}

static void stop_agents(struct server *server)
{
	for (uint32_t i = 0; i < server->n_kept; i++)
		if (server->kept[i].agent)
			agent__stop(server->kept[i].agent);
}

#define MAX_DETACHERS 64

struct detacher {
	struct server *server;
	uint32_t first, step;
	pthread_t thread;
	bool started;
};

static void *detach_some(void *ctx)
{
	struct detacher *own = ctx;

	for (uint32_t i = own->first; i < own->server->n_kept; i += own->step)
		detach(own->server, i);
	return NULL;
}

/*
 * Each probe that goes waits for the kernel, 100 ms and more, and many targets for minutes: nothing
 * is recorded meanwhile. Half of the waits can pass at once, in threads; for the others perf holds
 * a lock of all events (until it knows uprobe_multi's links).
 */
static void detach_all(struct server *server)
{
	uint32_t n = server->n_kept < MAX_DETACHERS ? server->n_kept : MAX_DETACHERS;
	struct detacher detachers[MAX_DETACHERS];

	stop_agents(server); /* none waits for another's probes */
	for (uint32_t i = 0; i < server->n_kept; i++)
		server->targets[i].tgid = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct detacher *one = &detachers[i];

		*one = (struct detacher){.server = server, .first = i, .step = n};
		one->started = n > 1 && !pthread_create(&one->thread, NULL, detach_some, one);
		if (!one->started)
			detach_some(one);
	}
	for (uint32_t i = 0; i < n; i++)
		if (detachers[i].started)
			pthread_join(detachers[i].thread, NULL);
	server->missed_values += memory_values__missed(server->values);
	memory_values__free(server->values);
	server->values = NULL;
	kernel__flush_mappings(server->kernel);
}

/* Processes of one interpreter share its file, and a sweep of it reaches all of them. */
static bool is_swept(const struct server *server, uint32_t index)
{
	const struct interpreter_info *own = interpreter__info(server->kept[index].interpreter);

	for (uint32_t i = 0; i < index; i++) {
		const struct interpreter_info *other;

		if (!server->kept[i].usdt)
			continue;
		other = interpreter__info(server->kept[i].interpreter);
		if (other->dev == own->dev && other->ino == own->ino)
			return true;
	}
	return false;
}

static int note_alert(void *ctx, void *alert, size_t size)
{
	(void)ctx;
	(void)alert;
	(void)size;
	return 0;
}

/* The kernel tells of forks directly: a loader that waits for its output must not hold this up. */
static void *sweep(void *ctx)
{
	struct server *server = ctx;

	for (;;) {
		if (ring_buffer__poll(server->alerts, -1) <= 0)
			continue; /* a signal */
		pthread_mutex_lock(&server->attachments);
		for (uint32_t i = 0; i < server->n_kept; i++)
			if (server->kept[i].usdt && !is_swept(server, i))
				usdt__sweep(server->kept[i].usdt);
		for (uint32_t i = 0; i < server->n_kept; i++) {
			if (server->kept[i].agent)
				agent__sweep(server->kept[i].agent);
			libc__sweep(server->kept[i].libc);
			if (server->kept[i].regions)
				regions__sweep(server->kept[i].regions);
		}
		pthread_mutex_unlock(&server->attachments);
	}
	return NULL;
}

/* ------------------------------------------------------------------ mappings */

struct search {
	pid_t pid;
	uint64_t address;
	struct keeper_mapping *found;
};

static int look_at_mapping(const struct mapping *map, void *arg)
{
	struct search *search = arg;
	struct keeper_mapping *found = search->found;
	const char *slash;

	if (map->end <= search->address) {
		found->start = map->end > found->start ? map->end : found->start;
		return 0;
	}
	if (map->start > search->address) {
		found->end = map->start;
		return 1;
	}
	*found = (struct keeper_mapping){
		.start = map->start, .end = map->end, .offset = map->offset, .fd = -1};
	slash = map->path[0] == '/' ? strrchr(map->path, '/') : NULL;
	snprintf(found->name, sizeof(found->name), "%s", slash ? slash + 1 : map->path);
	if (slash)
		found->fd = maps__open(search->pid, map);
	return 1;
}

static int find_mapping(struct server *server, const struct keeper_request *request,
			struct keeper_reply *reply)
{
	struct kept *kept = &server->kept[request->target];
	struct keeper_mapping *found = &reply->mapping;
	struct search search = {kept->pid, request->address, found};
	int err;

	*found = (struct keeper_mapping){.end = UINT64_MAX, .fd = -1, .is_gap = true};
	if (request->target >= server->n_kept || kept->pidfd < 0)
		return -ESRCH;
	err = maps__each(kept->pid, look_at_mapping, &search);
	/* Its number may be another's by now. */
	if (has_ended(kept))
		err = -ESRCH;
	if (err < 0 && found->fd >= 0)
		close(found->fd);
	else
		reply->attached.reader_fd = found->fd;
	return err < 0 ? err : 0;
}

/* ------------------------------------------------------------------ life */

static int resend(struct server *server, const struct keeper_request *request)
{
	struct agent *agent = server->kept[request->target].agent;

	return agent ? agent__resend(agent, request->verb == KEEPER_RESEND) : -ESRCH;
}

static int open_maps(const struct server *server, uint32_t index, int *fd)
{
	char path[64];

	if (index >= server->n_kept || server->kept[index].pidfd < 0)
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d/maps", server->kept[index].pid);
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		return -errno;
	if (!has_ended(&server->kept[index]))
		return 0;
	close(*fd); /* perhaps of who has its number now */
	*fd = -1;
	return -ESRCH;
}

/* @return whether it is to be answered */
static bool handle(struct server *server, const struct keeper_request *request,
		   struct keeper_reply *reply)
{
	if (request->target >= WIRE_MAX_TARGETS) {
		reply->err = -EINVAL;
		return request->verb != KEEPER_CONTINUE;
	}
	switch (request->verb) {
	case KEEPER_ATTACH:
		pthread_mutex_lock(&server->attachments);
		handle_attach(server, request, reply);
		pthread_mutex_unlock(&server->attachments);
		return true;
	case KEEPER_KNOW:
		reply->err = first_sight(server, request->target, request->pid, &reply->attached);
		return true;
	case KEEPER_DETACH:
		pthread_mutex_lock(&server->attachments);
		detach(server, request->target);
		pthread_mutex_unlock(&server->attachments);
		return true;
	case KEEPER_DETACH_ALL:
		pthread_mutex_lock(&server->attachments);
		detach_all(server);
		pthread_mutex_unlock(&server->attachments);
		reply->missed = (struct keeper_missed){kernel__missed(server->kernel),
						       server->missed_values};
		return true;
	case KEEPER_RESEND:
	case KEEPER_RESENT:
		pthread_mutex_lock(&server->attachments);
		reply->err = resend(server, request);
		pthread_mutex_unlock(&server->attachments);
		return true;
	case KEEPER_STOP_AGENTS:
		pthread_mutex_lock(&server->attachments);
		stop_agents(server);
		pthread_mutex_unlock(&server->attachments);
		return true;
	case KEEPER_READER:
		reply->err = renew_reader(server, request->target, &reply->attached.reader_fd);
		return true;
	case KEEPER_MAPS:
		reply->err = open_maps(server, request->target, &reply->attached.reader_fd);
		return true;
	case KEEPER_MAPPING:
		reply->err = find_mapping(server, request, reply);
		return true;
	case KEEPER_COSTS:
		reply->costs.n = kernel__costs(server->kernel, reply->costs.programs);
		return true;
	case KEEPER_CONTINUE:
		continue_one(server, request->target);
		return false;
	}
	reply->err = -EINVAL;
	return true;
}

/* Nothing of the loader's terminal, group or output: it must end alone. */
static void become_keeper(const struct keeper_config *config)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	setpriority(PRIO_PROCESS, 0, -10); /* what it does is short, and somebody waits for it */
	for (int i = 0; i < config->n_descriptors; i++)
		close(config->descriptors[i]);
	prctl(PR_SET_NAME, "pikos-keeper");
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN); /* readers end by themselves, and nobody waits for them */
	for (int fd = 0; null >= 0 && fd <= 2; fd++)
		dup2(null, fd);
	keeper__drop_rights(KEEPER_RIGHTS);
}

_Noreturn void keeper__serve(int socket, struct kernel *kernel, const struct keeper_config *config)
{
	static struct server server;
	struct keeper_request request;
	int fd;

	become_keeper(config);
	server.kernel = kernel;
	server.targets = kernel__targets(kernel);
	server.config = *config;
	pthread_mutex_init(&server.attachments, NULL);
	server.alerts = ring_buffer__new(kernel__alerts_fd(kernel), note_alert, NULL, NULL);
	if (!server.alerts || pthread_create(&server.sweeper, NULL, sweep, &server))
		_exit(1); /* the loader is told by the closed socket */
	while (!packet__receive(socket, &request, sizeof(request), &fd)) {
		struct keeper_reply reply;

		memset(&reply, 0, sizeof(reply));
		reply.attached.reader_fd = -1;
		if (fd >= 0)
			close(fd); /* nothing asks for one */
		if (!handle(&server, &request, &reply))
			continue;
		if (packet__send(socket, &reply, sizeof(reply), reply.attached.reader_fd))
			break;
		if (reply.attached.reader_fd >= 0)
			close(reply.attached.reader_fd);
	}
	continue_all(&server);
	pthread_mutex_lock(&server.attachments);
	detach_all(&server);
	continue_all(&server);
	_exit(0);
}
