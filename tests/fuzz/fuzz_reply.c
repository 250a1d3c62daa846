/*
 * Any bytes as replies of a server: the same replies in whatever pieces they come, within their
 * limits, and as one clean line of words.  The first two bytes are the size of the pieces.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "channel/protocol/caps.h"
#include "channel/protocol/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct reply_parser *p, enum reply_result result)
{
	const struct reply *r = &p->reply;
	struct buf words = { 0 };
	struct caps caps;

	if (result == REPLY_READY && (r->code < 200 || r->code > 599))
		abort();
	if (result == REPLY_READY && (r->lines.len == 0 || r->lines.data[r->lines.len - 1] != '\n'))
		abort();
	if (r->lines.len > REPLY_TEXT_MAX + 5 || strlen(r->status) > 9)
		abort();
	if (result == REPLY_READY && r->status[0] != '\0' && r->status[0] != '0' + r->code / 100)
		abort();
	reply_words(r, &words, 100);
	for (size_t i = 0; i < words.len; i++)
		if ((unsigned char)words.data[i] < ' ' || words.data[i] == 127)
			abort();
	if (words.len > 100)
		abort();
	caps_parse(&caps, r, "SIZE");
	if (caps.has & CAP_SIZE)
		abort();
	buf_free(&words);
}

/* All results one behind the other; returns what was left over when the last reply had ended. */
static size_t read_all(const char *bytes, size_t n, size_t piece, struct buf *results)
{
	struct reply_parser p = { 0 };
	size_t at = 0, ended = 0;

	while (at < n) {
		size_t length = piece == 0 || n - at < piece ? n - at : piece, used = 0;
		enum reply_result result = reply_parse(&p, bytes + at, length, &used);

		if (used == 0 || used > length || (result == REPLY_MORE && used != length))
			abort();
		at += used;
		if (result == REPLY_MORE)
			continue;
		check(&p, result);
		ended = at;
		buf_addf(results, "%d %d %s %zu ", result, p.reply.code, p.reply.status, at);
		buf_add(results, buf_str(&p.reply.lines), p.reply.lines.len);
	}
	reply_parser_free(&p);
	return n - ended;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = { 0 }, pieces = { 0 };
	size_t piece;

	if (size < 2)
		return 0;
	piece = 1 + (size_t)data[0] * 256 + data[1];
	if (read_all((const char *)data + 2, size - 2, 0, &whole) != read_all((const char *)data + 2, size - 2, piece, &pieces))
		abort();
	if (whole.len != pieces.len || (whole.len > 0 && memcmp(whole.data, pieces.data, whole.len) != 0))
		abort();
	buf_free(&whole);
	buf_free(&pieces);
	return 0;
}
