// SPDX-License-Identifier: BSD-3-Clause
/*
 * Forged files for every reason to refuse, and the interpreters of this machine against what they
 * say of themselves. What is not installed is skipped.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "source/interpreter.h"
#include "tests/forged_elf.h"

#define SYSTEM_PYTHON	 "/usr/bin/python3.11"
#define SYSTEM_LIBPYTHON "libpython3.11.so.1.0"
#define SID		 "build/pythons/sid"

#define FUNCTIONS (CPYTHON_FUNCTION_ENTRY | CPYTHON_FUNCTION_RETURN)
#define SITE	  (FORGED_TEXT + 0x820)
#define SEMAPHORE (FORGED_DATA + 0xf00)
#define ARGS	  "8@%rbp 8@%r12 -4@%eax"
#ifdef __aarch64__
#undef ARGS
#define ARGS "8@x19 8@x20 -4@w0"
#endif

/* ---- forged files ---- */

static struct interpreter *open_forged(struct forged *f, const char *path)
{
	struct interpreter_reason why;
	struct interpreter *in;
	int fd = forged__fd(f);

	assert_int_equal(interpreter__open_fd(fd, path, &in, &why), 0);
	assert_int_equal(why.problem, INTERPRETER_FINE);
	close(fd);
	free(f);
	return in;
}

/* A file that exports Py_Version as CPython does since 3.11. */
static struct forged *forge_python(__u64 hex)
{
	struct forged *f = forged__new();

	memcpy(f->bytes + 0x2e00, &hex, sizeof(hex));
	forged__symbol(f, "Py_GetVersion", FORGED_TEXT + 0x840, 61);
	forged__symbol(f, "Py_Version", FORGED_DATA + 0xe00, 8);
	return f;
}

static struct forged *forge_with_probes(__u64 hex)
{
	struct forged *f = forge_python(hex);

	forged__note(f, SITE, FORGED_BASE, SEMAPHORE, "python", "function__entry", ARGS);
	forged__note(f, SITE + 8, FORGED_BASE, SEMAPHORE + 2, "python", "function__return", ARGS);
	forged__note(f, SITE + 16, FORGED_BASE, SEMAPHORE + 4, "python", "line", ARGS);
	return f;
}

/* Frees both. */
static void expect_problem(struct forged *f, const char *path, unsigned int needed,
			   enum interpreter_problem problem, const char *text)
{
	struct interpreter *in = open_forged(f, path);
	struct interpreter_reason why;
	int err = interpreter__check(in, needed, &why);

	assert_int_equal(err, problem == INTERPRETER_FINE ? 0 : -ENOTSUP);
	assert_string_equal(why.text, text);
	assert_int_equal(why.problem, problem);
	assert_int_equal(interpreter__check(in, needed, NULL), err);
	interpreter__free(in);
}

static void expect_version(struct forged *f, const char *path, const char *text)
{
	struct interpreter *in = open_forged(f, path);
	char buf[64];

	assert_string_equal(interpreter__describe(in, buf, sizeof(buf)), text);
	interpreter__free(in);
}

static void test_refusals(void **state)
{
	struct forged *f;

	(void)state;
	expect_problem(forge_with_probes(0x030b02f0), NULL, FUNCTIONS | CPYTHON_LINE,
		       INTERPRETER_FINE, "");
	expect_problem(forge_with_probes(0x030f02f0), NULL, FUNCTIONS, INTERPRETER_FINE, "");
	expect_problem(forge_with_probes(0x030f02f0), NULL, CPYTHON_LINE, INTERPRETER_NO_SUCH_PROBE,
		       "CPython 3.15.2 has no line probe (3.12 to 3.15 have none)");
	expect_problem(forge_python(0x030d00f0), NULL, FUNCTIONS, INTERPRETER_NO_SUCH_PROBE,
		       "CPython 3.13.0 has no function__entry probe (3.12 to 3.14 have none)");
	expect_problem(
		forge_with_probes(0x030b01f0), NULL, CPYTHON_FUNCTION_ENTRY,
		INTERPRETER_LINE_UNSAFE,
		"CPython 3.11.1 may crash when its line probe is enabled (CPython issue 98894)");
	expect_problem(
		forge_with_probes(0x030b00f0), NULL, CPYTHON_LINE, INTERPRETER_LINE_UNSAFE,
		"CPython 3.11.0 may crash when its line probe is enabled (CPython issue 98894)");
	expect_problem(forge_with_probes(0x030b00f0), NULL, CPYTHON_FUNCTION_RETURN,
		       INTERPRETER_FINE, "");
	expect_problem(forge_python(0x030b07f0), NULL, FUNCTIONS, INTERPRETER_BUILT_WITHOUT,
		       "CPython 3.11.7 was built without probes");
	expect_problem(forge_with_probes(0x036302f0), NULL, FUNCTIONS, INTERPRETER_UNKNOWN_VERSION,
		       "CPython 3.99.2 is not known to this tracer (3.6 to 3.15 are)");
	f = forge_with_probes(0x030b02f0);
	f->ehdr.e_machine = EM_RISCV;
	expect_problem(f, NULL, FUNCTIONS, INTERPRETER_OTHER_ARCH,
#ifdef __aarch64__
		       "it is for another processor (ELF machine 243) than this one (183)");
#else
		       "it is for another processor (ELF machine 243) than this one (62)");
