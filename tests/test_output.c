// SPDX-License-Identifier: BSD-3-Clause
/*
 * Filters are decided in two places: what the kernel was given and what was left must together keep
 * the very records that the filters of pikos.h keep, in order.
 */
#include "recorder_support.h"

#include <errno.h>
#include <sys/mman.h>

#include "filter/filter.h"
#include "session/output.h"

static struct options *options;
static struct output output;
static struct kernel_config config;

static int setup(void **state)
{
	(void)state;
	memset(&output, 0, sizeof(output));
	memset(&config, 0, sizeof(config));
	options = options__new();
	assert_non_null(options);
	options->monitor = "functions";
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	output__free(&output);
	options__free(options);
	return 0;
}

static void start_again(void)
{
	teardown(NULL);
	setup(NULL);
}

static void filter(const char *expression)
{
	options->filters[options->n_filters++] = expression;
}

static void choose(void)
{
	assert_int_equal(output__choose(&output, options, &config), 0);
}

static void assert_list(const struct kernel_list *list, bool drop, int n, const char *const texts[])
{
	assert_non_null(list->texts);
	assert_int_equal(list->drop, drop);
	assert_int_equal(list->n, n);
	for (int i = 0; i < n; i++)
		assert_string_equal(list->texts[i], texts[i]);
}

/* Of the kernel's: bits of call and return. */
static uint32_t types(void)
{
	assert_true(config.types);
	return config.types & (1u << WIRE_CALL | 1u << WIRE_RETURN);
}

/* Whether a filter is left for what the kernel has passed: one that drops this row, or its like. */
static bool anything_left(void)
{
	struct row row;
	bool kept;

	row_function(&row, &output.type, 7, "nothing", "nobody", 12345, "c");
	kept = filters__keep(output.filters, &row.record, true) &&
	       filters__keep(output.filters, &row.record, true);
	row_free(&row);
	return !kept;
}

/* ------------------------------------------------------------------ the split */

static void test_nothing(void **state)
{
	(void)state;
	choose();
	assert_null(output.filters);
	assert_null(config.functions.texts);
	assert_null(config.files.texts);
	assert_int_equal(config.types, 0);
	assert_string_equal(output.type.monitor, "functions");
}

static void test_lists(void **state)
{
	(void)state;
	filter("function=gcd,lcm");
	filter("filename!=/a.py");
	filter("type=call");
	choose();
	assert_non_null(output.filters); /* an agent's batches have passed nothing */
	assert_false(anything_left());
	assert_list(&config.functions, false, 2, (const char *const[]){"gcd", "lcm"});
	assert_list(&config.files, true, 1, (const char *const[]){"/a.py"});
	assert_int_equal(types(), 1u << WIRE_CALL);
}

static void test_signs_in_values(void **state)
{
	(void)state;
	filter("function=!=");
	filter("filename=a=b,c!=d"); /* the first '=' counts */
	choose();
	assert_false(anything_left());
	assert_list(&config.functions, false, 1, (const char *const[]){"!="});
	assert_list(&config.files, false, 2, (const char *const[]){"a=b", "c!=d"});
}

