/*
 * What intake had accepted before it was killed, or the power failed, comes from its journal into the queue.
 */
#ifndef ZL_CHANNEL_SPOOL_RESTORE_H
#define ZL_CHANNEL_SPOOL_RESTORE_H

#include <stdbool.h>
#include <stddef.h>

#include "channel/spool/journal.h"

/*
 * Puts into the queue what the journal of `spool` has and the queue has not.  *restored: so many messages.  *status is EX_OK,
 * or with a line in `why` EX_IOERR or EX_CANTCREAT; then the journal is as it was.  With EX_OK a line in `why` is a warning:
 * the journal cannot be used, or entries are damaged and it was kept under another name.  EX_IOERR without a line: another process
 * restores, and we are told to end (wait_is_told_to_end()).
 *
 * With `stay`: returns the journal for new messages, as spool_journal_open() does.  Without: NULL, and nothing is done while an
 * intake runs.
 */
struct spool_journal *spool_restore(const struct spool *spool, bool stay, size_t *restored, int *status, struct buf *why);

/* Logs how many they were, if any. */
void spool_restore_log(size_t restored);

#endif
