// SPDX-License-Identifier: BSD-3-Clause
#define _GNU_SOURCE 1

#include "symbols/native_helper.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "process/packet.h"

#define NOBODY	 65534
#define MAX_DATA (2ull << 30) /* bytes of the helper's own memory */

/* ------------------------------------------------------------------ libbcc, as of 0.12 on */

struct bcc_symbol {
	const char *name;
	const char *demangle_name; /* to be freed by bcc_symbol_free_demangle_name */
	const char *module;
	uint64_t offset;
};

struct bcc_symbol_option {
	int use_debug_file, check_debug_file_crc, lazy_symbolize;
	uint32_t use_symbol_type;
};

static struct {
	void *(*symcache_new)(int pid, struct bcc_symbol_option *option);
	int (*symcache_resolve)(void *cache, uint64_t address, struct bcc_symbol *symbol);
	void (*free_demangle_name)(struct bcc_symbol *symbol);
} bcc;

static int load_bcc(struct native_hello *hello)
{
	const struct {
		const char *name;
		void *place;
	} functions[] = {
		{"bcc_symcache_new", &bcc.symcache_new},
		{"bcc_symcache_resolve", &bcc.symcache_resolve},
		{"bcc_symbol_free_demangle_name", &bcc.free_demangle_name},
	};
	void *library = dlopen("libbcc.so.0", RTLD_NOW | RTLD_LOCAL);

	for (size_t i = 0; library && i < sizeof(functions) / sizeof(*functions); i++) {
		void *found = dlsym(library, functions[i].name);

		memcpy(functions[i].place, &found, sizeof(found));
		if (!found)
			library = NULL;
	}
	if (library)
		return 0;
	snprintf(hello->what, sizeof(hello->what), "%s", dlerror());
	return -ENOENT;
}

/* ------------------------------------------------------------------ the files of targets */

struct replica { /* of a file */
	bool known;
	void *cache; /* bcc_symcache of ourselves while it was mapped; NULL: has no symbols */
	uint64_t start, end, offset; /* as it was mapped here */
};

static struct replica replicas[NATIVE_MAX_LIBRARIES];

