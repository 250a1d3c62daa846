/*
 * LMDB files of records: opening, walking, changing and verifying them, and their locks; only where LMDB was found.
 */
#ifndef ZL_DB_STORE_LMDB_H
#define ZL_DB_STORE_LMDB_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <lmdb.h>

#include "db/store/change.h"
#include "db/store/stamp.h"
#include "db/store/store.h"
#include "lib/buf.h"

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
 * Opens for reading, with a transaction; `flags` are MDB_NOLOCK or 0.  0 or a code of LMDB; to be closed by lmdb_close()
 * in either case.  With 0, and a lock file that is another file's (lmdb_lock_file_fits()), it is opened as by MDB_NOLOCK, and
 * is_shared, with the lock on the map.
 */
int lmdb_open(struct lmdb_map *l, const char *path, unsigned flags);

/*
 * LMDB's lock file belongs to a name, and stays what it was while any process has it open.  Where another file was put in the
 * place of the map meanwhile, as an older copy, LMDB takes the number of the last transaction from there: it shows the state
 * before the last one, and what it writes is damaged.  True if the lock file is right about the last transaction of the file,
 * which `txn` reads; it may be wrong for the moment that a transaction takes to end.
 */
bool lmdb_lock_file_fits(MDB_env *env, MDB_txn *txn);

/*
 * What `code` is worth behind guard.h: where the guard had to leave LMDB, MDB_CORRUPTED, which mdb_strerror() would call by
 * other names.
 */
int lmdb_code(bool ended, int code);

/* A transaction, MDB_RDONLY or 0; also where another process has made the map larger than it was when we opened it. */
int lmdb_begin(MDB_env *env, unsigned flags, MDB_txn **txn);

/* The transaction of lmdb_open() again, after a reset, as of now.  0 or a code of LMDB. */
int lmdb_renew(const struct lmdb_map *l);

/* Puts or removes; a key to be removed that is not there is no error.  0 or a code of LMDB. */
int lmdb_change(MDB_txn *txn, MDB_dbi dbi, const struct change *change);

/* As bdb_walk_from(), with a cursor. */
int lmdb_walk_from(MDB_cursor *cursor, const struct buf *after, struct buf *out);

/* Harmless on a zeroed struct, which it leaves. */
void lmdb_close(struct lmdb_map *l);

/*
 * Looks at the file that `fd` has open before LMDB may trust it: a sealed map (stamp.h) is compared with its
 * checksum, any other is read through by a child.  `why` is set unless it is sound.  *flags are those for lmdb_open():
 * MDB_NOLOCK for a sealed map, for any other as lmdb_choose_lock() says.
 */
enum store_proof lmdb_verify(const char *map, int fd, unsigned *flags, bool *sealed, struct buf *why);

/* Its two steps: does the file, if it is one of LMDB, fit its seal?  `why` is set for STAMP_BAD and STAMP_UNREADABLE. */
enum stamp_state lmdb_check_seal(int fd, struct buf *why) __attribute__((warn_unused_result));

/* Where there is no seal: a child reads it through, with `flags` of lmdb_open(). */
enum store_proof lmdb_look(const char *map, int fd, unsigned flags, struct buf *why);

/*
 * How a map without seal is read.  A user who may write LMDB's lock file, as the owner of the map, uses it: *flags becomes 0.
 * It is for nobody else, since a user who can lock it can stop all others.  All others read as Postfix does: without it
 * (MDB_NOLOCK), under a shared lock on the map itself, which writers of both kinds hold exclusively; here it is taken on `fd`,
 * until that is closed.  So do all where the map has several names, by a link of either kind, as each name has a lock
 * file of its own.  False with `why`: the lock file is not a plain one, or the lock cannot be taken in time.
 */
bool lmdb_choose_lock(const char *map, int fd, unsigned *flags, struct buf *why);

/*
 * Waits until no process keeps others from opening the map by a lock on its lock file.  In a process that has it not open.
 * With false, *holder is the process that does, 0 or less if the kernel names none.
 */
bool lmdb_lock_file_is_free(const char *map, int64_t deadline, pid_t *holder);

/* EX_OK if LMDB's lock file is a plain file of one name, or not there; else its trouble stands in `why`. */
bool lmdb_lock_file_is_plain(const char *map, struct buf *why);

/*
 * A lock of `type` on the whole map, as Postfix takes it; false with *holder, as above, if it cannot be taken until `deadline`.
 */
bool lmdb_lock_map(int fd, short type, int64_t deadline, pid_t *holder);

/*
 * "process 4711", until the next call; `otherwise` if the kernel names none: a lock of an open file, as ours, is no process's.
 */
const char *lmdb_locker(pid_t holder, const char *otherwise);

/* Reading waits so long for any lock. */
#define LMDB_WAIT_MS 5000

/* True if a code of LMDB says that the content is to blame. */
bool lmdb_is_damage(int code);

#endif
