// SPDX-License-Identifier: BSD-3-Clause
/* The programs of memory.bpf.c: which, for whom, and their ticks. */
#include <errno.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "kernel/internal.h"

#define TICK_NS 10000000 /* of a CPU's time: what waits in the kernel waits for one */

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* As the kernel computes percpu_counter_batch. */
static uint32_t rss_batch(void)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	return online > 16 ? 2 * online : 32;
}

/* A program, and the one that runs in its place while it is preempted. */
static void choose_twice(struct bpf_program *program, struct bpf_program *missed, bool wanted,
			 bool twice)
{
	bpf_program__set_autoload(program, wanted);
	bpf_program__set_autoload(missed, wanted && twice);
}

void mappings__choose_programs(struct kernel *kernel, const struct kernel_config *config,
			       const bool *found)
{
	struct pikos_bpf *bpf = kernel->bpf;
	bool has_faults = found[FEATURE_FAULTS] && found[FEATURE_TASK_REGS];
	bool percpu = bpf->rodata->has_percpu_rss, has_call_exits = found[FEATURE_CALL_EXITS];
	bool twice = found[FEATURE_LAZY_PREEMPTION]; /* attaching takes long on older kernels */

	bpf->rodata->emit_stacks = config->stacks;
	bpf->rodata->emit_native = config->native;
	bpf->rodata->rss_batch = rss_batch();
	bpf->rodata->filter_jumps = bpf->rodata->emit_begins = config->ledger;
	bpf_program__set_autoload(bpf->progs.begin_any_call, config->ledger && !has_call_exits);
	choose_twice(bpf->progs.begin_munmap, bpf->progs.begin_munmap_missed,
		     config->ledger && has_call_exits, twice);
	choose_twice(bpf->progs.begin_mremap, bpf->progs.begin_mremap_missed,
		     config->ledger && has_call_exits, twice);
	bpf_program__set_autoload(bpf->progs.on_fault, has_faults);
	bpf_program__set_autoload(bpf->progs.on_kernel_fault, has_faults);
	bpf_program__set_autoload(bpf->progs.on_rss_percpu, percpu);
	bpf_program__set_autoload(bpf->progs.on_rss_atomic, !percpu);
	bpf_program__set_autoload(bpf->progs.on_any_call, !has_call_exits);
	choose_twice(bpf->progs.on_mmap, bpf->progs.on_mmap_missed, has_call_exits, twice);
	choose_twice(bpf->progs.on_munmap, bpf->progs.on_munmap_missed, has_call_exits, twice);
	choose_twice(bpf->progs.on_mremap, bpf->progs.on_mremap_missed, has_call_exits, twice);
	choose_twice(bpf->progs.on_brk, bpf->progs.on_brk_missed, has_call_exits, twice);
	choose_twice(bpf->progs.on_madvise, bpf->progs.on_madvise_missed, has_call_exits, twice);
	bpf_program__set_autoload(bpf->progs.on_tick, true);
	bpf_program__set_autoload(bpf->progs.flush_runs, true);
	bpf_program__set_autoload(bpf->progs.adopt_memory, true);
}

int mappings__size_maps(struct kernel *kernel, uint32_t n_targets)
{
	struct pikos_bpf *bpf = kernel->bpf;
	int err = bpf_map__set_max_entries(bpf->maps.memories, n_targets);

	kernel->n_targets = n_targets;
	if (!err)
		err = bpf_map__set_max_entries(bpf->maps.memory_parts, n_targets * kernel->n_cpus);
	return err;
}

static size_t memories_size(const struct kernel *kernel)
{
	size_t page = sysconf(_SC_PAGESIZE);

	return (kernel->n_targets * sizeof(*kernel->memories) + page - 1) / page * page;
}

int mappings__fill(struct kernel *kernel)
{
	kernel->ticks = calloc(kernel->n_cpus, sizeof(struct bpf_link *));
	if (!kernel->ticks)
		return -ENOMEM;
	return kernel__map_array(kernel->bpf->maps.memories, memories_size(kernel),
				 (void **)&kernel->memories);
}

void mappings__free(struct kernel *kernel)
{
	for (int cpu = 0; kernel->ticks && cpu < kernel->n_cpus; cpu++)
		bpf_link__destroy(kernel->ticks[cpu]);
	free(kernel->ticks);
	if (kernel->memories)
		munmap(kernel->memories, memories_size(kernel));
}

/* ------------------------------------------------------------------ attach */

static int attach_tick(struct kernel *kernel, int cpu)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.size = sizeof(attr),
		.sample_period = TICK_NS,
	};
	int fd = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd < 0)
		return errno == ENODEV ? 0 : -errno; /* no such CPU now */
	kernel->ticks[cpu] = bpf_program__attach_perf_event(kernel->bpf->progs.on_tick, fd);
	if (kernel->ticks[cpu])
		return 0;
	close(fd);
	return -errno;
}

