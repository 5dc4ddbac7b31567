// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernel/features.h"

static int release_of(const char *text)
{
	int major = 0, minor = 0;

	assert_int_equal(sscanf(text, "%d.%d", &major, &minor), 2);
	return major * 1000 + minor;
}

static void test_table(void **state)
{
	(void)state;
	for (int i = 0; i < N_FEATURES; i++) {
		const struct feature_info *info = &features__table[i];
		char again[16];
		int release;

		assert_non_null(info->name);
		assert_non_null(info->use);
		assert_true(*info->name && *info->use);
		release = release_of(info->since);
		assert_true(release >= 4000 && release < 8000);
		snprintf(again, sizeof(again), "%d.%d", release / 1000, release % 1000);
		assert_string_equal(again, info->since);
		/* What 5.10 lacks cannot be required: it is supported. */
		assert_true(!info->required || release <= 5010);
		for (int j = 0; j < i; j++)
			assert_string_not_equal(info->name, features__table[j].name);
	}
}

/* By its release the kernel has what is found by trying; an older one may have got it as well. */
static void test_found(void **state)
{
	bool found[N_FEATURES], again[N_FEATURES];
	struct utsname kernel;

	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: not root, so nothing can be tried\n");
		skip();
	}
	assert_int_equal(uname(&kernel), 0);
	memset(found, 0xff, sizeof(found));
	assert_int_equal(features__find(found), 0);
	for (int i = 0; i < N_FEATURES; i++) {
		/* Hosts can forbid the one, the other belongs to PREEMPT_DYNAMIC. */
		bool may_lack = i == FEATURE_CALL_EXITS || i == FEATURE_LAZY_PREEMPTION;

		if (release_of(kernel.release) >= release_of(features__table[i].since) &&
		    !found[i] && !may_lack)
			fail_msg("%s: not found on %s", features__table[i].name, kernel.release);
		if (found[i] &&
		    release_of(kernel.release) + 3 < release_of(features__table[i].since))
			fail_msg("%s: found on %s", features__table[i].name, kernel.release);
	}
	assert_int_equal(found[FEATURE_BTF], !access("/sys/kernel/btf/vmlinux", R_OK));
	if (found[FEATURE_ADJACENT_RSS])
		assert_true(found[FEATURE_PERCPU_RSS]);
	assert_true(features__knows_rss());
	assert_int_equal(features__find(again), 0);
	assert_memory_equal(found, again, sizeof(found));
}

/* What needs no rights is found, the rest is not; nothing is said and nothing crashes. */
static void test_without_rights(void **state)
{
	int status = 0;
	pid_t pid = fork();

	(void)state;
	if (!pid) {
		bool found[N_FEATURES];

		if (geteuid() == 0 && setresuid(65534, 65534, 65534))
			_exit(1);
		memset(found, 0xff, sizeof(found));
		features__find(found);
		if (found[FEATURE_COOKIE] || found[FEATURE_TASK_BTF] || found[FEATURE_MEMCG])
			_exit(2);
		for (int i = 0; i < N_FEATURES; i++)
			if (*(unsigned char *)&found[i] > 1)
				_exit(3);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_without_rights), /* first: the kernel's BTF is read once */
		cmocka_unit_test(test_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
