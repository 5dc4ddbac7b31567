// SPDX-License-Identifier: BSD-3-Clause
#include "names.h"

#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "buffer.h"
#include "focus.h"
#include "session.h"

#define FIRST_SITES 4
#define MAX_SITES   1024

struct names names;

/* ------------------------------------------------------------------ ids */

/*
 * Never given twice: a FORGET and the DEFINE of another code under the same id can be lost together
 * with their batch, and the loader would know the id by the wrong name.
 */
static uint32_t take_id(void)
{
	static uint32_t last;

	return ++last;
}

static void give_back_id(uint32_t id, bool was_defined)
{
	if (was_defined && names.is_open)
		buffer__say(WIRE_SLOT_FORGET, id, 0);
}

/* The code object goes; Python calls this with the GIL held, maybe long after the last session. */
static void free_entry(void *pointer)
{
	struct code_entry *entry = pointer;
	struct callee *callee, *next;

	if (!entry)
		return;
	names.generation++;
	if (entry->flags & ENTRY_LOCAL)
		hooks_lines__forget(entry);
	for (callee = entry->callees; callee; callee = next) {
		next = callee->next;
		give_back_id(callee->id, callee->epoch == names.epoch);
		free(callee);
	}
	give_back_id(entry->id, entry->epoch == names.epoch);
	free(entry->sites);
	free(entry);
}

/* ------------------------------------------------------------------ where the entries are */

/* Look for our pointer in a code object that has it, so that no offset is believed unseen. */
static size_t find_extra_offset(const void *code, const void *entry)
{
	ptrdiff_t size = type_basic_size(py.PyCode_Type);

	for (ptrdiff_t at = 16; at + 8 <= size; at += 8) {
		char *extra = pointer_at(code, at);
		void *found;

		if (!extra || (uintptr_t)extra % 8)
			continue;
		if (system__peek(extra + 8 + names.extra_index * 8, &found, 8) && found == entry)
			return at;
	}
	return 0;
}

int names__init(void)
{
	struct code_entry *entry = calloc(1, sizeof(*entry));
	void *code;

	if (!entry)
		return -AGENT_NO_MEMORY;
	names.extra_index = py.request_code_extra(free_entry);
	code = names.extra_index < 0 ? NULL : py.PyCode_NewEmpty("pikos", "pikos", 1);
	if (!code || py.set_code_extra(code, names.extra_index, entry)) {
		py.PyErr_Clear();
		free(entry);
		return -AGENT_NO_MEMORY;
	}
	entry->id = take_id();
	names.extra_offset = find_extra_offset(code, entry);
	py.Py_DecRef(code);
	return 0;
}

void names__new_epoch(void)
{
	names.epoch++;
	names.generation++;
}

/* ------------------------------------------------------------------ definitions */

struct text {
	uint16_t len;
	bool cut;
	char bytes[WIRE_LONG_TEXT];
};

static struct text name_text, file_text; /* under the GIL */

static void set_text(struct text *text, const char *bytes, size_t len)
{
	text->cut = len > WIRE_LONG_TEXT - 1;
	text->len = text->cut ? WIRE_LONG_TEXT - 1 : len;
	memcpy(text->bytes, bytes, text->len);
}

/* Not UTF-8 where the bytes behind an escape are not; surrogates as they are, at last. */
static void encode_text(struct text *text, void *string)
{
	void *bytes = py.PyUnicode_AsEncodedString(string, "utf-8", "surrogateescape");
	char *start;
	ssize_t len;

	if (!bytes) {
		py.PyErr_Clear();
		bytes = py.PyUnicode_AsEncodedString(string, "utf-8", "surrogatepass");
	}
	if (bytes && !py.PyBytes_AsStringAndSize(bytes, &start, &len))
		set_text(text, start, len);
	if (bytes)
		py.Py_DecRef(bytes);
}

static void read_text(struct text *text, void *code, const char *attribute)
{
	void *string = py.PyObject_GetAttrString(code, attribute);
	const char *start;
	ssize_t len;

	set_text(text, "?", 1);
	if (!string) {
		py.PyErr_Clear();
		return;
	}
	start = py.PyUnicode_AsUTF8AndSize(string, &len);
	if (start) {
		set_text(text, start, len);
	} else {
		py.PyErr_Clear();
		encode_text(text, string);
	}
	py.Py_DecRef(string);
}

