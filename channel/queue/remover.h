/*
 * Removes finished messages beside everything else: on some file systems unlink(2) waits for
 * the disk, and agents shall not wait with it.
 */
#ifndef ZL_CHANNEL_QUEUE_REMOVER_H
#define ZL_CHANNEL_QUEUE_REMOVER_H

#include <stdbool.h>
#include <stdint.h>

struct remover;

struct remover *remover_create(void);

/* Waits until everything is removed; nothing may be given any more, owners still come back. */
void remover_finish(struct remover *r);

/* The same, and clears the caller's pointer. */
void remover_destroy(struct remover **r);

/*
 * `owner` comes back from remover_removed() afterwards.  Until then both strings must live, and the names must not be
 * given again, as the next message may well get the same ones.  The control file goes first: a message file
 * without one is never looked at again, whatever happens in between.  A file that is not there is none to
 * remove; other trouble is logged, and the next look through the spool finds the message again.
 *
 * Pairs are removed some at a time, the last of them by the first remover_run() behind remover_deadline().
 */
void remover_take(struct remover *r, void *owner, const char *control_file, const char *message_file);

/* clock_ms(), CLOCK_NEVER if nothing waits and every owner has come back. */
int64_t remover_deadline(const struct remover *r);
void remover_run(struct remover *r);

/* The owner of some pair of files that was worked off since, NULL if there is none; *gone: its control file is. */
void *remover_removed(struct remover *r, bool *gone);

#endif
