#include "tests/unit/unit.h"

#include "channel/message/wire.h"
#include "channel/protocol/opening.h"
#include "channel/protocol/server.h"
#include "channel/protocol/transaction.h"
#include "lib/clock.h"

/*
 * Where a message ends, for the server machine and for our own client, over every cut of the stream.  A server that sees an
 * end where the one before it saw none takes text for commands (SMTP smuggling, CVE-2023-51764 and its siblings).
 */

static const struct server_options lmtp = {
	.protocol = SERVER_LMTP, .host = "mx.test", .max_recipients = 100, .max_commands = 10000, .max_errors = 10000,
};
static const struct server_options smtp = {
	.protocol = SERVER_SMTP, .host = "mx.test", .max_recipients = 100, .max_commands = 10000, .max_errors = 10000,
};

/* ---- one message as the server sees it ---- */

/* What came of it: its text, and how often it ended. */
struct seen {
	struct buf text;       /* of the first message */
	unsigned ends;         /* messages that were whole */
	unsigned mails;        /* MAIL commands */
	bool nul;              /* a message was refused as it holds NUL */
};

static void answer(struct server *s, enum server_event event, struct seen *seen)
{
	switch (event) {
	case SERVER_MAIL:
		seen->mails++;
		server_answer(s, 250, "2.1.0", "ok");
		break;
	case SERVER_RCPT:
		if (strncmp(s->recipient.address, "no", 2) == 0)
			server_answer(s, 550, "5.1.1", "no such user");
		else if (strncmp(s->recipient.address, "later", 5) == 0)
			server_answer(s, 451, "4.3.0", "cannot tell");
		else
			server_answer(s, 250, "2.1.5", "ok");
		break;
	case SERVER_MESSAGE:
		server_answer(s, 354, "", "go on");
		break;
	case SERVER_TEXT:
		if (seen->ends == 0)
			buf_add(&seen->text, s->text.data, s->text.len);
		break;
	case SERVER_END:
		seen->ends++;
		server_answer(s, 250, "2.0.0", "queued");
		break;
	case SERVER_MORE:
	case SERVER_ABANDON:
	case SERVER_STARTTLS:
	case SERVER_CLOSE:
		break;
	}
}

static void work(struct server *s, struct seen *seen)
{
	enum server_event event;

	while ((event = server_next(s)) != SERVER_MORE && event != SERVER_CLOSE)
		answer(s, event, seen);
}

/* The stream behind DATA, in two pieces. */
static void receive(struct seen *seen, const char *stream, size_t n, size_t cut)
{
	static const char begin[] = "LHLO c\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n";
	struct server s;

	buf_clear(&seen->text);
	seen->ends = seen->mails = 0;
	server_init(&s, &lmtp, false, false);
	server_add(&s, begin, sizeof begin - 1);
	work(&s, seen);
	buf_clear(&s.out);
	server_add(&s, stream, cut);
	work(&s, seen);
	server_add(&s, stream + cut, n - cut);
	work(&s, seen);
	seen->nul = s.out.len > 0 && strstr(s.out.data, "554 5.6.0") != NULL;
	server_free(&s);
}

/*
 * The book, said as simply as can be: behind CR LF a lone dot before CR LF is the end, and another dot there is dropped; CR LF is
 * a line end, everything else stays.  Returns where the stream goes on behind the end.
 */
static size_t expect(const char *stream, size_t n, struct buf *text)
{
	bool line_begins = true;

	buf_clear(text);
	for (size_t i = 0; i < n; i++) {
		if (line_begins && n - i >= 3 && memcmp(stream + i, ".\r\n", 3) == 0)
			return i + 3;
		if (line_begins && stream[i] == '.') {
			line_begins = false;
			continue;
		}
		line_begins = false;
		if (n - i >= 2 && memcmp(stream + i, "\r\n", 2) == 0) {
			line_begins = true;
			i++;
		}
		buf_addc(text, stream[i]);
	}
	return 0;
}

