#include "tests/unit/unit.h"

#include "db/sync/rule.h"
#include "lib/settings.h"

static struct template *template(const char *text)
{
	struct buf why = { 0 };
	struct template *t = template_parse(text, &why);

	assert_non_null(t);
	buf_free(&why);
	return t;
}

static struct sync_rule make_rule(const char *key, const char *value, bool many, const char *domain)
{
	struct sync_rule rule = { .many_values = many };

	if (key != NULL) {
		rule.key = template(key);
		template_attributes(rule.key, &rule.attributes);
		rule.value = template(value);
		template_attributes(rule.value, &rule.attributes);
	}
	if (domain != NULL && strcmp(domain, "keys") == 0) {
		rule.keys_name_domains = true;
	} else if (domain != NULL) {
		rule.domain = template(domain);
		template_attributes(rule.domain, &rule.attributes);
	}
	return rule;
}

/* An entry from "name=value name=value". */
static struct ldap_entry make_entry(const char *text)
{
	struct ldap_entry entry = { .dn = strdup("cn=e") };
	char *copy = strdup(text), *save = NULL;

	for (char *word = strtok_r(copy, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
		char *value = strchr(word, '=');

		*value++ = '\0';
		ldap_entry_add(&entry, word, value, strlen(value));
	}
	free(copy);
	return entry;
}

struct row {
	const char *key, *value;
	bool many;
	const char *domain, *entry;
	const char *yield;     /* "key=value key @domain"; value "?" where it is unclear */
	const char *why;       /* NULL if all went well */
};

static void describe(const struct yield *y, struct buf *out)
{
	for (size_t i = 0; i < y->count; i++)
		buf_addf(out, "%s%s=%s", out->len > 0 ? " " : "", y->records[i].key, y->records[i].value != NULL ? y->records[i].value : "?");
	for (size_t i = 0; y->domains != NULL && y->domains[i] != NULL; i++)
		buf_addf(out, "%s@%s", out->len > 0 ? " " : "", y->domains[i]);
}

static void entries_yield_what_the_rules_say(void **state)
{
	static const struct row rows[] = {
		{ "{mail}", "c!{uid}%2", false, NULL, "mail=A@X uid=u", "a@x=c!u%2", NULL },
		{ "{mail}", "{uid}", false, NULL, "mail=b@x mail=A@x mail=B@X uid=u", "a@x=u b@x=u", NULL },
		{ "{mail}", "{drop}", true, NULL, "mail=a@x drop=2 drop=1", "a@x=1, 2", NULL },
		{ "{mail}", "{drop}", false, NULL, "mail=a@x mail=b@x drop=2 drop=1", "a@x=? b@x=?", "drop has several values, one is meant" },
		{ "{mail}", "{uid}", false, NULL, "mail=a@x", "a@x=?", "uid has no value" },
		{ "{mail}", "{uid}", false, NULL, "uid=u", "", "mail has no value" },
		{ "{mail}", "{key:local}", false, NULL, "mail=a@x mail=b@x", "a@x=a b@x=b", NULL },
		{ "{mail}", "{uid}", false, "keys", "mail=a@X.example mail=b@y mail=c@[1.2.3.4] mail=local uid=u",
		  "a@x.example=u b@y=u c@[1.2.3.4]=u local=u @x.example @y", NULL },
		{ NULL, NULL, false, "{o}", "o=X.example o=y", "@x.example @y", NULL },
		{ NULL, NULL, false, "{mail:domain}", "mail=a@x mail=b@x mail=c@y", "@x @y", NULL },
		{ NULL, NULL, false, "{o}", "o=not=one", "", "\"not=one\" is no domain" },
		{ NULL, NULL, false, "{o}", "o=A.example o=not=one o=z.example", "@a.example @z.example", "\"not=one\" is no domain" },
		{ NULL, NULL, false, "{o}", "o=A.example o=\177 o=z.example", "@a.example @z.example",
		  "o has a value that is empty or has control bytes in it; its other values are used" },
		{ "{mail}", "{uid}", false, "keys", "mail=a@X.example mail=b\177@y mail=c@z uid=u", "a@x.example=u c@z=u @x.example @z",
		  "mail has a value that is empty or has control bytes in it; its other values are used" },
		{ "{mail}", "{uid}", false, "keys", "mail=a@X.example mail=b@n!o mail=c@z uid=u", "a@x.example=u b@n!o=u c@z=u @x.example @z",
		  "\"n!o\" is no domain" },
		{ "{mail:domain}", "{uid}", false, NULL, "mail=a@x mail=b mail=c@z uid=u", "x=u z=u",
		  "mail has no part before or after an @ as the template asks for; its other values are used" },
		{ "{mail}", "{uid}", false, NULL, "mail=a@x mail=\177", "a@x=?", "its other values are used; uid has no value" },
		{ "{mail}", "{drop}", true, NULL, "mail=a@x drop=1 drop=\177", "a@x=?", "drop has a value that is empty or has control bytes in it" },
		{ "{mail}", "{uid}", false, NULL, "mail=a@x uid=u sn=z", "", "the server sent attribute sn, which was not asked for" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct sync_rule rule = make_rule(rows[i].key, rows[i].value, rows[i].many, rows[i].domain);
		struct ldap_entry entry = make_entry(rows[i].entry);
		struct buf why = { 0 }, text = { 0 };
		struct yield yield;
		bool ok = rule_apply(&rule, &entry, 'l', &yield, &why);

		describe(&yield, &text);
		assert_string_equal(buf_str(&text), rows[i].yield);
		assert_int_equal(ok, rows[i].why == NULL);
		if (rows[i].why != NULL)
			assert_non_null(strstr(buf_str(&why), rows[i].why));
		else
			assert_int_equal(why.len, 0);
		yield_free(&yield);
		ldap_entry_free(&entry);
		rule_free(&rule);
		buf_free(&why);
		buf_free(&text);
	}
}

static void keys_are_folded_as_asked(void **state)
{
	static const struct { char folding; const char *keys; } rows[] = { { 'l', "a@x=u" }, { 'u', "A@X=u" }, { '-', "A@X=u a@x=u" } };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct sync_rule rule = make_rule("{mail}", "{uid}", false, NULL);
		struct ldap_entry entry = make_entry("mail=A@X mail=a@x uid=u");
		struct buf why = { 0 }, text = { 0 };
		struct yield yield;

		assert_true(rule_apply(&rule, &entry, rows[i].folding, &yield, &why));
		describe(&yield, &text);
		assert_string_equal(buf_str(&text), rows[i].keys);
		yield_free(&yield);
		ldap_entry_free(&entry);
		rule_free(&rule);
		buf_free(&text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_yield_what_the_rules_say),
		cmocka_unit_test(keys_are_folded_as_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
