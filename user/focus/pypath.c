// SPDX-License-Identifier: BSD-3-Clause
#define _GNU_SOURCE 1

#include "focus/pypath.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_PTH_FILES 100
#define MAX_PTH_SIZE  (64u * 1024)
#define MAX_PORTIONS  16 /* directories of one namespace package */
#define MAX_NAME      256

/* The options of an interpreter's command line that matter here. */
struct command {
	const char *interpreter; /* as typed, or NULL */
	const char *script, *module;
	bool code;     /* -c */
	bool isolated; /* -I, -E: no environment */
	bool no_user;  /* -I, -s */
	bool safe;     /* -I, -P: no script's directory */
	bool no_site;  /* -S */
};

/* Modules inside some CPython 3.6 - 3.15; a file of the name comes first in find_first(). */
static const char builtins[] =
	" _abc _ast _bisect _blake2 _codecs _collections _csv _datetime _elementtree _functools"
	" _heapq _imp _io _locale _md5 _opcode _operator _peg_parser _pickle _posixsubprocess"
	" _random _sha1 _sha2 _sha256 _sha3 _sha512 _signal _socket _sre _stat _statistics"
	" _string _struct _suggestions _symtable _sysconfig _thread _tokenize _tracemalloc"
	" _types _typing _warnings _weakref array atexit binascii builtins cmath errno"
	" faulthandler fcntl gc grp itertools marshal math posix pwd pyexpat select spwd sys"
	" syslog time unicodedata xxsubtype zlib ";

char *pypath__join(const char *a, const char *b)
{
	char *path;

	if (b[0] == '/')
		return strdup(b);
	if (asprintf(&path, "%s%s%s", a, a[0] && a[strlen(a) - 1] == '/' ? "" : "/", b) < 0)
		return NULL;
	return path;
}

static char *real_path(struct reader *reader, const char *path)
{
	char real[PATH_MAX];

	if (reader__realpath(reader, path, strlen(path), real, sizeof(real)) < 0)
		return NULL;
	return strdup(real);
}

static bool is_type(struct reader *reader, const char *path, enum reader_type type)
{
	return reader__stat(reader, path, strlen(path)) == (int)type;
}

/* os.path.normpath of an absolute path, in place: sys.path is normalised so by site.py. */
static void normalize(char *path)
{
	char *out = path, *in = path;

	while (*in) {
		size_t len;

		while (*in == '/')
			in++;
		len = strcspn(in, "/");
		if (len == 2 && in[0] == '.' && in[1] == '.') {
			while (out > path && *--out != '/')
				;
		} else if (len && !(len == 1 && in[0] == '.')) {
			*out++ = '/';
			memmove(out, in, len);
			out += len;
		}
		in += len;
	}
	if (out == path)
		*out++ = '/';
	*out = '\0';
}

/* Add a directory if it is one and is not known. @return 0 or -ENOMEM */
static int add_dir(struct pypath *p, const char *path, bool stdlib)
{
	char *full = pypath__join(p->cwd ? p->cwd : "/", path), *real;
	struct pypath_dir *bigger;

	if (!full)
		return -ENOMEM;
	normalize(full);
	for (int i = 0; i < p->n_dirs; i++) {
		if (!strcmp(p->dirs[i].path, full)) {
			p->dirs[i].stdlib |= stdlib;
			free(full);
			return 0;
		}
	}
	if (p->n_dirs == PYPATH_MAX_DIRS || !is_type(p->reader, full, READER_DIR)) {
		free(full);
		return 0;
	}
	real = real_path(p->reader, full);
	bigger = reallocarray(p->dirs, (size_t)p->n_dirs + 1, sizeof(*bigger));
	if (bigger)
		p->dirs = bigger;
	if (!bigger || !real) {
		free(full);
		free(real);
		return bigger ? 0 : -ENOMEM;
	}
	p->dirs[p->n_dirs++] = (struct pypath_dir){full, real, stdlib};
	return 0;
}

static int add_stdlib(struct pypath *p, const char *dir)
{
	return add_dir(p, dir, true);
}

typedef int (*add_fn)(struct pypath *p, const char *dir);

static int __attribute__((format(printf, 3, 4)))
add_format(struct pypath *p, add_fn add, const char *format, ...)
{
	va_list args;
	char *path;
	int err;

	va_start(args, format);
	err = vasprintf(&path, format, args) < 0 ? -ENOMEM : 0;
	va_end(args);
	if (err)
		return err;
	err = add(p, path);
	free(path);
	return err;
}

