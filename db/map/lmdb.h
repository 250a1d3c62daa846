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
	bool is_shared;      /* read under a lock on the map itself, as Postfix does */
	int fd;              /* for that lock; -1 without */
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
 * checksum, any other is read through by a child.  False with map_fail().  *flags are those for lmdb_open():
 * MDB_NOLOCK for a sealed map, for any other as lmdb_choose_lock() says.
 */
bool lmdb_check(struct map *map, int fd, unsigned *flags, bool *sealed);

/*
 * How a map without seal is read.  Who may write LMDB's lock file, as the owner of the map, uses it: *flags becomes 0.  It is for
 * nobody else, since who can lock it can stop everybody.  All others read as Postfix does: without it (MDB_NOLOCK), under a
 * shared lock on the map itself, which writers of both kinds hold exclusively; here it is taken on `fd`, until that is closed.
 * False with map_fail(): no lock file of ours is there, or the lock cannot be had in time.
 */
bool lmdb_choose_lock(struct map *map, int fd, unsigned *flags);

/* Waits until nobody keeps others from opening the map by a lock on its lock file.  In a process that has it not open. */
bool lmdb_lock_file_is_free(const char *map, int64_t deadline);

/* EX_OK if LMDB's lock file is a plain file of one name, or not there; else its trouble stands in `why`. */
bool lmdb_lock_file_is_plain(const char *map, struct buf *why);

/* A lock of `type` on the whole map, as Postfix takes it; false if it cannot be had until `deadline`. */
bool lmdb_lock_map(int fd, short type, int64_t deadline);

/* Reading waits so long for any lock. */
#define LMDB_WAIT_MS 5000

/*
 * The first two pages belong to the last two transactions, and LMDB believes the one with the higher number: a damaged number
 * there brings back the past, which for a new map is an empty one.  False with errno, 0 if the content is to blame.
 */
bool lmdb_metas_agree(int fd);

/* True if a code of LMDB says that the content is to blame. */
bool lmdb_is_damage(int code);

#endif
