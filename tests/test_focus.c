// SPDX-License-Identifier: BSD-3-Clause
/*
 * Two kinds of tests: a made-up tree whose rules are known, and real interpreters that say the
 * co_name, co_filename and lines of their functions, which the rules must match. More of those:
 * PIKOS_TEST_PYTHONS=/path/to/python3.13:/path/to/python3.9
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "focus/focus.h"

#define PYTHON "/usr/bin/python3"

static char base[64]; /* holds fake, the made-up tree, and real */
static char tree[80];
static struct identity *identity;
static struct reader *reader;
static struct focus_context context;
static struct focus_error error;

/* ------------------------------------------------------------------ helpers */

static void put(const char *name, const char *text)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", tree, name);
	for (char *slash = path + strlen(tree) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void drop_context(void)
{
	reader__free(reader);
	identity__free(identity);
	reader = NULL;
	identity = NULL;
}

static void take_context(struct identity *id)
{
	drop_context();
	assert_non_null(id);
	identity = id;
	reader = reader__new(id, NULL);
	assert_non_null(reader);
	context = (struct focus_context){.reader = reader, .identity = id};
}

/* As before `pikos-trace -- python3.11 ...` runs. */
static void will_run(char *const argv[])
{
	take_context(identity__of_self(argv));
}

static struct focus *resolve(const char *spec)
{
	struct focus *focus;
	int err = focus__resolve(spec, &context, &focus, &error);

	if (err)
		fail_msg("%s: %d: %s / %s", spec, err, error.text, error.hint);
	assert_string_equal(error.text, "");
	return focus;
}

static void expect_error(const char *spec, int want, const char *text, const char *hint)
{
	struct focus *focus;
	int err = focus__resolve(spec, &context, &focus, &error);

	if (err != want || !strstr(error.text, text) || !strstr(error.hint, hint))
		fail_msg("%s: expected %d '%s' / '%s', actual %d '%s' / '%s'", spec, want, text,
			 hint, err, error.text, error.hint);
	assert_null(focus);
	assert_null(strchr(error.text, '\n'));
}

static bool has_file(const struct focus_rule *rule, bool suffix, const char *path)
{
	for (int i = 0; i < rule->n_files; i++)
		if (rule->files[i].suffix == suffix && !strcmp(rule->files[i].path, path))
			return true;
	return false;
}

static bool has_tree_file(const struct focus_rule *rule, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", tree, name);
	return has_file(rule, false, path);
}

/* One rule, of that function, in that file of the tree, with these ranges ("1-3 5-7"). */
static void expect_rule(const char *spec, const char *function, const char *file,
			const char *ranges)
{
	struct focus *focus = resolve(spec);
	const struct focus_rule *rule = focus->rules;
	char text[256] = "";

	assert_int_equal(focus->n_rules, 1);
	assert_string_equal(rule->spec, spec);
	assert_string_equal(rule->function, function);
	for (int i = 0; i < rule->n_ranges; i++)
		sprintf(text + strlen(text), "%s%d-%d", i ? " " : "", rule->ranges[i].lo,
			rule->ranges[i].hi);
	assert_string_equal(text, ranges);
	if (file && !has_tree_file(rule, file)) {
		for (int i = 0; i < rule->n_files; i++)
			print_error("%s%s\n", rule->files[i].suffix ? "*/" : "",
				    rule->files[i].path);
		fail_msg("%s: no form for %s", spec, file);
	}
	focus__free(focus);
}

/* ------------------------------------------------------------------ the made-up tree */

static void bare_names(void **state)
{
	struct focus *focus = resolve("gcd, <lambda>,\tna\xc3\xafve");

	(void)state;
	assert_int_equal(focus->n_rules, 3);
	assert_string_equal(focus->rules[0].function, "gcd");
	assert_string_equal(focus->rules[1].function, "<lambda>");
	assert_string_equal(focus->rules[2].function, "na\xc3\xafve");
	assert_int_equal(focus->rules[0].n_files, 0);
	assert_int_equal(focus->rules[0].n_ranges, 0);
	assert_true(focus__match(focus, "gcd", "anything", -1));
	assert_true(focus__match(focus, "gcd", NULL, 0));
	assert_false(focus__match(focus, "gcd2", "gcd", 1));
	focus__free(focus);
	focus__free(NULL);
}

static void not_specs(void **state)
{
	static const char *const specs[] = {"",
					    "a,",
					    ",a",
					    "1a",
					    "a..b",
					    ".a",
					    "a.",
					    "a b",
					    ":f",
					    "a.py:",
					    "a.py:1x",
					    "a.py:0",
					    "a.py:99999999999",
					    "a.py:f..g",
					    "<lambda",
					    "a-b"};

	(void)state;
	for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++)
		expect_error(specs[i], -EINVAL, "neither a function nor a file", "FILE:LINE");
	expect_error("app/main.py", -EINVAL, "a file without a function", "app/main.py:FUNCTION");
	expect_error("gcd.py", -EINVAL, "a file without a function", "gcd.py:LINE");
	expect_error("x\n\x1b[1m y", -EINVAL, "cannot focus on 'x??[1m y': ", "");
}

