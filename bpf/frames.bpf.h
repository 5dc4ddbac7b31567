/* SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only) */
/*
 * The Python frames of the current thread, innermost first, as traceback would show them.
 *
 *	walk_frames(target, max)    before a record is reserved: codes that are new are sent
 *				    here, so that they lie in front of the record in its buffer
 *	walked_stack()		    what it found
 *	top_frame(target, state, &top)  cheap: whether a thread still is where it was
 *
 * An id stands for a code object. Objects come and go and their memory is used again, so an
 * address is trusted only while the code there is still the one that was sent. From 3.12 on each
 * code object has a co_version, a number that the interpreter gives once (until 2^32 were given: 0,
 * then as before). Before, the code is compared by what was sent: name, file, table of lines, by a
 * seeded hash of their pointers, lengths and first WIRE_LONG_TEXT bytes, and the first line. What
 * remains is a code in the place of another that differs from it only in bytes beyond.
 *
 * The target can write whatever it wants where its frames are. Then the walk ends, flagged, after
 * WIRE_MAX_FRAMES steps at most. A cycle is found by comparing each frame with the one at the last
 * power of two; one that is too long to be found that way is WIRE_STACK_CUT like any deep stack.
 *
 * The instruction is the one that the interpreter has written down. In a call into C it is the
 * call's. From 3.13 on instructions that cannot call anything do not write it: a page that such a
 * one touches is credited to the last one that did, of the same frame.
 *
 * Memory that is not resident cannot be read here. A frame whose code cannot be told has code 0 and
 * the walk goes on; a table of lines that cannot be read is tried again each time.
 */
#ifndef PIKOS_FRAMES_BPF_H
#define PIKOS_FRAMES_BPF_H

#include "bpf/codes.bpf.h"
#include "bpf/thread_state.bpf.h"

/* PyASCIIObject, PyBytesObject: the same since 3.3 on 64-bit machines, but for the sizes. */
#define TEXT_LENGTH	 16
#define TEXT_STATE	 32
#define TEXT_HASH	 24
#define TEXT_NOT_HASHED	 (~0ULL)
#define TEXT_KIND(state) ((state) >> 2 & 7)
#define TEXT_COMPACT	 0x20
#define TEXT_ASCII	 0x40
#define BYTES_SIZE	 16
#define BYTES_DATA	 32
#define OBJECT_TYPE	 8
#define OBJECT_SIZE	 16 /* of PyObject */
#define CODE_UNIT	 2  /* bytes */

/* ------------------------------------------------------------------ text and tables */

/* @return the current thread's last walk; NULL: there is none */
static __always_inline struct thread_stack *walked_stack(void)
{
	__u32 tid = bpf_get_current_pid_tgid();

	return bpf_map_lookup_elem(&thread_stacks, &tid);
}

static __always_inline void find_text(const struct wire_layout *layout, __u64 object,
				      struct frame_text *text)
{
	__u32 state = 0;

	text->data = text->bytes = text->kind = 0;
	if (!object ||
	    bpf_probe_read_user(&state, sizeof(state), (const void *)(object + TEXT_STATE)) ||
	    !(state & TEXT_COMPACT) || !read_word_at(object + TEXT_LENGTH, &text->bytes))
		return;
	if (text->bytes > 1 << 30)
		return;
	text->kind = TEXT_KIND(state);
	text->bytes *= text->kind;
	text->data = object + (state & TEXT_ASCII ? layout->ascii_size : layout->compact_size);
}

#define HASH_PIECE sizeof(((struct thread_stack *)0)->piece)

/* The hash of the first WIRE_LONG_TEXT of `bytes` bytes; 0: unreadable */
__weak __u64 hash_bytes(__u64 data, __u64 bytes)
{
	struct thread_stack *stack = walked_stack();
	__u64 hash = hash_seed, left = bytes;

	if (!stack)
		return 0;
	for (int i = 0; i < WIRE_LONG_TEXT / HASH_PIECE; i++) {
		__u32 piece = left < HASH_PIECE ? left : HASH_PIECE;

		if (!piece)
			break;
		if (piece < HASH_PIECE)
			__builtin_memset(stack->piece, 0, HASH_PIECE);
		if (bpf_probe_read_user(stack->piece, piece, (const void *)data))
			return 0;
		for (int j = 0; j < HASH_PIECE / 8; j++)
			hash = wire_hash_word(hash, stack->piece[j]);
		data += HASH_PIECE;
		left -= piece;
	}
	return wire_hash_end(hash, bytes);
}