#endif
}

static void test_bad_probes(void **state)
{
	struct forged *f;

	(void)state;
	f = forge_python(0x030b02f0);
	forged__note(f, SITE, FORGED_BASE, SEMAPHORE, "python", "function__entry", ARGS);
	expect_problem(f, NULL, CPYTHON_FUNCTION_RETURN, INTERPRETER_BUILT_WITHOUT,
		       "CPython 3.11.2 was built without the function__return probe");

	/* One site of two is enough to miss events. */
	f = forge_with_probes(0x030b02f0);
	forged__note(f, SITE + 32, FORGED_BASE, SEMAPHORE + 2, "python", "function__return",
		     "8@x(%rip)\n");
	expect_problem(f, NULL, CPYTHON_FUNCTION_RETURN, INTERPRETER_BAD_PROBE,
		       "the arguments of its function__return probe cannot be read: '8@x(%rip)?'");

	f = forge_with_probes(0x030b02f0);
	forged__note(f, SITE + 32, FORGED_BASE, FORGED_TEXT, "python", "line", ARGS);
	expect_problem(f, NULL, CPYTHON_LINE, INTERPRETER_BAD_PROBE,
		       "the semaphore of its line probe is not in its data");

	f = forge_python(0x030b02f0);
	forged__note(f, SITE, FORGED_BASE, SEMAPHORE, "python", "function__entry", ARGS);
	forged__note(f, SITE + 8, FORGED_BASE, 0, "python", "line", ARGS);
	expect_problem(f, NULL, CPYTHON_FUNCTION_ENTRY, INTERPRETER_BAD_PROBE,
		       "its line probe has no semaphore, on which function__entry waits");

	f = forge_python(0x030b02f0);
	f->ehdr.e_shoff = f->ehdr.e_shnum = f->ehdr.e_shstrndx = 0;
	memmove(f->bytes + 0x2a00, f->bytes + FORGED_DYNSTR, 0x100);
	forged__dyn(f, 0)->d_un.d_val = FORGED_DATA + 0xa00;
	expect_problem(
		f, NULL, FUNCTIONS, INTERPRETER_BUILT_WITHOUT,
		"CPython 3.11.2 was stripped of its section headers, so its probes are not found");
}

static void test_what_is_not_cpython(void **state)
{
	struct forged *f;

	(void)state;
	expect_problem(forged__new(), "/bin/ls", FUNCTIONS, INTERPRETER_NOT_PYTHON,
		       "it is not a Python program");
	expect_problem(forged__new(), "/opt/pypy3.9/bin/pypy3.9", FUNCTIONS, INTERPRETER_IS_PYPY,
		       "it is PyPy, which has no probes");
	f = forged__new();
	forged__symbol(f, "pypy_execute_source", FORGED_TEXT + 0x840, 8);
	expect_version(f, "/usr/bin/python3", "PyPy");
	f = forged__new();
	forged__dynamic(f, DT_NEEDED, forged__string(f, "libpython3.9.so.1.0\x1b[2J"));
	expect_problem(f, "/opt/app", FUNCTIONS, INTERPRETER_IS_LINKED,
		       "its interpreter is libpython3.9.so.1.0?[2J, which is not loaded");
}

