// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "kernel/uprobe_multi.h"

/* libbpf's last words, for the error; its debug output is nobody's business. */
static char last_words[256];

static int keep_words(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level == LIBBPF_WARN && !*last_words) {
		vsnprintf(last_words, sizeof(last_words), format, args);
		last_words[strcspn(last_words, "\n")] = '\0';
	}
	return 0;
}

uint64_t kernel__hash(const struct kernel *kernel, const char *text, size_t len)
{
	uint64_t hash = kernel->bpf->rodata->hash_seed, word;

	if (len > WIRE_LONG_TEXT)
		len = WIRE_LONG_TEXT;
	for (size_t i = 0; i < len; i += 8) {
		word = 0;
		memcpy(&word, text + i, len - i < 8 ? len - i : 8);
		hash = wire_hash_word(hash, word);
	}
	return wire_hash_end(hash, len);
}

static uint32_t filter_mode(const struct kernel_list *list)
{
	if (!list->texts)
		return FILTER_OFF;
	return list->drop ? FILTER_DROP : FILTER_KEEP;
}

static void set_knobs(struct kernel *kernel, const struct kernel_config *config, const bool *found)
{
	struct pikos_bpf__rodata *knobs = kernel->bpf->rodata;

	knobs->has_attach_cookie = kernel->has_cookies = found[FEATURE_COOKIE];
	knobs->has_task_btf = found[FEATURE_TASK_BTF];
	knobs->has_task_regs = found[FEATURE_TASK_REGS];
	knobs->has_percpu_rss = found[FEATURE_PERCPU_RSS];
	knobs->has_adjacent_rss = found[FEATURE_ADJACENT_RSS];
	knobs->has_plain_loads = found[FEATURE_PLAIN_LOADS];
	knobs->has_spin_lock = found[FEATURE_SPIN_LOCK];
	knobs->n_possible_cpus = kernel->n_cpus;
	knobs->emit_memory = config->memory;
	knobs->emit_to_perf = config->transport == KERNEL_PERF_BUFFER;
	if (config->focus)
		knobs->filter_focus = config->lines ? FOCUS_LINES : FOCUS_INSIDE;
	knobs->filter_types = config->types;
	knobs->filter_names = filter_mode(&config->functions);
	knobs->filter_files = filter_mode(&config->files);
	knobs->max_unread = kernel->ring_size / 4;
	knobs->max_unread_paused = config->lossless ? kernel->ring_size / 2 : 0;
	if (getrandom((void *)&knobs->hash_seed, sizeof(knobs->hash_seed), 0) < 0)
		knobs->hash_seed = (uintptr_t)kernel; /* only makes collisions harder */
	knobs->emit_details = config->libc;
	knobs->filter_regions = config->regions;
	knobs->region_name_hash = kernel__hash(kernel, WIRE_REGION_MARK, strlen(WIRE_REGION_MARK));
	knobs->module_name_hash = kernel__hash(kernel, "<module>", strlen("<module>"));
	if (config->window_script) {
		knobs->filter_window = true;
		knobs->window_file_hash =
			kernel__hash(kernel, config->window_script, strlen(config->window_script));
	}
}

/* Of memory_values.bpf.c. */
static void choose_values_programs(struct pikos_bpf *bpf, bool wanted, const bool *found)
{
	bool locks = found[FEATURE_MMAP_LOCK], twice = found[FEATURE_LAZY_PREEMPTION];

	bpf_program__set_autoload(bpf->progs.on_rss_stat, wanted);
	bpf_program__set_autoload(bpf->progs.on_mmap_unlocked, wanted && locks);
	bpf_program__set_autoload(bpf->progs.on_mmap_unlocked_again, wanted && locks && twice);
	bpf_program__set_autoload(bpf->progs.on_sys_exit, wanted && !locks);
	bpf_program__set_autoload(bpf->progs.on_sys_exit_again, wanted && !locks && twice);
}

