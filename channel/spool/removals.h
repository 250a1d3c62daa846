/*
 * POSTOFFICE/.removed.runqueue: the spool ids of messages that runqueue and zlmtp-queue have removed while intake had a journal
 * (spool.md section 15).  None of them is put back from the journal.  It is not synced: what a power cut takes of it costs
 * second copies alone.
 */
#ifndef ZL_CHANNEL_SPOOL_REMOVALS_H
#define ZL_CHANNEL_SPOOL_REMOVALS_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

struct removals;

struct removals *removals_create(const char *postoffice);
void removals_free(struct removals *r);

/* Notes that these message files are about to be removed; from any thread. */
void removals_add(struct removals *r, const char *const *message_files, size_t count);

/* Reads what is noted in a post office: empty if there is nothing.  False if it is what was read before. */
bool removals_read(const char *postoffice, struct buf *noted);

bool removals_have(const struct buf *noted, const char *id);

/* What is noted is not needed any more. */
void removals_forget(const char *postoffice);

#endif
