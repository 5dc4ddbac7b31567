// SPDX-License-Identifier: BSD-3-Clause
/*
 * The ledger against a model with an entry per page, over random calls and faults of a simulated
 * process; then what the model does not know: threads, the start, faults without addresses.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "ledger/ledger.h"

#define PAGE	UINT64_C(4096)
#define BASE	UINT64_C(0x7f0000000000)
#define PAGES	400
#define HEAP	300 /* from that page on: brk */
#define N_LINES 5
#define NOBODY	-1
#define MILLION 1000000

static struct ledger *ledger;
static uint64_t now;

/* ------------------------------------------------------------------ events */

static struct pikos_text function = {"work", 4, PIKOS_TEXT_PLAIN | PIKOS_TEXT_ASCII};
static struct pikos_text file = {"work.py", 7, PIKOS_TEXT_PLAIN | PIKOS_TEXT_ASCII};
static struct symbol symbol = {.function = &function, .file = &file};

static struct memory_event event(enum wire_memory_type type, int line)
{
	static struct frame frame;

	frame = (struct frame){&symbol, line, 1};
	now += 10;
	return (struct memory_event){.type = type,
				     .tid = 1,
				     .first_time = now - 5,
				     .time = now,
				     .frames = &frame,
				     .n_frames = 1};
}

static uint64_t at(uint32_t page)
{
	return BASE + page * PAGE;
}

static void take_mmap(int line, uint32_t page, uint32_t n)
{
	struct memory_event e = event(WIRE_MMAP, line);

	e.address = at(page);
	e.size = n * PAGE - 7; /* as asked for: not whole pages */
	ledger__take(ledger, &e);
}

static void take_munmap(int line, uint32_t page, uint32_t n)
{
	struct memory_event e = event(WIRE_MUNMAP, line);

	e.address = at(page);
	e.size = n * PAGE;
	ledger__take(ledger, &e);
}

static void take_fault(int line, uint32_t page, uint32_t n, int64_t change)
{
	struct memory_event e = event(WIRE_ANON, line);

	e.address = at(page);
	e.size = n * PAGE;
	e.change = change;
	ledger__take(ledger, &e);
}

/* What the kernel drops in a call is told before the call. */
static void take_drop(int line, enum wire_memory_type type, uint32_t pages)
{
	struct memory_event e = event(type, line);

	e.change = -(int64_t)(pages * PAGE);
	if (pages)
		ledger__take(ledger, &e);
}

static struct stack_bytes bytes_of(int line)
{
	struct stack_line key = {&function, &file, line, 1};

	return *stacks__bytes(ledger__stacks(ledger),
			      stacks__find(ledger__stacks(ledger), &key, 1));
}

static struct stack_bytes bytes_of_start(void)
{
	return *stacks__bytes(ledger__stacks(ledger), STACKS_START);
}

static struct ledger_totals totals(void)
{
	struct ledger_totals all;

	ledger__totals(ledger, &all);
	return all;
}

static void start_with(uint64_t rss)
{
	const struct memory_start start = {.attached = now, .read_from = now, .rss = {0, rss}};

	ledger__start(ledger, &start, false);
}

static int setup(void **state)
{
	(void)state;
	now = 1000;
	ledger = ledger__new(0);
	return ledger ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	ledger__free(ledger);
	return 0;
}

/* ------------------------------------------------------------------ the model */

static int mapper[PAGES], toucher[PAGES]; /* line, or NOBODY */
static struct stack_bytes model[N_LINES];
static uint32_t heap_end;

static uint32_t pick(uint32_t n)
{
	return (uint32_t)rand() % n;
}

static uint32_t model_drop(uint32_t page, uint32_t n)
{
	uint32_t dropped = 0;

	for (uint32_t i = page; i < page + n; i++) {
		if (toucher[i] == NOBODY)
			continue;
		model[toucher[i]].released += PAGE;
		toucher[i] = NOBODY;
		dropped++;
	}
	return dropped;
}

static uint32_t model_unmap(uint32_t page, uint32_t n)
{
	uint32_t dropped = model_drop(page, n);

	for (uint32_t i = page; i < page + n; i++) {
		if (mapper[i] != NOBODY)
			model[mapper[i]].unmapped += PAGE;
		mapper[i] = NOBODY;
	}
	return dropped;
}

