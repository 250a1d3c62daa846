/*
 * What the parts of the Berkeley DB back end share.
 */
#ifndef ZL_DB_MAP_BDB_H
#define ZL_DB_MAP_BDB_H

#include <stdbool.h>

#include <db.h>

#include "db/map/map.h"

enum bdb_proof { BDB_SOUND, BDB_DAMAGED, BDB_COULD_NOT_TELL };

/*
 * Looks at the file that `fd` has open before libdb may trust it: a sealed map (stamp.h) is compared with its
 * checksum, any other is verified by libdb, in a child, because a damaged page can crash that too.  With `in_environment`
 * the map may be one that our programs have changed there: the stamp in it was broken then, and the checksum says nothing.
 * `why` is set unless it is sound.  Damage is what is wrong with the content; all else (no memory, no right, a disk that cannot be
 * read, a child that was killed) could not tell.
 */
enum bdb_proof bdb_prove(int fd, bool in_environment, struct buf *why);

/* The same for a file by its name. */
enum bdb_proof bdb_prove_file(const char *path, bool in_environment, struct buf *why);

/* True if a code of libdb says that the content is to blame. */
bool bdb_is_damage(int code);

/* Calls `each` for the records behind the cursor but for notes.  0 or a code of libdb; DB_NOTFOUND is the end. */
int bdb_walk(DBC *cursor, map_each *each, void *context);

/*
 * The same in two steps, for environments: fetch first, since a cursor keeps every writer away, and what `each`
 * does may take any time.  bdb_fetch_all() ends with DB_NOTFOUND if all went well.
 */
struct bdb_bulk;
int bdb_fetch_all(DBC *cursor, struct bdb_bulk **all);
void bdb_each_of(const struct bdb_bulk *all, map_each *each, void *context);
void bdb_free_bulks(struct bdb_bulk *bulk);

/* map_operations.load for the two types. */
int bdb_load_btree(const char *path, const struct map_load *load, struct buf *why);
int bdb_load_hash(const char *path, const struct map_load *load, struct buf *why);

#endif