/* The hash of `bytes` bytes that stand `from` bytes, a multiple of 8, behind the piece's begin. */
static __always_inline __u64 hash_piece(const struct thread_stack *stack, __u64 from, __u64 bytes)
{
	__u64 hash = hash_seed;

	for (__u64 j = 0; j < HASH_PIECE / 8; j++) {
		__s64 rest = from + bytes - j * 8;

		if (j * 8 < from)
			continue;
		if (rest <= 0)
			break;
		hash = wire_hash_word(hash, rest < 8 ? stack->piece[j] & ((1ULL << rest * 8) - 1)
						     : stack->piece[j]);
	}
	return wire_hash_end(hash, bytes);
}

/* The begin of an object behind its type, with one read: more than most strings and tables have. */
static __always_inline bool read_piece(struct thread_stack *stack, __u64 object)
{
	return !bpf_probe_read_user(stack->piece, HASH_PIECE, (const void *)(object + OBJECT_SIZE));
}

/* Of a str: its own hash stands for its bytes where it has been computed, as of all names. */
__weak __u64 hash_text(__u32 target, __u64 object)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &target);
	struct thread_stack *stack = walked_stack();
	struct frame_text text;

	if (!layout || !stack)
		return 0;
	if (read_piece(stack, object)) {
		__u64 begin = layout->ascii_size - OBJECT_SIZE;
		__u32 state = stack->piece[(TEXT_STATE - OBJECT_SIZE) / 8];

		if (stack->piece[(TEXT_HASH - OBJECT_SIZE) / 8] != TEXT_NOT_HASHED)
			return wire_hash_word(stack->piece[0],
					      stack->piece[(TEXT_HASH - OBJECT_SIZE) / 8]);
		if (state & TEXT_COMPACT && state & TEXT_ASCII && begin <= HASH_PIECE &&
		    stack->piece[0] <= HASH_PIECE - begin)
			return hash_piece(stack, begin, stack->piece[0]);
	}
	find_text(layout, object, &text);
	return text.kind ? hash_bytes(text.data, text.bytes) : 0;
}

__weak __u64 hash_table(__u64 object)
{
	struct thread_stack *stack = walked_stack();

	if (stack && read_piece(stack, object) &&
	    stack->piece[0] <= HASH_PIECE - (BYTES_DATA - OBJECT_SIZE))
		return hash_piece(stack, BYTES_DATA - OBJECT_SIZE, stack->piece[0]);
	return hash_bytes(object + BYTES_DATA, read_word(object + BYTES_SIZE));
}

/* What a code object says of itself, as far as the walk needs it. */
struct code_view {
	__u64 name, file, qualname, table; /* addresses */
	__u32 first_line, version;
};

/* @return what tells the code from others that have been at its address */
static __always_inline __u64 code_identity(__u32 target, const struct code_view *code)
{
	__u64 hash = hash_seed;

	hash = wire_hash_word(hash, code->name);
	hash = wire_hash_word(hash, code->file);
	hash = wire_hash_word(hash, code->qualname);
	hash = wire_hash_word(hash, code->table);
	hash = wire_hash_word(hash, (__u64)code->version << 32 | code->first_line);
	if (code->version)
		return hash;
	hash = wire_hash_word(hash, hash_text(target, code->name));
	hash = wire_hash_word(hash, hash_text(target, code->file));
	if (code->qualname && code->qualname != code->name)
		hash = wire_hash_word(hash, hash_text(target, code->qualname));
	return wire_hash_word(hash, hash_table(code->table));
}

/* ------------------------------------------------------------------ what is sent of a code */

/* @return false: it cannot be read; that of no text is empty */
static __always_inline bool copy_text(void *to, __u32 room, const struct frame_text *text,
				      struct wire_text *out)
{
	__u32 bytes = text->bytes < room ? text->bytes : room;

	out->bytes = out->kind = out->unused = 0;
	out->cut = text->bytes > room;
	barrier_var(bytes);
	if (bytes > room || bpf_probe_read_user(to, bytes, (const void *)text->data))
		return false;
	out->bytes = bytes;
	out->kind = text->kind;
	return true;
}

