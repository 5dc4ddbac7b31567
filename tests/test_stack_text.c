// SPDX-License-Identifier: BSD-3-Clause
/* Stacks as one text, and names that would be another frame. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "monitor/stack_text.h"

static struct pikos_text text(const char *words)
{
	return (struct pikos_text){.data = words, .len = strlen(words)};
}

static void frame(struct stack_text *stack, const char *file, const char *function, int line)
{
	struct pikos_text a = text(file), b = text(function);

	assert_int_equal(stack_text__append_frame(stack, &a, &b, line), 0);
}

static void assert_words(struct stack_text *stack, const char *words)
{
	const struct pikos_text *all = stack_text__end(stack);

	assert_int_equal(all->len, strlen(words));
	assert_memory_equal(all->data, words, all->len);
}

static void folds(void **state)
{
	struct stack_text stack = {0};

	(void)state;
	assert_words(&stack, "");
	stack_text__begin(&stack);
	frame(&stack, "a.py", "main", 12);
	assert_int_equal(stack_text__append_words(&stack, ";"), 0);
	frame(&stack, "/b:c.py", "f", -1);
	assert_words(&stack, "a.py:main:12;/b:c.py:f:-1");
	stack_text__begin(&stack);
	assert_words(&stack, "");
	frame(&stack, "", "", 0);
	assert_words(&stack, "::0");
	free(stack.bytes);
}

static void forges_no_frame(void **state)
{
	struct stack_text stack = {0};

	(void)state;
	frame(&stack, ";a.py", "f:1;b.py:g", 3);
	assert_words(&stack, "\\x3ba.py:f:1\\x3bb.py:g:3");
	stack_text__begin(&stack);
	frame(&stack, ";;", "g;", 4);
	assert_words(&stack, "\\x3b\\x3b:g\\x3b:4");
	free(stack.bytes);
}

static void tells_what_it_is_made_of(void **state)
{
	struct stack_text stack = {0};

	(void)state;
	frame(&stack, "a.py", "f", 1);
	assert_int_equal(stack_text__end(&stack)->flags, PIKOS_TEXT_PLAIN | PIKOS_TEXT_ASCII);
	stack_text__begin(&stack);
	frame(&stack, "a\n.py", "\xc3\xa9", 1);
	assert_int_equal(stack_text__end(&stack)->flags, 0);
	free(stack.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(folds),
		cmocka_unit_test(forges_no_frame),
		cmocka_unit_test(tells_what_it_is_made_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
