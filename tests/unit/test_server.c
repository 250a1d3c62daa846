#include "tests/unit/unit.h"

#include "channel/protocol/server.h"
#include "lib/buf.h"

/*
 * A client's words, turn by turn ('|' ends a turn: all replies are read before the next one), and what must come of
 * them: replies line by line, and in between
 *   {MAIL sender} {RCPT address} {BEGIN} {TEXT ...} {END} {ABANDON} {TLS} {CLOSE}
 * Senders that begin with "no", recipients "no…" and "later…", and messages of sender "full…" are refused.
 */
struct talk {
	const char *client, *expect;
};

static struct server_options options;

static void answer(struct server *s, enum server_event event, struct buf *seen)
{
	const struct server_envelope *e = &s->envelope;

	switch (event) {
	case SERVER_MAIL:
		buf_addf(seen, "{MAIL %s%s%s}", e->sender, e->smtputf8 ? " utf8" : "", e->eightbit ? " 8bit" : "");
		if (strncmp(e->sender, "no", 2) == 0)
			server_answer(s, 450, "4.3.1", "no room");
		else
			server_answer(s, 250, "2.1.0", "ok");
		break;
	case SERVER_RCPT:
		buf_addf(seen, "{RCPT %s%s%s%s%s}", s->recipient.address, s->recipient.notify ? " " : "",
		         s->recipient.notify ? s->recipient.notify : "", s->recipient.orcpt ? " " : "",
		         s->recipient.orcpt ? s->recipient.orcpt : "");
		if (strncmp(s->recipient.address, "no", 2) == 0)
			server_answer(s, 550, "5.1.1", "no such user");
		else if (strncmp(s->recipient.address, "later", 5) == 0)
			server_answer(s, 451, "4.3.0", "cannot tell now");
		else
			server_answer(s, 250, "2.1.5", "ok");
		break;
	case SERVER_MESSAGE:
		buf_adds(seen, "{BEGIN}");
		if (strncmp(e->sender, "full", 4) == 0)
			server_answer(s, 452, "4.3.1", "disk full");
		else
			server_answer(s, 354, "", "go on");
		break;
	case SERVER_TEXT:
		/* the pieces of a text join */
		if (seen->len > 0 && seen->data[seen->len - 1] == ']')
			seen->data[--seen->len] = '\0';
		else
			buf_adds(seen, "[");
		buf_add(seen, s->text.data, s->text.len);
		buf_adds(seen, "]");
		break;
	case SERVER_END:
		buf_adds(seen, "{END}");
		server_answer(s, 250, "2.0.0", "queued");
		break;
	case SERVER_ABANDON:
		buf_adds(seen, "{ABANDON}");
		break;
	case SERVER_STARTTLS:
		server_answer(s, 220, "2.0.0", "go");
		buf_adds(seen, buf_str(&s->out));
		buf_clear(&s->out);
		buf_adds(seen, "{TLS}");
		server_encrypted(s);
		break;
	case SERVER_CLOSE:
	case SERVER_MORE:
		break;
	}
}

static bool work(struct server *s, struct buf *seen)
{
	enum server_event event;

	while ((event = server_next(s)) != SERVER_MORE && event != SERVER_CLOSE) {
		buf_adds(seen, buf_str(&s->out));
		buf_clear(&s->out);
		answer(s, event, seen);
	}
	buf_adds(seen, buf_str(&s->out));
	buf_clear(&s->out);
	if (event == SERVER_CLOSE)
		buf_adds(seen, "{CLOSE}");
	return event != SERVER_CLOSE;
}

