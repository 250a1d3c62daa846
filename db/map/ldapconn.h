/*
 * Connections to directories, with an end to every wait.
 *
 * All lookups of a process that want the same access (ldapaccess.h) share one connection.  A connection that is lost is
 * made anew once; if that fails too, all lookups are refused for a while without asking the server (1 s,
 * then twice as long each time, up to 30 s), so that a dead server costs one timeout per while and not one per address.
 */
#ifndef ZL_LDAPCONN_H
#define ZL_LDAPCONN_H

#include <stdbool.h>
#include <stdint.h>

#include <ldap.h>

#include "db/map/ldapaccess.h"
#include "db/map/ldapentry.h"
#include "db/map/ldapescape.h"
#include "db/map/map.h"
#include "lib/buf.h"

/*
 * Connects to one server, with TLS and bind as `access` says, before `deadline` (clock_ms; network_timeout
 * is up to the caller).  NULL with `why`, which names server and step.  Close it by ldap_close().
 */
LDAP *ldap_open_server(const struct ldap_access *access, const char *uri, int64_t deadline, struct buf *why);
void ldap_close(LDAP **ld);

/*
 * Tries the servers in turn, from number *server on, each for at most network_timeout.  *server becomes the one that answered.
 * NULL with `why`, which tells of each of them.
 */
LDAP *ldap_open_any(const struct ldap_access *access, size_t *server, int64_t deadline, struct buf *why);

/* Adds "WHAT: Meaning of the code (CODE), what the server said" for the last result. */
void ldap_explain(LDAP *ld, const char *what, int code, struct buf *why);

struct ldapconn;

/* The connection of this access; it is made by the first search.  Give it back by ldapconn_release(). */
struct ldapconn *ldapconn_get(const struct ldap_access *access);
void ldapconn_release(struct ldapconn **connection);

struct ldap_search {
	const struct dn_text *base;
	const struct filter_text *filter;
	char *const *attributes;
	int scope;
	int dereference;
	unsigned long size_limit;    /* 0: none of ours */
	int64_t deadline;            /* clock_ms */
};

struct ldap_entries {
	struct ldap_entry *list;     /* in the order of their names */
	size_t count;
};

/*
 * MAP_FOUND with at least one entry; MAP_NOT_FOUND only if the server says success and has none; else MAP_COULD_NOT_TELL
 * with `why` (no newline, not yet cleaned).  If the size limit was reached the entries so far are there although
 * the answer is MAP_COULD_NOT_TELL.  Free them by ldap_entries_free() after any answer.
 */
enum map_answer ldapconn_search(struct ldapconn *connection, const struct ldap_search *search,
                                struct ldap_entries *entries, struct buf *why) MAP_MUST_LOOK;

void ldap_entries_free(struct ldap_entries *entries);

#endif
