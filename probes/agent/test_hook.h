/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_hook.h - in the library that the tests build (-DAGENT_TEST) a batch also goes to a function
 * of theirs, so that the agent is tested without a kernel. Nothing of it is in the product.
 */
#ifndef PIKOS_AGENT_TEST_HOOK_H
#define PIKOS_AGENT_TEST_HOOK_H

#ifdef AGENT_TEST
struct wire_batch;
extern void agent_test_batch(const struct wire_batch *batch);
#define TEST_HOOK_BATCH(batch) agent_test_batch(batch)
#else
#define TEST_HOOK_BATCH(batch) ((void)0)
#endif

#endif /* PIKOS_AGENT_TEST_HOOK_H */