static void files(void **state)
{
	struct focus *focus;

	(void)state;
	expect_rule("app/main.py:run", "run", "app/main.py", "");
	expect_rule("./app//main.py:run", "run", "app/main.py", "");
	expect_rule("app/main.py:A.go", "go", "app/main.py", "5-6");
	expect_rule("app/main.py:B.go", "go", "app/main.py", "9-12 15-15");
	expect_rule("app/main.py:B.go.go", "go", "app/main.py", "13-14");
	expect_rule("app/main.py:B.go.<locals>.go", "go", "app/main.py", "13-14");
	expect_rule("app/main.py:B.<lambda>", "<lambda>", "app/main.py", "8-17");
	expect_rule("app/main.py:<lambda>", "<lambda>", "app/main.py", "");
	expect_rule("app/main.py:<module>", "<module>", "app/main.py", "");
	/* Found by its end alone: below the working directory, and on the search path. */
	expect_rule("main.py:run", "run", "app/main.py", "");
	expect_rule("core.py:func", "func", "app/pkg/core.py", "");
	expect_rule("pkg/core.py:func", "func", "app/pkg/core.py", "");

	focus = resolve("app/main.py:run");
	assert_true(has_file(focus->rules, false, "app/main.py"));
	assert_true(has_file(focus->rules, false, "./app/main.py"));
	assert_true(has_file(focus->rules, true, "app/main.py"));
	assert_true(focus__match(focus, "run", "/somewhere/app/main.py", 1));
	assert_false(focus__match(focus, "run", "/somewhere/myapp/main.py", 1));
	assert_false(focus__match(focus, "run", NULL, 1));
	focus__free(focus);

	/* With ranges another file that ends so is another program. */
	focus = resolve("app/main.py:B.go");
	assert_true(focus__match(focus, "go", "app/main.py", 12));
	assert_true(focus__match(focus, "go", "app/main.py", 15));
	assert_false(focus__match(focus, "go", "app/main.py", 13));
	assert_false(focus__match(focus, "go", "app/main.py", 5));
	assert_false(focus__match(focus, "go", "/somewhere/app/main.py", 12));
	focus__free(focus);
}

static void lines_of_files(void **state)
{
	(void)state;
	expect_rule("app/main.py:2", "run", "app/main.py", "");
	expect_rule("app/main.py:1", "run", "app/main.py", "");
	expect_rule("app/main.py:3", "<module>", "app/main.py", "");
	expect_rule("app/main.py:6", "go", "app/main.py", "5-6");
	expect_rule("app/main.py:14", "go", "app/main.py", "13-14");
	expect_rule("app/main.py:15", "go", "app/main.py", "9-12 15-15");
	expect_rule("app/main.py:16", "B", "app/main.py", "");
	expect_error("app/main.py:19", -ENOENT, "app/main.py ends at line 18", "");
}

