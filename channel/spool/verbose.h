/*
 * The verbose file of a message: where a "sendmail -v" user reads along
 * (spool.md section 4.1, the v line).
 */
#ifndef ZL_CHANNEL_SPOOL_VERBOSE_H
#define ZL_CHANNEL_SPOOL_VERBOSE_H

#include <sys/types.h>

/*
 * Opens `path` (relative to $POSTOFFICE/transport) for appending, with the rights of `owner` where
 * we are root.  It must exist, be a regular file of that owner with one name, and be no symbolic link:
 * the directory is writable by all users.  -1 otherwise; that is nothing to complain about.
 */
int verbose_open(const char *path, uid_t owner);

#endif
