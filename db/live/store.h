/*
 * Berkeley DB records as the live maps see them, with NULs added and taken off; in an environment or in a file alone.
 */
#ifndef ZL_DB_LIVE_STORE_H
#define ZL_DB_LIVE_STORE_H

#include <db.h>

#include "db/live/change.h"
#include "db/map/map.h"
#include "lib/buf.h"

/* DB_BTREE or DB_HASH. */
DBTYPE store_type(const char *type);

/* Puts or removes; a key to be removed that is not there is no error.  0 or a code of libdb. */
int store_change(DB *db, DB_TXN *txn, const struct change *change);

/* MAP_FOUND adds the value; other codes of libdb than DB_NOTFOUND come out in *code. */
enum map_answer store_find(DB *db, const char *key, size_t length, struct buf *value, int *code) MAP_MUST_LOOK;

/* live_operations.walk: 0 or a code of libdb.  No cursor is open when it returns. */
int store_walk(DB *db, const struct buf *after, struct buf *out);

#endif
