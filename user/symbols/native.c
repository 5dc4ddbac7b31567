// SPDX-License-Identifier: BSD-3-Clause
#include "symbols/native.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf/wire.h"
#include "monitor/text.h"
#include "process/packet.h"
#include "symbols/native_helper.h"

#define NO_LIBRARY ((uint32_t)-1)

struct range { /* of addresses */
	uint64_t start, end, offset;
	uint32_t library; /* NO_LIBRARY: the helper is not asked */
	bool is_gap;
	char name[256];
};

struct ranges { /* of a target, by address */
	struct range *all;
	size_t n, room;
};

#define MAX_FILES 128 /* that wait for the helper */

/* What makes two mappings one for the helper: the very file, and the part of it. */
struct library {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime, ctime;
	uint64_t offset, len;
	int fd; /* until the helper has it: -1 */
};

struct name {
	struct name *next; /* of its bucket */
	uint64_t offset;   /* in the file; in what has no library, the address */
	uint32_t library;
	bool is_return;
	struct pikos_text *text;
};

struct native {
	pid_t helper;
	int socket; /* -1: the helper is dead */
	uint64_t unresolved;
	native_source source;
	void *ctx;
	struct ranges ranges[WIRE_MAX_TARGETS];
	struct library libraries[NATIVE_MAX_LIBRARIES];
	uint32_t n_libraries, n_files; /* n_files: that wait for the helper */
	struct name *buckets[NATIVE_MAX_NAMES / 4];
	size_t n_names;
	struct pikos_text *last; /* of what is not remembered */
};

/* ------------------------------------------------------------------ the helper */

static int wait_for_helper(int socket)
{
	struct pollfd answer = {.fd = socket, .events = POLLIN};
	int n;

	do /* signals are rare: the time is bounded all the same by the helper's own alarm */
		n = poll(&answer, 1, (NATIVE_TIMEOUT_S + 1) * 1000);
	while (n < 0 && errno == EINTR);
	return n > 0 ? 0 : n ? -errno : -ETIMEDOUT;
}

static int receive(int socket, void *packet, size_t size)
{
	int fd, err = wait_for_helper(socket);

	if (!err)
		err = packet__receive(socket, packet, size, &fd);
	if (!err && fd >= 0)
		close(fd); /* none is expected */
	return err;
}

static void close_file(struct native *native, struct library *library)
{
	if (library->fd < 0)
		return;
	close(library->fd);
	library->fd = -1;
	native->n_files--;
}

static void bury_helper(struct native *native)
{
	if (native->socket >= 0)
		close(native->socket);
	native->socket = -1;
}

static int greet(struct native *native, char *why, size_t size)
{
	struct native_hello hello;
	int err = receive(native->socket, &hello, sizeof(hello));

	if (err)
		return err;
	snprintf(why, size, "%.*s", (int)sizeof(hello.what), hello.what);
	return hello.err;
}

struct native *native__start(char *why, size_t size)
{
	struct native *native = calloc(1, sizeof(*native));
	int err;

	snprintf(why, size, "%s", "");
	if (!native)
		return NULL;
	native->socket = -1;
	native->helper = native_helper__start(&native->socket);
	err = native->helper < 0 ? (int)native->helper : greet(native, why, size);
	if (!err)
		return native;
	native__free(native);
	errno = -err;
	return NULL;
}

static void forget_names(struct native *native)
{
	for (size_t i = 0; i < NATIVE_MAX_NAMES / 4; i++) {
		struct name *name = native->buckets[i], *next;

		for (; name; name = next) {
			next = name->next;
			free(name->text);
			free(name);
		}
		native->buckets[i] = NULL;
	}
	native->n_names = 0;
}

void native__free(struct native *native)
{
	if (!native)
		return;
	bury_helper(native);
	/* It ends with its socket, or by its alarm. */
	while (native->helper > 0 && waitpid(native->helper, NULL, 0) < 0 && errno == EINTR)
		;
	forget_names(native);
	free(native->last);
	for (uint32_t i = 0; i < native->n_libraries; i++)
		close_file(native, &native->libraries[i]);
	for (size_t i = 0; i < WIRE_MAX_TARGETS; i++)
		free(native->ranges[i].all);
	free(native);
}

void native__set_source(struct native *native, native_source source, void *ctx)
{
	native->source = source;
	native->ctx = ctx;
}

uint64_t native__unresolved(const struct native *native)
{
	return native->unresolved;
}

