/*
 * The copy of a directory in a live map: takes what the machines of RFC 4533 say, one per rule, and writes it.
 */
#ifndef ZL_DB_SYNC_COPY_H
#define ZL_DB_SYNC_COPY_H

#include <stdbool.h>
#include <stddef.h>

#include "db/grammar/value.h"
#include "db/live/livemap.h"
#include "db/sync/content.h"
#include "db/sync/cookie.h"
#include "db/sync/rfc4533.h"
#include "db/sync/rule.h"
#include "db/sync/shrinkage.h"
#include "lib/buf.h"

struct copy;

/* What the copy has to say to people, one line each: conflicts, entries that cannot be used. */
typedef void copy_report(const char *text);

struct copy_settings {
	struct livemap_settings livemap;
	const struct sync_rule *rules;
	size_t rule_count;
	const struct template *unclear;    /* the value of unclear keys, or NULL */
	struct value_check *check;         /* of values; NULL: none */
	bool may_shrink;                   /* no guard against mass deletion */
	copy_report *report;
	int (*judge_domains)(void *context, char *const *list, struct buf *why);   /* EX_OK if the served domains may become these */
	void *domains;                     /* its context; NULL: no list of them is kept */
};

/*
 * Opens the map and reads what it holds; one that is not there is made by the first copy_flush().  NULL with `why` and
 * *status as livemap_open().  The settings must live as long as the copy.
 */
struct copy *copy_open(const struct copy_settings *settings, int *status, struct buf *why);
void copy_close(struct copy **copy);

/* The sink of rule number `rule`; what rfc4533_entry() gives it must be a struct ldap_entry. */
const struct sync_sink *copy_sink(struct copy *copy, size_t rule);

/* The newest cookie of the rule; empty if there is none. */
const struct buf *copy_cookie(const struct copy *copy, size_t rule);

/* Forgets the cookie: the next request asks for everything.  How far the map has come is not forgotten (copy_state_of()). */
void copy_forget_cookie(struct copy *copy, size_t rule);

/*
 * Whether a server with this cookie has all that the rule's part of the map was made from; COOKIE_CURRENT if that was never
 * said.
 */
enum cookie_state copy_state_of(const struct copy *copy, size_t rule, const struct buf *cookie);

/* True if the server at `uri` is the one that was compared last. */
bool copy_is_of(const struct copy *copy, const char *uri);

/* ---- comparing the whole (compare.h) ---- */

/* Begins a round: what is put or kept from now on, in any way, counts as seen. */
void copy_begin_round(struct copy *copy, size_t rule);

/* False if the copy does not have the entry; else *version is that of what it has.  copy_see() also counts it as seen. */
bool copy_has(const struct copy *copy, size_t rule, const struct sync_uuid *uuid, uint64_t *version);
bool copy_see(struct copy *copy, size_t rule, const struct sync_uuid *uuid, uint64_t *version);

/*
 * True if the copy has of the entry just what this one would give it; only for one that copy_has() and whose version is not 0.
 */
bool copy_is_same(const struct copy *copy, size_t rule, const struct sync_uuid *uuid, const struct ldap_entry *entry);

/* Calls `each` for all entries that were not seen in this round. */
void copy_each_unseen(struct copy *copy, size_t rule, content_unseen *each, void *context);

/* An entry that a search found, and behind it those that have its entryUUID, too. */
struct found {
	struct ldap_entry entry;
	struct found *next;
};

/*
 * What an ordinary search found, outside of any refresh.  True if that is something new.  Of several entries the first one is
 * copied; the other ones are named, and what they want is unclear, as they are there.
 */
bool copy_put(struct copy *copy, size_t rule, const struct sync_uuid *uuid, const struct found *found);
void copy_drop(struct copy *copy, size_t rule, const struct sync_uuid *uuid);
bool copy_name(const struct copy *copy, size_t rule, const struct sync_uuid *uuid, struct buf *name);

/* While several entries have this entryUUID, what the server says of it is a reason to compare. */
void copy_set_twins(struct copy *copy, size_t rule, const struct sync_uuid *uuid, bool are_twins);

/* True if a refresh spoke of several entries with one entryUUID, and the rule was not compared since. */
bool copy_was_told_twice(const struct copy *copy, size_t rule);

/*
 * True if the whole should be compared with the server at `uri`: that was not done since copy_open(), as it is not known what
 * has happened to the server before, or longer ago than `interval` (seconds; 0: any time will do), or with another server, or
 * there is doubt.
 */
bool copy_comparison_is_due(const struct copy *copy, const char *uri, long interval);

/* When it becomes due by time alone, or by doubt (clock_ms()). */
int64_t copy_comparison_time(const struct copy *copy, long interval);

/* A comparison of the whole begins: it settles the doubts that there are, not those that arise while it runs. */
void copy_begin_comparison(struct copy *copy);

/* The whole was compared with this server, whose name is kept in the map. */
void copy_compared(struct copy *copy, const char *uri);

/* What the copy has may not be all: a comparison is needed. */
void copy_doubt(struct copy *copy);

/*
 * Adds the cookie that the server at `uri` can be asked with; nothing if there is none, or only another server would
 * understand it.
 */
void copy_cookie_for(const struct copy *copy, size_t rule, const char *uri, struct buf *cookie);

/* True if the server spoke of an entry that is not there: the copy is not what the cookie says. */
bool copy_is_inconsistent(const struct copy *copy, size_t rule);

enum copy_state {
	COPY_CLEAN,
	COPY_NEW_NOTES,          /* the same data, a newer cookie; there is time */
	COPY_NEW_DATA,
};
enum copy_state copy_state(const struct copy *copy);

/*
 * Writes what has changed, all in one batch with the cookies.  EX_OK with *counts.  Otherwise `why` is set and the map
 * is as it was: as livemap_commit() or judge_domains(), or EX_TEMPFAIL with a *verdict that is not SHRINKAGE_FINE.
 */
int copy_flush(struct copy *copy, struct content_counts *counts, enum shrinkage_verdict *verdict, struct buf *why);

/*
 * True if the served domains may have changed and copy_domains_done() was not called since; it is kept in the map, so
 * that what is to be done about it is not forgotten if the program is killed before.
 */
bool copy_domains_are_due(const struct copy *copy);
void copy_domains_done(struct copy *copy);

/* What is copied, for looking at. */
struct content *copy_content(struct copy *copy);

const char *copy_path(const struct copy *copy);

/* True if another program has changed the map, and copy_flush() fails therefore: only a new copy_open() knows what it holds. */
bool copy_is_changed(const struct copy *copy);

/* How often something was wrong with an entry since copy_open(). */
size_t copy_complaints(const struct copy *copy);

#endif
