// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <limits.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/libbpf.h>

#include "errors.h"
#include "log.h"

static int saved_stderr, captured;
static char said[1 << 16];

static int capture(void **state)
{
	(void)state;
	saved_stderr = dup(STDERR_FILENO);
	captured = memfd_create("stderr", MFD_CLOEXEC);
	if (saved_stderr < 0 || captured < 0 || dup2(captured, STDERR_FILENO) < 0)
		return -1;
	log_init("pikos-trace", LOG_NORMAL, false);
	return 0;
}

static int release(void **state)
{
	(void)state;
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	close(captured);
	return 0;
}

/* What was written to stderr since the last call. */
static const char *heard(void)
{
	ssize_t n = pread(captured, said, sizeof(said) - 1, 0);

	assert_true(n >= 0);
	said[n] = '\0';
	assert_int_equal(ftruncate(captured, 0), 0);
	lseek(captured, 0, SEEK_SET);
	return said;
}

static void test_form(void **state)
{
	(void)state;
	log_cannot("open", "out.csv", error_words(-EACCES));
	log_hint("run it as %s", "root");
	assert_string_equal(heard(), "pikos-trace: cannot open 'out.csv': Permission denied\n"
				     "pikos-trace: run it as root\n");
	log_init("pikos-run", LOG_NORMAL, false);
	log_error("%d%%", 5);
	assert_string_equal(heard(), "pikos-run: 5%\n");
	log_init(NULL, LOG_NORMAL, false);
	log_warn("still");
	log_line("seen=%d", 3);
	assert_string_equal(heard(), "pikos-run: still\nseen=3\n");
}

static void test_levels(void **state)
{
	static const struct {
		enum log_level level;
		const char *expected;
	} cases[] = {
		{LOG_QUIET, "p: e\np: he\nl\n"},
		{LOG_NORMAL, "p: e\np: he\np: w\np: hw\nl\n"},
		{LOG_VERBOSE, "p: e\np: he\np: w\np: hw\np: v\np: hv\nl\n"},
	};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		log_init("p", cases[i].level, false);
		log_error("e");
		log_hint("he");
		log_warn("w");
		log_hint("hw");
		log_verbose("v");
		log_hint("hv");
		log_line("l");
		assert_string_equal(heard(), cases[i].expected);
	}
}

static void test_names_are_escaped(void **state)
{
	(void)state;
	log_cannot("read", "a\033]0;owned\007\nb\r\x7f\t\\", "x");
	assert_string_equal(heard(), "pikos-trace: cannot read "
				     "'a\\x1b]0;owned\\x07\\nb\\r\\x7f\\t\\': x\n");
	log_cannot("read",
		   "\xff\xc2\x9b"
		   "31m caf\xc3\xa9 \xed\xa0\x80 \xe2\x80\xae",
		   "x");
	assert_string_equal(heard(), "pikos-trace: cannot read '\\xff\\x9b31m caf\xc3\xa9 "
				     "\\xed\\xa0\\x80 \\u202e': x\n");
}

static void test_long_names_arrive_whole(void **state)
{
	char name[8001];
	size_t n;

	(void)state;
	memset(name, '\001', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	log_error("%s", name);
	n = strlen(heard());
	assert_int_equal(n, strlen("pikos-trace: \n") + 4 * (sizeof(name) - 1));
	memset(name, '\377', sizeof(name) - 1);
	log_error("%s", name);
	assert_int_equal(strlen(heard()), n);
}

static void test_errno_is_kept(void **state)
{
	(void)state;
	close(STDERR_FILENO); /* every write fails */
	errno = ENOTTY;
	log_init(NULL, LOG_VERBOSE, true);
	log_error("a");
	log_warn("a");
	log_hint("a");
	log_verbose("a");
	log_line("a");
	log_progress("a");
	log_progress_end();
	error_words(12345);
	assert_int_equal(errno, ENOTTY);
	assert_int_equal(dup2(captured, STDERR_FILENO), STDERR_FILENO);
}

static void test_no_progress_without_a_terminal(void **state)
{
	(void)state;
	log_init(NULL, LOG_VERBOSE, true);
	log_progress("1000 records");
	log_progress_end();
	assert_string_equal(heard(), "");
}

static const char *heard_by(int terminal)
{
	ssize_t n = read(terminal, said, sizeof(said) - 1);

	assert_true(n > 0);
	said[n] = '\0';
	return said;
}

static void test_progress_on_a_terminal(void **state)
{
	struct winsize size = {.ws_row = 24, .ws_col = 20};
	int terminal, line;

	(void)state;
	assert_int_equal(openpty(&terminal, &line, NULL, NULL, &size), 0);
	assert_int_equal(dup2(line, STDERR_FILENO), STDERR_FILENO);
	log_init("p", LOG_NORMAL, false);
	log_progress("not asked for");
	log_init("p", LOG_NORMAL, true);
	log_progress("%d\n", 1);
	assert_string_equal(heard_by(terminal), "\r\033[Kp: 1\\n");
	log_progress("%s", "\xc3\xa9\xc3\xa9\xc3\xa9 longer than the terminal");
	assert_string_equal(heard_by(terminal), "\r\033[Kp: \xc3\xa9\xc3\xa9\xc3\xa9 longer than ");
	log_warn("w");
	assert_string_equal(heard_by(terminal), "\r\033[Kp: w\r\n");
	log_warn("w");
	assert_string_equal(heard_by(terminal), "p: w\r\n");
	log_progress("2");
	assert_string_equal(heard_by(terminal), "\r\033[Kp: 2");
	log_progress_end();
	assert_string_equal(heard_by(terminal), "\r\033[K");
	log_progress_end();
	log_warn("end");
	assert_string_equal(heard_by(terminal), "p: end\r\n");
	assert_int_equal(dup2(captured, STDERR_FILENO), STDERR_FILENO);
	close(terminal);
	close(line);
	log_init("p", LOG_NORMAL, false);
}

static void test_error_words(void **state)
{
	const char *words;

	(void)state;
	assert_string_equal(error_words(ENOENT), "No such file or directory");
	assert_string_equal(error_words(-ENOENT), "No such file or directory");
	assert_string_equal(error_words(-LIBBPF_ERRNO__VERIFY),
			    "Kernel's verifier refused the BPF program");
	for (int err = __LIBBPF_ERRNO__START; err < __LIBBPF_ERRNO__END; err++)
		assert_null(strstr(error_words(err), "nknown error"));
	assert_string_equal(error_words(__LIBBPF_ERRNO__END), "Unknown error 4014");
	assert_string_equal(error_words(-100000), "Unknown error 100000");
	assert_non_null(strstr(error_words(-524), "ENOTSUPP"));
	words = error_words(INT_MIN);
	assert_non_null(words);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_form, capture, release),
		cmocka_unit_test_setup_teardown(test_levels, capture, release),
		cmocka_unit_test_setup_teardown(test_names_are_escaped, capture, release),
		cmocka_unit_test_setup_teardown(test_long_names_arrive_whole, capture, release),
		cmocka_unit_test_setup_teardown(test_errno_is_kept, capture, release),
		cmocka_unit_test_setup_teardown(test_no_progress_without_a_terminal, capture,
						release),
		cmocka_unit_test_setup_teardown(test_progress_on_a_terminal, capture, release),
		cmocka_unit_test(test_error_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
