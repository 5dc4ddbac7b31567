# SPDX-License-Identifier: BSD-3-Clause
# What `make bench` compares with: the floor. Included by the Makefile.

$(B)/tests/bench/floor: $(B)/tests/bench/floor.o $(B)/libpikos.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

bench: $(B)/tests/bench/floor $(B)/tests/bench/floor.bpf.o
