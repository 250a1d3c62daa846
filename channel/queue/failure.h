/*
 * The report file of a message: which recipients could not get it, and why, in words.
 */
#ifndef ZL_CHANNEL_QUEUE_FAILURE_H
#define ZL_CHANNEL_QUEUE_FAILURE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "channel/spool/control.h"
#include "lib/buf.h"

/*
 * Writes the report on all failures of a message that are to be told as DIRECTORY/SPOOLID.failed; synced, and the
 * same file if it is done again.  `spoolid` names the message.  False with a line in `why`.
 */
bool failure_write(const char *directory, const struct control *control, const char *spoolid,
                   const struct stat *message, struct buf *why);

#endif
