// SPDX-License-Identifier: BSD-3-Clause
/*
 * The oracle is Python's own ast: every file of the standard library is scanned and must give the
 * very definitions that ast gives. `test_pysource PYTHON DIR...` compares other trees.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
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

#include "focus/pysource.h"

#define PYTHON "/usr/bin/python3"

static struct pysource *scan(const char *text)
{
	struct pysource *source = pysource__scan(text, strlen(text));

	assert_non_null(source);
	return source;
}

static void check(const struct pysource *source, size_t i, const char *qualname, int first,
		  int line, int last)
{
	const struct pysource_def *def = pysource__def(source, i);

	if (!def)
		fail_msg("no definition %zu, expected %s", i, qualname);
	assert_string_equal(def->qualname, qualname);
	if (def->first != first || def->line != line || def->last != last)
		fail_msg("%s: expected %d %d %d, actual %d %d %d", qualname, first, line, last,
			 def->first, def->line, def->last);
}

static void nesting(void **state)
{
	struct pysource *s = scan("class A(B):\n"
				  "\t@deco(\n"
				  "\t  1)\n"
				  "\t# comment\n"
				  "\tdef f(self):\n"
				  "\t\tdef inner(): return 1\n"
				  "\t\treturn inner\n"
				  "\n"
				  "\t# after\n"
				  "\tasync def g(self): await x\n"
				  "x = 1\n"
				  "def last(a=(\n"
				  "    1), *, b):\n"
				  "    class K: pass\n"
				  "    return '''\n"
				  "def no():\n"
				  "'''\n"
				  "# end\n");

	(void)state;
	assert_int_equal(pysource__count(s), 6);
	check(s, 0, "A", 1, 1, 10);
	check(s, 1, "A.f", 2, 5, 7);
	check(s, 2, "A.f.<locals>.inner", 6, 6, 6);
	check(s, 3, "A.g", 10, 10, 10);
	check(s, 4, "last", 12, 12, 17);
	check(s, 5, "last.<locals>.K", 14, 14, 14);
	assert_true(pysource__def(s, 0)->is_class);
	assert_false(pysource__def(s, 1)->is_class);
	assert_int_equal(pysource__lines(s), 18);
	assert_null(pysource__def(s, 6));
	pysource__free(s);
}

static void strings(void **state)
{
	struct pysource *s =
		scan("a = f\"{x[\"def f(): {\"]} {y!r:>{w}} {{ }\" ; b = rb'\\'  # '\n"
		     "def a(): pass\n"
		     "c = f'{d[\"k\"]:'  # an old one that does not end under 3.12's rules: }\n"
		     "def b(): pass\n"
		     "e = F\"\"\"{\n  f'{1}'  # \"comment\n  }\ndef no(): pass\n\"\"\"\n"
		     "def c(): pass\n"
		     "g = f'\\N{LEFT CURLY BRACKET}' rf'\\{x}' f'\\{x}' t'{1}'\n"
		     "def d(): pass\n"
		     "h = 'unfinished\n"
		     "def e(): pass\n"
		     "i = 'a\\\ndef no(): \\\r\n '\n"
		     "def f(): \\\n  pass\n");
	static const char *const want[] = {"a", "b", "c", "d", "e", "f"};

	(void)state;
	assert_int_equal(pysource__count(s), 6);
	for (size_t i = 0; i < 6; i++)
		assert_string_equal(pysource__def(s, i)->name, want[i]);
	check(s, 2, "c", 10, 10, 10);
	check(s, 5, "f", 18, 18, 19);
	pysource__free(s);
}

static void newlines_and_indentation(void **state)
{
	struct pysource *s = scan("\xef\xbb\xbf"
				  "def a():\r\n  pass\r\rdef b():\r  pass\n"
				  "if x:\n        def c():\n\t pass\n\tdef d(): 0\n"
				  "\f\ndef e(): 0\n"
				  "    \\\n\nprint()\\\n\n");

	(void)state;
	assert_int_equal(pysource__count(s), 5);
	check(s, 0, "a", 1, 1, 2);
	check(s, 1, "b", 4, 4, 5);
	check(s, 2, "c", 7, 7, 8);
	check(s, 3, "d", 9, 9, 9);
	check(s, 4, "e", 11, 11, 11);
	pysource__free(s);
}

static void lookups(void **state)
{
	struct pysource *s = scan("def outer():\n  def inner():\n    pass\n  x\n\ny\n");

	(void)state;
	assert_true(pysource__is(pysource__def(s, 1), "outer.inner"));
	assert_true(pysource__is(pysource__def(s, 1), "outer.<locals>.inner"));
	assert_false(pysource__is(pysource__def(s, 1), "inner"));
	assert_false(pysource__is(pysource__def(s, 1), "outer.inner.x"));
	assert_false(pysource__is(pysource__def(s, 1), "outer"));
	assert_string_equal(pysource__at(s, 3)->name, "inner");
	assert_string_equal(pysource__at(s, 4)->name, "outer");
	assert_null(pysource__at(s, 5));
	assert_null(pysource__at(s, 0));
	pysource__free(s);
}

static void check_binding(const struct pysource *s, size_t i, const char *module, const char *name,
			  const char *as, int line)
{
	const struct pysource_binding *b = pysource__binding(s, i);

	assert_non_null(b);
	assert_string_equal(b->module ? b->module : "-", module);
	assert_string_equal(b->name ? b->name : "-", name);
	assert_string_equal(b->as, as);
	assert_int_equal(b->line, line);
}

static void bindings(void **state)
{
	struct pysource *s = scan("from .core import (a as b,  # one\n  c,)\n"
				  "try:\n  from .. import d; import e.f as g, h.i\n"
				  "except: pass\n"
				  "from x.y import *\n"
				  "z = other.name\n"
				  "w = call()\n"
				  "def f():\n  from no import no\n"
				  "q = f; from . import\\\n m\n");

	(void)state;
	assert_int_equal(pysource__bindings(s), 9);
	check_binding(s, 0, ".core", "a", "b", 1);
	check_binding(s, 1, ".core", "c", "c", 1);
	check_binding(s, 2, "..", "d", "d", 4);
	check_binding(s, 3, "e.f", "-", "g", 4);
	check_binding(s, 4, "h", "-", "h", 4);
	check_binding(s, 5, "x.y", "*", "*", 6);
	check_binding(s, 6, "-", "other.name", "z", 7);
	check_binding(s, 7, "-", "f", "q", 11);
	check_binding(s, 8, ".", "m", "m", 11);
	pysource__free(s);
}

/* Time and depth must stay bounded: each of these was quadratic or deep in some design. */
static void garbage(void **state)
{
	static const char *const units[] = {
		"f'{", "f\"\"\"{", "(",	 "def f(\n",  "f'{f\"{",	 "\\\n",     "class A:\n ",
		"@",   "rf'''{:",  "\r", "import a,", "from . import (", "\xff\xfe", "f'{x:{y:{"};
	enum { SIZE = 1 << 20 };
	char *text = malloc(SIZE);

	(void)state;
	assert_non_null(text);
	for (size_t u = 0; u < sizeof(units) / sizeof(units[0]); u++) {
		size_t len = strlen(units[u]), used = 0;
		struct pysource *s;

		while (used + len <= SIZE) {
			memcpy(text + used, units[u], len);
			used += len;
		}
		s = pysource__scan(text, used);
		assert_non_null(s);
		pysource__free(s);
	}
	free(text);
}

