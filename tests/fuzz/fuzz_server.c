/*
 * Any bytes of a client to the server machine, in pieces of any size: replies are whole
 * lines with a code, no message begins without a recipient, and little is kept.  The first two bytes choose protocol and pieces.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "channel/protocol/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* True while the client may go on. */
static bool work(struct server *s, struct buf *seen)
{
	enum server_event event;

	while ((event = server_next(s)) != SERVER_MORE) {
		/* a text comes in pieces, replies at other moments: both in one place */
		if (event != SERVER_TEXT)
			buf_addf(seen, "{%d}", event);
		switch (event) {
		case SERVER_MAIL: server_answer(s, strstr(s->envelope.sender, "no") != NULL ? 450 : 250, "2.1.0", "sender"); break;
		case SERVER_RCPT: server_answer(s, strstr(s->recipient.address, "no") != NULL ? 550 : 250, "2.1.5", "recipient"); break;
		case SERVER_MESSAGE:
			if (s->envelope.count == 0)
				abort();
			server_answer(s, 354, "", "go on");
			break;
		case SERVER_TEXT:
			if (memchr(s->text.data, 0, s->text.len) != NULL)
				abort();
			buf_add(seen, s->text.data, s->text.len);
			break;
		case SERVER_END: server_answer(s, 250, "2.0.0", "queued"); break;
		case SERVER_STARTTLS: server_answer(s, 220, "2.0.0", "go"); server_encrypted(s); break;
		case SERVER_ABANDON: break;
		case SERVER_CLOSE: return false;
		case SERVER_MORE: break;
		}
	}
	return true;
}

/* Every reply is lines of a code, printable text and CR LF. */
static void check_replies(const struct buf *out)
{
	for (size_t at = 0; at < out->len;) {
		const char *line = out->data + at, *end = memchr(line, '\n', out->len - at);

		if (end == NULL || end - line < 4 || end[-1] != '\r' || line[0] < '2' || line[0] > '5')
			abort();
		for (const char *c = line; c < end - 1; c++)
			if ((unsigned char)*c < ' ')
				abort();
		at = (size_t)(end - out->data) + 1;
	}
}

static void talk(const struct server_options *options, const uint8_t *data, size_t size, size_t piece, struct buf *seen)
{
	struct server s;
	bool open = true;

	server_init(&s, options, true, false);
	for (size_t at = 0; at < size && open; at += piece) {
		server_add(&s, (const char *)data + at, size - at < piece ? size - at : piece);
		open = work(&s, seen);
	}
	check_replies(&s.out);
	if (s.in.len > SERVER_LINE_MAX + 65536 && piece < 65536)
		abort();
	server_free(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct server_options options = {
		.host = "host", .max_size = 1000, .max_recipients = 5, .max_commands = 50, .max_errors = 10,
	};
	struct buf one = { 0 };

	if (size < 2)
		return 0;
	options.protocol = data[0] & 1 ? SERVER_SMTP : SERVER_LMTP;
	talk(&options, data + 2, size - 2, (size_t)data[1] + 1, &one);
	buf_free(&one);
	return 0;
}
