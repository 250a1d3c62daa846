/*
 * Opening a connection to a directory: connect, TLS, bind, each with an end.
 */
#ifndef ZL_DB_LDAP_OPEN_H
#define ZL_DB_LDAP_OPEN_H

#include <stddef.h>
#include <stdint.h>

#include <ldap.h>

#include "db/ldap/access.h"
#include "lib/buf.h"

/*
 * libldap reads /etc/ldap/ldap.conf, ~/.ldaprc, ./ldaprc and the environment when it is first used.  Called before
 * that, this keeps it from doing so: what counts is the config file of the map alone, which so means the same for every
 * user in every directory.
 */
void ldap_ignore_surroundings(void);

/*
 * Of one message of a server (RFC 4511 section 4.1.1): one that announces more is not read.  Of an entry that is larger
 * the small attributes come (sieve.h).
 */
#define LDAP_LARGEST_MESSAGE (16 << 20)

/* How many servers `access` names. */
size_t ldap_servers(const struct ldap_access *access);

/*
 * Tries the servers in turn, from number *server on, each for at most network_timeout and its share of the time until
 * `deadline` (clock_ms).  *server becomes the one that answered.  NULL with `why` (not yet cleaned), which tells of each
 * of them and of the step that failed.  Close it by ldap_close().
 */
LDAP *ldap_open_any(const struct ldap_access *access, size_t *server, int64_t deadline, struct buf *why);

/* Without a word to the server if that might block; harmless on NULL. */
void ldap_close(LDAP **ld);

/*
 * ldap_result() for all messages of `id`, with a deadline.  Returns LDAP_SUCCESS with *message, LDAP_TIMEOUT, or the
 * code of a lost connection.
 */
int ldap_await(LDAP *ld, int id, int64_t deadline, LDAPMessage **message);

/*
 * The result code in the messages of one operation, whose last one must be of this type (LDAP_RES_...); with `controls`
 * (NULL: none are wanted) to be freed by ldap_controls_free().  LDAP_PROTOCOL_ERROR if there is none.
 */
int ldap_code_of(LDAP *ld, LDAPMessage *all, int type, LDAPControl ***controls);

/* Adds "Meaning (code)", behind a comma what the server said to it, and behind a semicolon what can be done, if anything. */
void ldap_explain(LDAP *ld, int code, struct buf *why);

#endif
