#include "tests/unit/unit.h"

#include <sysexits.h>

#include <ldap.h>

#include "db/sync/syncconf.h"

#define TOP "uri ldapi:///\nbase o=x\nmap /m/users\n"
#define RULE "rule one\nfilter (a=b)\nkey {mail}\nvalue {x}\n"

static int parse(struct syncconf *c, const char *text, struct buf *why)
{
	return syncconf_parse(c, "F", text, strlen(text), why);
}

static void a_whole_file_is_understood(void **state)
{
	static const char text[] =
		"uri ldapi:///\nbase o=x\nscope one\nmap /m/users\ntype lmdb\nenvironment /m/env\nfold upper\nunclear hold!{key}\nsilence 1m\n"
		"domains /m/domains\ndomains_format {domain} +\ndomains_command /bin/x y z\n"
		"rule one\n  filter = objectClass=a\n  key {mail}\n  value ch!{uid}!{mailbox}%2\n"
		"rule two\nbase o=y\nscope sub\nfilter (objectClass=b)\nkey {mail}\nvalue {maildrop}\nvalues many\ndomain {o}\n";
	struct syncconf c;
	struct buf why = { 0 };

	(void)state;
	assert_int_equal(parse(&c, text, &why), EX_OK);
	assert_string_equal(c.map.base, "/m/users");
	assert_string_equal(c.map.type, "lmdb");
	assert_string_equal(c.map.environment, "/m/env");
	assert_int_equal(c.map.folding, 'u');
	assert_int_equal(c.silence, 60);
	assert_non_null(c.unclear);
	assert_string_equal(c.domains_command[2], "z");
	assert_int_equal(c.rule_count, 2);
	assert_string_equal(c.rules[0].filter, "(objectClass=a)");
	assert_string_equal(c.rules[0].base, "o=x");
	assert_int_equal(c.rules[0].scope, LDAP_SCOPE_ONELEVEL);
	assert_false(c.rules[0].many_values);
	assert_null(c.rules[0].domain);
	/* a rule names domains, so keys do not */
	assert_false(c.rules[0].keys_name_domains);
	assert_string_equal(c.rules[0].attributes[0], "mail");
	assert_string_equal(c.rules[0].attributes[2], "mailbox");
	assert_string_equal(c.rules[1].base, "o=y");
	assert_int_equal(c.rules[1].scope, LDAP_SCOPE_SUBTREE);
	assert_true(c.rules[1].many_values);
	assert_string_equal(c.rules[1].attributes[2], "o");
	syncconf_free(&c);
	buf_free(&why);
}

