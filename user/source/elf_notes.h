/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tracer needs to know of an ELF file: its USDT probes, the places in it where a
 * breakpoint may stand for ever without being hit, and how its addresses relate to its bytes.
 *
 * The file belongs to the target, so every field of it is a claim: counts and sizes are limited, an
 * address is given a file offset only through a segment that really has those bytes, and a note
 * that does not hold together is left out and counted. Only 64-bit little-endian files are read.
 *
 * "Address" is the address that the file was linked for. In a process it stands at
 * address + load bias (elf_notes__load_bias). "File offset" is what a uprobe is given.
 */
#ifndef PIKOS_ELF_NOTES_H
#define PIKOS_ELF_NOTES_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#include "source/usdt_args.h"

#define ELF_NOTES_MAX_PROBES   1024
#define ELF_NOTES_MAX_SEGMENTS 256
#define ELF_NOTES_MAX_NEEDED   8

/* One site of a probe. A probe that the compiler inlined has several, each with its own arguments.
 */
struct usdt_probe {
	char name[64];		/* "function__entry" */
	__u64 addr;		/* of the nop; already mended for prelink by .stapsdt.base */
	__u64 file_offset;	/* of the nop, for the uprobe */
	__u64 semaphore_addr;	/* of the 16-bit counter; 0: the probe has none */
	__u64 semaphore_offset; /* its file offset, for ref_ctr_offset; 0: none, or if there is a
				 * semaphore_addr: it is nowhere where the kernel could raise it */
	int n_args;		/* or -errno of usdt_args__parse: the probe exists, args do not */
	struct probe_arg args[USDT_MAX_ARGS];
	char args_text[160]; /* as written in the note, for messages; printable ASCII */
};

/* A piece of the file that is mapped when it runs (PT_LOAD), in the order of the headers. */
struct elf_segment {
	__u64 addr;
	__u64 mem_size;
	__u64 offset;
	__u64 file_size; /* bytes beyond are zero in memory and not in the file */
	bool executable;
	bool writable;
};

/* An address that starts an instruction for certain; addr 0: the file has no such place. */
struct elf_place {
	__u64 addr;
	__u64 file_offset;
};

struct elf_header {
	int type;	  /* ET_EXEC, ET_DYN */
	int machine;	  /* EM_X86_64, EM_AARCH64, ... */
	bool is_pie;	  /* ET_DYN with an interpreter or DF_1_PIE: an executable */
	char interp[256]; /* PT_INTERP, "" if none */
	char soname[256]; /* DT_SONAME, "" if none */
	int n_needed;	  /* libraries asked for that are called libpython* */
	char needed[ELF_NOTES_MAX_NEEDED][64]; /* "libpython3.11.so.1.0" */
	/* Candidates for a uprobe that is never hit again once the process runs. */
	struct elf_place entry; /* the entry point of an executable */
	struct elf_place init;	/* DT_INIT: has run when the file is mapped for good */
	struct elf_place fini;	/* DT_FINI: runs once, at exit */
	int n_segments;
	struct elf_segment segments[ELF_NOTES_MAX_SEGMENTS];
	bool has_sections; /* false: stripped of section headers, notes found by PT_NOTE only */
};

/* A symbol to look for; the rest is set by elf_notes__find_symbols, addr 0 if undefined. */
struct elf_symbol {
	const char *name;
	__u64 addr;
	__u64 size;
	bool exported; /* found among the dynamic symbols: dlsym finds it, too */
};

struct elf_notes;

/**
 * Reads a file's headers and all its probes of one provider ("python").
 *
 * @param fd        open for reading, a regular file; stays the caller's, must outlive the object,
 *                  and its file position is not used
 * @param provider  whose probes; NULL: none, the headers only
 * @return the object, to be given to elf_notes__free; NULL with errno ENOEXEC (not an ELF file,
 *         or not one of 64 bits, little endian), EBADMSG (an ELF file that contradicts itself),
 *         E2BIG (limits exceeded), ENOMEM, or what reading set.
 *
 * A file without section headers has lost its notes unless they lie in a PT_NOTE segment, which
 * <sys/sdt.h> does not ask for: then there are 0 probes and header->has_sections is false.
 */
struct elf_notes *elf_notes__new(int fd, const char *provider);
void elf_notes__free(struct elf_notes *notes);

const struct elf_header *elf_notes__header(const struct elf_notes *notes);

/** @return the number of sites; at most ELF_NOTES_MAX_PROBES, in the file's order, no duplicates */
int elf_notes__count(const struct elf_notes *notes);
/** @return the site, owned by the object; NULL if i is out of range */
const struct usdt_probe *elf_notes__probe(const struct elf_notes *notes, int i);
/** @return how many notes of the provider were left out: malformed, unmapped, or over the limit */
int elf_notes__rejected(const struct elf_notes *notes);

/**
 * The sites of one probe: start with prev NULL, go on with the last result, NULL ends.
 */
const struct usdt_probe *elf_notes__next(const struct elf_notes *notes, const char *name,
					 const struct usdt_probe *prev);

/**
 * Looks up defined symbols, exported ones first, then (if it is still there) the static table.
 *
 * @return the number found, or -errno; symbols[].addr is 0 for the others
 */
int elf_notes__find_symbols(const struct elf_notes *notes, struct elf_symbol symbols[], int n);

/**
 * Looks up a section by its name, such as ".PyRuntime", of at most 31 characters.
 *
 * @return its address, as linked; 0: there is none, or it is not mapped when the program runs
 */
__u64 elf_notes__find_section(const struct elf_notes *notes, const char *name);

/**
 * Turns an address into the offset of its byte in the file.
 *
 * @return 0, or -ENXIO if [addr, addr + len) is not backed by one segment's bytes
 */
int elf_notes__file_offset(const struct elf_notes *notes, __u64 addr, __u64 len, __u64 *offset);

/**
 * Reads bytes of the file by their address, so as they are before the program runs.
 *
 * @return 0, -ENXIO (not in the file) or -errno of reading
 */
int elf_notes__read(const struct elf_notes *notes, __u64 addr, void *buf, size_t len);

/**
 * The load bias of the file in a process, from one line of /proc/PID/maps that maps it.
 *
 * @param map_start   the line's first address
 * @param map_offset  the line's file offset
 * @param executable  whether the line has `x`
 * @param bias        what to add to an address of the file; 0 for most ET_EXEC files
 * @return 0, or -ENXIO if no segment of the file can be mapped like this
 */
int elf_notes__load_bias(const struct elf_notes *notes, __u64 map_start, __u64 map_offset,
			 bool executable, __u64 *bias);

#endif /* PIKOS_ELF_NOTES_H */
