// SPDX-License-Identifier: BSD-3-Clause
/*
 * libelf reads the file, but only what was looked at before it is asked: it allocates whatever a
 * header says, as far as the file reaches, and a sparse file reaches far at no cost. So the counts
 * in the ELF header are checked first, tables and strings are read by offset and size with limits
 * of our own, and the file is not mapped: its owner may cut it short meanwhile.
 */
#include <elf.h>
#include <errno.h>
#include <gelf.h>
#include <libelf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source/elf_notes.h"

#define MAX_PROGRAM_HEADERS 512
#define MAX_DYNAMIC_SIZE    (256 << 10)
#define MAX_NOTES_SIZE	    (4 << 20)  /* of all notes of a file; CPython's are 4 KiB */
#define MAX_SYMBOLS_SIZE    (64 << 20) /* of one table, and of one table's strings */

/* NT_STAPSDT, and its owner, as <sys/sdt.h> writes them */
#define STAPSDT_TYPE 3
#define STAPSDT_NAME "stapsdt"

struct elf_notes {
	int fd;
	__u64 file_size;
	__u64 entry;
	const char *provider; /* during elf_notes__new only */
	__u64 base_addr;      /* of .stapsdt.base; 0: none */
	__u64 notes_size_left;
	__u64 symtab_addr; /* DT_SYMTAB, DT_STRTAB and DT_STRSZ, for lack of sections */
	__u64 strtab_addr;
	__u64 strtab_size;
	int n_probes;
	int rejected;
	struct usdt_probe *probes;
	struct elf_header header;
};

/* A symbol table and its strings, as parts of the file. */
struct symbol_table {
	__u64 offset, size;
	__u64 strings_offset, strings_size;
};