/* Nothing below calls Python, so that no code object is freed in the middle of a definition. */
static void send_definition(uint32_t id)
{
	static struct wire_slot slots[2 + 2 * WIRE_LONG_TEXT / sizeof(struct wire_slot)];
	struct wire_definition definition = {
		.name_len = name_text.len,
		.file_len = file_text.len,
		.cut = (name_text.cut ? WIRE_NAME_CUT : 0) | (file_text.cut ? WIRE_FILE_CUT : 0),
	};
	size_t bytes = sizeof(definition) + name_text.len + file_text.len;
	uint32_t n = (bytes + sizeof(*slots) - 1) / sizeof(*slots);
	char *to = (char *)&slots[1];

	slots[0] = (struct wire_slot){.code = id, .line_type = wire_slot_pack(n, WIRE_SLOT_DEFINE)};
	memset(&slots[n], 0, sizeof(*slots));
	memcpy(to, &definition, sizeof(definition));
	memcpy(to + sizeof(definition), name_text.bytes, name_text.len);
	memcpy(to + sizeof(definition) + name_text.len, file_text.bytes, file_text.len);
	buffer__append(slots, n + 1);
}

static void define_entry(struct code_entry *entry, void *code)
{
	const char *name =
		session.flags & AGENT_QUALIFIED ? compat_qualified_name(py.minor) : "co_name";

	read_text(&file_text, code, "co_filename");
	read_text(&name_text, code, "co_name");
	/* Defining it anew does not take its local events: hooks_lines.c still has it. */
	entry->flags &= ENTRY_LOCAL;
	entry->flags |=
		focus__decide(code, name_text.bytes, name_text.len, file_text.bytes, file_text.len);
	if (session.flags & AGENT_QUALIFIED)
		read_text(&name_text, code, name);
	entry->epoch = names.epoch;
	if (names.is_open)
		send_definition(entry->id);
}

static struct code_entry *new_entry(void *code)
{
	struct code_entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	for (int i = 0; i < ENTRY_LINES; i++)
		entry->lines[i].offset = -1;
	if (py.set_code_extra(code, names.extra_index, entry)) {
		free(entry);
		return NULL;
	}
	entry->id = take_id();
	return entry;
}

struct code_entry *names__entry_slow(void *code)
{
	struct python_error error;
	void *known = NULL;
	struct code_entry *entry;

	python__save_error(&error);
	py.get_code_extra(code, names.extra_index, &known);
	entry = known ? known : new_entry(code);
	if (entry && entry->epoch != names.epoch)
		define_entry(entry, code);
	python__restore_error(&error);
	if (!entry)
		buffer__lose();
	return entry;
}

void names__define_running(void)
{
	for (void *thread = python__first_thread(); thread;
	     thread = py.PyThreadState_Next(thread)) {
		void *frame = py.PyThreadState_GetFrame(thread), *back;

		while (frame) {
			names__entry(frame_code(frame, py.minor));
			back = py.PyFrame_GetBack(frame);
			py.Py_DecRef(frame);
			frame = back;
		}
	}
}

int32_t names__line_slow(struct code_entry *entry, void *code, int32_t offset)
{
	unsigned int slot = (uint32_t)offset / 2 % ENTRY_LINES;

	entry->lines[slot].offset = offset;
	entry->lines[slot].line = py.PyCode_Addr2Line(code, offset);
	return entry->lines[slot].line;
}

/* ------------------------------------------------------------------ C functions */

/*
 * The type whose method a builtin is: of a bound one only what it is bound to is told, which may be
 * of a type that inherits it.
 */
static void *type_of_method(void *function, const struct method_definition *definition)
{
	void *self = builtin_self(function), *type;

	if (!self)
		return py.PyCFunction_Type; /* of nothing: as one of the builtins */
	type = object_type(self);
	if (py.PyType_IsSubtype(type, py.PyType_Type))
		type = self; /* a method of the class */
	for (void *base = type; base; base = type_base(base)) {
		const struct method_definition *method = type_methods(base);

		for (; method && method->name; method++)
			if (method->name == definition->name)
				return base;
	}
	return type;
}

