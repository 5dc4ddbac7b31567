// SPDX-License-Identifier: BSD-3-Clause
#include <msgpack.h>

#include "recorder/encoder.h"

/* libmsgpack-c's sink; a failure stays in e->err. */
static int sink(void *e, const char *data, size_t len)
{
	encoder__append(e, data, len);
	return ((struct encoder *)e)->err;
}

static msgpack_packer packer(struct encoder *e)
{
	msgpack_packer pk;

	msgpack_packer_init(&pk, e, sink);
	return pk;
}

static void mp_map(struct encoder *e, uint32_t pairs)
{
	msgpack_packer pk = packer(e);

	msgpack_pack_map(&pk, pairs);
}

static void mp_array(struct encoder *e, uint32_t elements)
{
	msgpack_packer pk = packer(e);

	msgpack_pack_array(&pk, elements);
}

static void mp_end(struct encoder *e)
{
	(void)e; /* the count came first */
}

static void mp_text(struct encoder *e, const struct pikos_text *text)
{
	msgpack_packer pk = packer(e);

	msgpack_pack_str(&pk, text->len);
	if (text->len)
		msgpack_pack_str_body(&pk, text->data, text->len);
}

static void mp_key(struct encoder *e, const char *key)
{
	encoder__string(e, key);
}

static void mp_integer(struct encoder *e, int64_t n)
{
	msgpack_packer pk = packer(e);

	msgpack_pack_int64(&pk, n);
}

static void mp_natural(struct encoder *e, uint64_t n)
{
	msgpack_packer pk = packer(e);

	msgpack_pack_uint64(&pk, n);
}

static void mp_nil(struct encoder *e)
{
	msgpack_packer pk = packer(e);

	msgpack_pack_nil(&pk);
}

static void mp_boolean(struct encoder *e, bool value)
{
	msgpack_packer pk = packer(e);

	if (value)
		msgpack_pack_true(&pk);
	else
		msgpack_pack_false(&pk);
}

static void mp_elements(struct encoder *e, const struct encoder *from)
{
	encoder__append(e, from->data, from->len);
}

const struct encoder_format msgpack_format = {
	.map = mp_map,
	.end_map = mp_end,
	.array = mp_array,
	.end_array = mp_end,
	.key = mp_key,
	.integer = mp_integer,
	.natural = mp_natural,
	.text = mp_text,
	.nil = mp_nil,
	.boolean = mp_boolean,
	.elements = mp_elements,
};
