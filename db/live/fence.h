/*
 * The fence around a map: only one process at a time changes or repairs it.
 *
 * A lock file beside the map, MAP.lock, never removed.  Two bytes of it are locked: a turnstile for the next process,
 * and the map itself.  A process that waits holds the turnstile, so that a program that writes batch after batch cannot shut
 * out all others.  The locks belong to the open file: a child that works for a killed parent still holds them.
 */
#ifndef ZL_DB_LIVE_FENCE_H
#define ZL_DB_LIVE_FENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"

struct fence {
	char *map;       /* the file inside */
	char *path;      /* the lock file */
	int fd;
	bool held;
};

/*
 * Opens the lock file of `map`, and makes it with the owner and, for reading and writing, the mode of the map, if that is
 * there.  EX_OK, or EX_NOPERM, EX_CANTCREAT or EX_IOERR with `why`.
 */
int fence_open(struct fence *fence, const char *map, struct buf *why);

/* Takes the map; waits until `deadline` (clock_ms).  EX_OK, or EX_TEMPFAIL with `why` naming its holder. */
int fence_take(struct fence *fence, int64_t deadline, struct buf *why);

/* False if its lock file was deleted or replaced: the next process takes another one, and both believe that they are alone. */
bool fence_is_named(const struct fence *fence);

/* Harmless if it is not held. */
void fence_release(struct fence *fence);

/* Closes it and leaves the lock to a child that has it open as well. */
void fence_leave(struct fence *fence);

/* Releases and closes; harmless on a zeroed struct. */
void fence_close(struct fence *fence);

/* The name of the lock file of `map`; the caller frees it. */
char *fence_path(const char *map);

#endif
