/*
 * zlmtp-check looks at the post office: its directories, the scheduler that runs its queue, and what is in it.
 */
#ifndef ZL_CHANNEL_CHECK_SPOOL_H
#define ZL_CHANNEL_CHECK_SPOOL_H

#include "channel/check/findings.h"

/* Owners and permissions of the directories below `postoffice`. */
void check_directories(struct findings *f, const char *postoffice);

/* The queue; the working directory is $POSTOFFICE/transport.  `age` in seconds, `size` in recipients. */
void check_queue(struct findings *f, const struct thresholds *age, const struct thresholds *size);

/*
 * A file or directory that only trusted users may write: found so, or what is wrong is added.  With `secret` no
 * other user may read it either.  `what` names it.  False if it is not there or cannot be looked at.
 */
bool check_guarded(struct findings *f, const char *what, const char *path, bool secret);

#endif
