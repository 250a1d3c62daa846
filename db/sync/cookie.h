/*
 * What is kept in the map beside its records: per rule the cookie of RFC 4533, and what each entry wants.
 *
 * They are notes of the map (livemap.h) and change in the same batch as the records, so that cookie and data are never
 * of different times.
 *
 *   ldapsync-cookie-RULE         LENGTH " " definition of the rule "\n" cookie
 *   ldapsync-entry-RULE-UUID     name of the entry "\n" and lines: "+KEY TAB VALUE", "?KEY" (unclear), "@DOMAIN",
 *                                "#" and 16 hexadecimal digits that stand for its entryCSN, if it is known
 *   ldapsync-domains             there while something is to be done about a change of the served domains
 *   ldapsync-compared            with which server everything was compared last: its sid, its URI
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
#define SYNC_COMPARED SYNC_NOTES "compared"

/* Each adds to an empty or used buffer. */
void cookie_name(struct buf *name, const struct sync_rule *rule);
void cookie_encode(struct buf *note, const struct sync_rule *rule, const struct buf *cookie);

/* False if the note is damaged, or of another definition of the rule: there is no cookie then. */
bool cookie_decode(const char *note, size_t n, const struct sync_rule *rule, struct buf *cookie);

/* The cookie of whatever definition: how far the map has come, and nothing to go on from.  False if the note is damaged. */
bool cookie_decode_any(const char *note, size_t n, struct buf *cookie);

/*
 * OpenLDAP's cookies name the reader ("sid", "rid") and the newest change of each server ("csn").  A server that reads its
 * own number, or that of another one, in a request takes the asker for that server and holds back what was changed
 * there.  Adds what any server may be asked with; false if it is no such cookie: only the server that gave it knows what it
 * means.
 */
bool cookie_for_others(const struct buf *cookie, struct buf *out);

/* Adds the number of the server that gave it; nothing if it does not say. */
void cookie_provider(const struct buf *cookie, struct buf *sid);

/*
 * Whether a server whose newest cookie is `server` has all that the cookie `map` stands for: of each server of the tree the
 * newest change must be as new.  One that lacks a server's changes altogether lags, too.  COOKIE_UNKNOWN if `server` is no such
 * cookie.
 */
enum cookie_state {
	COOKIE_CURRENT,
	COOKIE_LAGS,
	COOKIE_UNKNOWN,
};
enum cookie_state cookie_state(const struct buf *map, const struct buf *server);

/* True if `after` has an older change of any server than `before`: the directory was put back. */
bool cookie_went_back(const struct buf *before, const struct buf *after);

/*
 * A newer cookie takes the place of `cookie`.  With one change OpenLDAP sends the CSN of the server alone at which it was
 * made: those of the others stay.
 */
void cookie_take(struct buf *cookie, const struct buf *newer);

/*
 * Add the key of the note of an entry, by its rule and entryUUID, and what stands in that: its DN, records, domains and
 * version.
 */
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
	NOTE_COMPARED,
	NOTE_OTHER,
};
enum note_kind note_parse(const char *name, size_t n, const char **rule, size_t *rule_length, struct sync_uuid *uuid);

#endif