/* @return 0; -1: name or file cannot be read, nothing is sent */
static __always_inline int submit_code(struct wire_frame_code *record, bool readable,
				       const struct wire_layout *layout,
				       const struct code_texts *texts, __u32 id, __u32 target,
				       enum wire_size size)
{
	if (!readable) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		return -1;
	}
	record->code = id;
	record->first_line = texts->first_line;
	record->table_format = layout->table_format;
	record->table_bytes = texts->table_bytes;
	fill_head(&record->head, WIRE_FRAME_CODE, size, target);
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
}

/* clang-format off */
#define COPY_TEXTS(record, texts)                                                              \
	(copy_text((record)->qualname, sizeof((record)->qualname), &(texts)->qualname,         \
		   &(record)->code.qualname),                                                  \
	 copy_text((record)->name, sizeof((record)->name), &(texts)->name,                     \
		   &(record)->code.name) &&                                                    \
	 copy_text((record)->file, sizeof((record)->file), &(texts)->file,                     \
		   &(record)->code.file))
/* clang-format on */

static __noinline int send_code_long(const struct wire_layout *layout,
				     const struct code_texts *texts, __u32 id, __u32 target)
{
	struct wire_frame_code_long *record;
	void *ring = this_ring();
	bool readable;

	if (!ring || !texts || !layout)
		return -1;
	record = bpf_ringbuf_reserve(ring, sizeof(*record), 0);
	if (!record)
		return -1;
	readable = COPY_TEXTS(record, texts);
	return submit_code(&record->code, readable, layout, texts, id, target, WIRE_LONG);
}

static __noinline int send_code_short(const struct wire_layout *layout,
				      const struct code_texts *texts, __u32 id, __u32 target)
{
	struct wire_frame_code_short *record;
	void *ring = this_ring();
	bool readable;

	if (!ring || !texts || !layout)
		return -1;
	record = bpf_ringbuf_reserve(ring, sizeof(*record), 0);
	if (!record)
		return -1;
	readable = COPY_TEXTS(record, texts);
	return submit_code(&record->code, readable, layout, texts, id, target, WIRE_SHORT);
}

/* @return 0; -1: no room, or its name or file cannot be read */
__weak int send_frame_code(__u32 target, __u64 code, __u32 id)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &target);
	struct thread_stack *stack = walked_stack();
	struct code_texts *texts;

	if (!layout || !stack)
		return -1;
	texts = &stack->texts;
	find_text(layout, read_word(code + layout->code_name), &texts->name);
	find_text(layout, read_word(code + layout->code_file), &texts->file);
	texts->qualname.bytes = texts->qualname.kind = 0;
	if (layout->flags & WIRE_LAYOUT_QUALNAME)
		find_text(layout, read_word(code + layout->code_qualname), &texts->qualname);
	if (!texts->name.kind || !texts->file.kind)
		return -1;
	texts->first_line = read_u32(code + layout->code_first_line);
	texts->table_bytes = read_word(read_word(code + layout->code_table) + BYTES_SIZE);
	if (texts->name.bytes > WIRE_SHORT_NAME || texts->qualname.bytes > WIRE_SHORT_QUALNAME ||
	    texts->file.bytes > WIRE_SHORT_FILE)
		return send_code_long(layout, texts, id, target);
	return send_code_short(layout, texts, id, target);
}

struct line_table_short {
	struct wire_line_table piece;
	__u8 table[WIRE_SHORT_TABLE];
};

struct line_table_long {
	struct wire_line_table piece;
	__u8 table[WIRE_LONG_TABLE];
};

static __always_inline int fill_piece(struct wire_line_table *piece, __u32 room, __u64 data,
				      __u32 total, __u32 offset)
{
	__u32 bytes = total - offset;

	if (bytes > room)
		bytes = room;
	piece->total = total;
	piece->offset = offset;
	piece->bytes = bytes;
	barrier_var(bytes);
	if (bytes > room)
		return -1;
	return bpf_probe_read_user(piece + 1, bytes, (const void *)(data + offset));
}