static void fail_with(const char *stream, size_t n, size_t cut, const struct seen *seen, const struct buf *text)
{
	struct buf shown = { 0 };

	for (size_t i = 0; i < n; i++)
		buf_addf(&shown, stream[i] == '\r' ? "CR " : stream[i] == '\n' ? "LF " : stream[i] == '\0' ? "NUL " : "%c ", stream[i]);
	fail_msg("%scut at %zu: %u ends, text \"%s\", expected \"%s\"", shown.data, cut, seen->ends, buf_str(&seen->text), buf_str(text));
}

/* One body and what a smuggler puts behind it, at every cut. */
static void check_body(const char *body, size_t n)
{
	static const char behind[] = "\r\n.\r\n";
	static struct seen seen;
	static struct buf stream, text;
	size_t end;

	buf_clear(&stream);
	buf_add(&stream, body, n);
	buf_add(&stream, behind, sizeof behind - 1);
	end = expect(stream.data, stream.len, &text);
	/* what follows an end inside of the body are commands: nothing of them makes a message */
	for (size_t cut = 0; cut <= stream.len; cut++) {
		bool nul = memchr(stream.data, '\0', end) != NULL;

		receive(&seen, stream.data, stream.len, cut);
		if (nul ? !seen.nul || seen.ends != 0 :
		    seen.ends != 1 || seen.text.len != text.len || (text.len > 0 && memcmp(seen.text.data, text.data, text.len) != 0))
			fail_with(stream.data, stream.len, cut, &seen, &text);
	}
}

static void check_all_bodies(const char *alphabet, size_t letters, size_t longest)
{
	char body[16];

	for (size_t n = 0; n <= longest; n++) {
		size_t count = 1;

		for (size_t i = 0; i < n; i++)
			count *= letters;
		for (size_t code = 0; code < count; code++) {
			for (size_t i = 0, rest = code; i < n; i++, rest /= letters)
				body[i] = alphabet[rest % letters];
			check_body(body, n);
		}
	}
}

static void every_body_ends_where_the_book_says_at_every_cut(void **state)
{
	const char *soak = getenv("ZLMTP_SOAK");
	bool is_long = soak != NULL && *soak != '\0';

	(void)state;
	check_all_bodies("\r\n.a", 4, is_long ? 9 : 7);
	check_all_bodies("\r\n. \0", 5, is_long ? 7 : 5);
}

/* ---- the variants that were published ---- */

static void variant(const char *end, size_t n, bool whole_is_text)
{
	static const char attack[] = "MAIL FROM:<evil@x>\r\nRCPT TO:<b@y>\r\nDATA\r\nSubject: evil\r\n\r\nevil";
	struct buf stream = { 0 };
	struct seen seen = { 0 };

	buf_adds(&stream, "Subject: x\r\n\r\nbefore");
	buf_add(&stream, end, n);
	buf_add(&stream, attack, sizeof attack - 1);
	buf_adds(&stream, "\r\n.\r\n");
	for (size_t cut = 0; cut <= stream.len; cut++) {
		receive(&seen, stream.data, stream.len, cut);
		if (seen.mails != 1 || (whole_is_text ? seen.ends != 1 || strstr(buf_str(&seen.text), "evil\n") == NULL : !seen.nul))
			fail_with(stream.data, stream.len, cut, &seen, &seen.text);
	}
	buf_free(&stream);
	buf_free(&seen.text);
}

#define VARIANT(end) variant(end, sizeof(end) - 1, true)

static void published_ends_of_messages_are_none(void **state)
{
	(void)state;
	/* SEC Consult 2023: CVE-2023-51764 Postfix, 51765 sendmail, 51766 Exim; Cisco, GMX, Exchange, aiosmtpd, James */
	VARIANT("\n.\n");
	VARIANT("\n.\r\n");
	VARIANT("\r\n.\n");
	VARIANT("\r.\r");
	VARIANT("\n.\r");
	VARIANT("\r\n.\r");
	VARIANT("\r.\r\n");
	VARIANT("\r.\n");
	VARIANT("\n\n.\r\n");
	VARIANT("\r\n\n.\r\n");
	VARIANT("\r\r\n.\n");
	VARIANT("\n\r.\r\n");
	VARIANT("\r\n\r.\r\n");
	VARIANT("\r\n.\r\r\n");
	VARIANT("\r\n. \r\n");
	VARIANT("\r\n .\r\n");
	VARIANT("\r\n\t.\r\n");
	VARIANT("\r\n..\r\n");
	VARIANT("\r\n.\x0b\r\n");
	VARIANT("\x85.\x85");
	VARIANT("\xc2\x85.\xc2\x85");
	/* NUL is swallowed by some servers before they look */
	variant("\r\n\0.\r\n", 6, false);
	variant("\r\n.\0\r\n", 6, false);
	variant("\0\r\n.\n", 5, false);
}

