/*
 * The key of a lookup as it is put in the patterns of filter and base (lib/pattern.h).
 */
#ifndef ZL_DB_LDAP_KEY_H
#define ZL_DB_LDAP_KEY_H

#include <stddef.h>

#include "db/ldap/escape.h"
#include "lib/pattern.h"

/* Add the pattern with the key in it, escaped; the key must fit. */
void pattern_add_filter(const struct pattern *pattern, const char *key, size_t n, struct filter_text *filter);
void pattern_add_dn(const struct pattern *pattern, const char *key, size_t n, struct dn_text *dn);

#endif
