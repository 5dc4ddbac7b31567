/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * filter.h - what the session needs of filters beyond pikos.h.
 *
 * Some filters are decided in the kernel, for the events of its own probes. Batches of an agent
 * pass it as they are, so for them every filter is applied here. It is one list for both, because
 * `change(field)` compares with the record before, whichever source that one had.
 */
#ifndef PIKOS_FILTER_FILTER_H
#define PIKOS_FILTER_FILTER_H

#include "pikos.h"

/* @brief The filter added last is applied in the kernel, too. */
void filters__mark_decided(struct pikos_filters *filters);
/*
 * @param decided the record has passed the kernel's filters
 * @return whether the record is kept; see pikos_filters__keep
 */
bool filters__keep(struct pikos_filters *filters, const struct pikos_record *record, bool decided);

/*
 * @return whether all of them look at nothing but type, function, lineNo, line and filename: then
 * what they say of one event they say of every one of the same code, line and type. NULL: true
 */
bool filters__by_code(const struct pikos_filters *filters, const struct pikos_record_type *type);

#endif /* PIKOS_FILTER_FILTER_H */
