#include "tests/unit/unit.h"

#include "channel/protocol/caps.h"

/* The capabilities in a whole reply to LHLO. */
static struct caps caps_of(const char *bytes, const char *ignore)
{
	struct reply_parser p = { 0 };
	struct caps caps;
	size_t used;

	memset(&caps, 0x55, sizeof caps);
	assert_int_equal(reply_parse(&p, bytes, strlen(bytes), &used), REPLY_READY);
	caps_parse(&caps, &p.reply, ignore);
	reply_parser_free(&p);
	return caps;
}

static void real_servers_are_understood(void **state)
{
	static const char dovecot[] = "250-mail\r\n250-8BITMIME\r\n250-CHUNKING\r\n250-ENHANCEDSTATUSCODES\r\n"
		"250-PIPELINING\r\n250 STARTTLS\r\n";
	static const char cyrus[] = "250-mail\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-PIPELINING\r\n250-SIZE\r\n"
		"250-AUTH PLAIN LOGIN SCRAM-SHA-256\r\n250-IGNOREQUOTA\r\n250 Ok SESSIONID=<mail-1-2-3>\r\n";
	static const char sink[] = "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-AUTH PLAIN LOGIN\r\n"
		"250-XCLIENT NAME HELO\r\n250-XFORWARD NAME ADDR PROTO HELO\r\n250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250 \r\n";
	struct caps caps;

	(void)state;
	caps = caps_of(dovecot, NULL);
	assert_int_equal(caps.has, CAP_8BITMIME | CAP_CHUNKING | CAP_ENHANCED | CAP_PIPELINING | CAP_STARTTLS);
	assert_string_equal(caps.auth, "");
	assert_string_equal(caps.session, "");
	caps = caps_of(cyrus, NULL);
	assert_int_equal(caps.has, CAP_8BITMIME | CAP_ENHANCED | CAP_PIPELINING | CAP_SIZE | CAP_AUTH | CAP_IGNOREQUOTA);
	assert_string_equal(caps.auth, "PLAIN LOGIN SCRAM-SHA-256 ");
	assert_string_equal(caps.session, "mail-1-2-3");
	caps = caps_of(sink, NULL);
	assert_int_equal(caps.has, CAP_PIPELINING | CAP_8BITMIME | CAP_AUTH | CAP_ENHANCED | CAP_DSN);
}

