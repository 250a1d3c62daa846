/*
 * What the parts of the Berkeley DB back end share.
 */
#ifndef ZL_DB_MAP_BDB_H
#define ZL_DB_MAP_BDB_H

#include <stdbool.h>

#include <db.h>

#include "db/map/map.h"

/*
 * Looks at the file that `fd` has open before libdb may trust it: a sealed map (stamp.h) is compared with its
 * checksum, any other is verified by libdb, in a child, because a damaged page can crash that too.  False with
 * map_fail().
 */
bool bdb_check(struct map *map, int fd);

/* Has the file verified by libdb whatever its seal says: a map of an environment is changed by programs that know of none. */
bool bdb_verify(struct map *map, int fd);

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
