// SPDX-License-Identifier: BSD-3-Clause
#include <stddef.h>

#include "probes/cpython.h"

#define ALL_FUNCTION_PROBES (CPYTHON_FUNCTION_ENTRY | CPYTHON_FUNCTION_RETURN)

/*
 * PyASCIIObject of 3.6 to 3.11: ob_base, length, hash, state {interned:2 kind:3 compact:1 ascii:1
 * ready:1}, wstr. 48 bytes.
 */
#define STR_WITH_WSTR                                                                             \
	{                                                                                         \
		.length_offset = -32, .hash_offset = -24, .state_offset = -16, .header_size = 48, \
		.compact_ascii_mask = 0xfc, .compact_ascii_value = 0xe4                           \
	}

/* 3.12 took wstr and ready away: state {interned:2 kind:3 compact:1 ascii:1}. 40 bytes. */
#define STR_WITHOUT_WSTR                                                                         \
	{                                                                                        \
		.length_offset = -24, .hash_offset = -16, .state_offset = -8, .header_size = 40, \
		.compact_ascii_mask = 0x7c, .compact_ascii_value = 0x64                          \
	}

static const struct cpython_version versions[] = {
	{
		.major = 3,
		.first_minor = 6,
		.last_minor = 10,
		.probes = ALL_FUNCTION_PROBES | CPYTHON_LINE,
		.str = STR_WITH_WSTR,
	},
	{
		.major = 3,
		.first_minor = 11,
		.last_minor = 11,
		.probes = ALL_FUNCTION_PROBES | CPYTHON_LINE,
		.entry_needs_line_semaphore = true,
		.line_semaphore_first_micro = 2,
		.has_py_version = true,
		.str = STR_WITH_WSTR,
	},
	{
		.major = 3,
		.first_minor = 12,
		.last_minor = 12,
		.probes = 0,
		.has_py_version = true,
		.str = STR_WITHOUT_WSTR,
	},
	{
		.major = 3,
		.first_minor = 13,
		.last_minor = 14,
		.probes = 0,
		.has_py_version = true,
		.has_debug_offsets = true,
		.has_hashes = true,
		.str = STR_WITHOUT_WSTR,
	},
	{
		.major = 3,
		.first_minor = 15,
		.last_minor = 15,
		.probes = ALL_FUNCTION_PROBES,
		.drop_generator_creation_entry = true,
		.drop_fake_init_return = true,
		.has_py_version = true,
		.has_debug_offsets = true,
		.has_hashes = true,
		.str = STR_WITHOUT_WSTR,
	},
};

const struct cpython_version *cpython__find(int major, int minor)
{
	size_t i;

	for (i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		if (versions[i].major == major && minor >= versions[i].first_minor &&
		    minor <= versions[i].last_minor)
			return &versions[i];
	return NULL;
}

const char *cpython__probe_name(enum cpython_probe probe)
{
	switch (probe) {
	case CPYTHON_FUNCTION_ENTRY:
		return "function__entry";
	case CPYTHON_FUNCTION_RETURN:
		return "function__return";
	case CPYTHON_LINE:
		return "line";
	}
	return NULL;
}

const struct cpython_str *cpython__str(const struct cpython_version *version, bool free_threaded)
{
	return free_threaded ? NULL : &version->str;
}

bool cpython__line_semaphore_is_safe(int major, int minor, int micro)
{
	const struct cpython_version *version = cpython__find(major, minor);

	if (!version || !(version->probes & CPYTHON_LINE))
		return false;
	/* An unknown micro release (-1) only matters where some are unsafe. */
	return version->line_semaphore_first_micro == 0 ||
	       micro >= version->line_semaphore_first_micro;
}
