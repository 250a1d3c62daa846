/*
 * A map that is changed while others read it: what the three ways to do so have in common.
 *
 *   generations  a map in no environment; a changed copy takes its place
 *   environment  a map in a Berkeley DB environment (CDB); changed in place, behind a journal
 *   lmdb         an LMDB map; changed in place, in transactions
 *
 * These functions run in a worker (worker.h) with the fence of the map held, but for close().
 */
#ifndef ZL_DB_LIVE_LIVE_H
#define ZL_DB_LIVE_LIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "db/store/change.h"
#include "db/map/map.h"
#include "lib/buf.h"

/*
 * A note is a record that belongs to a program and to no address: a cookie, the number of the last batch.  Its key
 * begins with NUL, which no lookup can form (record_is_note()).
 */
#define NOTE_KEY_START "\0zlmtp-"

struct live;

/* Settled changes, and the same as change.h encodes them: how they came, and how a journal keeps them. */
struct live_batch {
	struct changes changes;
	const struct buf *bytes;
};

/* By what a file is known that was changed; another program cannot give it the same. */
struct live_file {
	ino_t inode;               /* 0: it is not known */
	off_t size;
	struct timespec when;
	struct timespec changed;   /* of the inode: `when` can be set back, as cp -p does */
};

struct live_operations {
	const char *name;
	size_t batch;              /* changes that make a good batch */
	unsigned grace;            /* seconds that may pass without progress, beyond `wait`; 0: as many, at most 5 */

	/* EX_OK; EX_NOINPUT: no such map; EX_CONFIG, EX_NOPERM, EX_DATAERR (damaged), EX_TEMPFAIL (could not tell). */
	int (*open)(struct live *live, struct buf *why);

	/*
	 * Makes a batch, all or none but for the environment; on EX_OK it survives a crash.  live->written is the file of the
	 * map as that has left it, also where a batch that failed has left traces: a program that moves another one in its
	 * place does not wait for the fence.
	 */
	int (*apply)(struct live *live, const struct live_batch *batch, struct buf *why);

	/* `key` without its NUL; adds the value without its NUL. */
	enum map_answer (*find)(struct live *live, const char *key, size_t length, struct buf *value,
	                        struct buf *why) MAP_MUST_LOOK;

	/*
	 * Adds to `out`, as change.h encodes them, some of the records that stand behind the key in `after`, in the order of
	 * the store and notes included; `after` NULL means from the start.  Nothing added: there are no more.
	 */
	int (*walk)(struct live *live, const struct buf *after, struct buf *out, struct buf *why);

	void (*close)(struct live *live);
};

struct live {
	const struct live_operations *operations;
	const char *type;          /* of the map: "btree" ... */
	const char *path;          /* with suffix */
	const char *config;        /* the -C file, or NULL */
	unsigned wait;             /* seconds that a lock may take */
	bool inside;               /* it has an environment open: to kill this process now leaves its locks behind */
	bool recovering;           /* an environment: its regions may be made; the map was verified */
	struct live_file expected; /* by the caller of apply(), if its inode is not 0: other files are not changed */
	struct live_file written;  /* by the last apply(); not known of an environment */
	void (*progress)(void *context);     /* to be called now and then during long work */
	void *progress_context;
	void *state;
};

extern const struct live_operations live_generations, live_environment, live_lmdb;

/* The mode in which maps of `type` with or without a -C file are changed; NULL for types that cannot be. */
const struct live_operations *live_mode(const char *type, const char *config);

/* Where a program reads what is done to its map, a line each. */
struct live_teller {
	void (*tell)(void *context, const char *text);
	void *context;
};

void live_tell(const struct live_teller *teller, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- for the three ---- */

/* Adds "PATH: what: reason" and returns `status`. */
int live_fail(const struct live *live, int status, struct buf *why, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* The same, and behind it the command that repairs the map: "; run "dbupdate ... recover"", with type and names. */
int live_fail_healable(const struct live *live, int status, struct buf *why, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Adds that command, in quotes; `option` stands before all others, with a blank behind it, or is empty. */
void live_add_recovery(const struct live *live, const char *option, struct buf *out);

/*
 * Which file a map is, with size and times of its content, to notice that another one took its place or that it was written to.
 */
struct live_file live_file_of(const struct stat *st);
bool live_file_is_same(const struct live_file *a, const struct live_file *b);

/*
 * What was written to `fd`, a time of its own included: the clock of file times stands still for some milliseconds, in which
 * another program may write to it.  Of a file of another user, the time is that of the system.  Inode 0 if it cannot be told.
 */
struct live_file live_file_written(int fd);

/* Calls live->progress, if there is one. */
void live_progress(const struct live *live);

/* True for the stamp of newdb (stamp.h). */
bool live_is_stamp(const struct change *record);

/*
 * EX_OK if the Berkeley DB file of a map is as it should be (bdb_verify()).  EX_DATAERR, in an
 * environment EX_TEMPFAIL: it is damaged, and a change would make the damage the truth; EX_TEMPFAIL: it cannot be told.
 */
int live_prove(const struct live *live, struct buf *why);

/*
 * EX_OK if the map is a regular file, or is missing: opening a pipe within an environment would wait there for ever.  Else
 * EX_NOPERM.
 */
int live_check_file(const struct live *live, struct buf *why);

/* EX_OK if the open file `fd` is what the path of the map names; else EX_TEMPFAIL: it was replaced. */
int live_is_current(const struct live *live, int fd, struct buf *why);

/* The libraries say EIO when only a part of something could be written to `fd`: returns ENOSPC if that is why, else `code`. */
int live_why_not_written(int fd, int code);

/* Removes the temporaries that killed programs have left beside the map at `path` and its journal. */
void live_sweep(const char *path);

/* How many there are beside the map. */
unsigned live_litter(const char *path);

/* Behind the name of a map: what recovery builds before it becomes the map. */
#define LIVE_ANEW ".anew"

#endif