static void file_errors(void **state)
{
	(void)state;
	expect_error("nothing.py:f", -ENOENT, "no file 'nothing.py'", "looked in and below");
	expect_error("/no/where.py:f", -ENOENT, "no file '/no/where.py'", "");
	expect_error("app/main.py:nope", -ENOENT, "no function 'nope' in app/main.py",
		     "it has run, A.go, B.go, B.go.<locals>.go");
	expect_error("app/main.py:A.nope", -ENOENT, "no function 'A.nope' in app/main.py", "");
	expect_error("app/main.py:A.run", -ENOENT, "no function 'A.run'", "did you mean run");
	expect_error("app/main.py:A", -ENOENT, "'A' is a class", "'app/main.py:A.__init__'");
	expect_error("app:f", -ENOENT, "no file 'app'", "");
	expect_error("gcd,app/main.py:nope", -ENOENT, "cannot focus on 'app/main.py:nope'", "");
}

static void modules(void **state)
{
	(void)state;
	expect_rule("pkg.core.func", "func", "app/pkg/core.py", "");
	expect_rule("pkg.core.K.method", "method", "app/pkg/core.py", "");
	expect_rule("pkg.core.outer.inner", "inner", "app/pkg/core.py", "");
	expect_rule("pkg.core.<module>", "<module>", "app/pkg/core.py", "");
	expect_rule("pkg.own", "own", "app/pkg/__init__.py", "");
	expect_rule("ns.part.f", "f", "lib/ns/part.py", "");
	expect_rule("__main__.run", "run", "app/main.py", "");
	expect_rule("__main__.A.go", "go", "app/main.py", "5-6");
	expect_rule("latin.caf\xc3\xa9", "caf\xc3\xa9", "app/latin.py", "");
	/* A top-level function is told from a method of its name. */
	expect_rule("pkg.core.same", "same", "app/pkg/core.py", "11-12");
}

static void reexports(void **state)
{
	(void)state;
	expect_rule("pkg.func", "func", "app/pkg/core.py", "");
	expect_rule("pkg.renamed", "func", "app/pkg/core.py", "");
	expect_rule("pkg.K.method", "method", "app/pkg/core.py", "");
	expect_rule("pkg.c.func", "func", "app/pkg/core.py", "");
	expect_rule("pkg.starred", "starred", "app/pkg/sub/deep.py", "");
	expect_rule("pkg.up", "own", "app/pkg/__init__.py", "");
	expect_rule("pkg.alias", "own", "app/pkg/__init__.py", "");
	expect_rule("pkg.bound", "method", "app/pkg/core.py", "");
	/* Cycles end. */
	expect_error("pkg.cycle", -ENOENT, "no function 'cycle'", "");
	expect_error("pkg.sub.nowhere", -ENOENT, "no function 'nowhere'", "");
}

static void module_errors(void **state)
{
	(void)state;
	expect_error("absent.f", -ENOENT, "no module 'absent'", "/app");
	expect_error("pkg.absent.f", -ENOENT, "no module 'pkg.absent'", "pkg/__init__.py");
	expect_error("pkg.core.absent", -ENOENT, "no function 'absent'", "it has func");
	expect_error("pkg.core.K", -ENOENT, "'K' is a class", "pkg.core.K.__init__");
	expect_error("pkg.core.K.absent", -ENOENT, "no function 'K.absent'", "inherits");
	expect_error("cmod.f", -ENOENT, "'cmod' is a C extension (", "not traced");
	expect_error("pkg.fast", -ENOENT, "'cmod' is a C extension", "");
	expect_error("pkg.Replaced.f", -ENOENT, "replaces 'Replaced' by that of the C module",
		     "pkg/__init__.py:Replaced.f");
	expect_error("sys.exit", -ENOENT, "'sys' is built into the interpreter", "not traced");
	expect_error("ns.f", -ENOENT, "no module 'ns'", "");
}