static uint32_t model_map(int line, uint32_t page, uint32_t n)
{
	uint32_t dropped = model_unmap(page, n);

	for (uint32_t i = page; i < page + n; i++)
		mapper[i] = line;
	model[line].mapped += n * PAGE;
	return dropped;
}

static void do_mmap(int line)
{
	uint32_t page = pick(HEAP - 40), n = 1 + pick(40);

	take_drop(line, WIRE_ANON, model_map(line, page, n));
	take_mmap(line, page, n);
}

static void do_munmap(int line)
{
	uint32_t page = pick(HEAP - 60), n = 1 + pick(60);

	take_drop(line, WIRE_ANON, model_unmap(page, n));
	take_munmap(line, page, n);
}

static void do_madvise(int line)
{
	struct memory_event e;
	uint32_t page = pick(HEAP - 20), n = 1 + pick(20);

	take_drop(line, WIRE_ANON, model_drop(page, n));
	e = event(WIRE_MADVISE, line);
	e.address = at(page);
	e.size = n * PAGE;
	e.prot = MADV_DONTNEED;
	ledger__take(ledger, &e);
}

static void do_fault(int line)
{
	uint32_t page = pick(PAGES), n = 0;

	while (n < 30 && page + n < PAGES && mapper[page + n] != NOBODY &&
	       toucher[page + n] == NOBODY)
		toucher[page + n++] = line;
	if (!n)
		return;
	model[line].faulted += n * PAGE;
	take_fault(line, page, n, n * PAGE);
}

static void do_brk(int line)
{
	struct memory_event e;
	uint32_t end = HEAP + pick(PAGES - HEAP);

	if (end >= heap_end)
		model_map(line, heap_end, end - heap_end);
	else
		take_drop(line, WIRE_ANON, model_unmap(end, heap_end - end));
	e = event(WIRE_BRK, line);
	e.old_address = at(heap_end) - 100;
	e.address = at(end) - 50;
	ledger__take(ledger, &e);
	heap_end = end;
}

/* A run of pages that are mapped. @return how many; 0: none found */
static uint32_t find_mapped(uint32_t *page)
{
	uint32_t n = 0, most = 1 + pick(30);

	*page = pick(HEAP);
	while (n < most && *page + n < HEAP && mapper[*page + n] != NOBODY)
		n++;
	return n;
}

/* In place, or to a place that was free or is not; with MREMAP_DONTUNMAP too. */
static void do_mremap(int line)
{
	uint32_t from, to, old = find_mapped(&from), size = 1 + pick(40), kept, dropped = 0;
	int moved[40], touched[40], how = pick(3);
	bool stays = how == 2;
	struct memory_event e;

	if (!old)
		return;
	if (stays)
		size = old;
	kept = old < size ? old : size;
	to = how == 0 ? from : pick(HEAP - 40);
	if (how == 0 && from + size > HEAP)
		return;
	if (to != from && to < from + old && from < to + size)
		return; /* the kernel refuses it, too */
	if (how == 0) {
		for (uint32_t i = from + old; i < from + size; i++)
			if (mapper[i] != NOBODY)
				return; /* it would have moved */
		if (size > old)
			model_map(line, from + old, size - old);
		else
			dropped = model_unmap(from + size, old - size);
	} else if (to != from) {
		dropped = model_unmap(to, size);
		dropped += model_unmap(from + kept, old - kept);
		for (uint32_t i = 0; i < kept; i++) {
			moved[i] = mapper[from + i];
			touched[i] = toucher[from + i];
			mapper[from + i] = toucher[from + i] = NOBODY;
		}
		for (uint32_t i = 0; i < size; i++) {
			mapper[to + i] = i < kept ? moved[i] : line;
			toucher[to + i] = i < kept ? touched[i] : NOBODY;
			model[line].mapped += i < kept ? 0 : PAGE;
		}
		for (uint32_t i = from; stays && i < from + old; i++) {
			mapper[i] = line;
			model[line].mapped += PAGE;
		}
	} else {
		return;
	}
	take_drop(line, WIRE_ANON, dropped);
	e = event(WIRE_MREMAP, line);
	e.old_address = at(from);
	e.old_size = old * PAGE - 1;
	e.address = at(to);
	e.size = size * PAGE - 1;
	e.map_flags = MREMAP_MAYMOVE | (stays ? 4 /* MREMAP_DONTUNMAP */ : 0);
	ledger__take(ledger, &e);
}