/* Before 3.11 there is no Py_Version: the strings of the file tell. */
static void test_versions_from_strings(void **state)
{
	struct forged *f;

	(void)state;
	f = forged__new();
	forged__symbol(f, "Py_GetVersion", FORGED_TEXT + 0x840, 8);
	memcpy(f->bytes + 0xa00, "\0lib/python3.9\0", 15);
	memcpy(f->bytes + 0xa80, "/opt/3.9.4/3.9.5", 17);
	memcpy(f->bytes + 0xb00,
	       "13.9.7\0"
	       "2.3.9.8\0"
	       "\0"
	       "3.9.6",
	       22);
	expect_version(f, "/usr/bin/python3.7", "CPython 3.9.6");

	f = forged__new();
	forged__symbol(f, "Py_GetVersion", FORGED_TEXT + 0x840, 8);
	forged__dynamic(f, DT_SONAME, forged__string(f, "libpython3.10.so.1.0"));
	memcpy(f->bytes + 0xa80, "/opt/3.10.13", 13);
	expect_version(f, NULL, "CPython 3.10.13");

	f = forged__new();
	forged__symbol(f, "Py_GetVersion", FORGED_TEXT + 0x840, 8);
	expect_version(f, "/usr/bin/python3.8", "CPython 3.8");

	f = forged__new();
	forged__symbol(f, "Py_GetVersion", FORGED_TEXT + 0x840, 8);
	expect_problem(f, "/usr/bin/blender", FUNCTIONS, INTERPRETER_UNKNOWN_VERSION,
		       "its version of CPython is not to be found in the file");
}

/* Linked into a program that exports nothing: the section of _PyRuntime, and what is in it. */
static struct forged *forge_linked(__u64 hex)
{
	struct forged *f = forged__new();

	forged__set_section(f, FORGED_SH_BASE, SHT_PROGBITS, FORGED_DATA + 0xd00, 0x2d00, 0x100);
	memcpy(f->bytes + FORGED_NAMES + 16 * FORGED_SH_BASE, ".PyRuntime", 11);
	if (hex) {
		memcpy(f->bytes + 0x2d00, "xdebugpy", 8);
		memcpy(f->bytes + 0x2d08, &hex, sizeof(hex));
	}
	return f;
}

static void test_linked(void **state)
{
	struct interpreter *in;
	struct forged *f;

	(void)state;
	in = open_forged(forge_linked(0x030d02f0), "/usr/bin/blender");
	assert_int_equal(interpreter__info(in)->runtime_addr, FORGED_DATA + 0xd00);
	assert_int_equal(interpreter__info(in)->code_type_addr, 0);
	interpreter__free(in);
	expect_version(forge_linked(0x030d02f0), "/usr/bin/blender", "CPython 3.13.2");
	expect_version(forge_linked(UINT64_MAX), "/usr/bin/python3.13", "CPython 3.13");
	expect_version(forge_linked(0), "/usr/bin/blender", "a CPython of unknown version");
	/* Before 3.13 the text of the version; not where another one may be meant. */
	f = forge_linked(0);
	memcpy(f->bytes + 0xa80, "\0003.12.4", 8);
	expect_version(f, "/usr/bin/blender", "CPython 3.12.4");
	f = forge_linked(0);
	memcpy(f->bytes + 0xa80, "\0003.12.4\0003.11.0", 15);
	expect_version(f, "/usr/bin/blender", "a CPython of unknown version");
	f = forge_linked(0);
	memcpy(f->bytes + 0xa80, "/opt/3.10.14", 13);
	expect_version(f, "/usr/bin/blender", "CPython 3.10.14");
	f = forge_linked(0);
	memcpy(f->bytes + 0xa80, "\0003.9.4\0003.13.0\0003.11", 19);
	expect_version(f, "/usr/bin/blender", "a CPython of unknown version");
}

static void test_builds(void **state)
{
	const __u64 offsets[] = {0x030f00f0, 1};
	struct forged *f;

	(void)state;
	f = forge_with_probes(0x030f00f0);
	memcpy(f->bytes + 0xa00, "JIT %s (%d)", 12);
	expect_version(f, NULL, "CPython 3.15.0 (JIT)");
	f = forge_with_probes(0x030f00f0);
	memcpy(f->bytes + 0xa00, "JIT %s (%d)", 12);
	expect_problem(f, NULL, FUNCTIONS, INTERPRETER_FINE, ""); /* as a file: built in, dormant */
	f = forge_with_probes(0x030f00f0);
	forged__symbol(f, "_PyRuntime", FORGED_DATA + 0xd00, 64);
	memcpy(f->bytes + 0x2d00, "xdebugpy", 8);
	memcpy(f->bytes + 0x2d08, offsets, sizeof(offsets));
	expect_version(f, NULL, "CPython 3.15.0 (free-threaded)");
}