/* @return a descriptor of memory with the file in it, or -errno */
static int copy_file(int file)
{
	struct stat st;
	int copy, err = 0;

	if (fstat(file, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > NATIVE_MAX_FILE)
		return -EFBIG;
	copy = memfd_create("pikos-native", MFD_CLOEXEC);
	if (copy < 0)
		return -errno;
	for (off_t at = 0; !err && at < st.st_size;) {
		ssize_t n = sendfile(copy, file, &at, (size_t)(st.st_size - at));

		if (n <= 0)
			err = n ? -errno : -EIO; /* it has become shorter */
	}
	if (err) {
		close(copy);
		return err;
	}
	return copy;
}

static bool is_fixed(int copy)
{
	Elf64_Ehdr header; /* e_type lies at the same place in both classes */

	return pread(copy, &header, sizeof(header), 0) == sizeof(header) &&
	       header.e_type == ET_EXEC;
}

/* A program that was linked for one address has its symbols there. */
static int map_copy(int copy, const struct native_request *request, struct replica *replica)
{
	uint64_t len = request->end - request->start;
	bool fixed = is_fixed(copy);
	void *mapped;

	if (request->end <= request->start || len > NATIVE_MAX_FILE)
		return -EINVAL;
	mapped =
		mmap(fixed ? (void *)(uintptr_t)request->start : NULL, len, PROT_READ | PROT_EXEC,
		     MAP_PRIVATE | (fixed ? MAP_FIXED_NOREPLACE : 0), copy, (off_t)request->offset);
	if (mapped == MAP_FAILED)
		return -errno;
	replica->start = (uint64_t)(uintptr_t)mapped;
	replica->end = replica->start + len;
	replica->offset = request->offset;
	return 0;
}

static int resolve(const struct replica *replica, const struct native_request *request,
		   struct native_reply *reply)
{
	struct bcc_symbol symbol = {0};
	uint64_t address = request->address - request->start + request->offset - replica->offset +
			   replica->start;

	if (!replica->cache || address < replica->start || address >= replica->end)
		return -ENOENT;
	if (bcc.symcache_resolve(replica->cache, address, &symbol) || !symbol.name)
		return -ENOENT;
	/* What it finds in nobody knows whose /tmp/perf-PID.map is none of a file's symbols. */
	if (!symbol.module || !strstr(symbol.module, ".map")) {
		const char *name = symbol.demangle_name ? symbol.demangle_name : symbol.name;

		snprintf(reply->symbol, sizeof(reply->symbol), "%s", name);
		reply->offset = symbol.offset;
	}
	bcc.free_demangle_name(&symbol);
	return reply->symbol[0] ? 0 : -ENOENT;
}

static int learn(struct replica *replica, const struct native_request *request, int file,
		 struct native_reply *reply)
{
	struct bcc_symbol_option option = {
		.use_debug_file = 1,
		.check_debug_file_crc = 1,
		.use_symbol_type = 1 << STT_FUNC | 1 << STT_GNU_IFUNC,
	};
	int copy = copy_file(file), err;

	replica->known = true;
	if (copy < 0)
		return copy;
	err = map_copy(copy, request, replica);
	if (!err) {
		replica->cache = bcc.symcache_new(getpid(), &option);
		err = resolve(replica, request, reply);
		munmap((void *)(uintptr_t)replica->start, replica->end - replica->start);
	}
	close(copy);
	return err;
}

/* ------------------------------------------------------------------ the process */

static int answer(const struct native_request *request, int file, struct native_reply *reply)
{
	struct replica *replica;

	if (request->library >= NATIVE_MAX_LIBRARIES || request->address < request->start ||
	    request->address >= request->end)
		return -EINVAL;
	replica = &replicas[request->library];
	if (replica->known)
		return resolve(replica, request, reply);
	return file >= 0 ? learn(replica, request, file, reply) : -ENOENT;
}

static void limit(int resource, rlim_t most)
{
	struct rlimit limits = {most, most};

	setrlimit(resource, &limits);
}

/* glibc's own would ask other threads, which a forked process does not have. */
static int drop_rights(struct native_hello *hello)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[2] = {0};

	if (getuid() != NOBODY &&
	    (syscall(SYS_setgroups, 0, NULL) || syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY) ||
	     syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY))) {
		snprintf(hello->what, sizeof(hello->what), "it cannot become user nobody");
		return -errno;
	}
	if (syscall(SYS_capset, &header, none) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return -errno;
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_NPROC, 0);
#ifndef __SANITIZE_ADDRESS__ /* its shadow is larger */
	limit(RLIMIT_DATA, MAX_DATA);
#endif
	return 0;
}

static int keep_one(int *socket)
{
	int kept = fcntl(*socket, F_DUPFD_CLOEXEC, 3);

	if (kept < 0 || dup2(kept, 3) < 0)
		return -errno;
	*socket = 3;
	/* Standard output is the recording, perhaps: whoever reads it waits for its end. */
	return syscall(SYS_close_range, 0, 2, 0) || syscall(SYS_close_range, 4, ~0U, 0) ? -errno
											: 0;
}

_Noreturn static void serve(int socket)
{
	struct native_hello hello = {0};
	struct native_request request;
	int file;

	prctl(PR_SET_NAME, "pikos-native");
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGALRM, SIG_DFL);
	hello.err = load_bcc(&hello);
	if (!hello.err)
		hello.err = keep_one(&socket);
	if (!hello.err)
		hello.err = drop_rights(&hello);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* after the ids, which reset it */
	if (packet__send(socket, &hello, sizeof(hello), -1) || hello.err)
		_exit(1);
	while (!packet__receive(socket, &request, sizeof(request), &file)) {
		struct native_reply reply = {0};

		alarm(NATIVE_TIMEOUT_S); /* a file that keeps libbcc busy for ever */
		reply.err = answer(&request, file, &reply);
		alarm(0);
		if (file >= 0)
			close(file);
		if (packet__send(socket, &reply, sizeof(reply), -1))
			break;
	}
	_exit(0);
}

pid_t native_helper__start(int *socket)
{
	int ends[2], err;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return -errno;
	pid = fork();
	if (!pid) {
		close(ends[0]);
		serve(ends[1]);
	}
	err = -errno;
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return err;
	}
	*socket = ends[0];
	return pid;
}