/* ------------------------------------------------------------------ the command line */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void parse_cluster(struct command *c, char **argv, int argc, int *i)
{
	for (const char *o = argv[*i] + 1; *o; o++) {
		const char *value = o[1] ? o + 1 : *i + 1 < argc ? argv[*i + 1] : "";

		c->isolated |= *o == 'I' || *o == 'E';
		c->no_user |= *o == 'I' || *o == 's';
		c->safe |= *o == 'I' || *o == 'P';
		c->no_site |= *o == 'S';
		c->code |= *o == 'c';
		if (*o == 'm')
			c->module = value;
		if (strchr("cmWXQ", *o)) {
			*i += !o[1];
			return;
		}
	}
}

/* What is in front of the interpreter when we run the program: env, nice, setpriv, ... */
static int find_interpreter(const struct identity *id)
{
	for (int i = 0; i < id->argc; i++)
		if (!strncmp(base_name(id->argv[i]), "python", 6) &&
		    !strstr(base_name(id->argv[i]), ".py"))
			return i;
	return -1;
}

static struct command parse_command(const struct identity *id)
{
	struct command c = {0};
	int i = id->pid ? 0 : find_interpreter(id);

	if (!id->argc)
		return c;
	if (i < 0) { /* a script with #! */
		c.script = id->argv[0];
		return c;
	}
	c.interpreter = id->argv[i];
	for (i++; i < id->argc && !c.module && !c.code; i++) {
		const char *arg = id->argv[i];

		if (arg[0] != '-') {
			c.script = arg;
			break;
		}
		if (!arg[1])
			break; /* standard input */
		if (!strcmp(arg, "--check-hash-based-pycs"))
			i++;
		else if (arg[1] != '-')
			parse_cluster(&c, id->argv, id->argc, &i);
	}
	return c;
}

/* Search PATH, as the shell did. @return malloc'ed or NULL */
static char *find_program(const struct pypath *p, const char *name, const char *path)
{
	if (!*name)
		return NULL;
	if (strchr(name, '/'))
		return strdup(name);
	for (path = path ? path : "/usr/local/bin:/usr/bin:/bin"; *path;) {
		size_t len = strcspn(path, ":");
		char *full;

		if (asprintf(&full, "%.*s/%s", (int)len, path, name) < 0)
			return NULL;
		if (len && len < PATH_MAX && is_type(p->reader, full, READER_FILE))
			return full;
		free(full);
		path += len + (path[len] == ':');
	}
	return NULL;
}

/* A relative script was named where the program started, which may not be where it is now. */
static int find_script(struct pypath *p, const struct identity *id, const char *name)
{
	const char *from[] = {p->cwd, id->env.pwd};
	char *script = id->pid ? strdup(name) : find_program(p, name, id->env.path);

	if (!script)
		return errno == ENOMEM ? -ENOMEM : 0;
	p->script = script;
	for (size_t i = 0; i < 2 && !p->script_real; i++) {
		if (!from[i])
			continue;
		free(p->script_abs);
		p->script_abs = pypath__join(from[i], script);
		if (!p->script_abs)
			return -ENOMEM;
		if (is_type(p->reader, p->script_abs, READER_FILE) ||
		    is_type(p->reader, p->script_abs, READER_DIR))
			p->script_real = real_path(p->reader, p->script_abs);
	}
	return 0;
}

static int add_main(struct pypath *p, const struct identity *id, const struct command *c)
{
	int err = 0;
	char *dir;

	if (c->script)
		err = find_script(p, id, c->script);
	if (!err && c->module) {
		p->main_module = strdup(c->module);
		err = p->main_module ? 0 : -ENOMEM;
	}
	if (err || c->safe || (id->env.safepath && !c->isolated))
		return err;
	if (!c->script)
		return add_dir(p, ".", false);
	if (!p->script_real)
		return 0;
	if (is_type(p->reader, p->script_real, READER_DIR))
		return add_dir(p, p->script_real, false);
	dir = strndup(p->script_real, (size_t)(strrchr(p->script_real, '/') - p->script_real));
	if (!dir)
		return -ENOMEM;
	err = add_dir(p, *dir ? dir : "/", false);
	free(dir);
	return err;
}

static int add_list(struct pypath *p, const char *list)
{
	int err = 0;

	while (list && *list && !err) {
		size_t len = strcspn(list, ":");
		char *entry = strndup(list, len);

		if (!entry)
			return -ENOMEM;
		err = add_dir(p, *entry ? entry : ".", false);
		free(entry);
		list += len + (list[len] == ':');
	}
	return err;
}

/* ------------------------------------------------------------------ the interpreter */