static int attach(const struct bpf_program *program, struct bpf_link **link)
{
	if (!bpf_program__autoload(program))
		return 0;
	*link = bpf_program__attach(program);
	return *link ? 0 : -errno;
}

int kernel__attach_mappings(struct kernel *kernel)
{
	struct pikos_bpf *bpf = kernel->bpf;
	struct {
		const struct bpf_program *program;
		struct bpf_link **link;
	} all[] = {
		{bpf->progs.on_rss_percpu, &bpf->links.on_rss_percpu},
		{bpf->progs.on_rss_atomic, &bpf->links.on_rss_atomic},
		{bpf->progs.on_fault, &bpf->links.on_fault},
		{bpf->progs.on_kernel_fault, &bpf->links.on_kernel_fault},
		{bpf->progs.begin_any_call, &bpf->links.begin_any_call},
		/* To run after those that they stand in for, they are attached before. */
		{bpf->progs.begin_munmap_missed, &bpf->links.begin_munmap_missed},
		{bpf->progs.begin_mremap_missed, &bpf->links.begin_mremap_missed},
		{bpf->progs.on_mmap_missed, &bpf->links.on_mmap_missed},
		{bpf->progs.on_munmap_missed, &bpf->links.on_munmap_missed},
		{bpf->progs.on_mremap_missed, &bpf->links.on_mremap_missed},
		{bpf->progs.on_brk_missed, &bpf->links.on_brk_missed},
		{bpf->progs.on_madvise_missed, &bpf->links.on_madvise_missed},
		{bpf->progs.begin_munmap, &bpf->links.begin_munmap},
		{bpf->progs.begin_mremap, &bpf->links.begin_mremap},
		{bpf->progs.on_any_call, &bpf->links.on_any_call},
		{bpf->progs.on_mmap, &bpf->links.on_mmap},
		{bpf->progs.on_munmap, &bpf->links.on_munmap},
		{bpf->progs.on_mremap, &bpf->links.on_mremap},
		{bpf->progs.on_brk, &bpf->links.on_brk},
		{bpf->progs.on_madvise, &bpf->links.on_madvise},
	};
	int err = 0;

	for (size_t i = 0; i < sizeof(all) / sizeof(*all) && !err; i++)
		err = attach(all[i].program, all[i].link);
	for (int cpu = 0; cpu < kernel->n_cpus && !err; cpu++)
		err = attach_tick(kernel, cpu);
	return err;
}

/* ------------------------------------------------------------------ targets */

int kernel__adopt(struct kernel *kernel, uint32_t index, pid_t tgid)
{
	struct bpf_link *link;
	char nothing[64];
	int fd, err = 0;

	kernel->bpf->bss->adopted_tgid = tgid;
	link = bpf_program__attach_iter(kernel->bpf->progs.adopt_memory, NULL);
	if (!link)
		return -errno;
	fd = bpf_iter_create(bpf_link__fd(link));
	if (fd < 0)
		err = -errno;
	while (!err && read(fd, nothing, sizeof(nothing)) > 0)
		;
	if (fd >= 0)
		close(fd);
	bpf_link__destroy(link);
	return err ? err : kernel->memories[index].ready ? 0 : -ESRCH;
}

void kernel__release(struct kernel *kernel, uint32_t index)
{
	if (kernel->memories && index < kernel->n_targets)
		__atomic_store_n(&kernel->memories[index].ready, 0, __ATOMIC_RELEASE);
}

struct kernel_memory kernel__memory(const struct kernel *kernel, uint32_t index)
{
	const struct wire_memory_state *state = &kernel->memories[index];
	struct kernel_memory memory = {
		.time = state->start_time,
		.vms = state->start_vms,
		.brk = state->start_brk,
	};

	for (int i = 0; i < WIRE_N_COUNTERS; i++)
		memory.rss[i] = state->start[i] > 0 ? state->start[i] : 0;
	return memory;
}

uint64_t mappings__missed(const struct kernel *kernel)
{
	const struct pikos_bpf *bpf = kernel->bpf;

	uint64_t missed =
		kernel__missed_by(bpf->progs.on_any_call) + kernel__missed_by(bpf->progs.on_mmap) +
		kernel__missed_by(bpf->progs.on_munmap) + kernel__missed_by(bpf->progs.on_mremap) +
		kernel__missed_by(bpf->progs.on_brk) + kernel__missed_by(bpf->progs.on_madvise);

	return missed - least(missed, bpf->bss->calls_made_up);
}

void kernel__flush_mappings(struct kernel *kernel)
{
	LIBBPF_OPTS(bpf_test_run_opts, run, .flags = BPF_F_TEST_RUN_ON_CPU);

	if (!kernel->memories)
		return;
	for (int cpu = 0; cpu < kernel->n_cpus; cpu++) {
		run.cpu = cpu;
		bpf_prog_test_run_opts(bpf_program__fd(kernel->bpf->progs.flush_runs), &run);
	}
}
