/*
 * A map that is changed in a Berkeley DB environment: what the files that do it share, and what recovery must know.
 */
#ifndef ZL_DB_LIVE_CDB_ENVIRONMENT_H
#define ZL_DB_LIVE_CDB_ENVIRONMENT_H

#include <stdbool.h>
#include <stdint.h>

#include <db.h>

#include "db/live/cdb/journal.h"
#include "db/store/change.h"
#include "db/live/live.h"
#include "db/store/env.h"

/* live->state of an open map. */
struct environment {
	struct env_config config;
	struct env *env;
	DB *db;
	struct journal journal;
	uint64_t synced;         /* up to which batch this process knows the map to be on disk */
	bool is_new;             /* this process has made the regions: what was only in their cache is lost */
};

/* Adds what libdb says; returns EX_IOERR or EX_TEMPFAIL. */
int environment_fail(const struct live *live, const char *what, int code, struct buf *why);

/* ---- slices.c ---- */

/* Makes sure that what follows need not wait for a lock of `mode`. */
int environment_ask_lock(const struct live *live, db_lockmode_t mode, struct buf *why);

/* Makes changes, some at a time, with rests in between. */
int environment_change(const struct live *live, const struct change *list, size_t count, struct buf *why);

/* ---- match.c ---- */

/* For libdb, instead of fdatasync(2): notes for ever that a file could not be synced. */
int environment_sync_file(int fd);

/* Opens the journal, or makes it, and matches. */
int environment_open_journal(const struct live *live, struct buf *why);

/* Makes sure that the map holds all batches of its journal, on disk. */
int environment_match(const struct live *live, struct buf *why);

/* Makes changes that are the last batch of the journal, and syncs. */
int environment_make(const struct live *live, const struct changes *changes, struct buf *why);

/*
 * STORE_SOUND if a file that is open in no environment holds what its journal says; STORE_DAMAGED if it does not;
 * STORE_COULD_NOT_TELL with `why`.  What batch `number`, which the file notes as its last, and later ones change does not count,
 * as it may not be on disk.  Other programs can write to a file under an environment, whose cache hides that as long as it lasts.
 */
enum store_proof environment_compare_file(const struct live *live, DB *db, const struct journal *journal, uint64_t number,
                                          struct buf *why);

/* live_operations.walk */
int environment_walk(const struct live *live, const struct buf *after, struct buf *out, struct buf *why);

/* The note in the map that says which batches of which journal it holds: "ID NUMBER". */
extern const char environment_note[];
#define ENVIRONMENT_NOTE_LENGTH 12

bool environment_is_note(const struct change *record);

/*
 * What stands behind that note when the file could not be synced: the system forgets such an error, and shows from memory what the
 * disk may never get, so that the next sync would say nothing about it.  Nothing is acknowledged any more until recovery has made
 * the map anew from its journal.
 */
#define ENVIRONMENT_UNSYNCED " unsynced"
bool environment_is_unsynced(const char *value);

/* Reads the value of that note; false if it is damaged, or the file could not be synced. */
bool environment_parse_note(const char *value, char id[JOURNAL_ID + 1], uint64_t *number);

#endif
