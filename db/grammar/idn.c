#include "db/grammar/idn.h"

#include "config.h"

#if HAVE_IDN
#include <idn2.h>
#endif
#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"
#include "lib/text.h"

#if HAVE_IDN

static bool has_a_label(const char *domain)
{
	while (strncmp(domain, "xn--", 4) != 0) {
		domain = strchr(domain, '.');
		if (domain == NULL)
			return false;
		domain++;
	}
	return true;
}

bool idn_other_form(const char *domain, size_t n, enum idn_form form, struct buf *out)
{
	size_t dot = n > 0 && domain[0] == '.';
	bool eightbit = text_is_eightbit(domain, n);
	char *plain, *ascii = NULL, *other = NULL;
	bool ok = false;

	if (n == dot || (!eightbit && (form == IDN_A_LABELS || memchr(domain, '-', n) == NULL)))
		return false;
	plain = xstrndup(domain + dot, n - dot);
	ascii_lower_string(plain);
	if (eightbit)
		ok = idn2_to_ascii_8z(plain, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) == IDN2_OK;
	else
		ok = has_a_label(plain);
	if (ok && form == IDN_U_LABELS)
		ok = idn2_to_unicode_8z8z(eightbit ? ascii : plain, &other, 0) == IDN2_OK;
	ok = ok && strcmp(form == IDN_U_LABELS ? other : ascii, plain) != 0;
	if (ok)
		buf_addf(out, "%s%s", dot != 0 ? "." : "", form == IDN_U_LABELS ? other : ascii);
	idn2_free(ascii);
	idn2_free(other);
	free(plain);
	return ok;
}

#else

bool idn_other_form(const char *domain, size_t n, enum idn_form form, struct buf *out)
{
	(void)domain, (void)n, (void)form, (void)out;
	return false;
}

#endif

bool idn_equal(const char *a, const char *b)
{
	struct buf one = { 0 }, other = { 0 };
	bool equal = ascii_equal(a, b);

	if (!equal && (text_is_eightbit(a, strlen(a)) || text_is_eightbit(b, strlen(b)))) {
		const bool has_one = idn_other_form(a, strlen(a), IDN_A_LABELS, &one), has_other = idn_other_form(b, strlen(b), IDN_A_LABELS, &other);

		equal = ascii_equal(has_one ? buf_str(&one) : a, has_other ? buf_str(&other) : b);
	}
	buf_free(&one);
	buf_free(&other);
	return equal;
}
