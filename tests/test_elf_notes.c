// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "source/elf_notes.h"
#include "tests/forged_elf.h"

#define ENTRY_SITE (FORGED_TEXT + 0x820)
#define SEMAPHORE  (FORGED_DATA + 0xf00)

static int setup(void **state)
{
	*state = forged__new();
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

/* The object and its descriptor, which has to outlive it. */
static struct elf_notes *open_notes(const struct forged *f, int *fd)
{
	struct elf_notes *notes;

	*fd = forged__fd(f);
	notes = elf_notes__new(*fd, "python");
	assert_non_null(notes);
	return notes;
}

static void close_notes(struct elf_notes *notes, int fd)
{
	elf_notes__free(notes);
	close(fd);
}

static void expect_refused(const struct forged *f, size_t size, int err)
{
	int fd = forged__fd_of_size(f, size);

	errno = 0;
	assert_null(elf_notes__new(fd, "python"));
	assert_int_equal(errno, err);
	close(fd);
}

static void expect_counts(const struct forged *f, int probes, int rejected)
{
	struct elf_notes *notes;
	int fd;

	notes = open_notes(f, &fd);
	assert_int_equal(elf_notes__count(notes), probes);
	assert_int_equal(elf_notes__rejected(notes), rejected);
	close_notes(notes, fd);
}

static void test_honest_file(void **state)
{
	struct forged *f = *state;
	const struct elf_header *header;
	const struct usdt_probe *probe;
	struct elf_notes *notes;
	int fd;

	forged__note(f, ENTRY_SITE, FORGED_BASE, SEMAPHORE, "python", "function__entry",
		     "8@%rbp 8@%r12 -4@%eax");
	forged__note(f, ENTRY_SITE + 8, FORGED_BASE, 0, "python", "line", "8@symbol(%rip)");
	forged__note(f, ENTRY_SITE + 9, FORGED_BASE, 0, "libc", "setjmp", "8@%rdi");
	forged__note(f, ENTRY_SITE + 16, FORGED_BASE, SEMAPHORE, "python", "function__entry", "");
	forged__dynamic(f, DT_NEEDED, forged__string(f, "libpython3.11.so.1.0"));
	forged__dynamic(f, DT_NEEDED, forged__string(f, "libc.so.6"));
	forged__dynamic(f, DT_SONAME, forged__string(f, "libforged.so"));
	notes = open_notes(f, &fd);
	header = elf_notes__header(notes);
	assert_int_equal(header->type, ET_EXEC);
	assert_false(header->is_pie);
	assert_true(header->has_sections);
	assert_string_equal(header->interp, "/lib/ld-test.so");
	assert_string_equal(header->soname, "libforged.so");
	assert_int_equal(header->n_needed, 1);
	assert_string_equal(header->needed[0], "libpython3.11.so.1.0");
	assert_int_equal(header->entry.addr, FORGED_TEXT + 0x800);
	assert_int_equal(header->entry.file_offset, 0x800);
	assert_int_equal(header->init.file_offset, 0x700);
	assert_int_equal(header->fini.file_offset, 0x780);
	assert_int_equal(elf_notes__count(notes), 3);
	assert_int_equal(elf_notes__rejected(notes), 0);

	probe = elf_notes__next(notes, "function__entry", NULL);
	assert_ptr_equal(probe, elf_notes__probe(notes, 0));
	assert_int_equal(probe->addr, ENTRY_SITE);
	assert_int_equal(probe->file_offset, 0x820);
	assert_int_equal(probe->semaphore_addr, SEMAPHORE);
	assert_int_equal(probe->semaphore_offset, 0x2f00);
	assert_int_equal(probe->n_args, 3);
	assert_int_equal(probe->args[2].reg, 80);
	assert_string_equal(probe->args_text, "8@%rbp 8@%r12 -4@%eax");
	probe = elf_notes__next(notes, "function__entry", probe);
	assert_int_equal(probe->addr, ENTRY_SITE + 16);
	assert_int_equal(probe->n_args, 0);
	assert_null(elf_notes__next(notes, "function__entry", probe));
	probe = elf_notes__next(notes, "line", NULL);
	assert_int_equal(probe->n_args, -EOPNOTSUPP);
	assert_int_equal(probe->semaphore_addr, 0);
	assert_null(elf_notes__next(notes, "setjmp", NULL));
	assert_null(elf_notes__probe(notes, 3));
	assert_null(elf_notes__probe(notes, -1));
	close_notes(notes, fd);
}

static void test_prelink(void **state)
{
	struct forged *f = *state;
	const struct usdt_probe *probe;
	struct elf_notes *notes;
	int fd;

	/* Linked for an address 0x1000 below the one that prelink moved it to. */
	forged__note(f, ENTRY_SITE - 0x1000, FORGED_BASE - 0x1000, SEMAPHORE - 0x1000, "python",
		     "line", "");
	notes = open_notes(f, &fd);
	probe = elf_notes__probe(notes, 0);
	assert_non_null(probe);
	assert_int_equal(probe->addr, ENTRY_SITE);
	assert_int_equal(probe->semaphore_addr, SEMAPHORE);
	assert_int_equal(probe->semaphore_offset, 0x2f00);
	close_notes(notes, fd);
}

static void test_other_provider(void **state)
{
	struct forged *f = *state;
	struct elf_notes *notes;
	int fd;

	forged__note(f, ENTRY_SITE, FORGED_BASE, 0, "pikos", "batch", "8@%rdi");
	fd = forged__fd(f);
	notes = elf_notes__new(fd, "pikos");
	assert_non_null(notes);
	assert_int_equal(elf_notes__count(notes), 1);
	elf_notes__free(notes);
	notes = elf_notes__new(fd, NULL);
	assert_non_null(notes);
	assert_int_equal(elf_notes__count(notes), 0);
	close_notes(notes, fd);
}

static void test_bad_notes_are_left_out(void **state)
{
	struct forged *f = *state;
	char unterminated[64], name[80];

	memset(unterminated, 'A', sizeof(unterminated));
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	forged__raw_note(f, "stapsdt", unterminated, sizeof(unterminated));
	forged__raw_note(f, "stapsdt", unterminated, 23);
	forged__raw_note(f, "stapsdt", "", 0);
	forged__note(f, FORGED_TEXT + 0x1000, FORGED_BASE, 0, "python", "line", ""); /* past text */
	forged__note(f, SEMAPHORE, FORGED_BASE, 0, "python", "line", "");	     /* in data */
	forged__note(f, UINT64_MAX, FORGED_BASE, 0, "python", "line", "");
	forged__note(f, ENTRY_SITE, UINT64_MAX, 0, "python", "line", "");
	forged__note(f, ENTRY_SITE, FORGED_BASE, 0, "python", "", "");
	forged__note(f, ENTRY_SITE, FORGED_BASE, 0, "python", "li\x1b[2Jne", "");
	forged__note(f, ENTRY_SITE, FORGED_BASE, 0, "python", name, "");
	forged__raw_note(f, "other", unterminated, 8);
	forged__note(f, ENTRY_SITE, FORGED_BASE, 0, "python", "line", "");
	expect_counts(f, 1, 10);
}

static void test_duplicates_are_one(void **state)
{
	struct forged *f = *state;

	forged__note(f, ENTRY_SITE, FORGED_BASE, 0, "python", "line", "");
	forged__note(f, ENTRY_SITE, FORGED_BASE, 0, "python", "line", "8@%rax");
	/* The symbol table becomes a second view of the same notes. */
	*forged__shdr(f, FORGED_SH_DYNSYM) = *forged__shdr(f, FORGED_SH_NOTE);
	expect_counts(f, 1, 0);
}

static void test_unusable_semaphores(void **state)
{
	static const __u64 bad[] = {FORGED_TEXT + 0x100, FORGED_DATA + 0x1800, FORGED_DATA + 0xfff,
				    FORGED_DATA + 0xf01, 8};
	struct forged *f = *state;
	struct elf_notes *notes;
	int fd;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		forged__note(f, ENTRY_SITE + i, FORGED_BASE, bad[i], "python", "line", "");
	notes = open_notes(f, &fd);
	assert_int_equal(elf_notes__count(notes), 5);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(elf_notes__probe(notes, i)->semaphore_addr, bad[i]);
		assert_int_equal(elf_notes__probe(notes, i)->semaphore_offset, 0);
	}
	close_notes(notes, fd);
}

