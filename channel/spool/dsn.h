/*
 * DSN parameters as they stand in control files (RFC 3461, spool.md section 6).
 */
#ifndef ZL_CHANNEL_SPOOL_DSN_H
#define ZL_CHANNEL_SPOOL_DSN_H

#include <stdbool.h>

#include "lib/buf.h"

/* Adds `s` as xtext (RFC 3461 section 4). */
void dsn_add_xtext(struct buf *out, const char *s);

/*
 * Adds the text of an N line behind "N ", as a router writes it.  `notify` and `orcpt` ("type;xtext") are what the client
 * gave, or NULL; `recipient` is the address it gave; `sender` is NULL for the null return path.  Without `orcpt` agents are
 * told ORCPT all the same, as RFC 3461 section 5.2.1 allows, and ORCPTFROM= keeps it out of reports (section 6.3).
 */
void dsn_add(struct buf *out, const char *notify, const char *orcpt, const char *recipient, const char *sender);

/* Adds the address of "rfc822;xtext" or "utf-8;xtext" as it reads (RFC 3461 section 4); false if it is of another type. */
bool dsn_original(struct buf *out, const char *orcpt);

#endif