static void compare_with_model(void)
{
	struct ledger_totals all = totals();
	int64_t vms = 0, rss = 0;

	for (int line = 0; line < N_LINES; line++) {
		struct stack_bytes got = bytes_of(line);

		assert_int_equal(got.mapped, model[line].mapped);
		assert_int_equal(got.unmapped, model[line].unmapped);
		assert_int_equal(got.faulted, model[line].faulted);
		assert_int_equal(got.released, model[line].released);
		vms += got.mapped - got.unmapped;
		rss += got.faulted - got.released;
	}
	assert_int_equal(all.vms, vms);
	assert_int_equal(all.rss, rss);
	assert_int_equal(all.elsewhere, 0);
	assert_int_equal(all.unplaced, 0);
	assert_int_equal(all.inexact, 0);
}

static void is_like_the_model(void **state)
{
	static void (*const dos[])(int line) = {do_mmap,  do_munmap, do_madvise, do_fault,
						do_fault, do_brk,    do_mremap};

	(void)state;
	start_with(0);
	memset(mapper, 0xff, sizeof(mapper));
	memset(toucher, 0xff, sizeof(toucher));
	memset(model, 0, sizeof(model));
	heap_end = HEAP;
	srand(11);
	for (int step = 0; step < 30000; step++) {
		int line = pick(N_LINES);

		dos[pick(sizeof(dos) / sizeof(*dos))](line);
		if (step % 16 == 0)
			compare_with_model();
	}
	compare_with_model();
}

/* ------------------------------------------------------------------ the start */

static void attributes_the_start_apart(void **state)
{
	(void)state;
	start_with(30 * PAGE);
	ledger__start_range(ledger, at(0), at(50));
	ledger__start_range(ledger, 0xffffffffff600000, 0xffffffffff601000); /* [vsyscall] */
	assert_int_equal(totals().start_vms, 50 * PAGE);
	assert_int_equal(totals().start_rss, 30 * PAGE);
	/* Half of what is unmapped was resident; nobody has said which half. */
	take_drop(1, WIRE_FILE, 5);
	take_munmap(1, 0, 10);
	assert_int_equal(bytes_of_start().mapped, 50 * PAGE);
	assert_int_equal(bytes_of_start().unmapped, 10 * PAGE);
	assert_int_equal(bytes_of_start().released, 5 * PAGE);
	assert_int_equal(bytes_of(1).mapped, 0);
	/* A line touches the start's memory: its doing, until it is unmapped. */
	take_fault(2, 20, 10, 10 * PAGE);
	take_drop(1, WIRE_ANON, 10);
	take_munmap(1, 20, 10);
	assert_int_equal(bytes_of(2).faulted, 10 * PAGE);
	assert_int_equal(bytes_of(2).released, 10 * PAGE);
	assert_int_equal(bytes_of_start().released, 5 * PAGE);
	assert_int_equal(totals().elsewhere, 0);
	assert_int_equal(totals().vms, 30 * PAGE);
	assert_int_equal(totals().rss, 25 * PAGE);
}

/*
 * While the maps are read the process goes on: whichever of its calls are in them, what is mapped
 * is right afterwards and counts once.
 */
