/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads that C makes, for thread_states.py: some let Python give them a state, some use one that
 * another thread has made.
 *
 *	cc -shared -fPIC -O1 -nostdlib -o thread_states.so thread_states.c
 *
 * No header of Python's, and nothing is linked, so that it loads into every CPython.
 */
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>

void *PyInterpreterState_Get(void);
void *PyThreadState_New(void *interpreter);
void *PyEval_SaveThread(void);
void PyEval_RestoreThread(void *state);
void PyEval_AcquireThread(void *state);
void PyEval_ReleaseThread(void *state);
int PyGILState_Ensure(void);
void PyGILState_Release(int state);
void *PyObject_CallObject(void *callable, void *arguments);

struct job {
	pthread_t thread;
	void *callable;
	void *state;	/* NULL: Python makes one */
	size_t mapping; /* what the thread maps before and after Python, in bytes */
};

static void map(size_t size)
{
	void *at = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at != MAP_FAILED)
		munmap(at, size);
}

static void *work(void *argument)
{
	struct job *job = argument;
	int state = 0;

	map(job->mapping);
	if (job->state)
		PyEval_AcquireThread(job->state);
	else
		state = PyGILState_Ensure();
	PyObject_CallObject(job->callable, NULL);
	if (job->state)
		PyEval_ReleaseThread(job->state);
	else
		PyGILState_Release(state);
	map(job->mapping);
	return NULL;
}

static struct job jobs[8];

/* With the GIL, as the next one. @param own_state whether the state is made here */
int start(int i, void *callable, int own_state, size_t mapping)
{
	jobs[i] = (struct job){.callable = callable, .mapping = mapping};
	if (own_state)
		jobs[i].state = PyThreadState_New(PyInterpreterState_Get());
	return pthread_create(&jobs[i].thread, NULL, work, &jobs[i]);
}

void join(int i)
{
	void *state = PyEval_SaveThread();

	pthread_join(jobs[i].thread, NULL);
	PyEval_RestoreThread(state);
}