static void deep(void **state)
{
	char text[120 * 130], *p = text;
	struct pysource *s;

	(void)state;
	for (int i = 0; i < 120; i++)
		p += sprintf(p, "%*sdef f%d():\n", i, "", i);
	s = scan(text);
	assert_int_equal(pysource__count(s), PYSOURCE_MAX_DEPTH);
	assert_int_equal(pysource__def(s, PYSOURCE_MAX_DEPTH - 1)->last, 120);
	pysource__free(s);
}

/* ------------------------------------------------------------------ the oracle */

static const char oracle[] =
	"import ast, os, sys, tokenize, warnings\n"
	"warnings.simplefilter('ignore')\n"
	"sys.setrecursionlimit(20000)\n"
	"def walk(node, prefix, out):\n"
	"    for n in ast.iter_child_nodes(node):\n"
	"        if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):\n"
	"            first = min([d.lineno for d in n.decorator_list] + [n.lineno])\n"
	"            q = prefix + n.name\n"
	"            c = isinstance(n, ast.ClassDef)\n"
	"            out.append((n.lineno, f'{first} {n.lineno} {n.end_lineno} {int(c)} {q}'))\n"
	"            walk(n, q + ('.' if c else '.<locals>.'), out)\n"
	"        else:\n"
	"            walk(n, prefix, out)\n"
	"for top in sys.argv[1:]:\n"
	"    for d, ds, fs in os.walk(top):\n"
	"        for f in fs:\n"
	"            p = os.path.join(d, f)\n"
	"            if not f.endswith('.py'): continue\n"
	"            try:\n"
	"                data = open(p, 'rb').read()\n"
	"                tree = ast.parse(data)\n"
	"            except (SyntaxError, ValueError, OSError, RecursionError): continue\n"
	"            out = []\n"
	"            walk(tree, '', out)\n"
	"            out.sort(key=lambda x: x[0])\n"
	"            print('F ' + p)\n"
	"            for _, t in out: print(t)\n"
	"            print('E')\n";

