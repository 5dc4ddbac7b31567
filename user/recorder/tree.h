/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tree.h - calls and returns as an indented tree, like ftrace's function_graph and bcc's uflow.
 *
 *	TID         ELAPSED(us)           RSS+- | FUNCTION
 *	------------------------------------------------------
 *	4711                                    | -> main  app.py:12
 *	4711                                    |   -> load  app.py:3
 *	4711            125.042           +4096 |   <- load  app.py:9
 *
 * A thread's open calls are kept on a stack of its own. Memory is bounded: by calls over all
 * threads, and by threads, of which the one that was silent for longest is forgotten. Returns
 * without a call (attached in the middle, records lost) are shown without elapsed time.
 */
#ifndef PIKOS_RECORDER_TREE_H
#define PIKOS_RECORDER_TREE_H

#include <stddef.h>

#include "pikos.h"

struct tree;

/*
 * @param type copied; its extra columns come first, +tid excepted: the tree has that always
 * @return NULL with errno: ENOMEM; EINVAL: a type without calls and returns
 */
struct tree *tree__new(const struct pikos_record_type *type);
/* NULL is fine. */
void tree__free(struct tree *tree);

/* @return room that tree__put_header and tree__put need at most; record NULL: the header */
size_t tree__bound(const struct tree *tree, const struct pikos_record *record);
/* @brief The header line, without a newline. @return the end of what was written */
char *tree__put_header(struct tree *tree, char *out);
/* @brief The line of a record, without a newline. @return the end of what was written */
char *tree__put(struct tree *tree, char *out, const struct pikos_record *record);

#endif /* PIKOS_RECORDER_TREE_H */
