/*
 * An end to calls that block in a library: when the time is up, the socket they wait for is shut down.
 *
 * libldap has a timeout for connect(2), but none for the TLS handshake; a server that accepts a connection and then says
 * nothing, or one byte a second, would hold a lookup for ever.
 */
#ifndef ZL_DB_LDAP_CUTOFF_H
#define ZL_DB_LDAP_CUTOFF_H

#include <stdbool.h>
#include <stdint.h>

/* From now on the socket given by cutoff_watch() is shut down at `deadline` (clock_ms).  One at a time in a process. */
void cutoff_begin(int64_t deadline);

/* Tells the socket, or -1 before it is closed. */
void cutoff_watch(int fd);

/* Ends the watch; true if the time was up before. */
bool cutoff_end(void);

#endif