static int read_exactly(int fd, __u64 offset, void *buf, size_t len)
{
	size_t done = 0;
	ssize_t n;

	if (offset > INT64_MAX - len)
		return -ENXIO;
	while (done < len) {
		n = pread(fd, (char *)buf + done, len - done, (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENXIO;
		done += (size_t)n;
	}
	return 0;
}

/* A string of the file that ends before `size` bytes; longer or unterminated ones are none. */
static int read_string(const struct elf_notes *notes, __u64 offset, char *buf, size_t size)
{
	size_t len = size;
	int err;

	buf[0] = '\0';
	if (offset >= notes->file_size)
		return -ENXIO;
	if (len > notes->file_size - offset)
		len = notes->file_size - offset;
	err = read_exactly(notes->fd, offset, buf, len);
	if (!err && !memchr(buf, '\0', len))
		err = -EBADMSG;
	if (err)
		buf[0] = '\0';
	return err;
}

/* What libelf believes without a look, see the head of this file. */
static int check_header(struct elf_notes *notes)
{
	struct elf_header *header = &notes->header;
	Elf64_Ehdr ehdr;
	struct stat st;
	int err;

	if (fstat(notes->fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOEXEC;
	notes->file_size = (__u64)st.st_size;
	err = read_exactly(notes->fd, 0, &ehdr, sizeof(ehdr));
	if (err)
		return err == -ENXIO ? -ENOEXEC : err;
	if (memcmp(ehdr.e_ident, ELFMAG, SELFMAG) != 0 || ehdr.e_ident[EI_CLASS] != ELFCLASS64 ||
	    ehdr.e_ident[EI_DATA] != ELFDATA2LSB || ehdr.e_ident[EI_VERSION] != EV_CURRENT ||
	    (ehdr.e_type != ET_EXEC && ehdr.e_type != ET_DYN))
		return -ENOEXEC;
	if (ehdr.e_phentsize != sizeof(Elf64_Phdr) ||
	    (ehdr.e_shoff && ehdr.e_shentsize != sizeof(Elf64_Shdr)))
		return -EBADMSG;
	/* More sections than e_shnum can say are counted in the first one: no interpreter is. */
	if (ehdr.e_phnum > MAX_PROGRAM_HEADERS || (ehdr.e_shoff && ehdr.e_shnum == 0))
		return -E2BIG;
	header->type = ehdr.e_type;
	header->machine = ehdr.e_machine;
	notes->entry = ehdr.e_entry;
	return 0;
}

static Elf *open_elf(int fd)
{
	if (elf_version(EV_CURRENT) == EV_NONE)
		return NULL;
	return elf_begin(fd, ELF_C_READ, NULL);
}

static int add_segment(struct elf_notes *notes, const GElf_Phdr *phdr)
{
	struct elf_segment *segment;
	__u64 file_size = phdr->p_filesz;

	if (notes->header.n_segments == ELF_NOTES_MAX_SEGMENTS)
		return -E2BIG;
	if (phdr->p_memsz > UINT64_MAX - phdr->p_vaddr || phdr->p_filesz > phdr->p_memsz)
		return -EBADMSG;
	/* A file that was cut short has less than its headers say. */
	if (phdr->p_offset >= notes->file_size)
		file_size = 0;
	else if (file_size > notes->file_size - phdr->p_offset)
		file_size = notes->file_size - phdr->p_offset;
	segment = &notes->header.segments[notes->header.n_segments++];
	segment->addr = phdr->p_vaddr;
	segment->mem_size = phdr->p_memsz;
	segment->offset = phdr->p_offset;
	segment->file_size = file_size;
	segment->executable = phdr->p_flags & PF_X;
	segment->writable = phdr->p_flags & PF_W;
	return 0;
}

static const struct elf_segment *find_segment(const struct elf_notes *notes, __u64 addr, __u64 len)
{
	const struct elf_segment *segment;
	int i;

	for (i = 0; i < notes->header.n_segments; i++) {
		segment = &notes->header.segments[i];
		if (addr >= segment->addr && addr - segment->addr < segment->file_size &&
		    segment->file_size - (addr - segment->addr) >= len)
			return segment;
	}
	return NULL;
}

int elf_notes__file_offset(const struct elf_notes *notes, __u64 addr, __u64 len, __u64 *offset)
{
	const struct elf_segment *segment = find_segment(notes, addr, len);

	if (!segment)
		return -ENXIO;
	*offset = segment->offset + (addr - segment->addr);
	return 0;
}

int elf_notes__read(const struct elf_notes *notes, __u64 addr, void *buf, size_t len)
{
	__u64 offset;
	int err;

	err = elf_notes__file_offset(notes, addr, len, &offset);
	return err ? err : read_exactly(notes->fd, offset, buf, len);
}

static void set_place(const struct elf_notes *notes, __u64 addr, struct elf_place *place)
{
	const struct elf_segment *segment = find_segment(notes, addr, 1);

	if (addr == 0 || !segment || !segment->executable)
		return;
	place->addr = addr;
	place->file_offset = segment->offset + (addr - segment->addr);
}

/* The names behind DT_NEEDED and DT_SONAME: known once DT_STRTAB is. */
static void read_dynamic_strings(struct elf_notes *notes, Elf_Data *data, size_t count)
{
	struct elf_header *header = &notes->header;
	char name[sizeof(header->soname)];
	__u64 offset;
	GElf_Dyn dyn;
	size_t i;

	for (i = 0; i < count && gelf_getdyn(data, (int)i, &dyn); i++) {
		if (dyn.d_tag != DT_NEEDED && dyn.d_tag != DT_SONAME)
			continue;
		if (dyn.d_un.d_val >= notes->strtab_size ||
		    elf_notes__file_offset(notes, notes->strtab_addr + dyn.d_un.d_val, 1,
					   &offset) ||
		    read_string(notes, offset, name, sizeof(name)))
			continue;
		if (dyn.d_tag == DT_SONAME)
			memcpy(header->soname, name, sizeof(name));
		else if (strncmp(name, "libpython", 9) == 0 &&
			 strlen(name) < sizeof(header->needed[0]) &&
			 header->n_needed < ELF_NOTES_MAX_NEEDED)
			strcpy(header->needed[header->n_needed++], name);
	}
}

static void read_dynamic(struct elf_notes *notes, Elf *elf, const GElf_Phdr *phdr)
{
	size_t i, count, size = phdr->p_filesz;
	__u64 flags = 0, init = 0, fini = 0;
	Elf_Data *data;
	GElf_Dyn dyn;

	if (size > MAX_DYNAMIC_SIZE)
		size = MAX_DYNAMIC_SIZE;
	count = size / sizeof(Elf64_Dyn);
	data = count == 0 || phdr->p_offset > INT64_MAX
		       ? NULL
		       : elf_getdata_rawchunk(elf, (int64_t)phdr->p_offset,
					      count * sizeof(Elf64_Dyn), ELF_T_DYN);
	if (!data)
		return;
	for (i = 0; i < count && gelf_getdyn(data, (int)i, &dyn); i++) {
		if (dyn.d_tag == DT_NULL)
			break;
		else if (dyn.d_tag == DT_INIT)
			init = dyn.d_un.d_ptr;
		else if (dyn.d_tag == DT_FINI)
			fini = dyn.d_un.d_ptr;
		else if (dyn.d_tag == DT_FLAGS_1)
			flags = dyn.d_un.d_val;
		else if (dyn.d_tag == DT_STRTAB)
			notes->strtab_addr = dyn.d_un.d_ptr;
		else if (dyn.d_tag == DT_STRSZ)
			notes->strtab_size = dyn.d_un.d_val;
		else if (dyn.d_tag == DT_SYMTAB)
			notes->symtab_addr = dyn.d_un.d_ptr;
	}
	set_place(notes, init, &notes->header.init);
	set_place(notes, fini, &notes->header.fini);
	if (flags & DF_1_PIE)
		notes->header.is_pie = true;
	read_dynamic_strings(notes, data, i);
}

static int read_segments(struct elf_notes *notes, Elf *elf)
{
	struct elf_header *header = &notes->header;
	GElf_Phdr phdr, dynamic = {.p_type = PT_NULL};
	size_t i, count;
	int err;

	if (elf_getphdrnum(elf, &count) < 0)
		return -EBADMSG;
	for (i = 0; i < count; i++) {
		if (!gelf_getphdr(elf, (int)i, &phdr))
			return -EBADMSG;
		if (phdr.p_type == PT_LOAD) {
			err = add_segment(notes, &phdr);
			if (err)
				return err;
		} else if (phdr.p_type == PT_DYNAMIC) {
			dynamic = phdr;
		} else if (phdr.p_type == PT_INTERP) {
			read_string(notes, phdr.p_offset, header->interp, sizeof(header->interp));
		}
	}
	set_place(notes, notes->entry, &header->entry);
	header->is_pie = header->type == ET_DYN && header->interp[0];
	if (dynamic.p_type == PT_DYNAMIC)
		read_dynamic(notes, elf, &dynamic);
	return 0;
}

static bool is_printable(const char *text)
{
	for (; *text; text++)
		if (*text < 0x20 || *text > 0x7e)
			return false;
	return true;
}

static void copy_printable(char *to, size_t size, const char *from)
{
	size_t i;

	for (i = 0; i + 1 < size && from[i]; i++)
		to[i] = from[i] < 0x20 || from[i] > 0x7e ? '?' : from[i];
	to[i] = '\0';
}

/* The kernel raises a semaphore in the private writable mapping of its page. */
static __u64 semaphore_offset(const struct elf_notes *notes, __u64 addr)
{
	const struct elf_segment *segment = find_segment(notes, addr, 2);
	__u64 offset;

	if (!segment || !segment->writable)
		return 0;
	offset = segment->offset + (addr - segment->addr);
	return offset % 2 ? 0 : offset;
}

static bool is_known(const struct elf_notes *notes, const char *name, __u64 addr)
{
	int i;

	for (i = 0; i < notes->n_probes; i++)
		if (notes->probes[i].addr == addr && strcmp(notes->probes[i].name, name) == 0)
			return true;
	return false;
}

/* Overlapping notes name a site twice; attached to twice, it would give every event twice. */
static int add_probe(struct elf_notes *notes, const __u64 where[3], const char *name,
		     const char *args)
{
	/* Where .stapsdt.base is and where it was at link time: prelink moved the rest alike. */
	__u64 moved = notes->base_addr && where[1] ? notes->base_addr - where[1] : 0;
	const struct elf_segment *segment = find_segment(notes, where[0] + moved, 1);
	struct usdt_probe *probe;

	if (notes->n_probes == ELF_NOTES_MAX_PROBES)
		return -E2BIG;
	if (!segment || !segment->executable || !name[0] || strlen(name) >= sizeof(probe->name) ||
	    !is_printable(name))
		return -EBADMSG;
	if (is_known(notes, name, where[0] + moved))
		return 0;
	probe = &notes->probes[notes->n_probes++];
	strcpy(probe->name, name);
	probe->addr = where[0] + moved;
	probe->file_offset = segment->offset + (probe->addr - segment->addr);
	if (where[2]) {
		probe->semaphore_addr = where[2] + moved;
		probe->semaphore_offset = semaphore_offset(notes, probe->semaphore_addr);
	}
	copy_printable(probe->args_text, sizeof(probe->args_text), args);
	probe->n_args = usdt_args__parse(args, notes->header.machine, probe->args, USDT_MAX_ARGS);
	return 0;
}

/* One note: the site, the base and the semaphore, then provider, name and arguments. */
static int read_note(struct elf_notes *notes, const char *desc, size_t size)
{
	const char *text[3], *end = desc + size;
	__u64 where[3];
	int i;

	if (size < sizeof(where))
		return -EBADMSG;
	memcpy(where, desc, sizeof(where));
	desc += sizeof(where);
	for (i = 0; i < 3; i++) {
		text[i] = desc;
		desc = memchr(desc, '\0', (size_t)(end - desc));
		if (!desc)
			return -EBADMSG;
		desc++;
	}
	if (strcmp(text[0], notes->provider) != 0)
		return 0;
	return add_probe(notes, where, text[1], text[2]);
}

static void read_notes(struct elf_notes *notes, Elf *elf, __u64 offset, __u64 size, __u64 align)
{
	size_t at = 0, next, name, desc;
	const char *bytes;
	Elf_Data *data;
	GElf_Nhdr nhdr;

	if (size == 0 || offset > INT64_MAX)
		return;
	data = size > notes->notes_size_left
		       ? NULL
		       : elf_getdata_rawchunk(elf, (int64_t)offset, size,
					      align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR);
	if (!data) {
		notes->rejected++;
		return;
	}
	notes->notes_size_left -= size;
	bytes = data->d_buf;
	/* A note is never shorter than its header, so this ends. */
	while ((next = gelf_getnote(data, at, &nhdr, &name, &desc)) > at) {
		if (nhdr.n_type == STAPSDT_TYPE && nhdr.n_namesz == sizeof(STAPSDT_NAME) &&
		    memcmp(bytes + name, STAPSDT_NAME, sizeof(STAPSDT_NAME)) == 0 &&
		    read_note(notes, bytes + desc, nhdr.n_descsz))
			notes->rejected++;
		at = next;
	}
}

/* @return the address of the first section of that name, of at most 31 characters; 0: none */
static __u64 find_section(const struct elf_notes *notes, Elf *elf, const char *wanted)
{
	GElf_Shdr strings, shdr;
	size_t i, index, count;
	char name[32];

	if (elf_getshdrnum(elf, &count) < 0 || elf_getshdrstrndx(elf, &index) < 0 ||
	    !gelf_getshdr(elf_getscn(elf, index), &strings))
		return 0;
	for (i = 1; i < count; i++) {
		if (!gelf_getshdr(elf_getscn(elf, i), &shdr) || shdr.sh_name >= strings.sh_size ||
		    strings.sh_offset > notes->file_size)
			continue;
		if (read_string(notes, strings.sh_offset + shdr.sh_name, name, sizeof(name)) == 0 &&
		    strcmp(name, wanted) == 0)
			return shdr.sh_addr;
	}
	return 0;
}

static int read_all_notes(struct elf_notes *notes, Elf *elf)
{
	size_t i, count;
	GElf_Shdr shdr;
	GElf_Phdr phdr;

	notes->notes_size_left = MAX_NOTES_SIZE;
	if (elf_getshdrnum(elf, &count) < 0)
		return -EBADMSG;
	notes->header.has_sections = count > 1;
	if (!notes->provider)
		return 0;
	notes->probes = calloc(ELF_NOTES_MAX_PROBES, sizeof(*notes->probes));
	if (!notes->probes)
		return -ENOMEM;
	notes->base_addr = find_section(notes, elf, ".stapsdt.base");
	for (i = 1; i < count; i++)
		if (gelf_getshdr(elf_getscn(elf, i), &shdr) && shdr.sh_type == SHT_NOTE)
			read_notes(notes, elf, shdr.sh_offset, shdr.sh_size, shdr.sh_addralign);
	if (notes->header.has_sections)
		return 0;
	if (elf_getphdrnum(elf, &count) < 0)
		return -EBADMSG;
	for (i = 0; i < count; i++)
		if (gelf_getphdr(elf, (int)i, &phdr) && phdr.p_type == PT_NOTE)
			read_notes(notes, elf, phdr.p_offset, phdr.p_filesz, phdr.p_align);
	return 0;
}

struct elf_notes *elf_notes__new(int fd, const char *provider)
{
	struct elf_notes *notes = calloc(1, sizeof(*notes));
	Elf *elf = NULL;
	int err;

	if (!notes)
		return NULL;
	notes->fd = fd;
	notes->provider = provider;
	err = check_header(notes);
	if (err)
		goto out;
	elf = open_elf(fd);
	if (!elf || elf_kind(elf) != ELF_K_ELF) {
		err = -EBADMSG;
		goto out;
	}
	err = read_segments(notes, elf);
	if (err)
		goto out;
	err = read_all_notes(notes, elf);
out:
	elf_end(elf);
	notes->provider = NULL;
	if (err) {
		elf_notes__free(notes);
		errno = -err;
		return NULL;
	}
	return notes;
}

void elf_notes__free(struct elf_notes *notes)
{
	if (!notes)
		return;
	free(notes->probes);
	free(notes);
}

const struct elf_header *elf_notes__header(const struct elf_notes *notes)
{
	return &notes->header;
}

int elf_notes__count(const struct elf_notes *notes)
{
	return notes->n_probes;
}

const struct usdt_probe *elf_notes__probe(const struct elf_notes *notes, int i)
{
	return i < 0 || i >= notes->n_probes ? NULL : &notes->probes[i];
}

int elf_notes__rejected(const struct elf_notes *notes)
{
	return notes->rejected;
}

const struct usdt_probe *elf_notes__next(const struct elf_notes *notes, const char *name,
					 const struct usdt_probe *prev)
{
	int i = prev ? (int)(prev - notes->probes) + 1 : 0;

	for (; i < notes->n_probes; i++)
		if (strcmp(notes->probes[i].name, name) == 0)
			return &notes->probes[i];
	return NULL;
}

/* Finds what is still missing of the symbols in one table. */
static int search_table(const struct symbol_table *table, Elf *elf, struct elf_symbol symbols[],
			int n)
{
	Elf_Data *data, *strings;
	size_t i, count, len;
	GElf_Sym sym;
	int k, found = 0;

	if (table->size > MAX_SYMBOLS_SIZE || table->strings_size > MAX_SYMBOLS_SIZE ||
	    table->offset > INT64_MAX || table->strings_offset > INT64_MAX)
		return 0;
	count = table->size / sizeof(Elf64_Sym);
	if (count == 0 || table->strings_size == 0)
		return 0;
	data = elf_getdata_rawchunk(elf, (int64_t)table->offset, count * sizeof(Elf64_Sym),
				    ELF_T_SYM);
	strings = elf_getdata_rawchunk(elf, (int64_t)table->strings_offset, table->strings_size,
				       ELF_T_BYTE);
	if (!data || !strings)
		return 0;
	for (i = 0; i < count && gelf_getsym(data, (int)i, &sym); i++) {
		if (sym.st_shndx == SHN_UNDEF || sym.st_value == 0)
			continue;
		for (k = 0; k < n; k++) {
			len = strlen(symbols[k].name) + 1;
			if (symbols[k].addr || sym.st_name >= strings->d_size ||
			    strings->d_size - sym.st_name < len ||
			    memcmp((char *)strings->d_buf + sym.st_name, symbols[k].name, len) != 0)
				continue;
			symbols[k].addr = sym.st_value;
			symbols[k].size = sym.st_size;
			found++;
		}
	}
	return found;
}

static int search_sections(Elf *elf, __u32 type, struct elf_symbol symbols[], int n)
{
	GElf_Shdr shdr, strings;
	size_t i, count;

	if (elf_getshdrnum(elf, &count) < 0)
		return 0;
	for (i = 1; i < count; i++) {
		if (!gelf_getshdr(elf_getscn(elf, i), &shdr) || shdr.sh_type != type ||
		    !gelf_getshdr(elf_getscn(elf, shdr.sh_link), &strings))
			continue;
		/* There is one table of a type; a file with a thousand is not asked them all. */
		return search_table(&(struct symbol_table){shdr.sh_offset, shdr.sh_size,
							   strings.sh_offset, strings.sh_size},
				    elf, symbols, n);
	}
	return 0;
}

/* Without sections nothing says how many symbols there are; linkers put the strings behind them. */
static int search_dynamic(const struct elf_notes *notes, Elf *elf, struct elf_symbol symbols[],
			  int n)
{
	struct symbol_table table = {.strings_size = notes->strtab_size};

	if (notes->symtab_addr >= notes->strtab_addr)
		return 0;
	table.size = notes->strtab_addr - notes->symtab_addr;
	if (elf_notes__file_offset(notes, notes->symtab_addr, table.size, &table.offset) ||
	    elf_notes__file_offset(notes, notes->strtab_addr, table.strings_size,
				   &table.strings_offset))
		return 0;
	return search_table(&table, elf, symbols, n);
}

int elf_notes__find_symbols(const struct elf_notes *notes, struct elf_symbol symbols[], int n)
{
	int i, found;
	Elf *elf;

	for (i = 0; i < n; i++)
		symbols[i] = (struct elf_symbol){.name = symbols[i].name};
	elf = open_elf(notes->fd);
	if (!elf)
		return -EBADMSG;
	found = search_sections(elf, SHT_DYNSYM, symbols, n);
	if (found < n && !notes->header.has_sections)
		found += search_dynamic(notes, elf, symbols, n);
	for (i = 0; i < n; i++)
		symbols[i].exported = symbols[i].addr != 0;
	if (found < n && notes->header.has_sections)
		found += search_sections(elf, SHT_SYMTAB, symbols, n);
	elf_end(elf);
	return found;
}

__u64 elf_notes__find_section(const struct elf_notes *notes, const char *name)
{
	Elf *elf = open_elf(notes->fd);
	__u64 addr = elf ? find_section(notes, elf, name) : 0;

	elf_end(elf);
	return addr;
}

int elf_notes__load_bias(const struct elf_notes *notes, __u64 map_start, __u64 map_offset,
			 bool executable, __u64 *bias)
{
	__u64 page = (__u64)sysconf(_SC_PAGESIZE), first;
	const struct elf_segment *segment;
	int i, err = -ENXIO;

	for (i = 0; i < notes->header.n_segments; i++) {
		segment = &notes->header.segments[i];
		first = segment->offset & ~(page - 1);
		if (segment->executable != executable || segment->file_size == 0 ||
		    (segment->addr - segment->offset) % page != 0 || map_offset < first ||
		    map_offset >= segment->offset + segment->file_size)
			continue;
		/* Two segments may share a page of the file: the one that starts there is meant. */
		if (err == 0 && map_offset != first)
			continue;
		*bias = map_start - (map_offset - segment->offset + segment->addr);
		err = 0;
	}
	return err;
}
