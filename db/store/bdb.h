/*
 * Berkeley DB files of records: finding, walking, changing and verifying them, in an environment or in a file alone.
 */
#ifndef ZL_DB_STORE_BDB_H
#define ZL_DB_STORE_BDB_H

#include <stdbool.h>

#include <db.h>

#include "db/store/answer.h"
#include "db/store/change.h"
#include "db/store/store.h"
#include "lib/buf.h"

/* DB_BTREE or DB_HASH. */
DBTYPE bdb_type(const char *type);

/*
 * A handle in no environment.  libdb's own lines, which it writes to the standard error output, are not: its codes say it all.
 */
int bdb_create(DB **db);

/* Puts or removes; a key to be removed that is not there is no error.  0 or a code of libdb. */
int bdb_change(DB *db, DB_TXN *txn, const struct change *change);

/* MAP_FOUND adds the value; other codes of libdb than DB_NOTFOUND come out in *code. */
enum map_answer bdb_find(DB *db, const char *key, size_t length, struct buf *value, int *code) MAP_MUST_LOOK;

/*
 * Adds to `out`, as change.h encodes them, some of the records that stand behind the key in `after`, in the order of the store
 * and notes included; `after` NULL means from the start.  0 or a code of libdb.  No cursor is open when it returns.
 */
int bdb_walk_from(DB *db, const struct buf *after, struct buf *out);

/*
 * Looks at the file that `fd` has open before libdb may trust it: a sealed map (stamp.h) is compared with its
 * checksum, any other is verified by libdb, in a child, because a damaged page can crash that too.  With `in_environment`
 * the map may be one that our programs have changed there: the stamp in it was broken then, and the checksum says nothing.
 * `why` is set unless it is sound.
 */
enum store_proof bdb_verify(int fd, bool in_environment, struct buf *why);

/* The same for a file by its name. */
enum store_proof bdb_verify_file(const char *path, bool in_environment, struct buf *why);

/* True if a code of libdb says that the content is to blame. */
bool bdb_is_damage(int code);

/* Calls `each` for the records behind the cursor but for notes.  0 or a code of libdb; DB_NOTFOUND is the end. */
int bdb_walk(DBC *cursor, record_each *each, void *context);

/*
 * The same in two steps, for environments: fetch first, since a cursor keeps every writer away, and what `each`
 * does may take any time.  bdb_fetch_all() ends with DB_NOTFOUND if all went well.
 */
struct bdb_bulk;
int bdb_fetch_all(DBC *cursor, struct bdb_bulk **all);
void bdb_each_of(const struct bdb_bulk *all, record_each *each, void *context);
void bdb_free_bulks(struct bdb_bulk *bulk);

#endif