static void test_too_many_probes(void **state)
{
	struct forged *f = *state;
	int i;

	for (i = 0; i < 1000; i++)
		forged__note(f, FORGED_TEXT + (__u64)i, FORGED_BASE, 0, "python", "a", "");
	expect_counts(f, 1000, 0);
	for (i = 0; i < 30; i++)
		forged__note(f, FORGED_TEXT + (__u64)i, FORGED_BASE, 0, "python", "b", "");
	assert_true(f->notes_end < FORGED_NAMES - FORGED_NOTES);
	expect_counts(f, ELF_NOTES_MAX_PROBES, 6);
}

static void test_note_sizes_that_lie(void **state)
{
	struct forged *f = *state;
	Elf64_Nhdr *nhdr = (Elf64_Nhdr *)(f->bytes + FORGED_NOTES);
	Elf64_Shdr *shdr = forged__shdr(f, FORGED_SH_NOTE);

	forged__note(f, ENTRY_SITE, FORGED_BASE, 0, "python", "line", "");
	nhdr->n_descsz = UINT32_MAX;
	expect_counts(f, 0, 0);
	nhdr->n_namesz = UINT32_MAX - 3;
	expect_counts(f, 0, 0);
	nhdr->n_namesz = nhdr->n_descsz = 0;
	shdr->sh_size = UINT64_MAX;
	expect_counts(f, 0, 1);
	shdr->sh_size = FORGED_SIZE;
	expect_counts(f, 0, 1); /* beyond the end of the file */
	shdr->sh_offset = UINT64_MAX - 8;
	expect_counts(f, 0, 0);
}

