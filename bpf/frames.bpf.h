/* SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only) */
/*
 * The Python frames of the current thread, innermost first, as traceback would show them.
 *
 *	walk_frames(target, max)    before a record is reserved: codes that are new are sent
 *				    here, so that they lie in front of the record in its buffer
 *	walked_stack()		    what it found
 *	top_frame(target, &top)	    cheap: whether a thread still is where it was
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
#define TEXT_KIND(state) ((state) >> 2 & 7)
#define TEXT_COMPACT	 0x20
#define TEXT_ASCII	 0x40
#define BYTES_SIZE	 16
#define BYTES_DATA	 32

/* ------------------------------------------------------------------ text and tables */

struct text {
	__u64 data;
	__u64 bytes;
	__u32 kind; /* 0: none, or it could not be read */
};

static __always_inline void find_text(const struct wire_layout *layout, __u64 object,
				      struct text *text)
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

#define HASH_PIECE 64

/* The hash of the first WIRE_LONG_TEXT of `bytes` bytes; 0: unreadable */
__weak __u64 hash_bytes(__u64 data, __u64 bytes)
{
	__u64 words[HASH_PIECE / 8];
	__u64 hash = hash_seed, left = bytes;

	for (int i = 0; i < WIRE_LONG_TEXT / HASH_PIECE; i++) {
		__u32 piece = left < HASH_PIECE ? left : HASH_PIECE;

		if (!piece)
			break;
		__builtin_memset(words, 0, sizeof(words));
		if (bpf_probe_read_user(words, piece, (const void *)data))
			return 0;
		for (int j = 0; j < HASH_PIECE / 8; j++)
			hash = wire_hash_word(hash, words[j]);
		data += HASH_PIECE;
		left -= piece;
	}
	return wire_hash_end(hash, bytes);
}

__weak __u64 hash_text(__u32 target, __u64 object)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &target);
	struct text text;

	if (!layout)
		return 0;
	find_text(layout, object, &text);
	return text.kind ? hash_bytes(text.data, text.bytes) : 0;
}

/* @return what tells the code from others that have been at its address; 0: unreadable */
__weak __u64 code_identity(__u32 target, __u64 code)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &target);
	__u64 hash = hash_seed, name, file, table;
	__u32 version = 0;

	if (!layout || !read_word_at(code + layout->code_name, &name) ||
	    !read_word_at(code + layout->code_file, &file) ||
	    !read_word_at(code + layout->code_table, &table))
		return 0;
	if (layout->flags & WIRE_LAYOUT_VERSION)
		version = read_u32(code + layout->code_version);
	hash = wire_hash_word(hash, name);
	hash = wire_hash_word(hash, file);
	hash = wire_hash_word(hash, table);
	hash = wire_hash_word(hash,
			      (__u64)version << 32 | read_u32(code + layout->code_first_line));
	if (!version) {
		hash = wire_hash_word(hash, hash_text(target, name));
		hash = wire_hash_word(hash, hash_text(target, file));
		hash = wire_hash_word(
			hash, hash_bytes(table + BYTES_DATA, read_word(table + BYTES_SIZE)));
		if (layout->flags & WIRE_LAYOUT_QUALNAME)
			hash = wire_hash_word(
				hash, hash_text(target, read_word(code + layout->code_qualname)));
	}
	return hash ? hash : 1;
}

/* ------------------------------------------------------------------ what is sent of a code */

static __always_inline void copy_text(void *to, __u32 room, const struct text *text,
				      struct wire_text *out)
{
	__u32 bytes = text->bytes < room ? text->bytes : room;

	out->bytes = 0;
	out->kind = text->kind;
	out->cut = text->bytes > room;
	out->unused = 0;
	barrier_var(bytes);
	if (bytes > room || bpf_probe_read_user(to, bytes, (const void *)text->data))
		out->kind = 0;
	else
		out->bytes = bytes;
}

struct code_texts {
	struct text name, qualname, file;
	__s32 first_line;
	__u32 table_bytes;
};

