// SPDX-License-Identifier: BSD-3-Clause
#define _GNU_SOURCE 1

#include "symbols/lines.h"

#include <errno.h>
#include <iconv.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "monitor/text.h"

#define MAX_ENCODING 32 /* bytes of an encoding's name */

const struct pikos_text lines_compiled_string = {
	.data = "<compiled string>",
	.len = sizeof("<compiled string>") - 1,
	.flags = PIKOS_TEXT_PLAIN,
};

static const struct lines_file no_source;

/* Over all caches: one may lie where another was, and what that one gave is not its own. */
static uint64_t next_generation(void)
{
	static uint64_t last;

	return __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
}

struct file {
	struct lines_file lines; /* first: a handle is the file */
	struct file *next;	 /* of its bucket */
	struct file *newer, *older;
	char *text;
	size_t cost;
	uint64_t hash;
	size_t path_len;
	char path[];
};

struct lines {
	struct reader *reader;
	struct reader *(*current)(void *ctx);
	void *ctx;
	size_t max, used;
	uint64_t generation, seed;
	struct file **buckets;
	size_t n_buckets, n_files; /* n_buckets is a power of two */
	struct file *newest, *oldest;
};

/* ------------------------------------------------------------------ decoding */

/*
 * Names of encodings as Python knows them and what iconv calls them. A closed list: the name
 * comes from the target, and iconv has stateful converters with a history of aborts (glibc
 * before 2.33) that a hostile file must not reach. What is not here is read as UTF-8.
 */
static const struct {
	const char *python, *iconv;
} encodings[] = {
	{"latin-1", "ISO-8859-1"},
	{"latin1", "ISO-8859-1"},
	{"iso-latin-1", "ISO-8859-1"},
	{"l1", "ISO-8859-1"},
	{"latin2", "ISO-8859-2"},
	{"latin-2", "ISO-8859-2"},
	{"latin9", "ISO-8859-15"},
	{"latin-9", "ISO-8859-15"},
	{"cp437", "CP437"},
	{"cp850", "CP850"},
	{"cp852", "CP852"},
	{"cp855", "CP855"},
	{"cp866", "CP866"},
	{"cp874", "CP874"},
	{"cp932", "CP932"},
	{"cp936", "CP936"},
	{"cp949", "CP949"},
	{"cp950", "CP950"},
	{"cp1250", "CP1250"},
	{"cp1251", "CP1251"},
	{"cp1252", "CP1252"},
	{"cp1253", "CP1253"},
	{"cp1254", "CP1254"},
	{"cp1255", "CP1255"},
	{"cp1256", "CP1256"},
	{"cp1257", "CP1257"},
	{"cp1258", "CP1258"},
	{"windows-1250", "CP1250"},
	{"windows-1251", "CP1251"},
	{"windows-1252", "CP1252"},
	{"windows-1253", "CP1253"},
	{"windows-1254", "CP1254"},
	{"windows-1255", "CP1255"},
	{"windows-1256", "CP1256"},
	{"windows-1257", "CP1257"},
	{"windows-1258", "CP1258"},
	{"koi8-r", "KOI8-R"},
	{"koi8-u", "KOI8-U"},
	{"mac-roman", "MACINTOSH"},
	{"macroman", "MACINTOSH"},
	{"mac-cyrillic", "MAC-CYRILLIC"},
	{"euc-jp", "EUC-JP"},
	{"eucjp", "EUC-JP"},
	{"euc-kr", "EUC-KR"},
	{"euckr", "EUC-KR"},
	{"shift-jis", "SJIS"},
	{"shiftjis", "SJIS"},
	{"sjis", "SJIS"},
	{"gb2312", "GB2312"},
	{"gbk", "GBK"},
	{"gb18030", "GB18030"},
	{"big5", "BIG5"},
	{"big5hkscs", "BIG5-HKSCS"},
	{"big5-hkscs", "BIG5-HKSCS"},
	{"johab", "JOHAB"},
	{"tis-620", "TIS-620"},
};

