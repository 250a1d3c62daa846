/*
 * The copy in memory: entries of the directory, and the records that they want to have in the map.
 *
 * A key that two entries want with different values is a conflict.  The entry that has it keeps it, so that no user
 * loses mail by what others write into the directory; if none had it before, its value is unclear, as is that of an
 * entry whose value cannot be made.  An unclear key stays as it is in the map, or gets the value that is meant for such
 * cases; one that is not there gets UNCLEAR_VALUE, so that it is not "not found".
 *
 * What differs from the map is gathered until content_settled().
 */
#ifndef ZL_DB_SYNC_CONTENT_H
#define ZL_DB_SYNC_CONTENT_H

#include <stdbool.h>
#include <stddef.h>

#include "db/sync/control.h"
#include "db/sync/rule.h"
#include "lib/buf.h"

struct content;

struct content *content_create(void);
void content_free(struct content **content);

/* ---- what the directory says ---- */

/*
 * Entry `uuid` of rule number `rule` is named `dn` (NULL: as its note says) and wants what stands in `yield`, which is taken
 * over and left empty, in place of all it wanted before.  False if it wanted just that.
 */
bool content_put(struct content *content, unsigned rule, const struct sync_uuid *uuid, const char *dn, struct yield *yield);

/* The entry is gone; harmless if it is not there. */
void content_drop(struct content *content, unsigned rule, const struct sync_uuid *uuid);

/* True if the entry is there and wants just this. */
bool content_is_same(const struct content *content, unsigned rule, const struct sync_uuid *uuid, const struct yield *yield);

/*
 * Adds to `yield` what the entry wanted so far and does not want there, as far as the yield lacks something of that kind: keys,
 * whose values are unclear now, and domains.
 */
void content_keep(const struct content *content, unsigned rule, const struct sync_uuid *uuid, struct yield *yield);

/* A copy of what the entry wants, without its version; empty if it is not there. */
struct yield content_yield(const struct content *content, unsigned rule, const struct sync_uuid *uuid);

bool content_has(const struct content *content, unsigned rule, const struct sync_uuid *uuid);

/* True if there is any entry, be it one that was dropped since content_settled(). */
bool content_has_entries(const struct content *content);

/* Puts a mark (not 0) on an entry; content_drop_unmarked() drops all entries of the rule that have another one. */
void content_mark(struct content *content, unsigned rule, const struct sync_uuid *uuid, unsigned mark);
bool content_is_marked(const struct content *content, unsigned rule, const struct sync_uuid *uuid, unsigned mark);
void content_drop_unmarked(struct content *content, unsigned rule, unsigned mark);

/*
 * A comparison of the whole is a round, with a number that is not 0.  An entry that is seen in the directory is marked by
 * content_see(); *version becomes the one that the copy has.  Both are false if the copy does not have the entry.
 */
bool content_version(const struct content *content, unsigned rule, const struct sync_uuid *uuid, uint64_t *version);
bool content_see(struct content *content, unsigned rule, const struct sync_uuid *uuid, unsigned round, uint64_t *version);

/* Calls `each` for all entries of the rule that were not seen in this round; it must not change the content. */
typedef void content_unseen(void *context, const struct sync_uuid *uuid);
void content_each_unseen(struct content *content, unsigned rule, unsigned round, content_unseen *each, void *context);

/*
 * Adds the name of an entry; false if it is not there, or not known.  Names are kept from content_put() to
 * content_settled(); of all other entries content_know_names() says how they are found.
 */
typedef bool content_names(void *context, unsigned rule, const struct sync_uuid *uuid, struct buf *name);
void content_know_names(struct content *content, content_names *names, void *context);
bool content_name(const struct content *content, unsigned rule, const struct sync_uuid *uuid, struct buf *name);

/* ---- what is in the map ---- */

/*
 * The map has this record.  When all of them have been told, and with content_put() all entries that it was made from,
 * content_compare() finds what differs.
 */
void content_found(struct content *content, const char *key, size_t key_length, const char *value, size_t value_length);
void content_compare(struct content *content);

/* The records that content_changes() told are in the map now; what is said of entries is not. */
void content_written(struct content *content);

/* Everything that has been gathered is in the map now. */
void content_settled(struct content *content);

/* ---- what differs ---- */

struct content_counts {
	size_t records;       /* in the map as it is */
	size_t added;         /* that will be */
	size_t changed;
	size_t removed;
	size_t unclear;       /* keys whose value is unclear, of all */
	size_t hollow;        /* those of the added that get UNCLEAR_VALUE */
};

/* `value` NULL: the key is to be removed. */
typedef void content_change(void *context, const char *key, const char *value);

/*
 * Decides about all keys that were touched and calls `each` for those that must change in the map; `unclear` is the
 * template of the value of unclear keys (of the key alone), or NULL.
 */
void content_changes(struct content *content, const struct template *unclear, content_change *each, void *context,
                     struct content_counts *counts);

/* Calls `each` for the entries that were touched; `dn` NULL: it is gone. */
typedef void content_entry(void *context, unsigned rule, const struct sync_uuid *uuid, const char *dn,
                           const struct yield *yield);
void content_entries(struct content *content, content_entry *each, void *context);

/*
 * True if anything was touched since content_settled(); content_has_news() tells if that is more than the versions of
 * entries whose records are as they were.
 */
bool content_is_touched(const struct content *content);
bool content_has_news(const struct content *content);

/* Calls `each` for keys that several entries want, and that came up since the last call, in words. */
typedef void content_report(void *context, const char *text);
void content_conflicts(struct content *content, content_report *each, void *context);

/* The served domains of all entries, sorted, each once; NULL at the end (words_free). */
char **content_domains(struct content *content);

/* True if they may be others than those of the map. */
bool content_has_new_domains(const struct content *content);

#endif
