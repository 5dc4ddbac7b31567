// SPDX-License-Identifier: BSD-3-Clause
/*
 * The library's one entry, and who does what when.
 *
 * - START checks what can be checked without the GIL, then hooks at once (AGENT_AT_START) or starts
 *   the helper, which hooks as soon as it has the GIL.
 *
 * - The helper is a thread, while a session is on: every AGENT_TICK_MS it hands over what is there
 *   and looks whether the tracer is; it takes the GIL only for what needs it.
 *
 * - The producer is any thread with the GIL at an event: agent__attention.
 *
 * - Python's end is told by atexit: from there on nobody asks for the GIL. At the process's end a
 *   destructor hands over; os._exit and the like are wrapped (wraps.c).
 *
 * - Fork: the parent hands over first; the child has no session.
 */
#include "agent.h"

#include <errno.h>
#include <string.h>

#include "allocations.h"
#include "buffer.h"
#include "focus.h"
#include "names.h"
#include "overhead.h"
#include "probes.h"
#include "python_api.h"
#include "session.h"
#include "stack.h"
#include "system.h"
#include "threads.h"
#include "values.h"
#include "wraps.h"

struct session session;

static const struct hooks *hooks; /* of the session */

#define HELPER_MAY_TAKE 2000000000 /* ns, to end */

PROBE_SEMAPHORE(pikos, region__enter);
PROBE_SEMAPHORE(pikos, region__leave);

static uint32_t state(void)
{
	return __atomic_load_n(&session.state, __ATOMIC_SEQ_CST);
}

static void set_state(uint32_t value)
{
	__atomic_store_n(&session.ticks_waited, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&session.state, value, __ATOMIC_SEQ_CST);
}