static __always_inline int submit_piece(struct wire_line_table *piece, int err, __u32 target,
					__u32 id, enum wire_size size)
{
	if (err) {
		bpf_ringbuf_discard(piece, BPF_RB_NO_WAKEUP);
		return -1;
	}
	piece->code = id;
	fill_head(&piece->head, WIRE_LINE_TABLE, size, target);
	bpf_ringbuf_submit(piece, BPF_RB_NO_WAKEUP);
	return 0;
}

__weak int send_short_table(__u32 target, __u32 id, __u64 data, __u32 total)
{
	struct line_table_short *record;
	void *ring = this_ring();

	if (!ring)
		return -1;
	record = bpf_ringbuf_reserve(ring, sizeof(*record), 0);
	if (!record)
		return -1;
	return submit_piece(&record->piece,
			    fill_piece(&record->piece, WIRE_SHORT_TABLE, data, total, 0), target,
			    id, WIRE_SHORT);
}

__weak int send_table_piece(__u32 target, __u32 id, __u64 data, __u32 total, __u32 offset)
{
	struct line_table_long *record;
	void *ring = this_ring();

	if (!ring)
		return -1;
	record = bpf_ringbuf_reserve(ring, sizeof(*record), 0);
	if (!record)
		return -1;
	return submit_piece(&record->piece,
			    fill_piece(&record->piece, WIRE_LONG_TABLE, data, total, offset),
			    target, id, WIRE_LONG);
}

/* @return 0: sent, or never to be; -1: not now */
__weak int send_table(__u32 target, __u64 code, __u32 id)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &target);
	__u64 table, total;

	if (!layout || !read_word_at(code + layout->code_table, &table) ||
	    !read_word_at(table + BYTES_SIZE, &total))
		return -1;
	if (total > WIRE_MAX_LINE_TABLE)
		return 0;
	if (total <= WIRE_SHORT_TABLE)
		return send_short_table(target, id, table + BYTES_DATA, total);
	for (__u32 i = 0; i < WIRE_MAX_LINE_TABLE / WIRE_LONG_TABLE; i++) {
		if (i * WIRE_LONG_TABLE >= total)
			break;
		if (send_table_piece(target, id, table + BYTES_DATA, total, i * WIRE_LONG_TABLE))
			return -1;
	}
	return 0;
}

/* A code that is not known by its address, or whose table has not been sent. @return its id, or 0
 */
__weak __u32 introduce_code(__u32 target, __u64 code, __u64 identity)
{
	struct wire_target *process = bpf_map_lookup_elem(&targets, &target);
	struct frame_code_key key = {.address = code};
	struct frame_code_info *known, fresh = {.identity = identity};

	if (!process)
		return 0;
	key.tgid = process->tgid;
	key.execs = process->execs;
	known = bpf_map_lookup_elem(&frame_codes, &key);
	if (known && known->identity == identity && known->generation == control.generation) {
		known->table_sent = !send_table(target, code, known->id);
		return known->id;
	}
	fresh.generation = control.generation;
	fresh.id = claim_id();
	if (!fresh.id || send_frame_code(target, code, fresh.id))
		return 0;
	fresh.table_sent = !send_table(target, code, fresh.id);
	bpf_map_update_elem(&frame_codes, &key, &fresh, BPF_ANY);
	return fresh.id;
}

/* @return the id of a code object that has been sent; 0: it cannot be read, or there is no room */
static __always_inline __u32 code_id(__u32 target, __u64 code, __u64 identity)
{
	struct wire_target *process = bpf_map_lookup_elem(&targets, &target);
	struct frame_code_key key = {.address = code};
	struct frame_code_info *known;

	if (!process)
		return 0;
	key.tgid = process->tgid;
	key.execs = process->execs;
	known = bpf_map_lookup_elem(&frame_codes, &key);
	if (known && known->identity == identity && known->table_sent &&
	    known->generation == control.generation)
		return known->id;
	return introduce_code(target, code, identity);
}

/* ------------------------------------------------------------------ the walk */

/* Fields of what was read of a frame or a code object; offsets that are none read another field. */
static __always_inline __u64 word_of(const __u8 *bytes, __u32 offset, __u32 size)
{
	return *(const __u64 *)(bytes + (offset & (size - 8)));
}

static __always_inline __u32 u32_of(const __u8 *bytes, __u32 offset, __u32 size)
{
	return *(const __u32 *)(bytes + (offset & (size - 4)));
}

