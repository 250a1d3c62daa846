/*
 * Programs that may change a post office: one runqueue, or one zlmtp-queue while none runs, and none of them beside ZMailer's
 * scheduler.
 */
#ifndef ZL_CHANNEL_QUEUE_LOCK_H
#define ZL_CHANNEL_QUEUE_LOCK_H

#include <sys/types.h>

#include "lib/buf.h"

/* The process of ZMailer's scheduler in this post office, 0 if none runs.  It would deliver everything a second time. */
pid_t lock_zmailer(const char *postoffice);

/*
 * Takes the lock of the post office (flock(2) on .pid.runqueue), which ends with the process.  What holds it for a moment
 * is waited for up to `patience` milliseconds, unless it is a runqueue.  Returns its descriptor, or -1 with a line in `why`
 * and a code of <sysexits.h> in *status.
 */
int lock_take(const char *postoffice, int patience, struct buf *why, int *status);

#endif
