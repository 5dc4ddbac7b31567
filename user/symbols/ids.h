/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ids.h - what the ids of one target's agent stand for.
 *
 * The agent makes ids and defines them in its own stream; it never gives one to another code, so an
 * id whose definition was lost is not known, and never wrong. It lives in the target: any id may
 * come in any order. Memory is bounded, and every call takes the same time whatever the ids are.
 */
#ifndef PIKOS_SYMBOLS_IDS_H
#define PIKOS_SYMBOLS_IDS_H

#include "symbols/symbols.h"

#define IDS_MAX_BYTES (64u << 20) /* of one target */

struct ids;

/* @return NULL and errno */
struct ids *ids__new(void);
void ids__free(struct ids *ids);

/*
 * @brief Learn an id, or learn it anew.
 * @return 0; -ENOSPC: IDS_MAX_BYTES are in use, nothing has changed; -ENOMEM: the id is not known
 */
int ids__define(struct ids *ids, uint32_t id, const struct symbol_string *function,
		const struct symbol_string *file);
void ids__forget(struct ids *ids, uint32_t id);
/* @brief Forget all of them. */
void ids__clear(struct ids *ids);

/* @return the symbol, or NULL when the id is not known; valid until it is defined or forgotten */
struct symbol *ids__get(const struct ids *ids, uint32_t id);

#endif /* PIKOS_SYMBOLS_IDS_H */
