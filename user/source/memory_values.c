// SPDX-License-Identifier: BSD-3-Clause
#include "source/memory_values.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

struct memory_values {
	struct kernel *kernel;
	struct bpf_link *links[N_KERNEL_MEMORY_PROGRAMS];
};

struct memory_values *memory_values__new(struct kernel *kernel)
{
	struct memory_values *values = calloc(1, sizeof(*values));
	int err = 0;

	if (!values)
		return NULL;
	values->kernel = kernel;
	for (int i = 0; i < N_KERNEL_MEMORY_PROGRAMS && !err; i++) {
		struct bpf_program *program = kernel__memory_program(kernel, i);

		if (!bpf_program__autoload(program))
			continue;
		values->links[i] = bpf_program__attach(program);
		err = values->links[i] ? 0 : -errno;
	}
	if (!err)
		return values;
	memory_values__free(values);
	errno = -err;
	return NULL;
}

void memory_values__free(struct memory_values *values)
{
	if (!values)
		return;
	for (int i = 0; i < N_KERNEL_MEMORY_PROGRAMS; i++)
		bpf_link__destroy(values->links[i]);
	free(values);
}

/* Frozen: whoever has the descriptor can only read it. (One for reading cannot be mapped at all.)
 */
int memory_values__open(struct memory_values *values, uint32_t target, pid_t tgid)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int pages = kernel__memory_pages(values->kernel), err;
	int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "pikos_values", sizeof(__u32),
				 sizeof(struct wire_values), 1, &opts);

	if (map < 0)
		return -errno;
	if (bpf_map_freeze(map) || bpf_map_update_elem(pages, &target, &map, BPF_ANY)) {
		err = -errno;
		close(map);
		return err;
	}
	kernel__adopt_memory(values->kernel, tgid);
	return map;
}

void memory_values__opened(struct memory_values *values, int fd)
{
	if (fd < 0)
		return;
	kernel__adopt_memory(values->kernel, 0);
	close(fd);
}

void memory_values__close(struct memory_values *values, uint32_t target)
{
	if (values)
		bpf_map_delete_elem(kernel__memory_pages(values->kernel), &target);
}

/* Of a program and its second: what one has missed the other may have done. */
static uint64_t missed_by_both(const struct kernel *kernel, enum kernel_memory_program first,
			       enum kernel_memory_program again)
{
	const struct bpf_program *second = kernel__memory_program(kernel, again);
	uint64_t missed = kernel__missed_by(kernel__memory_program(kernel, first));
	uint64_t too = bpf_program__autoload(second) ? kernel__missed_by(second) : missed;

	return missed < too ? missed : too;
}

uint64_t memory_values__missed(const struct memory_values *values)
{
	if (!values)
		return 0;
	return kernel__missed_by(kernel__memory_program(values->kernel, KERNEL_ON_RSS_STAT)) +
	       missed_by_both(values->kernel, KERNEL_ON_MMAP_UNLOCKED,
			      KERNEL_ON_MMAP_UNLOCKED_AGAIN) +
	       missed_by_both(values->kernel, KERNEL_ON_SYS_EXIT, KERNEL_ON_SYS_EXIT_AGAIN);
}
