#include "tests/unit/unit.h"

#include "channel/spool/compose.h"
#include "lib/alloc.h"

struct split {
	const char *in;
	size_t length;            /* 0: up to the NUL */
	const char *header;
	bool blank;
	const char *body;
};

/* Gives `step` bytes at a time (0: all at once) until the header is complete or refused; *used are given then. */
static enum incoming_result feed(struct incoming *in, const char *bytes, size_t n, size_t step, size_t *used,
                                 struct buf *why)
{
	enum incoming_result result = incoming_header(in, why);

	for (*used = 0; result == INCOMING_MORE;) {
		size_t take = step != 0 && step < n - *used ? step : n - *used;

		if (take == 0)
			in->eof = true;
		incoming_add(in, bytes + *used, take);
		*used += take;
		result = incoming_header(in, why);
	}
	return result;
}

static void splits(const struct split *row, size_t step)
{
	size_t n = row->length ? row->length : strlen(row->in), used;
	struct incoming in = { 0 };
	struct buf why = { 0 }, body = { 0 };

	if (feed(&in, row->in, n, step, &used, &why) != INCOMING_COMPLETE)
		fail_msg("%s", buf_str(&why));
	assert_int_equal(in.header, strlen(row->header));
	assert_memory_equal(buf_str(&in.bytes), row->header, in.header);
	assert_int_equal(in.blank, row->blank);
	for (; used < n; used += step != 0 && step < n - used ? step : n - used) {
		incoming_body(&in, &body);
		incoming_add(&in, row->in + used, step != 0 && step < n - used ? step : n - used);
	}
	in.eof = true;
	incoming_body(&in, &body);
	assert_int_equal(in.bytes.len, 0);
	assert_int_equal(body.len, strlen(row->body));
	assert_string_equal(buf_str(&body), row->body);
	incoming_free(&in);
	buf_free(&body);
	buf_free(&why);
}