/* A name from a cookie, lower case and with dashes. @return iconv's name; NULL: UTF-8 */
static const char *find_encoding(const char *name, char part[16])
{
	if (!strncmp(name, "iso-8859-", 9) || !strncmp(name, "iso8859-", 8)) {
		const char *number = strrchr(name, '-') + 1;

		if (strspn(number, "0123456789") != strlen(number) || !*number ||
		    strlen(number) > 2)
			return NULL;
		memcpy(part, "ISO-8859-", 9);
		strcpy(part + 9, number);
		return part;
	}
	for (size_t i = 0; i < sizeof(encodings) / sizeof(encodings[0]); i++)
		if (!strcmp(name, encodings[i].python))
			return encodings[i].iconv;
	return NULL;
}

static size_t line_length(const char *data, size_t size)
{
	size_t i = 0;

	while (i < size && data[i] != '\n' && data[i] != '\r')
		i++;
	return i;
}

/* PEP 263: ^[ \t\f]*#.*?coding[:=][ \t]*([-_.a-zA-Z0-9]+) */
static bool find_cookie(const char *line, size_t len, char name[MAX_ENCODING])
{
	size_t i = 0, n = 0;

	while (i < len && strchr(" \t\f", line[i]) && line[i])
		i++;
	if (i == len || line[i] != '#')
		return false;
	for (; i + 7 < len; i++) {
		if (memcmp(line + i, "coding", 6) || (line[i + 6] != ':' && line[i + 6] != '='))
			continue;
		i += 7;
		while (i < len && (line[i] == ' ' || line[i] == '\t'))
			i++;
		for (; i < len && n < MAX_ENCODING - 1; i++) {
			char c = line[i];

			if (c >= 'A' && c <= 'Z')
				c = (char)(c | 0x20);
			else if (c == '_' || c == '.')
				c = '-';
			if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-')
				break;
			name[n++] = c;
		}
		name[n] = '\0';
		return n > 0;
	}
	return false;
}

/* The cookie is in one of the first two lines; in the second only below a comment or nothing. */
static bool read_cookie(const char *data, size_t size, char name[MAX_ENCODING])
{
	size_t len = line_length(data, size), i = 0;

	if (find_cookie(data, len, name))
		return true;
	while (i < len && (data[i] == ' ' || data[i] == '\t' || data[i] == '\f'))
		i++;
	if ((i < len && data[i] != '#') || len == size)
		return false;
	i = len + ((data[len] == '\r' && len + 1 < size && data[len + 1] == '\n') ? 2 : 1);
	return find_cookie(data + i, line_length(data + i, size - i), name);
}

static void escape_byte(char out[4], unsigned char byte)
{
	static const char hex[] = "0123456789abcdef";

	out[0] = '\\';
	out[1] = 'x';
	out[2] = hex[byte >> 4];
	out[3] = hex[byte & 15];
}

/* What a converter still holds (CP1255 and CP1258 wait for a combining character). */
static size_t flush(iconv_t cd, char *to, size_t room)
{
	char *end = to;

	iconv(cd, NULL, NULL, &end, &room);
	return (size_t)(end - to);
}

/* @return 0, -ENOMEM */
static int convert(iconv_t cd, const char *data, size_t size, char **out, size_t *out_size)
{
	size_t cap = size + size / 2 + 64, used = 0;
	char *text = malloc(cap), *in = (char *)data, *bigger;

	while (text && size) {
		char *to = text + used;
		size_t room = cap - used;
		size_t n = iconv(cd, &in, &size, &to, &room);

		used = (size_t)(to - text);
		if (n != (size_t)-1)
			continue;
		if (room < 8) {
			cap *= 2;
			bigger = realloc(text, cap);
			if (!bigger)
				free(text);
			text = bigger;
		} else {
			/* Not valid, or cut at the end. */
			escape_byte(to, (unsigned char)*in++);
			used += 4;
			size--;
		}
	}
	bigger = text ? realloc(text, used + 16) : NULL;
	if (!bigger) {
		free(text);
		return -ENOMEM;
	}
	*out = bigger;
	*out_size = used + flush(cd, bigger + used, 16);
	return 0;
}

