#include "tests/unit/unit.h"

#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <ldap.h>

#include "db/ldap/conf.h"

#define BASE "base o=x\n"
#define FILTER "filter (mail=%s)\n"
#define ATTR "attr maildrop\n"
#define URI "uri ldapi:///\n"
#define USUAL URI BASE FILTER

static int parse(struct ldapconf *c, const char *text, struct buf *why)
{
	return ldapconf_parse(c, "F", text, strlen(text), why);
}

/* The lines of `before`, `middle` and `after` together. */
static int parse_three(struct ldapconf *c, const char *before, const char *middle, const char *after, struct buf *why)
{
	struct buf text = { 0 };
	int status;

	buf_adds(&text, before);
	buf_adds(&text, middle);
	buf_adds(&text, after);
	status = ldapconf_parse(c, "F", buf_str(&text), text.len, why);
	buf_free(&text);
	return status;
}

static void zmailers_and_postfix_words_mean_the_same(void **state)
{
	static const char *const texts[] = {
		"uri ldap://h1 ldap://h2\nbase o=x\nscope one\nfilter (mail=%s)\nattr maildrop\nbinddn cn=a\npasswd b\nclear_password yes\n"
		"authmethod simple\nprotocol 3\ndebug 0\nstart_tls no\n",
		"server_host = h1 ldap://h2\nsearch_base = o=x\nscope = one\nquery_filter = mail=%s\nresult_attribute = maildrop\n"
		"bind_dn = cn=a\nbind_pw = b\nclear_password = yes\nbind = yes\nversion = 3\ndebuglevel = 0\nstart_tls = no\n",
		"ldaphost h1 h2\nbase o=x\nscope one\nfilter mail=%s\nattr maildrop\nbinddn cn=a\npasswd b\nclear_password yes\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct ldapconf c;
		struct buf why = { 0 };
		struct filter_text f = { 0 };

		assert_int_equal(parse(&c, texts[i], &why), EX_OK);
		assert_string_equal(c.access.uris[0], "ldap://h1");
		assert_string_equal(c.access.uris[1], "ldap://h2");
		assert_null(c.access.uris[2]);
		assert_int_equal(c.scope, LDAP_SCOPE_ONELEVEL);
		assert_int_equal(c.access.bind, LDAP_BIND_SIMPLE);
		assert_string_equal(c.access.binddn, "cn=a");
		assert_string_equal(c.access.password, "b");
		assert_string_equal(c.attributes[0], "maildrop");
		assert_null(c.attributes[1]);
		pattern_add_filter(&c.filter, "k", 1, &f);
		assert_string_equal(filter_str(&f), "(mail=k)");
		filter_free(&f);
		ldapconf_free(&c);
		buf_free(&why);
	}
}

static void defaults_are_safe(void **state)
{
	struct ldapconf c;
	struct buf why = { 0 };

	(void)state;
	assert_int_equal(parse(&c, USUAL ATTR, &why), EX_OK);
	assert_true(c.access.verify);
	assert_int_equal(c.access.timeout, 10);
	assert_int_equal(c.access.network_timeout, 5);
	assert_int_equal(c.scope, LDAP_SCOPE_SUBTREE);
	assert_int_equal(c.dereference, LDAP_DEREF_NEVER);
	assert_false(c.many_entries);
	assert_true(c.many_values);
	assert_int_equal(c.recursion_limit, 10);
	assert_int_equal(c.cache_expiry, 0);
	ldapconf_free(&c);
	assert_int_equal(parse(&c, USUAL "result r!{mailbox}\n", &why), EX_OK);
	assert_false(c.many_values);
	ldapconf_free(&c);
	buf_free(&why);
}