static void counts_once_what_happens_while_maps_are_read(void **state)
{
	(void)state;
	for (int in_maps = 0; in_maps < 4; in_maps++) {
		const struct memory_start start = {.attached = now, .read_from = now + 10};

		teardown(NULL);
		setup(NULL);
		now = start.attached;
		ledger__start(ledger, &start, false);
		ledger__start_ends(ledger, now + 100);
		ledger__start_range(ledger, at(0), at(10));
		/* Mapped at 20: in the maps or not; unmapped at 30: in them still, or no more. */
		if (in_maps & 1)
			ledger__start_range(ledger, at(20), at(25));
		if (in_maps & 2)
			ledger__start_range(ledger, at(30), at(35));
		take_mmap(1, 40, 5); /* before: it is in them for sure */
		ledger__start_range(ledger, at(40), at(45));
		take_mmap(1, 20, 5);
		take_munmap(1, 30, 5);
		now = start.attached + 200;
		take_mmap(2, 50, 5);
		take_munmap(2, 0, 5);
		assert_int_equal(totals().start_vms, 20 * PAGE);
		assert_int_equal(totals().vms, 20 * PAGE);
		assert_int_equal(bytes_of(1).mapped, 0);
		assert_int_equal(bytes_of(2).mapped, 5 * PAGE);
		assert_int_equal(bytes_of_start().mapped, 20 * PAGE);
		assert_int_equal(bytes_of_start().unmapped, 5 * PAGE);
	}
}

static void begins_anew_after_exec(void **state)
{
	(void)state;
	start_with(3 * PAGE);
	ledger__start_range(ledger, at(0), at(5));
	take_mmap(1, 10, 4);
	take_fault(1, 10, 4, 4 * PAGE);
	start_with(2 * PAGE);
	ledger__start_range(ledger, at(0), at(7));
	assert_int_equal(bytes_of(1).mapped, 4 * PAGE);
	assert_int_equal(bytes_of(1).unmapped, 4 * PAGE);
	assert_int_equal(bytes_of(1).released, 4 * PAGE);
	assert_int_equal(totals().vms, 7 * PAGE);
	assert_int_equal(totals().rss, 2 * PAGE);
	take_mmap(1, 10, 4);
	assert_int_equal(bytes_of(1).unmapped, 4 * PAGE);
	assert_int_equal(totals().vms, 11 * PAGE);
}

static void reads_maps(void **state)
{
	char path[] = "/tmp/pikos-test-ledger-XXXXXX";
	static const char text[] =
		"00400000-00403000 r-xp 00000000 08:01 42 /usr/bin/a b\n"
		"no mapping at all\n"
		"7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]\n"
		"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n";
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	lseek(fd, 0, SEEK_SET);
	start_with(0);
	assert_int_equal(ledger__start_maps(ledger, fd), 0);
	assert_int_equal(totals().start_vms, 0x3000 + 0x21000);
	close(fd);
	assert_int_equal(ledger__start_maps(ledger, -1), -EBADF);
}

static void tells_a_program_s_startup_apart(void **state)
{
	const struct memory_start start = {.attached = now, .read_from = now};
	struct stacks *stacks = ledger__stacks(ledger);

	(void)state;
	ledger__start(ledger, &start, true);
	for (int i = 0; i < 2; i++) {
		struct memory_event e = event(WIRE_MMAP, 1);

		e.n_frames = 0;
		e.flags = WIRE_STACK_NATIVE;
		e.address = at(10 * i);
		e.size = 5 * PAGE;
		ledger__take(ledger, &e);
		assert_int_equal(stacks__bytes(stacks, STACKS_NATIVE)->mapped, 5 * PAGE * i);
		take_mmap(1, 100 + 10 * i, 5);
	}
	assert_int_equal(stacks__bytes(stacks, STACKS_STARTUP)->mapped, 5 * PAGE);
	assert_int_equal(bytes_of(1).mapped, 10 * PAGE);
}

static void ignores_what_comes_before_the_start(void **state)
{
	(void)state;
	take_mmap(1, 0, 5);
	assert_int_equal(totals().events, 0);
	start_with(0);
	now -= 100;
	take_mmap(1, 0, 5);
	take_fault(1, 0, 5, 5 * PAGE);
	assert_int_equal(bytes_of(1).mapped, 0);
	assert_int_equal(bytes_of(1).faulted, 0);
}

/* ------------------------------------------------------------------ threads */

/*
 * One thread unmaps a range and is late to say so: meanwhile another was given a part of it, and
 * has touched it.
 */