static void choose_programs(struct kernel *kernel, const struct kernel_config *config,
			    const bool *found)
{
	struct pikos_bpf *bpf = kernel->bpf;
	bool functions = !config->lines && !config->mappings;

	bpf_program__set_autoload(bpf->progs.on_entry, functions && !config->libc);
	bpf_program__set_autoload(bpf->progs.on_return, functions && !config->libc);
	bpf_program__set_autoload(bpf->progs.on_entry_in_detail, functions && config->libc);
	bpf_program__set_autoload(bpf->progs.on_return_in_detail, functions && config->libc);
	bpf_program__set_autoload(bpf->progs.on_line, config->lines);
	bpf_program__set_autoload(bpf->progs.on_return_of_script,
				  config->lines && config->window_script);
	bpf_program__set_autoload(bpf->progs.on_region_enter, config->regions);
	bpf_program__set_autoload(bpf->progs.on_region_leave, config->regions);
	bpf_program__set_autoload(bpf->progs.on_batch, config->agent);
	bpf_program__set_autoload(bpf->progs.on_allocate, config->libc);
	bpf_program__set_autoload(bpf->progs.on_allocated, config->libc);
	bpf_program__set_autoload(bpf->progs.on_free, config->libc);
	bpf_program__set_autoload(bpf->progs.on_signal, config->lossless);
	bpf_program__set_autoload(bpf->progs.fill_cpu_offsets,
				  config->memory && bpf->rodata->has_percpu_rss);
	choose_values_programs(bpf, config->memory && config->agent, found);
	if (config->mappings)
		mappings__choose_programs(kernel, config, found);
}

/* A program is for one kind of links, and that is said when it is loaded. */
static int choose_links(struct kernel *kernel, const bool *found)
{
	struct bpf_program *const programs[] = {
		kernel->bpf->progs.on_allocate,
		kernel->bpf->progs.on_allocated,
		kernel->bpf->progs.on_free,
	};
	int err = 0;

	kernel->has_uprobe_multi = found[FEATURE_UPROBE_MULTI] && found[FEATURE_COOKIE];
	for (int i = 0; i < 3 && kernel->has_uprobe_multi && !err; i++)
		err = bpf_program__set_expected_attach_type(programs[i], UPROBE_MULTI_ATTACH_TYPE);
	return err;
}

/* Before loading: the first ring is also the pattern for the map of rings. */
static int make_rings(struct kernel *kernel)
{
	kernel->rings = malloc(kernel->n_cpus * sizeof(*kernel->rings));
	if (!kernel->rings)
		return -ENOMEM;
	for (int i = 0; i < kernel->n_cpus; i++)
		kernel->rings[i] = -1;
	for (int i = 0; i < kernel->n_cpus; i++) {
		kernel->rings[i] = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "pikos_ring", 0, 0,
						  kernel->ring_size, NULL);
		if (kernel->rings[i] < 0)
			return -errno;
	}
	return 0;
}

static int size_maps(struct kernel *kernel, const struct kernel_config *config)
{
	struct pikos_bpf *bpf = kernel->bpf;
	int err = bpf_map__set_max_entries(bpf->maps.rings, kernel->n_cpus);

	if (!err)
		err = bpf_map__set_inner_map_fd(bpf->maps.rings, kernel->rings[0]);
	if (!err)
		err = bpf_map__set_max_entries(bpf->maps.perf_buffers, kernel->n_cpus);
	if (!err && !config->frames)
		err = bpf_map__set_max_entries(bpf->maps.thread_stacks, 1);
	if (!err && !config->frames)
		err = bpf_map__set_max_entries(bpf->maps.frame_codes, 1);
	if (!err && config->mappings)
		err = mappings__size_maps(kernel, config->n_targets);
	return err;
}

static int place_rings(const struct kernel *kernel)
{
	int map = bpf_map__fd(kernel->bpf->maps.rings);

	for (int i = 0; i < kernel->n_cpus; i++)
		if (bpf_map_update_elem(map, &i, &kernel->rings[i], BPF_ANY))
			return -errno;
	return 0;
}

int kernel__map_array(const struct bpf_map *map, size_t size, void **out)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	if (memory == MAP_FAILED)
		return -errno;
	*out = memory;
	return 0;
}

static int fill_list(const struct kernel *kernel, const struct kernel_list *list, uint64_t field)
{
	struct wire_filter_key key = {.field = field};
	uint8_t one = 1;

	for (int i = 0; list->texts && i < list->n; i++) {
		key.hash = kernel__hash(kernel, list->texts[i], strlen(list->texts[i]));
		if (bpf_map_update_elem(bpf_map__fd(kernel->bpf->maps.filter_strings), &key, &one,
					BPF_ANY))
			return -errno;
	}
	return 0;
}

