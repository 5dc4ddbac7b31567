/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rules.h - from --focused-on to the kernel's rules.
 */
#ifndef PIKOS_SESSION_RULES_H
#define PIKOS_SESSION_RULES_H

#include "focus/focus.h"
#include "kernel/kernel.h"

struct rules {
	struct wire_rule *rules; /* WIRE_MAX_RULES of them */
	int n;
};

/*
 * @brief Resolve specs for one target and add its rules to those of the others.
 * @return 0; -errno with error filled
 */
int rules__add(struct rules *rules, const struct kernel *kernel, const char *specs,
	       const struct focus_context *context, struct focus_error *error);
void rules__free(struct rules *rules);

#endif /* PIKOS_SESSION_RULES_H */
