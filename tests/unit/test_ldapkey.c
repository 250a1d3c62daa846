#include "tests/unit/unit.h"

#include "db/ldap/key.h"

static char *filter_of(const char *pattern, const char *key)
{
	struct pattern p;
	struct filter_text f = { 0 };
	struct buf why = { 0 };
	char *text = NULL;

	assert_true(pattern_parse(&p, pattern, &why));
	if (pattern_fits(&p, key, strlen(key))) {
		pattern_add_filter(&p, key, strlen(key), &f);
		text = strdup(filter_str(&f));
	}
	pattern_free(&p);
	filter_free(&f);
	buf_free(&why);
	return text;
}

static void parts_of_the_key_take_their_places(void **state)
{
	/* filter NULL: the key has not what the pattern wants */
	static const struct { const char *pattern, *key, *filter; } rows[] = {
		{ "(mail=%s)", "u@d.e", "(mail=u@d.e)" }, { "(%u|%d)", "u@d.e", "(u|d.e)" }, { "(%S%U%D)", "u@d.e", "(u@d.eud.e)" },
		{ "(%1.%2.%3)", "u@a.b.c", "(c.b.a)" }, { "(%3)", "u@a.b", NULL }, { "(%1)", "u@d", "(d)" }, { "(%2)", "u@a..b", NULL },
		{ "(100%%=%s)", "x", "(100%=x)" }, { "(%u)", "x", "(x)" }, { "(%d)", "x", NULL }, { "(%1)", "x", NULL }, { "(%u)", "@d", NULL },
		{ "(%d)", "u@", NULL }, { "(%u%d)", "a@b@c", "(a@bc)" }, { "(%s)", "*@(", "(\\2a@\\28)" }, { "(%s)", "", NULL }, { "plain", "", "plain" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char *text = filter_of(rows[i].pattern, rows[i].key);

		if (rows[i].filter == NULL)
			assert_null(text);
		else
			assert_string_equal(text, rows[i].filter);
		free(text);
	}
}

static void a_key_in_a_name_is_escaped_as_a_name(void **state)
{
	struct pattern p;
	struct dn_text d = { 0 };
	struct buf why = { 0 };

	(void)state;
	assert_true(pattern_parse(&p, "mail=%s,o=%d,dc=x", &why));
	assert_true(pattern_uses_key(&p));
	pattern_add_dn(&p, "a,b@c+d", 7, &d);
	assert_string_equal(dn_str(&d), "mail=a\\2cb@c\\2bd,o=c\\2bd,dc=x");
	dn_free(&d);
	pattern_free(&p);
}

static void damaged_patterns_are_named_with_their_column(void **state)
{
	static const struct { const char *text, *why; } rows[] = { { "abc%", "column 4:" }, { "%x", "column 1:" }, { "%s%0", "column 3:" } };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct pattern p;
		struct buf why = { 0 };

		assert_false(pattern_parse(&p, rows[i].text, &why));
		assert_non_null(strstr(buf_str(&why), rows[i].why));
		pattern_free(&p);
		buf_free(&why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_of_the_key_take_their_places),
		cmocka_unit_test(a_key_in_a_name_is_escaped_as_a_name),
		cmocka_unit_test(damaged_patterns_are_named_with_their_column),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