static void test_not_elf(void **state)
{
	struct interpreter_reason why;
	struct interpreter *in;
	int fd = memfd_create("script", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(write(fd, "#!/bin/sh\n", 10), 10);
	assert_int_equal(interpreter__open_fd(fd, NULL, &in, &why), -ENOEXEC);
	assert_null(in);
	assert_int_equal(why.problem, INTERPRETER_NOT_ELF);
	close(fd);
	assert_int_equal(interpreter__open_fd(-1, NULL, &in, NULL), -EBADF);
	interpreter__free(NULL);
}

static void test_cpython_table(void **state)
{
	int minor;

	(void)state;
	assert_null(cpython__find(2, 7));
	assert_null(cpython__find(3, 5));
	assert_null(cpython__find(3, 16));
	for (minor = 6; minor <= 15; minor++)
		assert_non_null(cpython__find(3, minor));
	assert_string_equal(cpython__probe_name(CPYTHON_LINE), "line");
	assert_null(cpython__probe_name((enum cpython_probe)FUNCTIONS));
	assert_true(cpython__line_semaphore_is_safe(3, 10, -1));
	assert_false(cpython__line_semaphore_is_safe(3, 11, 1));
	assert_true(cpython__line_semaphore_is_safe(3, 11, 2));
	assert_false(cpython__line_semaphore_is_safe(3, 15, 2));
	assert_null(cpython__str(cpython__find(3, 15), true));
	assert_int_equal(cpython__str(cpython__find(3, 11), false)->hash_offset, -24);
}

/* ---- interpreters of this machine ---- */

/* A program that says one line and then waits for its standard input to end. */
struct child {
	pid_t pid;
	int input;
	char line[256];
};

static void start(struct child *child, const char *root, char *const argv[], const char *env)
{
	char *envp[] = {(char *)env, NULL};
	int in[2], out[2];
	ssize_t len;

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	child->pid = fork();
	assert_true(child->pid >= 0);
	if (child->pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		if (root && (chroot(root) < 0 || chdir("/") < 0))
			_exit(126);
		execve(argv[0], argv, envp);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	child->input = in[1];
	len = read(out[0], child->line, sizeof(child->line) - 1);
	child->line[len > 0 ? len : 0] = '\0';
	child->line[strcspn(child->line, "\n")] = '\0';
	close(out[0]);
}

static void stop(struct child *child)
{
	close(child->input);
	waitpid(child->pid, NULL, 0);
}

#define SAY_VERSION                                                                  \
	"import sys; print('CPython %d.%d.%d' % sys.version_info[:3], flush=True); " \
	"sys.stdin.read()"

static void start_python(struct child *child, const char *python, const char *env)
{
	char *argv[] = {(char *)python, "-S", "-c", SAY_VERSION, NULL};

	start(child, NULL, argv, env);
}

static struct interpreter *of_pid(pid_t pid)
{
	struct interpreter_reason why;
	struct interpreter *in;

	if (interpreter__of_pid(pid, &in, &why))
		fail_msg("pid %d: %s", pid, why.text);
	return in;
}

/* The bytes at an address of the file, as the process has them. */
static __u64 peek(const struct interpreter *in, __u64 addr)
{
	const struct interpreter_info *info = interpreter__info(in);
	char path[32];
	__u64 value;
	int fd;

	assert_true(info->has_bias);
	snprintf(path, sizeof(path), "/proc/%d/mem", info->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &value, sizeof(value), (off_t)(addr + info->load_bias)), 8);
	close(fd);
	return value;
}

/* Py_Version is where the load bias says. */
static void expect_right_bias(const struct interpreter *in)
{
	const struct interpreter_info *info = interpreter__info(in);
	struct elf_symbol symbol = {.name = "Py_Version"};

	assert_int_equal(elf_notes__find_symbols(info->elf, &symbol, 1), 1);
	assert_int_equal(peek(in, symbol.addr) >> 8,
			 info->major << 16 | info->minor << 8 | info->micro);
}

static void test_system_python(void **state)
{
	const struct interpreter_info *info;
	struct interpreter *in;
	struct child child;
	char buf[64];

	(void)state;
	if (access(SYSTEM_PYTHON, X_OK)) {
		print_message("skipped: no " SYSTEM_PYTHON "\n");
		skip();
	}
	start_python(&child, SYSTEM_PYTHON, NULL);
	in = of_pid(child.pid);
	info = interpreter__info(in);
	assert_string_equal(interpreter__describe(in, buf, sizeof(buf)), child.line);
	assert_string_equal(info->path, SYSTEM_PYTHON);
	assert_int_equal(info->kind, INTERPRETER_CPYTHON);
	assert_false(info->in_library);
	assert_int_equal(interpreter__check(in, FUNCTIONS | CPYTHON_LINE, NULL), 0);
	assert_non_null(elf_notes__next(info->elf, "gc__start", NULL));
	assert_true(elf_notes__header(info->elf)->entry.addr);
	expect_right_bias(in);
	/* Nobody traces it, so its semaphores are 0; 2 bytes of the 8. */
	assert_int_equal(
		peek(in, elf_notes__next(info->elf, "line", NULL)->semaphore_addr) & 0xffff, 0);
	interpreter__free(in);
	stop(&child);
}

/* Every interpreter that pyenv has: executables that load a libpython without probes. */
static void test_pyenv_pythons(void **state)
{
	struct interpreter_reason why;
	struct interpreter *in;
	struct child child;
	char buf[64];
	glob_t found;

	(void)state;
	if (glob("~/.pyenv/versions/3.*/bin/python3", GLOB_TILDE, NULL, &found)) {
		print_message("skipped: no pyenv\n");
		skip();
	}
	for (size_t i = 0; i < found.gl_pathc; i++) {
		start_python(&child, found.gl_pathv[i], NULL);
		in = of_pid(child.pid);
		assert_string_equal(interpreter__describe(in, buf, sizeof(buf)), child.line);
		assert_true(interpreter__info(in)->has_bias);
		if (interpreter__info(in)->minor >= 11)
			expect_right_bias(in);
		assert_int_equal(interpreter__check(in, FUNCTIONS, &why), -ENOTSUP);
		assert_true(why.problem == INTERPRETER_BUILT_WITHOUT ||
			    why.problem == INTERPRETER_NO_SUCH_PROBE);
		interpreter__free(in);
		stop(&child);
	}
	globfree(&found);
}

/* Runs in the directory that the program below is in. */
static bool compile(const char *dir, const char *source)
{
	char path[128];
	char *argv[] = {"/usr/bin/cc", path, "-o", "embedded", "-l:" SYSTEM_LIBPYTHON, NULL};
	char *envp[] = {"PATH=/usr/bin:/bin", NULL};
	int status = -1, fd;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/embedded.c", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, source, strlen(source)), strlen(source));
	close(fd);
	pid = fork();
	if (pid == 0) {
		fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
		dup2(fd, 2);
		if (chdir(dir) == 0)
			execve(argv[0], argv, envp);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	unlink(path);
	return status == 0;
}

static void test_embedding_program(void **state)
{
	static const char source[] = "#include <stdio.h>\n"
				     "void Py_Initialize(void);\n"
				     "int main(void) { Py_Initialize(); puts(\"ready\");"
				     " fflush(stdout); return getchar(); }\n";
	char dir[] = "/tmp/test_interpreter.XXXXXX", path[64], buf[64];
	char *argv[] = {path, NULL};
	struct interpreter *in;
	struct child child;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/embedded", dir);
	if (!compile(dir, source)) {
		rmdir(dir);
		print_message("skipped: no cc or no " SYSTEM_LIBPYTHON "\n");
		skip();
	}
	start(&child, NULL, argv, NULL);
	assert_string_equal(child.line, "ready");
	unlink(path); /* it is found without its name */
	rmdir(dir);
	in = of_pid(child.pid);
	assert_int_equal(interpreter__info(in)->kind, INTERPRETER_CPYTHON);
	assert_true(interpreter__info(in)->in_library);
	assert_non_null(strstr(interpreter__info(in)->path, SYSTEM_LIBPYTHON));
	assert_true(strncmp(interpreter__describe(in, buf, sizeof(buf)), "CPython 3.11.", 13) == 0);
	assert_int_equal(interpreter__check(in, FUNCTIONS | CPYTHON_LINE, NULL), 0);
	expect_right_bias(in);
	interpreter__free(in);
	stop(&child);
}

static void test_deleted_executable(void **state)
{
	char path[] = "/tmp/test_interpreter.XXXXXX";
	struct interpreter *in;
	struct child child;
	struct stat st;
	int from, to;

	(void)state;
	from = open(SYSTEM_PYTHON, O_RDONLY | O_CLOEXEC);
	if (from < 0) {
		print_message("skipped: no " SYSTEM_PYTHON "\n");
		skip();
	}
	to = mkostemp(path, O_CLOEXEC);
	assert_int_equal(fstat(from, &st), 0);
	assert_int_equal(copy_file_range(from, NULL, to, NULL, (size_t)st.st_size, 0), st.st_size);
	assert_int_equal(fchmod(to, 0700), 0);
	close(from);
	close(to);
	start_python(&child, path, NULL);
	unlink(path);
	in = of_pid(child.pid);
	assert_non_null(strstr(interpreter__info(in)->path, " (deleted)"));
	assert_int_equal(interpreter__check(in, FUNCTIONS, NULL), 0);
	expect_right_bias(in);
	interpreter__free(in);
	stop(&child);
}

/* Another distribution's 3.15 in a chroot, whose JIT compiler is built in and off. */
static void expect_jit(const char *env, enum interpreter_jit jit, int err)
{
	char *argv[] = {"/usr/bin/python3.15", "-S", "-c", SAY_VERSION, NULL};
	struct interpreter_reason why;
	struct interpreter *in;
	struct child child;

	start(&child, SID, argv, env);
	in = of_pid(child.pid);
	assert_int_equal(interpreter__info(in)->minor, 15);
	assert_int_equal(interpreter__info(in)->jit, jit);
	assert_int_equal(interpreter__jit_now(in), jit);
	assert_int_equal(interpreter__check(in, FUNCTIONS, &why), err);
	assert_int_equal(why.problem, err ? INTERPRETER_IS_JIT : INTERPRETER_FINE);
	expect_right_bias(in);
	interpreter__free(in);
	stop(&child);
}

static void test_chroot_and_jit(void **state)
{
	(void)state;
	if (geteuid() != 0 || access(SID "/usr/bin/python3.15", X_OK)) {
		print_message("skipped: not root, or no chroot in " SID "\n");
		skip();
	}
	expect_jit("PYTHON_JIT=0", INTERPRETER_JIT_OFF, 0);
	expect_jit("PYTHON_JIT=1", INTERPRETER_JIT_ON, -ENOTSUP);
	expect_jit("PYTHON_JIT=", INTERPRETER_JIT_DORMANT, 0);
	expect_jit("PYTHON_JITX=1", INTERPRETER_JIT_DORMANT, 0);
}

/* What a process may map under a libpython's name without being one. */
static void test_hostile_mappings(void **state)
{
	static const char *const names[] = {"libpython3.11.so.1.0", "libpython3.11\nr-xp (deleted)",
					    "python3.9", "libpython3.11.so\xff\x1b[2J"};
	char dir[] = "/tmp/test_interpreter.XXXXXX", path[128];
	struct forged *f = forged__new();
	struct interpreter *in;
	void *maps[4];
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0700);
		assert_int_equal(write(fd, f->bytes, i == 0 ? 100 : FORGED_SIZE),
				 i == 0 ? 100 : FORGED_SIZE);
		maps[i] = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
		assert_ptr_not_equal(maps[i], MAP_FAILED);
		close(fd);
		unlink(path);
	}
	rmdir(dir);
	in = of_pid(getpid());
	assert_int_equal(interpreter__info(in)->kind, INTERPRETER_NONE);
	interpreter__free(in);
	for (int i = 0; i < 4; i++)
		munmap(maps[i], 4096);
	free(f);
}