static void damage_stops_with_file_and_line(void **state)
{
	static const struct { const char *text, *why; } rows[] = {
		{ TOP, "F: there is no rule" },
		{ "uri ldapi:///\nbase o=x\n" RULE, "F: map is missing" },
		{ "base o=x\nmap /m\n" RULE, "F: no server is named" },
		{ "uri ldapi:///\nmap /m\n" RULE, "F:3: rule: base is missing" },
		{ TOP "rule one\nkey {a}\nvalue x\n", "F:4: rule: filter is missing" },
		{ TOP "rule one\nfilter (a=b)\n", "F:4: rule: neither key and value nor domain" },
		{ TOP "rule one\nfilter (a=b)\nkey {a}\n", "F:4: rule: key without value" },
		{ TOP "rule one\nfilter (a=b)\nvalue {a}\n", "F:4: rule: value without key" },
		{ TOP "rule one\nfilter (a=b)\nkey x\nvalue y\n", "F:6: key: has no {ATTRIBUTE}" },
		{ TOP RULE RULE, "F:8: rule: there is a rule one already" },
		{ TOP RULE "key {x}\n", "F:8: key: line 6 says it already" },
		{ TOP RULE "map /x\n", "F:8: map: must stand before the first rule" },
		{ TOP RULE "uri ldap://x\n", "F:8: uri: must stand before the first rule" },
		{ TOP "key {x}\n" RULE, "F:4: key: belongs to a rule" },
		{ TOP "rule a-b\n", "F:4: rule: expected a name" },
		{ TOP "rule\n", "F:4: rule: expected a name" },
		{ TOP "rule one\nfilter (a=b\n", "F:5: filter: is no filter; expected one as (objectClass=x) or (&(mail=*)(objectClass=x))" },
		{ TOP "rule one\nfilter (mail=%s)\n", "F:5: filter: \"%\" stands for nothing here, as no key is asked for" },
		{ TOP "rule one\nfilter (&(objectClass=b)(cn=100%*))\n", "F:5: filter: \"%\" stands for nothing here" },
		{ TOP "rule one\nbase o=%d,o=y\n" "filter (a=b)\n", "F:5: base: \"%\" stands for nothing here" },
		{ "uri ldapi:///\nbase o=%s\nmap /m\n" RULE, "F:2: base: \"%\" stands for nothing here" },
		{ TOP "rule one\nbase nonsense\n", "F:5: base: is no distinguished name" },
		{ TOP "rule one\nfilter (a=b)\nkey {a\n", "F:6: key: column 1" },
		{ TOP "rule one\nfilter (a=b)\ndomain x\n", "F:4: rule: no {ATTRIBUTE} in domain" },
		{ TOP "rule one\nfilter (a=b)\ndomain {o}\n", "F: domains are to be written, but \"domains\" names no file" },
		{ TOP "domains_command /x\n" RULE, "F: domains are to be written" },
		{ TOP "domains x\n" RULE, "F:4: domains: expected an absolute path" },
		{ TOP "domains_format x\n" RULE, "F:4: domains_format: expected {domain} in it" },
		{ TOP "domains_format {domain}{x}\n" RULE, "F:4: domains_format: expected {domain} in it" },
		{ TOP "domains_command x\n" RULE, "F:4: domains_command: expected an absolute path" },
		{ TOP "unclear {mail}\n" RULE, "F:4: unclear: only {key}" },
		{ TOP "unclear\n" RULE, "F:4: unclear: has no value" },
		{ TOP "silence 0\n" RULE, "F:4: silence: must not be 0" },
		{ TOP "fold both\n" RULE, "F:4: fold: expected one of lower, upper, no" },
		{ TOP "type\n" RULE, "F:4: type: has no value" },
		{ "uri ldapi:///\nbase o=x\nmap users\n" RULE, "F:3: map: expected an absolute path" },
		{ "uri ldapi:///\nbase o=x\nmap /\n" RULE, "F:3: map: is a directory; expected the name of a map in it" },
		{ "uri ldapi:///\nbase o=x\nmpa /m/users\n" RULE, "F:3: unknown keyword \"mpa\"; is map meant?" },
		{ "uri ldapi:///\nbase o=x\nmap /m/users.db\n" RULE, "F:3: map: expected the name without its suffix" },
		{ TOP "attr x\n" RULE, "F:4: unknown keyword \"attr\"" },
		{ TOP "binddn cn=a\n" RULE, "F:4: binddn: without a password" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct syncconf c;
		struct buf why = { 0 };

		assert_int_equal(parse(&c, rows[i].text, &why), EX_CONFIG);
		if (strstr(buf_str(&why), rows[i].why) == NULL)
			fail_msg("\"%s\" should be in \"%s\"", rows[i].why, buf_str(&why));
		syncconf_free(&c);
		buf_free(&why);
	}
}

static char *definition(const char *text)
{
	struct syncconf c;
	struct buf why = { 0 };
	char *copy;

	assert_int_equal(parse(&c, text, &why), EX_OK);
	copy = strdup(c.rules[0].definition);
	syncconf_free(&c);
	return copy;
}

static void what_changes_the_yield_changes_the_definition(void **state)
{
	static const char *const others[] = {
		"uri ldapi:///\nbase o=y\nmap /m/users\n" RULE, TOP "scope one\n" RULE, TOP "fold no\n" RULE, TOP "domains /d\n" RULE,
		TOP "rule one\nfilter (a=c)\nkey {mail}\nvalue {x}\n", TOP "rule one\nfilter (a=b)\nkey {mail:local}\nvalue {x}\n",
		TOP "rule one\nfilter (a=b)\nkey {mail}\nvalue {y}\n", TOP RULE "values many\n", TOP "binddn cn=a\npasswd b\n" RULE,
	};
	static const char *const same[] = {
		"# comment\n" TOP RULE, TOP "silence 5\n" RULE, TOP "unclear {key}\n" RULE, "uri ldapi://x\nbase o=x\nmap /other\n" RULE,
		TOP RULE "rule two\nfilter (c=d)\nkey {x}\nvalue {y}\n",
	};
	char *usual = definition(TOP RULE);

	(void)state;
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		char *other = definition(others[i]);

		assert_string_not_equal(usual, other);
		free(other);
	}
	for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
		char *other = definition(same[i]);

		assert_string_equal(usual, other);
		free(other);
	}
	free(usual);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_file_is_understood),
		cmocka_unit_test(damage_stops_with_file_and_line),
		cmocka_unit_test(what_changes_the_yield_changes_the_definition),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
