#include "tests/unit/unit.h"

#include "db/grammar/value.h"

/* "" if the value is good, else "COLUMN why", with '~' in front for a warning. */
static const char *judge(const char *relation, bool references, const char *value)
{
	static char text[300];
	struct value_check check;
	struct record record = { .key = "k", .key_length = 1, .value = value, .value_length = (uint32_t)strlen(value) };
	const char *why = NULL;
	size_t offset = 0;
	bool is_warning = false;

	value_check_for(&check, relation, references);
	if (value_is_good(&check, &record, &offset, &why, &is_warning))
		text[0] = '\0';
	else
		snprintf(text, sizeof text, "%s%zu %s", is_warning ? "~" : "", offset, why);
	value_check_free(&check);
	return text;
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

static void references_without_an_argument_are_told(void **state)
{
	(void)state;
	assert_string_equal(judge("fqdnroutes", true, "c!h!u%6"), "5 nothing is ever put in for this reference");
	assert_string_equal(judge("fqdnaliases", true, "box%2@r.test"),
	                    "~3 ZMailer's own scripts put nothing in for this reference in maps of this relation; those of zlmtp do, but in routesdb");
	assert_string_equal(judge("routesdb", true, "c!%1!h"),
	                    "~2 ZMailer's own scripts put nothing in for this reference in maps of this relation; those of zlmtp do, but in routesdb");
	assert_string_equal(judge("fqdnroutes", true, "c!h!a%%9"), "");
	assert_string_equal(judge("fqdnroutes", false, "c!h!u%6"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_values_pass),
		cmocka_unit_test(mistakes_are_found_where_they_are),
		cmocka_unit_test(references_without_an_argument_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