/* A line of a .pth file is a directory, unless it is a comment or code. */
static int add_pth(struct pypath *p, const char *dir, const char *name)
{
	char *path = pypath__join(dir, name), *text, *save, *full;
	size_t size;
	int err = 0;

	if (!path)
		return -ENOMEM;
	err = reader__read_file(p->reader, path, strlen(path), MAX_PTH_SIZE, &text, &size);
	free(path);
	if (err)
		return 0;
	for (char *line = strtok_r(text, "\r\n", &save); line && !err;
	     line = strtok_r(NULL, "\r\n", &save)) {
		size_t len = strlen(line);

		while (len && strchr(" \t\f\v", line[len - 1]))
			line[--len] = '\0';
		if (!len || line[0] == '#' || !strncmp(line, "import ", 7) ||
		    !strncmp(line, "import\t", 7))
			continue;
		full = pypath__join(dir, line);
		err = full ? add_dir(p, full, false) : -ENOMEM;
		free(full);
	}
	free(text);
	return err;
}

static int add_site(struct pypath *p, const char *dir)
{
	int err = add_dir(p, dir, false), n = 0;
	size_t size;
	char *names;

	if (err || reader__list(p->reader, dir, strlen(dir), &names, &size))
		return err;
	for (size_t i = 0; i < size && !err && n < MAX_PTH_FILES; i += strlen(names + i) + 1) {
		const char *name = names + i + 1;
		size_t len = strlen(name);

		if (names[i] == 'd' || len < 5 || strcmp(name + len - 4, ".pth"))
			continue;
		err = add_pth(p, dir, name);
		n++;
	}
	free(names);
	return err;
}

/* Cut the last part off. @return false when none is left */
static bool parent(char *path)
{
	char *slash = strrchr(path, '/');

	if (!slash || !*path)
		return false;
	*slash = '\0';
	return true;
}

/* python3.11 says it itself. */
static void guess_version(struct pypath *p, const char *exe)
{
	int major, minor;

	if (!p->major && sscanf(base_name(exe), "python%d.%d", &major, &minor) == 2 && major > 0 &&
	    major < 100 && minor >= 0 && minor < 1000) {
		p->major = major;
		p->minor = minor;
	}
}

/*
 * The directory above bin, or any above that, that has lib/pythonX.Y/os.py: CPython's own landmark.
 * @return malloc'ed ("" is the root), NULL when there is none
 */
static char *find_prefix(struct pypath *p, const char *exe, const char *home)
{
	char *prefix = strdup(home ? home : exe), landmark[PATH_MAX];

	if (!prefix || home) {
		if (prefix)
			prefix[strcspn(prefix, ":")] = '\0';
		return prefix;
	}
	while (parent(prefix)) {
		if (snprintf(landmark, sizeof(landmark), "%s/lib/python%d.%d/os.py", prefix,
			     p->major, p->minor) < (int)sizeof(landmark) &&
		    is_type(p->reader, landmark, READER_FILE))
			return prefix;
	}
	free(prefix);
	return NULL;
}

/* The directory of pyvenv.cfg: that of the interpreter as it was called, or the one above. */
static char *find_venv(struct pypath *p, const struct identity *id, const struct command *c,
		       bool *system)
{
	char *called = c->interpreter ? find_program(p, c->interpreter, id->env.path) : NULL;
	char *dir = called ? pypath__join(p->cwd ? p->cwd : "/", called) : NULL;
	char *path = NULL, *text, *key;
	size_t size;
	int err = -ENOENT;

	free(called);
	for (int i = 0; dir && i < 2 && err && parent(dir); i++) {
		path = pypath__join(dir, "pyvenv.cfg");
		if (path)
			err = reader__read_file(p->reader, path, strlen(path), MAX_PTH_SIZE, &text,
						&size);
		free(path);
	}
	if (err) {
		free(dir);
		return NULL;
	}
	key = strcasestr(text, "include-system-site-packages");
	if (key) {
		key += strcspn(key, "=\n");
		key += strspn(key, "= \t");
	}
	*system = key && !strncasecmp(key, "true", 4);
	free(text);
	return dir;
}

/* Debian's own are dist-packages, also below /usr/local. */
static int add_system_sites(struct pypath *p, const char *prefix)
{
	int err = add_format(p, add_site, "%s/local/lib/python%d.%d/dist-packages", prefix,
			     p->major, p->minor);

	if (!err)
		err = add_format(p, add_site, "%s/lib/python%d.%d/site-packages", prefix, p->major,
				 p->minor);
	if (!err)
		err = add_format(p, add_site, "%s/lib64/python%d.%d/site-packages", prefix,
				 p->major, p->minor);
	if (!err)
		err = add_format(p, add_site, "%s/lib/python%d/dist-packages", prefix, p->major);
	if (!err)
		err = add_format(p, add_site, "%s/lib/python%d.%d/dist-packages", prefix, p->major,
				 p->minor);
	return err;
}

