/*
 * Every control file of a spool, one after the other (spool.md section 2).
 */
#ifndef ZL_CHANNEL_QUEUE_WALK_H
#define ZL_CHANNEL_QUEUE_WALK_H

#include <stdbool.h>

/* Where held mail is, as seen from transport. */
#define WALK_HOLD "../hold/"

/* True for the name of a hash directory: one letter from A to Z. */
bool walk_is_hash_directory(const char *name);

struct walk;

/* A directory that cannot be read (errno); what is in it stays unknown. */
typedef void walk_unreadable(void *context, const char *directory, int error);

/*
 * Begins to look through the working directory, $POSTOFFICE/transport, and its hash directories; with `held` through
 * WALK_HOLD, which need not be there.  No symbolic link is followed.
 */
struct walk *walk_begin(bool held, walk_unreadable *unreadable, void *context);

/*
 * The job name of the next file whose name begins with a digit, also of one on hold without what stands before it; it lives
 * until the next call.  NULL at the end.  Files may come and go meanwhile: those that were there all the time are all named,
 * once.
 */
const char *walk_next(struct walk *w);

/* May come before the end; clears the caller's pointer.  NULL is fine. */
void walk_end(struct walk **w);

#endif
