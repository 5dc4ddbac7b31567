// SPDX-License-Identifier: BSD-3-Clause
#include "monitoring.h"

#include "agent.h"

void *monitoring_missing, *monitoring_disable;

static void *module; /* sys.monitoring; NULL: not looked up yet */
static int tool = -1;

/* Call and forget the result. @return whether it went well */
static bool done(void *result)
{
	if (result)
		py.Py_DecRef(result);
	else
		py.PyErr_Clear();
	return result;
}

static bool find_module(void)
{
	if (module)
		return true;
	module = py.PySys_GetObject("monitoring");
	if (!module)
		return false;
	py.Py_IncRef(module);
	monitoring_missing = py.PyObject_GetAttrString(module, "MISSING");
	monitoring_disable = py.PyObject_GetAttrString(module, "DISABLE");
	return monitoring_missing && monitoring_disable;
}

static long number_of(void *numbers, const char *name)
{
	void *value = py.PyObject_GetAttrString(numbers, name);
	long number = value ? py.PyLong_AsLong(value) : -1;

	if (value)
		py.Py_DecRef(value);
	return number;
}

/* Once each; it stays for ever, since the interpreter may be about to call it. */
static bool make_callback(struct monitoring_event *event)
{
	bool timed = overhead__is_on();
	void **callback = timed ? &event->timed_callback : &event->callback;

	if (!*callback)
		*callback = python__new_callable(timed ? event->timed : event->function);
	return *callback;
}

static bool make_callbacks(struct monitoring_event *events, size_t n)
{
	void *numbers = py.PyObject_GetAttrString(module, "events");
	bool all = numbers;

	for (size_t i = 0; all && i < n; i++) {
		events[i].number = number_of(numbers, events[i].name);
		all = events[i].number > 0 && make_callback(&events[i]);
	}
	if (numbers)
		py.Py_DecRef(numbers);
	return all;
}

/* One of the ids that no kind of tool has by convention comes first. */
static bool take_tool(void)
{
	static const int order[] = {4, 3, 5, 0, 1, 2};

	for (int i = 0; i < 6; i++) {
		if (!done(py.PyObject_CallMethod(module, "use_tool_id", "is", order[i], "pikos")))
			continue;
		tool = order[i];
		return true;
	}
	return false;
}

static bool set_callback(const struct monitoring_event *event, void *callback)
{
	return done(py.PyObject_CallMethod(module, "register_callback", "iiO", tool,
					   (int)event->number, callback));
}

void monitoring__take_out(struct monitoring_event *events, size_t n)
{
	if (tool < 0)
		return;
	done(py.PyObject_CallMethod(module, "set_events", "ii", tool, 0));
	for (size_t i = 0; i < n; i++)
		set_callback(&events[i], py._Py_NoneStruct);
	done(py.PyObject_CallMethod(module, "free_tool_id", "i", tool));
	tool = -1;
}

int monitoring__put_in(struct monitoring_event *events, size_t n)
{
	bool all = true;
	int wanted = 0;

	if (!find_module() || !make_callbacks(events, n)) {
		py.PyErr_Clear();
		return -AGENT_NO_MEMORY;
	}
	if (!take_tool())
		return -AGENT_NO_TOOL;
	for (size_t i = 0; i < n; i++) {
		if (!events[i].is_wanted)
			continue;
		all = set_callback(&events[i], overhead__is_on() ? events[i].timed_callback
								 : events[i].callback) &&
		      all;
		if (events[i].scope == EVENT_EVERYWHERE)
			wanted |= (int)events[i].number;
	}
	if (all && done(py.PyObject_CallMethod(module, "set_events", "ii", tool, wanted))) {
		/* What an earlier session switched off is off for this one, too. */
		monitoring__restart();
		return 0;
	}
	monitoring__take_out(events, n);
	return -AGENT_NO_TOOL;
}

bool monitoring__set_local(const struct monitoring_event *events, size_t n, void *code, bool on)
{
	int wanted = 0;

	for (size_t i = 0; on && i < n; i++)
		if (events[i].scope == EVENT_LOCAL)
			wanted |= (int)events[i].number;
	return done(py.PyObject_CallMethod(module, "set_local_events", "iOi", tool, code, wanted));
}

void monitoring__restart(void)
{
	struct python_error error;

	python__save_error(&error);
	done(py.PyObject_CallMethod(module, "restart_events", NULL));
	python__restore_error(&error);
}