static int add_user_site(struct pypath *p, const struct identity *id)
{
	const char *base = id->env.pythonuserbase;

	if (base && *base)
		return add_format(p, add_site, "%s/lib/python%d.%d/site-packages", base, p->major,
				  p->minor);
	if (!id->env.home || id->env.home[0] != '/')
		return 0;
	return add_format(p, add_site, "%s/.local/lib/python%d.%d/site-packages", id->env.home,
			  p->major, p->minor);
}

static int add_sites(struct pypath *p, const struct identity *id, const struct command *c,
		     const char *prefix)
{
	bool system = true;
	char *venv = find_venv(p, id, c, &system);
	int err = 0;

	if (system && !c->no_user && (c->isolated || !id->env.nousersite))
		err = add_user_site(p, id);
	if (!err && venv)
		err = add_format(p, add_site, "%s/lib/python%d.%d/site-packages", venv, p->major,
				 p->minor);
	if (!err && system && prefix)
		err = add_system_sites(p, prefix);
	free(venv);
	return err;
}

static int add_interpreter(struct pypath *p, const struct focus_context *ctx,
			   const struct command *c)
{
	const struct identity *id = ctx->identity;
	char *exe = ctx->exe ? strdup(ctx->exe) : id->exe ? strdup(id->exe) : NULL;
	char *real, *prefix;
	int err = 0;

	if (!exe)
		exe = find_program(p, c->interpreter ? c->interpreter : "python3", id->env.path);
	if (!exe)
		return 0;
	real = real_path(p->reader, exe);
	guess_version(p, real ? real : exe);
	prefix = p->major ? find_prefix(p, real ? real : exe,
					c->isolated ? NULL : id->env.pythonhome)
			  : NULL;
	if (prefix) {
		err = add_format(p, add_stdlib, "%s/lib/python%d.%d", prefix, p->major, p->minor);
		if (!err)
			err = add_format(p, add_stdlib, "%s/lib64/python%d.%d", prefix, p->major,
					 p->minor);
		if (!err)
			err = add_format(p, add_stdlib, "%s/lib/python%d.%d/lib-dynload", prefix,
					 p->major, p->minor);
	}
	if (!err && p->major && !c->no_site)
		err = add_sites(p, id, c, prefix);
	free(prefix);
	free(real);
	free(exe);
	return err;
}

struct pypath *pypath__new(const struct focus_context *ctx)
{
	struct pypath *p = calloc(1, sizeof(*p));
	struct command c = parse_command(ctx->identity);
	int err;

	if (!p)
		return NULL;
	p->reader = ctx->reader;
	p->major = ctx->major;
	p->minor = ctx->minor;
	p->cwd = real_path(p->reader, ".");
	err = add_main(p, ctx->identity, &c);
	if (!err && !c.isolated)
		err = add_list(p, ctx->identity->env.pythonpath);
	if (!err)
		err = add_interpreter(p, ctx, &c);
	if (err) {
		pypath__free(p);
		errno = -err;
		return NULL;
	}
	return p;
}

void pypath__free(struct pypath *p)
{
	if (!p)
		return;
	for (int i = 0; i < p->n_dirs; i++) {
		free(p->dirs[i].path);
		free(p->dirs[i].real);
	}
	free(p->dirs);
	free(p->cwd);
	free(p->script);
	free(p->script_abs);
	free(p->script_real);
	free(p->main_module);
	free(p);
}

/* ------------------------------------------------------------------ finding modules */

/* Where one level of a dotted name is searched. */
struct search {
	char *dirs[PYPATH_MAX_DIRS];
	bool stdlib[PYPATH_MAX_DIRS];
	int n;
};

/* name.so, name.abi3.so, name.cpython-311-x86_64-linux-gnu.so. @return malloc'ed path or NULL */
static char *find_extension(struct reader *reader, const char *dir, const char *name)
{
	size_t size, len = strlen(name);
	char *names, *found = NULL;

	if (reader__list(reader, dir, strlen(dir), &names, &size))
		return NULL;
	for (size_t i = 0; i < size && !found; i += strlen(names + i) + 1) {
		const char *entry = names + i + 1, *end = entry + strlen(entry);

		if (names[i] != 'd' && !strncmp(entry, name, len) && end - entry > 3 &&
		    !strcmp(end - 3, ".so") &&
		    (entry + len == end - 3 || !strncmp(entry + len, ".cpython-", 9) ||
		     !strncmp(entry + len, ".abi3", 5)))
			found = pypath__join(dir, entry);
	}
	free(names);
	return found;
}