/* Whoever can write modules decides what a name leads to; that must end. */
static void hostile_modules(void **state)
{
	enum { N = 3000 };
	char *text = malloc(N * 32), *p = text;

	(void)state;
	assert_non_null(text);
	for (int i = 0; i < N; i++)
		p += sprintf(p, "from h%d import *\n", i % 3);
	put("app/h0.py", text);
	put("app/h1.py", text);
	put("app/h2.py", text);
	free(text);
	expect_error("h0.f", -ENOENT, "no function 'f'", "");
}

static void search_path(void **state)
{
	char *venv[] = {"venv/bin/python3.11", "-m", "main", NULL};
	char *isolated[] = {"/usr/bin/env", "A=1", "venv/bin/python3.11", "-IW", "x",
			    "app/main.py",  NULL};
	char *code[] = {"python3.11", "-c", "pass", "app/main.py", NULL};

	(void)state;
	will_run(venv);
	context.major = 3;
	context.minor = 11;
	expect_rule("vpkg.f", "f", "venv/lib/python3.11/site-packages/vpkg.py", "");
	expect_rule("bypth.f", "f", "elsewhere/bypth.py", "");
	expect_rule("ns.part.f", "f", "lib/ns/part.py", ""); /* PYTHONPATH */
	expect_error("pkg.own", -ENOENT, "no module 'pkg'", tree);
	will_run(isolated);
	context.major = 3;
	context.minor = 11;
	expect_rule("vpkg.f", "f", "venv/lib/python3.11/site-packages/vpkg.py", "");
	expect_rule("__main__.run", "run", "app/main.py", "");
	expect_error("hidden.f", -ENOENT, "no module 'hidden'", "");
	expect_error("ns.part.f", -ENOENT, "no module 'ns'", "");
	expect_error("pkg.own", -ENOENT, "no module 'pkg'", "");
	will_run(code);
	expect_error("__main__.run", -ENOENT, "the program's script is not known", "");
	expect_rule("app.main.run", "run", "app/main.py", "");
}

/* A program that has left the directory where its script was named. */
static void moved_away(void **state)
{
	char *argv[] = {"python3.11", "app/main.py", NULL};

	(void)state;
	assert_int_equal(setenv("PWD", tree, 1), 0);
	assert_int_equal(chdir("/"), 0);
	will_run(argv);
	expect_rule("__main__.run", "run", "app/main.py", "");
	expect_rule("pkg.own", "own", "app/pkg/__init__.py", "");
	assert_int_equal(chdir(tree), 0);
}

/* Symlinks: every spelling by which the interpreter may have come there. */
static void spellings(void **state)
{
	char *argv[] = {"python3.11", "./app/link.py", NULL};
	struct focus *focus;

	(void)state;
	will_run(argv);
	focus = resolve("linked.core.func");
	assert_true(has_tree_file(focus->rules, "app/linked/core.py"));
	assert_true(has_tree_file(focus->rules, "app/pkg/core.py"));
	assert_true(has_file(focus->rules, false, "app/pkg/core.py"));
	focus__free(focus);
	focus = resolve("__main__.run");
	assert_true(has_file(focus->rules, false, "./app/link.py"));
	assert_true(has_file(focus->rules, false, "app/link.py"));
	assert_true(has_tree_file(focus->rules, "./app/link.py"));
	assert_true(has_tree_file(focus->rules, "app/link.py"));
	assert_true(has_tree_file(focus->rules, "app/main.py"));
	focus__free(focus);
}

/* ------------------------------------------------------------------ real interpreters */