static void damage_stops_with_file_and_line(void **state)
{
	static const struct { const char *text, *why; } rows[] = {
		{ BASE FILTER ATTR, "F: no server is named" },
		{ URI FILTER ATTR, "F: base is missing" },
		{ URI BASE ATTR, "F: filter is missing" },
		{ USUAL, "F: attr or result is missing" },
		{ USUAL "atr x\n", "F:4: unknown keyword \"atr\"; is attr meant?" },
		{ USUAL ATTR "serch_base x\n", "F:5: unknown keyword \"serch_base\"; is search_base meant?" },
		{ USUAL ATTR "bnid no\n", "F:5: unknown keyword \"bnid\"; is bind meant?" },
		{ USUAL ATTR "Tineout 3\n", "F:5: unknown keyword \"Tineout\"; is timeout meant?" },
		{ USUAL ATTR "\xc2\xa0timeout 3\n", "F:5: expected a keyword, found \"\xc2\xa0\" with U+00A0, which looks like a blank" },
		{ USUAL ATTR "attr x\n", "F:5: attr: line 4 says it already" },
		{ USUAL ATTR "search_base o=y\n", "F:5: search_base: line 2 says it already by base" },
		{ URI BASE ATTR "filter (mail=%s\n", "F:4: filter: is no filter" },
		{ URI BASE ATTR "filter (&(mail=%s)(a=b)\n", "F:4: filter: is no filter" },
		{ URI BASE ATTR "filter (mail=%)\n", "F:4: filter: column 7: expected %s" },
		{ URI BASE ATTR "filter\n", "F:4: filter: is no filter" },
		{ URI BASE ATTR "filter (mail=x)\n", "F: neither filter nor base has %s in it" },
		{ URI FILTER ATTR "base nonsense\n", "F:4: base: is no distinguished name" },
		{ USUAL ATTR "scope all\n", "F:5: scope: expected one of base, one, sub, found \"all\"" },
		{ USUAL ATTR "dereference 4\n", "F:5: dereference: expected one of 0, 1" },
		{ USUAL ATTR "timeout soon\n", "F:5: timeout: expected seconds" },
		{ USUAL ATTR "timeout 0\n", "F:5: timeout: must not be 0" },
		{ USUAL ATTR "start_tls maybe\n", "F:5: start_tls: expected yes or no" },
		{ USUAL ATTR "start_tls yes\n", "F:1: uri: ldapi:/// cannot be combined with start_tls" },
		{ USUAL ATTR "protocol 2\n", "F:5: protocol: only version 3" },
		{ USUAL ATTR "chase_referrals yes\n", "F:5: chase_referrals: referrals are never followed" },
		{ USUAL ATTR "tls_random_file /dev/random\n", "F:5: tls_random_file: has had no meaning" },
		{ BASE FILTER ATTR "uri ldaps://h\ntls_ca_cert_file /nonexistent\n", "F:5: tls_ca_cert_file: No such file" },
		{ BASE FILTER ATTR "uri ldap://h:99999\n", "F:4: uri: ldap://h:99999 has no port" },
		{ USUAL "attr mail;lang-de\n", "F:4: attr: expected names of attributes" },
		{ USUAL ATTR "tls_cert /x\n", "F:5: tls_cert: tls_cert and tls_key belong together" },
		{ USUAL ATTR "binddn cn=a\n", "F:5: binddn: without a password" },
		{ USUAL ATTR "binddn cn=a\npasswd\n", "F:5: binddn: without a password" },
		{ USUAL ATTR "passwd x\n", "F:5: passwd: a password without binddn" },
		{ USUAL ATTR "passwd x\npasswdfile /y\n", "F:6: passwdfile: passwd and passwdfile exclude each other" },
		{ USUAL ATTR "authmethod kerberos\n", "F:5: authmethod: expected one of no, none, yes, simple, sasl" },
		{ USUAL ATTR "sasl_mech EXTERNAL\n", "F:5: sasl_mech: sasl settings without \"bind sasl\"" },
		{ USUAL ATTR "bind sasl\n", "F:5: bind: \"bind sasl\" without sasl_mech" },
		{ USUAL ATTR "ldapport 99999\n", "F:5: ldapport: expected a number up to 65535" },
		{ BASE FILTER ATTR "uri http://x\n", "F:4: uri: http://x is no LDAP URI" },
		{ BASE FILTER ATTR "uri ldapi//%2Frun%2Fx\n", "F:4: uri: ldapi//%2Frun%2Fx is no LDAP URI; expected ldap://HOST" },
		{ BASE FILTER ATTR "uri ldapi:/\n", "F:4: uri: ldapi:/ is no LDAP URI" },
		{ BASE FILTER ATTR "uri ldapi:///run/x\n", "F:4: uri: ldapi:///run/x needs %2F for each / of the path" },
		{ BASE FILTER ATTR "uri ldap://x/o=y\n", "F:4: uri: ldap://x/o=y must end after the server" },
		{ BASE FILTER ATTR "uri ldap://far\nbinddn cn=a\npasswd b\n", "F:4: uri: ldap://far would carry the password in clear" },
		{ BASE FILTER ATTR "uri ldaps://far\nstart_tls yes\n", "cannot be combined with start_tls" },
		{ USUAL "result a{b\n", "F:4: result: column 2: \"{\" without \"}\"" },
		{ USUAL ATTR "result {a}\n", "F:5: result: attr, result_format" },
		{ USUAL ATTR "result_format %x\n", "F:5: result_format: column 1:" },
		{ USUAL ATTR "domain hash:/x\n", "F:5: domain: expected names of domains" },
		{ USUAL ATTR "recursion_limit 0\n", "F:5: recursion_limit: must be at least 1" },
		{ USUAL ATTR "entries two\n", "F:5: entries: expected one of one, many" },
		{ USUAL ATTR "cache_expiry 30x\n", "F:5: cache_expiry: expected seconds" },
		{ USUAL ATTR "cache yes\n", "F:5: unknown keyword \"cache\"" },
		{ USUAL ATTR "include nowhere\n", "F:5: include: expected an absolute path" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct ldapconf c;
		struct buf why = { 0 };

		assert_int_equal(parse(&c, rows[i].text, &why), EX_CONFIG);
		if (strstr(buf_str(&why), rows[i].why) == NULL)
			fail_msg("\"%s\" should be in \"%s\"", rows[i].why, buf_str(&why));
		ldapconf_free(&c);
		buf_free(&why);
	}
}

static void clear_passwords_pass_where_nobody_listens(void **state)
{
	static const char *const servers[] = {
		"ldapi:///", "ldap://127.0.0.1:99", "ldap://localhost", "ldap://[::1]", "ldaps://far", "ldap:///",
	};

	(void)state;
	for (size_t i = 0; i < sizeof servers / sizeof servers[0]; i++) {
		struct ldapconf c;
		struct buf why = { 0 };

		assert_int_equal(parse_three(&c, BASE FILTER ATTR "uri ", servers[i],
		                             "\nbinddn cn=a\npasswd b\ntls_ca_cert_file /dev/null\n", &why), EX_OK);
		ldapconf_free(&c);
		buf_free(&why);
	}
}

static void put(const char *path, const char *text, mode_t mode)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static void password_files_must_be_private(void **state)
{
	static const struct { const char *content; mode_t mode; int status; const char *why; } rows[] = {
		{ "secret\n", 0600, EX_OK, NULL }, { "secret", 0640, EX_OK, NULL }, { "secret\r\n", 0400, EX_OK, NULL },
		{ "secret\n", 0644, EX_CONFIG, "mode 0644" }, { "secret\n", 0602, EX_CONFIG, "mode 0602" }, { "secret\n", 0660, EX_CONFIG, "mode 0660" },
		{ "\n", 0600, EX_CONFIG, " is empty" },
		{ "one\ntwo\n", 0600, EX_CONFIG, "expected one line" },
		{ "", 0600, EX_CONFIG, " is empty; expected a line with the password" },
		{ "\r\n", 0600, EX_CONFIG, " is empty" },
		{ "\nsecret\n", 0600, EX_CONFIG, "expected one line" },
		{ "\xef\xbb\xbfsecret\r\n", 0600, EX_OK, "" },
	};
	char path[] = "/tmp/zl-ldapconf-XXXXXX";
	struct ldapconf c;
	struct buf why = { 0 };

	(void)state;
	assert_true(mkstemp(path) >= 0);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		buf_clear(&why);
		put(path, rows[i].content, rows[i].mode);
		assert_int_equal(parse_three(&c, USUAL ATTR "binddn cn=a\npasswdfile ", path, "\n", &why), rows[i].status);
		if (rows[i].status == EX_OK)
			assert_string_equal(c.access.password, "secret");
		else
			assert_non_null(strstr(buf_str(&why), rows[i].why));
		ldapconf_free(&c);
	}
	/* so must be a config file that has the password in it */
	put(path, USUAL ATTR "binddn cn=a\npasswd b\n", 0644);
	buf_clear(&why);
	assert_int_equal(ldapconf_read(&c, path, &why), EX_CONFIG);
	assert_non_null(strstr(buf_str(&why), "mode 0644"));
	ldapconf_free(&c);
	assert_int_equal(remove(path), 0);
	assert_int_equal(parse_three(&c, USUAL ATTR "binddn cn=a\npasswdfile ", path, "\n", &why), EX_NOINPUT);
	ldapconf_free(&c);
	assert_int_equal(ldapconf_read(&c, path, &why), EX_NOINPUT);
	ldapconf_free(&c);
	buf_free(&why);
}

