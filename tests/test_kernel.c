// SPDX-License-Identifier: BSD-3-Clause
/*
 * The hash, in C against another way to write it, and against what the BPF programs compute: names
 * and files of every length are traced under filters and focus rules that know them by their hash.
 */
#define _GNU_SOURCE 1

#include "tests/traced_python.h"

#include <sys/syscall.h>

#include "monitor/monitor.h"
#include "transport/transport.h"

#define DEADLINE 120

static struct kernel *kernel;

static int unload(void **state)
{
	(void)state;
	kernel__free(kernel);
	kernel = NULL;
	alarm(0);
	return 0;
}

static void load(const struct kernel_config *config)
{
	traced__need(TRACED_PYTHON);
	alarm(DEADLINE);
	kernel = traced__kernel(config);
}

/* ------------------------------------------------------------------ in C */

/* The session's seed is secret, but the empty string's hash is only mixed, not cut. */
static uint64_t seed(void)
{
	uint64_t inverse = 1, hash = kernel__hash(kernel, "", 0);

	for (int i = 0; i < 6; i++) /* Newton: each step doubles the bits that are right */
		inverse *= 2 - WIRE_HASH_MULTIPLIER * inverse;
	assert_int_equal(inverse * WIRE_HASH_MULTIPLIER, 1);
	return (hash ^ (hash >> 32)) * inverse;
}

/* As wire.h describes it, byte by byte. */
static uint64_t plainly(uint64_t hash, const char *text, size_t len)
{
	uint64_t word = 0;

	if (len > 4096)
		len = 4096;
	for (size_t i = 0; i < len; i++) {
		word |= (uint64_t)(unsigned char)text[i] << (i % 8 * 8);
		if (i % 8 != 7 && i != len - 1)
			continue;
		hash = (hash ^ word) * 0x9e3779b97f4a7c15;
		hash ^= hash >> 29;
		word = 0;
	}
	hash = (hash ^ len) * 0x9e3779b97f4a7c15;
	return hash ^ hash >> 32;
}

static void test_hash(void **state)
{
	const struct kernel_config config = {.buffer_size = 65536};
	uint64_t start;

	(void)state;
	load(&config);
	start = seed();
	assert_int_not_equal(start, 0);
	for (size_t len = 0; len < 5000; len += len < 300 ? 1 : 37) {
		char *text = malloc(len + 1); /* the sanitizers watch its end */

		for (size_t i = 0; i < len; i++)
			text[i] = i * 131 + len + 0x80;
		assert_int_equal(kernel__hash(kernel, text, len), plainly(start, text, len));
		if (len) {
			uint64_t whole = kernel__hash(kernel, text, len);

			text[len - 1]++;
			if (len <= WIRE_LONG_TEXT)
				assert_int_not_equal(kernel__hash(kernel, text, len), whole);
			else
				assert_int_equal(kernel__hash(kernel, text, len), whole);
		}
		free(text);
	}
	/* Zeros that fill the last word are not zeros of the text. */
	assert_int_not_equal(kernel__hash(kernel, "a", 1), kernel__hash(kernel, "a\0", 2));
	assert_int_not_equal(kernel__hash(kernel, "", 0), kernel__hash(kernel, "\0", 1));
}

static void test_seeds_differ(void **state)
{
	const struct kernel_config config = {.buffer_size = 65536};
	uint64_t first;

	(void)state;
	load(&config);
	first = seed();
	kernel__free(kernel);
	kernel = traced__kernel(&config);
	assert_int_not_equal(first, seed());
}

/* ------------------------------------------------------------------ the programs */

static const int lengths_of_long[] = {255,  256,  257,	319,  320,  321,  4031,
				      4032, 4033, 4094, 4095, 4096, 4097, 5000};
#define N_LENGTHS (200 + (int)(sizeof(lengths_of_long) / sizeof(int)))

static int length_of(int i)
{
	return i < 200 ? i + 1 : lengths_of_long[i - 200];
}

/* A text of that length; the script below makes the same. */
static char *text_of(int len)
{
	char *text = malloc(len + 8); /* and a mark that it is cut */

	for (int i = 0; i < len; i++)
		text[i] = 'a' + (i * 7 + len) % 26;
	text[len] = '\0';
	return text;
}

/* Calls a function of each text, as its name or its file, and one of nearly the same. */
#define SCRIPT(what)                                                                              \
	"import os\n"                                                                             \
	"def f(): pass\n"                                                                         \
	"code = f.__code__\n"                                                                     \
	"calls = []\n"                                                                            \
	"for n in [*range(1, 201), 255, 256, 257, 319, 320, 321, 4031, 4032, 4033, 4094, 4095,\n" \
	"          4096, 4097, 5000]:\n"                                                          \
	"    text = ''.join(chr(97 + (i * 7 + n) % 26) for i in range(n))\n"                      \
	"    at = min(n - 1, 4000)\n"                                                             \
	"    for t in text, text[:at] + 'A' + text[at + 1:], text + 'x' * (n < 4096):\n"          \
	"        g = lambda: None\n"                                                              \
	"        g.__code__ = code.replace(" what "=t)\n"                                         \
	"        calls.append(g)\n"                                                               \
	"        if n >= 4096: break\n"                                                           \
	"os.write(1, b'ready')\n"                                                                 \
	"os.read(0, 1)\n"                                                                         \
	"for g in calls: g()\n"