static void header_and_body_part_wherever_the_pieces_end(void **state)
{
	static const struct split rows[] = {
		{ "A: 1\nB: 2\n\nbody\n", 0, "A: 1\nB: 2\n", true, "body\n" },
		{ "A: 1\n 1\n\t1\nB:\n\n", 0, "A: 1\n 1\n\t1\nB:\n", true, "" },
		{ "A: 1\r\nB: 2\r\n x\r\n\r\nbo\rdy\r\n\r\nx\r", 0, "A: 1\nB: 2\n x\n", true, "bo\rdy\n\nx\r" },
		{ "A: 1\nB: 2\r\n\nbody\r\nmore\n", 0, "A: 1\nB: 2\n", true, "body\r\nmore\n" },
		{ "A: 1\r\n\r\n\r\r\n\n\r\n", 0, "A: 1\n", true, "\r\n\n\n" },
		{ "A: 1\nno header\nB: 2\n\n", 0, "A: 1\n", false, "no header\nB: 2\n\n" },
		{ "just text", 0, "", false, "just text" },
		{ " A: 1\n", 0, "", false, " A: 1\n" },
		{ "\nbody\n", 0, "", true, "body\n" },
		{ "A: 1\n", 0, "A: 1\n", false, "" },
		{ "A: 1", 0, "A: 1\n", false, "" },
		{ "A: 1\n x", 0, "A: 1\n x\n", false, "" },
		{ "A : 1\n: 2\n", 0, "A : 1\n", false, ": 2\n" },
		{ "", 0, "", false, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		for (size_t step = 0; step < 5; step++)
			splits(&rows[i], step);
}

static void the_from_line_of_a_mailbox_file_does_not_end_the_header(void **state)
{
	static const struct split rows[] = {
		{ "From ann Sat Nov 21 09:41:11 2026\nA: 1\n\nb\n", 0, "A: 1\n", true, "b\n" },
		{ "From ann@d.test Sat Nov 21  9:41 2026\r\nA: 1\r\n\r\nb\r\n", 0, "A: 1\n", true, "b\n" },
		{ ">From ann Sat Nov 21 09:41:11 2026 remote from uucp\nA: 1\n", 0, "A: 1\n", false, "" },
		{ "From - Sat Nov 21 09:41:11 2026\nX-Mozilla-Status: 0001\n\nb", 0, "X-Mozilla-Status: 0001\n", true, "b" },
		{ "From ann\n>From bob\n>From eve\nA: 1\n\n", 0, "A: 1\n", true, "" },
		{ "From \"a b\"@d.test date unknown\nFrom: x\n\n", 0, "From: x\n", true, "" },
		{ "From ann Sat Nov 21 09:41:11 2026\n\nFrom b\n", 0, "", true, "From b\n" },
		{ "From ann Sat Nov 21 09:41:11 2026\nhello\n", 0, "", false, "hello\n" },
		{ "From ann Sat Nov 21 09:41:11 2026", 0, "", false, "" },
		/* a byte order mark belongs to no header, but may belong to a text */
		{ "\xef\xbb\xbfSubject: t\nA: 1\n\nb\n", 0, "Subject: t\nA: 1\n", true, "b\n" },
		{ "\xef\xbb\xbf" "From ann Sat Nov 21 09:41:11 2026\r\nA: 1\r\n\r\nb\r\n", 0, "A: 1\n", true, "b\n" },
		{ "\xef\xbb\xbf>From ann\nA: 1\n\n", 0, "A: 1\n", true, "" },
		{ "\xef\xbb\xbfhello\n", 0, "", false, "\xef\xbb\xbfhello\n" },
		{ "\xef\xbb\xbf", 0, "", false, "\xef\xbb\xbf" },
		{ "\xef\xbb\xbf" "From me to you.\nhello\n", 0, "", false, "\xef\xbb\xbf" "From me to you.\nhello\n" },
		{ "From me to you.\nhello\n", 0, "", false, "From me to you.\nhello\n" },
		{ "From me to you.\n\nhello\n", 0, "", false, "From me to you.\n\nhello\n" },
		{ "From me to you", 0, "", false, "From me to you" },
		{ "From : ann\nA: 1\n\n", 0, "From : ann\nA: 1\n", true, "" },
		{ "A: 1\nFrom ann Sat Nov 21 09:41:11 2026\n", 0, "A: 1\n", false, "From ann Sat Nov 21 09:41:11 2026\n" },
		{ "Fromage 1:23\nA: 1\n", 0, "", false, "Fromage 1:23\nA: 1\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		for (size_t step = 0; step < 5; step++)
			splits(&rows[i], step);
}

static void large_bodies_come_whole(void **state)
{
	struct buf text = { 0 }, expect = { 0 };

	(void)state;
	for (int i = 0; i < 20000; i++)
		buf_addf(&expect, "line %d\n", i);
	buf_adds(&text, "A: 1\r\n\r\n");
	for (int i = 0; i < 20000; i++)
		buf_addf(&text, "line %d\r\n", i);
	for (size_t step = 0; step <= 3 * 21839; step += 21839)
		splits(&(struct split){ text.data, text.len, "A: 1\n", true, expect.data }, step);
	buf_free(&text);
	buf_free(&expect);
}

static void refused(const char *bytes, size_t n, const char *expect)
{
	struct incoming in = { 0 };
	struct buf why = { 0 };
	size_t used;

	assert_int_equal(feed(&in, bytes, n, 0, &used, &why), INCOMING_REFUSED);
	assert_string_equal(buf_str(&why), expect);
	incoming_free(&in);
	buf_free(&why);
}

static void headers_that_cannot_be_written_down_are_refused(void **state)
{
	struct buf endless = { 0 };

	(void)state;
	refused("A: 1\nB: \0\n\n", 11, "header line 2: expected no NUL and no bare CR");
	refused("A: 1\nB: a\rb\n\n", 13, "header line 2: expected no NUL and no bare CR");
	refused("A: 1\nB: a\r\r\n\n", 13, "header line 2: expected no NUL and no bare CR");
	buf_adds(&endless, "A: 1\nB: ");
	while (endless.len < 17 * 1024 * 1024)
		buf_adds(&endless, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
	/* the writer dies of SIGPIPE, as we stop to listen */
	refused(endless.data, endless.len, "header line 2: expected an end of the header within 16 MB");
	buf_free(&endless);
}

static void completed(const char *header, const char *sender, const char *expect, const char *expect_id)
{
	struct buf out = { 0 }, id = { 0 };

	header_complete(&out, header, strlen(header), &(struct completion){
		.host = "hub.example.net", .id = "S99Abc", .sender = sender, .now = 1795254489,
	}, &id);
	assert_string_equal(buf_str(&out), expect);
	assert_string_equal(buf_str(&id), expect_id);
	buf_free(&out);
	buf_free(&id);
}

#define RECEIVED "Received: by hub.example.net id S99Abc;\n\tSat, 21 Nov 2026 09:48:09 +0000\n"

static void what_is_there_stays_as_it_is(void **state)
{
	(void)state;
	completed("from: x\nDATE: y\nX:\t a\n  b\nmessage-id:\n <1@a>\n", "ann@example.org",
		RECEIVED "from: x\nDATE: y\nX:\t a\n  b\nmessage-id:\n <1@a>\n", "<1@a>");
}

static void what_is_missing_is_added(void **state)
{
	(void)state;
	completed("Subject: x\n", "ann@example.org", RECEIVED "Subject: x\nFrom:\tann@example.org\n"
		"Date:\tSat, 21 Nov 2026 09:48:09 +0000\nMessage-ID: <S99Abc@hub.example.net>\n", "<S99Abc@hub.example.net>");
	completed("", "<>", RECEIVED "From:\tMAILER-DAEMON@hub.example.net\n"
		"Date:\tSat, 21 Nov 2026 09:48:09 +0000\nMessage-ID: <S99Abc@hub.example.net>\n", "<S99Abc@hub.example.net>");
}

static void envelope_fields_are_removed_with_their_continuations(void **state)
{
	(void)state;
	completed("Bcc: a,\n\tb,\n c\nFrom: x\nReturn-Path: <y>\nDate: z\nBccx: stays\nresent-bcc: d\nX-Envelope-To: e\n"
		"Message-ID: <1@a>\n", "ann@example.org", RECEIVED "From: x\nDate: z\nBccx: stays\nMessage-ID: <1@a>\n", "<1@a>");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_and_body_part_wherever_the_pieces_end),
		cmocka_unit_test(the_from_line_of_a_mailbox_file_does_not_end_the_header),
		cmocka_unit_test(large_bodies_come_whole),
		cmocka_unit_test(headers_that_cannot_be_written_down_are_refused),
		cmocka_unit_test(what_is_there_stays_as_it_is),
		cmocka_unit_test(what_is_missing_is_added),
		cmocka_unit_test(envelope_fields_are_removed_with_their_continuations),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
