/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * native.h - what addresses of C code in a target are called.
 *
 *	struct native *native = native__start(why, sizeof(why));
 *	native__set_source(native, find_mapping, keeper);
 *	text = native__name(native, target, address, false);	"mmap64+0x3a [libc.so.6]"
 *
 * A helper process without any rights looks symbols up (native_helper.h); which file is mapped
 * where, the source tells, once per mapping. What has no symbol is an offset in its file
 * ("0x1a2b3 [_multiarray_umath.so]"), which addr2line takes; what lies in no file is an address.
 * After a file that the helper did not survive everything is.
 *
 * Bounded: NATIVE_MAX_RANGES mappings of a target and NATIVE_MAX_NAMES names are remembered. Not
 * thread-safe.
 */
#ifndef PIKOS_SYMBOLS_NATIVE_H
#define PIKOS_SYMBOLS_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pikos.h"

#define NATIVE_MAX_RANGES 8192
#define NATIVE_MAX_NAMES  65536

struct native;

/* What lies at an address: an executable mapping, or the gap between two. */
struct native_mapping {
	uint64_t start, end;
	uint64_t offset; /* of start, in the file, bytes */
	int fd;		 /* the file, for reading: the taker's; -1: there is none */
	char name[256];
	bool is_gap;
};

/* @return 0; -errno: nothing is known of this target any more */
typedef int (*native_source)(void *ctx, uint32_t target, uint64_t address,
			     struct native_mapping *mapping);

/*
 * @brief Start the helper. Call before rights are dropped: see native_helper__start.
 * @param why filled with words after an error, "" if errno says all
 * @return NULL and errno: ENOENT: no libbcc (Debian: libbpfcc)
 */
struct native *native__start(char *why, size_t size);
void native__free(struct native *native);

void native__set_source(struct native *native, native_source source, void *ctx);

/*
 * @brief The name of an address, of hostile bytes made valid UTF-8.
 * @param is_return it is where a call returns to: all but the innermost frame
 * @return valid until the next call; NULL: no memory
 */
const struct pikos_text *native__name(struct native *native, uint32_t target, uint64_t address,
				      bool is_return);

/*
 * @return whether there can be code. Most of Debian's libraries keep no frame pointers, so a stack
 * that the kernel has followed often ends in what is no address of code at all: what lies beyond is
 * no frame either.
 */
bool native__is_code(struct native *native, uint32_t target, uint64_t address);

/* @brief Something was mapped or unmapped there; start 0, size UINT64_MAX: all (exec). */
void native__changed(struct native *native, uint32_t target, uint64_t start, uint64_t size);

/* @brief Look at all that is mapped now: for a target that may be gone when names are asked for. */
void native__look(struct native *native, uint32_t target);

/*
 * @brief Something that can run was mapped: look at it now, the process may be gone when its name
 * is asked for.
 */
void native__mapped(struct native *native, uint32_t target, uint64_t start, uint64_t size);

/* @brief How many addresses were asked for in vain since the helper died. 0: it lives. */
uint64_t native__unresolved(const struct native *native);

#endif /* PIKOS_SYMBOLS_NATIVE_H */