static void talks(const struct talk *t, size_t step)
{
	struct server s;
	struct buf seen = { 0 };
	bool open = true;

	server_init(&s, &options, true, false);
	buf_clear(&s.out);
	for (const char *at = t->client; *at != '\0' && open;) {
		size_t turn = strcspn(at, "|");

		for (size_t n = 0; n < turn && open; n += step) {
			server_add(&s, at + n, step < turn - n ? step : turn - n);
			open = work(&s, &seen);
		}
		at += turn + (at[turn] == '|');
	}
	for (char *cr; seen.len > 0 && (cr = strstr(seen.data, "\r\n")) != NULL;)
		memmove(cr, cr + 1, strlen(cr));
	if (strcmp(buf_str(&seen), t->expect) != 0)
		fail_msg("client (step %zu): %s\nexpected: %s\nseen: %s", step, t->client, t->expect, buf_str(&seen));
	server_free(&s);
	buf_free(&seen);
}

static void run(const struct talk *rows, size_t count, enum server_protocol protocol)
{
	static const size_t steps[] = { 1, 2, 3, 7, 100000 };

	options = (struct server_options){
		.protocol = protocol, .host = "mx.test", .max_size = 1000, .max_recipients = 3, .max_commands = 30, .max_errors = 5,
	};
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < sizeof steps / sizeof steps[0]; j++)
			talks(&rows[i], steps[j]);
}

#define HELLO "250-mx.test\n250-PIPELINING\n250-SIZE 1000\n250-STARTTLS\n250-8BITMIME\n250-SMTPUTF8\n250-CHUNKING\n" \
	"250-DSN\n250-LIMITS RCPTMAX=3\n250 ENHANCEDSTATUSCODES\n"
#define START "LHLO c\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\n"
#define STARTED HELLO "{MAIL a@x}250 2.1.0 ok\n{RCPT b@y}250 2.1.5 ok\n"

static void lmtp_answers_for_each_recipient(void **state)
{
	static const struct talk rows[] = {
		{ START "RCPT TO:<no@y>\r\nRCPT TO:<c@y>\r\nDATA\r\n|S: x\r\n\r\n..b\r\n.\r\nQUIT\r\n",
		  STARTED "{RCPT no@y}550 5.1.1 no such user\n{RCPT c@y}250 2.1.5 ok\n{BEGIN}354 go on\n[S: x\n\n.b\n]{END}"
		  "250 2.0.0 <b@y> queued\n250 2.0.0 <c@y> queued\n221 2.0.0 bye\n{CLOSE}" },
		{ START "BDAT 3\r\nS:\rBDAT 7 LAST\r\n\n\r\n.\r\nxMAIL FROM:<>\r\n",
		  STARTED "{BEGIN}[S:]250 2.0.0 3 bytes so far\n[\n\n.\nx]{END}250 2.0.0 <b@y> queued\n{MAIL }250 2.1.0 ok\n" },
		{ START "DATA\r\n|.\r\n", STARTED "{BEGIN}354 go on\n{END}250 2.0.0 <b@y> queued\n" },
		{ "LHLO c\r\nMAIL FROM:<a@x>\r\nRCPT TO:<later@y>\r\nDATA\r\nRSET\r\n", HELLO "{MAIL a@x}250 2.1.0 ok\n"
		  "{RCPT later@y}451 4.3.0 cannot tell now\n503 5.5.1 no valid recipients\n250 2.0.0 reset\n" },
		{ "EHLO c\r\nHELO c\r\nMAIL FROM:<a@x>\r\n", "500 5.5.2 no such command here: EHLO\n"
		  "500 5.5.2 no such command here: HELO\n503 5.5.1 LHLO first\n" },
	};

	(void)state;
	run(rows, sizeof rows / sizeof rows[0], SERVER_LMTP);
}