int lines__decode(const char *data, size_t size, char **out, size_t *out_size)
{
	char name[MAX_ENCODING], part[16], *text;
	const char *encoding = NULL;
	iconv_t cd;
	int err;

	if (size > READER_MAX_SIZE)
		return -EFBIG;
	if (size >= 3 && !memcmp(data, "\xef\xbb\xbf", 3)) {
		data += 3;
		size -= 3;
	} else if (read_cookie(data, size, name)) {
		encoding = find_encoding(name, part);
	}
	if (encoding) {
		cd = iconv_open("UTF-8", encoding);
		if (cd != (iconv_t)-1) {
			err = convert(cd, data, size, out, out_size);
			iconv_close(cd);
			return err;
		}
	}
	*out = malloc(size * TEXT_GROWTH + 1);
	if (!*out)
		return -ENOMEM;
	*out_size = text__sanitize(*out, data, size);
	text = realloc(*out, *out_size + 1);
	if (text)
		*out = text;
	return 0;
}

/* ------------------------------------------------------------------ lines */

/* @return bytes of the white space character that text[0..len) ends with, as str.isspace() has
 * it, or 0 */
static size_t trailing_space(const char *text, size_t len)
{
	const unsigned char *end = (const unsigned char *)text + len;
	unsigned char c = len ? end[-1] : 'x';

	if (c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f))
		return 1;
	if (len >= 2 && end[-2] == 0xc2 && (c == 0x85 || c == 0xa0))
		return 2;
	if (len < 3 || c < 0x80)
		return 0;
	if (end[-3] == 0xe2 && end[-2] == 0x80)
		return c <= 0x8a || c == 0xa8 || c == 0xa9 || c == 0xaf ? 3 : 0;
	if ((end[-3] == 0xe2 && end[-2] == 0x81 && c == 0x9f) ||
	    (end[-3] == 0xe1 && end[-2] == 0x9a && c == 0x80) ||
	    (end[-3] == 0xe3 && end[-2] == 0x80 && c == 0x80))
		return 3;
	return 0;
}

/* Universal newlines. @return bytes of the line's end at text[0..len), 0 if there is none */
static size_t newline(const char *text, size_t len)
{
	if (!len)
		return 0;
	return text[0] == '\r' && len > 1 && text[1] == '\n' ? 2 : 1;
}

static uint32_t count_lines(const char *text, size_t size)
{
	uint32_t n = 0;

	for (size_t i = 0; i < size; n++) {
		i += line_length(text + i, size - i);
		i += newline(text + i, size - i);
	}
	return n;
}

static void split_lines(struct pikos_text *texts, const char *text, size_t size)
{
	for (size_t i = 0; i < size; texts++) {
		size_t len = line_length(text + i, size - i), next = i + len, space;

		next += newline(text + next, size - next);
		while ((space = trailing_space(text + i, len)))
			len -= space;
		texts->data = text + i;
		texts->len = (uint32_t)len;
		texts->flags = text__flags(texts->data, len);
		i = next;
	}
}

/* Read and split, if that fits into the cache at all. A file without source has no lines. */
static void load(struct lines *lines, struct file *file)
{
	struct reader *reader = lines->current ? lines->current(lines->ctx) : lines->reader;
	struct pikos_text *texts = NULL;
	char *data = NULL, *text = NULL;
	size_t size, n;
	uint32_t count;
	int err;

	if (!reader ||
	    reader__read_file(reader, file->path, file->path_len, lines->max / 2, &data, &size))
		return;
	err = lines__decode(data, size, &text, &n);
	free(data);
	if (err)
		return;
	count = count_lines(text, n);
	if (n + count * sizeof(*texts) + file->cost <= lines->max && count)
		texts = malloc(count * sizeof(*texts));
	if (!texts) {
		free(text);
		return;
	}
	split_lines(texts, text, n);
	file->text = text;
	file->lines.texts = texts;
	file->lines.n_lines = count;
	file->cost += n + count * sizeof(*texts);
}

/* ------------------------------------------------------------------ the cache */

