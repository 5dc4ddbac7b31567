// SPDX-License-Identifier: BSD-3-Clause
#include "monitor/stack_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/text.h"

void stack_text__begin(struct stack_text *stack)
{
	stack->len = 0;
}

int stack_text__append(struct stack_text *stack, const char *bytes, size_t len)
{
	size_t need = stack->len + len;

	if (!len)
		return 0;
	if (need > stack->capacity) {
		char *grown = realloc(stack->bytes, 2 * need);

		if (!grown)
			return -ENOMEM;
		stack->bytes = grown;
		stack->capacity = 2 * need;
	}
	memcpy(stack->bytes + stack->len, bytes, len);
	stack->len = need;
	return 0;
}

int stack_text__append_words(struct stack_text *stack, const char *words)
{
	return stack_text__append(stack, words, strlen(words));
}

static int append_name(struct stack_text *stack, const struct pikos_text *name)
{
	const char *from = name->data, *end = from + name->len, *semicolon;
	int err = 0;

	while (!err && (semicolon = memchr(from, ';', end - from))) {
		err = stack_text__append(stack, from, semicolon - from);
		if (!err)
			err = stack_text__append_words(stack, "\\x3b");
		from = semicolon + 1;
	}
	return err ? err : stack_text__append(stack, from, end - from);
}

int stack_text__append_frame(struct stack_text *stack, const struct pikos_text *file,
			     const struct pikos_text *function, int32_t line)
{
	char number[16];
	int err = append_name(stack, file);

	if (!err)
		err = stack_text__append_words(stack, ":");
	if (!err)
		err = append_name(stack, function);
	snprintf(number, sizeof(number), ":%d", line);
	return err ? err : stack_text__append_words(stack, number);
}

const struct pikos_text *stack_text__end(struct stack_text *stack)
{
	stack->text.data = stack->bytes ? stack->bytes : "";
	stack->text.len = stack->len;
	stack->text.flags = text__flags(stack->text.data, stack->len);
	return &stack->text;
}