static void test_without_sections(void **state)
{
	struct elf_symbol symbol = {.name = "_PyRuntime"};
	struct forged *f = *state;
	struct elf_notes *notes;
	int fd;

	forged__note(f, ENTRY_SITE, FORGED_BASE, 0, "python", "line", "");
	forged__symbol(f, "_PyRuntime", SEMAPHORE, 64);
	/* search_dynamic wants the symbols in front of their strings, as linkers put them */
	memmove(f->bytes + 0x2a00, f->bytes + FORGED_DYNSTR, 0x100);
	forged__dyn(f, 0)->d_un.d_val = FORGED_DATA + 0xa00;
	f->ehdr.e_shoff = 0;
	f->ehdr.e_shnum = 0;
	f->ehdr.e_shstrndx = 0;
	notes = open_notes(f, &fd);
	assert_false(elf_notes__header(notes)->has_sections);
	assert_int_equal(elf_notes__count(notes), 1);
	assert_int_equal(elf_notes__find_symbols(notes, &symbol, 1), 1);
	assert_int_equal(symbol.addr, SEMAPHORE);
	close_notes(notes, fd);
}

static void test_symbols(void **state)
{
	struct elf_symbol symbols[] = {
		{.name = "Py_Version"}, {.name = "_PyRuntime"}, {.name = "x"}};
	struct forged *f = *state;
	struct elf_notes *notes;
	int fd;

	forged__symbol(f, "_PyRuntime", SEMAPHORE, 64);
	forged__symbol(f, "Py_Version", FORGED_DATA + 0xe00, 8);
	notes = open_notes(f, &fd);
	assert_int_equal(elf_notes__find_symbols(notes, symbols, 3), 2);
	assert_int_equal(symbols[0].addr, FORGED_DATA + 0xe00);
	assert_int_equal(symbols[0].size, 8);
	assert_int_equal(symbols[1].addr, SEMAPHORE);
	assert_int_equal(symbols[2].addr, 0);
	close_notes(notes, fd);

	/* Asked of another file: its value is that of a jump to it. */
	((Elf64_Sym *)(f->bytes + FORGED_DYNSYM) + 1)->st_shndx = SHN_UNDEF;
	notes = open_notes(f, &fd);
	assert_int_equal(elf_notes__find_symbols(notes, symbols, 3), 1);
	assert_int_equal(symbols[1].addr, 0);
	close_notes(notes, fd);

	forged__shdr(f, FORGED_SH_DYNSYM)->sh_size = UINT64_MAX;
	notes = open_notes(f, &fd);
	assert_int_equal(elf_notes__find_symbols(notes, symbols, 3), 0);
	close_notes(notes, fd);
	forged__shdr(f, FORGED_SH_DYNSYM)->sh_size = 72;
	forged__shdr(f, FORGED_SH_DYNSYM)->sh_link = 60000;
	notes = open_notes(f, &fd);
	assert_int_equal(elf_notes__find_symbols(notes, symbols, 3), 0);
	close_notes(notes, fd);
}

