// SPDX-License-Identifier: BSD-3-Clause
/*
 * pysource.c - see pysource.h
 *
 * Python's grammar makes this possible: `def` and `class` are reserved words that can only start
 * a logical line (after `async`), and a body is what is indented deeper than its header. So a
 * definition ends where the last logical line before the next one that is not deeper ends;
 * whether its body is on the line of its header does not matter.
 *
 * f-strings are read by the rules of 3.12, where the expressions inside may hold the quotes of
 * the string. Every f-string valid before 3.12 reads the same under them; one that does not end
 * under them is read again as a plain string, within a budget so that time stays linear.
 */
#include "focus/pysource.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SIZE     (64u << 20)
#define MAX_NAME     1000 /* bytes of one name */
#define MAX_DEFS     200000
#define MAX_BINDINGS 100000
#define MAX_TEXT     (64u << 20) /* bytes of all names */
#define MAX_TOKENS   50000	 /* of one import statement */
#define MAX_ASSIGNED 32		 /* tokens of an assignment that is looked at */
#define MAX_FSTRINGS 40		 /* nested in one another */

struct token {
	const char *at;
	size_t len;
};

struct open_def {
	size_t index;
	int column;
};

struct pysource {
	struct pysource_def *defs;
	size_t n_defs, cap_defs;
	struct pysource_binding *bindings;
	size_t n_bindings, cap_bindings;
	size_t text_used;
	int n_lines;
};

struct scanner {
	struct pysource *out;
	const char *at, *end;
	int line;
	int depth;     /* of brackets */
	int last_line; /* of the last token */
	size_t budget; /* bytes that failed f-strings may still cost */
	struct open_def open[PYSOURCE_MAX_DEPTH];
	int n_open;
	int decorated; /* line of the first decorator of the coming definition, or 0 */
	/* The statement under way. */
	struct token head[4]; /* its first tokens */
	int n_head;
	struct token *tokens; /* all of them, if `collect` */
	size_t n_tokens, cap_tokens, max_tokens;
	bool collect;
	bool no_memory;
};