static __always_inline void fill_code(struct wire_frame_code *record,
				      const struct wire_layout *layout,
				      const struct code_texts *texts, __u32 id, __u32 target,
				      enum wire_size size)
{
	record->code = id;
	record->first_line = texts->first_line;
	record->table_format = layout->table_format;
	record->table_bytes = texts->table_bytes;
	fill_head(&record->head, WIRE_FRAME_CODE, size, target);
}

static __noinline int send_code_long(const struct wire_layout *layout,
				     const struct code_texts *texts, __u32 id, __u32 target)
{
	struct wire_frame_code_long *record;
	void *ring = this_ring();

	if (!ring || !texts || !layout)
		return -1;
	record = bpf_ringbuf_reserve(ring, sizeof(*record), 0);
	if (!record)
		return -1;
	copy_text(record->name, sizeof(record->name), &texts->name, &record->code.name);
	copy_text(record->qualname, sizeof(record->qualname), &texts->qualname,
		  &record->code.qualname);
	copy_text(record->file, sizeof(record->file), &texts->file, &record->code.file);
	fill_code(&record->code, layout, texts, id, target, WIRE_LONG);
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
}

static __noinline int send_code_short(const struct wire_layout *layout,
				      const struct code_texts *texts, __u32 id, __u32 target)
{
	struct wire_frame_code_short *record;
	void *ring = this_ring();

	if (!ring || !texts || !layout)
		return -1;
	record = bpf_ringbuf_reserve(ring, sizeof(*record), 0);
	if (!record)
		return -1;
	copy_text(record->name, sizeof(record->name), &texts->name, &record->code.name);
	copy_text(record->qualname, sizeof(record->qualname), &texts->qualname,
		  &record->code.qualname);
	copy_text(record->file, sizeof(record->file), &texts->file, &record->code.file);
	fill_code(&record->code, layout, texts, id, target, WIRE_SHORT);
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
}

/* @return 0; -1: no room, or neither name nor file can be read */
__weak int send_frame_code(__u32 target, __u64 code, __u32 id)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &target);
	struct code_texts texts = {};

	if (!layout)
		return -1;
	find_text(layout, read_word(code + layout->code_name), &texts.name);
	find_text(layout, read_word(code + layout->code_file), &texts.file);
	if (layout->flags & WIRE_LAYOUT_QUALNAME)
		find_text(layout, read_word(code + layout->code_qualname), &texts.qualname);
	if (!texts.name.kind || !texts.file.kind)
		return -1;
	texts.first_line = read_u32(code + layout->code_first_line);
	texts.table_bytes = read_word(read_word(code + layout->code_table) + BYTES_SIZE);
	if (texts.name.bytes > WIRE_SHORT_NAME || texts.qualname.bytes > WIRE_SHORT_QUALNAME ||
	    texts.file.bytes > WIRE_SHORT_FILE)
		return send_code_long(layout, &texts, id, target);
	return send_code_short(layout, &texts, id, target);
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

/* @return the id of a code object that has been sent; 0: it cannot be read, or there is no room */
__weak __u32 frame_code_id(__u32 target, __u64 code)
{
	struct wire_target *process = bpf_map_lookup_elem(&targets, &target);
	struct frame_code_key key = {.address = code};
	struct frame_code_info *known, fresh = {};

	if (!process)
		return 0;
	key.tgid = process->tgid;
	key.execs = process->execs;
	fresh.identity = code_identity(target, code);
	if (!fresh.identity)
		return 0;
	known = bpf_map_lookup_elem(&frame_codes, &key);
	if (known && known->identity == fresh.identity && known->generation == control.generation) {
		if (!known->table_sent)
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

/* ------------------------------------------------------------------ the walk */

/* @return bytes from the code's first instruction; a negative one is WIRE_FRAME_NOT_STARTED */
static __always_inline __u32 instruction_offset(const struct wire_layout *layout,
						const struct raw_frame *raw)
{
	__s64 offset;

	if (layout->flags & WIRE_LAYOUT_LASTI) {
		offset = (__s32)raw->instruction;
		if (layout->flags & WIRE_LAYOUT_CODE_UNIT)
			offset *= CODE_UNIT;
	} else {
		offset = raw->instruction - (raw->code + layout->code_instructions);
	}
	return offset < 0 || offset >= WIRE_FRAME_NOT_STARTED ? WIRE_FRAME_NOT_STARTED : offset;
}

/* @return a struct wire_frame: the code's id, and the offset << 32 */
__weak __u64 describe_frame(__u32 target, __u64 frame)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &target);
	struct raw_frame raw;

	if (!layout || !read_frame(layout, frame, &raw))
		return 0;
	return (__u64)instruction_offset(layout, &raw) << 32 | frame_code_id(target, raw.code);
}