/* Each spec, an expression for the function it means, and whether the rule must match it. */
static const struct {
	const char *spec, *function;
	bool match;
} real[] = {
	{"json.decoder.JSONDecoder.decode", "json.decoder.JSONDecoder.decode", true},
	{"json.decoder.JSONDecoder.decode", "json.decoder.JSONDecoder.raw_decode", false},
	{"json.dumps", "json.dumps", true},
	{"os.path.join", "os.path.join", true},
	{"posixpath.join", "os.path.join", true},
	{"posixpath.py:join", "os.path.join", true},
	{"os.walk", "os.walk", true},
	{"os.makedirs", "os.makedirs", true},
	{"codecs.open", "codecs.open", true},
	{"abc.ABCMeta.register", "abc.ABCMeta.register", true},
	{"asyncio.run", "asyncio.run", true},
	{"asyncio.run", "asyncio.Runner.run", false},
	{"asyncio.Runner.run", "asyncio.Runner.run", true},
	{"textwrap.TextWrapper.wrap", "textwrap.TextWrapper.wrap", true},
	{"textwrap.TextWrapper.wrap", "textwrap.wrap", false},
	{"textwrap.wrap", "textwrap.wrap", true},
	{"textwrap.wrap", "textwrap.TextWrapper.wrap", false},
	{"textwrap.py:wrap", "textwrap.TextWrapper.wrap", true},
	{"collections.namedtuple", "collections.namedtuple", true},
	{"collections/__init__.py:Counter.update", "collections.Counter.update", true},
	{"collections/__init__.py:Counter.update", "collections.UserDict.update", false},
	{"random.randint", "random.randint", true},
	{"importlib._bootstrap._find_and_load", "importlib._bootstrap._find_and_load", true},
	{"unittest.TestCase.assertEqual", "unittest.TestCase.assertEqual", true},
	{"pkg.func", "pkg.func", true},
	{"pkg.core.same", "pkg.core.same", true},
	{"pkg.core.same", "pkg.core.K.same", false},
	{"core.py:same", "pkg.core.K.same", true},
	{"pkg.core.K.same", "pkg.core.K.same", true},
	{"main.py:run", "main.run", true},
	{"app/main.py:run", "main.run", true},
	{"__main__.run", "main.run", true},
	{"main.py:A.go", "main.A.go", true},
	{"main.py:A.go", "main.B.go", false},
	{"main.py:6", "main.A.go", true},
	{"main.py:6", "main.B.go", false},
	{"linked.core.func", "linked_core.func", true},
	{"lib_link_mod.f", "lib_link_mod.f", true},
};

#define N_REAL (sizeof(real) / sizeof(real[0]))

/* Says code objects; then waits to be looked at. */
static const char oracle[] =
	"def run():\n"
	"    pass\n"
	"class A:\n"
	"    # a comment\n"
	"    def go(self):\n"
	"        pass\n"
	"class B:\n"
	"    def go(self):\n"
	"        pass\n"
	"import sys\n"
	"main = sys.modules['__main__']\n"
	"import os, json, json.decoder, textwrap, collections, codecs, abc, asyncio, random\n"
	"import unittest, importlib, pkg, pkg.core, lib_link_mod\n"
	"import linked.core as linked_core\n"
	"for e in sys.argv[1:]:\n"
	"    try:\n"
	"        c = eval(e)\n"
	"        c = getattr(c, '__func__', c).__code__\n"
	"        print(c.co_name, c.co_firstlineno, c.co_filename, flush=True)\n"
	"    except AttributeError:\n"
	"        print('-', flush=True)\n"
	"sys.stdin.read()\n";

struct python {
	pid_t pid;
	FILE *out;
	int in;
};

