/*
 * One entry of a directory, in our own memory.
 *
 * Values of an attribute stand in the order of their bytes: a directory knows no order of values (RFC 4511 section
 * 4.1.7), and what is made of them must not change by itself.
 */
#ifndef ZL_DB_LDAP_ENTRY_H
#define ZL_DB_LDAP_ENTRY_H

#include <stdbool.h>
#include <stddef.h>

#include <ldap.h>

struct ldap_value {
	char *bytes;      /* followed by a NUL that does not count */
	size_t length;
};

struct ldap_attribute {
	char *name;       /* without options such as ";lang-de" */
	struct ldap_value *values;
	size_t count;
};

struct ldap_entry {
	char *dn;
	bool is_cut;      /* the large attributes of a very large entry were left out (sieve.h) */
	struct ldap_attribute *attributes;
	size_t count;
};

/* Copies the entry of a search result; false if it cannot be decoded.  Free by ldap_entry_free() in either case. */
bool ldap_entry_read(struct ldap_entry *entry, LDAP *ld, LDAPMessage *message);

void ldap_entry_free(struct ldap_entry *entry);

/* Puts entry number one together by hand: adds a value to an attribute.  For what is no search result. */
void ldap_entry_add(struct ldap_entry *entry, const char *attribute, const char *bytes, size_t length);

/* NULL if the entry has no value of it.  Names are compared without case. */
const struct ldap_attribute *ldap_entry_find(const struct ldap_entry *entry, const char *attribute);

/*
 * The name of an attribute that came although `asked` (NULL at the end) does not have it; NULL if there is none.  A
 * server may answer under another name of the same attribute ("sn" for "surname"); a caller that looks for the name that it
 * asked for would take that for "no value".
 */
const char *ldap_entry_unasked(const struct ldap_entry *entry, char *const *asked);

#endif
