// SPDX-License-Identifier: BSD-3-Clause
#include "focus.h"

#include <string.h>

#include "buffer.h"
#include "names.h"
#include "session.h"
#include "threads.h"

struct gate gate;

void focus__start(void)
{
	memset(&gate, 0, sizeof(gate));
	gate.has_focus = session.flags & AGENT_FOCUS;
	gate.has_window = session.flags & AGENT_WINDOW;
	gate.has_regions = session.flags & AGENT_REGIONS;
	gate.is_there = gate.has_focus || gate.has_window || gate.has_regions;
}

static uint64_t hash(const char *text, size_t len)
{
	uint64_t value = session.hash_seed, word;

	for (size_t at = 0; at < len; at += 8) {
		word = 0;
		memcpy(&word, text + at, len - at < 8 ? len - at : 8);
		value = wire_hash_word(value, word);
	}
	return wire_hash_end(value, len);
}

static bool file_matches(const struct wire_rule *rule, const char *file, size_t len)
{
	for (uint32_t i = 0; i < rule->n_files; i++) {
		size_t end = rule->files[i].len;

		if (rule->files[i].hash == hash(file, len))
			return true;
		if (rule->files[i].is_suffix && len > end && file[len - end - 1] == '/' &&
		    hash(file + len - end, end) == rule->files[i].hash)
			return true;
	}
	return !rule->n_files;
}

static bool line_matches(const struct wire_rule *rule, int32_t line)
{
	for (uint32_t i = 0; i < rule->n_ranges; i++)
		if (rule->ranges[i].first <= line && line <= rule->ranges[i].last)
			return true;
	return !rule->n_ranges;
}

static int32_t first_line(void *code)
{
	void *value = py.PyObject_GetAttrString(code, "co_firstlineno");
	int32_t line = value ? py.PyLong_AsLong(value) : -1;

	if (value)
		py.Py_DecRef(value);
	return line;
}

uint32_t focus__decide(void *code, const char *name, size_t name_len, const char *file,
		       size_t file_len)
{
	uint32_t flags = 0;
	uint64_t name_hash;
	int32_t line;

	if (gate.has_regions && name_len == strlen(AGENT_REGION_MARK) &&
	    !memcmp(name, AGENT_REGION_MARK, name_len))
		flags |= ENTRY_REGION_MARK;
	if (!gate.has_focus && !gate.has_window)
		return flags;
	name_hash = hash(name, name_len);
	line = first_line(code);
	for (uint32_t i = 0; i < session.n_rules; i++) {
		const struct wire_rule *rule = &session.rules[i];

		if (rule->name_hash == name_hash && file_matches(rule, file, file_len) &&
		    line_matches(rule, line))
			flags |= ENTRY_FOCUSED;
	}
	if (name_hash == session.module_name_hash &&
	    hash(file, file_len) == session.window_file_hash)
		flags |= ENTRY_WINDOW;
	return flags;
}

/* Whether the script runs, its <module>'s own entry and return included. */
static bool in_window(const struct code_entry *entry, uint32_t type)
{
	bool own = entry->flags & ENTRY_WINDOW;

	if (own && (type == WIRE_CALL || (type == WIRE_LINE && !gate.window_depth)))
		gate.window_depth++;
	if (!gate.window_depth)
		return false;
	if (own && type == WIRE_RETURN)
		gate.window_depth--;
	return true;
}

/* Everything while inside a focused function, per thread; recursion counts. */
static bool in_focus(const struct code_entry *entry, uint32_t type, struct agent_thread *thread)
{
	bool focused = entry->flags & ENTRY_FOCUSED;

	if (session.flags & AGENT_LINES)
		return focused;
	if (focused && type == WIRE_CALL && !thread->focus_depth++)
		__atomic_add_fetch(&gate.threads_inside, 1, __ATOMIC_RELAXED);
	if (!thread->focus_depth)
		return false;
	if (focused && type == WIRE_RETURN && !--thread->focus_depth)
		__atomic_sub_fetch(&gate.threads_inside, 1, __ATOMIC_RELAXED);
	return true;
}

static bool in_region(const struct agent_thread *thread)
{
	return thread->region_depth &&
	       thread->region_start == __atomic_load_n(&session.starts, __ATOMIC_SEQ_CST);
}

bool focus__passes(const struct code_entry *entry, uint32_t type)
{
	struct agent_thread *thread;
	bool passes = true;

	thread = threads__current();
	if (unlikely(!thread))
		return false;
	if (gate.has_regions && (entry->flags & ENTRY_REGION_MARK || !in_region(thread)))
		return false;
	if (gate.has_window)
		passes = in_window(entry, type);
	if (gate.has_focus)
		passes = in_focus(entry, type, thread) && passes;
	return passes;
}

bool focus__is_inside(const struct agent_thread *thread)
{
	if (gate.has_regions && !in_region(thread))
		return false;
	if (gate.has_window && !__atomic_load_n(&gate.window_depth, __ATOMIC_RELAXED))
		return false;
	return !gate.has_focus || thread->focus_depth;
}

/*
 * What was entered for a session that is over was perhaps not left in it: nobody was attached when
 * the program looked.
 */
void focus__enter_region(struct agent_thread *thread)
{
	if (!in_region(thread)) {
		thread->region_depth = 0;
		thread->region_start = __atomic_load_n(&session.starts, __ATOMIC_SEQ_CST);
	}
	thread->region_depth++;
}

/* A focus that was entered inside the region ends with it: nothing is seen of its return. */
void focus__leave_region(struct agent_thread *thread)
{
	if (!in_region(thread) || --thread->region_depth || !thread->focus_depth)
		return;
	thread->focus_depth = 0;
	__atomic_sub_fetch(&gate.threads_inside, 1, __ATOMIC_RELAXED);
}

void focus__thread_ended(const struct agent_thread *thread)
{
	if (thread->focus_depth)
		__atomic_sub_fetch(&gate.threads_inside, 1, __ATOMIC_RELAXED);
}