static void test_sections(void **state)
{
	struct forged *f = *state;
	struct elf_notes *notes;
	int fd;

	notes = open_notes(f, &fd);
	assert_int_equal(elf_notes__find_section(notes, ".stapsdt.base"), FORGED_BASE);
	assert_int_equal(elf_notes__find_section(notes, ".dynsym"), FORGED_DATA + 0x800);
	assert_int_equal(elf_notes__find_section(notes, ".dynsy"), 0);
	assert_int_equal(elf_notes__find_section(notes, ".PyRuntime"), 0);
	close_notes(notes, fd);

	/* Names that lie nowhere, or do not end. */
	forged__shdr(f, FORGED_SH_BASE)->sh_name = UINT32_MAX;
	memset(f->bytes + FORGED_NAMES + 16 * FORGED_SH_DYNSYM, 'x',
	       FORGED_SIZE - FORGED_NAMES - 16 * FORGED_SH_DYNSYM -
		       (FORGED_SIZE - FORGED_SECTIONS));
	notes = open_notes(f, &fd);
	assert_int_equal(elf_notes__find_section(notes, ".stapsdt.base"), 0);
	assert_int_equal(elf_notes__find_section(notes, ".dynsym"), 0);
	close_notes(notes, fd);
	forged__shdr(f, FORGED_SH_NAMES)->sh_offset = UINT64_MAX - 8;
	notes = open_notes(f, &fd);
	assert_int_equal(elf_notes__find_section(notes, ".stapsdt.base"), 0);
	close_notes(notes, fd);
	f->ehdr.e_shstrndx = 60000;
	notes = open_notes(f, &fd);
	assert_int_equal(elf_notes__find_section(notes, ".stapsdt.base"), 0);
	close_notes(notes, fd);
}

static void test_reading_by_address(void **state)
{
	struct forged *f = *state;
	struct elf_notes *notes;
	__u64 offset;
	char buf[8];
	int fd;

	memcpy(f->bytes + 0x2e00, "content", 8);
	notes = open_notes(f, &fd);
	assert_int_equal(elf_notes__read(notes, FORGED_DATA + 0xe00, buf, 8), 0);
	assert_string_equal(buf, "content");
	assert_int_equal(elf_notes__read(notes, FORGED_DATA + 0xffc, buf, 8), -ENXIO); /* .bss */
	assert_int_equal(elf_notes__file_offset(notes, FORGED_DATA, 0x1000, &offset), 0);
	assert_int_equal(offset, 0x2000);
	assert_int_equal(elf_notes__file_offset(notes, FORGED_DATA, 0x1001, &offset), -ENXIO);
	assert_int_equal(elf_notes__file_offset(notes, UINT64_MAX, 2, &offset), -ENXIO);
	assert_int_equal(elf_notes__file_offset(notes, FORGED_TEXT, UINT64_MAX, &offset), -ENXIO);
	close_notes(notes, fd);
}

