/*
 * DSN parameters as they stand in control files (RFC 3461, spool.md section 6).
 */
#ifndef ZL_CHANNEL_SPOOL_DSN_H
#define ZL_CHANNEL_SPOOL_DSN_H

#include "lib/buf.h"

/* Adds `s` as xtext (RFC 3461 section 4). */
void dsn_add_xtext(struct buf *out, const char *s);

/* Adds ORCPT ("type;xtext") as an address that can be read: xtext decoded, without "rfc822;". */
void dsn_add_readable(struct buf *out, const char *orcpt);

/*
 * Adds the text of an N line behind "N ", as a router writes it.  `notify` and `orcpt` ("type;xtext") are what the client
 * gave, or NULL; `recipient` is the address it gave; `sender` is NULL for the null return path.
 */
void dsn_add(struct buf *out, const char *notify, const char *orcpt, const char *recipient, const char *sender);

#endif