static void smtp_answers_once(void **state)
{
	static const struct talk rows[] = {
		{ "HELO c\r\nMAIL FROM:<a@x> SIZE=1\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nRCPT TO:<c@y>\r\nDATA\r\n|x\r\n.\r\n",
		  "250 mx.test\n555 5.5.4 parameters need EHLO\n{MAIL a@x}250 2.1.0 ok\n{RCPT b@y}250 2.1.5 ok\n"
		  "{RCPT c@y}250 2.1.5 ok\n{BEGIN}354 go on\n[x\n]{END}250 2.0.0 queued\n" },
		{ "LHLO c\r\nEHLO c\r\nMAIL FROM:<a@x>\r\nDATA\r\nBDAT 2 LAST\r\nxy", "500 5.5.2 no such command here: LHLO\n"
		  HELLO "{MAIL a@x}250 2.1.0 ok\n554 5.5.1 no valid recipients\n554 5.5.1 no valid recipients\n" },
		{ "EHLO c\r\nMAIL FROM:<full@x>\r\nRCPT TO:<b@y>\r\nDATA\r\nBDAT 3 LAST\r\nabcNOOP\r\n", HELLO
		  "{MAIL full@x}250 2.1.0 ok\n{RCPT b@y}250 2.1.5 ok\n{BEGIN}452 4.3.1 disk full\n503 5.5.1 MAIL first\n"
		  "250 2.0.0 ok\n" },
	};

	(void)state;
	run(rows, sizeof rows / sizeof rows[0], SERVER_SMTP);
}

static void only_crlf_dot_crlf_ends_a_message(void **state)
{
	static const struct talk rows[] = {
		{ START "DATA\r\n|a\n.\nb\n.\r\nc\r\n.\nd\r\n.\r\n", STARTED "{BEGIN}354 go on\n[a\n.\nb\n.\nc\n\nd\n]{END}"
		  "250 2.0.0 <b@y> queued\n" },
		{ START "DATA\r\n|a\r.\rb\r\n.\re\r\n\n.\r\nMAIL FROM:<evil@x>\r\n.\r\n", STARTED
		  "{BEGIN}354 go on\n[a\r.\rb\n\re\n\n.\nMAIL FROM:<evil@x>\n]{END}250 2.0.0 <b@y> queued\n" },
		{ START "DATA\r\n|a\r\n.\r\r\n.\r\n", STARTED "{BEGIN}354 go on\n[a\n\n]{END}250 2.0.0 <b@y> queued\n" },
	};

	(void)state;
	run(rows, sizeof rows / sizeof rows[0], SERVER_LMTP);
}

