// SPDX-License-Identifier: BSD-3-Clause
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "monitor/text.h"

#define ERASE_LINE "\r\033[K"

static struct {
	const char *program;
	enum log_level level;
	bool progress;
	bool progress_shown; /* the cursor is behind a progress line */
	bool hint;	     /* the last error or warning was shown: so is its hint */
} state = {.program = "pikos-trace", .level = LOG_NORMAL};

void log_init(const char *program, enum log_level level, bool progress)
{
	int saved = errno;

	if (program)
		state.program = program;
	state.level = level;
	state.progress = progress && isatty(STDERR_FILENO);
	errno = saved;
}

/* stderr may be gone: there is nobody left to tell. */
static void write_all(const char *text, size_t len)
{
	ssize_t n;

	while (len) {
		n = write(STDERR_FILENO, text, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		text += n;
		len -= n;
	}
}

/* Cut to `columns` characters: a line that wraps could not be erased. */
static size_t cut(const char *text, size_t len, size_t columns)
{
	size_t i, seen = 0;

	for (i = 0; i < len; i++)
		if (((unsigned char)text[i] & 0xc0) != 0x80 && seen++ == columns)
			break;
	return i;
}

/*
 * One message by one write: lead, "PROGRAM: " if prefixed, the escaped text, end. The buffer has
 * three parts: the text, made valid UTF-8, and the line made of that.
 */
static void emit(const char *lead, bool prefixed, const char *raw, const char *end, size_t columns)
{
	size_t raw_len = strlen(raw), valid_len, len = 0, body, width;
	size_t room = strlen(lead) + strlen(state.program) + strlen(end) + 3;
	char *valid = malloc(raw_len * TEXT_GROWTH + 1), *line;

	line = malloc(room + raw_len * TEXT_GROWTH * TEXT_GROWTH);
	if (!valid || !line) {
		write_all(raw, strcspn(raw, "\033\n\r"));
		write_all("\n", 1);
		goto out;
	}
	len = sprintf(line, "%s", lead);
	body = len;
	if (prefixed)
		len += sprintf(line + len, "%s: ", state.program);
	valid_len = text__sanitize(valid, raw, raw_len);
	len += text__escape(line + len, valid, valid_len, &width);
	len = body + cut(line + body, len - body, columns);
	len += sprintf(line + len, "%s", end);
	write_all(line, len);
out:
	free(valid);
	free(line);
}

__attribute__((format(printf, 2, 0))) static void message(bool prefixed, const char *format,
							  va_list args)
{
	char *raw;

	if (vasprintf(&raw, format, args) < 0)
		raw = NULL;
	emit(state.progress_shown ? ERASE_LINE : "", prefixed, raw ? raw : "out of memory", "\n",
	     SIZE_MAX);
	state.progress_shown = false;
	free(raw);
}

void log_cannot(const char *verb, const char *object, const char *reason)
{
	log_error("cannot %s '%s': %s", verb, object, reason);
}

void log_error(const char *format, ...)
{
	int saved = errno;
	va_list args;

	va_start(args, format);
	message(true, format, args);
	va_end(args);
	state.hint = true;
	errno = saved;
}

void log_warn(const char *format, ...)
{
	int saved = errno;
	va_list args;

	state.hint = state.level > LOG_QUIET;
	if (!state.hint)
		return;
	va_start(args, format);
	message(true, format, args);
	va_end(args);
	errno = saved;
}

void log_hint(const char *format, ...)
{
	int saved = errno;
	va_list args;

	if (!state.hint)
		return;
	va_start(args, format);
	message(true, format, args);
	va_end(args);
	errno = saved;
}

void log_verbose(const char *format, ...)
{
	int saved = errno;
	va_list args;

	state.hint = state.level >= LOG_VERBOSE;
	if (!state.hint)
		return;
	va_start(args, format);
	message(true, format, args);
	va_end(args);
	errno = saved;
}

void log_line(const char *format, ...)
{
	int saved = errno;
	va_list args;

	va_start(args, format);
	message(false, format, args);
	va_end(args);
	errno = saved;
}

void log_progress(const char *format, ...)
{
	struct winsize size = {0};
	int saved = errno;
	va_list args;
	char *raw;

	if (!state.progress)
		return;
	va_start(args, format);
	if (vasprintf(&raw, format, args) < 0)
		raw = NULL;
	va_end(args);
	ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
	if (raw)
		emit(ERASE_LINE, true, raw, "", size.ws_col ? size.ws_col - 1u : 79);
	state.progress_shown = true;
	free(raw);
	errno = saved;
}

void log_progress_end(void)
{
	int saved = errno;

	if (state.progress_shown)
		write_all(ERASE_LINE, strlen(ERASE_LINE));
	state.progress_shown = false;
	errno = saved;
}
