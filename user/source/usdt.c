// SPDX-License-Identifier: BSD-3-Clause
#include "source/usdt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "errors.h"
#include "process/maps.h"
#include "source/frame_layout.h"
#include "source/uprobe.h"

#define MAX_LINKS   (USDT_SITES_PER_TARGET + 1)
#define FIRST_BYTES 16 /* at the entry point: it was stopped at its first instruction */

struct point { /* where a link is: enough to put another one there */
	__u64 offset;
	__u64 semaphore;
	enum kernel_program program;
};

struct usdt {
	struct usdt_request request;
	const struct interpreter_info *info;
	struct bpf_link *links[MAX_LINKS];
	struct point points[MAX_LINKS];
	int n_links;
	int n_sites;
	char path[64]; /* of the interpreter's file, by our own descriptor */
};

unsigned int usdt__needs(bool lines, bool script_end)
{
	if (!lines)
		return CPYTHON_FUNCTION_ENTRY | CPYTHON_FUNCTION_RETURN;
	return CPYTHON_LINE | (script_end ? CPYTHON_FUNCTION_RETURN : 0);
}

static struct bpf_link *attach_at(const struct usdt *usdt, const struct point *point, pid_t pid,
				  __u64 cookie)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .ref_ctr_offset = point->semaphore,
		    .bpf_cookie = kernel__has_cookies(usdt->request.kernel) ? cookie : 0);

	return bpf_program__attach_uprobe_opts(
		kernel__program(usdt->request.kernel, point->program), pid, usdt->path,
		point->offset, &opts);
}

static int add_link(struct usdt *usdt, const struct point *point, __u64 cookie)
{
	struct bpf_link *link;

	if (usdt->n_links == MAX_LINKS)
		return -E2BIG;
	link = attach_at(usdt, point, usdt->request.pid, cookie);
	if (!link)
		return -errno;
	usdt->points[usdt->n_links] = *point;
	usdt->links[usdt->n_links++] = link;
	return 0;
}

static void explain(struct interpreter_reason *why, int err, const char *what)
{
	why->problem = INTERPRETER_UNREADABLE;
	why->next_step[0] = '\0';
	if (err == -EACCES || err == -EPERM) {
		why->problem = INTERPRETER_FORBIDDEN;
		snprintf(why->text, sizeof(why->text), "attaching to %s needs CAP_SYS_ADMIN", what);
		snprintf(why->next_step, sizeof(why->next_step), "run it as root");
	} else if (err == -ESRCH) {
		why->problem = INTERPRETER_GONE;
		snprintf(why->text, sizeof(why->text), "the process has ended");
	} else if (err == -EINVAL) {
		snprintf(why->text, sizeof(why->text), "attaching to %s: %s", what,
			 error_words(err));
		snprintf(why->next_step, sizeof(why->next_step),
			 "another tracer may hold a plain uprobe at the same place: end it");
	} else {
		snprintf(why->text, sizeof(why->text), "attaching to %s: %s", what,
			 error_words(err));
	}
}

/* ------------------------------------------------------------------ sites */

static int describe_site(struct usdt *usdt, const struct usdt_probe *probe, __u32 index)
{
	const struct cpython_version *version = usdt->info->version;
	struct wire_site site = {.target = usdt->request.target};
	struct wire_layout layout;
	int err = 0;

	site.file = probe->args[0];
	site.name = probe->args[1];
	site.line = probe->args[2];
	if (version->drop_generator_creation_entry) {
		site.flags |= WIRE_SITE_GENERATORS;
		err = frame_layout__of(usdt->info, &layout, NULL);
		if (!err)
			err = kernel__set_layout(usdt->request.kernel, site.target, &layout);
	}
	if (!err)
		err = kernel__set_site(usdt->request.kernel, index, &site);
	if (!err && !kernel__has_cookies(usdt->request.kernel))
		err = kernel__set_site_address(usdt->request.kernel, usdt->request.pid,
					       probe->addr + usdt->info->load_bias, index);
	return err;
}

static int attach_probe(struct usdt *usdt, enum cpython_probe bit, enum kernel_program program,
			struct interpreter_reason *why)
{
	const char *name = cpython__probe_name(bit);
	const struct usdt_probe *probe = NULL;
	int err = 0;

	while (!err && (probe = elf_notes__next(usdt->info->elf, name, probe))) {
		__u32 index = usdt->request.target * USDT_SITES_PER_TARGET + usdt->n_sites;
		struct point point = {probe->file_offset, probe->semaphore_offset, program};

		if (usdt->n_sites == USDT_SITES_PER_TARGET)
			err = -E2BIG;
		else if (probe->n_args < 3)
			err = -EOPNOTSUPP;
		else
			err = describe_site(usdt, probe, index);
		usdt->n_sites++;
		if (!err)
			err = add_link(usdt, &point, index);
	}
	if (err == -ENODATA) {
		why->problem = INTERPRETER_BAD_PROBE;
		snprintf(why->text, sizeof(why->text), "its _Py_DebugOffsets cannot be read");
		snprintf(why->next_step, sizeof(why->next_step),
			 "without them the making of a generator looks like a call");
	} else if (err) {
		explain(why, err, name);
	}
	return err;
}