static void test_load_bias(void **state)
{
	struct forged *f = *state;
	struct elf_notes *notes;
	Elf64_Phdr text;
	__u64 bias = 1;
	int fd;

	notes = open_notes(f, &fd);
	assert_int_equal(elf_notes__load_bias(notes, FORGED_TEXT, 0, true, &bias), 0);
	assert_int_equal(bias, 0);
	assert_int_equal(elf_notes__load_bias(notes, 0x7f0000002000, 0x2000, false, &bias), 0);
	assert_int_equal(bias, 0x7f0000002000 - FORGED_DATA);
	assert_int_equal(elf_notes__load_bias(notes, FORGED_TEXT, 0x1000, true, &bias), -ENXIO);
	assert_int_equal(elf_notes__load_bias(notes, FORGED_TEXT, 0, false, &bias), -ENXIO);
	close_notes(notes, fd);

	/* mprotect splits a segment: the second part starts in the middle of it. */
	forged__phdr(f, FORGED_PH_TEXT)->p_filesz = 0x2000;
	forged__phdr(f, FORGED_PH_TEXT)->p_memsz = 0x2000;
	notes = open_notes(f, &fd);
	assert_int_equal(elf_notes__load_bias(notes, 0x7f0000001000, 0x1000, true, &bias), 0);
	assert_int_equal(bias, 0x7f0000000000 - FORGED_TEXT);
	close_notes(notes, fd);

	/* The end of one segment and the start of another, listed first, share a page. */
	text = *forged__phdr(f, FORGED_PH_TEXT);
	*forged__phdr(f, FORGED_PH_TEXT) = *forged__phdr(f, FORGED_PH_DATA);
	forged__phdr(f, FORGED_PH_TEXT)->p_flags = PF_R | PF_X;
	forged__phdr(f, FORGED_PH_TEXT)->p_offset = 0x1000;
	*forged__phdr(f, FORGED_PH_DATA) = text;
	notes = open_notes(f, &fd);
	assert_int_equal(elf_notes__load_bias(notes, 0x7f0000001000, 0x1000, true, &bias), 0);
	assert_int_equal(bias, 0x7f0000001000 - FORGED_DATA);
	close_notes(notes, fd);
}

static void test_headers_that_lie(void **state)
{
	struct forged *f = *state;
	Elf64_Ehdr good = f->ehdr;

	expect_refused(f, 0, ENOEXEC);
	expect_refused(f, 40, ENOEXEC);
	f->ehdr.e_ident[EI_CLASS] = ELFCLASS32;
	expect_refused(f, FORGED_SIZE, ENOEXEC);
	f->ehdr = good;
	f->ehdr.e_ident[EI_DATA] = ELFDATA2MSB;
	expect_refused(f, FORGED_SIZE, ENOEXEC);
	f->ehdr = good;
	f->ehdr.e_type = ET_REL;
	expect_refused(f, FORGED_SIZE, ENOEXEC);
	f->ehdr = good;
	f->ehdr.e_phentsize = 1;
	expect_refused(f, FORGED_SIZE, EBADMSG);
	f->ehdr = good;
	f->ehdr.e_phnum = PN_XNUM;
	expect_refused(f, FORGED_SIZE, E2BIG);
	f->ehdr = good;
	f->ehdr.e_shnum = 0; /* the first section would hold the count */
	forged__shdr(f, 0)->sh_size = UINT64_MAX / 2;
	expect_refused(f, FORGED_SIZE, E2BIG);
	f->ehdr = good;
	f->ehdr.e_phoff = UINT64_MAX - 8;
	expect_refused(f, FORGED_SIZE, EBADMSG);
	f->ehdr = good;
	forged__phdr(f, FORGED_PH_DATA)->p_memsz = UINT64_MAX;
	expect_refused(f, FORGED_SIZE, EBADMSG);
}

