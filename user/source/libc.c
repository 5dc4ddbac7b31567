// SPDX-License-Identifier: BSD-3-Clause
#include "source/libc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "errors.h"
#include "kernel/uprobe_multi.h"
#include "process/maps.h"
#include "source/elf_notes.h"
#include "source/uprobe.h"

/* A uprobe on this steps over it in 14.9 us; the byte behind it begins the next instruction. */
static const unsigned char endbr64[4] = {0xf3, 0x0f, 0x1e, 0xfa};

/* In the order of struct libc.places. */
static const struct {
	const char *name;
	enum wire_libc_call call;
	bool needed;
} functions[] = {
	{"malloc", WIRE_LIBC_MALLOC, true},
	{"calloc", WIRE_LIBC_CALLOC, true},
	{"realloc", WIRE_LIBC_REALLOC, true},
	{"free", WIRE_LIBC_FREE, true},
	{"memalign", WIRE_LIBC_ALIGNED, false},
	{"aligned_alloc", WIRE_LIBC_ALIGNED, false}, /* may be the same as memalign */
	{"posix_memalign", WIRE_LIBC_POSIX_MEMALIGN, false},
};

#define N_ORDER	    3 /* of programs that are attached */
#define N_FUNCTIONS ((int)(sizeof(functions) / sizeof(*functions)))

struct libc {
	struct kernel *kernel;
	uint32_t target;
	pid_t pid;
	int file;
	char path[64];	/* of the file, by our own descriptor */
	char name[256]; /* as the target has it, for messages */
	struct elf_notes *elf;
	__u64 bias;
	__u64 offsets[N_FUNCTIONS]; /* in the file; 0: none */
	struct bpf_link *links[2 * N_FUNCTIONS];
	int n_links;
	int together[N_ORDER]; /* in place of those: uprobe_multi.h */
	int n_together;
};

static int refuse(struct interpreter_reason *why, int err, const char *text)
{
	memset(why, 0, sizeof(*why));
	why->problem = INTERPRETER_UNREADABLE;
	if (err == -EACCES || err == -EPERM) {
		why->problem = INTERPRETER_FORBIDDEN;
		snprintf(why->text, sizeof(why->text), "attaching to malloc needs CAP_SYS_ADMIN");
		snprintf(why->next_step, sizeof(why->next_step), "run it as root");
	} else if (err == -ESRCH) {
		why->problem = INTERPRETER_GONE;
		snprintf(why->text, sizeof(why->text), "the process has ended");
	} else {
		snprintf(why->text, sizeof(why->text), "%s", text);
		snprintf(why->next_step, sizeof(why->next_step),
			 "--source agent loads our agent into it, which hooks Python's allocators");
	}
	return err;
}

/* ------------------------------------------------------------------ which file */

/* How likely a file is the one whose malloc is called; 0: it is not. */
static int rank(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	if (strstr(name, "malloc") && strstr(name, ".so"))
		return 2; /* jemalloc, tcmalloc, mimalloc: in front of libc's */
	return !strncmp(name, "libc.so", 7) || !strncmp(name, "libc-", 5) ||
	       !strncmp(name, "libc.musl", 9) || !strncmp(name, "ld-musl", 7);
}

struct search {
	struct libc *libc;
	int best;
	char unfit[256]; /* one that should have had it; "": there was none */
};

static bool is_code(const struct elf_notes *elf, __u64 addr)
{
	const struct elf_header *header = elf_notes__header(elf);

	for (int i = 0; i < header->n_segments; i++) {
		const struct elf_segment *segment = &header->segments[i];

		if (segment->executable && addr >= segment->addr &&
		    addr - segment->addr < segment->file_size)
			return true;
	}
	return false;
}

static int find_symbols(struct libc *libc)
{
	struct elf_symbol symbols[N_FUNCTIONS];
	int n;

	for (int i = 0; i < N_FUNCTIONS; i++)
		symbols[i] = (struct elf_symbol){.name = functions[i].name};
	n = elf_notes__find_symbols(libc->elf, symbols, N_FUNCTIONS);
	for (int i = 0; i < N_FUNCTIONS && n >= 0; i++) {
		unsigned char bytes[sizeof(endbr64)];
		__u64 addr = symbols[i].addr;

		libc->offsets[i] = 0;
		if (addr && !elf_notes__read(libc->elf, addr, bytes, sizeof(bytes)) &&
		    !memcmp(bytes, endbr64, sizeof(bytes)))
			addr += sizeof(endbr64);
		if (addr && (!is_code(libc->elf, addr) ||
			     elf_notes__file_offset(libc->elf, addr, 1, &libc->offsets[i])))
			addr = 0;
		if (!addr && functions[i].needed)
			return -ENOENT;
	}
	return n < 0 ? n : 0;
}

static void forget_file(struct libc *libc)
{
	elf_notes__free(libc->elf);
	if (libc->file >= 0)
		close(libc->file);
	libc->elf = NULL;
	libc->file = -1;
}

static int look_at(const struct mapping *map, void *arg)
{
	struct search *search = arg;
	struct libc *libc = search->libc, found = *libc;
	int likely = rank(map->path);

	if (likely <= search->best)
		return 0;
	found.file = maps__open(libc->pid, map);
	if (found.file < 0)
		return found.file == -EACCES || found.file == -EPERM ? found.file : 0;
	found.elf = elf_notes__new(found.file, NULL);
	if (!found.elf || find_symbols(&found) ||
	    elf_notes__load_bias(found.elf, map->start, map->offset, true, &found.bias)) {
		forget_file(&found);
		snprintf(search->unfit, sizeof(search->unfit), "%s", map->path);
		return 0;
	}
	forget_file(libc);
	snprintf(found.path, sizeof(found.path), "/proc/self/fd/%d", found.file);
	snprintf(found.name, sizeof(found.name), "%s", map->path);
	*libc = found;
	search->best = likely;
	return 0;
}

