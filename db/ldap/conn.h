/*
 * Lookups in directories.
 *
 * All maps of a process that want the same access (ldapaccess.h) share one connection.  One that is lost is
 * replaced once; if that fails too, all lookups are refused for a while without asking the server (as
 * long as the attempt took, at least 1 s; then twice as long each time, up to 30 s), so that a dead server costs one
 * timeout per while and not one per address.
 */
#ifndef ZL_DB_LDAP_CONN_H
#define ZL_DB_LDAP_CONN_H

#include <stddef.h>
#include <stdint.h>

#include "db/ldap/access.h"
#include "db/ldap/entry.h"
#include "db/ldap/escape.h"
#include "db/store/answer.h"
#include "lib/buf.h"

struct ldapconn;

/* The connection of this access; it is made by the first search.  Give it back by ldapconn_release(). */
struct ldapconn *ldapconn_get(const struct ldap_access *access);
void ldapconn_release(struct ldapconn **connection);

struct ldap_search {
	const struct dn_text *base;
	const struct filter_text *filter;
	char *const *attributes;
	int scope;                   /* LDAP_SCOPE_... */
	int dereference;             /* LDAP_DEREF_... */
	unsigned long size_limit;    /* 0: none of ours */
	int64_t deadline;            /* clock_ms */
};

struct ldap_entries {
	struct ldap_entry *list;     /* in the order of their names */
	size_t count;
};

/*
 * MAP_FOUND with at least one entry; MAP_NOT_FOUND only if the server says success and has none; else
 * MAP_COULD_NOT_TELL with `why` (not yet cleaned).  If a size limit was reached the entries so far are there although
 * the answer is MAP_COULD_NOT_TELL.  Free them by ldap_entries_free() after any answer.
 */
enum map_answer ldapconn_search(struct ldapconn *connection, const struct ldap_search *search,
                                struct ldap_entries *entries, struct buf *why) MAP_MUST_LOOK;

void ldap_entries_free(struct ldap_entries *entries);

#endif
