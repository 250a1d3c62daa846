#include "tests/unit/unit.h"

#include "db/ldap/template.h"
#include "lib/settings.h"

static struct ldap_entry entry;

static void add(const char *attribute, const char *value)
{
	ldap_entry_add(&entry, attribute, value, strlen(value));
}

static int make_entry(void **state)
{
	(void)state;
	add("mail", "b@y.example");
	add("mail", "a@x.example");
	add("uid", "joe");
	add("mailbox", "50%2off");
	add("bad", "two\nlines");
	add("at", "@only.domain");
	add("two", "1");
	add("two", "2");
	add("padded", "  ann@x.example ");
	add("blanks", "   ");
	ldap_entry_add(&entry, "nul", "a\0b", 3);
	return 0;
}

static int free_entry(void **state)
{
	(void)state;
	ldap_entry_free(&entry);
	return 0;
}

static void check(const char *text, const char *key, bool many, enum template_outcome outcome, const char *expected)
{
	struct buf why = { 0 }, joined = { 0 };
	struct results results = { 0 };
	const char *culprit = NULL;
	struct template *t = template_parse(text, &why);

	assert_non_null(t);
	assert_int_equal(template_expand(t, &entry, key, many, &results, &culprit), outcome);
	results_settle(&results);
	results_join(&results, "|", &joined);
	if (outcome == TEMPLATE_DONE)
		assert_string_equal(buf_str(&joined), expected);
	else
		assert_string_equal(culprit, expected);
	results_free(&results);
	template_free(&t);
	buf_free(&joined);
	buf_free(&why);
}

static void values_take_their_places(void **state)
{
	(void)state;
	check("smtp-lmtp!node!{uid}%2", NULL, false, TEMPLATE_DONE, "smtp-lmtp!node!joe%2");
	check("{UID}-{uid:local}", NULL, false, TEMPLATE_DONE, "joe-joe");
	check("{mail}", NULL, true, TEMPLATE_DONE, "a@x.example|b@y.example");
	check("{mail:local}+{uid}@{mail:domain}", NULL, true, TEMPLATE_DONE, "a+joe@x.example|b+joe@y.example");
	check("{uid}@{key:domain} {key} {key:local}", "u@d", false, TEMPLATE_DONE, "joe@d u@d u");
	check("{padded}+{padded:local}+{padded:domain}", NULL, false, TEMPLATE_DONE, "ann@x.example+ann+x.example");
	check("{{{uid}}} }} {{", NULL, false, TEMPLATE_DONE, "{joe} } {");
	check("", NULL, false, TEMPLATE_DONE, "");
}

static void a_percent_sign_of_a_value_is_doubled_beside_references_only(void **state)
{
	(void)state;
	check("{mailbox}", NULL, false, TEMPLATE_DONE, "50%2off");
	check("{mailbox}%2", NULL, false, TEMPLATE_DONE, "50%%2off%2");
	check("{mailbox}%", NULL, false, TEMPLATE_DONE, "50%2off%");
}

static void what_cannot_be_made_names_the_culprit(void **state)
{
	(void)state;
	check("{mail}", NULL, false, TEMPLATE_SEVERAL, "mail");
	check("{mail}{two}", NULL, true, TEMPLATE_SEVERAL, "two");
	check("{cn}", NULL, true, TEMPLATE_NO_VALUE, "cn");
	check("{uid:domain}", NULL, true, TEMPLATE_NO_PART, "uid");
	check("{at:local}", NULL, true, TEMPLATE_NO_PART, "at");
	check("{bad}", NULL, true, TEMPLATE_BAD_VALUE, "bad");
	check("{nul}", NULL, true, TEMPLATE_BAD_VALUE, "nul");
	check("{key}", NULL, true, TEMPLATE_BAD_VALUE, "key");
	check("{blanks}", NULL, true, TEMPLATE_BAD_VALUE, "blanks");
}

static void damaged_templates_are_named_with_their_column(void **state)
{
	static const struct { const char *text, *why; } rows[] = {
		{ "a{uid", "column 2: \"{\" without \"}\"" }, { "uid}", "column 4: \"}\" without \"{\"" }, { "{}", "column 1: expected {NAME}" },
		{ "x{uid:foo}", "column 2: expected {NAME}" }, { "{u id}", "column 1: expected" }, { "{-x}", "column 1: expected" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf why = { 0 };

		assert_null(template_parse(rows[i].text, &why));
		assert_non_null(strstr(buf_str(&why), rows[i].why));
		buf_free(&why);
	}
}

static void formats_of_postfix_become_templates(void **state)
{
	struct pattern format;
	struct buf why = { 0 }, joined = { 0 };
	struct results results = { 0 };
	const char *culprit;
	struct template *t;
	char **names = NULL;

	(void)state;
	assert_true(pattern_parse(&format, "%s;%u;%d;%S;%U;%D;%1%%2", &why));
	t = template_of_pattern(&format, "mail");
	template_attributes(t, &names);
	assert_string_equal(names[0], "mail");
	assert_null(names[1]);
	assert_int_equal(template_expand(t, &entry, "k%@d.e", true, &results, &culprit), TEMPLATE_DONE);
	results_settle(&results);
	results_join(&results, "|", &joined);
	assert_string_equal(buf_str(&joined), "a@x.example;a;x.example;k%%@d.e;k%%;d.e;e%2|b@y.example;b;y.example;k%%@d.e;k%%;d.e;e%2");
	assert_true(template_fits(t, "k@d", 3));
	assert_false(template_fits(t, "k", 1));
	words_free(names);
	template_free(&t);
	pattern_free(&format);
	results_free(&results);
	buf_free(&joined);
	buf_free(&why);
}

static void results_are_a_set_in_order(void **state)
{
	static const char *const texts[] = { "b", "a", "b", "c", "a", "a" };
	struct results results = { 0 };
	struct buf joined = { 0 };

	(void)state;
	results_settle(&results);
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		results_add(&results, texts[i]);
	results_settle(&results);
	results_join(&results, ", ", &joined);
	assert_string_equal(buf_str(&joined), "a, b, c");
	results_free(&results);
	buf_free(&joined);
}

static void attributes_that_nobody_asked_for_are_seen(void **state)
{
	char *asked[] = { "MAIL;lang-de", "uid", "mailbox", "bad", "at", "two", "padded", "blanks", NULL };

	(void)state;
	assert_string_equal(ldap_entry_unasked(&entry, asked), "nul");
	asked[0] = "mai";
	assert_string_equal(ldap_entry_unasked(&entry, asked), "mail");
	assert_non_null(ldap_entry_find(&entry, "MailBox"));
	assert_null(ldap_entry_find(&entry, "mailbo"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_take_their_places),
		cmocka_unit_test(a_percent_sign_of_a_value_is_doubled_beside_references_only),
		cmocka_unit_test(what_cannot_be_made_names_the_culprit),
		cmocka_unit_test(damaged_templates_are_named_with_their_column),
		cmocka_unit_test(formats_of_postfix_become_templates),
		cmocka_unit_test(results_are_a_set_in_order),
		cmocka_unit_test(attributes_that_nobody_asked_for_are_seen),
	};

	return cmocka_run_group_tests(tests, make_entry, free_entry);
}
