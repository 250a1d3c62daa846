#include "tests/unit/unit.h"

#include "db/grammar/address.h"

static struct pool pool;

/* Takes `text` apart; NULL for `local` means that it is refused, for `domain` that it is a local name. */
static void taken_apart(const char *text, const char *local, const char *domain)
{
	struct address a;
	const char *why;
	bool ok = address_parse(&pool, text, strlen(text), ADDRESS_PLAIN, &a, &why);

	if (local == NULL) {
		if (ok)
			fail_msg("%s: taken as %s", text, a.local);
		assert_non_null(why);
		return;
	}
	if (!ok)
		fail_msg("%s: %s", text, why);
	assert_string_equal(a.local, local);
	if (domain == NULL)
		assert_null(a.domain);
	else
		assert_string_equal(a.domain, domain);
}

static void usual_addresses_are_taken_apart(void **state)
{
	(void)state;
	taken_apart("User+Tail@Example.ORG", "User+Tail", "Example.ORG");
	taken_apart("user", "user", NULL);
	taken_apart("u@[192.0.2.1]", "u", "[192.0.2.1]");
	taken_apart("u@[IPv6:2001:db8::1]", "u", "[IPv6:2001:db8::1]");
	taken_apart("a..b.@docomo.test", "a..b.", "docomo.test");
}

static void quotes_are_no_part_of_the_name(void **state)
{
	(void)state;
	taken_apart("\"user\"@d.test", "user", "d.test");
	taken_apart("\"a@b\"@d.test", "a@b", "d.test");
	taken_apart("\"a\\\"b\"@d.test", "a\"b", "d.test");
	taken_apart("\"q s\"+t@d.test", "q s+t", "d.test");
	taken_apart("\"a@b\"", "a@b", NULL);
	taken_apart("\"ends in \\\\\"@d.test", "ends in \\", "d.test");
}

static void crafted_spellings_become_the_plain_one(void **state)
{
	(void)state;
	taken_apart("<user@d.test>", "user", "d.test");
	taken_apart("user@d.test.", "user", "d.test");
	taken_apart("a,b@d.test", "a,b", "d.test");
	taken_apart("\"a@b,c\"@d.test", "a@b,c", "d.test");
	taken_apart("@a.test:user@d.test", "user", "d.test");
	taken_apart("@a.test,@b.test:user@d.test", "user", "d.test");
	taken_apart("@a.test:@b.test:user@d.test", "user", "d.test");
	taken_apart("@[IPv6:::1]:user@d.test", "user", "d.test");
	taken_apart("d.test!user", "user", "d.test");
	taken_apart("a.test!b.test!user", "b.test!user", "a.test");
	taken_apart("user%d.test", "user", "d.test");
	taken_apart("user%b.test%d.test", "user%b.test", "d.test");
	taken_apart("user%d.test@x.test", "user%d.test", "x.test");
	taken_apart("\"user%d.test\"", "user%d.test", NULL);
	taken_apart("100%", "100%", NULL);
}

static void what_can_be_nobody_is_refused(void **state)
{
	(void)state;
	taken_apart("", NULL, NULL);
	taken_apart("<>", NULL, NULL);
	taken_apart("@d.test", NULL, NULL);
	taken_apart("\"\"@d.test", NULL, NULL);
	taken_apart("user@", NULL, NULL);
	taken_apart("user@.d.test", NULL, NULL);
	taken_apart("user@d..test", NULL, NULL);
	taken_apart("user@d.test..", NULL, NULL);
	taken_apart("user@d test", NULL, NULL);
	taken_apart("user@[1.2.3.4", NULL, NULL);
	taken_apart("user@d/test", NULL, NULL);
	taken_apart("\"user@d.test", NULL, NULL);
	taken_apart("user\\", NULL, NULL);
	taken_apart("\"user\\\"@d.test", NULL, NULL);
	taken_apart("host!user", NULL, NULL);
	/* two of them */
	taken_apart("a@x.test,b@x.test", NULL, NULL);
	taken_apart("a@x.test, b@x.test", NULL, NULL);
	taken_apart("a@x.test b@x.test", NULL, NULL);
	taken_apart("us\ner@d.test", NULL, NULL);
	taken_apart("us\177er@d.test", NULL, NULL);
}

static void a_domain_has_no_port_and_no_label_above_63_bytes(void **state)
{
	char label[65], text[300];

	(void)state;
	memset(label, 'a', 63);
	label[63] = '\0';
	snprintf(text, sizeof text, "u@%s.test", label);
	taken_apart(text, "u", text + 2);
	snprintf(text, sizeof text, "u@%sa.test", label);
	taken_apart(text, NULL, NULL);
	snprintf(text, sizeof text, "u@test.%sa", label);
	taken_apart(text, NULL, NULL);
	snprintf(text, sizeof text, "u@%s.%s.%s.%s", label, label, label, label);
	taken_apart(text, "u", text + 2);
	snprintf(text, sizeof text, "u@%s.%s.%s.%s.a", label, label, label, label);
	taken_apart(text, NULL, NULL);
	taken_apart("u@d.test:25", NULL, NULL);
	taken_apart("u@d:25", NULL, NULL);
	taken_apart("u@-d.test", NULL, NULL);
	taken_apart("u@d..test", NULL, NULL);
	taken_apart("u@.d.test", NULL, NULL);
	taken_apart("u@[192.0.2.1]:25", NULL, NULL);
}

