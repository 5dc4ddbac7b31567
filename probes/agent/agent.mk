# SPDX-License-Identifier: BSD-3-Clause
# The library that is loaded into interpreters. It must load with glibc 2.28 and later and into any
# thread: its symbol versions, its stack and its thread-local storage are checked.

AGENT_SRC := $(wildcard probes/agent/*.c)
AGENT_OBJ := $(AGENT_SRC:%.c=$(B)/%.o)
AGENT_CFLAGS := -O2 -g -std=gnu11 -D_GNU_SOURCE -U_FORTIFY_SOURCE -fPIC -fvisibility=hidden -fno-plt \
	-fno-stack-protector -MMD -MP $(WARN) $(INCLUDE) $(if $(filter x86,$(ARCH)),-mno-red-zone)
AGENT_LDFLAGS := -shared -Wl,-z,noexecstack -Wl,-z,now -Wl,-z,nodelete -Wl,--build-id -Wl,--no-undefined \
	-Wl,-soname,libpikos-agent.so

all: $(B)/libpikos-agent.so

$(B)/probes/agent/%.o: probes/agent/%.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(AGENT_CFLAGS) -c $< -o $@

$(B)/libpikos-agent.so: $(AGENT_OBJ) probes/agent/check
	$(call say,LINK,$@)
	$(Q)$(CC) $(AGENT_LDFLAGS) -o $@ $(AGENT_OBJ)
	$(Q)probes/agent/check $@

# The same with a function of the tests' where a batch is handed over.
$(B)/tests/libpikos-agent-test.so: $(AGENT_SRC) $(wildcard probes/agent/*.h) tests/agent/sink.c
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -MMD -MP,$(AGENT_CFLAGS)) -DAGENT_TEST $(AGENT_LDFLAGS) -o $@ \
		$(AGENT_SRC) tests/agent/sink.c

$(B)/tests/test_agent: | $(B)/tests/libpikos-agent-test.so
