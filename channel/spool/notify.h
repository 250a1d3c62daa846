/*
 * A scheduler hears of new mail at once: one datagram to the UNIX socket that SCHEDULERNOTIFY of zmailer.conf names
 * (spool.md section 1).
 */
#ifndef ZL_CHANNEL_SPOOL_NOTIFY_H
#define ZL_CHANNEL_SPOOL_NOTIFY_H

/*
 * Sends "NEW JOB" ("Y/K/4711002").  `path` may be NULL: there is none.  Nobody there, or a queue that is full, is no fault:
 * the scheduler finds the file when it looks through the spool.
 */
void notify_scheduler(const char *path, const char *job);

#endif
