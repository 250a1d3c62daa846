/*
 * A key in filters and names: whatever it is, libldap reads back the filter that was meant, with the key as its value.  The input
 * is the pattern, a newline, and the key.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

#if HAVE_LDAP

#include <ldap.h>

#include "db/ldap/key.h"
#include "db/ldap/open.h"

static LDAP *ld;

/* "(a=KEY)" is an equality match of just these bytes; without a key it would be another filter, and is never asked. */
static void check_filter(const char *key, size_t n)
{
	struct filter_text f = { 0 };
	struct berval wire = { 0, NULL }, value;
	BerElement *ber;
	char *text;

	if (n == 0)
		return;
	filter_add_trusted(&f, "(a=", 3);
	filter_add_value(&f, key, n);
	filter_add_trusted(&f, ")", 1);
	text = strdup(filter_str(&f));
	if (ldap_create_assertion_control_value(ld, text, &wire) != LDAP_SUCCESS || (wire.bv_val[0] & 0xff) != LDAP_FILTER_EQUALITY)
		abort();
	ber = ber_init(&wire);
	if (ber_scanf(ber, "{xm}", &value) == LBER_ERROR || value.bv_len != n || memcmp(value.bv_val, key, n) != 0)
		abort();
	ber_free(ber, 1);
	ldap_memfree(wire.bv_val);
	free(text);
	filter_free(&f);
}

/* "a=KEY,b=c" is a name of two parts. */
static void check_name(const char *key, size_t n)
{
	struct dn_text d = { 0 };
	LDAPDN dn = NULL;

	dn_add_trusted(&d, "a=", 2);
	dn_add_value(&d, key, n);
	dn_add_trusted(&d, ",b=c", 4);
	if (ldap_str2dn(dn_str(&d), &dn, LDAP_DN_FORMAT_LDAPV3) != LDAP_SUCCESS || dn[1] == NULL || dn[2] != NULL || dn[0][1] != NULL ||
	    dn[0][0]->la_value.bv_len != n || (n > 0 && memcmp(dn[0][0]->la_value.bv_val, key, n) != 0))
		abort();
	ldap_dnfree(dn);
	dn_free(&d);
}

static void check_pattern(const char *pattern, const char *key, size_t n)
{
	struct pattern p;
	struct buf why = { 0 };
	struct filter_text f = { 0 };
	struct dn_text d = { 0 };

	if (pattern_parse(&p, pattern, &why) != (why.len == 0))
		abort();
	if (why.len == 0 && pattern_fits(&p, key, n)) {
		pattern_add_filter(&p, key, n, &f);
		pattern_add_dn(&p, key, n, &d);
	}
	pattern_free(&p);
	filter_free(&f);
	dn_free(&d);
	buf_free(&why);
}

#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
#if HAVE_LDAP
	const char *text = (const char *)data, *newline = size > 0 ? memchr(text, '\n', size) : NULL;
	char *pattern;

	if (ld == NULL) {
		ldap_ignore_surroundings();
		if (ldap_create(&ld) != LDAP_SUCCESS)
			abort();
	}
	if (newline == NULL)
		return 0;
	pattern = strndup(text, (size_t)(newline - text));
	check_filter(newline + 1, size - (size_t)(newline + 1 - text));
	check_name(newline + 1, size - (size_t)(newline + 1 - text));
	check_pattern(pattern, newline + 1, size - (size_t)(newline + 1 - text));
	free(pattern);
#else
	(void)data;
	(void)size;
#endif
	return 0;
}