static void words_that_are_wrong_are_refused_one_by_one(void **state)
{
	static const struct talk rows[] = {
		{ "LHLO\r\nLHLO a b\r\nMAIL FROM:<a@x>\r\n", "501 5.5.4 expected the name of the client, and nothing else\n"
		  "501 5.5.4 expected the name of the client, and nothing else\n503 5.5.1 LHLO first\n" },
		{ "LHLO c\r\nMAIL a@x\r\nMAIL FROM:a@x\r\nMAIL FROM:<a@x>b\r\nMAIL FROM:<a@x\r\nMAIL FROM:<a <b@x>>\r\n", HELLO
		  "501 5.5.4 expected MAIL FROM:<address>\n501 5.5.2 expected MAIL FROM:<address>\n"
		  "501 5.5.2 expected MAIL FROM:<address>\n501 5.5.2 expected MAIL FROM:<address>\n"
		  "501 5.5.2 expected MAIL FROM:<address>\n" },
		{ "LHLO c\r\nMAIL FROM:<a@x> SIZE=x\r\nMAIL FROM:<a@x> SIZE=1001\r\nMAIL FROM:<a@x> BODY=BINARYMIME\r\n"
		  "MAIL FROM:<a@x> XYZ=1\r\nMAIL FROM:<a@x> RET=ALL\r\n", HELLO "501 5.5.4 SIZE: expected a number of bytes\n"
		  "552 5.3.4 the message is larger than this server takes\n501 5.5.4 BODY: expected 7BIT or 8BITMIME\n"
		  "555 5.5.4 a parameter that is not known here\n501 5.5.4 RET: expected FULL or HDRS\n" },
		{ "LHLO c\r\nMAIL FROM:<a@x> size=9 body=8bitmime smtputf8 ret=hdrs envid=a+2Bb\r\nRCPT TO:<>\r\nRCPT TO:<b@y> "
		  "NOTIFY=NEVER,DELAY\r\nRCPT TO:<b@y> ORCPT=x\r\nRCPT TO:<\xc3\xbc@y> NOTIFY=SUCCESS,delay,SUCCESS ORCPT=rfc822;b@y\r\n",
		  HELLO "{MAIL a@x utf8 8bit}250 2.1.0 ok\n501 5.1.3 expected RCPT TO:<address>\n"
		  "501 5.5.4 NOTIFY: expected NEVER or a list of SUCCESS,FAILURE,DELAY\n501 5.5.4 ORCPT: expected type;xtext\n"
		  "{RCPT \xc3\xbc@y SUCCESS,delay,SUCCESS rfc822;b@y}250 2.1.5 ok\n" },
		{ "LHLO c\r\nMAIL FROM:<\xc3\xbc@x>\r\nMAIL FROM:<\xc3@x> SMTPUTF8\r\nMAIL FROM:<a\tb@x>\r\n", HELLO
		  "553 5.6.7 an address beyond ASCII needs SMTPUTF8\n501 5.1.3 an address with a byte that no address may have\n"
		  "501 5.5.2 expected MAIL FROM:<address>\n" },
		{ "LHLO c\r\nMAIL FROM:<no@x>\r\nRCPT TO:<b@y>\r\nMAIL FROM:<@r,@s:a@x>\r\nMAIL FROM:<b@x>\r\n", HELLO
		  "{MAIL no@x}450 4.3.1 no room\n503 5.5.1 MAIL first\n{MAIL a@x}250 2.1.0 ok\n503 5.5.1 there is a sender already\n" },
		{ "LHLO c\r\nMAIL FROM:<\"a>b c\"@x>\r\nRCPT TO:< b@y>\r\n", HELLO "{MAIL \"a>b c\"@x}250 2.1.0 ok\n"
		  "501 5.5.2 expected RCPT TO:<address>\n" },
		{ "x\r\nx\r\nx\r\nx\r\nx\r\nx\r\nx\r\n", "500 5.5.2 no such command here: x\n500 5.5.2 no such command here: x\n"
		  "500 5.5.2 no such command here: x\n500 5.5.2 no such command here: x\n500 5.5.2 no such command here: x\n"
		  "500 5.5.2 no such command here: x\n421 4.7.0 too many errors\n{CLOSE}" },
		{ "a\rb\r\nVRFY b\r\nHELP\r\nEXPN l\r\nNOOP x\r\nAUTH PLAIN\r\n", "500 5.5.2 expected a line without NUL and bare CR\n"
		  "252 2.5.0 cannot verify the user, but will accept mail for it\n214 2.0.0 see RFC 5321, and intake(8)\n"
		  "502 5.5.1 command not implemented\n250 2.0.0 ok\n502 5.5.1 command not implemented\n" },
	};

	(void)state;
	run(rows, sizeof rows / sizeof rows[0], SERVER_LMTP);
}

/* RFC 5321 section 4.1.1 */
static void blanks_at_the_end_of_a_line_are_borne(void **state)
{
	static const struct talk rows[] = {
		{ "LHLO c \t\r\nMAIL FROM:<a@x> \r\nRCPT TO:<b@y> NOTIFY=NEVER  \r\nBDAT 1 \r\naBDAT 1 LAST \t\r\nbQUIT \r\n", HELLO
		  "{MAIL a@x}250 2.1.0 ok\n{RCPT b@y NEVER}250 2.1.5 ok\n{BEGIN}[a]250 2.0.0 1 bytes so far\n[b]{END}"
		  "250 2.0.0 <b@y> queued\n221 2.0.0 bye\n{CLOSE}" },
		{ START "DATA \r\n|.\r\n", STARTED "{BEGIN}354 go on\n{END}250 2.0.0 <b@y> queued\n" },
		{ "STARTTLS \r\n", "220 2.0.0 go\n{TLS}" },
	};

	(void)state;
	run(rows, sizeof rows / sizeof rows[0], SERVER_LMTP);
}

