/*
 * What the parts of the LMDB back end share; only where LMDB was found.
 */
#ifndef ZL_DB_MAP_LMDB_H
#define ZL_DB_MAP_LMDB_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <lmdb.h>

#include "db/map/map.h"

struct lmdb_map {
	MDB_env *env;
	MDB_txn *txn;        /* reset between lookups */
	MDB_dbi dbi;
	bool is_sealed;
	off_t size;          /* of the file, when it was looked at last */
	size_t seen;         /* the last transaction when the map was opened, or asked for changes */
};

/*
 * Opens for reading, with a transaction; `flags` are MDB_NOLOCK or 0.  0 or a code of LMDB; lmdb_close() is due
 * anyway.
 */
int lmdb_open(struct lmdb_map *l, const char *path, unsigned flags);

/* Harmless on a zeroed struct, which it leaves. */
void lmdb_close(struct lmdb_map *l);

/*
 * Looks at the file that `fd` has open before LMDB may trust it: a sealed map (stamp.h) is compared with its
 * checksum, any other is read through by a child.  False with map_fail().  *flags becomes MDB_NOLOCK for a sealed
 * map.
 */
bool lmdb_check(struct map *map, int fd, unsigned *flags);

#endif
