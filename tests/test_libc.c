// SPDX-License-Identifier: BSD-3-Clause
/*
 * Which malloc is attached to, in processes that are nothing but a forged file: whatever that says,
 * there is a breakpoint at its functions and nowhere else, or a line that says why there is none.
 */
#define _GNU_SOURCE 1

#include "tests/forged_elf.h"
#include "tests/traced_python.h"

#include <sys/stat.h>

#include "source/libc.h"

#define DEADLINE 60
#define CODE	 (FORGED_TEXT + 0x800) /* the entry point */
#define N_NAMES	 7

static const char *const names[N_NAMES] = {"malloc",   "calloc",	"realloc",	 "free",
					   "memalign", "aligned_alloc", "posix_memalign"};

static struct kernel *kernel;
static struct interpreter_reason why;
static char directory[32];

/* Where a forged file has its functions, 32 bytes apart. */
static uint64_t place(int i)
{
	return FORGED_TEXT + 0xa00 + 32 * i;
}

/* A program that waits for ever, with every function that is wanted. */
static struct forged *make(void)
{
	/* pause(), again and again */
	static const unsigned char code[] = {0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7};
	static const unsigned char endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};
	struct forged *f = forged__new();

	memcpy(f->bytes + (CODE - FORGED_TEXT), code, sizeof(code));
	forged__phdr(f, FORGED_PH_INTERP)->p_type = PT_NULL; /* nobody loads it */
	for (int i = 0; i < N_NAMES; i++) {
		forged__symbol(f, names[i], place(i), 32);
		memset(f->bytes + (place(i) - FORGED_TEXT), 0x55, 32); /* push %rbp */
	}
	memcpy(f->bytes + (place(0) - FORGED_TEXT), endbr64, sizeof(endbr64));
	return f;
}

static Elf64_Sym *symbol(struct forged *f, int i)
{
	return (Elf64_Sym *)(f->bytes + FORGED_DYNSYM) + i + 1;
}