struct trace {
	struct pikos_record_type type;
	struct pikos_recorder *list;
	struct wire_target final;
};

/* Runs the script to its end under the kernel's programs. */
static struct trace trace(const char *script)
{
	struct traced traced = traced__start(NULL, TRACED_PYTHON, script);
	const struct usdt_request request = {.kernel = kernel, .pid = traced.pid};
	struct trace trace = {.list = pikos_recorder__list()};
	struct monitor_config config = {
		.type = &trace.type, .recorder = trace.list, .symbols = symbols__new()};
	struct interpreter_reason why;
	struct transport *transport;
	struct monitor *monitor;
	struct usdt *usdt;

	assert_int_equal(pikos_record_type__init(&trace.type, "functions", NULL), 0);
	assert_int_equal(pikos_recorder__prepare(trace.list, &trace.type), 0);
	monitor = monitor__new(&config);
	assert_int_equal(monitor__set_target(monitor, 0, traced.pid, NULL), 0);
	transport = transport__new(kernel__ring_fds(kernel), kernel__n_cpus(kernel),
				   kernel__ring_size(kernel), -1, 0);
	assert_non_null(transport);
	usdt = usdt__attach(&request, traced.interpreter, &why);
	if (!usdt)
		fail_msg("cannot attach: %s", why.text);
	kernel__targets(kernel)[0].tgid = traced.pid;
	traced__finish(&traced);
	usdt__free(usdt);
	assert_int_equal(transport__drain(transport, monitor__handle, monitor, true), 0);
	assert_int_equal(transport__late(transport), 0);
	trace.final = kernel__targets(kernel)[0];
	assert_int_equal(monitor__finish_target(monitor, 0, &trace.final), 0);
	transport__free(transport);
	monitor__free(monitor);
	symbols__free(config.symbols);
	return trace;
}

/* A call and a return of each text, in order, and nothing else. */
static void assert_each_once(const struct trace *trace, const char *field)
{
	int column = pikos_record_type__field(&trace->type, field);

	assert_int_equal(trace->final.lost[WIRE_BUFFER_FULL], 0);
	assert_int_equal(pikos_recorder__list_count(trace->list), 2 * N_LENGTHS);
	for (int i = 0; i < 2 * N_LENGTHS; i++) {
		const struct pikos_record *got = pikos_recorder__list_get(trace->list, i);
		const struct pikos_text *text = got->values[column].s;
		int len = length_of(i / 2);
		char *expected = text_of(len);

		if (len > 4095)
			strcpy(expected + 4095, "<cut>");
		assert_int_equal(got->is_call, i % 2 == 0);
		assert_int_equal(text->len, strlen(expected));
		assert_memory_equal(text->data, expected, text->len);
		free(expected);
	}
	pikos_recorder__free(trace->list);
}

static const char **make_texts(void)
{
	const char **texts;

	traced__need(TRACED_PYTHON); /* a skipped test would leave them behind */
	texts = calloc(N_LENGTHS, sizeof(*texts));
	for (int i = 0; i < N_LENGTHS; i++)
		texts[i] = text_of(length_of(i));
	return texts;
}

static void free_texts(const char **texts)
{
	for (int i = 0; i < N_LENGTHS; i++)
		free((char *)texts[i]);
	free(texts);
}

static void test_names(void **state)
{
	const char **texts = make_texts();
	const struct kernel_config config = {
		.buffer_size = 4 << 20,
		.functions = {.texts = texts, .n = N_LENGTHS},
	};
	struct trace result;

	(void)state;
	load(&config);
	result = trace(SCRIPT("co_name"));
	assert_int_equal(result.final.seen - result.final.filtered, 2 * N_LENGTHS);
	assert_each_once(&result, "function");
	free_texts(texts);
}

static void test_files(void **state)
{
	const char **texts = make_texts();
	const struct kernel_config config = {
		.buffer_size = 4 << 20,
		.files = {.texts = texts, .n = N_LENGTHS},
	};
	struct trace result;

	(void)state;
	load(&config);
	result = trace(SCRIPT("co_filename"));
	assert_each_once(&result, "filename");
	free_texts(texts);
}

static void set_rule(struct wire_rule *rule, const char *name, const char *file, bool suffix)
{
	memset(rule, 0, sizeof(*rule));
	rule->name_hash = kernel__hash(kernel, name, strlen(name));
	rule->n_files = file != NULL;
	if (!file)
		return;
	rule->files[0].hash = kernel__hash(kernel, file, strlen(file));
	rule->files[0].len = strlen(file);
	rule->files[0].is_suffix = suffix;
}

