/*
 * The queue for people and for programs.
 */
#ifndef ZL_CHANNEL_QUEUE_MAILQ_H
#define ZL_CHANNEL_QUEUE_MAILQ_H

#include <stdint.h>

#include "channel/queue/listing.h"

/*
 * Adds a table with a row for each recipient and each file in trouble, and a line that sums up; nothing if the queue
 * is empty.  `now` is in seconds since 1970.
 */
void mailq_text(struct buf *out, const struct listing *l, int64_t now);

/* Adds a JSON object on a line of its own for each recipient and each file in trouble. */
void mailq_json(struct buf *out, const struct listing *l);

/* Adds a time span of two units at most: 45s, 12m, 3h05m, 2d04h. */
void mailq_add_span(struct buf *out, int64_t seconds);

#endif
