/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small ELF file made in memory, honest until a test bends a field of it. It has a text segment,
 * a data segment, dynamic entries, a symbol table and the notes that a test adds.
 */
#ifndef PIKOS_TESTS_FORGED_ELF_H
#define PIKOS_TESTS_FORGED_ELF_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FORGED_TEXT	0x400000UL /* file 0 to 0x1000, executable */
#define FORGED_DATA	0x602000UL /* file 0x2000 to 0x3000, writable; 0x1000 more of .bss */
#define FORGED_BASE	0x400900UL /* .stapsdt.base */
#define FORGED_DYNAMIC	0x2000
#define FORGED_DYNSTR	0x2400
#define FORGED_DYNSYM	0x2800
#define FORGED_NOTES	0x4000
#define FORGED_NAMES	0x14000
#define FORGED_SECTIONS 0x14800
#define FORGED_SIZE	0x15000

enum {
	FORGED_PH_TEXT,
	FORGED_PH_DATA,
	FORGED_PH_DYNAMIC,
	FORGED_PH_NOTE,
	FORGED_PH_INTERP,
	FORGED_PH_COUNT,
};

enum {
	FORGED_SH_NULL,
	FORGED_SH_NOTE,
	FORGED_SH_BASE,
	FORGED_SH_DYNSYM,
	FORGED_SH_DYNSTR,
	FORGED_SH_NAMES,
	FORGED_SH_COUNT,
};

struct forged {
	union {
		unsigned char bytes[FORGED_SIZE];
		Elf64_Ehdr ehdr;
	};
	size_t notes_end, dynstr_end, n_dynamic, n_symbols;
};

static inline Elf64_Phdr *forged__phdr(struct forged *f, int i)
{
	return (Elf64_Phdr *)(f->bytes + sizeof(Elf64_Ehdr)) + i;
}

static inline Elf64_Shdr *forged__shdr(struct forged *f, int i)
{
	return (Elf64_Shdr *)(f->bytes + FORGED_SECTIONS) + i;
}

static inline Elf64_Dyn *forged__dyn(struct forged *f, size_t i)
{
	return (Elf64_Dyn *)(f->bytes + FORGED_DYNAMIC) + i;
}

static inline uint32_t forged__string(struct forged *f, const char *text)
{
	uint32_t at = (uint32_t)f->dynstr_end;

	memcpy(f->bytes + FORGED_DYNSTR + at, text, strlen(text) + 1);
	f->dynstr_end += strlen(text) + 1;
	forged__shdr(f, FORGED_SH_DYNSTR)->sh_size = f->dynstr_end;
	return at;
}

static inline void forged__dynamic(struct forged *f, int64_t tag, uint64_t value)
{
	forged__dyn(f, f->n_dynamic)->d_tag = tag;
	forged__dyn(f, f->n_dynamic)->d_un.d_val = value;
	f->n_dynamic++;
}

/* A defined, exported symbol; its value is an address. */
static inline void forged__symbol(struct forged *f, const char *name, uint64_t addr, uint64_t size)
{
	Elf64_Sym *sym = (Elf64_Sym *)(f->bytes + FORGED_DYNSYM) + ++f->n_symbols;

	sym->st_name = forged__string(f, name);
	sym->st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT);
	sym->st_shndx = 1;
	sym->st_value = addr;
	sym->st_size = size;
	forged__shdr(f, FORGED_SH_DYNSYM)->sh_size = (f->n_symbols + 1) * sizeof(*sym);
}

static inline void forged__raw_note(struct forged *f, const char *owner, const void *desc,
				    uint32_t size)
{
	unsigned char *to = f->bytes + FORGED_NOTES + f->notes_end;
	Elf64_Nhdr nhdr = {(uint32_t)strlen(owner) + 1, size, 3};
	size_t owner_size = (nhdr.n_namesz + 3) & ~3UL;

	memcpy(to, &nhdr, sizeof(nhdr));
	memcpy(to + sizeof(nhdr), owner, nhdr.n_namesz);
	memcpy(to + sizeof(nhdr) + owner_size, desc, size);
	f->notes_end += sizeof(nhdr) + owner_size + ((size + 3) & ~3UL);
	forged__shdr(f, FORGED_SH_NOTE)->sh_size = f->notes_end;
	forged__phdr(f, FORGED_PH_NOTE)->p_filesz = f->notes_end;
}

static inline void forged__note(struct forged *f, uint64_t addr, uint64_t base, uint64_t semaphore,
				const char *provider, const char *name, const char *args)
{
	const char *texts[] = {provider, name, args};
	uint64_t where[] = {addr, base, semaphore};
	unsigned char desc[1024];
	size_t i, at = sizeof(where);

	memcpy(desc, where, sizeof(where));
	for (i = 0; i < 3; i++) {
		memcpy(desc + at, texts[i], strlen(texts[i]) + 1);
		at += strlen(texts[i]) + 1;
	}
	forged__raw_note(f, "stapsdt", desc, (uint32_t)at);
}

