/*
 * The journal of a map: all it held at one moment, and every change since.
 *
 * A map inside a Berkeley DB environment without transactions can be damaged by a process that is killed while it
 * writes.  So a change is first written here, and synced; from the journal the whole map can be made again.
 *
 *   zlmtp-journal 1 ID FIRST              which journal this is; the base holds all batches up to number FIRST
 *   base RECORDS BYTES SHA256             followed by the records, sorted by key
 *   batch NUMBER CHANGES BYTES SHA256     followed by the changes; numbers go up by one
 *
 * Records and changes are written as change.h says.  The checksum covers ID, kind, number, count and bytes.  A batch
 * at the end that is not whole was never acknowledged; it is cut off by the next writer.  Anything else that is
 * not as it should be is damage and is never passed over.
 *
 * All calls but journal_close() need the fence of the map.
 */
#ifndef ZL_DB_LIVE_CDB_JOURNAL_H
#define ZL_DB_LIVE_CDB_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "db/store/change.h"
#include "lib/buf.h"
#include "lib/publish.h"

#define JOURNAL_ID 16

struct journal {
	char *path;
	int fd;
	ino_t inode;
	char id[JOURNAL_ID + 1];
	uint64_t first;          /* the last batch within the base */
	uint64_t last;           /* the last batch of all */
	uint64_t base_records;
	char base_sum[65];
	off_t base_start;
	off_t base_end;
	off_t last_start;        /* of the last whole batch; `end` if there is none */
	off_t end;               /* behind the last whole batch */
	bool synced;             /* the last batch is known to be on disk; those before it always are */
};

/* MAP.journal; the caller frees it. */
char *journal_path(const char *map);

/*
 * Opens an existing journal for appending; the base itself is not read.  EX_OK; EX_NOINPUT without `why` if there
 * is none; EX_DATAERR if it is damaged; EX_NOPERM or EX_IOERR.
 */
int journal_open(struct journal *journal, const char *path, struct buf *why);

/* Harmless on a zeroed struct. */
void journal_close(struct journal *journal);

/* Takes notice of what other processes did while the fence was theirs.  Results as journal_open(). */
int journal_refresh(struct journal *journal, struct buf *why);

/*
 * Adds a batch of `count` changes, which `bytes` holds as change.h encodes them; on EX_OK it is on disk and has the number
 * journal->last.  Otherwise EX_IOERR, and nothing was added.
 */
int journal_append(struct journal *journal, size_t count, const struct buf *bytes, struct buf *why);

/*
 * Makes sure that the last batch is on disk, too: a process may have been killed before it was, or have heard of the error that
 * keeps it from there.  EX_OK or EX_IOERR.
 */
int journal_secure(struct journal *journal, struct buf *why);

/* Takes one change of a record of the base (always a value) or of a batch; EX_OK to go on. */
typedef int journal_each(void *context, const struct change *change, struct buf *why);

/* One that adds the change to the struct changes that is its context. */
journal_each journal_gather;

/* Calls `each` for all changes of the batches behind number `after`, in their order. */
int journal_replay(const struct journal *journal, uint64_t after, journal_each *each, void *context, struct buf *why);

/*
 * Calls `each` for all records that the map must hold, sorted by key: the base with all batches applied.  The whole base is
 * checked before the first call.
 */
int journal_state(const struct journal *journal, journal_each *each, void *context, struct buf *why);

/* True if the batches have grown so much beside the base that it is time for a new one. */
bool journal_is_long(const struct journal *journal);

/* Makes a new base of base and batches.  The id stays.  EX_OK, or an exit code and the old journal as it was. */
int journal_compact(struct journal *journal, struct buf *why);

/* ---- a new journal ---- */

struct journal_writer {
	struct publish file;
	struct buf out;
	char id[JOURNAL_ID + 1];
	uint64_t first;
	uint64_t records;
	uint64_t bytes;
	void *digest;
	int error;               /* errno of the first trouble, 0 if there was none */
};

/*
 * Starts a journal at `path` whose base will hold all batches up to `first`; `id` NULL makes a new one.  Owner and mode are
 * those of `like`, the map, without rights for all others to write.  EX_OK, or EX_CANTCREAT with `why`.
 */
int journal_begin(struct journal_writer *writer, const char *path, const char *id, uint64_t first, const char *like,
                  struct buf *why);

/* Adds a record; they come sorted by key.  Trouble shows at the commit. */
void journal_add(struct journal_writer *writer, const struct change *record);

/* Puts the journal in its place.  EX_OK, or EX_IOERR with `why` and the old journal, if any, untouched. */
int journal_commit(struct journal_writer *writer, struct buf *why);

#endif