/* Runs it from a file of that name; frees it. */
static pid_t start(struct forged *f, const char *name)
{
	int fd, gone[2], status;
	char path[64], byte;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, f->bytes, sizeof(f->bytes)), sizeof(f->bytes));
	close(fd);
	free(f);
	assert_int_equal(pipe2(gone, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(path, path, (char *)NULL);
		_exit(127);
	}
	close(gone[1]);
	assert_int_equal(read(gone[0], &byte, 1), 0); /* closed by the exec */
	close(gone[0]);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static unsigned char byte_at(pid_t pid, uint64_t address)
{
	unsigned char byte = 0;
	char path[64];
	int mem;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(mem >= 0);
	assert_int_equal(pread(mem, &byte, 1, address), 1);
	close(mem);
	return byte;
}

/* It is what its file's bytes were, but where functions begin. */
static void assert_breakpoints(pid_t pid, bool are_there)
{
	for (int i = 0; i < N_NAMES; i++)
		for (int at = 0; at < 32; at++) {
			bool begins = at == (i ? 0 : 4); /* behind malloc's endbr64 */
			bool is_one = byte_at(pid, place(i) + at) == 0xcc;

			assert_int_equal(is_one, are_there && begins);
		}
}

static void assert_refused(struct forged *f, const char *name, const char *text)
{
	pid_t pid = start(f, name);

	errno = 0;
	assert_null(libc__attach(kernel, 0, pid, &why));
	assert_int_equal(errno, ENOTSUP);
	if (!strstr(why.text, text) || !strstr(why.next_step, "--source agent"))
		fail_msg("'%s' and '%s' do not say '%s'", why.text, why.next_step, text);
	assert_breakpoints(pid, false);
	end(pid);
}

static void need(void)
{
#ifndef __x86_64__
	print_message("skipped: the forged program is x86-64's\n");
	skip();
#endif
	if (kernel)
		return;
	print_message("skipped: not root\n");
	skip();
}

/* ------------------------------------------------------------------ tests */

static void test_breakpoints(void **state)
{
	static const char *const likely[] = {"libc.so.6", "ld-musl-x86_64.so.1",
					     "libjemalloc.so.2"};

	(void)state;
	need();
	for (size_t i = 0; i < sizeof(likely) / sizeof(*likely); i++) {
		pid_t pid = start(make(), likely[i]);
		struct libc *libc = libc__attach(kernel, 0, pid, &why);

		if (!libc)
			fail_msg("%s: %s", likely[i], why.text);
		assert_breakpoints(pid, true);
		assert_int_equal(libc__sweep(libc), 0);
		assert_breakpoints(pid, true);
		libc__free(libc);
		assert_breakpoints(pid, false);
		end(pid);
	}
}

/* memalign may be aligned_alloc, and others may be missing. */
static void test_aliases(void **state)
{
	struct forged *f = make();
	struct libc *libc;
	pid_t pid;

	(void)state;
	need();
	symbol(f, 5)->st_value = place(4);
	symbol(f, 6)->st_shndx = SHN_UNDEF;
	pid = start(f, "libc.so.6");
	libc = libc__attach(kernel, 0, pid, &why);
	assert_non_null(libc);
	assert_int_equal(byte_at(pid, place(4)), 0xcc);
	assert_int_equal(byte_at(pid, place(5)), 0x55);
	assert_int_equal(byte_at(pid, place(6)), 0x55);
	libc__free(libc);
	assert_breakpoints(pid, false);
	end(pid);
}

static void test_static_program(void **state)
{
	(void)state;
	need();
	assert_refused(make(), "program", "static program");
	assert_refused(make(), "libcrypto.so.3", "static program");
}

static void test_not_its_malloc(void **state)
{
	static const uint64_t elsewhere[] = {
		0,
		FORGED_DATA + 0x10,   /* no code */
		FORGED_DATA + 0x1800, /* .bss */
		FORGED_TEXT + 0x1000,
		UINT64_MAX,
		FORGED_TEXT - 1,
	};

	(void)state;
	need();
	for (int i = 0; i < 4; i++) {
		struct forged *f = make();

		symbol(f, i)->st_shndx = SHN_UNDEF;
		assert_refused(f, "libc.so.6", "libc.so.6 does not tell where malloc is");
	}
	for (size_t i = 0; i < sizeof(elsewhere) / sizeof(*elsewhere); i++) {
		struct forged *f = make();

		symbol(f, 0)->st_value = elsewhere[i];
		assert_refused(f, "libc.so.6", "libc.so.6 does not tell where malloc is");
	}
}

/* Without section headers the dynamic entries tell; without those, nothing does. */
static void test_stripped(void **state)
{
	struct forged *f = make();

	(void)state;
	need();
	f->ehdr.e_shoff = 0;
	f->ehdr.e_shnum = f->ehdr.e_shstrndx = 0;
	forged__phdr(f, FORGED_PH_DYNAMIC)->p_type = PT_NULL;
	assert_refused(f, "libc.so.6", "libc.so.6 does not tell where malloc is");
}

static void test_hostile(void **state)
{
	(void)state;
	need();
	for (int way = 0; way < 6; way++) {
		struct forged *f = make();
		Elf64_Shdr *symbols = forged__shdr(f, FORGED_SH_DYNSYM);

		switch (way) {
		case 0:
			symbols->sh_offset = UINT64_MAX - 8;
			break;
		case 1:
			symbols->sh_link = 77;
			break;
		case 2:
			symbols->sh_entsize = 1;
			symbols->sh_size = UINT64_MAX;
			break;
		case 3:
			forged__shdr(f, FORGED_SH_DYNSTR)->sh_size = 4;
			break;
		case 4:
			f->ehdr.e_shoff = UINT64_MAX - 64;
			break;
		case 5:
			f->ehdr.e_shnum = UINT16_MAX;
			break;
		}
		assert_refused(f, "libc.so.6", "libc.so.6 does not tell where malloc is");
	}
}

static void test_gone(void **state)
{
	pid_t pid;

	(void)state;
	need();
	pid = start(make(), "libc.so.6");
	end(pid);
	assert_null(libc__attach(kernel, 0, pid, &why));
	assert_int_equal(errno, ESRCH);
	assert_string_equal(why.text, "the process has ended");
	libc__free(NULL);
	assert_int_equal(libc__sweep(NULL), 0);
}

/* ------------------------------------------------------------------ around them */

static int load(bool together)
{
	const struct kernel_config config = {.buffer_size = 1 << 20, .libc = true, .frames = true};
	struct kernel_error error = {{0}, {0}};
	bool found[N_FEATURES];

	if (geteuid() != 0)
		return 0;
	alarm(DEADLINE);
	snprintf(directory, sizeof(directory), "/tmp/test_libc_XXXXXX");
	if (!mkdtemp(directory) || features__find(found))
		return -1;
	found[FEATURE_UPROBE_MULTI] &= together;
	kernel = kernel__new(&config, found, &error);
	if (!kernel)
		print_message("cannot load: %s %s\n", error.text, error.hint);
	return kernel ? 0 : -1;
}

static int load_together(void **state)
{
	(void)state;
	return load(true);
}

static int load_one_by_one(void **state)
{
	(void)state;
	return load(false);
}

static int unload(void **state)
{
	pid_t pid;

	(void)state;
	if (!kernel)
		return 0;
	kernel__free(kernel);
	kernel = NULL;
	alarm(0);
	pid = fork();
	if (!pid) {
		execlp("rm", "rm", "-r", directory, (char *)NULL);
		_exit(127);
	}
	return waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

#define BY_BOTH(test)                                                    \
	cmocka_unit_test_setup_teardown(test, load_together, unload),    \
	{                                                                \
#test "_one_by_one", test, load_one_by_one, unload, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BY_BOTH(test_breakpoints),    BY_BOTH(test_aliases),  BY_BOTH(test_static_program),
		BY_BOTH(test_not_its_malloc), BY_BOTH(test_stripped), BY_BOTH(test_hostile),
		BY_BOTH(test_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