static inline void forged__set_section(struct forged *f, int i, uint32_t type, uint64_t addr,
				       uint64_t offset, uint64_t size)
{
	static const char names[FORGED_SH_COUNT][16] = {
		"", ".note.stapsdt", ".stapsdt.base", ".dynsym", ".dynstr", ".shstrtab",
	};
	Elf64_Shdr *shdr = forged__shdr(f, i);

	memcpy(f->bytes + FORGED_NAMES + 16 * i, names[i], 16);
	shdr->sh_name = (uint32_t)(16 * i);
	shdr->sh_type = type;
	shdr->sh_addr = addr;
	shdr->sh_offset = offset;
	shdr->sh_size = size;
	shdr->sh_addralign = 4;
}

static inline void forged__init_headers(struct forged *f)
{
	Elf64_Phdr phdrs[FORGED_PH_COUNT] = {
		{PT_LOAD, PF_R | PF_X, 0, FORGED_TEXT, FORGED_TEXT, 0x1000, 0x1000, 0x1000},
		{PT_LOAD, PF_R | PF_W, 0x2000, FORGED_DATA, FORGED_DATA, 0x1000, 0x2000, 0x1000},
		{PT_DYNAMIC, PF_R, FORGED_DYNAMIC, FORGED_DATA, FORGED_DATA, 0x400, 0x400, 8},
		{PT_NOTE, PF_R, FORGED_NOTES, 0, 0, 0, 0, 4},
		{PT_INTERP, PF_R, 0xf00, FORGED_TEXT + 0xf00, 0, 16, 16, 1},
	};
	Elf64_Ehdr ehdr = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			    EV_CURRENT},
		.e_type = ET_EXEC,
#ifdef __aarch64__
		.e_machine = EM_AARCH64,
#else
		.e_machine = EM_X86_64,
#endif
		.e_version = EV_CURRENT,
		.e_entry = FORGED_TEXT + 0x800,
		.e_phoff = sizeof(Elf64_Ehdr),
		.e_shoff = FORGED_SECTIONS,
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = FORGED_PH_COUNT,
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = FORGED_SH_COUNT,
		.e_shstrndx = FORGED_SH_NAMES,
	};

	f->ehdr = ehdr;
	memcpy(f->bytes + sizeof(ehdr), phdrs, sizeof(phdrs));
	memcpy(f->bytes + 0xf00, "/lib/ld-test.so", 16);
}

/* To be freed with free(). */
static inline struct forged *forged__new(void)
{
	struct forged *f = calloc(1, sizeof(*f));

	if (!f)
		abort();
	forged__init_headers(f);
	forged__set_section(f, FORGED_SH_NULL, SHT_NULL, 0, 0, 0);
	forged__set_section(f, FORGED_SH_NOTE, SHT_NOTE, 0, FORGED_NOTES, 0);
	forged__set_section(f, FORGED_SH_BASE, SHT_PROGBITS, FORGED_BASE, 0x900, 1);
	forged__set_section(f, FORGED_SH_DYNSYM, SHT_DYNSYM, FORGED_DATA + 0x800, FORGED_DYNSYM,
			    24);
	forged__shdr(f, FORGED_SH_DYNSYM)->sh_link = FORGED_SH_DYNSTR;
	forged__set_section(f, FORGED_SH_DYNSTR, SHT_STRTAB, FORGED_DATA + 0x400, FORGED_DYNSTR, 1);
	forged__set_section(f, FORGED_SH_NAMES, SHT_STRTAB, 0, FORGED_NAMES, 0x100);
	f->dynstr_end = 1;
	forged__dynamic(f, DT_STRTAB, FORGED_DATA + 0x400);
	forged__dynamic(f, DT_STRSZ, 0x400);
	forged__dynamic(f, DT_SYMTAB, FORGED_DATA + 0x800);
	forged__dynamic(f, DT_INIT, FORGED_TEXT + 0x700);
	forged__dynamic(f, DT_FINI, FORGED_TEXT + 0x780);
	return f;
}

/* The file's first `size` bytes as a descriptor. */
static inline int forged__fd_of_size(const struct forged *f, size_t size)
{
	int fd = memfd_create("forged", MFD_CLOEXEC);

	if (fd < 0 || write(fd, f->bytes, size) != (ssize_t)size)
		abort();
	return fd;
}

static inline int forged__fd(const struct forged *f)
{
	return forged__fd_of_size(f, sizeof(f->bytes));
}

#endif /* PIKOS_TESTS_FORGED_ELF_H */