static void commands_within_a_request_of_http_are_not_taken(void **state)
{
	static const struct talk rows[] = {
		{ "POST / HTTP/1.1\r\nHost: x\r\n\r\nLHLO c\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n",
		  "421 5.5.0 this is no HTTP server\n{CLOSE}" },
		{ "connect x:25 HTTP/1.1\r\n\r\n", "421 5.5.0 this is no HTTP server\n{CLOSE}" },
		{ START "GET / HTTP/1.1\r\nDATA\r\n", STARTED "421 5.5.0 this is no HTTP server\n{CLOSE}" },
	};

	(void)state;
	run(rows, sizeof rows / sizeof rows[0], SERVER_LMTP);
}

static void a_parameter_that_is_given_twice_is_refused(void **state)
{
	static const struct talk rows[] = {
		{ "LHLO c\r\nMAIL FROM:<a@x> SIZE=1 size=900\r\nMAIL FROM:<a@x> BODY=8BITMIME RET=FULL BODY=7BIT\r\n"
		  "MAIL FROM:<a@x> SMTPUTF8 SMTPUTF8\r\nMAIL FROM:<a@x> RET=FULL RET=HDRS\r\nMAIL FROM:<a@x> ENVID=a ENVID=a\r\n",
		  HELLO "501 5.5.4 a parameter that is given twice\n501 5.5.4 a parameter that is given twice\n"
		  "501 5.5.4 a parameter that is given twice\n501 5.5.4 a parameter that is given twice\n"
		  "501 5.5.4 a parameter that is given twice\n" },
		{ START "RCPT TO:<c@y> NOTIFY=NEVER ORCPT=rfc822;c notify=DELAY\r\nRCPT TO:<c@y> ORCPT=rfc822;c ORCPT=rfc822;d\r\n"
		  "RCPT TO:<c@y> NOTIFY=NEVER ORCPT=rfc822;c\r\n", STARTED "501 5.5.4 a parameter that is given twice\n"
		  "501 5.5.4 a parameter that is given twice\n{RCPT c@y NEVER rfc822;c}250 2.1.5 ok\n" },
	};

	(void)state;
	run(rows, sizeof rows / sizeof rows[0], SERVER_LMTP);
}

static void too_many_recipients_are_for_the_next_message(void **state)
{
	static const struct talk rows[] = {
		{ START "RCPT TO:<c@y>\r\nRCPT TO:<d@y>\r\nRCPT TO:<e@y>\r\nDATA\r\n|.\r\n", STARTED
		  "{RCPT c@y}250 2.1.5 ok\n{RCPT d@y}250 2.1.5 ok\n"
		  "452 4.5.3 too many recipients for one message; send the rest in the next one\n{BEGIN}354 go on\n{END}"
		  "250 2.0.0 <b@y> queued\n250 2.0.0 <c@y> queued\n250 2.0.0 <d@y> queued\n" },
	};

	(void)state;
	run(rows, sizeof rows / sizeof rows[0], SERVER_LMTP);
}