/* ------------------------------------------------------------------ attach */

static bool is_alias(const struct libc *libc, int function)
{
	for (int i = 0; i < function; i++)
		if (libc->offsets[i] == libc->offsets[function])
			return true;
	return false;
}

/* The functions that have this program at their entry or return. @return how many */
static uint32_t choose(const struct libc *libc, enum kernel_program program, uint64_t *offsets,
		       uint64_t *cookies)
{
	uint32_t n = 0;

	for (int i = 0; i < N_FUNCTIONS; i++) {
		bool frees = functions[i].call == WIRE_LIBC_FREE;

		if (!libc->offsets[i] || is_alias(libc, i) || frees != (program == KERNEL_ON_FREE))
			continue;
		offsets[n] = libc->offsets[i];
		cookies[n++] = libc->target | (uint64_t)functions[i].call << 16;
	}
	return n;
}

/* By one link, which goes at once. */
static int attach_together(struct libc *libc, enum kernel_program program, bool returns)
{
	uint64_t offsets[N_FUNCTIONS], cookies[N_FUNCTIONS];
	const struct uprobe_multi probes = {
		.path = libc->path,
		.offsets = offsets,
		.cookies = cookies,
		.n = choose(libc, program, offsets, cookies),
		.returns = returns,
		.pid = libc->pid,
	};
	int fd = uprobe_multi__attach(bpf_program__fd(kernel__program(libc->kernel, program)),
				      &probes);

	if (fd < 0)
		return fd;
	libc->together[libc->n_together++] = fd;
	return 0;
}

static int name_site(const struct libc *libc, uint64_t offset, uint64_t cookie)
{
	const struct elf_header *header = elf_notes__header(libc->elf);

	for (int i = 0; i < header->n_segments; i++) {
		const struct elf_segment *segment = &header->segments[i];

		if (segment->executable && offset >= segment->offset &&
		    offset - segment->offset < segment->file_size)
			return kernel__set_site_address(
				libc->kernel, libc->pid,
				offset - segment->offset + segment->addr + libc->bias, cookie);
	}
	return -ENOENT;
}

static int attach_one_by_one(struct libc *libc, enum kernel_program program, bool returns)
{
	uint64_t offsets[N_FUNCTIONS], cookies[N_FUNCTIONS];
	uint32_t n = choose(libc, program, offsets, cookies);
	bool has_cookies = kernel__has_cookies(libc->kernel);

	for (uint32_t i = 0; i < n; i++) {
		LIBBPF_OPTS(bpf_uprobe_opts, opts, .retprobe = returns,
			    .bpf_cookie = has_cookies ? cookies[i] : 0);
		int err = has_cookies ? 0 : name_site(libc, offsets[i], cookies[i]);
		struct bpf_link *link;

		if (err)
			return err;
		link = bpf_program__attach_uprobe_opts(kernel__program(libc->kernel, program),
						       libc->pid, libc->path, offsets[i], &opts);
		if (!link)
			return -errno;
		libc->links[libc->n_links++] = link;
	}
	return 0;
}

/* What frees comes first and returns before entries: nothing is half seen for long. */
static int attach(struct libc *libc)
{
	static const struct {
		enum kernel_program program;
		bool returns;
	} order[] = {
		{KERNEL_ON_FREE, false}, {KERNEL_ON_ALLOCATED, true}, {KERNEL_ON_ALLOCATE, false}};
	bool together = kernel__has_uprobe_multi(libc->kernel);
	int err = 0;

	for (int i = 0; i < N_ORDER && !err; i++)
		err = (together ? attach_together : attach_one_by_one)(libc, order[i].program,
								       order[i].returns);
	return err;
}

struct libc *libc__attach(struct kernel *kernel, uint32_t target, pid_t pid,
			  struct interpreter_reason *why)
{
	struct libc *libc = calloc(1, sizeof(*libc));
	struct search search = {.libc = libc};
	char text[512];
	int err;

	if (!libc)
		return NULL;
	*libc = (struct libc){.kernel = kernel, .target = target, .pid = pid, .file = -1};
	err = maps__each(pid, look_at, &search);
	snprintf(text, sizeof(text), "its %.160s does not tell where malloc is", search.unfit);
	if (!err && !search.best)
		err = refuse(why, -ENOTSUP,
			     *search.unfit ? text
					   : "no libc is mapped into it: it is a static program");
	else if (err)
		err = refuse(why, err, error_words(err));
	if (!err) {
		err = attach(libc);
		snprintf(text, sizeof(text), "attaching to malloc of %.160s: %s", libc->name,
			 error_words(err));
		if (err)
			refuse(why, err, text);
	}
	if (!err)
		return libc;
	libc__free(libc);
	errno = -err;
	return NULL;
}

void libc__free(struct libc *libc)
{
	if (!libc)
		return;
	for (int i = libc->n_together; i-- > 0;) /* entries before their returns */
		close(libc->together[i]);
	for (int i = libc->n_links; i-- > 0;)
		bpf_link__destroy(libc->links[i]);
	forget_file(libc);
	free(libc);
}

int libc__sweep(const struct libc *libc)
{
	int err = 0;

	for (int i = 0; libc && i < N_FUNCTIONS; i++) {
		int failed = libc->offsets[i] && !is_alias(libc, i)
				     ? uprobe__sweep(libc->path, libc->offsets[i], 0)
				     : 0;

		err = failed ? failed : err;
	}
	return err;
}
