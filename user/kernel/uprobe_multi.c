// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/uprobe_multi.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>

#define RETURNS 1 /* BPF_F_UPROBE_MULTI_RETURN */

/* union bpf_attr of BPF_LINK_CREATE: the system's header may be older than 6.6. */
struct link_request {
	__u32 program, target, attach_type, flags;
	__aligned_u64 path, offsets, semaphores, cookies;
	__u32 n, probe_flags, pid, unused;
};

int uprobe_multi__attach(int program, const struct uprobe_multi *probes)
{
	struct link_request request = {
		.program = program,
		.attach_type = UPROBE_MULTI_ATTACH_TYPE,
		.path = (uintptr_t)probes->path,
		.offsets = (uintptr_t)probes->offsets,
		.cookies = (uintptr_t)probes->cookies,
		.n = probes->n,
		.probe_flags = probes->returns ? RETURNS : 0,
		.pid = probes->pid,
	};
	int fd = (int)syscall(SYS_bpf, BPF_LINK_CREATE, &request, sizeof(request));

	return fd < 0 ? -errno : fd;
}

static int error_of(int program, pid_t pid)
{
	const uint64_t offset = 0;
	const struct uprobe_multi probes = {.path = "/", .offsets = &offset, .n = 1, .pid = pid};
	int fd = uprobe_multi__attach(program, &probes);

	if (fd >= 0)
		close(fd);
	return fd;
}

/* As libbpf tells: a directory is a bad file, unless the pid is looked at first and is none. */
bool uprobe_multi__is_there(void)
{
	const struct bpf_insn code[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = UPROBE_MULTI_ATTACH_TYPE);
	int program = bpf_prog_load(BPF_PROG_TYPE_KPROBE, NULL, "GPL", code,
				    sizeof(code) / sizeof(*code), &options);
	bool is_there;

	if (program < 0)
		return false;
	is_there = error_of(program, 0) == -EBADF && error_of(program, -1) == -EINVAL;
	close(program);
	return is_there;
}