static void chunks_that_are_not_taken_pass_by(void **state)
{
	static const struct talk rows[] = {
		{ START "BDAT x\r\n", STARTED "421 5.5.4 expected BDAT SIZE [LAST]\n{CLOSE}" },
		{ START "BDAT 4\r\nabcdBDAT 1 MORE\r\n", STARTED "{BEGIN}[abcd]250 2.0.0 4 bytes so far\n"
		  "421 5.5.4 expected BDAT SIZE [LAST]\n{ABANDON}{CLOSE}" },
		{ START "BDAT 4\r\nabcdBDAT 0\r\nDATA\r\nRCPT TO:<c@y>\r\nMAIL FROM:<c@y>\r\nBDAT 0 LAST\r\n", STARTED
		  "{BEGIN}[abcd]250 2.0.0 4 bytes so far\n250 2.0.0 4 bytes so far\n503 5.5.1 DATA cannot follow BDAT\n"
		  "503 5.5.1 the message has begun\n503 5.5.1 there is a sender already\n{END}250 2.0.0 <b@y> queued\n" },
		{ START "BDAT 4\r\nabcdRSET\r\nBDAT 2 LAST\r\nxyNOOP\r\n", STARTED "{BEGIN}[abcd]250 2.0.0 4 bytes so far\n"
		  "250 2.0.0 reset\n{ABANDON}503 5.5.1 MAIL first\n250 2.0.0 ok\n" },
		{ START "BDAT 4\r\nabcdQUIT\r\n", STARTED "{BEGIN}[abcd]250 2.0.0 4 bytes so far\n221 2.0.0 bye\n{ABANDON}{CLOSE}" },
		{ "LHLO c\r\nMAIL FROM:<full@x>\r\nRCPT TO:<b@y>\r\nBDAT 3\r\nabcBDAT 3 LAST\r\nxyzNOOP\r\n", HELLO
		  "{MAIL full@x}250 2.1.0 ok\n{RCPT b@y}250 2.1.5 ok\n{BEGIN}452 4.3.1 disk full\n503 5.5.1 MAIL first\n250 2.0.0 ok\n" },
	};

	(void)state;
	run(rows, sizeof rows / sizeof rows[0], SERVER_LMTP);
}

static void what_is_too_large_or_holds_nul_passes_by(void **state)
{
	struct buf client = { 0 }, expect = { 0 };

	(void)state;
	buf_adds(&client, START "DATA\r\n|");
	for (int i = 0; i < 200; i++)
		buf_adds(&client, "123456789\r\n");
	buf_adds(&client, ".\r\nNOOP\r\n");
	run(&(struct talk){ client.data, NULL }, 0, SERVER_LMTP);
	{
		struct server s;
		struct buf seen = { 0 };

		server_init(&s, &options, false, false);
		server_add(&s, START "DATA\r\n", strlen(START "DATA\r\n"));
		assert_true(work(&s, &seen));
		buf_clear(&seen);
		server_add(&s, client.data + strlen(START "DATA\r\n|"), client.len - strlen(START "DATA\r\n|"));
		assert_true(work(&s, &seen));
		assert_non_null(strstr(buf_str(&seen), "552 5.3.4 <b@y> the message is larger"));
		assert_non_null(strstr(buf_str(&seen), "{ABANDON}"));
		assert_non_null(strstr(buf_str(&seen), "250 2.0.0 ok"));
		buf_clear(&seen);
		server_add(&s, "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nBDAT 4 LAST\r\na\0bcNOOP\r\n", 55);
		assert_true(work(&s, &seen));
		assert_non_null(strstr(buf_str(&seen), "554 5.6.0 <b@y> the message holds a NUL"));
		server_free(&s);
		buf_free(&seen);
	}
	buf_free(&client);
	buf_free(&expect);
}

static void nothing_is_believed_that_came_too_early(void **state)
{
	static const struct talk data[] = {
		{ START "DATA\r\nS: x\r\n\r\nb\r\n.\r\n", STARTED "{BEGIN}421 5.5.0 bytes came after DATA, before its answer\n"
		  "{ABANDON}{CLOSE}" },
		{ "LHLO c\r\nSTARTTLS\r\nMAIL FROM:<a@x>\r\n", HELLO "421 5.5.0 bytes came after STARTTLS, before its answer\n{CLOSE}" },
	};

	(void)state;
	options = (struct server_options){ .protocol = SERVER_LMTP, .host = "mx.test", .max_size = 1000, .max_recipients = 3,
	                                   .max_commands = 30, .max_errors = 5 };
	for (size_t i = 0; i < 2; i++)
		talks(&data[i], 100000);
}

static void tls_begins_the_talk_anew(void **state)
{
	static const struct talk rows[] = {
		{ START "STARTTLS x\r\nSTARTTLS\r\n|MAIL FROM:<a@x>\r\nSTARTTLS\r\n", STARTED "501 5.5.4 STARTTLS has no argument\n"
		  "220 2.0.0 go\n{TLS}503 5.5.1 LHLO first\n503 5.5.1 TLS is on already\n" },
	};

	(void)state;
	run(rows, sizeof rows / sizeof rows[0], SERVER_LMTP);
}