/* RFC 5321 section 4.1.3: four numbers, or an IPv6 address behind its tag.  No other tag was ever registered. */
static void a_literal_is_an_address_of_ipv4_or_ipv6(void **state)
{
	static const char *const literals[] = {
		"[192.0.2.1]", "[0.0.0.0]", "[255.255.255.255]", "[192.000.02.1]", "[IPv6:2001:db8::1]", "[ipv6:2001:DB8::1]", "[IPv6:::]",
		"[IPv6:1:2:3:4:5:6:7:8]", "[IPv6:::ffff:192.0.2.1]", "[IPv6:1111:2222:3333:4444:5555:6666:255.255.255.255]",
	};
	static const char *const others[] = {
		"[]", "[x]", "[", "]", "[[192.0.2.1]]", "[300.1.1.1]", "[256.0.0.1]", "[1.2.3]", "[1.2.3.4.5]", "[1.2.3.]", "[.1.2.3]", "[1..2.3]",
		"[1.2.3.4 ]", "[ 1.2.3.4]", "[1.2.3.0004]", "[-1.2.3.4]", "[+1.2.3.4]", "[0x1.2.3.4]", "[1.2.3.4:25]", "[2001:db8::1]", "[::1]", "[IPv6]",
		"[IPv6:]", "[IPv6:zz]", "[IPv6:1.2.3.4]", "[IPv6: ::1]", "[IPv6:::1%lo]", "[IPv6:1::2::3]", "[IPv6:1:2:3:4:5:6:7]",
		"[IPv6:1:2:3:4:5:6:7:8:9]", "[IPv6:12345::1]", "[IPv4:192.0.2.1]", "[IPv7:x]", "[X400:c=US]", "[example.org]", "[192.0.2.1].example",
		"[IPv6:1111:2222:3333:4444:5555:6666:7777:8888:1111:2222:3333:4444:5555:6666:7777:8888]",
	};
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof literals / sizeof literals[0]; i++) {
		snprintf(text, sizeof text, "u@%s", literals[i]);
		taken_apart(text, "u", literals[i]);
	}
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		snprintf(text, sizeof text, "u@%s", others[i]);
		taken_apart(text, NULL, NULL);
	}
}

/* In UTF-8 it has more bytes than on its way through DNS (RFC 5890 section 4.2): real names of 25 letters have 75. */
static void an_internationalized_label_is_measured_in_characters(void **state)
{
	char label[4 * 60 + 1] = "", text[5 * sizeof label + 20];

	(void)state;
	for (size_t i = 0; i < 59; i++)
		strcat(label, i % 2 ? "\xe0\xb8\x81" : "\xf0\xa0\x80\x80");
	snprintf(text, sizeof text, "u@%s.test", label);
	taken_apart(text, "u", text + 2);
	snprintf(text, sizeof text, "u@%s.%s.%s.test", label, label, label);
	taken_apart(text, "u", text + 2);
	snprintf(text, sizeof text, "u@%s\xe0\xb8\x81.test", label);
	taken_apart(text, NULL, NULL);
	snprintf(text, sizeof text, "u@%s.%s.%s.%s.%s.test", label, label, label, label, label);
	taken_apart(text, NULL, NULL);
	taken_apart("u@\x80\x81.test", NULL, NULL);
}

static void a_nul_is_refused_and_not_the_end(void **state)
{
	struct address a;
	const char *why;

	(void)state;
	assert_false(address_parse(&pool, "user\0x@d.test", 13, ADDRESS_PLAIN, &a, &why));
	assert_string_equal(why, "the address holds control bytes");
}

static void length_is_limited_openly(void **state)
{
	char *text = malloc(ADDRESS_MAX + 2);
	struct address a;
	const char *why;

	(void)state;
	memset(text, 'x', ADDRESS_MAX + 1);
	memcpy(text + ADDRESS_MAX - 7, "@d.test", 7);
	assert_true(address_parse(&pool, text, ADDRESS_MAX, ADDRESS_PLAIN, &a, &why));
	assert_int_equal(strlen(a.local), ADDRESS_MAX - 7);
	assert_false(address_parse(&pool, text, ADDRESS_MAX + 1, ADDRESS_PLAIN, &a, &why));
	free(text);
}

static void a_backslash_in_front_means_no_alias(void **state)
{
	struct address a;
	const char *why;

	(void)state;
	assert_true(address_parse(&pool, "\\root", 5, ADDRESS_PLAIN, &a, &why));
	assert_true(a.no_alias);
	assert_string_equal(a.local, "root");
	assert_true(address_parse(&pool, "\"\\root\"", 7, ADDRESS_PLAIN, &a, &why));
	assert_true(a.no_alias);
	assert_true(address_parse(&pool, "\"\\\"x\"@d", 7, ADDRESS_PLAIN, &a, &why));
	assert_false(a.no_alias);
}

