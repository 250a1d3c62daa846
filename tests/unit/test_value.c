#include "tests/unit/unit.h"

#include "db/grammar/value.h"

/* "" if the value is good, else "COLUMN why", with '~' in front for a warning. */
static const char *judge_for(bool router, const char *relation, bool references, const char *value)
{
	static char text[300];
	struct value_check check;
	struct record record = { .key = "k", .key_length = 1, .value = value, .value_length = (uint32_t)strlen(value) };
	const char *why = NULL;
	size_t offset = 0;
	bool is_warning = false;

	value_check_for(&check, relation, references, router);
	if (value_is_good(&check, &record, &offset, &why, &is_warning))
		text[0] = '\0';
	else
		snprintf(text, sizeof text, "%s%zu %s", is_warning ? "~" : "", offset, why);
	value_check_free(&check);
	return text;
}

static const char *judge(const char *relation, bool references, const char *value)
{
	return judge_for(false, relation, references, value);
}

static void good_values_pass(void **state)
{
	static const struct { const char *relation, *value; } rows[] = {
		{ "aliases", "alice@home.test" }, { "aliases", "bob" }, { "aliases", "a@b.test, c, \"|/bin/cat\", /var/tmp/x" },
		{ "aliases", "a@b.test,\n\tc@d.test" }, { "aliases", "\"Full Name\" <u@r.test> (note)" },
		{ "fqdnaliases", "%1@r.test" }, { "fqdnroutes", "smtp-lmtp!node!cyr%2" }, { "fqdnroutes", "error!nosuchuser!some text" },
		{ "fqdnroutes", "ERROR" }, { "fqdnroutes", "ignore!" }, { "fqdnroutes", "smtp!%3!%5" }, { "routesdb", "smtp!x%0" },
		{ "routesdb", "delay!3600" }, { "thishost", "" }, { "thishost", "mx.local.test" }, { "thishost", "x%0" },
		{ "mboxmap", "host:/dir:user" }, { "otherservers", "any thing @@" }, { "unknown", "%9 @@ \"" }, { "unknown", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_string_equal(judge(rows[i].relation, true, rows[i].value), "");
}

static void mistakes_are_found_where_they_are(void **state)
{
	static const struct { const char *relation, *value, *start; } rows[] = {
		{ "aliases", "", "0 " }, { "aliases", "ok@r.test, bogus@@x", "1" }, { "aliases", "a b c", "" },
		{ "aliases", "\"open", "0 " }, { "fqdnroutes", "justaword", "0 " }, { "fqdnroutes", "", "0 " },
		{ "fqdnroutes", "error!", "0 " }, { "fqdnroutes", "c!!u", "0 " }, { "fqdnroutes", "delay!soon", "0 " },
		{ "thishost", "not a domain", "0 " }, { "mboxmap", "host:dir", "0 " }, { "mboxmap", "host:dir:", "0 " },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *judgement = judge(rows[i].relation, true, rows[i].value);

		assert_true(judgement[0] >= '0' && judgement[0] <= '9');
		assert_int_equal(strncmp(judgement, rows[i].start, strlen(rows[i].start)), 0);
	}
}

static void lists_that_zmailers_router_sends_to_root_are_told_where_one_is(void **state)
{
	/* as a router of 3.0.1 took them: -1, or the column of what it did not take */
	static const struct { const char *value; int column; } rows[] = {
		{ "ann@far.test, bob", -1 }, { "\xc3\xa9mile@far.test", 0 }, { "u@\xc3\xbc.test", 2 }, { "\xc3\xa9mile <u@far.test>", 0 },
		{ "\"\xc3\xa9\" <u@far.test>", -1 }, { "u@far.test (\xc3\xa9)", -1 }, { "\"\xc3\xa9\"@far.test", -1 },
		{ "bob (\xc3\xa9)", -1 }, { "x..y@far.test", 2 }, { ".x@far.test", 0 }, { "x.@far.test", 2 }, { "x.", 2 }, { "a, x., b", 5 },
		{ "\"dot.\"@far.test", -1 }, { "u@far.test.", 11 }, { "<u@far.test.>", 12 }, { "u@far. test", -1 }, { "a. b@far.test", -1 },
		{ "Full.Name <u@far.test>", 4 }, { "\"F. N.\" <u@far.test>", -1 }, { "A. B. <u@far.test>", 1 }, { "x@b.c <u@far.test>", 1 },
		{ "Full Name <u@far.test>", -1 }, { "a.b: u@far.test;", 1 }, { "grp: u@far.test, v@far.test;", -1 }, { "%x@far.test", 0 },
		{ "ok, %x", 4 }, { "a%b%c@far.test", -1 }, { "<@a.test,@b.test:u@c.test>", -1 }, { "u@far.test (a.b)", -1 }, { "\"|/bin/cat -u\"", -1 },
		{ "/var/tmp/x.y", -1 }, { "u@[192.0.2.7]", -1 }, { "u@[IPv6:2001:db8::1]", -1 }, { "\\root", -1 }, { "a\\.b@far.test", -1 },
		{ "a\"b c\"@far.test", 1 }, { "\"b c\"a@far.test", 0 }, { "a.\"b c\"@far.test", -1 }, { "x, \"dot.\"x", 3 },
		{ "Bob\"x\" <u@far.test>", -1 }, { "\"a b\" <\"c d\"@far.test>", -1 }, { "# \xc3\xa9\nann", -1 }, { "ann\nx.\nbob", 6 },
		/* a backslash at the start and directly after a comma becomes a blank, in quotes too; another begins no word */
		{ "root@b.test, \\lead", 13 }, { "root@b.test,\\lead", -1 }, { "\\lead, x", -1 }, { "x, \"\\lead\"", -1 },
		{ "team: root, \\lead;", 12 }, { "team: root,\\lead;", -1 }, { "x@far.test, \\lead@far.test", 12 }, { "<\\lead>", 1 },
		{ "A <\\lead@far.test>", 3 }, { "<@a.test:\\x@b.test>", 9 }, { "(c) \\lead", 4 }, { "a\\b@far.test", -1 },
		{ "x, a\\ b", -1 }, { "x, a\\@b", -1 }, { "x, \\@b", 3 }, { "x, a.\\b", 5 }, { "\\\"x", 0 }, { "\"|c a,\\\"b\\\"\", x", 6 },
		{ "a@far.test,\n\\lead", 11 }, { "a@far.test\n\\lead", -1 },
		{ "a,,b", -1 }, { ", a", -1 }, { "a,", 2 }, { "a, (c)", 6 }, { "g: a, b,;", 8 }, { "g: a; b", 6 }, { "g: a;, b", -1 },
		{ "j\xc3\xbcrgen@far.test", -1 }, { "x.\xc3\xa9@far.test", 2 }, { "<@a.test:u>", 10 }, { "<a:b@far.test>", 2 }, { "<a::b@far.test>", -1 },
		{ "!x@far.test", 0 }, { "x%", 2 }, { "a%%b@far.test", 2 }, { "u@far.test\r", 10 }, { "[[u]@far.test", 1 }, { "[u]@far.test", -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char start[16] = "";
		const char *said = judge_for(true, "fqdnaliases", true, rows[i].value);

		if (rows[i].column >= 0)
			snprintf(start, sizeof start, "~%d ZM", rows[i].column);
		if (strncmp(said, start, strlen(start)) != 0 || (start[0] == '\0' && said[0] != '\0'))
			fail_msg("%s: %s instead of %s", rows[i].value, said, start);
		assert_string_equal(judge("fqdnaliases", true, rows[i].value), "");
	}
	assert_string_equal(judge_for(true, "fqdnaliases", true, "%1@far.test"), "");
	assert_int_equal(strncmp(judge_for(true, "aliases", false, "%1@far.test"), "~0 ZM", 5), 0);
	assert_string_equal(judge_for(true, "thishost", true, "\xc3\xbc.test"), "");
}

static void references_without_an_argument_are_told(void **state)
{
	(void)state;
	assert_string_equal(judge("fqdnroutes", true, "c!h!u%6"), "5 nothing is ever put in for this reference");
	assert_string_equal(judge_for(true, "fqdnaliases", true, "box%2@r.test"),
	                    "~3 ZMailer's own scripts put nothing in for this reference in maps of this relation; those of zlmtp do, but in routesdb");
	assert_string_equal(judge_for(true, "routesdb", true, "c!%1!h"),
	                    "~2 ZMailer's own scripts put nothing in for this reference in maps of this relation; those of zlmtp do, but in routesdb");
	/* ours puts something in */
	assert_string_equal(judge("fqdnaliases", true, "box%2@r.test"), "");
	assert_string_equal(judge("routesdb", true, "c!%1!h"), "");
	assert_string_equal(judge("fqdnroutes", true, "c!h!a%%9"), "");
	assert_string_equal(judge("fqdnroutes", false, "c!h!u%6"), "");
}

/* "-lm" where "-lm%:" was meant: "ann%2" is a user whom no store has. */
static void references_in_a_map_without_them_are_told(void **state)
{
	(void)state;
	assert_string_equal(judge("fqdnroutes", false, "lmtp!store!ann%2"),
	                    "~14 nothing is put in for this reference, as the lookup options of this map have no \"%\": -lm%: is usual");
	assert_int_equal(strncmp(judge("fqdnaliases", false, "box%1@r.test"), "~3 nothing is put in", 20), 0);
	assert_string_equal(judge("fqdnroutes", false, "lmtp!store!100%"), "");
	assert_string_equal(judge("fqdnaliases", false, "user%far.test@relay.test"), "");
	assert_string_equal(judge("thatsdb", false, "a%2"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_values_pass),
		cmocka_unit_test(mistakes_are_found_where_they_are),
		cmocka_unit_test(lists_that_zmailers_router_sends_to_root_are_told_where_one_is),
		cmocka_unit_test(references_without_an_argument_are_told),
		cmocka_unit_test(references_in_a_map_without_them_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