/* Like FileFinder: a package, an extension, a source file. @return 0 or -ENOMEM */
static int find_in(struct reader *reader, const char *dir, const char *name,
		   struct pypath_module *out)
{
	char *sub = pypath__join(dir, name), *init = sub ? pypath__join(sub, "__init__.py") : NULL;
	char *source = NULL;

	if (!init || asprintf(&source, "%s.py", sub) < 0) {
		free(sub);
		free(init);
		return -ENOMEM;
	}
	if (is_type(reader, sub, READER_DIR)) {
		out->path = find_extension(reader, sub, "__init__");
		if (!out->path && is_type(reader, init, READER_FILE))
			out->path = strdup(init);
		out->package = out->path != NULL;
	}
	if (!out->path)
		out->path = find_extension(reader, dir, name);
	if (!out->path && is_type(reader, source, READER_FILE))
		out->path = strdup(source);
	if (out->path) {
		size_t len = strlen(out->path);

		out->kind = !strcmp(out->path + len - 3, ".py") ? PYPATH_SOURCE : PYPATH_EXTENSION;
	}
	free(sub);
	free(init);
	free(source);
	return 0;
}

static void clear(struct search *s)
{
	while (s->n)
		free(s->dirs[--s->n]);
}

/* The directories of a package: where its submodules are. */
static void enter(struct search *s, struct reader *reader, const char *name,
		  const struct pypath_module *found)
{
	struct search next = {.n = 0};

	if (found->kind != PYPATH_NAMESPACE) {
		char *dir = strdup(found->path);

		if (dir && parent(dir)) {
			next.stdlib[0] = found->stdlib;
			next.dirs[next.n++] = dir;
		}
	}
	for (int i = 0; i < s->n && found->kind == PYPATH_NAMESPACE && next.n < MAX_PORTIONS; i++) {
		char *dir = pypath__join(s->dirs[i], name);

		if (dir && is_type(reader, dir, READER_DIR)) {
			next.stdlib[next.n] = s->stdlib[i];
			next.dirs[next.n++] = dir;
		} else {
			free(dir);
		}
	}
	clear(s);
	*s = next;
}

static int find_level(struct search *s, struct reader *reader, const char *name,
		      struct pypath_module *out)
{
	bool namespace = false;
	int err = 0;

	*out = (struct pypath_module){.kind = PYPATH_NONE};
	for (int i = 0; i < s->n && !err && !out->kind; i++) {
		char *sub;

		err = find_in(reader, s->dirs[i], name, out);
		out->stdlib = s->stdlib[i];
		sub = err || out->kind ? NULL : pypath__join(s->dirs[i], name);
		namespace |= sub && is_type(reader, sub, READER_DIR);
		free(sub);
	}
	if (!err && !out->kind && namespace) {
		out->kind = PYPATH_NAMESPACE;
		out->package = true;
	}
	return err;
}

static bool is_builtin(const char *name)
{
	char padded[MAX_NAME + 2];

	snprintf(padded, sizeof(padded), " %s ", name);
	return strstr(builtins, padded) != NULL;
}

int pypath__find(const struct pypath *p, const char *module, struct pypath_module *out)
{
	struct search *s = calloc(1, sizeof(*s));
	char name[MAX_NAME];
	int err = s ? 0 : -ENOMEM;

	*out = (struct pypath_module){.kind = PYPATH_NONE};
	for (int i = 0; !err && i < p->n_dirs; i++) {
		s->stdlib[i] = p->dirs[i].stdlib;
		s->dirs[s->n] = strdup(p->dirs[i].path);
		err = s->dirs[s->n] ? 0 : -ENOMEM;
		s->n += !err;
	}
	for (const char *part = module; !err && *part;) {
		size_t len = strcspn(part, ".");

		if (!len || len >= sizeof(name))
			break;
		memcpy(name, part, len);
		name[len] = '\0';
		free(out->path);
		err = find_level(s, p->reader, name, out);
		if (!err && !out->kind && part == module && !part[len] && is_builtin(name))
			out->kind = PYPATH_BUILTIN;
		part += len + (part[len] == '.');
		if (err || !*part)
			break;
		if (!out->package) {
			free(out->path);
			*out = (struct pypath_module){.kind = PYPATH_NONE};
			break;
		}
		enter(s, p->reader, name, out);
	}
	if (s)
		clear(s);
	free(s);
	return err ? err : reader__dead(p->reader) ? -ETIMEDOUT : 0;
}
