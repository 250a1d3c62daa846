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

bool idn_other_form(const char *domain, size_t n, struct buf *out)
{
	size_t dot = n > 0 && domain[0] == '.';
	bool eightbit = text_is_eightbit(domain, n);
	char *plain, *other = NULL;
	bool ok = false;

	if (n == dot || (!eightbit && memchr(domain, '-', n) == NULL))
		return false;
	plain = xstrndup(domain + dot, n - dot);
	ascii_lower_string(plain);
	/* without the mapping of UTS 46, which would fold capitals above ASCII */
	if (eightbit)
		ok = idn2_to_ascii_8z(plain, &other, IDN2_NFC_INPUT | IDN2_NO_TR46) == IDN2_OK;
	else if (has_a_label(plain))
		ok = idn2_to_unicode_8z8z(plain, &other, 0) == IDN2_OK;
	ok = ok && strcmp(other, plain) != 0;
	if (ok)
		buf_addf(out, "%s%s", dot != 0 ? "." : "", other);
	idn2_free(other);
	free(plain);
	return ok;
}

#else

bool idn_other_form(const char *domain, size_t n, struct buf *out)
{
	(void)domain, (void)n, (void)out;
	return false;
}

#endif

bool idn_equal(const char *a, const char *b)
{
	struct buf other = { 0 };
	bool equal = ascii_equal(a, b) || (idn_other_form(a, strlen(a), &other) && ascii_equal(buf_str(&other), b));

	buf_free(&other);
	return equal;
}
