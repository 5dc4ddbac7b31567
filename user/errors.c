// SPDX-License-Identifier: BSD-3-Clause
#include "errors.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <bpf/libbpf.h>

/* libbpf_strerror needs a buffer and warns on libbpf's own stderr for what it does not know. */
static const char *libbpf_words(int err)
{
	switch (err) {
	case LIBBPF_ERRNO__LIBELF:
		return "libelf failed";
	case LIBBPF_ERRNO__FORMAT:
		return "BPF object format invalid";
	case LIBBPF_ERRNO__KVERSION:
		return "BPF object without a valid version section";
	case LIBBPF_ERRNO__ENDIAN:
		return "BPF object of the other endianness";
	case LIBBPF_ERRNO__INTERNAL:
		return "Internal error in libbpf";
	case LIBBPF_ERRNO__RELOC:
		return "BPF relocation failed";
	case LIBBPF_ERRNO__LOAD:
		return "Kernel refused the BPF program for an unknown reason";
	case LIBBPF_ERRNO__VERIFY:
		return "Kernel's verifier refused the BPF program";
	case LIBBPF_ERRNO__PROG2BIG:
		return "BPF program too big";
	case LIBBPF_ERRNO__KVER:
		return "Kernel version not right for the BPF program";
	case LIBBPF_ERRNO__PROGTYPE:
		return "Kernel does not support this type of BPF program";
	case LIBBPF_ERRNO__WRNGPID:
		return "Wrong pid in netlink message";
	case LIBBPF_ERRNO__INVSEQ:
		return "Invalid netlink sequence";
	case LIBBPF_ERRNO__NLPARSE:
		return "Netlink message not understood";
	}
	return NULL;
}

const char *error_words(int err)
{
	static _Thread_local char unknown[32];
	const char *words;
	int saved = errno;

	/* In unsigned arithmetic INT_MIN has an opposite. */
	if (err < 0)
		err = (int)(0u - (unsigned int)err);
	words = err >= __LIBBPF_ERRNO__START ? libbpf_words(err) : strerrordesc_np(err);
	/* The kernel's own, unknown to glibc; perf_event_open and bpf let it through. */
	if (!words && err == 524)
		words = "Operation not supported by this kernel (ENOTSUPP)";
	if (!words) {
		snprintf(unknown, sizeof(unknown), "Unknown error %d", err);
		words = unknown;
	}
	errno = saved;
	return words;
}