/* 3.11: the semaphore of `line` without its trap. */
static int raise_line_semaphore(struct usdt *usdt, struct interpreter_reason *why)
{
	const struct elf_header *header = elf_notes__header(usdt->info->elf);
	const struct usdt_probe *line =
		elf_notes__next(usdt->info->elf, cpython__probe_name(CPYTHON_LINE), NULL);
	const struct elf_place *places[] = {&header->entry, &header->init, &header->fini};
	int err = -ENOENT;

	for (size_t i = 0; line && i < sizeof(places) / sizeof(*places) && err; i++) {
		struct point point = {places[i]->file_offset, line->semaphore_offset,
				      KERNEL_ON_NOTHING};

		if (!places[i]->addr)
			continue;
		err = add_link(usdt, &point, 0);
		if (err == -EACCES || err == -EPERM)
			break; /* another place will not help */
	}
	if (err)
		explain(why, err, "the semaphore of line");
	return err;
}

/* ------------------------------------------------------------------ verify */

static int check_semaphores(const struct usdt *usdt, struct interpreter_reason *why)
{
	char path[64];
	int fd, err = 0;

	snprintf(path, sizeof(path), "/proc/%d/mem", usdt->request.pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (int i = 0; i < elf_notes__count(usdt->info->elf) && !err; i++) {
		const struct usdt_probe *probe = elf_notes__probe(usdt->info->elf, i);
		__u16 value = 0;

		for (int j = 0; j < usdt->n_links && !err; j++) {
			if (usdt->points[j].semaphore != probe->semaphore_offset ||
			    !probe->semaphore_offset)
				continue;
			if (pread(fd, &value, sizeof(value),
				  probe->semaphore_addr + usdt->info->load_bias) != sizeof(value))
				err = -ESRCH;
			else if (!value)
				err = -EIO;
			if (err == -EIO)
				snprintf(why->text, sizeof(why->text),
					 "the kernel has not raised the semaphore of %s",
					 probe->name);
		}
	}
	close(fd);
	if (err == -ESRCH)
		explain(why, err, "");
	return err;
}

struct usdt *usdt__attach(const struct usdt_request *request, const struct interpreter *in,
			  struct interpreter_reason *why)
{
	const struct interpreter_info *info = interpreter__info(in);
	struct usdt *usdt = calloc(1, sizeof(*usdt));
	int err;

	memset(why, 0, sizeof(*why));
	if (!usdt)
		return NULL;
	usdt->request = *request;
	usdt->info = info;
	snprintf(usdt->path, sizeof(usdt->path), "/proc/self/fd/%d", info->fd);
	err = interpreter__check(in, usdt__needs(request->lines, request->script_end), why);
	if (err)
		goto out;
	if (request->lines) {
		err = attach_probe(usdt, CPYTHON_LINE, KERNEL_ON_LINE, why);
		if (!err && request->script_end)
			err = attach_probe(usdt, CPYTHON_FUNCTION_RETURN,
					   KERNEL_ON_RETURN_OF_SCRIPT, why);
	} else {
		err = attach_probe(usdt, CPYTHON_FUNCTION_RETURN, KERNEL_ON_RETURN, why);
		if (!err)
			err = attach_probe(usdt, CPYTHON_FUNCTION_ENTRY, KERNEL_ON_ENTRY, why);
		if (!err && info->version->entry_needs_line_semaphore)
			err = raise_line_semaphore(usdt, why);
	}
	if (!err)
		err = check_semaphores(usdt, why);
out:
	if (!err)
		return usdt;
	usdt__free(usdt);
	errno = -err;
	return NULL;
}

void usdt__free(struct usdt *usdt)
{
	if (!usdt)
		return;
	for (int i = 0; i < usdt->n_links; i++)
		bpf_link__destroy(usdt->links[i]);
	free(usdt);
}

int usdt__sweep(const struct usdt *usdt)
{
	int err = 0;

	/* Backwards: breakpoints go at their first hit, what is never hit was attached last. */
	for (int i = usdt->n_links - 1; i >= 0; i--) {
		const struct point *point = &usdt->points[i];
		int failed = uprobe__sweep(usdt->path, point->offset, point->semaphore);

		err = failed ? failed : err;
	}
	return err;
}

/* The kernel has one semaphore for all tracers of a place: raise_line_semaphore's comes there. */
static __u64 semaphore_at_start(const struct interpreter_info *info)
{
	const struct usdt_probe *line =
		elf_notes__next(info->elf, cpython__probe_name(CPYTHON_LINE), NULL);

	if (!line || !info->version || !info->version->entry_needs_line_semaphore)
		return 0;
	return line->semaphore_offset;
}

struct bpf_link *usdt__stop_at_start(struct kernel *kernel, const struct interpreter *in, pid_t pid)
{
	const struct interpreter_info *info = interpreter__info(in);
	struct usdt usdt = {.request = {.kernel = kernel}, .info = info};
	struct point point = {elf_notes__header(info->elf)->entry.file_offset,
			      semaphore_at_start(info), KERNEL_ON_START};

	if (!elf_notes__header(info->elf)->entry.addr) {
		errno = ENOENT;
		return NULL;
	}
	snprintf(usdt.path, sizeof(usdt.path), "/proc/self/fd/%d", info->fd);
	return attach_at(&usdt, &point, pid, 0);
}

bool usdt__is_loading(const struct interpreter *in)
{
	const struct interpreter_info *info = interpreter__info(in);
	const struct elf_header *header = elf_notes__header(info->elf);

	return *header->interp && header->entry.addr && info->has_bias &&
	       !process__is_at(info->pid, header->entry.addr + info->load_bias, FIRST_BYTES);
}