struct agreement {
	size_t files, files_equal, defs, defs_equal;
};

static char *slurp(const char *path, size_t *size)
{
	FILE *f = fopen(path, "rb");
	struct stat st;
	char *data;

	if (!f)
		return NULL;
	assert_int_equal(fstat(fileno(f), &st), 0);
	data = malloc((size_t)st.st_size + 1);
	assert_non_null(data);
	*size = fread(data, 1, (size_t)st.st_size, f);
	fclose(f);
	return data;
}

static void compare_file(FILE *in, const char *path, struct agreement *sum)
{
	size_t size, i = 0, bad = 0, cap = 0;
	char *text = slurp(path, &size), *line = NULL;
	struct pysource *s;
	ssize_t n;

	assert_non_null(text);
	s = pysource__scan(text, size);
	assert_non_null(s);
	while ((n = getline(&line, &cap, in)) > 0 && strcmp(line, "E\n")) {
		const struct pysource_def *def = pysource__def(s, i++);
		char actual[4096] = "nothing\n";

		if (def)
			snprintf(actual, sizeof(actual), "%d %d %d %d %s\n", def->first, def->line,
				 def->last, def->is_class, def->qualname);
		if (strcmp(actual, line) && ++bad < 3)
			print_error("%s:\n  expected %s  actual   %s", path, line, actual);
	}
	sum->files++;
	sum->defs += i;
	sum->defs_equal += i - bad;
	if (!bad && pysource__count(s) != i)
		print_error("%s: expected %zu definitions, actual %zu\n", path, i,
			    pysource__count(s));
	sum->files_equal += !bad && pysource__count(s) == i;
	free(line);
	pysource__free(s);
	free(text);
}

static struct agreement compare(const char *python, char **dirs, int n_dirs)
{
	struct agreement sum = {0};
	char **argv = calloc((size_t)n_dirs + 6, sizeof(char *));
	char *line = NULL;
	size_t cap = 0;
	int fds[2], status, k = 0;
	pid_t pid;
	FILE *in;

	assert_non_null(argv);
	assert_int_equal(pipe(fds), 0);
	argv[k++] = (char *)python;
	argv[k++] = "-X";
	argv[k++] = "utf8";
	argv[k++] = "-c";
	argv[k++] = (char *)oracle;
	for (int i = 0; i < n_dirs; i++)
		argv[k++] = dirs[i];
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		dup2(fds[1], 1);
		close(fds[0]);
		close(fds[1]);
		execv(python, argv);
		_exit(127);
	}
	close(fds[1]);
	in = fdopen(fds[0], "r");
	while (getline(&line, &cap, in) > 0) {
		line[strcspn(line, "\n")] = '\0';
		assert_true(line[0] == 'F');
		compare_file(in, line + 2, &sum);
	}
	fclose(in);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	free(line);
	free(argv);
	print_message("%s: %zu of %zu definitions, %zu of %zu files agree\n", python,
		      sum.defs_equal, sum.defs, sum.files_equal, sum.files);
	return sum;
}

static void standard_library(void **state)
{
	char *dirs[] = {"/usr/lib/python3.11"};
	struct agreement sum;

	(void)state;
	if (access(PYTHON, X_OK) || access(dirs[0], R_OK)) {
		print_message("skipped: no %s or no %s\n", PYTHON, dirs[0]);
		skip();
	}
	sum = compare(PYTHON, dirs, 1);
	assert_true(sum.defs > 5000);
	assert_int_equal(sum.defs_equal, sum.defs);
	assert_int_equal(sum.files_equal, sum.files);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nesting),
		cmocka_unit_test(strings),
		cmocka_unit_test(newlines_and_indentation),
		cmocka_unit_test(lookups),
		cmocka_unit_test(bindings),
		cmocka_unit_test(garbage),
		cmocka_unit_test(deep),
		cmocka_unit_test(standard_library),
	};

	if (argc > 2) {
		struct agreement sum = compare(argv[1], argv + 2, argc - 2);

		return sum.files_equal != sum.files;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
