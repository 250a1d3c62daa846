#include "db/ldap/escape.h"

#include <stdbool.h>
#include <string.h>

static bool is_plain(unsigned char c, const char *special)
{
	return c >= ' ' && c < 127 && strchr(special, c) == NULL;
}

static void add_hex(struct buf *out, unsigned char c)
{
	buf_addf(out, "\\%02x", c);
}

void filter_add_trusted(struct filter_text *filter, const char *text, size_t n)
{
	buf_add(&filter->text, text, n);
}

void dn_add_trusted(struct dn_text *dn, const char *text, size_t n)
{
	buf_add(&dn->text, text, n);
}

void filter_add_value(struct filter_text *filter, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (is_plain(c, "*()\\"))
			buf_addc(&filter->text, (char)c);
		else
			add_hex(&filter->text, c);
	}
}

void dn_add_value(struct dn_text *dn, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)bytes[i];
		bool at_end = i == 0 || i == n - 1;

		if (is_plain(c, "\"+,;<>\\=") && !(at_end && (c == ' ' || c == '#')))
			buf_addc(&dn->text, (char)c);
		else
			add_hex(&dn->text, c);
	}
}

const char *filter_str(const struct filter_text *filter)
{
	return buf_str(&filter->text);
}

const char *dn_str(const struct dn_text *dn)
{
	return buf_str(&dn->text);
}

void filter_free(struct filter_text *filter)
{
	buf_free(&filter->text);
}

void dn_free(struct dn_text *dn)
{
	buf_free(&dn->text);
}
