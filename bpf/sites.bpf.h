/* SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only) */
/*
 * Which probe was hit, of which target.
 */
#ifndef PIKOS_SITES_BPF_H
#define PIKOS_SITES_BPF_H

#include "bpf/state.bpf.h"
#include "bpf/core_compat.bpf.h"

/* @return index into sites; one that is in no map when the place is not known */
static __always_inline __u32 site_index(struct pt_regs *ctx, __u32 tgid)
{
	struct site_key key = {.ip = PT_REGS_IP(ctx), .tgid = tgid};
	__u32 *found;

	if (has_attach_cookie)
		return bpf_get_attach_cookie(ctx);
	found = bpf_map_lookup_elem(&site_addresses, &key);
	return found ? *found : WIRE_MAX_SITES;
}

#endif /* PIKOS_SITES_BPF_H */
