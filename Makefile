# SPDX-License-Identifier: BSD-3-Clause
# pikos-trace: everything is built into build/. `make help` lists what can be made.
#
#   bpf/*.bpf.c --clang--> build/bpf/*.bpf.o --bpftool gen object--> build/bpf/pikos.bpf.o
#               --bpftool gen skeleton--> build/pikos.skel.h --> the library, which carries the programs

B       := build
CC      ?= gcc
CLANG   ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
PKGS    := libbpf libelf libzmq msgpack
TRIPLET := $(shell $(CC) -dumpmachine 2>/dev/null)
ARCH    := $(subst x86_64,x86,$(subst aarch64,arm64,$(shell uname -m)))

WARN    := -Wall -Wextra -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes $(if $(CI),-Werror)
INCLUDE := -Iuser -I. -I$(B)
CFLAGS  ?= -O2 -g
override CFLAGS += -std=gnu11 -D_GNU_SOURCE -fPIC -fvisibility=default -MMD -MP $(WARN) $(INCLUDE) \
	   $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LIBS    := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer

Q       := $(if $(V),,@)
say      = $(if $(V),,@printf '  %-8s %s\n' $(1) $(2))

BPF_SRC := $(wildcard bpf/*.bpf.c)
BPF_OBJ := $(BPF_SRC:%.c=$(B)/%.o)
LIB_SRC := $(filter-out user/main.c,$(wildcard user/*.c user/*/*.c)) $(wildcard probes/*.c)
LIB_OBJ := $(LIB_SRC:%.c=$(B)/%.o)
TESTS   := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/test_*.c))
ASAN_OBJ := $(LIB_SRC:%.c=$(B)/asan/%.o)

.DELETE_ON_ERROR:
.PRECIOUS: $(B)/asan/%.o
.PHONY: all help clean unit unit-programs e2e test bench fuzz pythons format format-check install

all: $(B)/pikos-trace $(B)/pikos-run $(B)/libpikos.a $(B)/libpikos.so ## the commands and the library

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---------------------------------------------------------------- kernel side
$(B)/%.bpf.o: %.bpf.c
	$(call say,BPF,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_$(ARCH) -Wall $(if $(CI),-Werror) \
		-MMD -MP -I. -Ibpf -I/usr/include/$(TRIPLET) -c $< -o $@

$(B)/bpf/pikos.bpf.o: $(BPF_OBJ)
	$(call say,LINK,$@)
	$(Q)$(BPFTOOL) gen object $@ $^

$(B)/pikos.skel.h: $(B)/bpf/pikos.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name pikos_bpf > $@

$(foreach x,kernel mappings,$(B)/user/kernel/$x.o $(B)/asan/user/kernel/$x.o): $(B)/pikos.skel.h

# ---------------------------------------------------------------- user side
$(B)/%.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -c $< -o $@

$(B)/libpikos.a: $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/libpikos.so: $(LIB_OBJ)
	$(call say,LINK,$@)
	$(Q)echo '{ global: pikos_*; local: *; };' > $(B)/libpikos.map
	$(Q)$(CC) -shared -Wl,-soname,libpikos.so.0 -Wl,--version-script,$(B)/libpikos.map -o $@ $^ $(LIBS)

$(B)/pikos-trace: $(B)/user/main.o $(B)/libpikos.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/pikos-run: $(B)/pikos-trace
	$(Q)ln -sf $(<F) $@

# ---------------------------------------------------------------- tests
$(B)/asan/%.o: %.c
	$(call say,CC,$< '(ASan)')
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -O1 $(SANITIZE) -c $< -o $@

$(B)/asan/libpikos.a: $(ASAN_OBJ)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/tests/test_walk: | $(B)/tests/walk.bpf.o

$(B)/tests/test_%: $(B)/asan/tests/test_%.o $(B)/asan/libpikos.a
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SANITIZE) -o $@ $^ -lcmocka $(LIBS)

unit-programs: $(TESTS)

unit: $(TESTS) ## unit tests under ASan and UBSan
	$(Q)scripts/run-unit-tests $(TESTS)

e2e: all ## end-to-end tests; need root
	$(Q)tests/e2e/run

test: unit e2e ## all tests

pythons: ## Debian's other CPythons for the tests, into build/pythons/, once; needs root
	$(Q)scripts/pythons bullseye trixie sid

bench: all ## figures, printed and in build/bench.json; needs root; BENCH=options
	$(Q)scripts/bench $(BENCH)

include probes/agent/agent.mk
include tests/bench/bench.mk
include tests/fuzz/fuzz.mk

# ---------------------------------------------------------------- the rest
FORMATTED := $(wildcard bpf/*.c bpf/*.h user/*.[ch] user/*/*.[ch] probes/*.[ch] probes/*/*.[ch] tests/*.[ch] tests/agent/*.c tests/fuzz/*.c tests/bench/*.c)
format: ## format the sources in place
	$(Q)clang-format -i $(filter-out bpf/vmlinux.h,$(FORMATTED))
format-check: ## fail if a source is not formatted
	$(Q)clang-format --dry-run --Werror $(filter-out bpf/vmlinux.h,$(FORMATTED))

PREFIX ?= /usr/local
install: all ## install below PREFIX (default /usr/local)
	install -D -m 755 $(B)/pikos-trace $(DESTDIR)$(PREFIX)/bin/pikos-trace
	ln -sf pikos-trace $(DESTDIR)$(PREFIX)/bin/pikos-run
	install -D -m 644 user/pikos.h $(DESTDIR)$(PREFIX)/include/pikos.h
	install -D -m 644 $(B)/libpikos.a $(DESTDIR)$(PREFIX)/lib/libpikos.a
	install -D -m 755 $(B)/libpikos.so $(DESTDIR)$(PREFIX)/lib/libpikos.so.0
	install -D -m 755 $(B)/libpikos-agent.so $(DESTDIR)$(PREFIX)/lib/pikos/libpikos-agent.so
	install -D -m 644 probes/python/pikos.py $(DESTDIR)$(PREFIX)/share/pikos/pikos.py
	install -D -m 644 user/pikos_regions.h $(DESTDIR)$(PREFIX)/include/pikos_regions.h
	ln -sf libpikos.so.0 $(DESTDIR)$(PREFIX)/lib/libpikos.so
	install -D -m 644 scripts/pikos-trace.1 $(DESTDIR)$(PREFIX)/share/man/man1/pikos-trace.1
	ln -sf pikos-trace.1 $(DESTDIR)$(PREFIX)/share/man/man1/pikos-run.1
	install -D -m 644 scripts/completions/pikos-trace.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/pikos-trace
	install -D -m 644 scripts/completions/_pikos-trace $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_pikos-trace

clean: ## remove what was built, but not build/kernels and build/pythons
	rm -rf $(B)/bpf $(B)/user $(B)/probes $(B)/asan $(B)/tests $(B)/pikos* $(B)/libpikos*

-include $(shell find $(B)/bpf $(B)/user $(B)/probes $(B)/tests $(B)/asan -name '*.d' 2>/dev/null)
