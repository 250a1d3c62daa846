/*
 * Changing a map while others read it: the one way in for programs (dbupdate, ldapsync).
 *
 * Changes are gathered into a batch; livemap_commit() makes it, in the mode that fits the map (live.h).  The work is
 * done in a child (worker.h) behind the fence of the map, so that no call takes for ever and no damaged file ends the
 * caller.  After EX_TEMPFAIL the same call may be made again: a new child is started.
 *
 *                       a batch that is       readers see        a batch costs
 *                       not acknowledged
 *   generations         is not there          all or nothing     copying the map
 *   lmdb                is not there          all or nothing     two fsync
 *   environment (CDB)   may come yet, whole   change by change   three fsync
 */
#ifndef ZL_DB_LIVE_LIVEMAP_H
#define ZL_DB_LIVE_LIVEMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "db/store/change.h"
#include "db/map/map.h"
#include "db/store/records.h"
#include "db/store/stamp.h"
#include "lib/buf.h"

struct livemap;

struct livemap_settings {
	const char *type;        /* "btree", "bhash", "lmdb" */
	const char *base;        /* without suffix */
	const char *config;      /* the -C file, or NULL */
	char folding;            /* of keys: 'l', 'u', or '-' */
	unsigned wait;           /* seconds to wait for locks; 0: 5 */
	bool create;             /* a map that is not there is an empty one, which livemap_commit() makes */
};

#define LIVEMAP_WAIT 5

/*
 * Opens a map.  NULL with `why` and *status (<sysexits.h>): EX_NOINPUT: there is no such map, nor a journal of it;
 * EX_UNAVAILABLE: maps of that type cannot be changed; EX_CONFIG, EX_NOPERM; EX_DATAERR: damaged; EX_TEMPFAIL: it could
 * not be told, try again or do what `why` says.
 */
struct livemap *livemap_open(const struct livemap_settings *settings, int *status, struct buf *why);

/* Throws away what is not committed; clears the caller's pointer.  Harmless on NULL. */
void livemap_close(struct livemap **livemap);

/* The map file, with suffix. */
const char *livemap_path(const struct livemap *livemap);

/* True until the first livemap_commit() has made the map that was not there. */
bool livemap_is_missing(const struct livemap *livemap);

/* What is wrong with a key of `n` bytes, or with a value, as a constant text; NULL if nothing is. */
const char *livemap_key_fault(const struct livemap *livemap, const char *key, size_t n);
const char *livemap_value_fault(const char *value, size_t n);

/* ---- a batch ---- */

/* Each adds to the batch; keys are folded.  A later change to a key takes the place of an earlier one. */
void livemap_put(struct livemap *livemap, const char *key, size_t key_length, const char *value, size_t value_length);
void livemap_remove(struct livemap *livemap, const char *key, size_t key_length);

/*
 * Sets a note: bytes that belong to the caller and change together with the map, such as a cookie.  `name` is a word;
 * `n` bytes may be anything; NULL removes it.
 */
void livemap_note(struct livemap *livemap, const char *name, const char *bytes, size_t n);

/* How many changes make a good batch for this map. */
size_t livemap_batch(const struct livemap *livemap);

/*
 * Makes the changes.  EX_OK: they survive a crash, and the batch is empty.  Otherwise `why` is set and the batch stays
 * as it was: EX_TEMPFAIL, EX_IOERR (disk), EX_DATAERR, EX_NOPERM.
 */
int livemap_commit(struct livemap *livemap, struct buf *why);

/* Throws the batch away. */
void livemap_forget(struct livemap *livemap);

/*
 * For a program that keeps in memory what the map holds.  From now on a change by any other program is noticed:
 * livemap_is_changed() tells, and livemap_commit() fails by EX_TEMPFAIL and writes nothing.  To go on, open the map again and
 * read it.  EX_OK or as livemap_commit().
 */
int livemap_watch(struct livemap *livemap, struct buf *why);

/*
 * True if the map is another one, has other content, is gone, or has come.  It asks for what two files are called and how old
 * they are.
 */
bool livemap_is_changed(const struct livemap *livemap);

/* ---- reading what is there, the batch aside ---- */

/* MAP_FOUND adds the value; MAP_COULD_NOT_TELL sets `why`.  The key is folded. */
enum map_answer livemap_find(struct livemap *livemap, const char *key, size_t n, struct buf *value,
                             struct buf *why) MAP_MUST_LOOK;
enum map_answer livemap_read_note(struct livemap *livemap, const char *name, struct buf *bytes, struct buf *why) MAP_MUST_LOOK;

/* Calls `each` for all records but notes, in the order of the store.  EX_OK or as livemap_commit(). */
int livemap_walk(struct livemap *livemap, record_each *each, void *context, struct buf *why);

/* The same for the notes whose name begins with `start`; what `each` gets as the key is the name. */
int livemap_walk_notes(struct livemap *livemap, const char *start, record_each *each, void *context, struct buf *why);

/* Both, of one moment: no program changes the map meanwhile.  `key` of a note is its name. */
typedef bool livemap_all(void *context, bool is_note, const char *key, size_t key_length, const char *value,
                         size_t value_length);
int livemap_walk_all(struct livemap *livemap, livemap_all *each, void *context, struct buf *why);

/* ---- making a map equal to a list ---- */

struct livemap_counts {
	uint64_t before;         /* records that were there */
	uint64_t added;
	uint64_t changed;
	uint64_t removed;
};

/* False: too much would be removed.  It may add notes (livemap_note) to what is written. */
typedef bool livemap_guard(void *context, struct livemap *livemap, const struct livemap_counts *counts);

/* The guard of a single replacement, by livemap_is_mass_removal(). */
livemap_guard livemap_guard_removal;

/*
 * Makes the map hold just `wanted` (sorted, without duplicates, folded) by writing the differences, together with
 * the notes in the batch, which must hold nothing else.  A key whose value is NULL stays as it is; one that is not there gets
 * UNCLEAR_VALUE.  `stamp` says where the records come from; NULL if they have no source.  In an environment the changes come in
 * several batches, in the other ways in one.
 *
 * If `guard` (NULL: none) says that too much would be removed, EX_TEMPFAIL and nothing changed: `why` says so, and
 * counts->removed > 0.
 */
int livemap_replace(struct livemap *livemap, const struct records *wanted, const struct stamp *stamp, livemap_guard *guard,
                   void *context, struct livemap_counts *counts, struct buf *why);

/*
 * The measure of all guards against a source that has lost its content: of `before` records `removed` go, and `left` is what
 * there will be.  True if more than 50 go and more than a fifth, or if any go and nothing is left.
 */
bool livemap_is_mass_removal(uint64_t removed, uint64_t before, uint64_t left);

/* Makes a map that is not there yet, of the same kind of list.  EX_OK, or as build_map(), or EX_CANTCREAT if it is there. */
int livemap_create(const struct livemap_settings *settings, const struct records *wanted, const struct stamp *stamp,
                  struct buf *why);

#endif