static void keeps_what_others_were_given_meanwhile(void **state)
{
	struct memory_event late;

	(void)state;
	start_with(0);
	take_mmap(1, 0, 10);
	take_fault(1, 0, 10, 10 * PAGE);
	late = event(WIRE_MUNMAP, 1);
	late.address = at(0);
	late.size = 10 * PAGE;
	late.tid = 2;
	take_drop(1, WIRE_ANON, 10);
	take_mmap(3, 4, 3);
	take_fault(3, 4, 3, 3 * PAGE);
	late.time = now + 10;
	ledger__take(ledger, &late);
	assert_int_equal(bytes_of(1).unmapped, 10 * PAGE);
	assert_int_equal(bytes_of(1).released, 10 * PAGE);
	assert_int_equal(bytes_of(3).unmapped, 0);
	assert_int_equal(bytes_of(3).released, 0);
	assert_int_equal(totals().vms, 3 * PAGE);
	/* The same thread's next call is no race. */
	take_munmap(1, 0, 10);
	assert_int_equal(bytes_of(3).unmapped, 3 * PAGE);
	assert_int_equal(totals().vms, 0);
}

/* ------------------------------------------------------------------ faults */

static void places_huge_pages_and_neighbours(void **state)
{
	(void)state;
	start_with(0);
	/* BASE is at a huge page's begin. */
	take_mmap(1, 0, 1024);
	take_fault(1, 700, 1, 512 * PAGE);
	take_drop(1, WIRE_ANON, 512);
	take_munmap(1, 512, 512);
	assert_int_equal(bytes_of(1).released, 512 * PAGE);
	/* Of a file: 16 pages around, as many as are in the cache. */
	take_fault(2, 40, 1, 9 * PAGE);
	assert_int_equal(totals().unplaced, 0);
	take_drop(1, WIRE_FILE, 9);
	take_munmap(1, 32, 16);
	assert_int_equal(bytes_of(2).released, 9 * PAGE);
	assert_int_equal(totals().elsewhere, 0);
}

/* Which neighbours came with a page is not known: one that turns out to be elsewhere stays. */
static void moves_what_was_placed_wrongly(void **state)
{
	(void)state;
	start_with(0);
	take_mmap(1, 0, 64);
	take_fault(1, 40, 1, 9 * PAGE);
	take_fault(2, 35, 1, PAGE);
	assert_int_equal(bytes_of(1).released, 0);
	assert_int_equal(totals().unplaced, PAGE);
	assert_int_equal(totals().elsewhere, 0);
	take_drop(2, WIRE_FILE, 10);
	take_munmap(2, 0, 64);
	assert_int_equal(bytes_of(1).released, 9 * PAGE);
	assert_int_equal(bytes_of(2).released, PAGE);
	assert_int_equal(totals().unplaced, 0);
}

static void shares_out_thin_runs(void **state)
{
	(void)state;
	start_with(0);
	take_mmap(1, 0, 1000);
	take_fault(1, 0, 1000, 100 * PAGE);
	take_fault(2, 0, 1000, 200 * PAGE);
	take_fault(1, 0, 1000, 100 * PAGE);
	assert_int_equal(totals().unplaced, 0);
	/* Half of it, then all. */
	take_drop(1, WIRE_ANON, 200);
	take_munmap(1, 0, 500);
	assert_int_equal(bytes_of(1).released, 100 * PAGE);
	assert_int_equal(bytes_of(2).released, 100 * PAGE);
	assert_int_equal(totals().elsewhere, 0);
	take_drop(1, WIRE_ANON, 200);
	take_munmap(1, 500, 500);
	assert_int_equal(bytes_of(1).released, 200 * PAGE);
	assert_int_equal(bytes_of(2).released, 200 * PAGE);
	assert_int_equal(totals().rss, 0);
}

static void drops_last_what_has_no_address_first(void **state)
{
	struct memory_event e;

	(void)state;
	start_with(0);
	for (int line = 1; line <= 2; line++) {
		take_mmap(line, 100 * line, 50);
		e = event(WIRE_ANON, line);
		e.change = 40 * PAGE;
		ledger__take(ledger, &e);
	}
	assert_int_equal(totals().unplaced, 80 * PAGE);
	take_drop(3, WIRE_ANON, 40);
	take_munmap(3, 200, 50);
	assert_int_equal(bytes_of(2).released, 40 * PAGE);
	assert_int_equal(bytes_of(1).released, 0);
	assert_int_equal(totals().unplaced, 40 * PAGE);
	assert_int_equal(totals().elsewhere, 0);
}