static int find_cpu_offsets(struct kernel *kernel)
{
	const struct bpf_program *program = kernel->bpf->progs.fill_cpu_offsets;
	LIBBPF_OPTS(bpf_test_run_opts, run);
	int err;

	if (!bpf_program__autoload(program))
		return 0;
	err = bpf_prog_test_run_opts(bpf_program__fd(program), &run);
	if (err || run.retval)
		return err ? err : -ENODATA;
	for (int cpu = 0; cpu < kernel->n_cpus; cpu++)
		kernel->bpf->bss->cpu_offsets[cpu] -= kernel->bpf->bss->cpu_common;
	return 0;
}

static int fill(struct kernel *kernel, const struct kernel_config *config)
{
	struct pikos_bpf *bpf = kernel->bpf;
	int err = place_rings(kernel);

	if (!err)
		err = kernel__map_array(bpf->maps.targets,
					WIRE_MAX_TARGETS * sizeof(struct wire_target),
					(void **)&kernel->targets);
	if (!err)
		err = kernel__map_array(bpf->maps.rules, WIRE_MAX_RULES * sizeof(struct wire_rule),
					(void **)&kernel->rules);
	if (!err)
		err = fill_list(kernel, &config->functions, WIRE_FILTER_FUNCTION);
	if (!err)
		err = fill_list(kernel, &config->files, WIRE_FILTER_FILENAME);
	if (!err)
		err = find_cpu_offsets(kernel);
	if (!err && config->mappings)
		err = mappings__fill(kernel);
	return err;
}

static int check(const struct kernel_config *config, const bool *found, struct kernel_error *error)
{
	for (int i = 0; i < N_FEATURES; i++) {
		if (!features__table[i].required || found[i])
			continue;
		snprintf(error->text, sizeof(error->text), "this kernel has no %s (Linux %s)",
			 features__table[i].name, features__table[i].since);
		snprintf(error->hint, sizeof(error->hint),
			 "see `pikos-trace --features`; Debian's kernels from 5.10 on have it");
		return -ENOSYS;
	}
	if (!config->memory || features__knows_rss())
		return 0;
	snprintf(error->text, sizeof(error->text),
		 "this kernel counts RSS in a way that is not known");
	snprintf(error->hint, sizeof(error->hint), "use a monitor without memory");
	return -ENOSYS;
}

static int load(struct kernel *kernel, const struct kernel_config *config, const bool *found)
{
	int err;

	kernel->bpf = pikos_bpf__open();
	if (!kernel->bpf)
		return -errno;
	kernel->n_cpus = libbpf_num_possible_cpus();
	if (kernel->n_cpus < 0)
		return kernel->n_cpus;
	if (kernel->n_cpus > WIRE_MAX_CPUS)
		return -E2BIG;
	kernel->ring_size = kernel->perf_size = config->buffer_size;
	set_knobs(kernel, config, found);
	choose_programs(kernel, config, found);
	err = choose_links(kernel, found);
	if (!err)
		err = make_rings(kernel);
	if (!err)
		err = size_maps(kernel, config);
	if (!err)
		err = pikos_bpf__load(kernel->bpf);
	/* All programs of the host are, since Linux 5.8: some 20 ns for each run. */
	if (!err && config->overhead)
		kernel->timing = bpf_enable_stats(BPF_STATS_RUN_TIME);
	return err ? err : fill(kernel, config);
}

struct kernel *kernel__new(const struct kernel_config *config, const bool found[N_FEATURES],
			   struct kernel_error *error)
{
	struct kernel *kernel = calloc(1, sizeof(*kernel));
	int err = kernel ? check(config, found, error) : -ENOMEM;

	libbpf_set_print(keep_words);
	*last_words = '\0';
	if (kernel)
		kernel->timing = -1;
	if (!err) {
		err = load(kernel, config, found);
		if (err)
			snprintf(error->text, sizeof(error->text), "%s", last_words);
	}
	if (!err)
		return kernel;
	kernel__free(kernel);
	errno = -err;
	return NULL;
}

void kernel__free(struct kernel *kernel)
{
	if (!kernel)
		return;
	if (kernel->targets)
		munmap(kernel->targets, WIRE_MAX_TARGETS * sizeof(struct wire_target));
	if (kernel->rules)
		munmap(kernel->rules, WIRE_MAX_RULES * sizeof(struct wire_rule));
	for (int i = 0; kernel->rings && i < kernel->n_cpus; i++)
		if (kernel->rings[i] >= 0)
			close(kernel->rings[i]);
	free(kernel->rings);
	if (kernel->timing >= 0)
		close(kernel->timing);
	mappings__free(kernel);
	pikos_bpf__destroy(kernel->bpf);
	free(kernel);
}

