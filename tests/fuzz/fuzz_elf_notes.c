// SPDX-License-Identifier: BSD-3-Clause
/*
 * An ELF file is the target's: whatever it says, every offset that comes out must be inside of the
 * file, and every string printable and terminated.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "source/elf_notes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void require_printable(const char *text, size_t size)
{
	require(memchr(text, '\0', size) != NULL);
	for (; *text; text++)
		require(*text >= 0x20 && *text <= 0x7e);
}

static void check_place(const struct elf_place *place, size_t size)
{
	require(place->addr == 0 || place->file_offset < size);
}

static void check_header(const struct elf_header *header, size_t size)
{
	require(memchr(header->interp, '\0', sizeof(header->interp)) != NULL);
	require(memchr(header->soname, '\0', sizeof(header->soname)) != NULL);
	require(header->n_needed >= 0 && header->n_needed <= ELF_NOTES_MAX_NEEDED);
	require(header->n_segments >= 0 && header->n_segments <= ELF_NOTES_MAX_SEGMENTS);
	check_place(&header->entry, size);
	check_place(&header->init, size);
	check_place(&header->fini, size);
}

static void check_probes(const struct elf_notes *notes, size_t size)
{
	const struct usdt_probe *probe;
	int i;

	require(elf_notes__count(notes) <= ELF_NOTES_MAX_PROBES);
	for (i = 0; i < elf_notes__count(notes); i++) {
		probe = elf_notes__probe(notes, i);
		require_printable(probe->name, sizeof(probe->name));
		require_printable(probe->args_text, sizeof(probe->args_text));
		require(probe->file_offset < size);
		require(probe->semaphore_offset == 0 || probe->semaphore_offset + 2 <= size);
		require(probe->n_args <= USDT_MAX_ARGS);
		require(elf_notes__next(notes, probe->name, NULL) != NULL);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct elf_symbol symbols[] = {{.name = "Py_Version"}, {.name = "_PyRuntime"}};
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct elf_notes *notes = NULL;
	__u64 bias;
	char buf[8];
	int i;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	notes = elf_notes__new(fd, "python");
	if (notes) {
		check_header(elf_notes__header(notes), size);
		check_probes(notes, size);
		require(elf_notes__find_symbols(notes, symbols, 2) <= 2);
		for (i = 0; i < 2; i++)
			elf_notes__read(notes, symbols[i].addr, buf, sizeof(buf));
		elf_notes__find_section(notes, ".PyRuntime");
		elf_notes__load_bias(notes, 0x7f0000000000, 0, true, &bias);
	}
	elf_notes__free(notes);
	close(fd);
	return 0;
}
