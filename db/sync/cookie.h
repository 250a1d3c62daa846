/*
 * What is kept in the map beside its records: per rule the cookie of RFC 4533, and what each entry wants.
 *
 * They are notes of the map (update.h) and change in the same batch as the records, so that cookie and data are never
 * of different times.
 *
 *   ldapsync-cookie-RULE         LENGTH " " definition of the rule "\n" cookie
 *   ldapsync-entry-RULE-UUID     name of the entry "\n" and lines: "+KEY TAB VALUE", "?KEY" (unclear), "@DOMAIN"
 *   ldapsync-domains             there while something is to be done about a change of the served domains
 *   ldapsync-shrinkage           what went lately (shrinkage.h)
 */
#ifndef ZL_DB_SYNC_COOKIE_H
#define ZL_DB_SYNC_COOKIE_H

#include <stdbool.h>
#include <stddef.h>

#include "db/sync/control.h"
#include "db/sync/rule.h"
#include "lib/buf.h"

/* What all names of such notes begin with. */
#define SYNC_NOTES "ldapsync-"

#define SYNC_DOMAINS SYNC_NOTES "domains"
#define SYNC_SHRINKAGE SYNC_NOTES "shrinkage"

/* Each adds to an empty or used buffer. */
void cookie_name(struct buf *name, const struct sync_rule *rule);
void cookie_encode(struct buf *note, const struct sync_rule *rule, const struct buf *cookie);

/* False if the note is damaged, or of another definition of the rule: there is no cookie then. */
bool cookie_decode(const char *note, size_t n, const struct sync_rule *rule, struct buf *cookie);

void entry_name(struct buf *name, const struct sync_rule *rule, const struct sync_uuid *uuid);
void entry_encode(struct buf *note, const char *dn, const struct yield *yield);

/* False if it is damaged.  Free *dn by free() and the yield by yield_free() in either case. */
bool entry_decode(const char *note, size_t n, char **dn, struct yield *yield);

/* What a name of a note stands for; `rule` points into the name. */
enum note_kind {
	NOTE_COOKIE,
	NOTE_ENTRY,
	NOTE_DOMAINS,
	NOTE_SHRINKAGE,
	NOTE_OTHER,
};
enum note_kind note_parse(const char *name, size_t n, const char **rule, size_t *rule_length, struct sync_uuid *uuid);

#endif
