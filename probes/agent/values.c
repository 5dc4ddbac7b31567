// SPDX-License-Identifier: BSD-3-Clause
#include "values.h"

#include <stddef.h>
#include <sys/mman.h>

#define PAGE 4096 /* at least: the kernel rounds up */

static const struct wire_values *next;	  /* of the session that is about to start; atomic */
static const struct wire_values *current; /* mapped; a forked child looks at it no more */

static void unmap(const struct wire_values *values)
{
	if (values)
		munmap((void *)(uintptr_t)values, PAGE);
}

static void set_next(const struct wire_values *values)
{
	unmap(__atomic_exchange_n(&next, values, __ATOMIC_SEQ_CST));
}

bool values__map(int fd)
{
	const struct wire_values *values = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);

	if (values == MAP_FAILED)
		return false;
	set_next(values);
	/* The mapping itself was a change: who keeps the page has said so. */
	return __atomic_load_n(&values->vms, __ATOMIC_RELAXED);
}

void values__unmap(void)
{
	set_next(NULL);
}

void values__begin(void)
{
	values__end();
	buffer.values = current = __atomic_exchange_n(&next, NULL, __ATOMIC_SEQ_CST);
}

void values__end(void)
{
	buffer.values = NULL;
	unmap(current);
	current = NULL;
}