/* ---- our client and the server, over every cut ---- */

#define CLIENT_RECIPIENTS 4

struct talk {
	const struct server_options *options;
	bool chunking, pipelining;
	size_t cut;                /* of what the client says: here the server answers first */
	bool lost;                 /* ... and here the connection ends instead */
	struct server server;
	struct seen seen;
	struct dialogue dialogue;
	struct transaction t[2];
	struct transaction_recipient to[2][CLIENT_RECIPIENTS];
	enum outcome outcome[2][CLIENT_RECIPIENTS];
	size_t done, sent;
	bool closed;
};

static const char *const addresses[CLIENT_RECIPIENTS] = { "a@y", "no@y", "later@y", "b@y" };
/* As it lies in the spool. */
static const char message[] = "Subject: x\n\n.\n..\n.x\r.\rlast\n\n.";

static void take_actions(struct talk *k)
{
	struct action a;

	while (dialogue_action(&k->dialogue, &a)) {
		switch (a.kind) {
		case ACTION_SETTLED: k->outcome[a.transaction - k->t][a.recipient] = a.result.outcome; break;
		case ACTION_CONTENT: {
			struct wire wire = { 0 };
			struct buf content = { 0 };
			bool line_start = true;

			wire_add(&wire, &content, message, sizeof message - 1);
			wire_end(&wire, &content);
			if (a.transaction->bdat)
				buf_add(&k->dialogue.out, content.data, content.len);
			else
				wire_stuff(&line_start, &k->dialogue.out, content.data, content.len);
			if (!a.transaction->bdat)
				buf_adds(&k->dialogue.out, ".\r\n");
			buf_free(&content);
			dialogue_content_done(&k->dialogue);
			break;
		}
		case ACTION_DONE: k->done++; break;
		case ACTION_CLOSE: k->closed = true; break;
		}
	}
}

/* The client reads all replies there are. */
static void hear(struct talk *k)
{
	struct reply_parser parser = { 0 };
	size_t at = 0, used;

	while (at < k->server.out.len && reply_parse(&parser, k->server.out.data + at, k->server.out.len - at, &used) == REPLY_READY) {
		at += used;
		dialogue_reply(&k->dialogue, &parser.reply);
		take_actions(k);
	}
	assert_int_equal(at, k->server.out.len);
	buf_clear(&k->server.out);
	reply_parser_free(&parser);
}

/* The client's bytes go to the server, as far as the cut at first.  False if the connection was lost there. */
static bool speak(struct talk *k)
{
	struct buf *out = &k->dialogue.out;
	size_t n = out->len;

	if (k->sent < k->cut && k->sent + n > k->cut)
		n = k->cut - k->sent;
	server_add(&k->server, out->data, n);
	k->sent += n;
	dialogue_wrote(&k->dialogue, n);
	work(&k->server, &k->seen);
	if (!k->lost || k->sent != k->cut)
		return true;
	dialogue_lost(&k->dialogue, "lost");
	take_actions(k);
	return false;
}

static size_t wire_size(void)
{
	struct wire wire = { 0 };
	struct buf content = { 0 };
	size_t size;

	wire_add(&wire, &content, message, sizeof message - 1);
	wire_end(&wire, &content);
	size = content.len;
	buf_free(&content);
	return size;
}

