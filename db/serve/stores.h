/*
 * Asks stores for recipients, for many clients at a time, in child processes that each have an agent (verify.h).  A store that
 * does not answer keeps only questions about its own users waiting (lib/desk.h).
 */
#ifndef ZL_DB_SERVE_STORES_H
#define ZL_DB_SERVE_STORES_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db/serve/verify.h"

struct stores;

struct destination {
	const char *channel, *host, *user;
};

/*
 * `children`: at most; `patience`: milliseconds for what one does.  NULL with *status (<sysexits.h>) and a line in `why` if the
 * agent refuses its options.
 */
struct stores *stores_create(const struct verify_options *options, size_t children, int64_t patience, int *status,
                             struct buf *why);

/* Clears the caller's pointer; NULL is nothing. */
void stores_free(struct stores **stores);

/*
 * Is there one destination that takes mail?  True: none of them is to be asked, as it is not a store's, or there is none.  Else
 * false: the answer to `owner` comes by stores_next(), until `deadline` (clock_ms()).  An owner asks one thing at a time.  What
 * `to` points to is copied.
 */
bool stores_ask(struct stores *stores, const struct destination *to, size_t count, int64_t deadline, void *owner);

/* The owner is gone. */
void stores_forget(struct stores *stores, const void *owner);

/* An owner whose answer is there; NULL if there is none.  Where none took the mail one that cannot tell decides. */
void *stores_next(struct stores *stores, struct verdict *verdict);

/* What to wait for: at most stores_room() entries; returns how many.  stores_deadline() is of clock_ms(). */
size_t stores_room(const struct stores *stores);
size_t stores_fill(const struct stores *stores, struct pollfd *fds);
int64_t stores_deadline(const struct stores *stores);

#endif