/* The kernel takes pages by itself: whose they were is not known, how many is. */
static void counts_what_is_reclaimed(void **state)
{
	struct memory_event e;

	(void)state;
	start_with(0);
	take_mmap(1, 0, 100);
	take_fault(1, 0, 100, 100 * PAGE);
	e = event(WIRE_ANON, 0);
	e.tid = 77;
	e.flags = WIRE_STACK_NATIVE;
	e.n_frames = 0;
	e.change = -30 * (int64_t)PAGE;
	ledger__take(ledger, &e);
	assert_int_equal(totals().rss, 70 * PAGE);
	assert_int_equal(totals().elsewhere, 30 * PAGE);
	/* Once it is unmapped the books are even. */
	take_drop(1, WIRE_ANON, 70);
	take_munmap(1, 0, 100);
	assert_int_equal(bytes_of(1).released, 100 * PAGE);
	assert_int_equal(totals().elsewhere, 0);
	assert_int_equal(totals().rss, 0);
}

static void take_file(int line, uint32_t page, uint32_t n, uint32_t pages)
{
	struct memory_event e = event(WIRE_FILE, line);

	e.address = at(page);
	e.size = n * PAGE;
	e.change = pages * PAGE;
	ledger__take(ledger, &e);
}

/* What surrounds a page of a file comes with it, and the range is wider than the mapping. */
static void reads_a_file_to_its_end(void **state)
{
	(void)state;
	start_with(1000 * PAGE);
	take_mmap(1, 100, 300);
	take_mmap(2, 50, 50);
	take_file(3, 90, 410, 300);
	take_drop(4, WIRE_FILE, 80);
	take_fault(4, 150, 80, 80 * PAGE);
	assert_int_equal(bytes_of(3).released, 80 * PAGE);
	assert_int_equal(bytes_of_start().released, 0);
	assert_int_equal(totals().unplaced, 0);
	take_drop(5, WIRE_FILE, 220);
	take_drop(5, WIRE_ANON, 80);
	take_munmap(5, 100, 300);
	assert_int_equal(bytes_of(3).released, 300 * PAGE);
	assert_int_equal(bytes_of(4).released, 80 * PAGE);
	assert_int_equal(totals().elsewhere, 0);
}

/* Which pages of a run were copied is not known: as many of the file's are gone. */
static void copies_here_and_there(void **state)
{
	(void)state;
	start_with(0);
	take_mmap(1, 0, 100);
	take_file(3, 0, 64, 64);
	take_drop(4, WIRE_FILE, 10);
	take_fault(4, 20, 30, 10 * PAGE);
	assert_int_equal(bytes_of(3).released, 10 * PAGE);
	assert_int_equal(bytes_of(4).released, 0);
	assert_int_equal(totals().elsewhere, 0);
	/* Of a file's page at an address that is not known. */
	take_file(3, 0, 0, 5);
	take_drop(4, WIRE_FILE, 5);
	take_fault(4, 70, 5, 5 * PAGE);
	assert_int_equal(bytes_of(3).released, 15 * PAGE);
	assert_int_equal(totals().elsewhere, 0);
	assert_int_equal(totals().unplaced, 0);
}

/* Where a file's pages lie is known but roughly: those that are copied were there. */
static void copies_what_is_spread(void **state)
{
	(void)state;
	start_with(1000 * PAGE);
	take_mmap(1, 0, 400);
	take_file(3, 0, 400, 200);
	take_drop(4, WIRE_FILE, 40);
	take_fault(4, 100, 40, 40 * PAGE);
	assert_int_equal(bytes_of(3).released, 20 * PAGE); /* their share */
	assert_int_equal(bytes_of_start().released, 20 * PAGE);
	assert_int_equal(bytes_of(4).faulted, 40 * PAGE);
	assert_int_equal(totals().elsewhere, 0);
}