/* @return false: it was another, and still is */
static bool move_state(uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(&session.state, &from, to, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

bool session__is_helper(void)
{
	return __atomic_load_n(&session.helper, __ATOMIC_RELAXED) == thread_pointer();
}

/* ------------------------------------------------------------------ hooks in and out */

static int put_in_allocations(void)
{
	if (!(session.flags & AGENT_ALLOCATIONS))
		return 0;
	stack__start();
	if (!stack__check())
		return -AGENT_UNKNOWN_VERSION;
	return allocations__put_in(session.flags) ? 0 : -AGENT_NO_ALLOCATOR;
}

static const struct hooks *choose_hooks(void)
{
	if (session.flags & AGENT_OLD_PROBES)
		return &hooks_old_probes;
	if (session.flags & AGENT_LINES && session.flags & AGENT_FOCUS &&
	    !(session.flags & AGENT_WINDOW) && compat_has_monitoring(py.minor))
		return &hooks_lines;
	if (session.flags & AGENT_LINES)
		return &hooks_trace;
	return compat_has_monitoring(py.minor) ? &hooks_monitoring : &hooks_profile;
}

static void *newest_interpreter; /* when they were last counted; only compared */

/* Say how many share the process but are not seen. The caller holds the GIL. */
static void say_interpreters(void)
{
	int n = -1; /* the main one is */

	newest_interpreter = py.PyInterpreterState_Head();
	for (void *it = newest_interpreter; it; it = py.PyInterpreterState_Next(it))
		n++;
	if (n > 0)
		buffer__say(WIRE_SLOT_NOTICE, WIRE_NOTICE_INTERPRETERS, n);
}

void session__unhook(void)
{
	struct python_error error;

	if (!session.hooks_are_in || session.is_unhooking)
		return;
	session.is_unhooking = true;
	names.is_open = false;
	python__save_error(&error);
	allocations__take_out();
	wraps__take_out();
	hooks->remove();
	values__end();
	python__restore_error(&error);
	session.hooks_are_in = session.is_unhooking = false;
}

/* Python's end: what follows is seen, but nobody takes the GIL any more. */
static void *on_python_end(void *self, void *const *args, size_t n, void *names_)
{
	(void)self, (void)args, (void)n, (void)names_;
	__atomic_store_n(&session.python_is_ending, true, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 1000 && __atomic_load_n(&session.helper_is_in_python, __ATOMIC_SEQ_CST);
	     i++) {
		void *thread = py.PyEval_SaveThread();

		system__sleep_ms(1);
		py.PyEval_RestoreThread(thread);
	}
	buffer__flush();
	py.Py_IncRef(py._Py_NoneStruct);
	return py._Py_NoneStruct;
}

/* Once per process; the caller holds the GIL. */
static int set_up_python(void)
{
	static bool is_done;
	int err;

	if (is_done)
		return 0;
	err = names__init();
	if (err)
		return err;
	is_done = true;
	return python__at_exit(on_python_end);
}

/* The caller holds the GIL. */
static int hook(void)
{
	int err;

	err = set_up_python();
	if (err)
		return err;
	session__unhook(); /* a forked child's, which it had from its parent */
	if (session.hooks_are_in)
		return -AGENT_BUSY;
	buffer__open(session.flags & AGENT_TIMES, session.flags & AGENT_ALLOCATIONS);
	values__begin();
	names__new_epoch();
	threads__renew();
	overhead__begin(session.flags & AGENT_OVERHEAD);
	focus__start();
	hooks = choose_hooks();
	names.is_open = !(session.flags & AGENT_OLD_PROBES);
	err = hooks->install();
	if (!err) {
		err = put_in_allocations();
		if (err)
			hooks->remove();
	}
	if (err) {
		names.is_open = false;
		values__end();
		return err;
	}
	wraps__put_in();
	session.hooks_are_in = true;
	session.resend_was_asked = false;
	set_state(SESSION_ACTIVE);
	buffer__say(WIRE_SLOT_NOTICE, WIRE_NOTICE_HOOKED, 0);
	names__new_epoch(); /* the loader forgets there what putting the hooks in has defined */
	say_interpreters();
	if (session.flags & AGENT_ALLOCATIONS)
		names__define_running();
	allocations__switch(true);
	buffer__flush();
	return 0;
}

/* ------------------------------------------------------------------ the producer's part */

/* @param refusal why it has not begun, an enum agent_refusal, or 0 */
static void end_session(int refusal)
{
	allocations__switch(false);
	buffer__close(refusal);
	set_state(SESSION_ENDING);
}

static bool is_over(void)
{
	return !(session.flags & AGENT_OLD_PROBES) && !buffer__is_wanted();
}

static void define_running(void)
{
	struct python_error error;

	python__save_error(&error);
	names__define_running();
	python__restore_error(&error);
}

static void answer_resend(void)
{
	bool asked = buffer__resend_is_asked();

	if (asked && !session.resend_was_asked) {
		names__new_epoch();
		buffer__say(WIRE_SLOT_NOTICE, WIRE_NOTICE_RESENT, 0);
		if (session.flags & AGENT_ALLOCATIONS)
			define_running();
	}
	session.resend_was_asked = asked;
}

/* Whether anything has come up since the hooks are in; without the GIL. */
static bool is_behind(void)
{
	return allocations__look() || py.PyInterpreterState_Head() != newest_interpreter ||
	       (hooks->look && hooks->look());
}

/* The caller holds the GIL. */
static void catch_up(void)
{
	if (!session.hooks_are_in || session.is_unhooking)
		return;
	if (py.PyInterpreterState_Head() != newest_interpreter)
		say_interpreters();
	if (hooks->look && hooks->look())
		hooks->adopt();
	if (allocations__look())
		allocations__adopt();
}

static void answer_catch_up(void)
{
	struct python_error error;

	if (!__atomic_exchange_n(&session.is_to_catch_up, false, __ATOMIC_SEQ_CST))
		return;
	python__save_error(&error);
	catch_up();
	python__restore_error(&error);
}

void agent__attention(void)
{
	int saved = errno;

	__atomic_store_n(&buffer.limit, WIRE_BATCH_SLOTS, __ATOMIC_SEQ_CST);
	if (state() == SESSION_ACTIVE && is_over())
		end_session(0);
	if (state() == SESSION_ACTIVE) {
		answer_resend();
		answer_catch_up();
		buffer__rewind();
	} else {
		buffer__rewind();
		if (state() == SESSION_ENDING || state() == SESSION_ORPHANED)
			session__unhook();
	}
	errno = saved;
}

/* ------------------------------------------------------------------ the helper's part */

/*
 * Python is touched only while it runs: to ask for the GIL after its end would abort the program.
 * Our atexit function waits until nobody is on the way.
 */
static bool enter_python(void)
{
	__atomic_store_n(&session.helper_is_in_python, true, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&session.python_is_ending, __ATOMIC_SEQ_CST) && py.Py_IsInitialized())
		return true;
	__atomic_store_n(&session.helper_is_in_python, false, __ATOMIC_SEQ_CST);
	return false;
}

static void leave_python(void)
{
	__atomic_store_n(&session.helper_is_in_python, false, __ATOMIC_SEQ_CST);
}

/*
 * PyGILState_Ensure and _Release would take the interpreter's list of threads without the GIL, and
 * a child forked meanwhile would wait for it for ever (3.12 and older use it before they make it
 * anew). So it is taken under a lock that before_fork takes, too, or with the GIL. From 3.13 on
 * whoever forks has the list: then nobody may wait for it with a lock that before_fork takes.
 *
 * The lock is nobody else's: memory for the state may come by an allocator that asks for the GIL
 * itself (tracemalloc's, until 3.12), which who appends has.
 */
static struct lock newcomer;

static bool take_gil(void)
{
	bool locks = !compat_fork_locks_threads(py.minor);
	void *thread;

	if (locks)
		lock__take(&newcomer);
	thread = py.PyThreadState_New(py.PyInterpreterState_Main());
	if (locks)
		lock__release(&newcomer);
	if (thread)
		py.PyEval_AcquireThread(thread);
	return thread;
}

static void leave_gil(void)
{
	py.PyThreadState_Clear(py.PyThreadState_Get());
	py.PyThreadState_DeleteCurrent();
}

/*
 * Whether the helper may take the GIL. Where tracemalloc is on, memory for its state would come by
 * that, and a program that stops it while we wait would crash. So the program's own threads, which
 * have the GIL, are asked first, and longer if it is on. Those that do not come to it meanwhile are
 * idle, and give us the GIL at once.
 */
#define PATIENCE	      2 /* ticks */
#define PATIENCE_WITH_TRACING 10
#define IS_NOT_TRACING	      -2 /* of PyTraceMalloc_Untrack */

static bool may_take_gil(void)
{
	uint32_t waited = __atomic_fetch_add(&session.ticks_waited, 1, __ATOMIC_SEQ_CST);

	if (!compat_tracemalloc_crashes(py.minor, py.micro))
		return true;
	if (py.PyTraceMalloc_Untrack(0, 0) == IS_NOT_TRACING)
		return waited >= PATIENCE;
	return waited >= PATIENCE_WITH_TRACING;
}

static void look_after(void)
{
	if (!enter_python())
		return;
	if (!__atomic_load_n(&session.is_to_catch_up, __ATOMIC_SEQ_CST))
		__atomic_store_n(&session.ticks_waited, 0, __ATOMIC_SEQ_CST);
	if (!is_behind()) {
		__atomic_store_n(&session.is_to_catch_up, false, __ATOMIC_SEQ_CST);
	} else if (!may_take_gil()) {
		__atomic_store_n(&session.is_to_catch_up, true, __ATOMIC_SEQ_CST);
		buffer__want_attention();
	} else if (take_gil()) {
		catch_up();
		leave_gil();
	}
	leave_python();
}

static void tick(void)
{
	if (state() == SESSION_ACTIVE && is_over())
		end_session(0);
	if (state() != SESSION_ACTIVE)
		return;
	buffer__flush();
	if (buffer__resend_is_asked() != session.resend_was_asked)
		buffer__want_attention();
	if (hooks->tick)
		hooks->tick();
	look_after();
	if (overhead__is_on())
		overhead__note_helper(0);
}

/* @return whether the helper's work is done: no session has begun meanwhile */
static bool finish(void)
{
	if (session.hooks_are_in && enter_python()) {
		bool may = may_take_gil();

		if (may && take_gil()) {
			if (state() == SESSION_ENDING)
				session__unhook();
			leave_gil();
		}
		leave_python();
		if (!may || session.hooks_are_in)
			return false;
	}
	return move_state(SESSION_ENDING, SESSION_IDLE);
}

/* Nobody waits for an answer: what fails is said in the stream. */
static void refuse(int err)
{
	values__unmap();
	buffer__open(false, false);
	end_session(-err);
}

/* The caller holds the GIL. */
static void begin_with_gil(void)
{
	int err;

	if (session.is_unhooking || !move_state(SESSION_STARTING, SESSION_HOOKING))
		return; /* in the first case the helper comes again */
	err = hook();
	if (err)
		refuse(err);
}

static int begin_in_main_thread(void *unused)
{
	struct python_error error;

	(void)unused;
	if (__atomic_load_n(&session.python_is_ending, __ATOMIC_SEQ_CST))
		return 0;
	python__save_error(&error);
	begin_with_gil();
	python__restore_error(&error);
	return 0;
}

static void begin(void)
{
	if (!enter_python()) {
		refuse(-AGENT_NOT_INITIALIZED);
		return;
	}
	if (!may_take_gil()) {
		if (!compat_main_thread_calls_itself(py.minor))
			py.Py_AddPendingCall(begin_in_main_thread, NULL);
	} else if (take_gil()) {
		begin_with_gil();
		leave_gil();
	} else {
		refuse(-AGENT_NO_MEMORY);
	}
	leave_python();
}

/* What session__send_helper_away asks and waits for. All atomic but the first. */
static struct {
	uint32_t calls;	  /* of os.fork, under way; under the GIL */
	uint32_t is_on;	  /* futex: ends the helper's sleep, and the helper */
	uint32_t helpers; /* started and not ended */
	uint32_t tid;	  /* of the last one */
} away;

static void *helper(void *unused)
{
	uintptr_t own = thread_pointer();

	(void)unused;
	struct agent_thread *thread = threads__own();

	if (thread)
		thread->is_busy = true; /* for ever: what it allocates is not the program's */
	__atomic_store_n(&away.tid, system__tid(), __ATOMIC_SEQ_CST);
	__atomic_store_n(&session.helper, own, __ATOMIC_SEQ_CST);
	for (;;) {
		if (state() == SESSION_STARTING && !(session.flags & AGENT_AT_START))
			begin();
		if (state() == SESSION_ENDING && finish())
			break;
		if (__atomic_load_n(&away.is_on, __ATOMIC_SEQ_CST))
			break;
		system__sleep_while_zero(&away.is_on, AGENT_TICK_MS);
		tick();
	}
	__atomic_compare_exchange_n(&session.helper, &own, 0, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
	__atomic_sub_fetch(&away.helpers, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static bool start_helper(void)
{
	__atomic_add_fetch(&away.helpers, 1, __ATOMIC_SEQ_CST);
	if (system__start_thread(helper))
		return true;
	__atomic_sub_fetch(&away.helpers, 1, __ATOMIC_SEQ_CST);
	return false;
}

static bool helper_is_gone(void)
{
	return !__atomic_load_n(&away.helpers, __ATOMIC_SEQ_CST) &&
	       system__thread_is_gone(__atomic_load_n(&away.tid, __ATOMIC_SEQ_CST));
}

void session__send_helper_away(void)
{
	uint64_t start = system__now();
	void *thread;

	away.calls++;
	if (session__is_helper())
		return;
	__atomic_store_n(&away.is_on, 1, __ATOMIC_SEQ_CST);
	if (helper_is_gone())
		return;
	thread = py.PyEval_SaveThread(); /* it may be waiting for that */
	system__wake(&away.is_on);
	while (!helper_is_gone() && system__now() - start < HELPER_MAY_TAKE)
		system__yield();
	py.PyEval_RestoreThread(thread);
}

void session__let_helper_return(void)
{
	if (!away.calls || --away.calls)
		return;
	__atomic_store_n(&away.is_on, 0, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&away.helpers, __ATOMIC_SEQ_CST))
		return; /* it was slow to go, and stays */
	if (state() == SESSION_ACTIVE || state() == SESSION_ENDING)
		start_helper();
}

/* ------------------------------------------------------------------ ends and forks */

__attribute__((destructor)) static void on_process_end(void)
{
	/* A signal handler may have called exit in the middle of handing over. */
	if (state() == SESSION_ACTIVE && !lock__is_mine(&buffer.lock))
		buffer__flush();
}

#define NEWCOMER_MAY_TAKE 50000000 /* ns; then it waits for the GIL that the forking thread has */

static void hold_newcomer(void)
{
	uint64_t start = system__now();

	while (!lock__try(&newcomer) && system__now() - start < NEWCOMER_MAY_TAKE)
		system__yield();
}

static uintptr_t forking; /* who has taken the buffer's lock for a fork: thread_pointer() */

static void before_fork(void)
{
	int saved = errno;

	if (state() == SESSION_IDLE)
		return;
	if (!lock__is_mine(&buffer.lock))
		buffer__flush();
	hold_newcomer();
	if (buffer__hold())
		forking = thread_pointer();
	errno = saved;
}

static void parent_forked(void)
{
	if (lock__is_mine(&newcomer))
		lock__release(&newcomer);
	/* Another thread may fork at the same time, with C code of its own. */
	if (!lock__is_mine(&buffer.lock) || forking != thread_pointer())
		return;
	forking = 0;
	buffer__release();
}

static void child_forked(void)
{
	int saved = errno;

	session.helper = 0;
	session.helper_is_in_python = session.is_unhooking = false;
	lock__release(&newcomer);
	allocations__switch(false);
	memset(&away, 0, sizeof(away));
	if (state() != SESSION_IDLE) {
		buffer__forget();
		set_state(SESSION_ORPHANED);
	}
	/* Whoever had it is not in the child: a session can have begun since before_fork. Only what
	 * a signal handler has interrupted gives it back itself. */
	if (!lock__is_mine(&buffer.lock) || forking == thread_pointer())
		lock__release(&buffer.lock);
	if (!lock__is_mine(&buffer.appending) || forking == thread_pointer())
		lock__release(&buffer.appending);
	forking = 0;
	threads__forked();
	errno = saved;
}

/* ------------------------------------------------------------------ start */

static bool is_set_up;

/* Once per process; by threads without the GIL, too. */
static int set_up(void)
{
	static struct lock lock;
	int err = 0;

	if (__atomic_load_n(&is_set_up, __ATOMIC_ACQUIRE))
		return 0;
	lock__take(&lock);
	if (is_set_up)
		err = 0;
	else if (!system__init())
		err = -AGENT_NOT_PYTHON;
	else if (!threads__init() || !system__at_fork(before_fork, parent_forked, child_forked))
		err = -AGENT_NO_MEMORY;
	else
		__atomic_store_n(&is_set_up, true, __ATOMIC_RELEASE);
	lock__release(&lock);
	return err;
}

static int copy_config(const struct agent_config *config)
{
	if (config->version != AGENT_VERSION || config->n_rules > WIRE_MAX_RULES ||
	    config->size != sizeof(*config) + config->n_rules * sizeof(config->rules[0]))
		return -AGENT_OTHER_CONFIG;
	session.flags = config->flags;
	session.n_rules = config->n_rules;
	session.hash_seed = config->hash_seed;
	session.module_name_hash = config->module_name_hash;
	session.window_file_hash = config->window_file_hash;
	memcpy(session.rules, config->rules, config->n_rules * sizeof(config->rules[0]));
	return 0;
}

/*
 * Only one at a time. @return whether the session is the caller's; *has_helper: one that is over
 * but not gone leaves it its helper
 */
static bool claim(bool *has_helper)
{
	static const uint32_t from[] = {SESSION_IDLE, SESSION_ORPHANED, SESSION_ENDING};

	for (int i = 0; i < 3; i++) {
		*has_helper = from[i] == SESSION_ENDING;
		if (move_state(from[i], SESSION_CLAIMED))
			return true;
	}
	return false;
}

/* Whoever was interrupted for us to be called. */
static void ask_interrupted_thread(void)
{
	if (compat_main_thread_calls_itself(py.minor) && system__is_main_thread())
		py.Py_AddPendingCall(begin_in_main_thread, NULL);
}

static int begin_session(const struct agent_config *config, bool has_helper)
{
	int err = copy_config(config);

	if (!err && session.flags & AGENT_VALUES && !values__map(config->values))
		err = -AGENT_NO_VALUES;
	if (err)
		return err;
	/* Regions that were entered for an earlier one are none of this. */
	__atomic_add_fetch(&session.starts, 1, __ATOMIC_SEQ_CST);
	set_state(SESSION_STARTING);
	if (session.flags & AGENT_AT_START)
		err = hook();
	if (!err && !has_helper && !start_helper()) {
		if (session.flags & AGENT_AT_START)
			session__unhook();
		err = -AGENT_NO_THREAD;
	}
	if (!err && !(session.flags & AGENT_AT_START))
		ask_interrupted_thread();
	return err;
}

static int start(const struct agent_config *config)
{
	bool has_helper;
	int err;

	err = set_up();
	if (!err)
		err = python__find();
	if (err)
		return err;
	if (__atomic_load_n(&session.python_is_ending, __ATOMIC_SEQ_CST))
		return -AGENT_NOT_INITIALIZED;
	if (!claim(&has_helper))
		return -AGENT_BUSY;
	err = begin_session(config, has_helper);
	if (err) {
		values__unmap();
		buffer__want_attention();
		set_state(has_helper ? SESSION_ENDING : SESSION_ORPHANED);
	}
	return err;
}

/* ------------------------------------------------------------------ regions */

__attribute__((noinline)) static void hit_enter(void)
{
	PROBE0(pikos, region__enter);
}

__attribute__((noinline)) static void hit_leave(void)
{
	PROBE0(pikos, region__leave);
}

static void enter_or_leave(bool enter)
{
	struct agent_thread *thread = set_up() ? NULL : threads__own();

	if (thread && enter)
		focus__enter_region(thread);
	else if (thread)
		focus__leave_region(thread);
	if (enter)
		hit_enter();
	else
		hit_leave();
}

int pikos_agent(int request, const void *argument)
{
	int saved = errno, result = 0;

	if (request == AGENT_START)
		result = start(argument);
	else if (request == AGENT_REGION_ENTER || request == AGENT_REGION_LEAVE)
		enter_or_leave(request == AGENT_REGION_ENTER);
	else if (request == AGENT_REGION_SEMAPHORE)
		*(const volatile unsigned short **)argument = &pikos_region__enter_semaphore;
	else
		result = -AGENT_OTHER_CONFIG;
	errno = saved;
	return result;
}
