/*
 * A warning to programs that put mail into the queue for a destination that no clause of scheduler.conf serves.
 */
#ifndef ZL_CHANNEL_QUEUE_UNSERVED_H
#define ZL_CHANNEL_QUEUE_UNSERVED_H

/*
 * Says on standard error that no clause delivers mail for this channel and host, once for each destination of a process.
 * Silent if scheduler.conf, MAILSHARE/scheduler.conf of ZENV as it was at the first call, cannot be read: whether there is
 * one is the scheduler's business.
 */
void unserved_warn(const char *channel, const char *host);

#endif