static void references_of_a_template_part_nothing(void **state)
{
	struct address a;
	const char *why;

	(void)state;
	assert_true(address_parse(&pool, "box%1", 5, ADDRESS_TEMPLATE, &a, &why));
	assert_string_equal(a.local, "box%1");
	assert_null(a.domain);
	assert_true(address_parse(&pool, "a%%b.test", 9, ADDRESS_TEMPLATE, &a, &why));
	assert_null(a.domain);
	assert_true(address_parse(&pool, "u@%1.test", 9, ADDRESS_TEMPLATE, &a, &why));
	assert_string_equal(a.domain, "%1.test");
	assert_false(address_parse(&pool, "u@%1.test", 9, ADDRESS_PLAIN, &a, &why));
}

static void put_together(const char *local, const char *tail, const char *domain, const char *expect)
{
	struct buf out = { 0 };

	address_add(&out, local, tail, domain);
	assert_string_equal(buf_str(&out), expect);
	assert_string_equal(address_text(&pool, local, tail, domain), expect);
	buf_free(&out);
}

static void quotes_come_back_where_they_are_needed(void **state)
{
	(void)state;
	put_together("user", "+t", "d.test", "user+t@d.test");
	put_together("user", NULL, NULL, "user");
	put_together("a b", "", "d.test", "\"a b\"@d.test");
	put_together("user", "+a@b", "d.test", "\"user+a@b\"@d.test");
	put_together("a\"b\\c", NULL, "d.test", "\"a\\\"b\\\\c\"@d.test");
	put_together("", NULL, "d.test", "\"\"@d.test");
	put_together("a!#$%&'*/=?^_`{|}~.b", NULL, "d.test", "a!#$%&'*/=?^_`{|}~.b@d.test");
	put_together("x..y", NULL, "d.test", "\"x..y\"@d.test");
	put_together(".start", NULL, "d.test", "\".start\"@d.test");
	put_together("end.", NULL, "d.test", "\"end.\"@d.test");
	put_together("end.", NULL, NULL, "\"end.\"");
	put_together(".", NULL, "d.test", "\".\"@d.test");
	put_together("user", "+a..b", "d.test", "\"user+a..b\"@d.test");
	put_together("user", "+end.", "d.test", "\"user+end.\"@d.test");
	put_together("user.", "+t", "d.test", "user.+t@d.test");
	put_together("a.", ".b", "d.test", "\"a..b\"@d.test");
	put_together("a.b.c", "+d.e", "d.test", "a.b.c+d.e@d.test");
	put_together("\xc3\xa4", NULL, "d.test", "\xc3\xa4@d.test");
}

static void split(const char *local, const char *base, const char *tail)
{
	const char *got_base, *got_tail;
	bool has = address_split_tail(&pool, local, &got_base, &got_tail);

	if (has != (base != NULL))
		fail_msg("%s: %s", local, has ? "has a tail" : "has no tail");
	if (has) {
		assert_string_equal(got_base, base);
		assert_string_equal(got_tail, tail);
	}
}

static void the_tail_rule_holds(void **state)
{
	(void)state;
	split("user+tail", "user", "+tail");
	split("user--tail", "user", "+tail");
	split("user+", "user", "+");
	split("user--", "user", "+");
	split("user++x", "user", "++x");
	split("user+a+b", "user", "+a+b");
	split("user--a+b", "user", "+a+b");
	split("user+a--b", "user", "+a--b");
	split("user--a--b", "user--a", "+b");
	split("user---x", "user-", "+x");
	split("a--b", "a", "+b");
	split("user", NULL, NULL);
	split("user-x", NULL, NULL);
	split("+x", NULL, NULL);
	split("--x", NULL, NULL);
	split("+a--b", NULL, NULL);
	split("", NULL, NULL);
	split("--", NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(usual_addresses_are_taken_apart),
		cmocka_unit_test(quotes_are_no_part_of_the_name),
		cmocka_unit_test(crafted_spellings_become_the_plain_one),
		cmocka_unit_test(what_can_be_nobody_is_refused),
		cmocka_unit_test(a_domain_has_no_port_and_no_label_above_63_bytes),
		cmocka_unit_test(a_literal_is_an_address_of_ipv4_or_ipv6),
		cmocka_unit_test(an_internationalized_label_is_measured_in_characters),
		cmocka_unit_test(a_nul_is_refused_and_not_the_end),
		cmocka_unit_test(length_is_limited_openly),
		cmocka_unit_test(a_backslash_in_front_means_no_alias),
		cmocka_unit_test(references_of_a_template_part_nothing),
		cmocka_unit_test(quotes_come_back_where_they_are_needed),
		cmocka_unit_test(the_tail_rule_holds),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	pool_free(&pool);
	return failed;
}
