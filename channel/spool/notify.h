/*
 * Tells a scheduler of a new message: a datagram on the UNIX socket that SCHEDULERNOTIFY of ZENV names, as ZMailer's
 * router sends it to ZMailer's scheduler.
 */
#ifndef ZL_CHANNEL_SPOOL_NOTIFY_H
#define ZL_CHANNEL_SPOOL_NOTIFY_H

#include <stdbool.h>

#include "lib/buf.h"

/* False, with a line in `why`, if SCHEDULERNOTIFY of ZENV cannot be the path of a socket. */
bool notify_fits(struct buf *why);

/* Sends "NEW JOB" ("A/W/NUMBER") if ZENV names a socket.  It never waits, and a missing listener is no error. */
void notify_send(const char *job);

/*
 * Listens on that socket, which takes the place of another one at its path.  The descriptor is to be polled for
 * reading; -1 if ZENV names none, or with a line in `why` if it cannot be listened on.
 */
int notify_open(struct buf *why);

/* Calls `arrived` with the job name of each datagram that came; what is none is left out. */
void notify_read(int fd, void (*arrived)(void *context, const char *name), void *context);

/* Closes it and removes the socket. */
void notify_close(int fd);

#endif