/* @return 0 with reply; -ENOENT: no symbol; -EPIPE: the helper is dead */
static int ask_helper(struct native *native, const struct range *range, uint64_t address,
		      struct native_reply *reply)
{
	struct library *library = &native->libraries[range->library];
	const struct native_request request = {
		.library = range->library,
		.start = range->start,
		.end = range->end,
		.offset = range->offset,
		.address = address,
	};
	int err;

	if (native->socket < 0) {
		native->unresolved++;
		return -EPIPE;
	}
	err = packet__send(native->socket, &request, sizeof(request), library->fd);
	close_file(native, library);
	if (!err)
		err = receive(native->socket, reply, sizeof(*reply));
	if (err) {
		bury_helper(native);
		native->unresolved++;
		return -EPIPE;
	}
	reply->symbol[sizeof(reply->symbol) - 1] = '\0';
	return reply->err;
}

/* ------------------------------------------------------------------ libraries, ranges */

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Takes the file over. */
static uint32_t library_of(struct native *native, const struct native_mapping *mapping)
{
	struct library *library;
	struct stat st;

	if (mapping->fd < 0)
		return NO_LIBRARY;
	if (fstat(mapping->fd, &st))
		goto out;
	for (uint32_t i = 0; i < native->n_libraries; i++) {
		library = &native->libraries[i];
		if (library->dev == st.st_dev && library->ino == st.st_ino &&
		    library->size == st.st_size && same_time(library->mtime, st.st_mtim) &&
		    same_time(library->ctime, st.st_ctim) && library->offset == mapping->offset &&
		    library->len == mapping->end - mapping->start) {
			close(mapping->fd);
			return i;
		}
	}
	if (native->n_libraries == NATIVE_MAX_LIBRARIES)
		goto out;
	native->n_files++;
	native->libraries[native->n_libraries] = (struct library){
		.dev = st.st_dev,
		.ino = st.st_ino,
		.size = st.st_size,
		.mtime = st.st_mtim,
		.ctime = st.st_ctim,
		.offset = mapping->offset,
		.len = mapping->end - mapping->start,
		.fd = mapping->fd,
	};
	return native->n_libraries++;
out:
	close(mapping->fd);
	return NO_LIBRARY;
}

