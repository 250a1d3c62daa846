#include "tests/unit/unit.h"

#include "channel/protocol/command.h"

static const struct caps none, everything = { .has = 0xffffff };

static void mail_has_only_announced_parameters(void **state)
{
	static const struct envelope full = { .sender = "ann@x", .eightbit = true, .size = 1234, .envid = "QQ1", .ret = "HDRS",
	                                      .by = "120;R" };
	static const struct { unsigned has; bool smtputf8; const char *line; } rows[] = {
		{ 0, false, "MAIL FROM:<ann@x>\r\n" },
		{ CAP_SIZE, false, "MAIL FROM:<ann@x> SIZE=1234\r\n" },
		{ CAP_8BITMIME, false, "MAIL FROM:<ann@x> BODY=8BITMIME\r\n" },
		{ CAP_DSN, false, "MAIL FROM:<ann@x> RET=HDRS ENVID=QQ1\r\n" },
		{ CAP_DELIVERBY, false, "MAIL FROM:<ann@x> BY=120;R\r\n" },
		{ CAP_SMTPUTF8, true, "MAIL FROM:<ann@x> SMTPUTF8\r\n" },
		{ CAP_PIPELINING | CAP_CHUNKING | CAP_BINARYMIME | CAP_AUTH | CAP_SMTPUTF8 | CAP_IGNOREQUOTA, false,
		  "MAIL FROM:<ann@x>\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct caps caps = { .has = rows[i].has };
		struct buf out = { 0 };

		assert_int_equal(command_mail(&out, &full, &caps, rows[i].smtputf8), COMMAND_OK);
		assert_string_equal(out.data, rows[i].line);
		buf_free(&out);
	}
}

static void the_null_sender_has_parameters_too(void **state)
{
	static const struct envelope bounce = { .sender = "", .size = 5 };
	struct caps caps = { .has = CAP_SIZE | CAP_8BITMIME };
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(command_mail(&out, &bounce, &caps, false), COMMAND_OK);
	assert_string_equal(out.data, "MAIL FROM:<> SIZE=5\r\n");
	buf_free(&out);
}

static void rcpt_has_only_announced_parameters(void **state)
{
	static const struct { unsigned has; struct envelope_recipient to; const char *line; } rows[] = {
		{ 0, { "bob@x", "SUCCESS", "rfc822;b", true }, "RCPT TO:<bob@x>\r\n" },
		{ CAP_DSN, { "bob@x", "SUCCESS,DELAY", "rfc822;b", true }, "RCPT TO:<bob@x> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b\r\n" },
		{ CAP_DSN, { "bob@x", NULL, NULL, false }, "RCPT TO:<bob@x> ORCPT=rfc822;bob@x\r\n" },
		{ CAP_DSN, { "bob+a=b@x", "NEVER", NULL, false },
		  "RCPT TO:<bob+a=b@x> NOTIFY=NEVER ORCPT=rfc822;bob+2Ba+3Db@x\r\n" },
		{ CAP_DSN, { "\"bob b\"@x", NULL, NULL, false }, "RCPT TO:<\"bob b\"@x> ORCPT=rfc822;\"bob+20b\"@x\r\n" },
		{ CAP_IGNOREQUOTA, { "bob@x", NULL, NULL, true }, "RCPT TO:<bob@x> IGNOREQUOTA\r\n" },
		{ CAP_IGNOREQUOTA, { "bob@x", NULL, NULL, false }, "RCPT TO:<bob@x>\r\n" },
		/* an original address that is none is left out */
		{ CAP_DSN, { "bob@x", NULL, "no type", false }, "RCPT TO:<bob@x>\r\n" },
		{ CAP_DSN, { "bob@x", NULL, "rfc822;a b", false }, "RCPT TO:<bob@x>\r\n" },
		{ CAP_DSN, { "bob@x", NULL, "", false }, "RCPT TO:<bob@x>\r\n" },
		{ 0, { "x..y@d", NULL, NULL, false }, "RCPT TO:<\"x..y\"@d>\r\n" },
		{ CAP_DSN, { ".s@d", NULL, NULL, false }, "RCPT TO:<\".s\"@d> ORCPT=rfc822;\".s\"@d\r\n" },
		{ 0, { "e.@d", NULL, NULL, false }, "RCPT TO:<\"e.\"@d>\r\n" },
		{ 0, { "e..f", NULL, NULL, false }, "RCPT TO:<\"e..f\">\r\n" },
		{ 0, { "\"x..y\"@d", NULL, NULL, false }, "RCPT TO:<\"x..y\"@d>\r\n" },
		{ 0, { "a.b@d", NULL, NULL, false }, "RCPT TO:<a.b@d>\r\n" },
		{ CAP_DSN | CAP_SMTPUTF8, { "b\xc3\xb6@x", NULL, NULL, false }, "RCPT TO:<b\xc3\xb6@x>\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct caps caps = { .has = rows[i].has };
		struct buf out = { 0 };

		assert_int_equal(command_rcpt(&out, &rows[i].to, &caps), COMMAND_OK);
		assert_string_equal(out.data, rows[i].line);
		buf_free(&out);
	}
}

/* Addresses that would end the line or the brackets early, or begin a parameter. */
static const char *const breaking[] = {
	"a\r\nDATA", "a\nb", "a\rb", "a\tb", "a\177b", "a b", "a>b", "<a", "a> NOTIFY=NEVER", "\"a", "a\"b", "a\\", "\"a\\\"",
	"a\\ b", "a\\> b", "a\\\nb", "\"a\nb\"",
};

static const char *const harmless[] = {
	"a", "a@x", "\"a b\"@x", "\"a>b\"@x", "\"a\\\"b\"@x", "a\\@b@x", "a+b@x", "@a,@b:c@d", "\"\"@x", "a\\\\b@x",
};

static void no_address_breaks_out_of_its_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof breaking / sizeof breaking[0]; i++) {
		struct envelope envelope = { .sender = breaking[i] };
		struct envelope_recipient to = { .address = breaking[i] };
		struct buf out = { 0 };

		buf_adds(&out, "before");
		assert_int_equal(command_mail(&out, &envelope, &everything, false), COMMAND_BAD_ADDRESS);
		assert_int_equal(command_rcpt(&out, &to, &everything), COMMAND_BAD_ADDRESS);
		assert_string_equal(out.data, "before");
		buf_free(&out);
	}
	for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++) {
		struct envelope envelope = { .sender = harmless[i] };
		struct envelope_recipient to = { .address = harmless[i] };
		struct buf out = { 0 };

		assert_int_equal(command_mail(&out, &envelope, &none, false), COMMAND_OK);
		assert_int_equal(command_rcpt(&out, &to, &none), COMMAND_OK);
		buf_free(&out);
	}
}