static void test_types(void **state)
{
	static const struct {
		const char *filter;
		uint32_t keeps;
	} cases[] = {
		{"type=call", 1u << WIRE_CALL},
		{"type=return", 1u << WIRE_RETURN},
		{"type=return,call", 1u << WIRE_CALL | 1u << WIRE_RETURN},
		{"type!=call", 1u << WIRE_RETURN},
		{"type!=call,return", 0},
		{"type=c_call", 0},
		{"type!=c_call", 1u << WIRE_CALL | 1u << WIRE_RETURN},
		{"type=calls,cal", 0},
		{"type=c_call,call", 1u << WIRE_CALL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		start_again();
		filter(cases[i].filter);
		choose();
		assert_false(anything_left());
		assert_int_equal(types(), cases[i].keeps);
	}
}

/* A field's second filter, other fields, and what only the text can tell. */
static void test_what_is_left(void **state)
{
	static const char *const left[] = {
		"lineNo=3",	    "index!=7",	       "function=a\\xff",  "filename!=b\\x00,c",
		"change(function)", "function=a<cut>", "filename=/a<cut>",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(left) / sizeof(*left); i++) {
		start_again();
		filter(left[i]);
		choose();
		assert_true(anything_left());
		assert_null(config.functions.texts);
		assert_null(config.files.texts);
		assert_int_equal(config.types, 0);
	}
	start_again();
	filter("function=a,b");
	filter("function=b,c");
	filter("type!=call");
	filter("type!=return");
	choose();
	assert_true(anything_left());
	assert_list(&config.functions, false, 2, (const char *const[]){"a", "b"});
	assert_int_equal(types(), 1u << WIRE_RETURN);
}

/* `change` must see what the filters before it keep, and not what those behind it drop. */
static void test_order_of_change(void **state)
{
	(void)state;
	filter("filename=/a.py");
	filter("change(function)");
	filter("function=a");
	filter("type=call");
	choose();
	assert_list(&config.files, false, 1, (const char *const[]){"/a.py"});
	assert_null(config.functions.texts);
	assert_int_equal(config.types, 0);
	assert_true(anything_left());
}

static char *many_values(const char *field, int n)
{
	char *text = malloc(32 + n * 8);
	int at = sprintf(text, "%s=", field);

	for (int i = 0; i < n; i++)
		at += sprintf(text + at, "%sf%d", i ? "," : "", i);
	return text;
}

/* The kernel has room for so many; more must work all the same. */
static void test_many_values(void **state)
{
	char *functions = many_values("function", WIRE_MAX_FILTER_STRINGS - 10);
	char *files = many_values("filename", 11);
	char *more = many_values("function", WIRE_MAX_FILTER_STRINGS + 1);

	(void)state;
	filter(functions);
	filter(files);
	choose();
	assert_int_equal(config.functions.n, WIRE_MAX_FILTER_STRINGS - 10);
	assert_null(config.files.texts);
	assert_true(anything_left());
	start_again();
	filter(more);
	choose();
	assert_null(config.functions.texts);
	assert_true(anything_left());
	free(functions);
	free(files);
	free(more);
}

static void test_other_monitors(void **state)
{
	(void)state;
	options->monitor = "line_memory";
	options->fields = "+pid";
	filter("function!=f");
	filter("RSS=4096");
	choose();
	assert_true(output.type.memory);
	assert_int_equal(output.type.n_extra, 1);
	assert_list(&config.functions, true, 1, (const char *const[]){"f"});
	assert_non_null(output.filters);
}

/* ------------------------------------------------------------------ both together */

static bool list_keeps(const struct kernel_list *list, const char *text)
{
	bool listed = false;

	for (int i = 0; i < list->n; i++)
		listed = listed || !strcmp(list->texts[i], text);
	return !list->texts || listed != list->drop;
}

/* What see() of python.bpf.c does. */
static bool kernel_keeps(enum wire_type type, const char *function, const char *file)
{
	return list_keeps(&config.functions, function) && list_keeps(&config.files, file) &&
	       (!config.types || config.types >> type & 1);
}

static const char *const names[] = {"a", "b", "c", "!", "long_name", "a=b"};
static const char *const files[] = {"/x.py", "/y.py", "<string>"};

static void random_filter(char *text, size_t size)
{
	static const char *const fields[] = {"function", "filename", "type", "lineNo"};
	const char *field = fields[random() % 4];

	if (random() % 4 == 0) {
		snprintf(text, size, "change(%s)", field);
		return;
	}
	snprintf(text, size, "%s%s=", field, random() % 2 ? "!" : "");
	for (int i = random() % 3; i >= 0; i--) {
		const char *value = *field == 'l'     ? (random() % 2 ? "1" : "2")
				    : field[1] == 'u' ? names[random() % 6]
				    : *field == 'f'   ? files[random() % 3]
				    : random() % 2    ? "call"
						      : "return";

		snprintf(text + strlen(text), size - strlen(text), "%s%s", value, i ? "," : "");
	}
}

static void compare_once(void)
{
	char texts[4][128];
	struct pikos_filters *all = pikos_filters__new();
	int n = 1 + random() % 4;

	start_again();
	for (int i = 0; i < n; i++) {
		random_filter(texts[i], sizeof(texts[i]));
		filter(texts[i]);
	}
	choose();
	for (int i = 0; i < n; i++)
		assert_int_equal(pikos_filters__add(all, &output.type, texts[i]), 0);
	for (int i = 0; i < 100; i++) {
		enum wire_type type = random() % 2 ? WIRE_CALL : WIRE_RETURN;
		const char *name = names[random() % 6], *file = files[random() % 3];
		struct row row;
		bool kept;

		row_function(&row, &output.type, i, type == WIRE_CALL ? "call" : "return", name,
			     1 + random() % 2, file);
		kept = kernel_keeps(type, name, file) &&
		       filters__keep(output.filters, &row.record, true);
		if (kept != pikos_filters__keep(all, &row.record))
			fail_msg("%s, %s, %s, %s: record %d", texts[0], n > 1 ? texts[1] : "",
				 n > 2 ? texts[2] : "", n > 3 ? texts[3] : "", i);
		row_free(&row);
	}
	pikos_filters__free(all);
}

static void test_split_keeps_the_same(void **state)
{
	(void)state;
	srandom(1);
	for (int i = 0; i < 1000; i++)
		compare_once();
}

/* ------------------------------------------------------------------ recorder */

static bool never(void *ctx)
{
	(void)ctx;
	return false;
}

static void test_recorder(void **state)
{
	char *path = temporary("output.csv"), *text;
	struct pikos_summary summary = {0};
	size_t len;

	(void)state;
	options->recording = RECORDING_CSV;
	options->csv_delimiter = ';';
	options->output = path;
	choose();
	assert_int_equal(output__make_recorder(&output, options, 1, never), 0);
	assert_int_equal(output__open(&output, options), 0);
	assert_int_equal(pikos_recorder__finalize(output.recorder, &summary), 0);
	text = slurp(path, &len);
	assert_string_equal(text, "index;type;function;lineNo;filename\r\n");
	free(text);
	unlink(path);
	free(path);
}

/* Said on stderr, once. */
static int quietly(int (*make)(struct output *, const struct options *, pid_t, bool (*)(void *)),
		   char *said, size_t size)
{
	int saved = dup(STDERR_FILENO), fd = memfd_create("stderr", 0), err;
	ssize_t got;

	dup2(fd, STDERR_FILENO);
	err = make(&output, options, 1, never);
	if (!err)
		err = output__open(&output, options);
	dup2(saved, STDERR_FILENO);
	got = pread(fd, said, size - 1, 0);
	said[got < 0 ? 0 : got] = '\0';
	close(saved);
	close(fd);
	return err;
}

static void test_recorder_fails(void **state)
{
	char said[1024];

	(void)state;
	options->recording = RECORDING_TEXT;
	options->output = "/nonexistent/file";
	choose();
	assert_int_equal(quietly(output__make_recorder, said, sizeof(said)), -ENOENT);
	assert_non_null(strstr(said, "cannot open '/nonexistent/file': No such file or directory"));
	assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);

	start_again();
	options->recording = RECORDING_ZMQ;
	options->zmq_secret_key_file = "/nonexistent/key";
	options->zmq_public_key_file = "/nonexistent/key";
	choose();
	assert_int_equal(quietly(output__make_recorder, said, sizeof(said)), -ENOENT);
	assert_non_null(strstr(said, "cannot read '/nonexistent/key'"));
	assert_null(output.recorder);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing),	TEST(test_lists),	   TEST(test_signs_in_values),
		TEST(test_types),	TEST(test_what_is_left),   TEST(test_order_of_change),
		TEST(test_many_values), TEST(test_other_monitors), TEST(test_split_keeps_the_same),
		TEST(test_recorder),	TEST(test_recorder_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
