// SPDX-License-Identifier: BSD-3-Clause
/*
 * The page on which an agent finds RSS and VMS, kept for this test's children: whatever changes
 * them, and whoever does it, the page says what /proc/PID/statm says, right behind the change.
 */
#include "tests/traced_python.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/uio.h>

#include <bpf/bpf.h>

#include "source/memory_values.h"

#define DEADLINE 60
#define PAGE	 4096
#define SMALL	 65536u

static struct kernel *kernel;
static struct memory_values *values;

/* What a kernel may lack, for which there is something else. */
static const enum feature locks = FEATURE_SPIN_LOCK, unlocked = FEATURE_MMAP_LOCK;

/* @param state the feature that is not to be used, or NULL */
static int set_up(void **state)
{
	const struct kernel_config config = {.agent = true, .memory = true, .buffer_size = SMALL};
	const enum feature *lacking = *state;
	struct kernel_error error = {{0}, {0}};
	bool found[N_FEATURES];

	if (geteuid())
		return 0;
	alarm(DEADLINE);
	assert_int_equal(features__find(found), 0);
	if (lacking)
		found[*lacking] = false;
	kernel = kernel__new(&config, found, &error);
	if (!kernel)
		fail_msg("cannot load: %s %s", error.text, error.hint);
	values = memory_values__new(kernel);
	return values ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	memory_values__free(values);
	kernel__free(kernel);
	values = NULL;
	kernel = NULL;
	alarm(0);
	return 0;
}

/* ------------------------------------------------------------------ a target */

static volatile const struct wire_values *page;
static int statm = -1;

/* Asks the kernel, by which nothing of the process's own changes. */
static void ask(unsigned long *rss, unsigned long *vms)
{
	char text[128] = "";

	if (pread(statm, text, sizeof(text) - 1, 0) <= 0 || sscanf(text, "%lu %lu", vms, rss) != 2)
		_exit(100);
}

#define WARM 0 /* says nothing: only to have its code and stack there */

static bool is_right(int line)
{
	unsigned long rss, vms;
	uint64_t own_rss, own_vms;

	ask(&rss, &vms);
	own_rss = page->rss;
	own_vms = page->vms;
	if ((own_rss == rss && own_vms == vms) || line == WARM)
		return true;
	fprintf(stderr, "line %d: RSS %lu, the page says %lu; VMS %lu, the page says %lu\n", line,
		rss, (unsigned long)own_rss, vms, (unsigned long)own_vms);
	return false;
}

#define RIGHT()                          \
	do {                             \
		if (!is_right(__LINE__)) \
			_exit(101);      \
	} while (0)

/* As an agent does, after the loader has named the process. */
static void map_page(int fd)
{
	statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	page = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	if (statm < 0 || page == MAP_FAILED)
		_exit(102);
	if (!page->vms)
		_exit(103);
	is_right(WARM);
	RIGHT();
}

typedef void (*life_fn)(void);

/* A child that is a target; it starts when it is known. */
struct child {
	pid_t pid;
	int go[2], done[2];
};

static void start_child(struct child *child, uint32_t target, life_fn life)
{
	char byte = 0;
	int fd;

	assert_int_equal(pipe(child->go) | pipe(child->done), 0);
	fflush(NULL);
	/* Before the child has it: the child is to inherit the descriptor. */
	fd = memory_values__open(values, target, 0);
	assert_true(fd >= 0);
	child->pid = fork();
	assert_true(child->pid >= 0);
	if (!child->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (read(child->go[0], &byte, 1) != 1)
			_exit(104);
		map_page(fd);
		if (write(child->done[1], &byte, 1) != 1)
			_exit(104);
		life();
		_exit(0);
	}
	close(child->go[0]); /* a child that has ended is seen */
	close(child->done[1]);
	assert_int_equal(kernel__add_target(kernel, target, child->pid), 0);
	kernel__adopt_memory(kernel, child->pid);
	assert_int_equal(write(child->go[1], &byte, 1), 1);
	assert_int_equal(read(child->done[0], &byte, 1), 1);
	memory_values__opened(values, fd);
}

static int end_of(struct child *child)
{
	int status;

	assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
	close(child->go[1]);
	close(child->done[0]);
	return status;
}

static void live(life_fn life)
{
	struct child child;

	start_child(&child, 0, life);
	assert_int_equal(end_of(&child), 0);
	memory_values__close(values, 0);
}

/* ------------------------------------------------------------------ lives */

static void touch(volatile char *at, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		at[i * PAGE] = 1;
}

static char *map(size_t pages, int flags)
{
	char *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		_exit(105);
	return at;
}

static __attribute__((noinline)) void use_stack(int depth)
{
	volatile char room[PAGE * 3];

	room[0] = depth;
	is_right(WARM); /* which uses more of it */
	RIGHT();
	if (depth)
		use_stack(depth - 1);
	room[1] = room[0];
}