int kernel__n_cpus(const struct kernel *kernel)
{
	return kernel->n_cpus;
}

const int *kernel__ring_fds(const struct kernel *kernel)
{
	return kernel->rings;
}

uint32_t kernel__ring_size(const struct kernel *kernel)
{
	return kernel->ring_size;
}

int kernel__perf_fd(const struct kernel *kernel)
{
	if (!kernel->bpf->rodata->emit_to_perf)
		return -1;
	return bpf_map__fd(kernel->bpf->maps.perf_buffers);
}

uint32_t kernel__perf_size(const struct kernel *kernel)
{
	return kernel->perf_size;
}

int kernel__alerts_fd(const struct kernel *kernel)
{
	return bpf_map__fd(kernel->bpf->maps.alerts);
}

struct bpf_program *kernel__program(const struct kernel *kernel, enum kernel_program program)
{
	const struct pikos_bpf *bpf = kernel->bpf;
	bool in_detail = bpf->rodata->emit_details;
	struct bpf_program *const programs[N_KERNEL_PROGRAMS] = {
		[KERNEL_ON_ENTRY] = in_detail ? bpf->progs.on_entry_in_detail : bpf->progs.on_entry,
		[KERNEL_ON_RETURN] =
			in_detail ? bpf->progs.on_return_in_detail : bpf->progs.on_return,
		[KERNEL_ON_LINE] = bpf->progs.on_line,
		[KERNEL_ON_RETURN_OF_SCRIPT] = bpf->progs.on_return_of_script,
		[KERNEL_ON_NOTHING] = bpf->progs.on_nothing,
		[KERNEL_ON_REGION_ENTER] = bpf->progs.on_region_enter,
		[KERNEL_ON_REGION_LEAVE] = bpf->progs.on_region_leave,
		[KERNEL_ON_BATCH] = bpf->progs.on_batch,
		[KERNEL_ON_ALLOCATE] = bpf->progs.on_allocate,
		[KERNEL_ON_ALLOCATED] = bpf->progs.on_allocated,
		[KERNEL_ON_FREE] = bpf->progs.on_free,
		[KERNEL_ON_START] = bpf->progs.on_start,
	};

	return programs[program];
}

int kernel__attach_processes(struct kernel *kernel)
{
	struct pikos_bpf *bpf = kernel->bpf;

	bpf->links.on_exec = bpf_program__attach(bpf->progs.on_exec);
	if (!bpf->links.on_exec)
		return -errno;
	bpf->links.on_fork = bpf_program__attach(bpf->progs.on_fork);
	if (!bpf->links.on_fork)
		return -errno;
	bpf->links.on_thread_exit = bpf_program__attach(bpf->progs.on_thread_exit);
	if (!bpf->links.on_thread_exit)
		return -errno;
	if (!bpf_program__autoload(bpf->progs.on_signal))
		return 0;
	bpf->links.on_signal = bpf_program__attach(bpf->progs.on_signal);
	return bpf->links.on_signal ? 0 : -errno;
}

struct wire_target *kernel__targets(const struct kernel *kernel)
{
	return kernel->targets;
}

int kernel__add_target(struct kernel *kernel, uint32_t index, pid_t tgid)
{
	uint32_t key = tgid;

	if (bpf_map_update_elem(bpf_map__fd(kernel->bpf->maps.tgids), &key, &index, BPF_ANY))
		return -errno;
	return 0;
}

int kernel__set_layout(struct kernel *kernel, uint32_t target, const struct wire_layout *layout)
{
	if (bpf_map_update_elem(bpf_map__fd(kernel->bpf->maps.frame_layouts), &target, layout,
				BPF_ANY))
		return -errno;
	return 0;
}

int kernel__set_site(struct kernel *kernel, uint32_t index, const struct wire_site *site)
{
	if (bpf_map_update_elem(bpf_map__fd(kernel->bpf->maps.sites), &index, site, BPF_ANY))
		return -errno;
	return 0;
}

int kernel__set_site_address(struct kernel *kernel, pid_t tgid, uint64_t address, uint32_t index)
{
	struct {
		uint64_t ip, tgid;
	} key = {address, tgid};

	if (bpf_map_update_elem(bpf_map__fd(kernel->bpf->maps.site_addresses), &key, &index,
				BPF_ANY))
		return -errno;
	return 0;
}

