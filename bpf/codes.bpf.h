/* SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only) */
/*
 * Which code is this? Strings to ids, and what focus and filters say of a code, decided when it
 * is first seen.
 *
 * Ids stand for strings, and the question on the hot path is whether an address still means the
 * string that it meant before: interpreters reuse memory, so an exec'ed function's name is often
 * found where another's was. Hence:
 *
 *   entry, line  read both strings, hash them, and compare with what the addresses stood for;
 *   return       trusts the addresses: the frame that returns was entered (and checked) before
 *                and keeps its code, so its strings are still where they were.
 *
 * That is exact, whatever Python's objects look like, and costs one check per call.
 */
#ifndef PIKOS_CODES_BPF_H
#define PIKOS_CODES_BPF_H

#include "bpf/strings.bpf.h"
#include "bpf/transport.bpf.h"

/* The strings of one event. */
struct code_strings {
	const char *name, *file;
	struct hashed name_hash, file_hash;
};

static __always_inline bool file_matches(const struct wire_rule *rule, __u64 file, __u64 file_hash,
					 __u64 file_len)
{
	for (__u32 i = 0; i < WIRE_MAX_FILES; i++) {
		if (i >= rule->n_files)
			break;
		if (rule->files[i].hash == file_hash)
			return true;
		if (rule->files[i].is_suffix &&
		    string_ends_with(file, file_len, rule->files[i].hash, rule->files[i].len))
			return true;
	}
	return rule->n_files == 0;
}

#define DECIDED_FOCUSED (1ULL << 32)

/*
 * @return DECIDED_FOCUSED, or the rule's bit if its ranges decide, or 0: outside
 * A function of its own, whose result the verifier knows nothing about: otherwise 5.10's follows
 * every combination of rules that match.
 */
__weak __u64 decide_by_rule(__u32 index, __u64 name_hash, __u64 file, __u64 file_hash,
			    __u64 file_len)
{
	struct wire_rule *rule = bpf_map_lookup_elem(&rules, &index);

	if (!rule || rule->name_hash != name_hash || !file_matches(rule, file, file_hash, file_len))
		return 0;
	return rule->n_ranges ? 1ULL << (index & 31) : DECIDED_FOCUSED;
}

/* @return DECIDED_FOCUSED, or a bit per rule whose ranges decide, or 0: outside */
__weak __u64 decide_focus(__u64 name_hash, __u64 file, __u64 file_hash, __u64 file_len)
{
	__u64 decided = 0;

	if (file_len == LEN_LONG)
		file_len = count_long_string(file);
	for (__u32 i = 0; i < WIRE_MAX_RULES; i++) {
		if (i >= control.n_rules)
			break;
		decided |= decide_by_rule(i, name_hash, file, file_hash, file_len);
	}
	return decided & DECIDED_FOCUSED ? DECIDED_FOCUSED : decided;
}

static __always_inline void set_focus(struct code_info *info, const struct code_strings *strings)
{
	__u64 decided = decide_focus(info->name_hash, (__u64)strings->file, info->file_hash,
				     strings->file_hash.len);

	info->rules = decided;
	info->focus = decided == DECIDED_FOCUSED ? CODE_FOCUSED
		      : decided			 ? CODE_BY_RANGE
						 : CODE_OUTSIDE;
}

static __always_inline bool dropped_by_list(__u64 hash, __u64 field, __u32 mode)
{
	struct wire_filter_key key = {.hash = hash, .field = field};

	if (!mode)
		return false;
	return (bpf_map_lookup_elem(&filter_strings, &key) != NULL) == (mode == FILTER_DROP);
}

/* A string that filled the array is cut if it goes on. */
static __always_inline bool is_cut(const char *text, long read)
{
	char next = 0;

	if (read < WIRE_LONG_TEXT)
		return false;
	bpf_probe_read_user(&next, 1, text + WIRE_LONG_TEXT - 1);
	return next;
}