static void lines_and_commands_have_limits(void **state)
{
	struct server s;
	struct buf seen = { 0 }, line = { 0 };

	(void)state;
	run(NULL, 0, SERVER_LMTP);
	server_init(&s, &options, false, false);
	while (line.len < SERVER_LINE_MAX)
		buf_addc(&line, 'x');
	server_add(&s, line.data, line.len);
	assert_false(work(&s, &seen));
	assert_non_null(strstr(seen.data, "421 5.5.2 a line that is too long"));
	server_free(&s);
	server_init(&s, &options, false, false);
	for (int i = 0; i < 31; i++)
		server_add(&s, "NOOP\r\n", 6);
	assert_false(work(&s, &seen));
	assert_non_null(strstr(seen.data, "421 4.7.0 too many commands without a message"));
	server_free(&s);
	buf_free(&seen);
	buf_free(&line);
}

/* 16 MB in chunks of 8 kB were turned away each time. */
static void a_message_of_many_chunks_or_recipients_is_one_message(void **state)
{
	static const struct { const char *begin, *again, *end, *says; } rows[] = {
		{ START, "BDAT 2\r\nx\n", "BDAT 0 LAST\r\n", "250 2.0.0 <b@y> queued" },
		{ START, "BDAT 0\r\n", "", "421 4.7.0 too many commands" },
		{ "LHLO c\r\nMAIL FROM:<a@x>\r\n", "RCPT TO:<b@y>\r\n", "DATA\r\n", "354 go on" },
		{ "LHLO c\r\n", "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nRSET\r\n", "", "421 4.7.0 too many commands" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf seen = { 0 };
		struct server s;

		run(NULL, 0, SERVER_LMTP);
		options.max_recipients = 100;
		server_init(&s, &options, false, false);
		server_add(&s, rows[i].begin, strlen(rows[i].begin));
		for (int k = 0; k < 60; k++)
			server_add(&s, rows[i].again, strlen(rows[i].again));
		work(&s, &seen);
		server_add(&s, rows[i].end, strlen(rows[i].end));
		work(&s, &seen);
		assert_non_null(strstr(seen.data, rows[i].says));
		server_free(&s);
		buf_free(&seen);
	}
}

static void how_a_message_came_has_a_name(void **state)
{
	struct server s;

	(void)state;
	run(NULL, 0, SERVER_LMTP);
	server_init(&s, &options, false, true);
	assert_string_equal(server_with(&s), "LMTPS");
	server_free(&s);
	options.protocol = SERVER_SMTP;
	server_init(&s, &options, false, false);
	assert_string_equal(server_with(&s), "SMTP");
	s.extended = true;
	assert_string_equal(server_with(&s), "ESMTP");
	s.envelope.smtputf8 = true;
	assert_string_equal(server_with(&s), "UTF8SMTP");
	server_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lmtp_answers_for_each_recipient),
		cmocka_unit_test(smtp_answers_once),
		cmocka_unit_test(only_crlf_dot_crlf_ends_a_message),
		cmocka_unit_test(words_that_are_wrong_are_refused_one_by_one),
		cmocka_unit_test(blanks_at_the_end_of_a_line_are_borne),
		cmocka_unit_test(commands_within_a_request_of_http_are_not_taken),
		cmocka_unit_test(a_parameter_that_is_given_twice_is_refused),
		cmocka_unit_test(too_many_recipients_are_for_the_next_message),
		cmocka_unit_test(chunks_that_are_not_taken_pass_by),
		cmocka_unit_test(what_is_too_large_or_holds_nul_passes_by),
		cmocka_unit_test(nothing_is_believed_that_came_too_early),
		cmocka_unit_test(tls_begins_the_talk_anew),
		cmocka_unit_test(lines_and_commands_have_limits),
		cmocka_unit_test(a_message_of_many_chunks_or_recipients_is_one_message),
		cmocka_unit_test(how_a_message_came_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
