/*
 * Entries that are larger than a message may be.
 *
 * libldap gives up a connection whose next message is too large, and it cannot be told which entry it was: one entry would keep
 * all others from being read.  A sieve stands before it, on a connection that is open, and leaves out of such an entry its
 * large attributes, so that the name comes, and the controls.  Other messages go through as they are.
 */
#ifndef ZL_DB_LDAP_SIEVE_H
#define ZL_DB_LDAP_SIEVE_H

#include <stdbool.h>

#include <lber.h>

/* An attribute that such an entry has got instead of those that were left out. */
#define SIEVE_MARK "zlmtp-left-out"

/* The socket must not block.  It ends with the connection. */
bool sieve_begin(Sockbuf *socket, ber_len_t largest);

#endif