static struct python launch(const char *cwd, const char *exe, const char *const options[3],
			    const char *env)
{
	char *argv[N_REAL + 8] = {(char *)exe}, *envp[] = {(char *)env, "LC_ALL=C.UTF-8", NULL};
	int in[2], out[2], n = 1;
	struct python py;

	for (int i = 0; i < 3 && options[i]; i++)
		argv[n++] = (char *)options[i];
	for (size_t i = 0; i < N_REAL; i++)
		argv[n++] = (char *)real[i].function;
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	py.pid = fork();
	assert_true(py.pid >= 0);
	if (!py.pid) {
		if (chdir(cwd) || dup2(in[0], 0) < 0 || dup2(out[1], 1) < 0)
			_exit(126);
		execve(exe, argv, envp);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	py.in = in[1];
	py.out = fdopen(out[0], "r");
	assert_non_null(py.out);
	return py;
}

/* @return how many specs were compared */
static int compare(const struct python *py, const char *how)
{
	char line[PATH_MAX + 300], name[256], file[PATH_MAX];
	int compared = 0, first;

	for (size_t i = 0; i < N_REAL; i++) {
		struct focus *focus;

		if (!fgets(line, sizeof(line), py->out))
			fail_msg("%s: the interpreter ended before %s", how, real[i].function);
		if (sscanf(line, "%255s %d %4095[^\n]", name, &first, file) != 3)
			continue; /* this version has no such function, or one of C */
		if (!identity)
			take_context(identity__of_pid(py->pid));
		focus = resolve(real[i].spec);
		if (focus__match(focus, name, file, first) != real[i].match)
			fail_msg("%s: %s %s %s (%s:%d)", how, real[i].spec,
				 real[i].match ? "does not match" : "matches", name, file, first);
		focus__free(focus);
		compared++;
	}
	return compared;
}

static void compare_with(const char *cwd, const char *exe, const char *const options[3],
			 const char *env)
{
	struct python py = launch(cwd, exe, options, env);
	char how[PATH_MAX];
	int status, n;

	snprintf(how, sizeof(how), "%s %s %s", exe, options[0], options[1] ? options[1] : "");
	drop_context();
	n = compare(&py, how);
	print_message("%s: %d of %zu functions compared\n", how, n, N_REAL);
	assert_true(n >= 30);
	close(py.in);
	fclose(py.out);
	assert_int_equal(waitpid(py.pid, &status, 0), py.pid);
	assert_int_equal(status, 0);
}

static void real_interpreters(void **state)
{
	char *more = getenv("PIKOS_TEST_PYTHONS"), *exes[16] = {"/bin/python3", PYTHON};
	static const char *const ways[][3] = {
		{"real/app/main.py"},
		{"./real/../real/app/main.py"},
		{"-B", "-Wignore", "real/app/link.py"},
	};
	char absolute[PATH_MAX], env[PATH_MAX + 16], app[PATH_MAX];
	const char *whole[3] = {absolute}, *module[3] = {"-m", "main"};
	int n = 0;

	(void)state;
	for (int i = 2; i < 16 && more; i++)
		exes[i] = strsep(&more, ":");
	snprintf(absolute, sizeof(absolute), "%s/real/app/main.py", base);
	snprintf(app, sizeof(app), "%s/real/app", base);
	snprintf(env, sizeof(env), "PYTHONPATH=%s/real/lib-link", base);
	for (size_t i = 0; i < 16 && exes[i]; i++) {
		if (access(exes[i], X_OK)) {
			print_message("skipped: no %s\n", exes[i]);
			continue;
		}
		n++;
		for (size_t k = 0; k < sizeof(ways) / sizeof(ways[0]); k++)
			compare_with(base, exes[i], ways[k], env);
		compare_with("/", exes[i], whole, env);
		compare_with(app, exes[i], module, env);
	}
	if (!n)
		skip();
	drop_context();
}

/* ------------------------------------------------------------------ files */

static void make_files(void)
{
	put("app/main.py", "def run():\n    pass\n\n"
			   "class A:\n    def go(self):\n        pass\n\n"
			   "class B:\n    @deco\n    def go(self):\n        x\n\n"
			   "        def go():\n            pass\n        return go\n"
			   "    y = 1\n    z = lambda: 1\nrun()\n");
	put("app/pkg/__init__.py",
	    "from .core import func, func as renamed, K\n"
	    "from . import core as c\nfrom .sub import *\nfrom .sub.deep import up\n"
	    "from cmod import fast\n"
	    "class Replaced:\n    def f(self): pass\n"
	    "try:\n    from cmod import Replaced\nexcept ImportError:\n    pass\n"
	    "def own(): pass\nalias = own\n_inst = K()\nbound = c.K.method\ncycle = cycle2\ncycle2 "
	    "= cycle\n");
	put("app/pkg/core.py",
	    "def func():\n    pass\nclass K:\n    def method(self):\n        pass\n"
	    "    def same(self): pass\n"
	    "def outer():\n    def inner():\n        pass\n    return inner\n"
	    "def same():\n    pass\n");
	put("app/pkg/sub/__init__.py", "from .deep import *\nfrom . import *\nfrom .. import *\n");
	put("app/pkg/sub/deep.py", "def starred(): pass\nfrom ... import nothing\n"
				   "from .. import own as up\n");
	put("app/cmod.cpython-311-x86_64-linux-gnu.so", "");
	put("app/latin.py", "# coding: latin-1\ndef caf\xe9(): pass\n");
	put("lib/ns/part.py", "def f(): pass\n");
	put("venv/pyvenv.cfg", "home = /usr/bin\ninclude-system-site-packages = false\n");
	put("venv/bin/python3.11", "");
	put("venv/lib/python3.11/site-packages/vpkg.py", "def f(): pass\n");
	put("venv/lib/python3.11/site-packages/a.pth",
	    "# comment\nimport no\n../../../../elsewhere\n");
	put("venv/lib/python3.11/site-packages/# comment/hidden.py", "def f(): pass\n");
	put("elsewhere/bypth.py", "def f(): pass\n");
	put("../real/app/main.py", oracle);
	put("../real/app/pkg/__init__.py", "from .core import func\n");
	put("../real/app/pkg/core.py", "def func(): pass\nclass K:\n  def same(self): pass\n"
				       "def same(): pass\n");
	put("../real/lib/lib_link_mod.py", "def f(): pass\n");
	assert_int_equal(symlink("pkg", "app/linked"), 0);
	assert_int_equal(symlink("main.py", "app/link.py"), 0);
	assert_int_equal(symlink("pkg", "../real/app/linked"), 0);
	assert_int_equal(symlink("main.py", "../real/app/link.py"), 0);
	assert_int_equal(symlink("lib", "../real/lib-link"), 0);
}

static int make_tree(void **state)
{
	char path[PATH_MAX];

	(void)state;
	strcpy(base, "/tmp/pikos-test-focus-XXXXXX");
	assert_non_null(mkdtemp(base));
	snprintf(tree, sizeof(tree), "%s/fake", base);
	assert_int_equal(mkdir(tree, 0755), 0);
	assert_int_equal(chdir(tree), 0);
	make_files();
	snprintf(path, sizeof(path), "%s/lib", tree);
	assert_int_equal(setenv("PYTHONPATH", path, 1), 0);
	return unsetenv("VIRTUAL_ENV");
}

static int fresh(void **state)
{
	char *argv[] = {PYTHON, "app/main.py", NULL};

	(void)state;
	will_run(argv);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int remove_tree(void **state)
{
	(void)state;
	drop_context();
	assert_int_equal(chdir("/"), 0);
	return nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(bare_names, fresh),
		cmocka_unit_test_setup(not_specs, fresh),
		cmocka_unit_test_setup(files, fresh),
		cmocka_unit_test_setup(lines_of_files, fresh),
		cmocka_unit_test_setup(file_errors, fresh),
		cmocka_unit_test_setup(modules, fresh),
		cmocka_unit_test_setup(reexports, fresh),
		cmocka_unit_test_setup(module_errors, fresh),
		cmocka_unit_test_setup(hostile_modules, fresh),
		cmocka_unit_test_setup(search_path, fresh),
		cmocka_unit_test_setup(moved_away, fresh),
		cmocka_unit_test_setup(spellings, fresh),
		cmocka_unit_test(real_interpreters),
	};

	return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