static void test_not_a_regular_file(void **state)
{
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_true(fd >= 0);
	assert_null(elf_notes__new(fd, "python"));
	assert_int_equal(errno, ENOEXEC);
	close(fd);
	assert_null(elf_notes__new(-1, "python"));
	assert_int_equal(errno, EBADF);
}

/* The file may be cut anywhere: an error or less is found, and nothing else happens. */
static void test_truncated_anywhere(void **state)
{
	struct elf_symbol symbol = {.name = "Py_Version"};
	struct forged *f = *state;
	struct elf_notes *notes;
	size_t size;
	int fd;

	forged__note(f, ENTRY_SITE, FORGED_BASE, SEMAPHORE, "python", "line", "8@%rax");
	forged__symbol(f, "Py_Version", FORGED_DATA + 0xe00, 8);
	for (size = 0; size < FORGED_SIZE; size += size < 0x200 ? 1 : 97) {
		fd = forged__fd_of_size(f, size);
		notes = elf_notes__new(fd, "python");
		if (notes) {
			assert_true(elf_notes__count(notes) <= 1);
			assert_true(elf_notes__find_symbols(notes, &symbol, 1) <= 1);
		}
		elf_notes__free(notes);
		close(fd);
	}
}

/* Notes are read up to a limit, even where the file has the bytes. */
static void test_too_long_notes(void **state)
{
	struct forged *f = *state;
	struct elf_notes *notes;
	int fd;

	forged__note(f, ENTRY_SITE, FORGED_BASE, 0, "python", "line", "");
	forged__shdr(f, FORGED_SH_NOTE)->sh_size = 5 << 20;
	fd = forged__fd(f);
	assert_int_equal(ftruncate(fd, 8 << 20), 0);
	notes = elf_notes__new(fd, "python");
	assert_non_null(notes);
	assert_int_equal(elf_notes__count(notes), 0);
	assert_int_equal(elf_notes__rejected(notes), 1);
	close_notes(notes, fd);
}

/* A sparse file whose tables say they are huge must not cost memory. */
static void test_sparse_giant(void **state)
{
	struct elf_symbol symbol = {.name = "Py_Version"};
	struct forged *f = *state;
	struct elf_notes *notes;
	int fd;

	f->ehdr.e_shnum = 0xfeff;
	forged__shdr(f, FORGED_SH_NOTE)->sh_size = 1UL << 39;
	forged__shdr(f, FORGED_SH_DYNSYM)->sh_size = 1UL << 39;
	forged__shdr(f, FORGED_SH_DYNSTR)->sh_size = 1UL << 39;
	forged__shdr(f, FORGED_SH_NAMES)->sh_size = 1UL << 39;
	forged__phdr(f, FORGED_PH_DYNAMIC)->p_filesz = 1UL << 39;
	fd = forged__fd(f);
	assert_int_equal(ftruncate(fd, 1L << 40), 0);
	notes = elf_notes__new(fd, "python");
	assert_non_null(notes);
	assert_int_equal(elf_notes__count(notes), 0);
	assert_int_equal(elf_notes__rejected(notes), 1);
	assert_int_equal(elf_notes__find_symbols(notes, &symbol, 1), 0);
	close_notes(notes, fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_honest_file),	       TEST(test_prelink),
		TEST(test_other_provider),     TEST(test_bad_notes_are_left_out),
		TEST(test_duplicates_are_one), TEST(test_unusable_semaphores),
		TEST(test_too_many_probes),    TEST(test_note_sizes_that_lie),
		TEST(test_without_sections),   TEST(test_symbols),
		TEST(test_sections),	       TEST(test_reading_by_address),
		TEST(test_load_bias),	       TEST(test_headers_that_lie),
		TEST(test_not_a_regular_file), TEST(test_truncated_anywhere),
		TEST(test_too_long_notes),     TEST(test_sparse_giant),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