#define FRAME_WORD(stack, offset) word_of((stack)->frame, offset, WIRE_LAYOUT_FRAME_BYTES)
#define CODE_WORD(stack, offset)  word_of((stack)->code, offset, WIRE_LAYOUT_CODE_BYTES)
#define CODE_U32(stack, offset)	  u32_of((stack)->code, offset, WIRE_LAYOUT_CODE_BYTES)

enum frame_kind { FRAME_BAD, FRAME_SKIPPED, FRAME_COMPLETE };

/* @param code set to the address of the frame's code object, which is in stack->code then */
static __always_inline bool read_code(struct thread_stack *stack, const struct wire_layout *layout,
				      __u64 *code)
{
	__u32 bytes = layout->code_bytes;

	*code = FRAME_WORD(stack, layout->frame_code) & ~STACKREF_TAG_BITS;
	if (bytes > sizeof(stack->code) ||
	    bpf_probe_read_user(stack->code, bytes, (const void *)*code))
		return false;
	return !layout->code_type || CODE_WORD(stack, OBJECT_TYPE) == layout->code_type;
}

/*
 * traceback shows frames of Python code that have begun. Others stand for C code that called the
 * interpreter, or are being made.
 */
static __always_inline enum frame_kind read_frame(struct thread_stack *stack,
						  const struct wire_layout *layout, __u64 *code)
{
	__u32 bytes = layout->frame_bytes;
	__u64 first;
	__u8 owner;

	if (bytes > sizeof(stack->frame) ||
	    bpf_probe_read_user(stack->frame, bytes, (const void *)stack->next))
		return FRAME_BAD;
	if (!(layout->flags & WIRE_LAYOUT_OWNER))
		return read_code(stack, layout, code) ? FRAME_COMPLETE : FRAME_BAD;
	owner = stack->frame[layout->frame_owner & (WIRE_LAYOUT_FRAME_BYTES - 1)];
	if (owner >= FRAME_OWNED_BY_NO_PYTHON)
		return FRAME_SKIPPED;
	if (!read_code(stack, layout, code))
		return FRAME_BAD;
	first = *code + layout->code_instructions +
		(__u64)CODE_U32(stack, layout->code_first_traceable) * CODE_UNIT;
	if (owner != FRAME_OWNED_BY_GENERATOR &&
	    FRAME_WORD(stack, layout->frame_instruction) < first)
		return FRAME_SKIPPED;
	return FRAME_COMPLETE;
}

/* @return bytes from the code's first instruction; a negative one is WIRE_FRAME_NOT_STARTED */
static __always_inline __u32 instruction_offset(const struct thread_stack *stack,
						const struct wire_layout *layout, __u64 code)
{
	__s64 offset = FRAME_WORD(stack, layout->frame_instruction);

	if (!(layout->flags & WIRE_LAYOUT_LASTI))
		offset -= code + layout->code_instructions;
	else if (layout->flags & WIRE_LAYOUT_CODE_UNIT)
		offset = (__s64)(__s32)offset * CODE_UNIT;
	else
		offset = (__s32)offset;
	return offset < 0 || offset >= WIRE_FRAME_NOT_STARTED ? WIRE_FRAME_NOT_STARTED : offset;
}

static __always_inline __u32 identify_frame_code(const struct thread_stack *stack,
						 const struct wire_layout *layout, __u32 target,
						 __u64 address)
{
	struct code_view code = {
		.name = CODE_WORD(stack, layout->code_name),
		.file = CODE_WORD(stack, layout->code_file),
		.table = CODE_WORD(stack, layout->code_table),
		.first_line = CODE_U32(stack, layout->code_first_line),
	};

	if (layout->flags & WIRE_LAYOUT_QUALNAME)
		code.qualname = CODE_WORD(stack, layout->code_qualname);
	if (layout->flags & WIRE_LAYOUT_VERSION)
		code.version = CODE_U32(stack, layout->code_version);
	return code_id(target, address, code_identity(target, &code));
}

enum walk { WALK_ON, WALK_ENDED };

static __always_inline enum walk end_walk(struct thread_stack *stack, __u32 flag)
{
	stack->flags |= flag;
	return WALK_ENDED;
}

