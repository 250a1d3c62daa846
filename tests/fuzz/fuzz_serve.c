/*
 * Clients of dbserve, by socketmap, policy and tcp: whatever they send, each request takes bytes, has one reply, and what
 * comes in pieces means the same as what comes at once.  The first byte is the protocol, the second the size of a piece.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "db/serve/netstring.h"
#include "db/serve/talk.h"

/* Answers all whole requests; false at what is none. */
static bool work(struct talk *t)
{
	for (;;) {
		const size_t left = t->in.len, said = t->out.len;
		struct buf value = { 0 };

		switch (talk_next(t)) {
		case TALK_WAITS:
			if (t->in.len != left || t->out.len != said)
				abort();
			return true;
		case TALK_BAD:
			return false;
		case TALK_REPLIED:
			break;
		case TALK_ASKS:
			buf_add(&value, buf_str(&t->key), t->key.len);
			talk_reply(t, (enum map_answer)(t->key.len % 3), t->map.len % 2 == 1, &value);
			break;
		}
		buf_free(&value);
		if (t->in.len >= left || t->out.len <= said)
			abort();
	}
}

static bool talk(struct talk *t, const char *bytes, size_t n, size_t piece)
{
	bool ok = true;

	for (size_t at = 0; at < n && ok; at += piece) {
		buf_add(&t->in, bytes + at, n - at < piece ? n - at : piece);
		ok = work(t);
	}
	return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct talk whole = { 0 }, pieces = { 0 };
	const char *bytes = (const char *)data + 2;
	bool ok;

	if (size < 3)
		return 0;
	whole.protocol = pieces.protocol = (enum talk_protocol)(data[0] % 3);
	whole.tcp_map = pieces.tcp_map = "recipient";
	ok = talk(&whole, bytes, size - 2, size);
	if (talk(&pieces, bytes, size - 2, data[1] + 1u) != ok)
		abort();
	if (whole.out.len != pieces.out.len || (whole.out.len > 0 && memcmp(whole.out.data, pieces.out.data, whole.out.len) != 0))
		abort();
	talk_free(&whole);
	talk_free(&pieces);
	return 0;
}
