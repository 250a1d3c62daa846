/*
 * Which processes use a map and its environment, as far as /proc tells, and how to stop them.
 */
#ifndef ZL_DB_LIVE_CDB_USERS_H
#define ZL_DB_LIVE_CDB_USERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/buf.h"

/* What to look for; NULL for what does not matter. */
struct users_of {
	const char *home;     /* an environment: its regions __db.* */
	const char *map;
	const char *fence;    /* the lock file of the map */
};

enum {
	USES_REGIONS = 1,        /* has the regions in its memory */
	USES_OLD_REGIONS = 2,    /* has regions that were removed: it will never see a change again */
	USES_MAP = 4,
	USES_OLD_MAP = 8,        /* has a file open that was replaced */
	USES_FENCE = 16,         /* a program that changes the map */
};

struct user {
	pid_t pid;
	unsigned uses;
	char *name;              /* printable */
};

/* Zeroed it is empty. */
struct users {
	struct user *list;
	size_t count;
	size_t capacity;
	size_t unseen;           /* processes that we may not look into */
};

/* Finds them; this process is never among them. */
void users_find(struct users *users, const struct users_of *of);
void users_free(struct users *users);

/* Adds "123 (router), 124 (dbupdate)". */
void users_name(const struct users *users, struct buf *out);

/* True if `pid` is among the users of the regions or is alive where that cannot be seen. */
bool users_has_attached(const struct users *users, pid_t pid);

/* Keeps those that have any of `uses`. */
void users_keep(struct users *users, unsigned uses);

/* Adds copies of those that have all of `uses` and are not there yet; takes those away that are in `others`. */
void users_merge(struct users *users, const struct users *more, unsigned uses);
void users_subtract(struct users *users, const struct users *others);

/*
 * Ends them: SIGTERM, after `patience` ms SIGKILL.  Looks again at each before a signal is sent, so that a
 * process that got the number of one that ended is safe.  True if all are gone.
 */
bool users_stop(const struct users *users, const struct users_of *of, int64_t patience);

enum users_alone {
	USERS_NONE,              /* no process has the file open */
	USERS_SOME,
	USERS_UNKNOWN,           /* the file system cannot say, or the file is another user's */
};

/*
 * Asks the kernel whether any process has `path` open or in its memory, those included that /proc does not
 * show us.  The caller must not have it open.
 */
enum users_alone users_ask_kernel(const char *path);

#endif