/* In a process of its own, because a library once loaded stays. */
static int load_and_look(void)
{
	const struct interpreter_info *info;
	struct interpreter *in = NULL;
	void *library, *runtime;
	int good;

	/* Without capabilities /proc/PID/map_files is closed: the file is found by its name. */
	if (setgid(65534) || setuid(65534) || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
		return 2;
	library = dlopen(SYSTEM_LIBPYTHON, RTLD_NOW | RTLD_LOCAL);
	runtime = library ? dlsym(library, "_PyRuntime") : NULL;
	if (!runtime || interpreter__of_pid(getpid(), &in, NULL))
		return 3;
	info = interpreter__info(in);
	good = info->kind == INTERPRETER_CPYTHON && info->has_bias &&
	       info->runtime_addr + info->load_bias == (__u64)(uintptr_t)runtime;
	interpreter__free(in);
	return good ? 0 : 4;
}

/* A mapped libpython whose name is another file by now must not be taken for it. */
static int map_and_replace(void)
{
	char dir[] = "/tmp/test_interpreter.XXXXXX", path[2][128];
	struct forged *f = forge_with_probes(0x030b02f0);
	struct interpreter_reason why;
	struct interpreter *in;
	int fd, err;

	if (setgid(65534) || setuid(65534) || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) || !mkdtemp(dir))
		return 2;
	for (int i = 0; i < 2; i++) {
		snprintf(path[i], sizeof(path[i]), "%s/%s", dir, i ? "new" : SYSTEM_LIBPYTHON);
		fd = open(path[i], O_RDWR | O_CREAT | O_CLOEXEC, 0700);
		if (write(fd, f->bytes, FORGED_SIZE) != FORGED_SIZE)
			return 3;
		if (i == 0 &&
		    mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED)
			return 4;
		close(fd);
	}
	free(f);
	/* Replaced, the mapping's own name ends in " (deleted)": that one is the impostor. */
	if (unlink(path[0]))
		return 5;
	snprintf(path[0], sizeof(path[0]), "%s/%s (deleted)", dir, SYSTEM_LIBPYTHON);
	if (rename(path[1], path[0]))
		return 6;
	err = interpreter__of_pid(getpid(), &in, &why);
	unlink(path[0]);
	rmdir(dir);
	return err == -ENOENT && why.problem == INTERPRETER_UNREADABLE ? 0 : 7;
}