static void begin(struct talk *k, size_t i)
{
	k->t[i] = (struct transaction){ .envelope = { .sender = "s@x", .size = wire_size() }, .recipients = k->to[i], .count = CLIENT_RECIPIENTS };
	for (size_t j = 0; j < CLIENT_RECIPIENTS; j++)
		k->to[i][j] = (struct transaction_recipient){ .to = { .address = addresses[j] } };
	dialogue_begin(&k->dialogue, &k->t[i]);
	take_actions(k);
}

static void talk(struct talk *k)
{
	static const struct dialogue_options base = { .command_timeout = 1000, .data_timeout = 1000, .final_timeout = 1000,
	                                              .write_timeout = 1000, .whole_timeout = 100000 };
	struct dialogue_options options = base;
	struct caps caps = { .has = (k->pipelining ? CAP_PIPELINING : 0) | (k->chunking ? CAP_CHUNKING : 0) | CAP_ENHANCED };
	struct trust trust = { 0 };
	size_t begun = 0;
	const char *hello = k->options->protocol == SERVER_LMTP ? "LHLO c\r\n" : "EHLO c\r\n";

	options.smtp = k->options->protocol == SERVER_SMTP;
	server_init(&k->server, k->options, false, false);
	server_add(&k->server, hello, strlen(hello));
	work(&k->server, &k->seen);
	buf_clear(&k->server.out);
	dialogue_init(&k->dialogue, &options, &caps, &trust);
	k->dialogue.now = 1;
	while (!k->closed) {
		if (begun < 2 && dialogue_wants(&k->dialogue))
			begin(k, begun++);
		if (k->dialogue.out.len == 0)
			break;
		if (!speak(k))
			break;
		hear(k);
	}
	dialogue_free(&k->dialogue);
	server_free(&k->server);
}

static void is_understood(const struct talk *k)
{
	static const enum outcome right[CLIENT_RECIPIENTS] = { OUTCOME_DELIVERED, OUTCOME_FAILED, OUTCOME_DEFERRED, OUTCOME_DELIVERED };
	static const char text[] = "Subject: x\n\n.\n..\n.x\n.\nlast\n\n.\n";

	assert_false(k->closed);
	assert_int_equal(k->done, 2);
	assert_int_equal(k->seen.ends, 2);
	assert_string_equal(buf_str(&k->seen.text), text);
	for (size_t i = 0; i < 2; i++)
		for (size_t j = 0; j < CLIENT_RECIPIENTS; j++)
			if (k->outcome[i][j] != right[j])
				fail_msg("cut %zu: message %zu, %s: outcome %d", k->cut, i, addresses[j], (int)k->outcome[i][j]);
}

/* Whatever the client believes to be delivered the server has. */
static void nothing_is_invented(const struct talk *k)
{
	for (size_t i = 0; i < 2; i++)
		for (size_t j = 0; j < CLIENT_RECIPIENTS; j++) {
			if (k->outcome[i][j] == OUTCOME_DELIVERED && k->seen.ends <= i)
				fail_msg("lost at %zu: message %zu, %s: delivered, and the server has no whole message", k->cut, i, addresses[j]);
			if (k->outcome[i][j] == OUTCOME_FAILED && j != 1)
				fail_msg("lost at %zu: message %zu, %s: failed, and the server refused nothing", k->cut, i, addresses[j]);
		}
}

static void our_client_and_the_server_understand_each_other(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 16; kind++) {
		struct talk whole = { .options = kind & 1 ? &smtp : &lmtp, .pipelining = kind & 2, .chunking = kind & 4, .lost = kind & 8 };
		struct talk base = whole;

		whole.lost = false;
		talk(&whole);
		is_understood(&whole);
		assert_true(whole.sent > 200);
		for (size_t cut = 1; cut < whole.sent; cut++) {
			struct talk k = base;

			k.cut = cut;
			talk(&k);
			if (k.lost)
				nothing_is_invented(&k);
			else
				is_understood(&k);
			buf_free(&k.seen.text);
		}
		buf_free(&whole.seen.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_body_ends_where_the_book_says_at_every_cut),
		cmocka_unit_test(published_ends_of_messages_are_none),
		cmocka_unit_test(our_client_and_the_server_understand_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
