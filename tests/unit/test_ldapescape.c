#include "tests/unit/unit.h"

#include <ldap.h>

#include "db/ldap/escape.h"
#include "db/ldap/open.h"

static void filters_are_escaped_as_rfc_4515_says(void **state)
{
	static const struct { const char *bytes; size_t n; const char *text; } rows[] = {
		{ "user@d", 6, "user@d" }, { "*", 1, "\\2a" }, { "(", 1, "\\28" }, { ")", 1, "\\29" }, { "\\", 1, "\\5c" }, { "\0", 1, "\\00" },
		{ "a\nb\x7f", 4, "a\\0ab\\7f" }, { "\xc3\xa4", 2, "\\c3\\a4" }, { "\xff", 1, "\\ff" }, { "a b,c=d", 7, "a b,c=d" }, { "", 0, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct filter_text f = { 0 };

		filter_add_value(&f, rows[i].bytes, rows[i].n);
		assert_string_equal(filter_str(&f), rows[i].text);
		filter_free(&f);
	}
}

static void names_are_escaped_as_rfc_4514_says(void **state)
{
	static const struct { const char *bytes; size_t n; const char *text; } rows[] = {
		{ "user@d", 6, "user@d" }, { "a,b", 3, "a\\2cb" }, { "a+b", 3, "a\\2bb" }, { "\"", 1, "\\22" }, { "\\", 1, "\\5c" }, { "<>;", 3, "\\3c\\3e\\3b" },
		{ "=", 1, "\\3d" }, { " a b ", 5, "\\20a b\\20" }, { "#a#b#", 5, "\\23a#b\\23" }, { "\0", 1, "\\00" }, { "\xc3\xa4", 2, "\\c3\\a4" },
		{ "*()", 3, "*()" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct dn_text d = { 0 };

		dn_add_value(&d, rows[i].bytes, rows[i].n);
		assert_string_equal(dn_str(&d), rows[i].text);
		dn_free(&d);
	}
}

/* What libldap makes of "(a=KEY)": the assertion value on the wire. */
static void check_filter_round_trip(LDAP *ld, const char *bytes, size_t n)
{
	struct filter_text f = { 0 };
	struct berval wire, value;
	BerElement *ber;
	char *text;

	filter_add_trusted(&f, "(a=", 3);
	filter_add_value(&f, bytes, n);
	filter_add_trusted(&f, ")", 1);
	text = strdup(filter_str(&f));
	assert_int_equal(ldap_create_assertion_control_value(ld, text, &wire), LDAP_SUCCESS);
	ber = ber_init(&wire);
	assert_int_equal(wire.bv_val[0] & 0xff, LDAP_FILTER_EQUALITY);
	assert_int_not_equal(ber_scanf(ber, "{xm}", &value), LBER_ERROR);
	assert_int_equal(value.bv_len, n);
	assert_memory_equal(value.bv_val, bytes, n);
	ber_free(ber, 1);
	ldap_memfree(wire.bv_val);
	free(text);
	filter_free(&f);
}

static void check_name_round_trip(const char *bytes, size_t n)
{
	struct dn_text d = { 0 };
	LDAPDN dn;

	dn_add_trusted(&d, "a=", 2);
	dn_add_value(&d, bytes, n);
	dn_add_trusted(&d, ",b=c", 4);
	assert_int_equal(ldap_str2dn(dn_str(&d), &dn, LDAP_DN_FORMAT_LDAPV3), LDAP_SUCCESS);
	assert_non_null(dn[1]);
	assert_null(dn[2]);
	assert_null(dn[0][1]);
	assert_int_equal(dn[0][0]->la_value.bv_len, n);
	assert_memory_equal(dn[0][0]->la_value.bv_val, bytes, n);
	ldap_dnfree(dn);
	dn_free(&d);
}

static void whatever_goes_in_comes_out_again(void **state)
{
	static const char alphabet[] = { '*', '(', ')', '\\', '\0', ' ', '#', ',', '+', '"', '=', 'a', '5', 'c', '\n', '<' };
	LDAP *ld;

	(void)state;
	ldap_ignore_surroundings();
	assert_int_equal(ldap_create(&ld), LDAP_SUCCESS);
	for (unsigned i = 0; i < 16 * 16 * 16; i++) {
		const char bytes[] = { alphabet[i % 16], alphabet[i / 16 % 16], alphabet[i / 256] };

		for (size_t n = 1; n <= 3; n++) {
			check_filter_round_trip(ld, bytes, n);
			check_name_round_trip(bytes, n);
		}
	}
	for (unsigned c = 0; c < 256; c++) {
		const char byte = (char)c;

		check_filter_round_trip(ld, &byte, 1);
	}
	ldap_unbind_ext(ld, NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(filters_are_escaped_as_rfc_4515_says),
		cmocka_unit_test(names_are_escaped_as_rfc_4514_says),
		cmocka_unit_test(whatever_goes_in_comes_out_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
