/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * text.h - bytes of a traced process made safe to write.
 *
 * Names come from the target and may hold anything. They are made valid UTF-8 once, when they
 * are read (text__new); control characters are kept, because CSV and zmq carry them faithfully,
 * and escaped by the writers for people (text__escape).
 */
#ifndef PIKOS_MONITOR_TEXT_H
#define PIKOS_MONITOR_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "pikos.h"

/* No sanitized or escaped text is longer than this many times the text it is made of. */
#define TEXT_GROWTH 4

/*
 * @brief Copy bytes, writing each one that is not part of valid UTF-8 as `\xNN`.
 *
 * Strict: no surrogates, no overlong forms, nothing above U+10FFFF; the same text as Python's
 * bytes.decode('utf-8', 'backslashreplace').
 *
 * @param out room for TEXT_GROWTH * len bytes
 * @return bytes written
 */
size_t text__sanitize(char *out, const char *bytes, size_t len);

/* @return PIKOS_TEXT_* of valid UTF-8 */
uint32_t text__flags(const char *data, size_t len);

/* @return characters (code points) of valid UTF-8 */
size_t text__width(const char *data, size_t len);

/*
 * @brief A text of sanitized bytes, with its flags, in one allocation: free() frees it.
 * @return NULL with errno: ENOMEM; EOVERFLOW when the result would not fit 32 bits
 */
struct pikos_text *text__new(const char *bytes, size_t len);

/*
 * @brief Copy valid UTF-8, escaping what would let a name write to the reader's terminal.
 *
 * Escaped are C0 (`\n`, `\x1b`), DEL, C1 (U+009B is `\x9b`), line and paragraph separators and
 * the controls of writing direction (`\u202e`).
 *
 * @param out room for TEXT_GROWTH * len bytes
 * @param width set to the characters written
 * @return bytes written
 */
size_t text__escape(char *out, const char *data, size_t len, size_t *width);

#endif /* PIKOS_MONITOR_TEXT_H */