static __always_inline void add_frame(struct thread_stack *stack, const struct wire_layout *layout,
				      __u32 target, __u64 code)
{
	__u32 n = stack->n_frames;
	struct wire_frame *frame = &stack->frames[n & (WIRE_MAX_FRAMES - 1)];

	frame->offset = instruction_offset(stack, layout, code);
	frame->code = identify_frame_code(stack, layout, target, code);
	if (!(n & (n - 1)))
		stack->landmark = stack->next;
	stack->n_frames = n + 1;
}

/* One step: the frame stack->next. A function of its own, or 5.10 would look at each step anew. */
__weak int walk_frame(__u32 target)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &target);
	struct thread_stack *stack = walked_stack();
	enum frame_kind kind;
	__u64 code = 0;

	if (!layout || !stack)
		return WALK_ENDED;
	if (!stack->next)
		return end_walk(stack, stack->n_frames ? 0 : WIRE_STACK_NATIVE);
	if (stack->next == stack->landmark)
		return end_walk(stack, WIRE_STACK_LOOP);
	kind = read_frame(stack, layout, &code);
	if (kind == FRAME_BAD)
		return end_walk(stack, WIRE_STACK_UNREADABLE);
	if (kind == FRAME_COMPLETE) {
		if (stack->n_frames >= stack->max)
			return end_walk(stack, WIRE_STACK_CUT);
		add_frame(stack, layout, target, code);
	}
	stack->next = FRAME_WORD(stack, layout->frame_previous);
	return WALK_ON;
}

static __always_inline struct thread_stack *new_stack(void)
{
	struct thread_stack *stack = walked_stack();
	__u32 tid = bpf_get_current_pid_tgid();

	if (!stack) {
		bpf_map_update_elem(&thread_stacks, &tid, (const void *)no_stack, BPF_ANY);
		stack = bpf_map_lookup_elem(&thread_stacks, &tid);
	}
	return stack;
}

#define MAX_STEPS (2 * WIRE_MAX_FRAMES + 2) /* frames that are skipped are never side by side */

/*
 * Walks the current thread's frames; walked_stack() has them then.
 * @param target index of the current process
 * @param max how many frames to follow, up to WIRE_MAX_FRAMES; WIRE_STACK_CUT if there are more
 * @return 0; -1: no memory for them
 */
__weak int walk_frames(__u32 target, __u32 max)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &target);
	struct thread_stack *stack = new_stack();

	if (!stack)
		return -1;
	stack->n_frames = stack->flags = 0;
	stack->landmark = 0;
	stack->max = max < WIRE_MAX_FRAMES ? max : WIRE_MAX_FRAMES;
	if (!layout || !layout->runtime) {
		stack->flags = WIRE_STACK_UNKNOWN;
		return 0;
	}
	stack->next = thread_frame(layout, target);
	for (int i = 0; i < MAX_STEPS; i++)
		if (walk_frame(target) == WALK_ENDED)
			return 0;
	stack->flags |= WIRE_STACK_CUT;
	return 0;
}

/* ------------------------------------------------------------------ is it still there */

struct top_frame {
	__u64 frame;	   /* address; 0: it is not known, walk_frames tells */
	__u64 code;	   /* address, where the instruction is not an address itself; else 0 */
	__u64 instruction; /* address, or f_lasti */
};

/*
 * Where the thread is, complete frame or not: if nothing has changed since the thread's last walk
 * it is at the same instruction of the same frame. (Its callers may be others.) A frame 0 says
 * nothing, not even that it is the same as another 0. As few reads as can be, since each costs as
 * much as all the rest: the state that the walk found is taken as it is. A
 * thread that has left it has no frame there, or none that can be where it was.
 * @param state in thread_states, with its only interpreter; 0: there is none
 */
static __always_inline void top_frame(__u32 target, __u64 state, struct top_frame *top)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &target);

	top->frame = top->code = top->instruction = 0;
	if (!layout || !state)
		return;
	top->frame = state_frame(layout, state);
	if (!top->frame)
		return;
	top->instruction = read_word(top->frame + layout->frame_instruction);
	if (layout->flags & WIRE_LAYOUT_LASTI)
		top->code = read_word(top->frame + layout->frame_code);
}

#endif /* PIKOS_FRAMES_BPF_H */