static bool is_name(char c)
{
	return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static char peek(const struct scanner *s, size_t ahead)
{
	return ahead < (size_t)(s->end - s->at) ? s->at[ahead] : '\0';
}

static bool at_end(const struct scanner *s)
{
	return s->at >= s->end;
}

/* Step over \n, \r\n or \r: each ends a line (universal newlines). */
static bool skip_newline(struct scanner *s)
{
	if (at_end(s) || (*s->at != '\n' && *s->at != '\r'))
		return false;
	s->at += (*s->at == '\r' && peek(s, 1) == '\n') ? 2 : 1;
	if (s->line < INT_MAX)
		s->line++;
	return true;
}

static void skip_char(struct scanner *s)
{
	if (!skip_newline(s) && !at_end(s))
		s->at++;
}

static void skip_comment(struct scanner *s)
{
	while (!at_end(s) && *s->at != '\n' && *s->at != '\r')
		s->at++;
}

/* ------------------------------------------------------------------ strings */

struct quotes {
	char quote;
	bool triple, raw, format;
};

/* @return true when name[0..len) is a string prefix such as rb, F or Rt */
static bool string_prefix(const char *name, size_t len, struct quotes *q)
{
	if (len > 2)
		return false;
	for (size_t i = 0; i < len; i++) {
		switch (name[i] | 0x20) {
		case 'r':
			q->raw = true;
			break;
		case 'f':
		case 't': /* 3.14 */
			q->format = true;
			break;
		case 'b':
		case 'u':
			break;
		default:
			return false;
		}
	}
	return true;
}

static void open_quotes(struct scanner *s, struct quotes *q)
{
	q->quote = *s->at;
	q->triple = peek(s, 1) == q->quote && peek(s, 2) == q->quote;
	s->at += q->triple ? 3 : 1;
}

static bool close_quotes(struct scanner *s, const struct quotes *q)
{
	if (at_end(s) || *s->at != q->quote)
		return false;
	if (q->triple && (peek(s, 1) != q->quote || peek(s, 2) != q->quote))
		return false;
	s->at += q->triple ? 3 : 1;
	return true;
}

static bool is_newline(const struct scanner *s)
{
	return !at_end(s) && (*s->at == '\n' || *s->at == '\r');
}

/* A backslash hides a quote in raw strings too. An unfinished string ends with its line. */
static void skip_plain(struct scanner *s, const struct quotes *q)
{
	while (!at_end(s) && !close_quotes(s, q)) {
		if (*s->at == '\\') {
			s->at++;
			skip_char(s);
		} else if (!q->triple && is_newline(s)) {
			return;
		} else {
			skip_char(s);
		}
	}
}

static bool skip_format(struct scanner *s, const struct quotes *q, int nested);
static void skip_string(struct scanner *s, struct quotes *q, int nested);
static bool skip_expression(struct scanner *s, const struct quotes *q, int nested);

/* After a backslash: it hides one character, but never the brace of an expression. */
static void skip_escape(struct scanner *s, bool raw)
{
	if (peek(s, 0) == '{' || peek(s, 0) == '}')
		return;
	if (raw || peek(s, 0) != 'N' || peek(s, 1) != '{') {
		skip_char(s);
		return;
	}
	while (!at_end(s) && *s->at != '}' && !is_newline(s) && *s->at != '"' && *s->at != '\'')
		s->at++;
	if (peek(s, 0) == '}')
		s->at++;
}

/* After the colon of {x:>{width}}: literal text with expressions, until the brace. */
static bool skip_format_spec(struct scanner *s, const struct quotes *q, int nested)
{
	struct quotes probe = *q;

	while (!at_end(s)) {
		if (*s->at == '}')
			return true;
		if (close_quotes(s, &probe) || (!q->triple && is_newline(s)))
			return false;
		if (*s->at == '{') {
			s->at++;
			if (!skip_expression(s, q, nested + 1))
				return false;
		} else {
			skip_char(s);
		}
	}
	return false;
}

/* A name inside an expression, and the string it may be the prefix of. */
static void skip_word(struct scanner *s, int nested)
{
	const char *start = s->at;
	struct quotes q = {0};

	while (!at_end(s) && is_name(*s->at))
		s->at++;
	if ((peek(s, 0) == '"' || peek(s, 0) == '\'') &&
	    string_prefix(start, (size_t)(s->at - start), &q))
		skip_string(s, &q, nested);
}

/* After the opening brace, to behind the closing one. */
static bool skip_expression(struct scanner *s, const struct quotes *q, int nested)
{
	int depth = 0;

	if (nested > MAX_FSTRINGS)
		return false;
	while (!at_end(s)) {
		char c = *s->at;

		if (c == '}' && depth == 0) {
			s->at++;
			return true;
		}
		if (c == '#') {
			skip_comment(s);
		} else if (is_name(c) || c == '"' || c == '\'') {
			skip_word(s, nested + 1);
		} else if (c == ':' && depth == 0) {
			s->at++;
			if (!skip_format_spec(s, q, nested))
				return false;
		} else {
			if (c == '(' || c == '[' || c == '{')
				depth++;
			else if ((c == ')' || c == ']' || c == '}') && depth > 0)
				depth--;
			skip_char(s);
		}
	}
	return false;
}

/* @return false when it does not end under the rules of 3.12 */
static bool skip_format(struct scanner *s, const struct quotes *q, int nested)
{
	while (!at_end(s)) {
		if (close_quotes(s, q))
			return true;
		if (!q->triple && is_newline(s))
			return false;
		if (*s->at == '\\') {
			s->at++;
			skip_escape(s, q->raw);
		} else if (*s->at == '{' && peek(s, 1) == '{') {
			s->at += 2;
		} else if (*s->at == '{') {
			s->at++;
			if (!skip_expression(s, q, nested))
				return false;
		} else {
			skip_char(s);
		}
	}
	return false;
}

/* At the opening quote. */
static void skip_string(struct scanner *s, struct quotes *q, int nested)
{
	const char *start;
	int line = s->line;

	open_quotes(s, q);
	start = s->at;
	if (!q->format || nested > MAX_FSTRINGS || !s->budget) {
		skip_plain(s, q);
		return;
	}
	if (skip_format(s, q, nested))
		return;
	s->budget -= s->budget < (size_t)(s->at - start) ? s->budget : (size_t)(s->at - start);
	s->at = start;
	s->line = line;
	skip_plain(s, q);
}

/* ------------------------------------------------------------------ names */

/* @return a copy, or NULL without memory or when the text of all names is too much */
static char *keep(struct scanner *s, const char *text, size_t len)
{
	char *copy;

	if (s->out->text_used + len + 1 > MAX_TEXT)
		return NULL;
	copy = malloc(len + 1);
	if (!copy) {
		s->no_memory = true;
		return NULL;
	}
	memcpy(copy, text, len);
	copy[len] = '\0';
	s->out->text_used += len + 1;
	return copy;
}

static bool grow(struct scanner *s, void **array, size_t *cap, size_t used, size_t size)
{
	size_t want = *cap ? *cap * 2 : 64;
	void *bigger;

	if (used < *cap)
		return true;
	bigger = reallocarray(*array, want, size);
	if (!bigger) {
		s->no_memory = true;
		return false;
	}
	*array = bigger;
	*cap = want;
	return true;
}

/* "outer.<locals>.inner"; `parent` may be NULL */
static char *qualify(struct scanner *s, const struct pysource_def *parent, struct token name)
{
	const char *between = !parent ? "" : parent->is_class ? "." : ".<locals>.";
	const char *before = parent ? parent->qualname : "";
	size_t n = strlen(before), m = strlen(between);
	char *text;

	if (s->out->text_used + n + m + name.len + 1 > MAX_TEXT)
		return NULL;
	text = malloc(n + m + name.len + 1);
	if (!text) {
		s->no_memory = true;
		return NULL;
	}
	memcpy(text, before, n);
	memcpy(text + n, between, m);
	memcpy(text + n + m, name.at, name.len);
	text[n + m + name.len] = '\0';
	s->out->text_used += n + m + name.len + 1;
	return text;
}

static void add_def(struct scanner *s, struct token name, bool is_class, int line, int column)
{
	struct pysource *out = s->out;
	int parent = s->n_open ? (int)s->open[s->n_open - 1].index : -1;
	struct pysource_def def = {.parent = parent, .line = line, .last = line};

	if (s->n_open == PYSOURCE_MAX_DEPTH || out->n_defs == MAX_DEFS || name.len > MAX_NAME)
		return;
	if (!grow(s, (void **)&out->defs, &out->cap_defs, out->n_defs, sizeof(def)))
		return;
	def.is_class = is_class;
	def.first = s->decorated ? s->decorated : line;
	def.name = keep(s, name.at, name.len);
	def.qualname = qualify(s, parent < 0 ? NULL : &out->defs[parent], name);
	if (!def.name || !def.qualname) {
		free((char *)def.name);
		free((char *)def.qualname);
		return;
	}
	s->open[s->n_open++] = (struct open_def){.index = out->n_defs, .column = column};
	out->defs[out->n_defs++] = def;
}

/* ------------------------------------------------------------------ imports and aliases */

static bool token_is(struct token t, const char *text)
{
	return t.len == strlen(text) && !memcmp(t.at, text, t.len);
}

static bool token_is_name(struct token t)
{
	return t.len && is_name(t.at[0]) && !isdigit((unsigned char)t.at[0]);
}

static void add_binding(struct scanner *s, const char *module, const char *name, struct token as,
			int line)
{
	struct pysource *out = s->out;
	struct pysource_binding b = {.line = line};

	if (out->n_bindings == MAX_BINDINGS ||
	    !grow(s, (void **)&out->bindings, &out->cap_bindings, out->n_bindings, sizeof(b)))
		return;
	b.module = module ? keep(s, module, strlen(module)) : NULL;
	b.name = name ? keep(s, name, strlen(name)) : NULL;
	b.as = keep(s, as.at, as.len);
	if (!b.as || (module && !b.module) || (name && !b.name)) {
		free((char *)b.module);
		free((char *)b.name);
		free((char *)b.as);
		return;
	}
	out->bindings[out->n_bindings++] = b;
}

/* Join names and dots from *i on into a dotted name. @return false when there is none */
static bool dotted(const struct token *t, size_t n, size_t *i, char *out, size_t size)
{
	size_t used = 0;

	for (; *i < n; (*i)++) {
		if (!token_is(t[*i], ".") &&
		    (!token_is_name(t[*i]) || token_is(t[*i], "import") || token_is(t[*i], "as")))
			break;
		if (used && is_name(out[used - 1]) && t[*i].at[0] != '.')
			break;
		if (used + t[*i].len >= size)
			return false;
		memcpy(out + used, t[*i].at, t[*i].len);
		used += t[*i].len;
	}
	out[used] = '\0';
	return used > 0;
}

static void parse_from(struct scanner *s, const struct token *t, size_t n, int line)
{
	char module[MAX_NAME], name[MAX_NAME];
	size_t i = 1;

	if (!dotted(t, n, &i, module, sizeof(module)) || i >= n || !token_is(t[i], "import"))
		return;
	for (i++; i < n; i++) {
		if (token_is(t[i], "(") || token_is(t[i], ")") || token_is(t[i], ","))
			continue;
		if ((!token_is_name(t[i]) && !token_is(t[i], "*")) || t[i].len >= sizeof(name))
			return;
		memcpy(name, t[i].at, t[i].len);
		name[t[i].len] = '\0';
		if (i + 2 < n && token_is(t[i + 1], "as"))
			i += 2;
		add_binding(s, module, name, t[i], line);
	}
}

static void parse_import(struct scanner *s, const struct token *t, size_t n, int line)
{
	char module[MAX_NAME];
	size_t i = 1;

	while (i < n && dotted(t, n, &i, module, sizeof(module))) {
		if (i + 1 < n && token_is(t[i], "as")) {
			add_binding(s, module, NULL, t[i + 1], line);
			i += 2;
		} else {
			module[strcspn(module, ".")] = '\0';
			if (*module)
				add_binding(s, module, NULL, (struct token){module, strlen(module)},
					    line);
		}
		if (i < n && token_is(t[i], ","))
			i++;
		else
			break;
	}
}

/* NAME = NAME.NAME, nothing else */
static void parse_alias(struct scanner *s, const struct token *t, size_t n, int line)
{
	char target[MAX_NAME];
	size_t i = 2;

	if (n < 3 || !token_is_name(t[0]) || !token_is(t[1], "="))
		return;
	if (dotted(t, n, &i, target, sizeof(target)) && i == n && is_name(target[0]))
		add_binding(s, NULL, target, t[0], line);
}

static void parse_bindings(struct scanner *s, int line)
{
	size_t from = 0;

	for (size_t i = 0; i <= s->n_tokens; i++) {
		const struct token *t = s->tokens + from;
		size_t n = i - from;

		if (i < s->n_tokens && !token_is(s->tokens[i], ";"))
			continue;
		if (n > 1 && token_is(t[0], "from"))
			parse_from(s, t, n, line);
		else if (n > 1 && token_is(t[0], "import"))
			parse_import(s, t, n, line);
		else
			parse_alias(s, t, n, line);
		from = i + 1;
	}
}

/* ------------------------------------------------------------------ statements */

/*
 * Indentation as the tokenizer counts it: tabs to multiples of 8, a form feed starts again, and a
 * backslash at the end of a line of nothing but spaces keeps the column it stands at.
 */
static int skip_indent(struct scanner *s)
{
	int column = 0, continued = 0;

	for (; !at_end(s); s->at++) {
		if (*s->at == ' ')
			column++;
		else if (*s->at == '\t')
			column = (column / 8 + 1) * 8;
		else if (*s->at == '\f')
			column = 0;
		else if (*s->at == '\\' && (peek(s, 1) == '\n' || peek(s, 1) == '\r')) {
			continued = continued ? continued : column;
			s->at++;
			skip_newline(s);
			s->at--;
		} else {
			break;
		}
		if (column > INT_MAX / 2)
			column = INT_MAX / 2;
	}
	return continued ? continued : column;
}

static void add_token(struct scanner *s, const char *at, size_t len)
{
	struct token t = {at, len};

	s->last_line = s->line;
	if (s->n_head < 4)
		s->head[s->n_head++] = t;
	if (!s->collect)
		return;
	if (s->n_tokens == 0)
		s->max_tokens =
			token_is(t, "from") || token_is(t, "import") ? MAX_TOKENS : MAX_ASSIGNED;
	if (s->n_tokens == s->max_tokens ||
	    !grow(s, (void **)&s->tokens, &s->cap_tokens, s->n_tokens, sizeof(t))) {
		s->collect = false;
		return;
	}
	s->tokens[s->n_tokens++] = t;
}

static void scan_word(struct scanner *s)
{
	const char *start = s->at;
	struct quotes q = {0};

	while (!at_end(s) && is_name(*s->at))
		s->at++;
	if ((peek(s, 0) == '"' || peek(s, 0) == '\'') &&
	    string_prefix(start, (size_t)(s->at - start), &q)) {
		skip_string(s, &q, 0);
		add_token(s, "\"", 1);
	} else {
		add_token(s, start, (size_t)(s->at - start));
	}
}

/* One token. @return false at the end of the logical line */
static bool scan_token(struct scanner *s)
{
	char c = *s->at;

	if (c == ' ' || c == '\t' || c == '\f') {
		s->at++;
	} else if (c == '#') {
		skip_comment(s);
	} else if (c == '\\' && (peek(s, 1) == '\n' || peek(s, 1) == '\r')) {
		s->at++;
		skip_newline(s);
	} else if (is_newline(s)) {
		skip_newline(s);
		return s->depth > 0;
	} else if (is_name(c) || c == '"' || c == '\'') {
		scan_word(s);
	} else {
		if (c == '(' || c == '[' || c == '{')
			s->depth++;
		else if ((c == ')' || c == ']' || c == '}') && s->depth > 0)
			s->depth--;
		add_token(s, s->at, 1);
		s->at++;
	}
	return true;
}

/* Definitions that are not open any more end with the last token before this statement. */
static void close_defs(struct scanner *s, int column)
{
	while (s->n_open && s->open[s->n_open - 1].column >= column)
		s->out->defs[s->open[--s->n_open].index].last = s->last_line;
}

static void scan_statement(struct scanner *s, int column)
{
	int line = s->line, name = 1;
	bool is_class = false, is_def;

	s->n_head = 0;
	s->n_tokens = 0;
	s->depth = 0;
	s->collect = s->n_open == 0;
	while (!at_end(s) && scan_token(s))
		;
	if (!s->n_head)
		return;
	if (token_is(s->head[0], "@")) {
		if (!s->decorated)
			s->decorated = line;
		return;
	}
	is_def = token_is(s->head[0], "def");
	if (s->n_head > 2 && token_is(s->head[0], "async") && token_is(s->head[1], "def")) {
		is_def = true;
		name = 2;
	}
	is_class = token_is(s->head[0], "class");
	if ((is_def || is_class) && s->n_head > name && token_is_name(s->head[name]))
		add_def(s, s->head[name], is_class, line, column);
	else if (s->collect)
		parse_bindings(s, line);
	s->decorated = 0;
}

static void scan(struct scanner *s)
{
	if (s->end - s->at >= 3 && !memcmp(s->at, "\xef\xbb\xbf", 3))
		s->at += 3;
	while (!at_end(s) && !s->no_memory) {
		int column = skip_indent(s);

		if (at_end(s))
			break;
		if (*s->at == '#' || is_newline(s)) {
			skip_comment(s);
			skip_newline(s);
			continue;
		}
		close_defs(s, column);
		scan_statement(s, column);
	}
	close_defs(s, 0);
}

/* ------------------------------------------------------------------ interface */

struct pysource *pysource__scan(const char *text, size_t size)
{
	struct scanner s = {.at = text, .end = text + size, .line = 1, .budget = 4 * size + 1};

	if (size > MAX_SIZE) {
		errno = EFBIG;
		return NULL;
	}
	s.out = calloc(1, sizeof(*s.out));
	if (!s.out)
		return NULL;
	scan(&s);
	free(s.tokens);
	s.out->n_lines = s.line - (size && (text[size - 1] == '\n' || text[size - 1] == '\r'));
	if (!size)
		s.out->n_lines = 0;
	/* A string that never ends has its end behind the last line. */
	for (size_t i = 0; i < s.out->n_defs; i++)
		if (s.out->defs[i].last > s.out->n_lines)
			s.out->defs[i].last = s.out->n_lines;
	if (s.no_memory) {
		pysource__free(s.out);
		errno = ENOMEM;
		return NULL;
	}
	return s.out;
}

void pysource__free(struct pysource *source)
{
	if (!source)
		return;
	for (size_t i = 0; i < source->n_defs; i++) {
		free((char *)source->defs[i].name);
		free((char *)source->defs[i].qualname);
	}
	for (size_t i = 0; i < source->n_bindings; i++) {
		free((char *)source->bindings[i].module);
		free((char *)source->bindings[i].name);
		free((char *)source->bindings[i].as);
	}
	free(source->defs);
	free(source->bindings);
	free(source);
}

size_t pysource__count(const struct pysource *source)
{
	return source->n_defs;
}

const struct pysource_def *pysource__def(const struct pysource *source, size_t index)
{
	return index < source->n_defs ? &source->defs[index] : NULL;
}

size_t pysource__bindings(const struct pysource *source)
{
	return source->n_bindings;
}

const struct pysource_binding *pysource__binding(const struct pysource *source, size_t index)
{
	return index < source->n_bindings ? &source->bindings[index] : NULL;
}

int pysource__lines(const struct pysource *source)
{
	return source->n_lines;
}

bool pysource__is(const struct pysource_def *def, const char *qualname)
{
	static const char locals[] = "<locals>.";
	const char *have = def->qualname, *want = qualname;

	while (*have || *want) {
		if (!strncmp(have, locals, sizeof(locals) - 1) &&
		    strncmp(want, locals, sizeof(locals) - 1))
			have += sizeof(locals) - 1;
		if (*have++ != *want++)
			return false;
	}
	return true;
}

const struct pysource_def *pysource__at(const struct pysource *source, int line)
{
	const struct pysource_def *found = NULL;

	/* An inner definition comes after the one around it. */
	for (size_t i = 0; i < source->n_defs && source->defs[i].first <= line; i++)
		if (line <= source->defs[i].last)
			found = &source->defs[i];
	return found;
}