static __noinline int send_long_code(const struct code_strings *strings, __u32 id)
{
	struct wire_code_long *record;
	void *ring = this_ring();
	long len;

	if (!ring || !strings)
		return -1;
	record = bpf_ringbuf_reserve(ring, sizeof(*record), 0);
	if (!record)
		return -1;
	record->code = id;
	record->cut = 0;
	len = bpf_probe_read_user_str(record->name, WIRE_LONG_TEXT, strings->name);
	if (len < 0)
		record->name[0] = 0;
	else if (is_cut(strings->name, len))
		record->cut |= WIRE_NAME_CUT;
	len = bpf_probe_read_user_str(record->file, WIRE_LONG_TEXT, strings->file);
	if (len < 0)
		record->file[0] = 0;
	else if (is_cut(strings->file, len))
		record->cut |= WIRE_FILE_CUT;
	fill_head(&record->head, WIRE_CODE_LONG, 0, 0);
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
}

static __noinline int send_code(const struct code_strings *strings, __u32 id)
{
	struct wire_code *record;
	void *ring = this_ring();

	if (!ring || !strings)
		return -1;
	if (strings->name_hash.len >= WIRE_SHORT_NAME || strings->file_hash.len >= WIRE_SHORT_FILE)
		return send_long_code(strings, id);
	record = bpf_ringbuf_reserve(ring, sizeof(*record), 0);
	if (!record)
		return -1;
	record->code = id;
	record->cut = 0;
	if (bpf_probe_read_user_str(record->name, WIRE_SHORT_NAME, strings->name) < 0)
		record->name[0] = 0;
	if (bpf_probe_read_user_str(record->file, WIRE_SHORT_FILE, strings->file) < 0)
		record->file[0] = 0;
	fill_head(&record->head, WIRE_CODE, 0, 0);
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
}

/*
 * An id that nobody else has. Atomic additions give no result before 5.12, so two CPUs can read the
 * same number: who adds it to the map first has it.
 */
static __always_inline __u32 claim_id(void)
{
	__u8 one = 1;

	for (int i = 0; i < 8; i++) {
		__u32 id = *(volatile __u32 *)&control.next_code + 1;

		__sync_fetch_and_add(&control.next_code, 1);
		if (!bpf_map_update_elem(&id_claims, &id, &one, BPF_NOEXIST))
			return id;
	}
	return 0;
}

/* A code whose addresses do not say who it is: by its content, known or new. id 0: not sent. */
static __noinline int identify_code(const struct code_strings *strings, struct code_info *info)
{
	struct code_key key = {};
	struct code_info *known;

	if (!strings || !info)
		return 0;
	key.name = strings->name_hash.hash;
	key.file = strings->file_hash.hash;
	known = bpf_map_lookup_elem(&code_ids, &key);
	if (known && known->generation == control.generation) {
		*info = *known;
		return 0;
	}
	info->name_hash = key.name;
	info->file_hash = key.file;
	info->generation = control.generation;
	info->id = claim_id();
	if (filter_focus)
		set_focus(info, strings);
	info->filtered = dropped_by_list(key.name, WIRE_FILTER_FUNCTION, filter_names) ||
			 dropped_by_list(key.file, WIRE_FILTER_FILENAME, filter_files);
	if (!info->id || send_code(strings, info->id)) {
		info->id = 0;
		return 0;
	}
	bpf_map_update_elem(&code_ids, &key, info, BPF_ANY);
	return 0;
}

/*
 * @param fresh  where to put what no map holds
 * @return the code, in a map or in `fresh`; NULL when a string could not be read
 */
static __always_inline const struct code_info *code_of(const char *name, const char *file,
						       __u32 tgid, bool trust_addresses,
						       struct code_info *fresh)
{
	struct code_key key = {.name = (__u64)name, .file = (__u64)file, .tgid = tgid};
	struct code_info *known = bpf_map_lookup_elem(&code_addresses, &key);
	struct code_strings strings;

	if (trust_addresses && known && known->generation == control.generation)
		return known;
	strings.name = name;
	strings.file = file;
	if (hash_name(name, &strings.name_hash) || hash_file(file, &strings.file_hash))
		return NULL;
	if (known && known->name_hash == strings.name_hash.hash &&
	    known->file_hash == strings.file_hash.hash && known->generation == control.generation)
		return known;
	identify_code(&strings, fresh);
	/* Who was at these addresses before must not stay: the return trusts what it finds. */
	if (!fresh->id || bpf_map_update_elem(&code_addresses, &key, fresh, BPF_ANY))
		bpf_map_delete_elem(&code_addresses, &key);
	return fresh;
}

#endif /* PIKOS_CODES_BPF_H */
