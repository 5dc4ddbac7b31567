# SPDX-License-Identifier: BSD-3-Clause
# Parsers of foreign bytes under libFuzzer: `make fuzz FUZZ_SECONDS=60`. What is found is left in
# build/fuzz/.

FUZZ_SECONDS ?= 10
FUZZERS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZED  := $(filter user/source/% user/focus/pysource.c user/symbols/lines.c user/monitor/text.c \
	   user/process/% user/errors.c probes/%, \
	   $(filter-out %/usdt.c %/agent.c %/agent_probes.c %/libc.c %/memory_values.c %/regions.c,$(LIB_SRC)))

$(B)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(FUZZED)
	$(call say,FUZZ,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) -std=gnu11 -D_GNU_SOURCE -O1 -g -fsanitize=fuzzer,address,undefined $(INCLUDE) -o $@ $^ -lelf

# Batches and code objects go through stations that parse nothing else.
STATIONS := $(filter user/monitor/% user/symbols/% user/filter/% user/transport/% user/process/% user/errors.c \
	   $(addprefix user/recorder/,csv.c recorder.c stream.c digits.c),$(LIB_SRC))

$(B)/fuzz/fuzz_batch $(B)/fuzz/fuzz_frames: $(B)/fuzz/%: tests/fuzz/%.c $(STATIONS)
	$(call say,FUZZ,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) -std=gnu11 -D_GNU_SOURCE -O1 -g -fsanitize=fuzzer,address,undefined $(INCLUDE) -o $@ $^ -lelf -lbpf

fuzz: $(FUZZERS) ## fuzz each parser for FUZZ_SECONDS
	$(Q)for fuzzer in $(FUZZERS); do \
		name=$${fuzzer##*/fuzz_}; seeds=tests/fuzz/corpus/$$name; mkdir -p $(B)/fuzz/found_$$name; \
		$$fuzzer -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(B)/fuzz/ -verbosity=0 \
			$(B)/fuzz/found_$$name $$([ -d $$seeds ] && echo $$seeds) || exit 1; \
		echo "fuzz_$$name: nothing found in $(FUZZ_SECONDS) s"; \
	done; echo "$(words $(FUZZERS)) passed, 0 failed, 0 skipped"