static __always_inline bool has_layout(__u32 target)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &target);

	return layout && layout->runtime;
}

/* @return the frame to start with; NO_FRAME, BAD_FRAME */
__weak __u64 first_frame(__u32 target)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &target);
	__u64 frame;

	if (!layout)
		return BAD_FRAME;
	frame = thread_frame(layout, target);
	return frame ? complete_frame(target, frame) : NO_FRAME;
}

/* @return the one below a complete frame; NO_FRAME, BAD_FRAME */
__weak __u64 next_frame(__u32 target, __u64 frame)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &target);

	if (!layout || !read_word_at(frame + layout->frame_previous, &frame))
		return BAD_FRAME;
	return complete_frame(target, frame);
}

/* @return the current thread's last walk; NULL: there is none */
static __always_inline struct thread_stack *walked_stack(void)
{
	__u32 tid = bpf_get_current_pid_tgid();

	return bpf_map_lookup_elem(&thread_stacks, &tid);
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

/*
 * Walks the current thread's frames; walked_stack() has them then.
 * @param target index of the current process
 * @param max how many frames to follow; WIRE_STACK_CUT if there are more
 * @return 0; -1: no memory for them
 */
__weak int walk_frames(__u32 target, __u32 max)
{
	struct thread_stack *stack = new_stack();
	__u64 frame, landmark = 0;

	if (!stack)
		return -1;
	stack->n_frames = 0;
	stack->flags = has_layout(target) ? 0 : WIRE_STACK_UNKNOWN;
	if (stack->flags)
		return 0;
	frame = first_frame(target);
	if (!frame)
		stack->flags = WIRE_STACK_NATIVE;
	for (__u32 i = 0; i < WIRE_MAX_FRAMES; i++) {
		__u64 described;

		if (frame <= BAD_FRAME || i >= max)
			break;
		if (frame == landmark) {
			stack->flags |= WIRE_STACK_LOOP;
			return 0;
		}
		if (!(i & (i - 1)))
			landmark = frame;
		described = describe_frame(target, frame);
		stack->frames[i].code = described;
		stack->frames[i].offset = described >> 32;
		stack->n_frames = i + 1;
		frame = next_frame(target, frame);
	}
	if (frame == BAD_FRAME)
		stack->flags |= WIRE_STACK_UNREADABLE;
	else if (frame)
		stack->flags |= WIRE_STACK_CUT;
	return 0;
}

/* ------------------------------------------------------------------ is it still there */

struct top_frame {
	__u64 frame, code, instruction; /* addresses; 0: the thread runs no Python */
};

/*
 * Where the thread is, complete frame or not: when all three are what they were before, it is at
 * the same line of the same call. 5 reads of the target, 6 on 3.11 and 3.12.
 */
static __always_inline void top_frame(__u32 target, struct top_frame *top)
{
	struct wire_layout *layout = bpf_map_lookup_elem(&frame_layouts, &target);
	struct raw_frame raw = {};

	__builtin_memset(top, 0, sizeof(*top));
	if (!layout || !layout->runtime)
		return;
	top->frame = thread_frame(layout, target);
	if (!top->frame || !read_frame(layout, top->frame, &raw))
		return;
	top->code = raw.code;
	top->instruction = raw.instruction;
}

#endif /* PIKOS_FRAMES_BPF_H */