static void a_connection_serves_equal_access_only(void **state)
{
	static const char *const others[] = {
		"uri ldap://127.0.0.1\n", "uri ldapi:/// ldapi://x\n", "bind no\n", "binddn cn=a\npasswd b\n", "tls_require_cert no\n", "keepalive 1\n",
	};
	struct ldapconf a, b;
	struct ldap_access copy;
	struct buf why = { 0 };

	(void)state;
	assert_int_equal(parse(&a, USUAL ATTR, &why), EX_OK);
	assert_int_equal(parse(&b, USUAL "result {x}\nscope one\ntimeout 3\n", &why), EX_OK);
	assert_true(ldap_access_equal(&a.access, &b.access));
	ldapconf_free(&b);
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		assert_int_equal(parse_three(&b, i < 2 ? "" : URI, others[i], BASE FILTER ATTR, &why), EX_OK);
		assert_false(ldap_access_equal(&a.access, &b.access));
		ldap_access_copy(&copy, &b.access);
		assert_true(ldap_access_equal(&copy, &b.access));
		ldap_access_free(&copy);
		ldapconf_free(&b);
	}
	ldapconf_free(&a);
	buf_free(&why);
}

static void keys_that_cannot_be_there_are_not_asked_for(void **state)
{
	static const struct { const char *more, *key; bool fits; } rows[] = {
		{ "", "u@d", true }, { "", "plain", true }, { "domain D.example, e.example\n", "u@d.Example", true },
		{ "domain d.example\n", "u@x.d.example", false }, { "domain d.example\n", "@d.example", false }, { "domain d.example\n", "d.example", false },
		{ "result_format %s%D\n", "plain", false }, { "result_format %s%D\n", "u@d", true }, { "result_format %2\n", "u@d", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct ldapconf c;
		struct buf why = { 0 };

		assert_int_equal(parse_three(&c, USUAL ATTR, rows[i].more, "", &why), EX_OK);
		assert_int_equal(ldapconf_fits(&c, rows[i].key, strlen(rows[i].key)), rows[i].fits);
		ldapconf_free(&c);
		buf_free(&why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zmailers_and_postfix_words_mean_the_same),
		cmocka_unit_test(defaults_are_safe),
		cmocka_unit_test(damage_stops_with_file_and_line),
		cmocka_unit_test(clear_passwords_pass_where_nobody_listens),
		cmocka_unit_test(password_files_must_be_private),
		cmocka_unit_test(a_connection_serves_equal_access_only),
		cmocka_unit_test(keys_that_cannot_be_there_are_not_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
