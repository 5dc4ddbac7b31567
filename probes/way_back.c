// SPDX-License-Identifier: BSD-3-Clause
#include "probes/way_back.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>

/* Of the kernel's asm/sigcontext.h, which cannot be had beside libc's. */
#define XSTATE_WORDS	464 /* where these stand in the vector registers' memory: */
#define XSTATE_MAGIC1	0x46505853u
#define XSTATE_MAGIC2	0x46505845u /* behind all of it */
#define XSTATE_SMALLEST 576	    /* the old registers, and which others there are */
#define XSTATE_TILES	(UINT64_C(3) << 17)

struct xstate_words {
	uint32_t magic, extended_size;
	uint64_t features;
	uint32_t size;
	uint32_t unused[7];
};

/* The kernel's own errors, seen by tracers only: the system call is to be restarted. */
enum { ERESTARTSYS = 512, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK = 516 };

#define FRAME_SIZE 320	      /* a return address and what the kernel knows of ucontext_t */
#define ALT_STACK  0x40000000 /* no valid flag of sigaltstack: leave it as it is */

/* From one frame to the other, so that both stand right for a function's entry. */
_Static_assert(FRAME_SIZE % 16 == 0 && FRAME_SIZE >= 8 + offsetof(ucontext_t, uc_sigmask) + 8,
	       "frames");

static ucontext_t *context_at(char *frame)
{
	return (ucontext_t *)(frame + 8);
}

/* Not AMX's tiles: no function keeps them for its caller, and few threads may have them. */
static uint64_t features_of(const struct way_back *way)
{
	uint64_t features;

	memcpy(&features, way->xstate + XSTATE_WORDS, sizeof(features));
	return features & ~XSTATE_TILES;
}

static size_t xstate_size(const struct way_back *way)
{
	uint64_t features = features_of(way);
	size_t size = XSTATE_SMALLEST;
	unsigned int a, b, c, d;

	for (unsigned int i = 2; i < 63; i++) {
		if (!(features >> i & 1))
			continue;
		__cpuid_count(0xd, i, a, b, c, d); /* a: size, b: offset */
		if (a + b > size)
			size = a + b;
	}
	return size < way->n_xstate ? size : way->n_xstate;
}

static void put_xstate(const struct way_back *way, char *to)
{
	const uint32_t magic = XSTATE_MAGIC2;
	size_t size = xstate_size(way);
	const struct xstate_words words = {
		.magic = XSTATE_MAGIC1,
		.extended_size = size + sizeof(magic),
		.features = features_of(way),
		.size = size,
	};

	memcpy(to, way->xstate, size);
	memcpy(to + XSTATE_WORDS, &words, sizeof(words));
	memcpy(to + size, &magic, sizeof(magic));
}

/* As the kernel would, if nobody but it had stopped the thread. */
static void restart(struct user_regs_struct *registers)
{
	long number = registers->orig_rax, result = registers->rax;

	if (number < 0 || result >= 0)
		return;
	if (result == -ERESTARTSYS || result == -ERESTARTNOINTR || result == -ERESTARTNOHAND ||
	    (result == -ERESTART_RESTARTBLOCK && number == SYS_futex)) {
		registers->rip -= 2; /* `syscall` */
		registers->rax = number;
	} else if (result == -ERESTART_RESTARTBLOCK) {
		registers->rax = -EINTR;
	}
}

static void put_frame(char *frame, const struct way_back *way,
		      const struct user_regs_struct *registers, uint64_t xstate)
{
	ucontext_t *context = context_at(frame);
	greg_t *to = context->uc_mcontext.gregs;

	memset(frame, 0, FRAME_SIZE);
	memcpy(frame, &way->restorer, sizeof(way->restorer));
	to[REG_R8] = registers->r8;
	to[REG_R9] = registers->r9;
	to[REG_R10] = registers->r10;
	to[REG_R11] = registers->r11;
	to[REG_R12] = registers->r12;
	to[REG_R13] = registers->r13;
	to[REG_R14] = registers->r14;
	to[REG_R15] = registers->r15;
	to[REG_RDI] = registers->rdi;
	to[REG_RSI] = registers->rsi;
	to[REG_RBP] = registers->rbp;
	to[REG_RBX] = registers->rbx;
	to[REG_RDX] = registers->rdx;
	to[REG_RAX] = registers->rax;
	to[REG_RCX] = registers->rcx;
	to[REG_RSP] = registers->rsp;
	to[REG_RIP] = registers->rip;
	to[REG_EFL] = registers->eflags;
	to[REG_CSGSFS] = (registers->cs & 0xffff) | (registers->ss & 0xffff) << 48;
	memcpy(&context->uc_mcontext.fpregs, &xstate, sizeof(xstate));
	context->uc_stack.ss_flags = ALT_STACK;
}

size_t way_back__size(const struct way_back *way)
{
	return 2 * FRAME_SIZE + sizeof(way->scheduling) + 64 + xstate_size(way) + 4;
}

/* The scheduling stands above both frames: the function may use what is below its own. */
size_t way_back__build(const struct way_back *way, uint64_t address, char *bytes)
{
	char *last = bytes + (way->has_scheduling ? FRAME_SIZE : 0);
	uint64_t at_last = address + (last - bytes), scheduling = at_last + FRAME_SIZE, xstate;
	struct scheduling attributes = way->scheduling;
	struct user_regs_struct registers = way->registers;

	xstate = (scheduling + sizeof(way->scheduling) + 63) & ~UINT64_C(63);
	memset(bytes, 0, xstate - address); /* nothing of ours between the parts */
	restart(&registers);
	put_frame(last, way, &registers, xstate);
	memcpy(&context_at(last)->uc_sigmask, &way->mask, sizeof(way->mask));
	/* To take that flag away may need rights that the thread does not have. */
	attributes.flags |= SCHEDULING_RESET_ON_FORK;
	memcpy(bytes + (scheduling - address), &attributes, sizeof(attributes));
	put_xstate(way, bytes + (xstate - address));
	if (way->has_scheduling) {
		const uint64_t all = ~UINT64_C(0);

		registers.rdi = SYS_sched_setattr;
		registers.rsi = 0;
		registers.rdx = scheduling;
		registers.rcx = 0;
		registers.rip = way->syscall;
		registers.rsp = at_last;
		put_frame(bytes, way, &registers, 0);
		memcpy(&context_at(bytes)->uc_sigmask, &all, sizeof(all));
	}
	return xstate + xstate_size(way) + 4 - address;
}

#else

typedef int way_back_is_empty;

#endif
