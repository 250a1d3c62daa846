/*
 * A new map file from sorted records: loaded in order, sealed (stamp.h), read again and compared, published.
 */
#ifndef ZL_DB_BUILD_BUILD_H
#define ZL_DB_BUILD_BUILD_H

#include <stdint.h>
#include <sys/types.h>

#include "db/store/records.h"
#include "db/store/stamp.h"
#include "lib/buf.h"

struct build {
	const char *type;          /* one that can be made: btree, bhash, lmdb */
	const char *target;        /* with suffix */
	struct stamp stamp;        /* `records` and `version` are filled in here, `built` if it is 0 */
	uid_t uid;                 /* (uid_t)-1: as the map that is replaced, else the user who builds */
	gid_t gid;
	mode_t mode;               /* 0: as the map that is replaced, else 0644 less the umask */
	void (*progress)(void *context, const char *step, size_t done, size_t total);     /* or NULL */
	void *progress_context;
	bool unsure;               /* out, with EX_IOERR: the target is the new map already, but its directory could not be synced */
};

/*
 * `records` are sorted and have no duplicates; their pool is needed no longer than the call.  0, or an exit code
 * with `why` set, naming the target: EX_UNAVAILABLE (type), EX_DATAERR (a key that the type cannot hold, with its
 * line), EX_CANTCREAT, EX_NOPERM, EX_IOERR, EX_SOFTWARE (the file does not hold what was put in).  On errors the
 * target is untouched and nothing is left behind.
 */
int build_map(struct build *build, const struct records *records, struct buf *why);

/*
 * EX_OK if files may be made in the directory of `target` with the rights we have: root does not work in directories where
 * others can put something in its way, since the libraries open files by name.  Else EX_NOPERM or EX_CANTCREAT with `why`.
 */
int build_check_directory(const char *target, struct buf *why);

/*
 * The same for a map at `target`.  No program makes or changes one through a symbolic link: a new file would take its place,
 * and what is changed in place has its lock and journal beside one name.
 */
int build_check_target(const char *target, struct buf *why);

#endif
