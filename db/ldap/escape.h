/*
 * Bytes from outside in an LDAP filter (RFC 4515) and in a distinguished name (RFC 4514).
 *
 * What is special differs between the two, so they are two types: a search takes one of each, and the
 * compiler refuses to take one for the other.  Zeroed structs are empty texts.
 */
#ifndef ZL_DB_LDAP_ESCAPE_H
#define ZL_DB_LDAP_ESCAPE_H

#include <stddef.h>

#include "lib/buf.h"

struct filter_text {
	struct buf text;
};

struct dn_text {
	struct buf text;
};

/* Adds text of the configuration, as it stands. */
void filter_add_trusted(struct filter_text *filter, const char *text, size_t n);
void dn_add_trusted(struct dn_text *dn, const char *text, size_t n);

/*
 * Adds `n` bytes as (part of) an assertion value: "*", "(", ")", "\", control bytes and all bytes above 126
 * become "\XX" (RFC 4515 section 3), so that they stand for themselves.
 */
void filter_add_value(struct filter_text *filter, const char *bytes, size_t n);

/*
 * Adds `n` bytes as (part of) an attribute value: the specials of RFC 4514 section 2.4, "=", "#" and blanks at either
 * end, control bytes and all bytes above 126 become "\XX".
 */
void dn_add_value(struct dn_text *dn, const char *bytes, size_t n);

const char *filter_str(const struct filter_text *filter);
const char *dn_str(const struct dn_text *dn);

void filter_free(struct filter_text *filter);
void dn_free(struct dn_text *dn);

#endif