/* @return the first range that ends behind the address */
static size_t place_of(const struct ranges *ranges, uint64_t address)
{
	size_t low = 0, high = ranges->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ranges->all[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void drop_ranges(struct ranges *ranges, size_t first, size_t behind)
{
	memmove(ranges->all + first, ranges->all + behind,
		(ranges->n - behind) * sizeof(*ranges->all));
	ranges->n -= behind - first;
}

static void drop_overlapping(struct ranges *ranges, uint64_t start, uint64_t end)
{
	size_t first = place_of(ranges, start), behind = first;

	while (behind < ranges->n && ranges->all[behind].start < end)
		behind++;
	if (behind > first)
		drop_ranges(ranges, first, behind);
}

void native__changed(struct native *native, uint32_t target, uint64_t start, uint64_t size)
{
	uint64_t end = start + size < start ? UINT64_MAX : start + size;

	if (target < WIRE_MAX_TARGETS && size)
		drop_overlapping(&native->ranges[target], start, end);
}

static struct range *add_range(struct ranges *ranges, const struct range *range)
{
	size_t at;

	drop_overlapping(ranges, range->start, range->end);
	if (ranges->n == NATIVE_MAX_RANGES)
		ranges->n = 0; /* they can be had again */
	if (ranges->n == ranges->room) {
		size_t room = ranges->room ? 2 * ranges->room : 64;
		struct range *all = realloc(ranges->all, room * sizeof(*all));

		if (!all)
			return NULL;
		ranges->all = all;
		ranges->room = room;
	}
	at = place_of(ranges, range->start);
	memmove(ranges->all + at + 1, ranges->all + at, (ranges->n - at) * sizeof(*range));
	ranges->all[at] = *range;
	ranges->n++;
	return &ranges->all[at];
}

/* @return NULL: nothing is known, or no memory */
static struct range *range_of(struct native *native, uint32_t target, uint64_t address)
{
	struct ranges *ranges = &native->ranges[target];
	size_t at = place_of(ranges, address);
	struct native_mapping mapping;
	struct native_reply reply;
	struct range range = {0};

	if (at < ranges->n && ranges->all[at].start <= address)
		return &ranges->all[at];
	if (!native->source || native->source(native->ctx, target, address, &mapping))
		return NULL;
	range.start = mapping.start;
	range.end = mapping.end;
	range.offset = mapping.offset;
	range.is_gap = mapping.is_gap;
	range.library = mapping.is_gap ? NO_LIBRARY : library_of(native, &mapping);
	memcpy(range.name, mapping.name, sizeof(range.name));
	range.name[sizeof(range.name) - 1] = '\0';
	if (native->n_files > MAX_FILES)
		ask_helper(native, &range, address, &reply);
	/* A source that contradicts itself must not lead into a loop. */
	if (range.start > address || range.end <= address)
		return NULL;
	return add_range(ranges, &range);
}

void native__look(struct native *native, uint32_t target)
{
	uint64_t address = 0;

	for (int i = 0; i < NATIVE_MAX_RANGES && target < WIRE_MAX_TARGETS; i++) {
		const struct range *range = range_of(native, target, address);

		if (!range || range->end == UINT64_MAX)
			return;
		address = range->end;
	}
}

void native__mapped(struct native *native, uint32_t target, uint64_t start, uint64_t size)
{
	native__changed(native, target, start, size);
	if (target < WIRE_MAX_TARGETS)
		range_of(native, target, start);
}

/* ------------------------------------------------------------------ names */

bool native__is_code(struct native *native, uint32_t target, uint64_t address)
{
	const struct range *range =
		target < WIRE_MAX_TARGETS ? range_of(native, target, address) : NULL;

	return !range || !range->is_gap;
}

static struct name **bucket_of(struct native *native, uint32_t library, uint64_t offset,
			       bool is_return)
{
	uint64_t hash = wire_hash_word(wire_hash_word(library, offset), is_return);

	return &native->buckets[wire_hash_end(hash, 0) % (NATIVE_MAX_NAMES / 4)];
}

static struct pikos_text *make_text(struct native *native, const struct range *range,
				    uint64_t address, bool is_return)
{
	char words[NATIVE_SYMBOL_MAX + sizeof(range->name) + 64];
	struct native_reply reply = {0};
	int err = -ENOENT;

	if (!range || range->is_gap) {
		snprintf(words, sizeof(words), "0x%" PRIx64, address);
		return text__new(words, strlen(words));
	}
	/* A call may be its function's last instruction. */
	if (range->library != NO_LIBRARY)
		err = ask_helper(native, range, address - is_return, &reply);
	if (!err)
		snprintf(words, sizeof(words), "%s%s+0x%" PRIx64 " [%s]", reply.symbol,
			 strlen(reply.symbol) == sizeof(reply.symbol) - 1 ? "..." : "",
			 reply.offset + is_return, range->name);
	else
		snprintf(words, sizeof(words), "0x%" PRIx64 " [%s]",
			 address - range->start + range->offset,
			 range->name[0] ? range->name : "anon");
	return text__new(words, strlen(words));
}

static const struct pikos_text *keep_text(struct native *native, struct name **bucket,
					  const struct name *key)
{
	struct name *name = malloc(sizeof(*name));

	if (!name) {
		free(native->last);
		return native->last = key->text;
	}
	*name = *key;
	name->next = *bucket;
	*bucket = name;
	native->n_names++;
	return name->text;
}

const struct pikos_text *native__name(struct native *native, uint32_t target, uint64_t address,
				      bool is_return)
{
	struct range *range = target < WIRE_MAX_TARGETS && address > is_return
				      ? range_of(native, target, address - is_return)
				      : NULL;
	bool in_file = range && range->library != NO_LIBRARY;
	struct name key = {
		.library = in_file ? range->library : NO_LIBRARY,
		.offset = in_file ? address - range->start + range->offset : address,
		.is_return = is_return,
	};
	struct name **bucket;

	if (!in_file) {
		free(native->last);
		return native->last = make_text(native, range, address, is_return);
	}
	if (native->n_names >= NATIVE_MAX_NAMES)
		forget_names(native);
	bucket = bucket_of(native, key.library, key.offset, is_return);
	for (const struct name *name = *bucket; name; name = name->next)
		if (name->library == key.library && name->offset == key.offset &&
		    name->is_return == is_return)
			return name->text;
	key.text = make_text(native, range, address, is_return);
	return key.text ? keep_text(native, bucket, &key) : NULL;
}