static void copies_a_file_page_once(void **state)
{
	(void)state;
	start_with(10 * PAGE);
	ledger__start_range(ledger, at(0), at(10));
	take_mmap(1, 20, 10);
	take_fault(1, 20, 4, 4 * PAGE); /* read in by line 1 */
	take_drop(2, WIRE_FILE, 2);	/* written to by line 2 */
	take_fault(2, 20, 2, 2 * PAGE);
	assert_int_equal(bytes_of(1).released, 2 * PAGE);
	assert_int_equal(bytes_of(2).faulted, 2 * PAGE);
	take_drop(2, WIRE_FILE, 3); /* the start's */
	take_fault(2, 3, 3, 3 * PAGE);
	assert_int_equal(bytes_of_start().released, 3 * PAGE);
	assert_int_equal(totals().elsewhere, 0);
	assert_int_equal(totals().rss, 14 * PAGE);
}

/* ------------------------------------------------------------------ bounds */

static void survives_a_million_regions(void **state)
{
	(void)state;
	start_with(0);
	/* With holes between them, by two lines: none can be joined. */
	for (uint32_t i = 0; i < MILLION; i++)
		take_mmap(i & 1, 2 * i, 1);
	assert_int_equal(totals().ranges, MILLION);
	assert_int_equal(totals().vms, MILLION * PAGE);
	take_munmap(3, 0, 2 * MILLION);
	assert_int_equal(totals().vms, 0);
	assert_int_equal(bytes_of(0).unmapped, MILLION / 2 * PAGE);
	assert_int_equal(bytes_of(1).unmapped, MILLION / 2 * PAGE);
	assert_int_equal(totals().inexact, 0);
}

static void says_what_it_has_no_room_for(void **state)
{
	(void)state;
	ledger__free(ledger);
	ledger = ledger__new(100);
	start_with(0);
	for (uint32_t i = 0; i < 150; i++)
		take_mmap(i & 1, 2 * i, 1);
	assert_int_equal(totals().inexact, 50 * PAGE);
	assert_int_equal(totals().ranges, 100);
}

static uint64_t any(void)
{
	static const uint64_t odd[] = {0,
				       1,
				       4095,
				       4096,
				       UINT64_MAX,
				       UINT64_MAX - 4095,
				       INT64_MAX,
				       UINT64_C(1) << 63,
				       UINT64_C(1) << 57,
				       (UINT64_C(1) << 57) - 1,
				       (UINT64_C(1) << 57) - 4096};

	return pick(3) ? BASE + pick(300) * PAGE / 3 : odd[pick(sizeof(odd) / sizeof(*odd))];
}

static void survives_nonsense(void **state)
{
	(void)state;
	start_with(100 * PAGE);
	ledger__start_range(ledger, at(0), at(100));
	ledger__start_range(ledger, at(5), at(3));
	srand(5);
	for (int i = 0; i < 100000; i++) {
		struct memory_event e = event(pick(12), pick(5));

		e.tid = pick(3);
		e.address = any();
		e.size = pick(2) ? any() : pick(100) * PAGE;
		e.old_address = any();
		e.old_size = pick(2) ? any() : pick(100) * PAGE;
		e.change = pick(2) ? (int64_t)any() : pick(100) * (int64_t)PAGE;
		e.first_time = pick(2) ? now - pick(1000) : any();
		e.prot = pick(30);
		e.map_flags = pick(40);
		ledger__take(ledger, &e);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(is_like_the_model),
		TEST(attributes_the_start_apart),
		TEST(counts_once_what_happens_while_maps_are_read),
		TEST(begins_anew_after_exec),
		TEST(reads_maps),
		TEST(tells_a_program_s_startup_apart),
		TEST(ignores_what_comes_before_the_start),
		TEST(keeps_what_others_were_given_meanwhile),
		TEST(places_huge_pages_and_neighbours),
		TEST(moves_what_was_placed_wrongly),
		TEST(shares_out_thin_runs),
		TEST(drops_last_what_has_no_address_first),
		TEST(counts_what_is_reclaimed),
		TEST(copies_a_file_page_once),
		TEST(reads_a_file_to_its_end),
		TEST(copies_here_and_there),
		TEST(copies_what_is_spread),
		TEST(survives_a_million_regions),
		TEST(says_what_it_has_no_room_for),
		TEST(survives_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