static uint64_t hash_path(uint64_t seed, const char *path, size_t len)
{
	uint64_t h = seed ^ len, word;

	for (; len >= 8; path += 8, len -= 8) {
		memcpy(&word, path, 8);
		h = (h ^ word) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	word = 0;
	memcpy(&word, path, len);
	h = (h ^ word) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 32;
}

static void unlink_age(struct lines *lines, struct file *file)
{
	if (file->newer)
		file->newer->older = file->older;
	else
		lines->newest = file->older;
	if (file->older)
		file->older->newer = file->newer;
	else
		lines->oldest = file->newer;
}

static void make_newest(struct lines *lines, struct file *file)
{
	file->newer = NULL;
	file->older = lines->newest;
	if (lines->newest)
		lines->newest->newer = file;
	else
		lines->oldest = file;
	lines->newest = file;
}

static void drop(struct lines *lines, struct file *file)
{
	struct file **at = &lines->buckets[file->hash & (lines->n_buckets - 1)];

	while (*at != file)
		at = &(*at)->next;
	*at = file->next;
	unlink_age(lines, file);
	lines->used -= file->cost;
	lines->n_files--;
	lines->generation = next_generation();
	free((void *)file->lines.texts);
	free(file->text);
	free(file);
}

/* Longer chains are no error: without memory they just stay. */
static void rehash(struct lines *lines)
{
	size_t n = lines->n_buckets * 2;
	struct file **buckets = calloc(n, sizeof(*buckets));

	if (!buckets)
		return;
	for (struct file *file = lines->newest; file; file = file->older) {
		file->next = buckets[file->hash & (n - 1)];
		buckets[file->hash & (n - 1)] = file;
	}
	free(lines->buckets);
	lines->buckets = buckets;
	lines->n_buckets = n;
}

static struct file *add(struct lines *lines, const char *path, size_t len, uint64_t hash)
{
	struct file *file = calloc(1, sizeof(*file) + len + 1);
	size_t slot;

	if (!file)
		return NULL;
	memcpy(file->path, path, len);
	file->path_len = len;
	file->hash = hash;
	/* With the allocator's and the bucket's share. */
	file->cost = sizeof(*file) + len + 1 + 4 * sizeof(void *);
	load(lines, file);
	while (lines->oldest && lines->used + file->cost > lines->max)
		drop(lines, lines->oldest);
	if (lines->n_files >= lines->n_buckets)
		rehash(lines);
	slot = hash & (lines->n_buckets - 1);
	file->next = lines->buckets[slot];
	lines->buckets[slot] = file;
	make_newest(lines, file);
	lines->used += file->cost;
	lines->n_files++;
	return file;
}

static bool is_path(const struct file *file, const char *path, size_t len)
{
	return file->path_len == len && !memcmp(file->path, path, len);
}

static struct file *find(struct lines *lines, const char *path, size_t len)
{
	struct file *file = lines->newest;
	uint64_t hash;

	if (file && is_path(file, path, len))
		return file;
	hash = hash_path(lines->seed, path, len);
	for (file = lines->buckets[hash & (lines->n_buckets - 1)]; file; file = file->next) {
		if (file->hash != hash || !is_path(file, path, len))
			continue;
		unlink_age(lines, file);
		make_newest(lines, file);
		return file;
	}
	return add(lines, path, len, hash);
}

const struct lines_file *lines__file(struct lines *lines, const char *path, size_t len)
{
	struct file *file;

	if (!len || len >= PATH_MAX || (path[0] == '<' && path[len - 1] == '>'))
		return &no_source;
	file = find(lines, path, len);
	return file ? &file->lines : &no_source;
}

const struct pikos_text *lines__get(struct lines *lines, const char *path, size_t len, int64_t line)
{
	return lines__at(lines__file(lines, path, len), line);
}

uint64_t lines__generation(const struct lines *lines)
{
	return lines->generation;
}

struct lines *lines__new(struct reader *reader, size_t max_bytes)
{
	struct lines *lines = calloc(1, sizeof(*lines));

	if (!lines)
		return NULL;
	lines->reader = reader;
	lines->generation = next_generation();
	lines->max = max_bytes ? max_bytes : LINES_MAX_BYTES;
	lines->n_buckets = 64;
	lines->buckets = calloc(lines->n_buckets, sizeof(*lines->buckets));
	if (!lines->buckets) {
		free(lines);
		errno = ENOMEM;
		return NULL;
	}
	/* Without randomness a target could choose names that share a bucket: slow, not wrong. */
	if (getrandom(&lines->seed, sizeof(lines->seed), GRND_NONBLOCK) < 0)
		lines->seed = (uintptr_t)lines;
	return lines;
}

void lines__set_current(struct lines *lines, struct reader *(*current)(void *ctx), void *ctx)
{
	lines->current = current;
	lines->ctx = ctx;
}

void lines__free(struct lines *lines)
{
	if (!lines)
		return;
	while (lines->oldest)
		drop(lines, lines->oldest);
	free(lines->buckets);
	free(lines);
}
