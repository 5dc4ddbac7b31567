/* SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only) */
/*
 * Strings of the target: read and hashed (wire.h tells how), of any length up to WIRE_LONG_TEXT.
 */
#ifndef PIKOS_STRINGS_BPF_H
#define PIKOS_STRINGS_BPF_H

#include "bpf/state.bpf.h"
#include "bpf/core_compat.bpf.h"

/*
 * Functions that loop are global and take numbers only: the verifier looks at such a function once,
 * not at each call, and 5.10 knows no pointers there.
 */

#define LEN_LONG (~0ULL) /* longer than what was read at once; count_long_string tells */

struct hashed {
	__u64 hash;
	__u64 len; /* bytes, or LEN_LONG */
};

/* Mixes `len` bytes of at most n_words * 8; words hold garbage behind them. */
/* clang-format off */
#define HASH_WORDS(hash, words, n_words, len)                                                     \
	_Pragma("unroll") for (int i_ = 0; i_ < (n_words); i_++)                                  \
	{                                                                                         \
		__u64 rest_ = (len) - i_ * 8;                                                     \
		if ((__s64)rest_ <= 0)                                                            \
			break;                                                                    \
		if ((__s64)rest_ >= 8)                                                            \
			hash = wire_hash_word(hash, (words)[i_]);                                 \
		else                                                                              \
			hash = wire_hash_word(hash, (words)[i_] & ((1ULL << rest_ * 8) - 1));     \
	}
/* clang-format on */

/*
 * Makes the verifier forget what it knows of a length: each way out of HASH_WORDS leaves other
 * bounds, and it would follow each to the end of the program.
 */
#define FORGET_BOUNDS(len, unknown) asm volatile("%0 ^= %1; %0 ^= %1" : "+r"(len) : "r"(unknown))

/* In pieces of 64 bytes. @return the hash of the first WIRE_LONG_TEXT bytes; 0: unreadable */
__weak __u64 hash_long_string(__u64 text)
{
	__u64 words[9]; /* 64 bytes and a NUL */
	__u64 hash = hash_seed;
	__u64 total = 0;

	for (int piece = 0; piece < WIRE_LONG_TEXT / 64; piece++) {
		long len = read_user_string(words, 65, (const char *)text + total);

		if (len < 0)
			return 0;
		HASH_WORDS(hash, words, 8, (__u64)len)
		total += len;
		if (len < 64)
			break;
	}
	return wire_hash_end(hash, total);
}

/* @return bytes, at most WIRE_LONG_TEXT */
__weak __u64 count_long_string(__u64 text)
{
	char bytes[65];
	__u64 total = 0;

	for (int piece = 0; piece < WIRE_LONG_TEXT / 64; piece++) {
		long len = read_user_string(bytes, 65, (const char *)text + total);

		if (len <= 0)
			break;
		total += len;
	}
	return total;
}

static __always_inline int hash_long(const char *text, struct hashed *out)
{
	out->hash = hash_long_string((__u64)text);
	out->len = LEN_LONG;
	return out->hash ? 0 : -1;
}

/* Functions of their own for their stack: all frames of a call chain share 512 bytes. */
static __noinline int hash_name(const char *text, struct hashed *out)
{
	__u64 words[9];
	__u64 hash = hash_seed;
	long len = read_user_string(words, 65, text);

	if (len < 0 || !out)
		return -1;
	if (len >= 64)
		return hash_long(text, out);
	HASH_WORDS(hash, words, 8, (__u64)len)
	FORGET_BOUNDS(len, hash);
	out->hash = wire_hash_end(hash, len);
	out->len = len;
	return 0;
}

static __noinline int hash_file(const char *text, struct hashed *out)
{
	__u64 words[17];
	__u64 hash = hash_seed;
	long len = read_user_string(words, 129, text);

	if (len < 0 || !out)
		return -1;
	if (len >= 128)
		return hash_long(text, out);
	HASH_WORDS(hash, words, 16, (__u64)len)
	FORGET_BOUNDS(len, hash);
	out->hash = wire_hash_end(hash, len);
	out->len = len;
	return 0;
}

/* Whether the string's last `len` bytes hash to `hash` and stand behind a '/'. */
static __always_inline bool string_ends_with(__u64 text, __u64 text_len, __u64 hash, __u64 len)
{
	char before = 0;

	if (text_len <= len)
		return false;
	text += text_len - len;
	if (bpf_probe_read_user(&before, 1, (const char *)text - 1) || before != '/')
		return false;
	return hash_long_string(text) == hash;
}

#endif /* PIKOS_STRINGS_BPF_H */
