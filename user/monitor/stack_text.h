/* SPDX-License-Identifier: BSD-3-Clause */
/* stack_text.h - a stack as one text, "FILE:FUNCTION:LINE;...", as flame graphs want it. */
#ifndef PIKOS_MONITOR_STACK_TEXT_H
#define PIKOS_MONITOR_STACK_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "pikos.h"

/* Zeroed it is empty. The same one is begun anew for the next stack. */
struct stack_text {
	struct pikos_text text; /* after stack_text__end; holds until the next begin */
	char *bytes;		/* free() it */
	size_t len, capacity;
};

void stack_text__begin(struct stack_text *stack);

/* @return 0, -ENOMEM */
int stack_text__append(struct stack_text *stack, const char *bytes, size_t len);
int stack_text__append_words(struct stack_text *stack, const char *words);

/* A `;` in a name is written as `\x3b`: it would be another frame. @return 0, -ENOMEM */
int stack_text__append_frame(struct stack_text *stack, const struct pikos_text *file,
			     const struct pikos_text *function, int32_t line);

/* @return what was appended, owned by `stack` */
const struct pikos_text *stack_text__end(struct stack_text *stack);

#endif /* PIKOS_MONITOR_STACK_TEXT_H */
