#include "db/ldap/key.h"

#include <string.h>

void pattern_add_filter(const struct pattern *pattern, const char *key, size_t n, struct filter_text *filter)
{
	const char *bytes;
	size_t length;

	for (size_t i = 0; i < pattern->count; i++) {
		const struct pattern_piece *p = &pattern->pieces[i];

		if (p->part == KEY_LITERAL)
			filter_add_trusted(filter, p->literal, strlen(p->literal));
		else if (key_part(key, n, p->part, p->label, &bytes, &length))
			filter_add_value(filter, bytes, length);
	}
}

void pattern_add_dn(const struct pattern *pattern, const char *key, size_t n, struct dn_text *dn)
{
	const char *bytes;
	size_t length;

	for (size_t i = 0; i < pattern->count; i++) {
		const struct pattern_piece *p = &pattern->pieces[i];

		if (p->part == KEY_LITERAL)
			dn_add_trusted(dn, p->literal, strlen(p->literal));
		else if (key_part(key, n, p->part, p->label, &bytes, &length))
			dn_add_value(dn, bytes, length);
	}
}