static void expect_child(int (*body)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(body());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_replaced_library(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: not root\n");
		skip();
	}
	expect_child(map_and_replace);
}

static void test_without_capabilities(void **state)
{
	void *library = dlopen(SYSTEM_LIBPYTHON, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD);

	(void)state;
	assert_null(library);
	if (geteuid() != 0 || access("/usr/lib/x86_64-linux-gnu/" SYSTEM_LIBPYTHON, R_OK)) {
		print_message("skipped: not root, or no " SYSTEM_LIBPYTHON "\n");
		skip();
	}
	expect_child(load_and_look);
}

static void test_processes_that_are_not_there(void **state)
{
	struct interpreter_reason why;
	struct interpreter *in;
	siginfo_t info;
	pid_t pid;

	(void)state;
	pid = fork();
	if (pid == 0)
		_exit(0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(interpreter__of_pid(pid, &in, &why), -ESRCH); /* a zombie */
	assert_string_equal(why.text, "it has ended, or is a kernel thread");
	waitpid(pid, NULL, 0);
	assert_int_equal(interpreter__of_pid(pid, &in, &why), -ESRCH);
	assert_int_equal(why.problem, INTERPRETER_GONE);
	assert_string_equal(why.text, "no such process");
	assert_int_equal(interpreter__of_pid(0, &in, NULL), -ESRCH);
	assert_int_equal(interpreter__of_pid(-1, &in, NULL), -ESRCH);
	assert_null(in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_bad_probes),
		cmocka_unit_test(test_what_is_not_cpython),
		cmocka_unit_test(test_versions_from_strings),
		cmocka_unit_test(test_linked),
		cmocka_unit_test(test_builds),
		cmocka_unit_test(test_not_elf),
		cmocka_unit_test(test_cpython_table),
		cmocka_unit_test(test_system_python),
		cmocka_unit_test(test_pyenv_pythons),
		cmocka_unit_test(test_embedding_program),
		cmocka_unit_test(test_deleted_executable),
		cmocka_unit_test(test_chroot_and_jit),
		cmocka_unit_test(test_hostile_mappings),
		cmocka_unit_test(test_without_capabilities),
		cmocka_unit_test(test_replaced_library),
		cmocka_unit_test(test_processes_that_are_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
