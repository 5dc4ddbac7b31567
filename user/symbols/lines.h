/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lines.h - a cache of source lines, per target.
 *
 *	struct lines *lines = lines__new(reader, 0);
 *	const struct pikos_text *text = lines__get(lines, path, strlen(path), 12);
 *
 * A line is right-stripped and keeps its indentation. Its encoding is that of the file's PEP 263
 * cookie or BOM, else UTF-8; what is not valid is written as `\xNN`. Where there is no source (a
 * name like `<string>`, a file that is missing, unreadable or too large, a line out of range) the
 * text is `<compiled string>`. Never fails: without memory it is `<compiled string>` too.
 *
 * Memory is bounded: files are dropped, the least recently used first. Not thread-safe.
 */
#ifndef PIKOS_SYMBOLS_LINES_H
#define PIKOS_SYMBOLS_LINES_H

#include <stddef.h>
#include <stdint.h>

#include "pikos.h"
#include "process/reader.h"

#define LINES_MAX_BYTES (16u << 20) /* of one cache, texts and bookkeeping together */

extern const struct pikos_text lines_compiled_string; /* `<compiled string>` */

struct lines;

/* One file of the cache; read-only for callers. */
struct lines_file {
	const struct pikos_text *texts; /* line 1 is texts[0] */
	uint32_t n_lines;
};

/*
 * @param reader borrowed; NULL: there is no source at all
 * @param max_bytes 0: LINES_MAX_BYTES
 * @return NULL and errno
 */
struct lines *lines__new(struct reader *reader, size_t max_bytes);
void lines__free(struct lines *lines);

/*
 * @brief Ask for the reader before each file that is read: rights of a target can change.
 * @param current returns the reader to use now, borrowed; NULL: this file has no source
 */
void lines__set_current(struct lines *lines, struct reader *(*current)(void *ctx), void *ctx);

/*
 * @brief A line of a file. @param path the bytes that the target gave (co_filename)
 * @param line from 1; anything else is out of range
 * @return never NULL; borrowed, valid until the generation changes (each cache has numbers of its
 *         own, so also until another cache is used)
 */
const struct pikos_text *lines__get(struct lines *lines, const char *path, size_t len,
				    int64_t line);

/*
 * @brief A handle to a file, read now if it is not in the cache. Never NULL.
 * It and its texts are valid while lines__generation() stays the same; only lines__get and
 * lines__file change it.
 */
const struct lines_file *lines__file(struct lines *lines, const char *path, size_t len);
uint64_t lines__generation(const struct lines *lines);

/* @brief The fast path: a line of a handle that is still valid. */
static inline const struct pikos_text *lines__at(const struct lines_file *file, int64_t line)
{
	if (line < 1 || line > file->n_lines)
		return &lines_compiled_string;
	return &file->texts[line - 1];
}

/*
 * @brief Decode Python source as the interpreter would (PEP 263), newlines left as they are.
 * @param out malloc'ed valid UTF-8, no BOM @return 0 or -ENOMEM, -EFBIG
 */
int lines__decode(const char *data, size_t size, char **out, size_t *out_size);

#endif /* PIKOS_SYMBOLS_LINES_H */