/* All lengths, as many rules at a time as there can be. */
static void test_focus_on_names(void **state)
{
	const struct kernel_config config = {.buffer_size = 4 << 20, .focus = true};
	static struct wire_rule rules[WIRE_MAX_RULES];

	(void)state;
	for (int first = 0; first < N_LENGTHS; first += WIRE_MAX_RULES) {
		int n = N_LENGTHS - first < WIRE_MAX_RULES ? N_LENGTHS - first : WIRE_MAX_RULES;
		struct trace result;

		load(&config);
		for (int i = 0; i < n; i++) {
			char *text = text_of(length_of(first + i));

			set_rule(&rules[i], text, NULL, false);
			free(text);
		}
		assert_int_equal(kernel__set_rules(kernel, rules, n), 0);
		result = trace(SCRIPT("co_name"));
		assert_int_equal(result.final.seen, 2 * n);
		assert_int_equal(pikos_recorder__list_count(result.list), 2 * n);
		for (int i = 0; i < 2 * n; i++) {
			int len = length_of(first + i / 2);

			assert_int_equal(pikos_recorder__list_get(result.list, i)->values[2].s->len,
					 len < 4096 ? len : 4100);
		}
		pikos_recorder__free(result.list);
		unload(NULL);
	}
}

/* `n` directories of 10 characters in front of x.py: beyond 128 bytes the other hash is used. */
#define FILES                                                                                      \
	"import os\n"                                                                              \
	"def f(): pass\n"                                                                          \
	"calls = []\n"                                                                             \
	"for n in range(0, 400, 3):\n"                                                             \
	"    for name in 'x.py', 'ax.py':\n"                                                       \
	"        g = lambda: None\n"                                                               \
	"        g.__code__ = f.__code__.replace(co_filename='d' * n + '/' + name)\n"              \
	"        calls.append(g)\n"                                                                \
	"    g = lambda: None\n"                                                                   \
	"    g.__code__ = f.__code__.replace(co_filename='d' * n + '/sub/' + 's' * n + '/y.py')\n" \
	"    calls.append(g)\n"                                                                    \
	"g = lambda: None\n"                                                                       \
	"g.__code__ = f.__code__.replace(co_filename='x.py')\n"                                    \
	"calls.append(g)\n"                                                                        \
	"os.write(1, b'ready')\n"                                                                  \
	"os.read(0, 1)\n"                                                                          \
	"for g in calls: g()\n"

static void test_focus_on_files(void **state)
{
	const struct kernel_config config = {.buffer_size = 4 << 20, .focus = true};
	struct wire_rule rules[3];
	char suffix[512] = "sub/";
	struct trace result;

	(void)state;
	load(&config);
	set_rule(&rules[0], "f", "x.py", true); /* 134 directories, and x.py itself */
	memset(suffix + 4, 's', 198);
	strcpy(suffix + 202, "/y.py");
	set_rule(&rules[1], "f", suffix, true);
	set_rule(&rules[2], "f", "ddd/ax.py", false); /* exactly that one */
	assert_int_equal(kernel__set_rules(kernel, rules, 3), 0);
	result = trace(FILES);
	assert_int_equal(result.final.seen, 2 * (134 + 1 + 1 + 1));
	pikos_recorder__free(result.list);
}

static void test_rules_are_bounded(void **state)
{
	const struct kernel_config config = {.buffer_size = 65536, .focus = true};
	static struct wire_rule rules[WIRE_MAX_RULES + 1];

	(void)state;
	load(&config);
	assert_int_equal(kernel__set_rules(kernel, rules, WIRE_MAX_RULES), 0);
	assert_int_equal(kernel__set_rules(kernel, rules, WIRE_MAX_RULES + 1), -E2BIG);
	assert_int_equal(kernel__set_rules(kernel, NULL, 0), 0);
}

/* ------------------------------------------------------------------ what cannot be loaded */

static void test_missing_features(void **state)
{
	const struct kernel_config config = {.buffer_size = 65536};
	bool found[N_FEATURES];

	(void)state;
	for (int i = 0; i < N_FEATURES; i++) {
		struct kernel_error error = {{0}, {0}};

		if (!features__table[i].required)
			continue;
		memset(found, 1, sizeof(found));
		found[i] = false;
		assert_null(kernel__new(&config, found, &error));
		assert_int_equal(errno, ENOSYS);
		assert_non_null(strstr(error.text, features__table[i].name));
		assert_non_null(strstr(error.text, features__table[i].since));
		assert_true(*error.hint);
	}
	kernel__free(NULL);
}

static void test_bad_size(void **state)
{
	const struct kernel_config config = {.buffer_size = 65537};
	struct kernel_error error = {{0}, {0}};
	bool found[N_FEATURES];

	(void)state;
	traced__need(TRACED_PYTHON);
	assert_int_equal(features__find(found), 0);
	assert_null(kernel__new(&config, found, &error));
	assert_int_equal(errno, EINVAL);
}

#define TEST(name) cmocka_unit_test_teardown(name, unload)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_hash),
		TEST(test_seeds_differ),
		TEST(test_names),
		TEST(test_files),
		TEST(test_focus_on_names),
		TEST(test_focus_on_files),
		TEST(test_rules_are_bounded),
		TEST(test_missing_features),
		TEST(test_bad_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
