/*
 * Hears of new control files when they appear, where the system can tell (Linux: inotify).
 */
#ifndef ZL_CHANNEL_QUEUE_WATCH_H
#define ZL_CHANNEL_QUEUE_WATCH_H

#include <stdbool.h>

/*
 * Watches the working directory, $POSTOFFICE/transport, and its hash directories for files that are renamed into
 * them.  Returns a descriptor to poll for reading, -1 if the system cannot tell.
 */
int watch_open(void);

/*
 * Calls `arrived` with the job name of each file that came since.  False if some may have been missed: then
 * the whole spool must be looked through.
 */
bool watch_read(int fd, void (*arrived)(void *context, const char *name), void *context);

#endif