static void no_parameter_breaks_out_of_its_line(void **state)
{
	static const char *const values[] = { "a\r\nDATA", "a b", "a\tb", "", "\xc3\xa9", "a\x7f" };

	(void)state;
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		struct envelope envelope = { .sender = "s", .envid = values[i], .by = values[i] };
		struct envelope_recipient to = { .address = "a", .orcpt = values[i] };
		struct buf out = { 0 };

		assert_int_equal(command_mail(&out, &envelope, &everything, false), COMMAND_OK);
		assert_null(strstr(out.data, "ENVID"));
		assert_null(strstr(out.data, "BY="));
		assert_int_equal(command_rcpt(&out, &to, &everything), COMMAND_OK);
		assert_null(strstr(out.data, "ORCPT"));
		buf_free(&out);
	}
}

static void eightbit_recipients_need_smtputf8(void **state)
{
	struct envelope_recipient to = { .address = "\xc3\xa9@x" };
	struct buf out = { 0 };

	(void)state;
	assert_true(command_is_8bit(to.address));
	assert_false(command_is_8bit("e@x"));
	assert_int_equal(command_rcpt(&out, &to, &none), COMMAND_NEEDS_SMTPUTF8);
	assert_int_equal(out.len, 0);
	assert_int_equal(command_rcpt(&out, &to, &everything), COMMAND_OK);
	buf_free(&out);
}

static void nobody_is_no_recipient(void **state)
{
	struct envelope_recipient to = { .address = "" };
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(command_rcpt(&out, &to, &none), COMMAND_BAD_ADDRESS);
	buf_free(&out);
}

static char *repeat(char c, size_t n)
{
	char *s = calloc(n + 1, 1);

	memset(s, c, n);
	return s;
}

static void lines_have_a_longest_length(void **state)
{
	(void)state;
	/* "RCPT TO:<" and ">" around the address */
	for (size_t n = COMMAND_MAX - 11; n <= COMMAND_MAX - 9; n++) {
		char *address = repeat('a', n);
		struct envelope_recipient to = { .address = address };
		struct buf out = { 0 };
		bool fits = n + 10 <= COMMAND_MAX;

		buf_adds(&out, "x");
		assert_int_equal(command_rcpt(&out, &to, &none), fits ? COMMAND_OK : COMMAND_TOO_LONG);
		assert_int_equal(out.len, fits ? n + 13 : 1);
		buf_free(&out);
		free(address);
	}
}

