/*
 * The spool id: how the logs of all ZMailer programs name a message (spool.md
 * section 2).
 */
#ifndef ZL_CHANNEL_SPOOL_SPOOLID_H
#define ZL_CHANNEL_SPOOL_SPOOLID_H

#include <sys/stat.h>

#include "lib/buf.h"

/* Adds the id made of a message file's inode number and modification time. */
void spoolid_add(struct buf *out, const struct stat *message_file);

#endif
