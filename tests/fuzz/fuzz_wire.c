/*
 * Any bytes as a message, by DATA and by BDAT: four kinds of servers see one message, the same, and nothing behind
 * it.  The first byte is the size of the pieces in which it is read.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "tests/unit/wire_peers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_equal(const struct buf *a, const struct buf *b)
{
	if (a->len != b->len || (a->len > 0 && memcmp(a->data, b->data, a->len) != 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *body = (const char *)data + 1;
	struct buf meant = { 0 }, out = { 0 }, seen = { 0 };

	if (size == 0)
		return 0;
	wire_meant(body, size - 1, &meant);
	wire_send(body, size - 1, data[0], true, &out);
	for (enum wire_peer peer = PEER_STRICT; peer < PEERS; peer++) {
		buf_clear(&seen);
		if (wire_receive(peer, out.data, out.len, &seen) != out.len)
			abort();
		must_be_equal(&seen, &meant);
	}
	buf_clear(&out);
	buf_clear(&seen);
	wire_send(body, size - 1, data[0], false, &out);
	for (size_t i = 0; i < out.len; i++) {
		if (out.data[i] == '\0' || (out.data[i] == '\n') != (i > 0 && out.data[i - 1] == '\r'))
			abort();
		if (out.data[i] != '\r')
			buf_addc(&seen, out.data[i]);
	}
	must_be_equal(&seen, &meant);
	buf_free(&meant);
	buf_free(&out);
	buf_free(&seen);
	return 0;
}