static void do_everything(void)
{
	char *at, *end;
	int id;

	for (int i = 0; i < 50; i++) {
		at = map(300, MAP_PRIVATE);
		RIGHT();
		for (int j = 0; j < 300; j++) {
			touch(at + j * PAGE, 1);
			RIGHT();
		}
		madvise(at, 100 * PAGE, MADV_DONTNEED);
		RIGHT();
		at = mremap(at, 300 * PAGE, 600 * PAGE, MREMAP_MAYMOVE);
		RIGHT();
		munmap(at + 200 * PAGE, 50 * PAGE); /* a hole */
		RIGHT();
		munmap(at, 600 * PAGE);
		RIGHT();
		at = map(100, MAP_PRIVATE | MAP_POPULATE);
		RIGHT();
		mprotect(at, 10 * PAGE, PROT_READ);
		RIGHT();
		munmap(at, 100 * PAGE);
		RIGHT();
	}
	at = map(100, MAP_SHARED);
	touch(at, 100);
	RIGHT();
	munmap(at, 100 * PAGE);
	RIGHT();
	end = sbrk(0);
	brk(end + 64 * PAGE);
	RIGHT();
	touch(end, 64);
	RIGHT();
	brk(end);
	RIGHT();
	id = shmget(IPC_PRIVATE, 64 * PAGE, IPC_CREAT | 0600);
	at = shmat(id, NULL, 0);
	shmctl(id, IPC_RMID, NULL);
	RIGHT();
	touch(at, 64);
	RIGHT();
	shmdt(at);
	RIGHT();
	use_stack(100);
	RIGHT();
}

static void test_everything(void **state)
{
	(void)state;
	traced__need("/proc/self/exe");
	live(do_everything);
}

/* Threads fault and map at once; whenever they rest, the page is right. */
#define THREADS 4

static pthread_barrier_t rest;

static void *disturb(void *seed)
{
	unsigned int state = (unsigned long)seed;

	for (int round = 0; round < 60; round++) {
		for (int i = 0; i < 60; i++) {
			size_t pages = 1 + rand_r(&state) % 40;
			char *at = map(pages, MAP_PRIVATE);

			touch(at, pages);
			if (rand_r(&state) % 4)
				munmap(at, pages * PAGE);
			else
				munmap(at, pages / 2 * PAGE);
		}
		pthread_barrier_wait(&rest); /* the changes are done... */
		pthread_barrier_wait(&rest); /* ...and it has been looked at */
	}
	return NULL;
}

static void disturb_each_other(void)
{
	pthread_t threads[THREADS];

	pthread_barrier_init(&rest, NULL, THREADS + 1);
	for (unsigned long i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, disturb, (void *)(i + 1)))
			_exit(106);
	pthread_barrier_wait(&rest);
	is_right(WARM);
	for (int round = 0; round < 60; round++) {
		if (round)
			pthread_barrier_wait(&rest);
		RIGHT();
		pthread_barrier_wait(&rest);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	RIGHT();
}

static void test_threads(void **state)
{
	(void)state;
	traced__need("/proc/self/exe");
	live(disturb_each_other);
}

/* Pages that another process puts there, by writing into memory that was never touched. */
static char *untouched;
static int told[2], written[2];

static void be_written_to(void)
{
	char byte = 0;

	RIGHT();
	for (int i = 0; i < 2; i++) {
		if (write(told[1], &byte, 1) != 1 || read(written[0], &byte, 1) != 1)
			_exit(104);
		RIGHT();
	}
}

static void test_others(void **state)
{
	static char bytes[64];
	struct iovec from = {bytes, sizeof(bytes)}, to;
	struct child child;
	char byte;

	(void)state;
	traced__need("/proc/self/exe");
	assert_int_equal(pipe(told) | pipe(written), 0);
	untouched = map(128, MAP_PRIVATE); /* the same address in the child */
	start_child(&child, 3, be_written_to);
	close(told[1]);
	close(written[0]);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(read(told[0], &byte, 1), 1);
		for (int j = 0; j < 64; j++) {
			to = (struct iovec){untouched + (64 * i + j) * PAGE, sizeof(bytes)};
			assert_int_equal(process_vm_writev(child.pid, &from, 1, &to, 1, 0),
					 sizeof(bytes));
		}
		assert_int_equal(write(written[1], &byte, 1), 1);
	}
	assert_int_equal(end_of(&child), 0);
	munmap(untouched, 128 * PAGE);
	close(told[0]);
	close(written[1]);
	memory_values__close(values, 3);
}

/* Two targets have a page each; one target after another can have the same number. */
static void test_several(void **state)
{
	struct child children[2];

	(void)state;
	traced__need("/proc/self/exe");
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < 2; i++)
			start_child(&children[i], i * 7, do_everything);
		for (uint32_t i = 0; i < 2; i++) {
			assert_int_equal(end_of(&children[i]), 0);
			memory_values__close(values, i * 7);
		}
	}
	assert_int_equal(memory_values__missed(values), 0);
}

/* Who gets the descriptor can read the page, and nothing else. */
static void test_only_to_be_read(void **state)
{
	uint32_t zero = 0;
	struct wire_values found = {1, 1};
	void *at;
	int fd;

	(void)state;
	traced__need("/proc/self/exe");
	fd = memory_values__open(values, 5, getpid());
	assert_true(fd >= 0);
	assert_ptr_equal(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	at = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	assert_int_not_equal(mprotect(at, PAGE, PROT_READ | PROT_WRITE), 0);
	assert_ptr_equal(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, PAGE), MAP_FAILED);
	assert_int_not_equal(bpf_map_update_elem(fd, &zero, &found, BPF_ANY), 0);
	assert_int_equal(((struct wire_values *)at)->vms, 0); /* no target: nobody keeps it */
	munmap(at, PAGE);
	memory_values__opened(values, fd);
	memory_values__close(values, 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_WITHOUT(name, feature)                                                              \
	{                                                                                        \
#name "_without_" #feature, name, set_up, tear_down, (void *)(uintptr_t)&feature \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_everything),
		TEST(test_threads),
		TEST(test_others),
		TEST(test_several),
		TEST(test_only_to_be_read),
		TEST_WITHOUT(test_everything, unlocked),
		TEST_WITHOUT(test_threads, unlocked),
		TEST_WITHOUT(test_everything, locks),
		TEST_WITHOUT(test_threads, locks),
		TEST_WITHOUT(test_others, locks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