/* The module of a C function; of a method the one of its type. */
static void read_module(struct text *text, void *function,
			const struct method_definition *definition)
{
	void *module;

	if (object_type(function) == py.PyMethodDescr_Type) {
		read_text(text, method_descriptor_type(function), "__module__");
		return;
	}
	if (object_type(function) == py.PyMethod_Type)
		function = method_function(function);
	module = py.PyObject_GetAttrString(function, "__module__");
	if (!module)
		py.PyErr_Clear();
	if (!module || module == py._Py_NoneStruct)
		read_text(text, type_of_method(function, definition), "__module__");
	else
		read_text(text, function, "__module__");
	if (module)
		py.Py_DecRef(module);
}

static void define_callee(struct callee *callee, void *code)
{
	struct python_error error;

	python__save_error(&error);
	if (callee->module)
		set_text(&file_text, callee->module, strlen(callee->module));
	else
		read_text(&file_text, code, "co_filename");
	set_text(&name_text, callee->name, strlen(callee->name));
	callee->epoch = names.epoch;
	if (names.is_open)
		send_definition(callee->id);
	python__restore_error(&error);
}

static bool is_callee(const struct callee *callee, const char *name, const char *module)
{
	if (!callee->module != !module || !same_text(callee->name, name))
		return false;
	return !module || same_text(callee->module, module);
}

/* @param module NULL: its caller's file stands for it */
static struct callee *find_callee(struct code_entry *entry, const char *name, const char *module)
{
	size_t size = strlen(name) + 1, module_size = module ? strlen(module) + 1 : 0;
	struct callee *callee;

	for (callee = entry->callees; callee; callee = callee->next)
		if (is_callee(callee, name, module))
			return callee;
	callee = malloc(sizeof(*callee) + size + module_size);
	if (!callee)
		return NULL;
	memcpy(callee->name, name, size);
	callee->module = module ? memcpy(callee->name + size, module, module_size) : NULL;
	callee->id = take_id();
	callee->epoch = names.epoch - 1;
	callee->next = entry->callees;
	entry->callees = callee;
	return callee;
}

static struct callee *callee_of(struct code_entry *entry, void *function,
				const struct method_definition *definition)
{
	struct python_error error;

	if (!(session.flags & AGENT_ALLOCATIONS))
		return find_callee(entry, definition->name, NULL);
	python__save_error(&error);
	read_module(&file_text, function, definition);
	python__restore_error(&error);
	file_text.bytes[file_text.len] = '\0';
	return find_callee(entry, definition->name, file_text.bytes);
}

/* Places that fall on one another are looked up each time: make room until they do not. */
static bool make_sites(struct code_entry *entry, uint32_t n)
{
	struct call_site *sites = calloc(n, sizeof(*sites));

	if (!sites)
		return false;
	for (uint32_t i = 0; i < n; i++)
		sites[i].offset = -1;
	free(entry->sites);
	entry->sites = sites;
	entry->site_mask = n - 1;
	return true;
}

static struct call_site *place_of(struct code_entry *entry, int32_t offset)
{
	struct call_site *site;

	if (!entry->sites && !make_sites(entry, FIRST_SITES))
		return NULL;
	site = &entry->sites[(uint32_t)offset / 2 & entry->site_mask];
	if (site->offset != offset && site->offset != -1 && entry->site_mask < MAX_SITES - 1)
		make_sites(entry, (entry->site_mask + 1) * 2);
	return &entry->sites[(uint32_t)offset / 2 & entry->site_mask];
}

struct call_site *names__site_slow(struct code_entry *entry, void *code, int32_t offset,
				   int32_t line, void *function,
				   const struct method_definition *definition)
{
	struct callee *callee = callee_of(entry, function, definition);
	struct call_site *site;

	/* First, since it calls Python: other threads can have their turn, and move the places. */
	if (callee && callee->epoch != names.epoch)
		define_callee(callee, code);
	site = place_of(entry, offset);
	if (!callee || !site) {
		buffer__lose();
		return NULL;
	}
	if (site->offset != offset) {
		site->offset = offset;
		site->line = line == LINE_UNKNOWN ? py.PyCode_Addr2Line(code, offset) : line;
	}
	site->definition = definition;
	site->callee = callee;
	return site;
}