static void each_line_counts_by_itself(void **state)
{
	static const struct { const char *line; unsigned has; uint64_t size, rcpts, mails; const char *auth; } rows[] = {
		{ "pipelining", CAP_PIPELINING, 0, 0, 0, "" },
		{ "  PIPELINING  ", CAP_PIPELINING, 0, 0, 0, "" },
		{ "PIPELININGS", 0, 0, 0, 0, "" },
		{ "X PIPELINING", 0, 0, 0, 0, "" },
		{ "SIZE", CAP_SIZE, 0, 0, 0, "" },
		{ "SIZE 0", CAP_SIZE, 0, 0, 0, "" },
		{ "SIZE 10485760", CAP_SIZE, 10485760, 0, 0, "" },
		{ "SIZE many", CAP_SIZE, 0, 0, 0, "" },
		{ "SIZE -1", CAP_SIZE, 0, 0, 0, "" },
		{ "SIZE 99999999999999999999", CAP_SIZE, 0, 0, 0, "" },
		{ "AUTH", CAP_AUTH, 0, 0, 0, "" },
		{ "AUTH plain Login", CAP_AUTH, 0, 0, 0, "PLAIN LOGIN " },
		{ "AUTH=LOGIN PLAIN", CAP_AUTH, 0, 0, 0, "LOGIN PLAIN " },
		{ " auth=LOGIN", CAP_AUTH, 0, 0, 0, "LOGIN " },
		{ "AUTH=", CAP_AUTH, 0, 0, 0, "" },
		{ "LIMITS RCPTMAX=20 MAILMAX=5", 0, 0, 20, 5, "" },
		{ "LIMITS mailmax=7", 0, 0, 0, 7, "" },
		{ "LIMITS RCPTMAX= RCPTMAXX=3 RCPTMAX", 0, 0, 0, 0, "" },
		{ "X-RCPTLIMIT 100", 0, 0, 100, 0, "" },
		{ "SMTPUTF8", CAP_SMTPUTF8, 0, 0, 0, "" },
		{ "DELIVERBY 240", CAP_DELIVERBY, 0, 0, 0, "" },
		{ "BINARYMIME", CAP_BINARYMIME, 0, 0, 0, "" },
		{ "", 0, 0, 0, 0, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf reply = { 0 };
		struct caps caps;

		/* in the middle and at the end */
		for (int last = 0; last < 2; last++) {
			buf_clear(&reply);
			buf_addf(&reply, "250-host\r\n250%c%s\r\n%s", last ? ' ' : '-', rows[i].line, last ? "" : "250 HELP\r\n");
			caps = caps_of(reply.data, NULL);
			assert_int_equal(caps.has, rows[i].has);
			assert_true(caps.size_max == rows[i].size);
			assert_true(caps.rcpt_max == rows[i].rcpts);
			assert_true(caps.mail_max == rows[i].mails);
			assert_string_equal(caps.auth, rows[i].auth);
		}
		buf_free(&reply);
	}
}

static void the_first_line_is_a_name(void **state)
{
	(void)state;
	assert_int_equal(caps_of("250 PIPELINING\r\n", NULL).has, 0);
	assert_int_equal(caps_of("250-CHUNKING\r\n250 PIPELINING\r\n", NULL).has, CAP_PIPELINING);
}

static void an_empty_line_ends_nothing(void **state)
{
	(void)state;
	assert_int_equal(caps_of("250-\r\n250 PIPELINING\r\n", NULL).has, CAP_PIPELINING);
	assert_int_equal(caps_of("250-a\r\n250-\r\n250-PIPELINING\r\n250-\r\n250 SIZE 5\r\n", NULL).has,
	                 CAP_PIPELINING | CAP_SIZE);
}

static void named_keywords_do_not_count(void **state)
{
	static const char reply[] = "250-a\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-AUTH=PLAIN\r\n250 SIZE 5\r\n";
	struct caps caps;

	(void)state;
	assert_int_equal(caps_of(reply, "").has, CAP_PIPELINING | CAP_CHUNKING | CAP_AUTH | CAP_SIZE);
	assert_int_equal(caps_of(reply, "CHUNKING").has, CAP_PIPELINING | CAP_AUTH | CAP_SIZE);
	assert_int_equal(caps_of(reply, "CHUNK PIPELINING").has, CAP_CHUNKING | CAP_AUTH | CAP_SIZE);
	caps = caps_of(reply, "SIZE  AUTH");
	assert_int_equal(caps.has, CAP_PIPELINING | CAP_CHUNKING);
	assert_true(caps.size_max == 0);
	assert_string_equal(caps.auth, "");
}

static void endless_mechanisms_are_cut_between_two(void **state)
{
	struct buf reply = { 0 };
	struct caps caps;

	(void)state;
	buf_adds(&reply, "250-a\r\n250 AUTH");
	for (int i = 0; i < 100; i++)
		buf_addf(&reply, " MECHANISM%d", i);
	buf_adds(&reply, "\r\n");
	caps = caps_of(reply.data, NULL);
	assert_true(strlen(caps.auth) < sizeof caps.auth);
	assert_int_equal(caps.auth[strlen(caps.auth) - 1], ' ');
	assert_non_null(strstr(caps.auth, "MECHANISM40 "));
	assert_null(strstr(caps.auth, "MECHANISM99"));
	buf_free(&reply);
}

static void the_session_id_is_clean_and_bounded(void **state)
{
	struct buf reply = { 0 };
	struct caps caps;

	(void)state;
	caps = caps_of("250-a\r\n250 Ok SESSIONID=<a\x1b" "b c>\r\n", NULL);
	assert_string_equal(caps.session, "a b");
	buf_adds(&reply, "250-a\r\n250 Ok SESSIONID=<");
	for (int i = 0; i < 1000; i++)
		buf_addc(&reply, 'x');
	buf_adds(&reply, "\r\n");
	caps = caps_of(reply.data, NULL);
	assert_int_equal(strlen(caps.session), sizeof caps.session - 1);
	buf_free(&reply);
}

static void keywords_have_bits_of_their_own(void **state)
{
	static const char *const words[] = { "8BITMIME", "PIPELINING", "CHUNKING", "BINARYMIME", "DSN", "SIZE", "STARTTLS",
		"AUTH", "SMTPUTF8", "DELIVERBY", "IGNOREQUOTA", "ENHANCEDSTATUSCODES" };
	unsigned all = 0;

	(void)state;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		unsigned bit = caps_bit(words[i]);

		assert_true(bit != 0 && (bit & (bit - 1)) == 0 && (all & bit) == 0);
		all |= bit;
	}
	{
		const struct caps some = { .has = CAP_AUTH | CAP_PIPELINING };
		const struct caps none = { 0 };
		struct buf names = { 0 };

		caps_names(&none, &names);
		assert_int_equal(names.len, 0);
		caps_names(&some, &names);
		assert_string_equal(names.data, "PIPELINING AUTH");
		buf_free(&names);
	}
	assert_int_equal(caps_bit("chunking"), CAP_CHUNKING);
	assert_int_equal(caps_bit("CHUNK"), 0);
	assert_int_equal(caps_bit(""), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(real_servers_are_understood),
		cmocka_unit_test(each_line_counts_by_itself),
		cmocka_unit_test(the_first_line_is_a_name),
		cmocka_unit_test(an_empty_line_ends_nothing),
		cmocka_unit_test(named_keywords_do_not_count),
		cmocka_unit_test(endless_mechanisms_are_cut_between_two),
		cmocka_unit_test(the_session_id_is_clean_and_bounded),
		cmocka_unit_test(keywords_have_bits_of_their_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