static void what_only_names_things_gives_way_to_the_limit(void **state)
{
	char *envid = repeat('a', 100), *sender = repeat('s', COMMAND_MAX - 100), *address = repeat('a', COMMAND_MAX - 100);
	struct envelope envelope = { .sender = sender, .envid = envid, .ret = "FULL" };
	struct envelope_recipient to = { .address = address, .notify = "NEVER", .orcpt = "rfc822;" "0123456789" "0123456789" "0123456789"
	                                 "0123456789" "0123456789" "0123456789" "0123456789" "0123456789" "0123456789" };
	struct caps caps = { .has = CAP_DSN };
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(command_mail(&out, &envelope, &caps, false), COMMAND_OK);
	assert_string_equal(out.data + 11 + strlen(sender), "> RET=FULL\r\n");
	buf_clear(&out);
	assert_int_equal(command_rcpt(&out, &to, &caps), COMMAND_OK);
	assert_string_equal(out.data + 9 + strlen(address), "> NOTIFY=NEVER\r\n");
	free(envid);
	free(sender);
	free(address);
	buf_free(&out);
}

/* RFC 3461 sections 4.4 and 4.2.  A server may refuse the recipient for them, and mail comes that has longer ones. */
static void names_are_as_long_as_they_may_be(void **state)
{
	struct caps caps = { .has = CAP_DSN };
	struct buf out = { 0 };

	(void)state;
	for (size_t over = 0; over <= 1; over++) {
		char *envid = repeat('a', 100 + over), *orcpt = repeat('a', 500 + over), *address = repeat('a', 500 - strlen("rfc822;") + over);
		/* what is made of an address grows: a plus takes three bytes */
		char *pluses = repeat('+', (500 - strlen("rfc822;")) / 3 + over);
		struct envelope envelope = { .sender = "s@x", .envid = envid };
		struct envelope_recipient given = { .address = "a@x", .orcpt = orcpt }, made = { .address = address }, grown = { .address = pluses };

		memcpy(orcpt, "rfc822;", 7);
		buf_clear(&out);
		assert_int_equal(command_mail(&out, &envelope, &caps, false), COMMAND_OK);
		assert_int_equal(strstr(out.data, " ENVID=") != NULL, !over);
		buf_clear(&out);
		assert_int_equal(command_rcpt(&out, &given, &caps), COMMAND_OK);
		assert_int_equal(strstr(out.data, " ORCPT=") != NULL, !over);
		buf_clear(&out);
		assert_int_equal(command_rcpt(&out, &made, &caps), COMMAND_OK);
		assert_int_equal(strstr(out.data, " ORCPT=") != NULL, !over);
		assert_string_equal(out.data + out.len - 3, over ? ">\r\n" : "a\r\n");
		buf_clear(&out);
		assert_int_equal(command_rcpt(&out, &grown, &caps), COMMAND_OK);
		assert_int_equal(strstr(out.data, " ORCPT=") != NULL, !over);
		free(envid);
		free(orcpt);
		free(address);
		free(pluses);
	}
	buf_free(&out);
}

static void plain_lines_refuse_control_bytes(void **state)
{
	struct buf out = { 0 };
	char *name = repeat('a', COMMAND_MAX);

	(void)state;
	assert_true(command_line(&out, "LHLO", "client.example"));
	assert_true(command_line(&out, "QUIT", NULL));
	assert_string_equal(out.data, "LHLO client.example\r\nQUIT\r\n");
	buf_clear(&out);
	assert_false(command_line(&out, "LHLO", "a\r\nMAIL"));
	assert_false(command_line(&out, "LHLO\n", "a"));
	assert_false(command_line(&out, "LHLO", name));
	assert_int_equal(out.len, 0);
	free(name);
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mail_has_only_announced_parameters),
		cmocka_unit_test(the_null_sender_has_parameters_too),
		cmocka_unit_test(rcpt_has_only_announced_parameters),
		cmocka_unit_test(no_address_breaks_out_of_its_line),
		cmocka_unit_test(no_parameter_breaks_out_of_its_line),
		cmocka_unit_test(eightbit_recipients_need_smtputf8),
		cmocka_unit_test(nobody_is_no_recipient),
		cmocka_unit_test(lines_have_a_longest_length),
		cmocka_unit_test(names_are_as_long_as_they_may_be),
		cmocka_unit_test(what_only_names_things_gives_way_to_the_limit),
		cmocka_unit_test(plain_lines_refuse_control_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
