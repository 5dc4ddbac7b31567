/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * native_helper.h - the process that runs libbcc on files that a target has mapped.
 *
 * libbcc and libelf parse what may be forged to break them, so they run where there is nothing to
 * gain: user and group nobody, no capability, no descriptor but its socket, no new processes,
 * bounded memory and time. It opens no file by a name that came from a target: files come as
 * descriptors. bcc_symcache wants a process that has them mapped: the helper is that itself. It
 * copies a file to memory, maps the part that the target has mapped, looks up a first address, by
 * which libbcc takes all symbols over, and drops the copy.
 *
 * libbcc (of Debian's libbpfcc, which brings LLVM along) is loaded here and nowhere else.
 */
#ifndef PIKOS_SYMBOLS_NATIVE_HELPER_H
#define PIKOS_SYMBOLS_NATIVE_HELPER_H

#include <stdint.h>
#include <sys/types.h>

#define NATIVE_MAX_FILE	     (512ull << 20) /* bytes: of a larger one no names are known */
#define NATIVE_MAX_LIBRARIES 1024
#define NATIVE_TIMEOUT_S     3 /* a request that takes longer ends the helper */
#define NATIVE_SYMBOL_MAX    1024

struct native_request {
	uint32_t
		library; /* less than NATIVE_MAX_LIBRARIES; its file comes with the first request */
	uint32_t unused;
	uint64_t start, end, offset; /* of the mapping, as the target has it */
	uint64_t address;	     /* in it */
};

struct native_reply {
	int32_t err; /* 0; -ENOENT: no symbol there; -errno */
	uint32_t unused;
	uint64_t offset; /* of the address in the symbol, bytes */
	char symbol[NATIVE_SYMBOL_MAX];
};

/* The first message. */
struct native_hello {
	int32_t err;	/* -ENOENT: there is no libbcc */
	char what[200]; /* that failed, in words */
};

/*
 * @brief Fork the helper. Needs CAP_SETUID and CAP_SETGID unless the caller is nobody.
 * @param socket set to our end, which ends the helper when it is closed
 * @return its pid, a child of the caller, or -errno
 */
pid_t native_helper__start(int *socket);

#endif /* PIKOS_SYMBOLS_NATIVE_HELPER_H */