bool kernel__has_uprobe_multi(const struct kernel *kernel)
{
	return kernel->has_uprobe_multi;
}

bool kernel__has_cookies(const struct kernel *kernel)
{
	return kernel->has_cookies;
}

int kernel__set_rules(struct kernel *kernel, const struct wire_rule *rules, int n)
{
	if (n > WIRE_MAX_RULES)
		return -E2BIG;
	if (n)
		memcpy(kernel->rules, rules, n * sizeof(*rules));
	kernel->bpf->bss->control.n_rules = n;
	return 0;
}

int kernel__rules(const struct kernel *kernel, const struct wire_rule **rules)
{
	*rules = kernel->rules;
	return kernel->bpf->bss->control.n_rules;
}

struct kernel_hashes kernel__hashes(const struct kernel *kernel)
{
	const struct pikos_bpf__rodata *knobs = kernel->bpf->rodata;

	return (struct kernel_hashes){knobs->hash_seed, knobs->module_name_hash,
				      knobs->window_file_hash};
}

uint32_t kernel__next_generation(struct kernel *kernel)
{
	/* In this order: no id up to the one that is read can be of the new generation. */
	uint32_t last_old = *(volatile uint32_t *)&kernel->bpf->bss->control.next_code;

	__sync_synchronize();
	kernel->bpf->bss->control.generation++;
	return last_old;
}

void kernel__set_keeper(struct kernel *kernel, pid_t tgid)
{
	kernel->bpf->bss->control.keeper_tgid = tgid;
}

void kernel__end_pauses(struct kernel *kernel)
{
	kernel->bpf->bss->control.no_pauses = 1;
}

struct bpf_program *kernel__memory_program(const struct kernel *kernel,
					   enum kernel_memory_program program)
{
	struct bpf_program *const programs[N_KERNEL_MEMORY_PROGRAMS] = {
		[KERNEL_ON_RSS_STAT] = kernel->bpf->progs.on_rss_stat,
		[KERNEL_ON_MMAP_UNLOCKED] = kernel->bpf->progs.on_mmap_unlocked,
		[KERNEL_ON_MMAP_UNLOCKED_AGAIN] = kernel->bpf->progs.on_mmap_unlocked_again,
		[KERNEL_ON_SYS_EXIT] = kernel->bpf->progs.on_sys_exit,
		[KERNEL_ON_SYS_EXIT_AGAIN] = kernel->bpf->progs.on_sys_exit_again,
	};

	return programs[program];
}

int kernel__memory_pages(const struct kernel *kernel)
{
	return bpf_map__fd(kernel->bpf->maps.memory_pages);
}

void kernel__adopt_memory(const struct kernel *kernel, pid_t tgid)
{
	kernel->bpf->bss->memory_control.adopts = tgid;
}

/* libbpf's own copy of the struct may be older than the kernel's. */
struct info_with_misses {
	struct bpf_prog_info info;
	unsigned char later[256];
};

static struct bpf_prog_info info_of(const struct bpf_program *program)
{
	struct info_with_misses info = {0};
	uint32_t size = sizeof(info);

	if (!bpf_program__autoload(program) ||
	    bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size))
		return (struct bpf_prog_info){0};
	return info.info;
}

uint64_t kernel__missed_by(const struct bpf_program *program)
{
	return info_of(program).recursion_misses;
}

bool kernel__is_timed(const struct kernel *kernel)
{
	return kernel->timing >= 0;
}

int kernel__costs(const struct kernel *kernel, struct kernel_cost costs[KERNEL_MAX_COSTS])
{
	struct bpf_program *program;
	int n = 0;

	bpf_object__for_each_program(program, kernel->bpf->obj)
	{
		struct bpf_prog_info info = info_of(program);

		if (!info.run_cnt || n == KERNEL_MAX_COSTS)
			continue;
		costs[n] = (struct kernel_cost){.count = info.run_cnt, .ns = info.run_time_ns};
		snprintf(costs[n++].name, sizeof(costs[0].name), "%s", bpf_program__name(program));
	}
	return n;
}

uint64_t kernel__missed(const struct kernel *kernel)
{
	uint64_t missed = 0;

	for (int i = 0; i <= KERNEL_ON_LINE; i++)
		missed += kernel__missed_by(kernel__program(kernel, i));
	for (int i = KERNEL_ON_ALLOCATE; i <= KERNEL_ON_FREE; i++)
		missed += kernel__missed_by(kernel__program(kernel, i));
	return missed + mappings__missed(kernel);
}
